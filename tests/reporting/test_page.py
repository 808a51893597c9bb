"""What the page says, read from its HTML; how it behaves is in `test_page_in_browser`."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import re
import warnings
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from imagecodecs import png_decode
from plotly.offline import get_plotlyjs
from scipy.special import log_softmax, softmax

from lensbench.comparison.compare import Comparison, Pair, compare
from lensbench.config import DataSpec, JudgeSpec
from lensbench.cost import MeasuredCost, Throughput
from lensbench.data.pack import fingerprint, open_or_build_pack
from lensbench.errors import RecordError
from lensbench.evaluation.estimate import Estimate, undefined_estimate
from lensbench.evaluation.evaluate import evaluate
from lensbench.figures.pairwise import p_text
from lensbench.outcome import Predictions
from lensbench.reporting.page.charts import MACRO_MEAN, Figure, roc_figure
from lensbench.reporting.page.cost_chart import cost_chart, costs_of
from lensbench.reporting.page.errorbars import Scale, error_bar
from lensbench.reporting.page.examples import N_SHOWN, galleries
from lensbench.reporting.page.model_charts import history_figure
from lensbench.reporting.page.page import Page, _as_json, compiled_at_once, write_page
from lensbench.reporting.page.pictures import read_pictures
from lensbench.reporting.page.provenance import environments
from lensbench.reporting.page.ranking import pair_matrix
from lensbench.reporting.page.results import interval, number
from lensbench.reporting.page.thinning import LOWEST_FPR, ThinCurve, thinned
from lensbench.runs.compose import foreign_record
from lensbench.runs.cost import Costs
from lensbench.runs.layout import find_records
from lensbench.runs.record import RunRecord

from .page_runs import (
    CLASSES,
    ENVIRONMENT,
    QUICK_JUDGE,
    correlated,
    image_ids,
    store_run,
)

NASTY = "<img src=x onerror=alert(1)>"


class Parsed(HTMLParser):
    """The elements of a page with their attributes, the text outside of scripts, and scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: dict[str, str] = {}
        self._inside = ""
        self._id = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside, self._id = tag, dict(attrs).get("id") or ""

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[self._id] = data
        elif self._inside != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def figures(self) -> dict[str, list[Figure | None]]:
        return json.loads(self.scripts["figures"])

    def having(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [
            found
            for name, found in self.elements
            if name == tag and attributes.items() <= found.items()
        ]


def parsed(page: Page) -> Parsed:
    return Parsed(page.path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory) -> Comparison:
    """Three models, one of them trained with three seeds."""
    root = tmp_path_factory.mktemp("runs")
    store_run(root, "Good", 3.0, seed=11, warnings=("warning duplicate: twice",))
    for seed in (1, 2, 3):
        store_run(root, f"Fair-{seed}", 1.9 + 0.15 * seed, seed=seed, group="Fair", minutes=30)
    store_run(root, "Poor", 0.3, seed=12, minutes=2)
    return compare(find_records(root), QUICK_JUDGE)


@pytest.fixture(scope="module")
def page(comparison, tmp_path_factory) -> Page:
    return write_page(comparison, tmp_path_factory.mktemp("page") / "report.html", QUICK_JUDGE)


def test_the_page_has_the_verdict_and_every_interval(comparison, page):
    text = parsed(page).text
    assert comparison.verdict in text
    for entry in comparison.entries:
        for estimate in (entry.estimate, entry.accuracy):
            assert f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]" in text
    assert "warning duplicate: twice ( Good )" in text.replace("(Good)", "( Good )")


