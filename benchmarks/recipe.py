"""What each part of the recipe `lensbench` is worth: the recipe with one thing changed at a time.

Usage: python benchmarks/recipe.py [--folder DIR] [--out FILE] [--epochs 6] [--only NAME ...]

Trains a classifier on simulated lenses once for each line below, and judges the VALIDATION
predictions, never the test images: these are there because a run needs some. Each line is tested
against the recipe, both with one view of each image, on the same images. Runs that are finished
are not made again, so that an interrupted benchmark goes on; lines may also be made by several
calls with `--only`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from safetensors.torch import load_file

import lensbench
from lensbench.choices import choose_models
from lensbench.config import DataSpec, MachineSpec, ModelSpec, Recipe, SplitSpec
from lensbench.data.pack import open_or_build_pack
from lensbench.outcome import Predictions
from lensbench.recipes import recipe_for
from lensbench.runs.record import RunRecord
from lensbench.training.fit import predict
from lensbench.zoo.build import load_classifier
from lensbench.zoo.names import resolve

BASE = "lensbench"
OTHER_SEED = "another seed"

Changes = Mapping[str, Mapping[str, Any]]
"""What each line changes of the recipe."""

CHANGES: Changes = {
    BASE: {},
    OTHER_SEED: {"seed": 43},
    "no stretch": {"stretch": "none"},
    "flips alone": {"symmetry": "flips", "rotation_degrees": 0.0},
    "D4, nothing interpolated": {"rotation_degrees": 0.0},
    "D4, nothing interpolated, another seed": {"rotation_degrees": 0.0, "seed": 43},
    "all turned by any angle": {"affine_share": 1.0},
    "weights averaged over the last 5 %": {"average": 0.05},
    "weights averaged over the last 20 %": {"average": 0.2},
    "labels smoothed by 0.1": {"label_smoothing": 0.1},
    "gradient not clipped": {"gradient_clip": "none"},
    "decay of all weights": {"decayed": "all"},
    "no warm-up": {"warm_up": 0.0},
    "one cycle": {"schedule": "one-cycle", "warm_up": 0.0},
    "constant rate": {"schedule": "constant", "warm_up": 0.0},
    "batches of 16": {"batch_size": 16},
    "rate of batches not scaled": {"reference_batch_size": "none"},
}

ONE_VIEW = {"test_time_augmentation": "none"}


@dataclass(frozen=True)
class Line:
    """A result on the validation images, and its difference from the recipe as it is."""

    what: str
    command: str
    auc: str
    difference: str
    log_loss: str


def main(
    folder: Path = Path("recipe-benchmark"),
    out: Path | None = None,
    model: str = "ResNet18",
    population: str = "demo",
    n_train: int = 700,
    epochs: int = 6,
    batch_size: int = 32,
    threads: int | None = None,
    only: tuple[str, ...] = (),
    table: bool = False,
) -> None:
    """Train what is missing, print the table and write it.

    Args:
        folder: For data, packs and runs; what is there already is used.
        out: Markdown file for the table.
        model: What is trained.
        population: Of the simulated lenses.
        n_train: Images of each class; four tenths of them validate.
        epochs: Of each run.
        batch_size: Of each run but one.
        threads: CPU threads.
        only: Lines to train; no table is made.
        table: Train nothing, and make the table of the lines that are there.
    """
    (row,) = choose_models([model], with_batch_sizes=False)
    # Weights are random, since those of the libraries cannot be had everywhere.
    plan = recipe_for(BASE, ModelSpec(identifier=str(resolve(row.identifier))))
    changes = _changes(plan)
    data = lensbench.simulate(
        folder / "data", population=population, n_train=n_train, n_val=20, processes=1
    )
    spec = DataSpec(path=data, cache=folder / "cache")
    runs = folder / f"{model}-{epochs}-epochs"
    settings = {"epochs": epochs, "batch_size": batch_size}
    for name in () if table else only or changes:
        lensbench.run(
            spec,
            [f"{name.translate(_FILE_NAME)}={model}"],
            recipe=plan,
            out=runs,
            pretrained=False,
            split=SplitSpec(validation_fraction=0.4),
            machine=MachineSpec(threads=threads),
            **(settings | ({} if name == BASE else ONE_VIEW) | changes[name]),
        )
    if only:
        return
    made = [
        name for name in changes if (runs / name.translate(_FILE_NAME) / "record.json").exists()
    ]
    lines = [
        _line(runs, name, _one_view(runs, name.translate(_FILE_NAME)), changes[name])
        for name in made
    ]
    eight = _all_views(runs, BASE)
    if _one_view(runs, BASE) != eight:
        lines.insert(1, _line(runs, "eight views of each image", eight, {}))
    if OTHER_SEED in made:
        lines.append(_line(runs, "mean of weights of both seeds", _soup(runs, spec), {}))
    _report(lines, runs, f"{model}, {epochs} epochs, population {population}", out)
    missing = [name for name in changes if name not in made]
    if missing:
        print(f"not trained yet, and left out: {', '.join(missing)}")


def _changes(recipe: Recipe) -> Changes:
    """Return all lines, with those that depend on what the recipe is for the model."""
    rates = {
        "rate x 3": {"learning_rate": round(3 * recipe.learning_rate, 6)},
        "rate / 3": {"learning_rate": round(0.3 * recipe.learning_rate, 6)},
    }
    layers = {"one rate for all layers": {"layer_decay": 1.0}} if recipe.layer_decay < 1 else {}
    return {**CHANGES, **rates, **layers}


def _all_views(runs: Path, name: str) -> Path:
    return runs / name / "predictions_validation.npz"


def _one_view(runs: Path, name: str) -> Path:
    """Return the predictions from one view, which are all there are where none others are made."""
    alone = runs / name / "predictions_validation_single_view.npz"
    return alone if alone.exists() else _all_views(runs, name)


_FILE_NAME = str.maketrans({"/": "-", ",": "", "%": "percent"})


def _soup(runs: Path, data: DataSpec) -> Path:
    """Predict by the mean of the weights of two seeds, and return where the predictions are.

    Wortsman et al. (2022, arXiv:2203.05482) average fits that began with the same pretrained
    weights; these did not, and there is no reason why it should work.
    """
    names = (BASE, OTHER_SEED)
    classifier = load_classifier(runs / BASE / "weights.safetensors")
    states = [load_file(runs / name / "weights.safetensors") for name in names]
    mean = {key: sum(state[key].double() for state in states) / len(states) for key in states[0]}
    classifier.load_state_dict(
        {key: value.to(states[0][key].dtype) for key, value in mean.items()}, strict=False
    )
    record = RunRecord.read(runs / BASE / "record.json")
    assert record.lensbench is not None
    assert record.lensbench.run is not None
    alone = Predictions.load(_one_view(runs, BASE))
    pack = open_or_build_pack(data)
    rows = pack.catalogue.rows_of(tuple(map(str, alone.ids)))
    plan = record.lensbench.run.recipe.model_copy(update={"test_time_augmentation": "none"})
    (logits,) = predict(classifier, pack, rows, plan, MachineSpec())
    soup = Predictions(alone.ids, alone.labels, logits.astype(np.float64), alone.classes)
    path = _all_views(runs, "soup")
    soup.save(path)
    return path


def _line(runs: Path, what: str, predictions: Path, changes: Mapping[str, Any]) -> Line:
    """Judge predictions, and test them against those that the recipe makes of one view."""
    base = _one_view(runs, BASE)
    files = [f"changed={predictions}", f"base={base}"]
    comparison = lensbench.evaluate(files)
    loss = lensbench.evaluate(files[:1], metric="log_loss")
    changed = next(entry for entry in comparison.entries if entry.name == "changed")
    (pair,) = comparison.pairs
    sign = 1 if pair.first == "changed" else -1
    low, high = sorted((sign * pair.difference.low, sign * pair.difference.high))
    is_base = files[0].endswith(f"={base}")
    flags = " ".join(
        f"--{key.replace('_', '-')} {shlex.quote(str(value))}" for key, value in changes.items()
    )
    return Line(
        what,
        f"`{flags}`" if flags else "",
        str(changed.auc),
        ""
        if is_base
        else f"{sign * pair.difference.value:+.4f} [{low:+.4f}, {high:+.4f}], p {pair.p_value:.2g}",
        str(loss.entries[0].estimate),
    )


def _report(lines: list[Line], runs: Path, task: str, out: Path | None) -> None:
    """Print the table, and write it as Markdown."""
    record = RunRecord.read(runs / BASE / "record.json")
    assert record.lensbench is not None
    ours = record.lensbench
    assert ours.split is not None
    assert ours.environment is not None
    text = "\n".join(
        [
            f"{task}: {ours.split.n_train:,} images to train, judged on "
            f"{ours.split.n_validation:,} validation images; {record.machine}, torch "
            f"{torch.__version__}. The recipe as it is for pretrained weights, from random ones. "
            "Each line is the recipe with one thing changed, one view of each image but where it "
            "says eight; differences are from the first line, on the same images, with their "
            "uncorrected p-values (DeLong), which know nothing of the noise of training: the line "
            "of another seed tells how large that is.",
            "",
            "| changed | on the command line | macro AUC | difference | log loss |",
            "|" + " --- |" * 5,
            *(
                f"| {line.what} | {line.command} | {line.auc} | {line.difference} | "
                f"{line.log_loss} |"
                for line in lines
            ),
            "",
        ]
    )
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    tyro.cli(main)
