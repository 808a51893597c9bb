"""Files -> Catalogue: which images there are, and what they are labelled."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from lensbench.config import DataSpec
from lensbench.data.images import SUFFIXES
from lensbench.data.source import Source, open_source
from lensbench.errors import DatasetError

PARTITIONS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Catalogue:
    """N images, sorted by id.

    Attributes:
        source: Where their bytes come from.
        ids: N unique names, `train/no/1.npy` or, in data without partitions, `no/1.npy`.
        members: N names of the same files in `source`.
        stamps: N texts that change when the file does.
        labels: (N,) int64, indices into `classes`.
        partitions: N times `train`, `val` or `test`; empty if the data have no split of their own.
        classes: K sorted class names.
        ignored: Files among the images that are no images.
    """

    source: Source
    ids: tuple[str, ...]
    members: tuple[str, ...]
    stamps: tuple[str, ...]
    labels: NDArray[np.int64]
    partitions: tuple[str, ...]
    classes: tuple[str, ...]
    ignored: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the positions of some ids, in their order."""
        return np.array([self._rows[name] for name in ids], dtype=np.int64)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when a file is added, removed, changed or moved."""
        digest = hashlib.sha256(str(self.source.path.resolve()).encode())
        for name, stamp in zip(self.ids, self.stamps, strict=True):
            digest.update(f"{name}\0{stamp}\n".encode())
        return digest.hexdigest()[:16]


def read_catalogue(spec: DataSpec) -> Catalogue:
    """List the images of a folder or archive without reading them.

    An image's class is the name of its folder, its partition the name of the folder above if
    that is `train`, `val` or `test`. Folders further up (`dataset/dataset/`), `__MACOSX` and
    hidden files do not matter.

    Raises:
        DatasetError: There are no images, no class folders or fewer than two classes; a class is
            missing from a partition; or the images lie under more than one root.
    """
    source = open_source(spec.path)
    stamps = {name: stamp for name, stamp in source.stamps().items() if not _is_debris(name)}
    images = [name for name in stamps if PurePosixPath(name).suffix.lower() in SUFFIXES]
    if not images:
        raise DatasetError(
            f"{spec.path}: no images found among {len(stamps)} files; "
            f"looked for {', '.join(sorted(SUFFIXES))}"
        )
    places = sorted((_place(spec, name), name) for name in images)
    _require_one_root(spec, [place for place, _ in places])
    ids = tuple("/".join(filter(None, place[1:])) for place, _ in places)
    for name, n in Counter(ids).items():
        if n > 1:
            raise DatasetError(
                f"{spec.path}: {n} files would both be {name}; folders such as val and validation "
                "mean the same partition: keep one"
            )
    classes = tuple(sorted({place[2] for place, _ in places}))
    partitions = tuple(place[1] for place, _ in places)
    _require_all_classes(spec, classes, partitions, [place[2] for place, _ in places])
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return Catalogue(
        source=source,
        ids=tuple(ids[i] for i in order),
        members=tuple(places[i][1] for i in order),
        stamps=tuple(stamps[places[i][1]] for i in order),
        labels=np.array([classes.index(places[i][0][2]) for i in order], dtype=np.int64),
        partitions=tuple(partitions[i] for i in order) if any(partitions) else (),
        classes=classes,
        ignored=_strangers(stamps.keys() - set(images), images),
    )


def _strangers(others: Iterable[str], images: Iterable[str]) -> tuple[str, ...]:
    """Return the files that lie beside images; a manifest further up is no stranger."""
    folders = {PurePosixPath(name).parent for name in images}
    return tuple(sorted(name for name in others if PurePosixPath(name).parent in folders))


def _is_debris(name: str) -> bool:
    return any(part == "__MACOSX" or part.startswith(".") for part in PurePosixPath(name).parts)


def _place(spec: DataSpec, name: str) -> tuple[str, str, str, str]:
    """Return (root, partition or "", class, file name)."""
    *folders, file = PurePosixPath(name).parts
    if not folders or folders[-1].lower() in PARTITIONS:
        raise DatasetError(
            f"{spec.path}: {name} lies in no class folder; expected "
            "{train,val}/{class}/ or {class}/ folders with the images in them"
        )
    partition = PARTITIONS.get(folders[-2].lower(), "") if len(folders) > 1 else ""
    root = folders[:-2] if partition else folders[:-1]
    return "/".join(root), partition, folders[-1], file


def _require_one_root(spec: DataSpec, places: Sequence[tuple[str, str, str, str]]) -> None:
    roots = Counter((root, bool(partition)) for root, partition, _, _ in places)
    if len(roots) > 1:
        found = ", ".join(f"{n} in {root or '.'}/" for (root, _), n in sorted(roots.items()))
        raise DatasetError(
            f"{spec.path}: the images belong to more than one data set ({found}); "
            "name the folder that holds just one"
        )


def _require_all_classes(
    spec: DataSpec, classes: Sequence[str], partitions: Sequence[str], names: Sequence[str]
) -> None:
    if len(classes) < 2:
        raise DatasetError(
            f"{spec.path}: found the single class {classes[0]!r}; a classifier needs at least two"
        )
    present = set(zip(partitions, names, strict=True))
    for partition in sorted(set(partitions)):
        missing = [name for name in classes if (partition, name) not in present]
        if missing:
            raise DatasetError(f"{spec.path}: {partition or '.'}/ lacks {', '.join(missing)}")
