"""What the page of the report costs: its size, writing it, and how soon it can be used.

Usage: python benchmarks/report.py [--n-models 23] [--n-examples 7500] [--repeats 5] [--out FILE]

Makes up finished runs of as many models on as many test images as the Common Test has, and the
images themselves, for the galleries. The page is opened in headless Chromium, each time in a new
profile, and a script inside it takes the times from the start of the navigation. Beside the page as
it is, which draws plots when they come into view, stands one made to draw all of them at once.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from playwright.sync_api import Browser, sync_playwright
from plotly import __version__ as plotly_version
from rich.console import Console
from rich.table import Table

from lensbench.comparison.compare import compare
from lensbench.config import DataSpec, JudgeSpec, ModelSpec, RunConfig
from lensbench.cost import Cost
from lensbench.data.catalogue import read_catalogue
from lensbench.data.pack import fingerprint
from lensbench.data.sources.open import open_source
from lensbench.data.survey import survey
from lensbench.evaluation.evaluate import evaluate
from lensbench.outcome import Epoch, History, Predictions, Timing
from lensbench.recipes import CONTRACT
from lensbench.reporting.page.page import write_page
from lensbench.runs.compose import completed_record
from lensbench.runs.environment import describe_environment
from lensbench.runs.layout import find_records
from lensbench.runs.record import SplitSummary
from lensbench.runs.store import RunStore

CLASSES = ("no", "sphere", "vort")
JUDGE = JudgeSpec(n_resamples=100)
SIDE = 64
WATCH = """
window.seen = {};
const watch = setInterval(() => {
  const button = document.querySelector(".ranking thead tr > :nth-child(2) button");
  if (button && !seen.sorted) {
    button.click();
    const order = button.closest("th").getAttribute("aria-sort");
    if (order === "ascending") seen.sorted = performance.now();
  }
  if (document.querySelector("#curves .scatterlayer path.js-line")) {
    seen.drawn = performance.now();
    if (EAGER) all(".plot").forEach((plot) => draw(plot));
    seen.all = performance.now();
    clearInterval(watch);
  }
}, 20);
"""
"""Clicks on a column until the table is sorted, and waits for the ROC curves."""


@dataclass(frozen=True)
class Line:
    """One measurement, beside what it is measured against."""

    what: str
    value: str
    baseline: str = ""
    ratio: str = ""


def main(
    n_models: int = 23, n_examples: int = 7500, repeats: int = 5, out: Path | None = None
) -> None:
    """Measure, print a table and write it.

    Args:
        n_models: Models of the report.
        n_examples: Test images.
        repeats: How often each thing is timed.
        out: Markdown file for the table.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_runs(root, n_models, n_examples)
        load = os.getloadavg()[0]
        comparison = compare(find_records(root / "runs"), JUDGE)
        page, seconds = root / "report.html", []
        for _ in range(repeats):
            clock = time.perf_counter()
            write_page(comparison, page, JUDGE)
            seconds.append(time.perf_counter() - clock)
        with chromium() as browser:
            lazy = [opened(browser, page, eager=False) for _ in range(repeats)]
            eager = [opened(browser, page, eager=True) for _ in range(repeats)]
            where = f"Chromium {browser.version}"
        size = page.stat().st_size
    at_once = [one["all"] for one in eager]
    drawn = [one["drawn"] for one in lazy]
    ratio = statistics.median(at_once) / statistics.median(drawn)
    report(
        [
            Line("size of the page", f"{size / 1e6:.1f} MB"),
            Line("writing it, once the models are compared", spread(seconds)),
            Line("first paint", spread([one["painted"] / 1e3 for one in lazy])),
            Line("the table is sorted", spread([one["sorted"] / 1e3 for one in lazy])),
            Line(
                "the ROC curves are drawn",
                spread([ms / 1e3 for ms in drawn]),
                f"all plots are drawn: {spread([ms / 1e3 for ms in at_once])}",
                f"{1 / ratio:.2f}",
            ),
        ],
        f"{where}, plotly {plotly_version}. {n_models} models, {n_examples:,} test images; medians "
        f"of {repeats}, from the fastest to the slowest. Load of the machine when it began: "
        f"{load:.1f}.",
        out,
    )


