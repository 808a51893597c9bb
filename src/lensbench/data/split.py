"""Catalogue -> the ids of training, validation and test images."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lensbench.config import SplitConvention, SplitSpec
from lensbench.data.catalogue import Catalogue
from lensbench.errors import DatasetError

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Three disjoint lists of ids, each sorted, and the name of the convention that made them."""

    convention: SplitConvention
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits, equal exactly for equal lists of ids."""
        lists = json.dumps([self.train, self.validation, self.test], ensure_ascii=True)
        return hashlib.sha256(lists.encode()).hexdigest()[:16]

    def write(self, folder: Path) -> None:
        """Write `train.txt`, `validation.txt` and `test.txt`, an id on each line.

        Lists of another split that are there already are moved to a folder below.
        """
        texts = {
            f"{part}.txt": "".join(f"{name}\n" for name in getattr(self, part)) for part in PARTS
        }
        files = [folder / name for name in texts if (folder / name).exists()]
        if any(file.read_text(encoding="utf-8") != texts[file.name] for file in files):
            aside = folder / f"superseded-{time.time_ns()}"
            aside.mkdir()
            for file in files:
                file.rename(aside / file.name)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")


def make_split(catalogue: Catalogue, spec: SplitSpec, default: SplitConvention) -> Split:
    """Divide a catalogue by a named convention.

    - `halved`: the data's `val` is divided into validation and test, `train` stays whole.
    - `sealed`: a tenth of `train` becomes validation, the data's `val` (or `test`) is the test.
    - `given`: the data's own `train`, `val` and `test`.
    - `stratified`: everything is divided; for data without partitions.

    Every draw is stratified by class. It orders the ids of a class by the SHA-256 of seed and id,
    so it depends on nothing but those two: not on the order of files, the machine or a library's
    random numbers.

    Args:
        catalogue: The images.
        spec: Convention (None: `default`, where the data's partitions allow it), fractions, seed.
        default: The convention of the recipe.

    Raises:
        DatasetError: The data do not have the partitions that the convention divides, or a part
            would lack a class.
    """
    partitions = set(catalogue.partitions)
    fitting = _fitting(partitions, default)
    convention = spec.convention or fitting
    if convention is None or not _NEEDS[convention](partitions):
        found = ", ".join(sorted(partitions)) or "no partitions"
        way_out = f"{fitting!r} does" if fitting else "give them train and val folders, or neither"
        raise DatasetError(
            f"{catalogue.source.path}: the split {convention or default!r} does not fit these "
            f"data, which have {found}; {way_out}"
        )
    rows = _by_partition(catalogue)
    if convention == "given":
        parts = (rows["train"], rows["val"], rows["test"])
    elif convention == "halved":
        validation, test = _draw(catalogue, rows["val"], spec.validation_fraction or 1 / 2, spec)
        parts = (rows["train"], validation, test)
    elif convention == "sealed":
        validation, train = _draw(catalogue, rows["train"], spec.validation_fraction or 0.1, spec)
        parts = (train, validation, rows["val"] or rows["test"])
    else:
        test, rest = _draw(catalogue, range(len(catalogue)), spec.test_fraction, spec)
        share = (spec.validation_fraction or 1 / 8) / (1 - spec.test_fraction)
        validation, train = _draw(catalogue, rest, share, spec)
        parts = (train, validation, test)
    for part, part_rows in zip(PARTS, parts, strict=True):
        _require_all_classes(catalogue, part, part_rows)
    return Split(convention, *(tuple(catalogue.ids[row] for row in sorted(p)) for p in parts))


_NEEDS: dict[SplitConvention, Callable[[set[str]], bool]] = {
    "halved": lambda partitions: partitions == {"train", "val"},
    "sealed": lambda partitions: "train" in partitions and len(partitions) == 2,
    "given": lambda partitions: partitions == {"train", "val", "test"},
    "stratified": lambda partitions: not partitions,
}


def _fitting(partitions: set[str], default: SplitConvention) -> SplitConvention | None:
    """Return the default, or what the data's own partitions call for; None if nothing fits."""
    candidates: tuple[SplitConvention, ...] = (default, "given", "sealed", "stratified")
    return next((name for name in candidates if _NEEDS[name](partitions)), None)


def _by_partition(catalogue: Catalogue) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, partition in enumerate(catalogue.partitions):
        rows[partition].append(row)
    return rows


def _draw(
    catalogue: Catalogue, rows: Iterable[int], fraction: float, spec: SplitSpec
) -> tuple[list[int], list[int]]:
    """Return the drawn fraction of each class, and the rest."""
    by_class: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        by_class[int(catalogue.labels[row])].append(row)
    drawn: list[int] = []
    rest: list[int] = []
    for members in by_class.values():
        members.sort(key=lambda row: _lot(spec.seed, catalogue.ids[row]))
        n_drawn = int(len(members) * fraction + 0.5)
        drawn += members[:n_drawn]
        rest += members[n_drawn:]
    return drawn, rest


def _lot(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def _require_all_classes(catalogue: Catalogue, part: str, rows: Iterable[int]) -> None:
    present = {int(catalogue.labels[row]) for row in rows}
    missing = [name for k, name in enumerate(catalogue.classes) if k not in present]
    if missing:
        raise DatasetError(
            f"{catalogue.source.path}: the {part} part would have no image of "
            f"{', '.join(missing)}; add images or choose other fractions"
        )
