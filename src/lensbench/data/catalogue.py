"""Files -> Catalogue: which images there are, and what they are labelled."""

from __future__ import annotations

import posixpath
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lensbench.config import UNFINISHED, is_text
from lensbench.data.formats.decode import SUFFIXES, suffix_of
from lensbench.data.sources.source import PARTITIONS, Source, interrupted
from lensbench.data.table import read_ids_and
from lensbench.errors import DatasetError


@dataclass(frozen=True)
class Catalogue:
    """N images, sorted by id.

    Attributes:
        path: The folder, archive or stack.
        ids: N unique names, `train/no/1.npy` or, in data without partitions, `no/1.npy`; in
            Unicode's composed form, so that they are the same on every file system.
        members: N names of the same files in their source.
        labels: (N,) int64, indices into `classes`.
        partitions: N times `train`, `val` or `test`; empty if the data have no split of their own.
        classes: K sorted class names.
        ignored: Files that are no images, among the images or where a class folder would be.
        empty: Folders without files where a class folder would be.
        unlabelled: Images that a file of labels does not name.
    """

    path: Path
    ids: tuple[str, ...]
    members: tuple[str, ...]
    labels: NDArray[np.int64]
    partitions: tuple[str, ...]
    classes: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the positions of some ids, in their order."""
        return np.array([self._rows[name] for name in ids], dtype=np.int64)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}


class _Place(NamedTuple):
    """What the path of an image says: `root/partition/label/file`."""

    root: str
    partition: str
    label: str
    id: str
    member: str


def images_among(names: Iterable[str], path: Path) -> list[str]:
    """Return the names of those files that are images, in their order.

    Raises:
        DatasetError: There are none, or one has a name that is no UTF-8.
    """
    names = list(names)
    images = [name for name in names if suffix_of(name)]
    if not images:
        raise DatasetError(
            f"{path}: no images found among {len(names)} files; "
            f"looked for {', '.join(sorted(SUFFIXES))}. An archive is read where it lies: name it"
        )
    for name in images:
        if not is_text(name):
            raise DatasetError(
                f"{path}: the name {name!r} is no UTF-8, which no list could hold; rename it"
            )
    return images


def read_catalogue(source: Source, labels: Path | None = None) -> Catalogue:
    """List the images of a source without reading them.

    An image's class is the name of its folder, its partition the name of the folder above if
    that is `train`, `val` or `test`. Folders further up (`dataset/dataset/`), `__MACOSX` and
    hidden files do not matter.

    With a file of labels, images may lie in any folders; one called `train`, `val` or `test` is
    still their partition. The file is a CSV with columns `id` (path, path without suffix, or file
    name with or without suffix) and `label`; other columns do not matter. Images that it does not
    name are left out, and the audit says so.

    Raises:
        DatasetError: There are no images, no class folders or fewer than two classes; a class is
            missing from a partition; the images lie under more than one root; or a file of labels
            names an image twice, with a name that fits several, or one that is not there. Or
            their simulation was interrupted.
    """
    names = source.names()
    for name in names:
        if posixpath.basename(name) == UNFINISHED:
            raise interrupted(source.path / posixpath.dirname(name))
    images = images_among(names, source.path)
    others = [name for name in names if not suffix_of(name)]
    if labels is None:
        places = _by_folders(source.path, images)
        ignored, empty = _in_class_folders(places, others, source.empty_folders())
    else:
        places = _labelled(source.path, images, labels)
        ignored, empty = _beside(source.path, images, others, labels), ()
    places.sort(key=lambda place: place.id)
    for name, n in Counter(place.id for place in places).items():
        if n > 1:
            alike = ", ".join(repr(place.member) for place in places if place.id == name)
            raise DatasetError(
                f"{source.path}: {n} files would both be {name}: {alike}. Folders such as val and "
                "validation mean the same partition, and an accent is the same however it is "
                "stored: keep one"
            )
    classes = tuple(sorted({place.label for place in places}))
    _require_all_classes(source.path, classes, places)
    partitions = tuple(place.partition for place in places)
    number = {name: k for k, name in enumerate(classes)}
    members = tuple(place.member for place in places)
    return Catalogue(
        path=source.path,
        ids=tuple(place.id for place in places),
        members=members,
        labels=np.array([number[place.label] for place in places], dtype=np.int64),
        partitions=partitions if any(partitions) else (),
        classes=classes,
        ignored=_printable(ignored),
        empty=_printable(empty),
        unlabelled=tuple(sorted(set(images) - set(members))),
    )


def _in_class_folders(
    places: Iterable[_Place], others: Iterable[str], empty_folders: Iterable[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the other files in class folders and beside them, and the empty ones beside them.

    A manifest further up is no stranger; a folder of the images' root without any may be a class.
    """
    roots = {(place.root, bool(place.partition)) for place in places}

    def is_there(name: str) -> bool:
        place = _place(name)
        return place is not None and (place.root, bool(place.partition)) in roots

    return (
        tuple(name for name in others if is_there(name)),
        tuple(folder for folder in empty_folders if is_there(f"{folder}/x")),
    )


