"""The recipes `contract` and `lensbench` side by side on DeepLense's two-class set of 2020.

Usage: python benchmarks/lenses_2020.py FOLDER [--runs DIR] [--threads N] [--out FILE]

FOLDER holds `no_sub` and `sub`, 8,000 JPEG images. Both recipes train the same model from random
weights on 6,000 of them, choose on 1,000 and are tested once on the other 1,000, each for as many
epochs as fit into about the same time. Runs that are finished are not made again.

With `--train-fraction 0.25 --contract-epochs 15 --epochs 8` the contract has all of its epochs, on
1,500 images, in about an hour; `--image-size 96 --epochs 10` makes ours faster still. Both recipes
have our loop, which is faster than the contract's way of feeding it: `training.py --parts others`
says how much longer that takes.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

import lensbench
from lensbench.config import DataSpec, MachineSpec, SplitSpec
from lensbench.runs.record import RunRecord

PUBLISHED = 0.956
"""AUC that is said to have been published for this set, of another split; no reference is known."""


def main(
    folder: tyro.conf.Positional[Path],
    runs: Path = Path("lenses-2020"),
    model: str = "ResNet18",
    contract_epochs: int = 3,
    epochs: int = 4,
    batch_size: int = 32,
    image_size: int | Literal["native"] = "native",
    train_fraction: float = 1,
    threads: int | None = None,
    cache: Path | None = None,
    out: Path | None = None,
) -> None:
    """Train what is missing, print the table and write it.

    Args:
        folder: The images.
        runs: For the runs.
        model: What is trained.
        contract_epochs: Of the recipe `contract`, whose 15 take hours on a CPU.
        epochs: Of the recipe `lensbench`.
        batch_size: Of the recipe `lensbench`; few epochs need many steps.
        image_size: Of the recipe `lensbench`, in pixels.
        train_fraction: Share of the 6,000 to train on.
        threads: CPU threads.
        cache: For the pack.
        out: Markdown file for the table.
    """
    # One order in memory for both, the faster one of a ResNet, so that times are the recipes'.
    machine = MachineSpec(threads=threads, memory_format="channels-last", compile="no")
    ours: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "image_size": image_size}
    for name, recipe, changes in (
        ("Contract", "contract", {"epochs": contract_epochs}),
        ("Lensbench", "lensbench", ours),
    ):
        lensbench.run(
            DataSpec(path=folder, cache=cache),
            [f"{name}={model}"],
            recipe=recipe,
            out=runs,
            pretrained=False,
            split=SplitSpec(convention="stratified", train_fraction=train_fraction),
            machine=machine,
            **changes,
        )
    text = table(runs, model)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")


def table(runs: Path, model: str) -> str:
    """Return the results of both runs, and how soon ours reaches what the other one reaches."""
    records = {
        name: RunRecord.read(runs / name / "record.json") for name in ("Contract", "Lensbench")
    }
    comparison, _ = lensbench.compare([runs / name / "record.json" for name in records])
    single = runs / "Lensbench" / "predictions_test_single_view.npz"
    alone = lensbench.evaluate([f"single={single}"]).entries[0]
    machines = " and ".join(
        dict.fromkeys(f"{one.machine}, {_arithmetic(one)}" for one in records.values())
    )
    ours = records["Lensbench"].lensbench
    assert ours is not None
    assert ours.split is not None
    lines = [
        f"{model} from random weights on {ours.split.n_train:,} images; {machines}, torch "
        f"{torch.__version__}.",
        "",
        "| recipe | pixels | epochs | AUC, 95 % interval | accuracy, 95 % interval | seconds |",
        "|" + " --- |" * 6,
    ]
    for name, record in records.items():
        entry = next(entry for entry in comparison.entries if entry.name == name)
        seconds = record.training_time_s or 0.0
        lines.append(
            f"| {name.lower()} | {_image_size(record)} | {len(record.val_aucs)} | {entry.auc} | "
            f"{entry.accuracy} | {seconds:,.0f} |"
        )
        if name == "Lensbench":
            lines.append(
                f"| the same, one view of each image | | | {alone.auc} | {alone.accuracy} | |"
            )
    (pair,) = comparison.pairs
    published = next(entry for entry in comparison.entries if entry.name == "Lensbench").auc
    lines += [
        "",
        f"Difference in AUC, {pair.first} minus {pair.second}: {pair.difference}, p "
        f"{pair.p_value:.2g} ({pair.method}). The published AUC is {PUBLISHED}; the interval of "
        f"ours {'excludes' if published.low > PUBLISHED else 'does not exclude'} it.",
        "",
        _time_to_auc(records["Contract"], records["Lensbench"]),
        "",
    ]
    return "\n".join(lines)


def _arithmetic(record: RunRecord) -> str:
    assert record.lensbench is not None
    assert record.lensbench.environment is not None
    return record.lensbench.environment.arithmetic


def _image_size(record: RunRecord) -> int | str:
    assert record.lensbench is not None
    assert record.lensbench.run is not None
    return record.lensbench.run.recipe.image_size


def _time_to_auc(contract: RunRecord, ours: RunRecord) -> str:
    """Say when the validation AUC first reached the best one of the contract's run."""
    target = max(contract.val_aucs)
    epochs = [_epochs_to(target, record.val_aucs) for record in (contract, ours)]
    seconds = [
        (record.training_time_s or 0.0) * n / len(record.val_aucs)
        for record, n in zip((contract, ours), epochs, strict=True)
    ]
    best = (
        f"The contract's best validation AUC, {target:.4f}, was reached by it in {epochs[0]} "
        f"epochs ({seconds[0]:,.0f} s)"
    )
    if epochs[1] > len(ours.val_aucs):
        return f"{best}, and not by ours."
    return (
        f"{best} and by ours in {epochs[1]} ({seconds[1]:,.0f} s): "
        f"{epochs[0] / epochs[1]:.1f} times as many images, and with the same loop "
        f"{seconds[0] / seconds[1]:.1f} times as long."
    )


def _epochs_to(target: float, aucs: Sequence[float]) -> int:
    """Return in how many epochs an AUC is reached; one more than there are if it never is."""
    return 1 + len(list(itertools.takewhile(lambda auc: auc < target, aucs)))


if __name__ == "__main__":
    tyro.cli(main)