def make_runs(root: Path, n_models: int, n_examples: int) -> None:
    """Write images to `data` and to `runs` what models say of them, better and worse ones."""
    rng = np.random.default_rng(0)
    labels = np.arange(n_examples) % len(CLASSES)
    ids = [f"val/{CLASSES[label]}/{row:05}.npy" for row, label in enumerate(labels)]
    for name in ids:
        path = root / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, ring(rng))
    source = open_source(root / "data")
    catalogue = read_catalogue(source)
    digests = (facts.digest for facts in survey(catalogue, source))
    known = fingerprint(catalogue.ids, (catalogue.classes[k] for k in catalogue.labels), digests)
    common = rng.normal(size=(2, n_examples, len(CLASSES)))
    for place in range(n_models):
        parts = {}
        for part, noise in zip(("test", "validation"), common, strict=True):
            logits = noise + rng.normal(size=noise.shape)
            logits[np.arange(n_examples), labels] += 2.0 + 2.0 * place / n_models
            parts[part] = Predictions.of(
                [f"{part}-{name}" for name in ids] if part == "validation" else ids,
                labels,
                logits,
                CLASSES,
            )
        write_run(root, f"Model {place:02}", place, parts, known)


def ring(rng: np.random.Generator) -> np.ndarray:
    """Make an image that shrinks as a picture of a lens does, with photon noise."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    radius = np.hypot(x - rng.normal(0, 0.06), y - rng.normal(0, 0.06))
    light = 60 * np.exp(-(((radius - 0.5) / 0.08) ** 2)) + 2
    return rng.poisson(light).astype(np.float32)[None]


def write_run(
    root: Path, name: str, place: int, parts: dict[str, Predictions], test_fingerprint: str
) -> None:
    """Write one finished run."""
    store, n = RunStore(root / "runs", name), len(parts["test"].ids)
    for part, predictions in parts.items():
        predictions.save(store.predictions(part))
    losses = np.exp(-np.arange(15) / 5) + 0.1
    store.finish(
        completed_record(
            RunConfig(
                name=name,
                data=DataSpec(path=root / "data"),
                model=ModelSpec(identifier="torchvision/resnet18"),
                recipe=CONTRACT,
                judge=JUDGE,
            ),
            describe_environment("cpu", None, "32-true", 1),
            image_size=224,
            data_fingerprint="0" * 16,
            split=SplitSummary(
                convention="halved",
                fingerprint="0" * 16,
                n_train=4 * n,
                n_validation=n,
                n_test=n,
                test_fingerprint=test_fingerprint,
            ),
            warnings=(),
            weights_used="none",
            image_shape=(1, SIDE, SIDE),
            cost=Cost(
                model="torchvision/resnet18",
                image_size=(224, 224),
                channels=3,
                n_parameters=10_000_000 + place,
                multiply_adds=int(1e9 * 1.2**place),
            ),
            history=History(
                epochs=tuple(
                    Epoch(
                        train_loss=loss,
                        validation_loss=1.1 * loss,
                        validation_auc=1 - loss / 4,
                        learning_rate=1e-3,
                    )
                    for loss in losses.tolist()
                ),
                kept_epoch=12,
            ),
            timing=Timing(fit_seconds=600.0 * (1 + place), n_train_images_per_second=100),
            evaluation=evaluate(parts["test"], JUDGE),
            files={part: f"predictions_{part}.npz" for part in parts},
        )
    )


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium that is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        raise SystemExit("no Chromium is installed: install one, the page is timed in it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()


def opened(browser: Browser, page: Path, *, eager: bool) -> dict[str, float]:
    """Open the page at its ROC curves; return when what was there, in milliseconds."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    try:
        tab = context.new_page()
        tab.add_init_script(WATCH.replace("EAGER", "true" if eager else "false"))
        tab.goto(f"{page.as_uri()}#curves", wait_until="commit")
        tab.wait_for_function("() => window.seen?.all && window.seen.sorted")
        times: dict[str, float] = tab.evaluate(
            "({...seen, painted: performance.getEntriesByType('paint').at(-1).startTime})"
        )
        names = tab.locator(".ranking tbody th").all_inner_texts()
        if names != sorted(names):
            raise SystemExit(f"the table is not sorted: {names}")
        return times
    finally:
        context.close()


def spread(seconds: Sequence[float]) -> str:
    """Return the median and the extremes."""
    middle = statistics.median(seconds)
    return f"{middle:.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def report(lines: Sequence[Line], task: str, out: Path | None) -> None:
    """Print the table, and write it as Markdown."""
    machine = describe_environment("cpu", None, "32-true", os.cpu_count() or 1).device
    where = f"{machine}; {task}"
    table = Table("what", "measured", "beside", "ratio", title=where)
    for line in lines:
        table.add_row(line.what, line.value, line.baseline, line.ratio)
    Console(width=140).print(table)
    if out is not None:
        rows = [
            f"| {line.what} | {line.value} | {line.baseline} | {line.ratio} |" for line in lines
        ]
        head = ["| what | measured | beside | ratio |", "|" + " --- |" * 4]
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("\n".join([where, "", *head, *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    tyro.cli(main)
