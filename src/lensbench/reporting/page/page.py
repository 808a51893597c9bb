"""A Comparison -> one HTML file that opens anywhere, without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from lensbench.comparison.compare import Comparison, Entry
from lensbench.config import JudgeSpec
from lensbench.evaluation.estimate import percent
from lensbench.evaluation.metrics import metric_of
from lensbench.figures.pairwise import p_text
from lensbench.figures.times import APART, minutes_text, trained_on
from lensbench.reporting.page.charts import Chart, Figure, roc_chart
from lensbench.reporting.page.cost_chart import cost_chart, costs_of
from lensbench.reporting.page.examples import Gallery, galleries
from lensbench.reporting.page.model_views import (
    ModelView,
    lowest_class,
    model_view,
    recall_chart_name,
)
from lensbench.reporting.page.pictures import Pictures, read_pictures
from lensbench.reporting.page.provenance import data_of, environments, run_views, warnings_of
from lensbench.reporting.page.ranking import interval_notes, methods, pair_matrix, ranking_rows
from lensbench.reporting.page.results import class_columns, interval, number, result_columns
from lensbench.runs.cost import Costs
from lensbench.version import __version__
from lensbench.whole_file import write_whole

_HERE = Path(__file__).parent
_OF_FIRST_SEED = (
    "trained with several seeds: the ranking and the pairs take all runs together; ROC curves, "
    "images and what is shown model by model are of the first"
)
_WRAPPER = re.compile(
    r"(\s*/\*[^/]*\*/\s*\(\s*function\(root, factory\) \{[^/]*\} \([^/]* : this, )(\(\) => \{\s)"
)
"""How plotly.js begins: a licence, and a call that is given all the rest as one function."""

_MODEL_CHARTS = ("curves", "reliability", "risk", "history")


@dataclass(frozen=True)
class Page:
    """A page that was written, and one line for each thing that it could not show."""

    path: Path
    notes: tuple[str, ...]


def write_page(
    comparison: Comparison,
    path: Path,
    spec: JudgeSpec,
    *,
    costs: Costs | None = None,
    recalls: Mapping[str, Mapping[str, float]] | None = None,
) -> Page:
    """Write the page; everything it needs is in the one file.

    Args:
        comparison: What the page is about.
        path: The file, which appears whole or not at all.
        spec: Level and resamples of intervals that are computed for the page.
        costs: What the models cost on one machine.
        recalls: For each quantity, as it is to be called, the number of each test image by its
            id; NaN where an image has none.

    Raises:
        RecordError: Predictions that a record names are missing or damaged, or a test image lacks
            a number.
    """
    entries, machines = comparison.entries, trained_on(comparison.entries)
    models = [model_view(entry, spec, recalls or {}) for entry in entries]
    chosen = galleries(_opinions(entries))
    pictures = _pictures(entries, chosen)
    charts = _charts(comparison, models, costs, recalls or {})
    notes = _notes(models, pictures)
    html = _render(
        comparison=comparison,
        level=spec.level,
        version=__version__,
        apart=APART if len(machines) > 1 else "",
        machine=machines[0] if any(entry.minutes is not None for entry in entries) else "",
        greater_is_better=metric_of(comparison.metric).greater_is_better,
        rows=ranking_rows(entries),
        methods=methods([entry.estimate for entry in entries]),
        has_seeds=any(entry.training_deviation is not None for entry in entries),
        matrix=pair_matrix(comparison, spec.level),
        interval_notes=interval_notes(comparison.pairs),
        results=result_columns(models),
        class_results=class_columns(models),
        models=models,
        model_charts=[name for name in charts if name in _MODEL_CHARTS],
        quantities={recall_chart_name(i): name for i, name in enumerate(recalls or {})},
        charts=charts,
        galleries=chosen,
        pictures=pictures,
        data=data_of(entries),
        warnings=warnings_of(entries),
        environments=environments(entries),
        runs=run_views(entries),
        costs=costs,
        notes=notes,
        minutes_text=minutes_text,
        lowest_class=lowest_class,
        number=number,
        interval=interval,
        percent=percent,
        p_text=p_text,
    )
    write_whole(path, html)
    return Page(path, notes)


def _charts(
    comparison: Comparison,
    models: Sequence[ModelView],
    costs: Costs | None,
    recalls: Mapping[str, object],
) -> dict[str, Chart]:
    names = [*_MODEL_CHARTS, *(recall_chart_name(place) for place in range(len(recalls)))]
    entries = comparison.entries
    found = [
        roc_chart({model.entry.name: model.curves for model in models}),
        cost_chart(
            entries,
            costs_of(entries, costs),
            comparison.quantity,
            greater_is_better=metric_of(comparison.metric).greater_is_better,
        ),
        *(
            Chart(name, "", {model.entry.name: model.figures.get(name) for model in models})
            for name in names
            if any(name in model.figures for model in models)
        ),
    ]
    return {chart.name: chart for chart in found if chart is not None}


def _opinions(entries: Sequence[Entry]) -> list[Any]:
    return [
        (entry.name, entry.runs[0].predictions)
        for entry in entries
        if entry.runs[0].predictions is not None
    ]


def _pictures(entries: Sequence[Entry], chosen: Sequence[Gallery]) -> Pictures:
    """Read the pictures from the first data set that a record names."""
    wanted = {example.id for gallery in chosen for example in gallery.examples}
    if not wanted:
        return Pictures()
    for run in (entry.runs[0] for entry in entries):
        ours = run.record.lensbench
        if ours and ours.run and ours.split and run.predictions is not None:
            return read_pictures(
                ours.run.data, run.predictions, ours.split.test_fingerprint, wanted
            )
    return Pictures(problem="The test images cannot be shown: no record says where they are")


def _notes(models: Sequence[ModelView], pictures: Pictures) -> tuple[str, ...]:
    texts: dict[str, list[str]] = {}
    for model in models:
        for note in model.notes:
            texts.setdefault(note, []).append(model.entry.name)
        if len(model.entry.runs) > 1:
            texts.setdefault(_OF_FIRST_SEED, []).append(model.entry.name)
    notes = [
        f"{'all models' if len(names) == len(models) else ', '.join(names)}: {note}"
        for note, names in texts.items()
    ]
    return (*notes, pictures.problem) if pictures.problem else tuple(notes)


def _render(**content: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    charts: Mapping[str, Chart] = content["charts"]
    own = (_HERE / "page.js").read_text(encoding="utf-8")
    plotly = _as_script(compiled_at_once(get_plotlyjs()))
    return environment.get_template("template.html.jinja").render(
        **content,
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=own,
        plotly=plotly,
        script_hashes=[_script_hash(own), _script_hash(plotly)],
        figures=_as_json({name: list(chart.variants.values()) for name, chart in charts.items()}),
    )


def compiled_at_once(script: str) -> str:
    """Put the function that is the whole of plotly.js in parentheses; nothing else changes.

    Engines skim a function and compile it when it is called, but one in parentheses at once: of
    these 4.8 MB that saves a quarter of the time. It is done only where the script begins with the
    wrapper that is known; the last brackets of the script are then those that the wrapper opens.
    Any other script is returned as it is.
    """
    begin, end, body = _WRAPPER.match(script), "}));", script.rstrip()
    if begin is None or not body.endswith(end):
        return script
    rest = body[begin.end() :].removesuffix(end)
    return f"{begin[1]}({begin[2]}{rest}}})));\n"


def _as_json(figures: Mapping[str, Sequence[Figure | None]]) -> str:
    """Return JSON that cannot end the script element that it stands in."""
    text = json.dumps(figures, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _as_script(text: str) -> str:
    """Return a script without what would end its element: `</script` in one of its strings."""
    return text.replace("</script", "<\\/script")


def _script_hash(text: str) -> str:
    """Return the hash by which the page's policy knows a script as its own."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