def _beside(
    path: Path, images: Iterable[str], others: Iterable[str], labels: Path
) -> tuple[str, ...]:
    """Return the files that lie beside images, but for the labels."""
    folders = {PurePosixPath(name).parent for name in images}
    if labels.resolve().is_relative_to(path.resolve()):
        others = set(others) - {labels.resolve().relative_to(path.resolve()).as_posix()}
    return tuple(sorted(name for name in others if PurePosixPath(name).parent in folders))


def _printable(names: Iterable[str]) -> tuple[str, ...]:
    """Return names that a record can hold, whatever bytes they are."""
    return tuple(name.encode(errors="backslashreplace").decode() for name in names)


def _composed(name: str) -> str:
    # macOS lists names with their accents as characters of their own.
    return unicodedata.normalize("NFC", name)


def _place(member: str) -> _Place | None:
    """Return what the path of a file says, None if it lies in no class folder."""
    *folders, file = PurePosixPath(_composed(member)).parts
    if not folders or folders[-1].lower() in PARTITIONS:
        return None
    partition = PARTITIONS.get(folders[-2].lower(), "") if len(folders) > 1 else ""
    root = folders[:-2] if partition else folders[:-1]
    name = "/".join(filter(None, (partition, folders[-1], file)))
    return _Place("/".join(root), partition, folders[-1], name, member)


def _by_folders(path: Path, images: Sequence[str]) -> list[_Place]:
    """Give images the labels that their folders say."""
    places = []
    for member in images:
        place = _place(member)
        if place is None:
            raise DatasetError(
                f"{path}: {member} lies in no class folder; expected {{train,val}}/{{class}}/ or "
                "{class}/ folders with the images in them, or a CSV file with --labels (no class "
                f"can be called {', '.join(PARTITIONS)})"
            )
        places.append(place)
    _require_one_root(path, places)
    return places


def _labelled(path: Path, images: Sequence[str], labels: Path) -> list[_Place]:
    """Give the images that a file names their labels."""
    known: dict[str, list[str]] = defaultdict(list)
    for member in images:
        path_there = PurePosixPath(_composed(member))
        file = path_there.name
        stem = file[: len(file) - len(suffix_of(file) or "")]
        for key in {str(path_there), str(path_there.with_name(stem)), file, stem}:
            known[key].append(member)
    label_of: dict[str, str] = {}
    for key, label in read_ids_and("label", labels):
        if not (key and label):
            raise DatasetError(f"{labels}: a line lacks its {'label' if key else 'id'}: {key!r}")
        match known.get(key, []):
            case [member] if member in label_of:
                raise DatasetError(f"{labels}: {member} has two lines, the second as {key!r}")
            case [member]:
                label_of[member] = label
            case []:
                raise DatasetError(f"{labels}: there is no image {key!r} in {path}")
            case members:
                raise DatasetError(
                    f"{labels}: {key!r} fits {len(members)} images, {members[0]} and "
                    f"{members[1]}; write their paths"
                )
    # Not of all images: one more that has no label must not give the others new names.
    above = [posixpath.dirname(member) for member in label_of]
    top = posixpath.commonpath(above) if above else ""
    places = []
    for member, label in label_of.items():
        folders = PurePosixPath(_composed(member)).parts[:-1]
        partition = next((PARTITIONS[f.lower()] for f in folders if f.lower() in PARTITIONS), "")
        name = _composed(PurePosixPath(member).relative_to(top).as_posix())
        places.append(_Place(top, partition, label, name, member))
    return places


def _require_one_root(path: Path, places: Sequence[_Place]) -> None:
    roots = Counter((place.root, bool(place.partition)) for place in places)
    if len(roots) > 1:
        found = ", ".join(f"{n} in {root or '.'}/" for (root, _), n in sorted(roots.items()))
        raise DatasetError(
            f"{path}: the images belong to more than one data set ({found}); "
            "name the folder that holds just one"
        )


def _require_all_classes(path: Path, classes: Sequence[str], places: Sequence[_Place]) -> None:
    if len(classes) < 2:
        raise DatasetError(
            f"{path}: found {'the single class ' + repr(classes[0]) if classes else 'no label'}; "
            "a classifier needs at least two"
        )
    present = {(place.partition, place.label) for place in places}
    for partition in sorted({place.partition for place in places}):
        missing = [name for name in classes if (partition, name) not in present]
        if missing:
            raise DatasetError(f"{path}: {partition or '.'}/ lacks {', '.join(missing)}")
