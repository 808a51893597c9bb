"""Where the files of a run lie."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

RECORD = "record.json"
"""In the folder of a run."""


@dataclass(frozen=True)
class Layout:
    """File names relative to the store's root; `{name}` is the name of the run."""

    record: str = f"{{name}}/{RECORD}"
    weights: str = "{name}/weights.safetensors"
    predictions: str = "{name}/predictions_{part}.npz"
    split: str = "{name}/split"
    work: str = "{name}/unfinished"
    lock: str = "{name}/training.lock"
    run_figures: str = "{name}"
    csv: str = "comparison.csv"

    def records_of(self, root: Path) -> Path:
        """Return the folder, below the store's root, that `compare` and `report` take."""
        above = takewhile(lambda part: "{name}" not in part, Path(self.record).parts)
        return root.joinpath(*above)


NATIVE = Layout()

PREDICTED = ("validation", "test", "validation_single_view", "test_single_view")
"""Predictions that a run may leave. Those of a single view are from the image alone; the others are
means over its views, if there are several."""


def contract_layout(results: str, weights: str, split: str, csv: str) -> Layout:
    """Return the contract's file names, in folders of the given names.

    Figures lie directly in the root, as the contract's document shows them.
    """
    return Layout(
        record=f"{results}/results_{{name}}.json",
        weights=f"{weights}/best_model_{{name}}.safetensors",
        predictions=f"{results}/predictions_{{part}}_{{name}}.npz",
        split=split,
        work=f"{weights}/unfinished_{{name}}",
        lock=f"{weights}/training_{{name}}.lock",
        run_figures=".",
        csv=csv,
    )


RECALL_FIGURE = "recall_against"
"""How the names of figures begin that show recall against a number known of each image."""


def run_figure_names(name: str) -> dict[str, str]:
    """Return the contract's names for the figures of one run, by what they show."""
    kinds = ("confusion_matrix", "roc_curve", "training_history")
    return {kind: file_name(kind, name) for kind in kinds}


def file_name(*parts: str) -> str:
    """Return the name of a figure; a record from elsewhere may be called anything."""
    return re.sub(r"[^\w .+()-]", "_", "_".join(parts)) + ".png"


def find_records(root: Path, layout: Layout = NATIVE) -> list[Path]:
    """Return the records below a root, sorted.

    `root` may also be the folder of one run, or a folder of records.
    """
    # What is around the name is no pattern, whatever characters are in it.
    pattern = Path(glob.escape(layout.record).replace("{name}", "*"))
    base = Path(pattern.anchor) if pattern.is_absolute() else root
    found = set(base.glob(str(pattern.relative_to(pattern.anchor))))
    return sorted(found | set(root.glob("results_*.json")) | set(root.glob(RECORD)))