def test_the_page_asks_for_nothing_else(page):
    found = parsed(page)
    assert not [e for e in found.elements if e[0] in ("link", "iframe", "object", "embed", "base")]
    loaded = [
        value
        for tag, attributes in found.elements
        for name, value in attributes.items()
        if name in ("src", "srcset", "poster", "data") or (name == "href" and tag != "a")
    ]
    assert all(value.startswith("data:") for value in loaded)
    assert all(e[1]["href"].startswith("#") for e in found.elements if e[0] == "a")
    policy = next(e["content"] for e in found.having("meta") if "http-equiv" in e)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    style = page.path.read_text(encoding="utf-8").partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_only_our_scripts_may_run(page):
    """Hash the two scripts as a browser does."""

    found = parsed(page)
    policy = next(e["content"] for e in found.having("meta") if "http-equiv" in e)
    for name in ("plotly", ""):
        digest = base64.b64encode(hashlib.sha256(found.scripts[name].encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]


def test_names_from_files_are_text(tmp_path):
    record = store_run(tmp_path, "plain", 2.0)
    store_run(tmp_path, "other", 1.0)
    changed = json.loads(record.read_text())
    changed["model_desc"] = NASTY
    changed["model_identifier"] = "</script><script>alert(2)</script>"
    changed["lensbench"]["warnings"] = ["<b>bold</b> %{x}"]
    record.write_text(json.dumps(changed))
    page = write_page(
        compare(find_records(tmp_path), QUICK_JUDGE), tmp_path / "page.html", QUICK_JUDGE
    )
    found = parsed(page)
    assert not found.having("img")
    assert not [e for e in found.elements if any(name.startswith("on") for name in e[1])]
    assert len([e for e in found.elements if e[0] == "script"]) == 3
    assert NASTY in found.text
    labels = [trace["name"] for trace in found.figures["roc"][0]["data"]]
    assert "&lt;img src=x onerror=alert(1)&gt;" in labels  # plotly.js reads HTML in labels


def test_json_cannot_end_its_script():
    text = _as_json({"a": [{"name": "</script><!--"}]})
    assert "<" not in text
    assert json.loads(text) == {"a": [{"name": "</script><!--"}]}


def test_machines_are_told_apart(tmp_path):
    store_run(tmp_path, "here", 2.0)
    there = store_run(tmp_path, "there", 1.0)
    record = json.loads(there.read_text())
    record["lensbench"]["environment"] |= {"device": "Another processor"}
    there.write_text(json.dumps(record))
    found = compare(find_records(tmp_path), QUICK_JUDGE)
    assert [machine for machine, _ in environments(found.entries)] == [
        "A processor (16 cores), 8 threads",
        "Another processor, 8 threads",
    ]
    page = parsed(write_page(found, tmp_path / "page.html", QUICK_JUDGE))
    assert "Times on different machines must not be compared." in page.text
    assert len(page.figures["cost"]) == 4  # two costs, and two machines' times


def test_every_plot_has_a_place_a_caption_and_figures(page):
    found = parsed(page)
    places = [
        attributes["data-chart"] for _, attributes in found.elements if "data-chart" in attributes
    ]
    assert (
        sorted(places)
        == sorted(found.figures)
        == sorted(["roc", "cost", "curves", "reliability", "risk", "history"])
    )
    assert len(found.having("figcaption")) == len(found.having("figure"))
    assert all(place["aria-label"] for place in found.having("div", role="img"))
    assert all(len(found.figures[name]) == 3 for name in ("curves", "reliability", "history"))


def test_the_page_can_be_used_by_keyboard_and_read_aloud(page):
    found = parsed(page)
    ids = {attributes.get("id") for _, attributes in found.elements}
    targets = {e["href"][1:] for e in found.having("a")}
    assert targets <= ids
    assert found.elements[[e[0] for e in found.elements].index("a")][1]["class"] == "skip"
    assert found.having("html", lang="en")
    sortable = [e for e in found.elements if e[0] == "th" and "aria-sort" in e[1]]
    assert len(sortable) == len([e for e in found.elements if "data-sort" in e[1]])
    for scrolled in found.having("div", **{"class": "wide"}):
        assert scrolled["tabindex"] == "0"
        assert scrolled["aria-label"]


def test_commands_and_environments_are_there(page):
    text = parsed(page).text
    for seed in (1, 2, 3):
        assert f"--name Fair-{seed} --recipe contract --seed {seed}" in text
    assert "A processor (16 cores), 8 threads" in text
    assert "torch 2.5" in text


def test_seeds_are_told_apart_from_the_test_set(comparison, page):
    fair = next(entry for entry in comparison.entries if entry.name == "Fair")
    assert len(fair.runs) == 3
    assert f"{fair.training_deviation:.4f} of training (3 seeds)" in page.path.read_text("utf-8")
    assert any("Fair: trained with several seeds" in note for note in page.notes)
    assert "The first of its 3 runs, Fair-1; the ranking takes all of them" in parsed(page).text


def numbers_of(svg: str) -> dict[str, list[float]]:
    return {
        name: [float(v) for v in re.findall(rf'{name}="([\d.]+)"', svg)]
        for name in ("x1", "x2", "cx")
    }


def test_error_bars_are_to_scale(comparison):
    """The whole bar from `low` to `high`; the thick part is as wide as one run's would be."""
    entries = comparison.entries
    scale = Scale.of([entry.estimate for entry in entries])
    lows = [entry.estimate.low for entry in entries]
    highs = [entry.estimate.high for entry in entries]
    drawn = [numbers_of(error_bar(entry, scale)) for entry in entries]
    ends = [min(lows), max(highs)]
    pixels = [min(d["x1"][0] for d in drawn), max(d["x2"][0] for d in drawn)]
    for entry, found in zip(entries, drawn, strict=True):
        one = entry.estimate
        for value, pixel in zip(
            (one.low, one.value, one.high),
            (found["x1"][0], found["cx"][0], found["x2"][0]),
            strict=True,
        ):
            assert pixel == pytest.approx(np.interp(value, ends, pixels), abs=0.11)
        reach = 1.959964 * entry.test_deviation / (one.value * (1 - one.value))
        thick = [
            1 / (1 + math.exp(-(math.log(one.value / (1 - one.value)) + r)))
            for r in (-reach, reach)
        ]
        for value, pixel in zip(thick, (found["x1"][1], found["x2"][1]), strict=True):
            assert pixel == pytest.approx(np.interp(value, ends, pixels), abs=0.25)
    seeds = next(e.training_deviation for e in entries if len(e.runs) > 1)
    assert seeds > 0


def test_the_matrix_says_what_the_pairs_say(comparison):
    names = [entry.name for entry in comparison.entries]
    cells = pair_matrix(comparison, 0.95)
    assert [cells[i][i].kind for i in range(3)] == ["self"] * 3
    for pair in comparison.pairs:
        i, j = names.index(pair.first), names.index(pair.second)
        differ = pair.p_holm <= 0.05
        assert (cells[i][j].kind, cells[j][i].kind) == (
            ("better", "worse") if differ else ("tied", "tied")
        )
        assert f"{pair.difference.value:+.4f}" in cells[i][j].text
    assert {cell.kind for row in cells for cell in row} >= {"better", "worse", "self"}


def test_a_pair_says_what_is_corrected_and_whose_its_interval_is(comparison):
    def text_of(metric: str) -> tuple[Pair, str]:
        runs = [entry.path for entry in comparison.entries if len(entry.runs) == 1]
        found = compare(runs, QUICK_JUDGE.model_copy(update={"level": 0.9}), metric)
        return found.pairs[0], pair_matrix(found, 0.9)[0][1].text

    by_auc, auc_text = text_of("auc_ovr_macro")
    low, high = by_auc.difference.low, by_auc.difference.high
    assert (
        f", 90% interval of this pair alone [{low:+.4f}, {high:+.4f}]; Holm-corrected p" in auc_text
    )
    by_accuracy, accuracy_text = text_of("accuracy")
    assert by_accuracy.method == "McNemar's exact test"
    assert "] (a normal one, with influences of the common examples" in accuracy_text
    assert "; not that of the test); Holm-corrected p" in accuracy_text
    small, large = (
        replace(comparison, pairs=tuple(replace(pair, p_holm=p) for pair in comparison.pairs))
        for p in (1e-9, 0.0312)
    )
    assert "Holm-corrected p < 0.0001 (" in pair_matrix(small, 0.95)[0][1].text
    assert "Holm-corrected p = 0.031 (" in pair_matrix(large, 0.95)[0][1].text


def test_all_pairs_are_in_a_table(comparison, page):
    """What a pointer finds in the matrix can be read without one."""
    html = page.path.read_text("utf-8").partition("<summary>All pairs</summary>")[2]
    rows = html.partition("<tbody>")[2].partition("</tbody>")[0].split("<tr>")[1:]
    assert len(rows) == len(comparison.pairs) == 3
    for pair, row in zip(comparison.pairs, rows, strict=True):
        one = pair.difference
        cells = re.sub(r"\s+", " ", unescape(re.sub("<[^>]*>", " ", row))).split()
        shown = f"{one.value:+.4f} [{one.low:+.4f}, {one.high:+.4f}]"
        expected = f"{pair.first} {pair.second} {shown} {p_text(pair.p_holm)} {pair.method}"
        assert cells == expected.split()
        assert f'data-value="{pair.p_holm}"' in row


def test_the_table_of_pairs_says_whose_their_intervals_are(comparison, tmp_path):
    runs = [entry.path for entry in comparison.entries if len(entry.runs) == 1]
    for metric, said in (("accuracy", True), ("auc_ovr_macro", False)):
        found = compare(runs, QUICK_JUDGE, metric)
        text = parsed(write_page(found, tmp_path / "page.html", QUICK_JUDGE)).text
        note = "Where the test is McNemar's exact test, the interval is a normal one, with infl"
        assert text.count(note) == said


def test_differences_too_small_for_four_digits_are_told_from_zero(comparison):
    pair = comparison.pairs[0]
    small = pair.difference.model_copy(update={"value": 2e-5, "low": 1e-5, "high": 3e-5})
    pairs = (replace(pair, difference=small), *comparison.pairs[1:])
    text = pair_matrix(replace(comparison, pairs=pairs), 0.95)[0][1].text
    assert "+0.00002, 95% interval of this pair alone [+0.00001, +0.00003];" in text


def test_levels_are_written_to_all_their_digits(tmp_path):
    spec = QUICK_JUDGE.model_copy(update={"level": 0.9973})
    for seed, name in enumerate(("One", "Other")):
        store_run(tmp_path, name, 2.0 - seed, seed=seed, judge=spec)
    comparison = compare(find_records(tmp_path), spec)
    page = write_page(comparison, tmp_path / "page.html", spec)
    text = parsed(page).text
    assert "100%" not in text
    for words in (
        *("Holm-corrected, 99.73%.", "with intervals: 99.73%, DeLong", "its 99.73% interval."),
        *("with 99.73% intervals.", "with 99.73% Wilson intervals"),
    ):
        assert words in text
    assert "99.73% interval of this pair alone" in pair_matrix(comparison, 0.9973)[0][1].text


def test_an_auc_just_below_1_is_not_written_as_1():
    auc = Estimate(
        name="auc", value=0.99996, low=0.9999, high=0.99998, level=0.95, method="", n=9000
    )
    assert f"{number(auc)} {interval(auc)}" == str(auc) == "0.99996 [0.99990, 0.99998]"


@pytest.mark.parametrize("n", [40, 4000])
def test_thinned_curves_look_the_same_on_both_axes(n):
    """Brute force: how far each point lies from every segment of what is kept."""
    rng = np.random.default_rng(n)
    x = np.concatenate([[0.0], np.sort(rng.beta(0.4, 1.5, n)), [1.0]])
    y = np.concatenate([[0.0], np.sort(rng.beta(1.5, 0.4, n)), [1.0]])
    thin = thinned(x.tolist(), y.tolist())
    assert (thin.fpr[0], thin.tpr[0], thin.fpr[-1], thin.tpr[-1]) == (0, 0, 1, 1)

    def linear(fpr):
        return np.asarray(fpr)

    def logarithmic(fpr):
        return 1 + np.log10(np.maximum(fpr, LOWEST_FPR)) / 4

    for axis in (linear, logarithmic):
        points = np.column_stack([axis(x), y])
        kept = np.column_stack([axis(thin.fpr), thin.tpr])
        nearest = np.full(len(points), np.inf)
        for start, end in itertools.pairwise(kept):
            run = end - start
            along = np.clip((points - start) @ run / max(run @ run, 1e-30), 0, 1)
            away = np.linalg.norm(points - start - along[:, None] * run, axis=1)
            nearest = np.minimum(nearest, away)
        assert nearest.max() < 6e-4
    if n == 4000:
        assert len(thin.fpr) < n / 4


def test_roc_curves_are_drawn_whole_and_in_their_corner():
    curve = ThinCurve([0.0, 0.001, 0.02, 1.0], [0.0, 0.55, 0.83, 1.0])
    figure = roc_figure({"best": curve, "next": curve})
    whole = [trace for trace in figure["data"] if "xaxis" not in trace]
    corner = [trace for trace in figure["data"] if trace.get("xaxis") == "x2"]
    assert [trace["name"] for trace in whole] == ["next", "best"]  # the best is on top
    assert whole[0]["x"] == curve.fpr
    assert min(corner[0]["x"]) == LOWEST_FPR  # zero has no logarithm
    assert figure["layout"]["xaxis2"]["type"] == "log"
    assert figure["layout"]["yaxis2"]["range"][0] == pytest.approx(0.8)


def test_a_perfect_curve_has_an_axis_of_rates():
    figure = roc_figure({"perfect": ThinCurve([0.0, 0.0, 1.0], [0.0, 1.0, 1.0])})
    low, high = figure["layout"]["yaxis2"]["range"]
    assert low == 0.9
    assert 1 < high < 1.01


def test_classes_have_their_own_colours_beside_a_mean():
    curve = ThinCurve([0.0, 1.0], [0.0, 1.0])
    figures = [roc_figure({"no": curve, "vort": curve})]
    figures.append(roc_figure({MACRO_MEAN: curve, "no": curve, "vort": curve}, mean=MACRO_MEAN))
    alone, beside = (
        {trace["name"]: trace["line"]["color"] for trace in figure["data"]} for figure in figures
    )
    assert beside.pop(MACRO_MEAN) not in alone.values()
    assert beside == alone


def test_the_cost_chart_has_a_variant_for_each_cost(comparison):
    def measured(speed: float) -> MeasuredCost:
        throughput = Throughput(repeats=(speed,), batch_size=32)
        return MeasuredCost(
            model="torchvision/resnet18",
            image_size=(224, 224),
            channels=3,
            n_parameters=11_000_000,
            multiply_adds=10**9,
            training=throughput,
            inference=throughput,
            training_peak_bytes=None,
            inference_peak_bytes=None,
        )

    costs = Costs.model_validate(
        {
            "environment": ENVIRONMENT,
            "date": "2026-01-01T00:00:00Z",
            "runs": {"Good": measured(100), "Poor": measured(400)},
        }
    )
    found = costs_of(comparison.entries, costs)
    machine = ENVIRONMENT.machine
    assert found["Seconds to train once on 10,000 images"] == {"Good": 100, "Poor": 25}
    assert found[f"Training time in minutes ({machine})"] == {"Good": 12, "Fair": 30, "Poor": 2}
    assert not any("memory" in kind for kind in found)
    chart = cost_chart(comparison.entries, found, "macro AUC")
    assert list(chart.variants) == list(found)
    minutes = chart.variants[f"Training time in minutes ({machine})"]
    front = minutes["data"][0]
    assert front["x"] == [2, 12]  # Fair costs more than Good, and is worse
    best = comparison.entries[0].estimate
    trace = next(t for t in minutes["data"][1:] if best.value in t["y"])
    at = trace["y"].index(best.value)
    assert trace["error_y"]["array"][at] == pytest.approx(best.high - best.value)
    assert trace["error_y"]["arrayminus"][at] == pytest.approx(best.value - best.low)


def test_the_front_is_below_where_less_is_better(tmp_path):
    """A log loss falls as models get better; of two that cost the same the worse is not on it."""
    for name, separation in (("Good", 3.0), ("Poor", 0.5)):
        store_run(tmp_path, name, separation)
    by_loss = compare(find_records(tmp_path), QUICK_JUDGE, metric="log_loss")
    assert [entry.name for entry in by_loss.entries] == ["Good", "Poor"]
    page = parsed(write_page(by_loss, tmp_path / "page.html", QUICK_JUDGE))
    minutes = page.figures["cost"][-1]
    assert minutes["data"][0]["y"] == [by_loss.entries[0].estimate.value]


@pytest.mark.parametrize("n_models", [1, 3, 23])
def test_names_in_the_cost_chart_are_whole_and_apart(comparison, n_models):
    """The boxes of the names, drawn anew from the figure, beside all points and each other."""
    rng = np.random.default_rng(n_models)
    best = comparison.entries[0]
    aucs = np.sort(rng.uniform(0.9, 0.99, n_models))[::-1]
    entries = [
        replace(
            best,
            name=f"ConvNeXtV2-{place:02}-Base",
            estimate=best.estimate.model_copy(
                update={"value": auc, "low": auc - 0.01, "high": auc + 0.005}
            ),
        )
        for place, auc in enumerate(aucs.tolist())
    ]
    costs = {entry.name: float(10 ** (3 - 0.1 * i)) for i, entry in enumerate(entries)}
    figure = cost_chart(entries, {"Minutes": costs}, "macro AUC").variants["Minutes"]
    cloud = figure["data"][1]
    x_range, y_range = (figure["layout"][axis]["range"] for axis in ("xaxis", "yaxis"))
    for width, changed in ((950, {}), (270, figure["narrow"]["data"][1])):
        trace = cloud | changed
        xs = np.interp(np.log10(trace["x"]), x_range, [0, width])
        ys = np.interp(trace["y"], y_range, [0, 330])
        boxes = []
        for x, y, text, side in zip(xs, ys, trace["text"], trace["textposition"], strict=True):
            if text:
                left = x if "right" in side else x - 7 * len(text)
                low = y if "top" in side else y - 16
                boxes.append((left, low, left + 7 * len(text), low + 16))
        assert len(boxes) >= min(n_models, 2)
        assert trace["text"][0] == entries[0].name
        for place, (left, low, right, high) in enumerate(boxes):
            assert 0 <= left < right <= width
            assert 0 <= low < high <= 330
            inside = (xs > left + 1) & (xs < right - 1) & (ys > low + 1) & (ys < high - 1)
            assert not inside.any()
            for other in boxes[:place]:
                apart = right <= other[0] or other[2] <= left
                assert apart or high <= other[1] or other[3] <= low


def test_reliability_before_and_after_the_temperature(comparison, page):
    """Over all bins the means are those over all images; the temperature is found on a grid."""
    found = parsed(page)
    run = comparison.entries[0].runs[0]
    figure = found.figures["reliability"][0]
    validation = correlated(120, 3.0, 11, part="validation")
    grid = np.linspace(0.3, 5, 2000)
    rows = np.arange(120)
    losses = [
        -log_softmax(validation.logits / t, axis=1)[rows, validation.labels].mean() for t in grid
    ]
    before, after = (trace["name"] for trace in figure["data"][1:])
    assert before == "as predicted"
    temperature = float(after.removeprefix("at temperature "))
    assert temperature == pytest.approx(grid[np.argmin(losses)], abs=0.003)
    test = run.predictions
    right = (test.logits.argmax(axis=1) == test.labels).mean()
    for trace, t in zip(figure["data"][1:], (1, grid[np.argmin(losses)]), strict=True):
        n = [int(re.search(r"(\d+) images", text)[1]) for text in trace["customdata"]]
        confidence = softmax(test.logits / t, axis=1).max(axis=1).mean()
        assert np.average(trace["x"], weights=n) == pytest.approx(confidence, abs=1e-3)
        assert np.average(trace["y"], weights=n) == pytest.approx(right, abs=1e-9)
    assert "95% class-conditional" in found.text


def test_conformal_sets_say_what_their_intervals_leave_out(comparison, page):
    """The coverage of a class counted anew: its share of sets with the calibration of its own."""
    html = page.path.read_text("utf-8").partition("<article")[2].partition("</article>")[0]
    validation = correlated(120, 3.0, 11, part="validation")
    test = comparison.entries[0].runs[0].predictions
    covered = {}
    for k, name in enumerate(CLASSES):
        mine, theirs = validation.labels == k, test.labels == k
        reference = validation.probabilities[mine, k]
        ranks = (reference <= test.probabilities[theirs, k][:, None]).sum(axis=1) + 1
        covered[name] = (ranks / (mine.sum() + 1) > 0.1 + 1e-9).mean()
    lowest = min(covered, key=covered.get)
    row = html.partition("90% class-conditional")[2].partition("</tr>")[0]
    last = row.rpartition("<td")[2]
    assert f">{covered[lowest]:.4f} {lowest} <small>[" in last
    # Standard deviations of the share of a level among 120 draws.
    assert "0.0274 at 90%, 0.0199 at 95%, 0.0091 at 99%." in " ".join(html.split())


def test_risk_has_its_intervals_at_the_coverages_of_common_use(comparison, page):
    _, marked = parsed(page).figures["risk"][0]["data"]
    test = comparison.entries[0].runs[0].predictions
    order = np.argsort(-test.probabilities.max(axis=1), kind="stable")
    wrong = (test.logits.argmax(axis=1) != test.labels)[order]
    for x, y, share in zip(marked["x"], marked["y"], (0.5, 0.8, 0.9, 0.95), strict=True):
        assert x == pytest.approx(share)
        assert y == pytest.approx(wrong[: round(share * 120)].mean())


def test_results_of_a_class_stand_in_its_row(comparison, page):
    estimates = comparison.entries[0].record.lensbench.estimates
    article = page.path.read_text("utf-8").partition("<article")[2].partition("</article>")[0]
    rows = article.partition('by class" tabindex="0">')[2].split("<tr>")[2:]
    for name, row in zip(CLASSES, rows, strict=True):
        one = estimates[f"recall/{name}"]
        assert f"{one.value:.4f} <small>[{one.low:.4f}, {one.high:.4f}]" in row


def test_confusion_matrices_add_up(page):
    html = page.path.read_text("utf-8")
    table = html.partition('<table class="confusion">')[2].partition("</table>")[0]
    counts = [int(n) for n in re.findall(r">(\d+)<small>", table)]
    shares = [float(s) for s in re.findall(r"([\d.]+)%</small>", table)]
    assert sum(counts) == 120
    assert np.reshape(shares, (3, 3)).sum(axis=1) == pytest.approx([100] * 3, abs=0.2)


def test_a_class_without_test_images_has_no_shares(tmp_path):
    run = store_run(tmp_path, "one", 1.0, untested="vort")
    spec = QUICK_JUDGE
    page = write_page(compare([run], spec, "accuracy"), tmp_path / "page.html", spec)
    html = page.path.read_text("utf-8")
    table = html.partition('<table class="confusion">')[2].partition("</table>")[0]
    *others, last = table.split("<tr>")
    assert re.findall(r">(\d+)<small>([^<]*)</small>", last) == [("0", "–")] * 3  # noqa: RUF001
    assert not any("–" in row for row in others)  # noqa: RUF001
    assert "undefined" in html


def jury() -> list[tuple[str, Predictions]]:
    return [(name, correlated(200, 1.0, seed)) for seed, name in enumerate(("a", "b", "c"))]


def test_galleries_by_brute_force():
    models = jury()
    hardest, missed, boldest = galleries(models)
    probabilities = {
        name: dict(zip(one.ids.tolist(), one.probabilities, strict=True)) for name, one in models
    }
    labels = dict(zip(models[0][1].ids.tolist(), models[0][1].labels, strict=True))

    def of_label(i):
        return np.mean([mine[i][labels[i]] for mine in probabilities.values()])

    def wrong(name, i):
        return probabilities[name][i].argmax() != labels[i]

    assert [e.id for e in hardest.examples] == sorted(labels, key=of_label)[:N_SHOWN]
    by_none = {i for i in labels if all(wrong(name, i) for name in probabilities)}

    def agreed(i):
        mean = np.mean([mine[i] for mine in probabilities.values()], axis=0)
        return max(p for k, p in enumerate(mean) if k != labels[i])

    assert [e.id for e in missed.examples] == sorted(by_none, key=agreed, reverse=True)[:N_SHOWN]
    assert f"{len(by_none)} of 200" in missed.caption
    assert all(e.n_right == 0 for e in missed.examples)
    errors = sorted(
        (-probabilities[m][i].max(), i, m) for m in probabilities for i in labels if wrong(m, i)
    )
    firsts = list(dict.fromkeys(i for _, i, _ in errors))[:N_SHOWN]
    assert [e.id for e in boldest.examples] == firsts
    assert boldest.examples[0].why == f"{errors[0][2]} is {-errors[0][0]:.2%} sure"
    for example in hardest.examples:
        assert sum(n for _, n, _ in example.votes) == 3
        assert sum(n for name, n, _ in example.votes if name == example.label) == example.n_right


def test_agreement_is_on_a_wrong_class():
    """Both models are wrong, each in its own way, so that their mean prefers the true class."""
    ids, labels = ["x", "y"], np.array([0, 0])
    shares = {"a": [[0.4, 0.59, 0.01], [0.1, 0.8, 0.1]], "b": [[0.4, 0.01, 0.59], [0.1, 0.8, 0.1]]}
    models = [(m, Predictions.of(ids, labels, np.log(p), CLASSES)) for m, p in shares.items()]
    missed = galleries(models)[1]
    assert [(e.id, e.why) for e in missed.examples] == [
        ("y", "a wrong class has 0.800"),
        ("x", "a wrong class has 0.300"),
    ]


def test_galleries_of_one_model_and_of_one_without_errors():
    titles = [one.title for one in galleries(jury()[:1])]
    assert titles == ["The hardest images", "The most confident errors"]
    perfect = correlated(60, 1.0, 1)
    perfect = Predictions(
        perfect.ids, perfect.labels, 9.0 * np.eye(3)[perfect.labels], perfect.classes
    )
    assert [one.title for one in galleries([("perfect", perfect)])] == ["The hardest images"]
    assert galleries([]) == ()


@pytest.fixture
def lenses(tmp_path) -> tuple[DataSpec, str]:
    """Images of those names on disk, with the fingerprint that a run would record."""
    rng = np.random.default_rng(3)
    for i, name in enumerate(image_ids(120, CLASSES)):
        path = tmp_path / "lenses" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = rng.random((1, 20, 24)) * 0.1
        image[0, 4, 7] = 1 if i else 2
        np.save(path, image)
    spec = DataSpec(path=tmp_path / "lenses", cache=tmp_path / "cache")
    pack = open_or_build_pack(spec)
    names = [pack.classes[k] for k in pack.labels]
    return spec, fingerprint(pack.catalogue.ids, names, pack.digests.tolist())


def decoded(uri: str) -> np.ndarray:

    return png_decode(base64.b64decode(uri.partition("base64,")[2]))


def test_pictures_are_the_images_with_one_stretch(lenses):
    spec, known = lenses
    test = correlated(120, 1.0, 1)
    wanted = test.ids[[0, 5]].tolist()
    found = read_pictures(spec, test, known, wanted)
    assert not found.problem
    assert sorted(found.uris) == sorted(wanted)
    for name in wanted:
        image = np.load(spec.path / name)[0] / 2  # the brightest pixel of both is 2
        grey = 255 * np.arcsinh(image / 0.1) / np.arcsinh(10)
        assert decoded(found.uris[name]) == pytest.approx(grey, abs=1)


def test_large_images_become_small(tmp_path):
    from lensbench.reporting.page.pictures import _uri

    plane = np.zeros((310, 460), dtype=np.float32)
    plane[:4, :4] = 1
    small = decoded(_uri(plane, 1.0))
    assert small.shape == (77, 115)
    assert small[0, 0] == 255
    assert small.sum() == 255


@pytest.mark.parametrize("what", ["changed", "removed", "gone"])
def test_pictures_of_other_images_are_not_shown(lenses, tmp_path, what):
    spec, known = lenses
    test = correlated(120, 1.0, 1)
    first = spec.path / str(test.ids[0])
    if what == "changed":
        np.save(first, np.load(first) * 0.99)
    elif what == "removed":
        first.unlink()
    else:
        spec.path.rename(tmp_path / "elsewhere")
    found = read_pictures(spec, test, known, test.ids[:2].tolist())
    assert not found.uris
    said = {"changed": "have changed", "removed": "1 of 120 are not in", "gone": "no such file"}
    assert said[what] in found.problem
    run = store_run(tmp_path / "runs", "one", 1.0, data=spec.path, test_fingerprint=known)
    page = write_page(compare([run], QUICK_JUDGE), tmp_path / "page.html", QUICK_JUDGE)
    text = parsed(page).text
    assert found.problem in text
    assert found.problem in page.notes
    assert "val/no/" in text


def test_a_gallery_shows_pictures(lenses, tmp_path):
    spec, known = lenses
    run = store_run(tmp_path / "runs", "one", 1.0, data=spec.path, test_fingerprint=known)
    page = write_page(compare([run], QUICK_JUDGE), tmp_path / "page.html", QUICK_JUDGE)
    pictures = parsed(page).having("img")
    assert len(pictures) == 2 * N_SHOWN
    assert all(one["alt"].startswith("Test image val/") for one in pictures)
    assert not page.notes


def test_one_model_of_two_classes_without_validation(tmp_path):
    run = store_run(tmp_path, "one", 1.0, classes=("no_sub", "sub"), with_validation=False)
    page = write_page(compare([run], QUICK_JUDGE), tmp_path / "page.html", QUICK_JUDGE)
    found = parsed(page)
    assert "no validation predictions" in page.notes[0]
    assert page.notes[0] in found.text
    assert len(found.figures["reliability"][0]["data"]) == 2
    assert not found.having("section", id="pairs")


def test_predictions_of_another_program(tmp_path):
    test = correlated(120, 1.0, 1)
    test.save(tmp_path / "runs" / "theirs" / "test.npz")
    record = foreign_record("theirs", "their.csv", evaluate(test, QUICK_JUDGE), file="test.npz")
    path = tmp_path / "runs" / "theirs" / "record.json"
    path.write_text(record.model_dump_json())
    page = write_page(compare([path], QUICK_JUDGE), tmp_path / "page.html", QUICK_JUDGE)
    found = parsed(page)
    assert "no record says where they are" in found.text
    assert "trained on" not in found.text
    assert "reliability" in found.figures


def test_what_has_no_number_is_a_gap():
    record = RunRecord(
        model_desc="a",
        model_identifier="b",
        status="Completed",
        config=None,
        train_losses=(1.0, 0.5),
        val_losses=(1.0, 0.5),
        val_aucs=(math.nan, 0.9),
        best_epoch=2,
    )
    figure = history_figure(record)
    assert figure["data"][2]["y"] == [None, 0.9]
    assert figure["data"][2]["x"] == [1, 2]
    assert figure["layout"]["shapes"][0]["x0"] == 2


@pytest.mark.parametrize("n_epochs", [1, 3, 10, 11, 15, 50, 200])
def test_epochs_are_whole_numbers(n_epochs):
    record = RunRecord(
        model_desc="a",
        model_identifier="b",
        status="Completed",
        config=None,
        train_losses=(1.0,) * n_epochs,
        val_losses=(1.0,) * n_epochs,
        val_aucs=(0.9,) * n_epochs,
    )
    axis = history_figure(record)["layout"]["xaxis"]
    assert axis["dtick"] == int(axis["dtick"]) > 0
    ticks = [t for t in range(0, 1000, axis["dtick"]) if axis["range"][0] <= t <= axis["range"][1]]
    assert 1 <= len(ticks) <= 10
    assert n_epochs > 10 or ticks == list(range(1, n_epochs + 1))
    assert axis["range"][0] < 1
    assert n_epochs < axis["range"][1] < n_epochs + 1


def test_what_does_not_exist_is_told_from_what_is_not_known():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        missing = undefined_estimate("auc", 0.95, 3, "one class has no example")
    assert (number(missing), interval(missing)) == ("undefined", "")
    assert number(None) not in ("undefined", "nan")


def test_one_model_is_not_compared(tmp_path):
    found = parsed(
        write_page(
            compare([store_run(tmp_path, "one", 1.0)], QUICK_JUDGE),
            tmp_path / "p.html",
            QUICK_JUDGE,
        )
    )
    assert "Comparison of 1 classifier " in found.text
    for needless in ("told apart", "Ties:", "the others grey", "the models give", "All were"):
        assert needless not in found.text


def test_nothing_finished_is_still_a_page(tmp_path):
    failed = RunRecord(
        model_desc="Broken",
        model_identifier="timm/broken",
        status="Failed",
        error="out of <memory>",
        config=None,
    )
    nothing = compare([], QUICK_JUDGE)
    empty = Comparison(
        **{
            **{name: getattr(nothing, name) for name in nothing.__dataclass_fields__},
            "unfinished": ((failed, tmp_path / "Broken" / "record.json"),),
            "problems": ("x.json: not a result record",),
        }
    )
    found = parsed(write_page(empty, tmp_path / "page.html", QUICK_JUDGE))
    assert "No finished runs to compare." in found.text
    assert "out of <memory>" in found.text
    assert "x.json: not a result record" in found.text
    assert found.figures == {}


def test_published_records_make_a_page(tmp_path, published):
    page = write_page(
        compare(sorted(published.glob("*.json")), QUICK_JUDGE), tmp_path / "p.html", QUICK_JUDGE
    )
    found = parsed(page)
    assert "ResNet34" in found.text
    assert {len(figures) for figures in found.figures.values()} >= {13}
    assert not found.having("section", id="images")
    assert any("published numbers alone" in note for note in page.notes)


def test_recall_against_a_number(comparison, tmp_path):
    numbers = {name: float(i) for i, name in enumerate(image_ids(120, CLASSES))}
    page = write_page(comparison, tmp_path / "p.html", QUICK_JUDGE, recalls={"mass <M>": numbers})
    figure = parsed(page).figures["recall-0"][0]
    assert [trace["name"] for trace in figure["data"]] == list(CLASSES)
    assert figure["layout"]["xaxis"]["title"]["text"] == "mass &lt;M&gt;"
    test = comparison.entries[0].runs[0].predictions
    right = (test.logits.argmax(axis=1) == test.labels)[test.labels == 0]
    assert np.mean(figure["data"][0]["y"]) == pytest.approx(right.mean(), abs=0.03)
    medians = [np.median(numbers) for numbers in np.array_split(np.arange(40), 6)]
    assert figure["data"][0]["x"] == pytest.approx(medians, abs=1)
    with pytest.raises(RecordError, match="no number is known of 119"):
        write_page(
            comparison, tmp_path / "q.html", QUICK_JUDGE, recalls={"m": {next(iter(numbers)): 1.0}}
        )
    assert not (tmp_path / "q.html").exists()


def test_recorded_estimates_serve_where_they_were_judged_alike(comparison, tmp_path, monkeypatch):
    from lensbench.reporting.page import model_views

    judged = []
    real = model_views.evaluate
    monkeypatch.setattr(model_views, "evaluate", lambda *args: judged.append(args) or real(*args))
    write_page(comparison, tmp_path / "p.html", QUICK_JUDGE)
    assert not judged
    write_page(comparison, tmp_path / "p.html", JudgeSpec(n_resamples=100, level=0.9))
    assert len(judged) == 3


def test_the_page_is_the_same_each_time(comparison, page, tmp_path):
    again = write_page(comparison, tmp_path / "again.html", QUICK_JUDGE)
    assert again.path.read_bytes() == page.path.read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_plotly_is_compiled_at_once():
    """The one change to its script is a pair of parentheses, in the release that is installed."""
    whole = get_plotlyjs().rstrip()
    changed = compiled_at_once(whole).rstrip()
    assert len(changed) == len(whole) + 2
    assert changed.replace("(() => {\n", "() => {\n", 1)[:-3] == whole[:-2]
    body = whole.partition(": this, () => {")[2]
    for other in (
        "another script",
        "function f(a, b) { return b } f(0 ? 0 : this, () => {" + body,
        whole.replace(": this, () => {", ": this, function () {"),
        whole + "\nf();",
    ):
        assert compiled_at_once(other) == other
