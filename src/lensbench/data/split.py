"""Catalogue -> the ids of training, validation and test images."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lensbench.config import DefaultSplit, SplitConvention, SplitSpec
from lensbench.data.catalogue import Catalogue
from lensbench.data.table import read_ids_and
from lensbench.errors import DatasetError
from lensbench.whole_file import write_whole

PARTS = ("train", "validation", "test")

_PARTITION_IN_CSV = {
    "train": "train",
    "validation": "val",
    "val": "val",
    "test": "test",
    "unused": "unused",
}

_N_SHOWN = 3


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
        for name, text in texts.items():
            write_whole(folder / name, text)


def make_split(
    catalogue: Catalogue, spec: SplitSpec, default: DefaultSplit, groups: NDArray[np.int64]
) -> Split:
    """Divide a catalogue by a named convention.

    - `halved`: the data's `val` is divided into validation and test, `train` stays whole.
    - `sealed`: a tenth of `train` becomes validation, the data's `val` (or `test`) is the test.
    - `given`: the data's own `train`, `val` and `test`.
    - `stratified`: everything is divided; for data without partitions.
    - `kfold`: everything is divided into equal parts, whatever partitions the data have; one of
      them is the test, an eighth of the others becomes validation.
    - `csv`: a file names the part of every image.

    Whatever the convention, `train_fraction` then keeps a share of the training images.

    Every draw is stratified by class. It orders the ids of a class by the SHA-256 of seed and id,
    so it depends on nothing but those two: not on the order of files, the machine or a library's
    random numbers. Copies of an image have the class and the lot of the first of them, so that
    no draw parts them; a share may then be exceeded, by less than one image and its copies.

    Args:
        catalogue: The N images.
        spec: Convention (None: `default`, where the data's partitions allow it), fractions, seed.
        default: The convention of the recipe.
        groups: (N,) int64; the row of the first of an image's copies, its own if there are none.

    Raises:
        DatasetError: The data do not have the partitions that the convention divides, the file
            cannot be read or does not name exactly the data's images, or a part would lack a
            class.
    """
    convention = _choose(catalogue, spec, default)
    _require_no_idle_fraction(catalogue, spec, convention)
    rows = _by_partition(_read_csv(catalogue, spec.file) if spec.file else catalogue.partitions)
    draw = _Draw(catalogue, groups, spec.seed)
    if spec.fold is not None:
        start, stop = spec.fold / spec.folds, (spec.fold + 1) / spec.folds
        test, rest = draw(range(len(catalogue)), stop, start=start)
        validation, train = draw(rest, spec.validation_fraction or 1 / 8)
    elif convention in ("given", "csv"):
        train, validation, test = rows["train"], rows["val"], rows["test"]
    elif convention == "halved":
        train = rows["train"]
        validation, test = draw(rows["val"], spec.validation_fraction or 1 / 2)
    elif convention == "sealed":
        validation, train = draw(rows["train"], spec.validation_fraction or 1 / 10)
        test = rows["val"] or rows["test"]
    else:
        test, rest = draw(range(len(catalogue)), spec.test_fraction)
        share = (spec.validation_fraction or 1 / 8) / (1 - spec.test_fraction)
        validation, train = draw(rest, share)
    train, _ = draw(train, spec.train_fraction, least=1)
    parts = (train, validation, test)
    for part, part_rows in zip(PARTS, parts, strict=True):
        _require_all_classes(catalogue, part, part_rows)
    return Split(convention, *(tuple(sorted(catalogue.ids[row] for row in p)) for p in parts))


def straddling(split: Split, catalogue: Catalogue, groups: NDArray[np.int64]) -> tuple[str, ...]:
    """Return the ids whose copies lie in different parts, such as the data's own partitions.

    Args:
        split: The parts; images in none of them do not count.
        catalogue: The N images.
        groups: (N,) int64, as for `make_split`.
    """
    members: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for part in PARTS:
        ids = getattr(split, part)
        for name, group in zip(ids, groups[catalogue.rows_of(ids)].tolist(), strict=True):
            members[group].append((part, name))
    apart = (copies for copies in members.values() if len({part for part, _ in copies}) > 1)
    return tuple(sorted(name for copies in apart for _, name in copies))


_NEEDS: dict[SplitConvention, Callable[[set[str]], bool]] = {
    "halved": lambda partitions: partitions == {"train", "val"},
    "sealed": lambda partitions: "train" in partitions and len(partitions) == 2,
    "given": lambda partitions: partitions == {"train", "val", "test"},
    "stratified": lambda partitions: not partitions,
}


WITHOUT_CONVENTION = (
    "give them train and val folders, or neither, or say how to divide them (--split.file, "
    "--split.fold)"
)
"""What to do with data whose partitions no convention divides."""


def fitting_convention(
    partitions: Collection[str], default: DefaultSplit = "sealed"
) -> DefaultSplit | None:
    """Return the first convention, the default before all others, that takes these partitions."""
    candidates: tuple[DefaultSplit, ...] = (default, "given", "sealed", "stratified")
    return next((name for name in candidates if _NEEDS[name](set(partitions))), None)


def _choose(catalogue: Catalogue, spec: SplitSpec, default: DefaultSplit) -> SplitConvention:
    """Return what is asked for, else the default, else what the data's own partitions call for."""
    if spec.file is not None:
        return "csv"
    if spec.fold is not None:
        return "kfold"
    partitions = set(catalogue.partitions)
    fitting = fitting_convention(partitions, default)
    convention = spec.convention or fitting
    if convention is None or not _NEEDS[convention](partitions):
        found = ", ".join(sorted(partitions)) or "no partitions"
        way_out = f"{fitting!r} does" if fitting else WITHOUT_CONVENTION
        raise DatasetError(
            f"{catalogue.path}: the split {convention or default!r} does not fit these "
            f"data, which have {found}; {way_out}"
        )
    return convention


def _require_no_idle_fraction(
    catalogue: Catalogue, spec: SplitSpec, convention: SplitConvention
) -> None:
    """Refuse a setting that the convention would pass over in silence."""
    idle = []
    if spec.test_fraction != SplitSpec().test_fraction and convention != "stratified":
        idle.append("test_fraction")
    if spec.validation_fraction is not None and convention in ("given", "csv"):
        idle.append("validation_fraction")
    if idle:
        raise DatasetError(
            f"{catalogue.path}: the split {convention!r} has its parts already and does not use "
            f"{' and '.join(idle)}; leave it out, or choose another split"
        )


def _by_partition(partitions: Iterable[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, partition in enumerate(partitions):
        rows[partition].append(row)
    return rows


def _read_csv(catalogue: Catalogue, file: Path) -> list[str]:
    """Return the partition of each image of a catalogue according to a file."""
    named = read_ids_and("part", file)
    parts = dict(named)
    problems = {
        f"have a part that is none of {', '.join(_PARTITION_IN_CSV)}": [
            name for name, part in named if part not in _PARTITION_IN_CSV
        ],
        "are named more than once": [
            name for name, n in Counter(name for name, _ in named).items() if n > 1
        ],
        f"are no images of {catalogue.path}": sorted(parts.keys() - set(catalogue.ids)),
        "are images that are not named: list them as unused to leave them out": [
            name for name in catalogue.ids if name not in parts
        ],
    }
    found = [
        f"{len(names)} ids {problem} (the first: {', '.join(map(repr, names[:_N_SHOWN]))})"
        for problem, names in problems.items()
        if names
    ]
    if found:
        raise DatasetError("\n  ".join([f"{file} does not divide the images:", *found]))
    return [_PARTITION_IN_CSV[parts[name]] for name in catalogue.ids]


class _Draw:
    """All images of a catalogue in the order of their lots, copies side by side."""

    def __init__(self, catalogue: Catalogue, groups: NDArray[np.int64], seed: int) -> None:
        self._groups: list[int] = groups.tolist()
        self._strata: list[int] = catalogue.labels[groups].tolist()
        lots = [_lot(seed, catalogue.ids[first]) for first in self._groups]
        self._order = sorted(range(len(lots)), key=lots.__getitem__)

    def __call__(
        self, rows: Iterable[int], stop: float, *, start: float = 0, least: int = 0
    ) -> tuple[list[int], list[int]]:
        """Return the rows of each class between two shares of its queue, and the rest."""
        among = set(rows)
        queues: dict[int, list[int]] = defaultdict(list)
        for row in self._order:
            if row in among:
                queues[self._strata[row]].append(row)
        drawn: list[int] = []
        rest: list[int] = []
        for queue in queues.values():
            first = int(len(queue) * start + 0.5)
            last = max(least, int(len(queue) * stop + 0.5))
            position = 0
            for _, copies in groupby(queue, self._groups.__getitem__):
                group = list(copies)
                (drawn if first <= position < last else rest).extend(group)
                position += len(group)
        return drawn, rest


def _lot(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def _require_all_classes(catalogue: Catalogue, part: str, rows: Iterable[int]) -> None:
    present = {int(catalogue.labels[row]) for row in rows}
    missing = [name for k, name in enumerate(catalogue.classes) if k not in present]
    if missing:
        raise DatasetError(
            f"{catalogue.path}: the {part} part would have no image of "
            f"{', '.join(missing)}; add images or divide them otherwise"
        )
