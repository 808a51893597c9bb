"""One `.npz` or HDF5 file of all images and labels, as a folder of `.npy` files."""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from lensbench.data.formats.fault import ImageFault, require_affordable
from lensbench.data.sources.named_arrays import Kind, NamedArrays, open_arrays
from lensbench.data.sources.source import PARTITIONS, Load, SingleFile
from lensbench.errors import DatasetError

_IMAGES, _LABELS = ("images", "x"), ("labels", "y")
_PREFIXES = {"": ""} | {
    spelling + mark: partition for spelling, partition in PARTITIONS.items() for mark in "_/"
}
_IMAGES_OR_LABELS = re.compile(rf"(.*[_/])?({'|'.join(_IMAGES + _LABELS)})", re.DOTALL)
_EXPECTED = (
    "expected the arrays images (or x) and labels (or y), or train_images, train_labels, "
    "val_images and so on, in HDF5 also as groups train, val and test"
)
_QUOTIENT = np.dtype("<f8")
_MAX_ROWS = 10_000_000  # beyond, their names alone take all memory
_MAX_NAME = 255  # of a file or folder, on most systems

_DAMAGE = (
    *(ImageFault, zipfile.BadZipFile, zlib.error),
    *(OSError, EOFError, RuntimeError, ValueError, KeyError),
)


class _Part(NamedTuple):
    """The images of one partition."""

    images: str
    rows: Mapping[str, int]  # by file name
    divisors: NDArray[np.float64] | None


class StackSource(SingleFile):
    """One file of arrays, each row of which is presented as `[partition/]class/id.npy`.

    Images are (N, H, W), (N, C, H, W) or (N, H, W, C), labels (N,) or (N, 1) integers or texts.
    An array `classes` may name the integers, an array `ids` (N,) the images. Of an array
    `divisors` (N,) or (N, 1), finite and above 0, each image is divided by its own: what is
    presented is the float64 quotient.

    Args:
        path: The file.
        labelled: Whether there must be labels. If not, and there are none, an image is presented
            as `[partition/]id.npy`.
    """

    def __init__(self, path: Path, *, labelled: bool = True) -> None:
        super().__init__(path)
        self._labelled = labelled

    def names(self) -> list[str]:
        """Return the names of all images, sorted.

        Raises:
            DatasetError: The file is damaged, or its arrays are no images with labels.
        """
        return sorted(name for part in self._parts for name in part.rows)

    def empty_folders(self) -> list[str]:
        """Return nothing: arrays have no folders."""
        return []

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, Load]]:
        """Yield each name with how to read it as a `.npy` file, in the order of the arrays.

        Raises:
            DatasetError: The file is damaged, or its arrays are no images with labels.
        """
        wanted = frozenset(names)
        for part in self._parts:
            chosen = {name: row for name, row in part.rows.items() if name in wanted}
            kind = self._arrays.kind(part.images)
            head = _npy_head(kind if part.divisors is None else kind._replace(dtype=_QUOTIENT))
            loads = self._arrays.rows(part.images, list(chosen.values()))
            try:
                for (name, row), load in zip(chosen.items(), loads, strict=True):
                    if part.divisors is not None:
                        load = partial(_quotient, load, kind.dtype, part.divisors[row])
                    yield name, partial(self._load, head, load)
            except _DAMAGE as error:
                raise self._damaged(error) from error

    def _load(self, head: bytes, load: Callable[[], bytes]) -> bytes:
        try:
            return head + load()
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DatasetError:
        return DatasetError(f"{self.path}: no readable stack of images: {error}")

    @cached_property
    def _arrays(self) -> NamedArrays:
        try:
            return open_arrays(self.path)
        except _DAMAGE as error:
            raise self._damaged(error) from error

    @cached_property
    def _parts(self) -> tuple[_Part, ...]:
        try:
            return tuple(self._find_parts())
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def _find_parts(self) -> Iterator[_Part]:
        there = self._arrays.names()
        found = [
            (partition, prefix, prefix + images, labels)
            for prefix, partition in _PREFIXES.items()
            for images in _IMAGES
            if prefix + images in there
            for labels in self._labels(prefix)
        ]
        partitions = [partition for partition, *_ in found]
        if not found or len(set(partitions)) < len(found) or ("" in partitions and len(found) > 1):
            problem = "more than one stack" if found else "no images with labels"
            raise DatasetError(
                f"{self.path}: {problem} among the arrays {', '.join(sorted(there))}; {_EXPECTED}"
            )
        self._require_no_more({name for _, _, *pair in found for name in pair})
        for prefix in _PREFIXES:
            lone = f"{prefix}divisors"
            if lone in there and not any(prefix + images in there for images in _IMAGES):
                raise DatasetError(
                    f"{self.path}: {lone} has no {prefix}images to divide; name it as the images "
                    "are: train_divisors for train_images, train/divisors for train/images"
                )
        for partition, prefix, images, labels in found:
            yield self._part(partition, prefix, images, labels)

    def _labels(self, prefix: str) -> list[str]:
        """Return the arrays of labels of a partition; an empty name if it needs none."""
        there = [prefix + labels for labels in _LABELS if prefix + labels in self._arrays.names()]
        return there or ([] if self._labelled else [""])

    def _require_no_more(self, used: Collection[str]) -> None:
        """Refuse images of a partition that has another name or no labels: they would be lost."""
        there = self._arrays.names()
        for name in sorted(set(there) - set(used)):
            match = _IMAGES_OR_LABELS.fullmatch(name)
            if match is None:
                continue
            prefix, word = match[1] or "", match[2]
            partners = [prefix + other for other in (_LABELS if word in _IMAGES else _IMAGES)]
            is_image = word in _IMAGES and len(self._arrays.kind(name).shape) in (3, 4)
            if prefix in _PREFIXES and (is_image or (prefix and word in _LABELS)):
                raise DatasetError(
                    f"{self.path}: {name} has no {' or '.join(partners)} beside it, and would be "
                    f"left out; {_EXPECTED}"
                )
            if is_image and not set(partners).isdisjoint(there):
                raise DatasetError(
                    f"{self.path}: {name} belongs to no partition that is known, and would be left "
                    f"out: name it after one of {', '.join(PARTITIONS)}"
                )

    def _part(self, partition: str, prefix: str, images: str, labels: str) -> _Part:
        shape, dtype = self._arrays.kind(images)
        if len(shape) not in (3, 4) or dtype.kind not in "fiu":
            raise DatasetError(
                f"{self.path}: {images} has shape {shape} and dtype {dtype}; expected numbers "
                "(N, H, W), (N, C, H, W) or (N, H, W, C)"
            )
        require_affordable(shape[1:], dtype.itemsize)
        if shape[0] > _MAX_ROWS:
            raise DatasetError(
                f"{self.path}: {images} has {shape[0]:,} rows; a stack may have {_MAX_ROWS:,}, so "
                "write several"
            )
        divisors = None
        if f"{prefix}divisors" in self._arrays.names():
            require_affordable(shape[1:], _QUOTIENT.itemsize)
            divisors = self._divisors(f"{prefix}divisors", shape[0])
        ids = f"{prefix}ids"
        classes = self._classes(prefix, labels, shape[0]) if labels else [""] * shape[0]
        if ids in self._arrays.names():
            stems = self._texts(ids, shape[0])
        else:
            stems = [f"{row:0{len(str(shape[0]))}}" for row in range(shape[0])]
        rows: dict[str, int] = {}
        for row, (folder, stem) in enumerate(zip(classes, stems, strict=True)):
            name = "/".join(filter(None, (partition, folder, f"{stem}.npy")))
            if rows.setdefault(name, row) != row:
                raise DatasetError(f"{self.path}: {ids} names two images of {folder} {stem!r}")
        return _Part(images, rows, divisors)

    def _divisors(self, name: str, n_images: int) -> NDArray[np.float64]:
        """Return what each image is to be divided by."""
        shape, dtype = self._arrays.kind(name)
        if shape not in ((n_images,), (n_images, 1)) or dtype.kind not in "fiu":
            raise DatasetError(
                f"{self.path}: {name} has shape {shape} and dtype {dtype}; write ({n_images},) "
                "numbers, one for each image, or leave it out"
            )
        divisors = self._column(name, n_images).astype(np.float64)
        bad = np.flatnonzero(~(np.isfinite(divisors) & (divisors > 0)))
        if bad.size:
            raise DatasetError(
                f"{self.path}: {bad.size} of {n_images} {name} are not finite and above 0, first "
                f"that of row {bad[0]}, {divisors[bad[0]]}; write 1 where an image is to stay as "
                "it is"
            )
        return divisors

    def _classes(self, prefix: str, labels: str, n_images: int) -> list[str]:
        """Return the class of each image."""
        if self._arrays.kind(labels).dtype.kind not in "iu":
            return self._texts(labels, n_images)
        numbers = self._column(labels, n_images).astype(np.int64)
        known = {f"{prefix}classes", "classes"}.intersection(self._arrays.names())
        if not known:
            return [str(number) for number in numbers]
        name = max(known, key=len)  # the partition's own
        classes = self._texts(name, math.prod(self._arrays.kind(name).shape))
        if len(set(classes)) < len(classes):
            raise DatasetError(
                f"{self.path}: {name} names a class twice: {', '.join(classes)}; were names cut?"
            )
        if n_images and not 0 <= numbers.min() <= numbers.max() < len(classes):
            raise DatasetError(f"{self.path}: {labels} go beyond the {len(classes)} classes")
        return [classes[number] for number in numbers]

    def _texts(self, name: str, n: int) -> list[str]:
        """Return texts that are fit for names of files and folders."""
        column = self._column(name, n)
        values = column.tolist()
        if not all(type(value) in (bytes, str, int) for value in values):
            raise DatasetError(
                f"{self.path}: {name} are {column.dtype}, no texts or integers; write "
                f"{name}.astype(int)"
            )
        texts = [value.decode() if isinstance(value, bytes) else str(value) for value in values]
        for text in texts:
            if len(text) > _MAX_NAME:
                raise DatasetError(
                    f"{self.path}: {name} holds a text of {len(text):,} characters, "
                    f"{text[:20]!r}…; a name may have {_MAX_NAME}"
                )
            if not text or text.startswith(".") or set(text) & set("/\\\0"):
                raise DatasetError(f"{self.path}: {name} holds {text!r}, which can name no file")
        return texts

    def _column(self, name: str, n: int) -> NDArray[np.generic]:
        """Return an array (n,) that may be stored as (n, 1)."""
        shape = self._arrays.kind(name).shape
        if shape not in ((n,), (n, 1)):
            one_hot = "; of one column for each class, take argmax(1)" if len(shape) == 2 else ""
            raise DatasetError(f"{self.path}: {name} has shape {shape}; expected ({n},){one_hot}")
        return self._arrays.values(name).reshape(n)


def _quotient(load: Callable[[], bytes], dtype: np.dtype[np.generic], divisor: np.float64) -> bytes:
    values = np.frombuffer(load(), dtype).astype(_QUOTIENT)
    with np.errstate(over="ignore"):  # the audit counts what is not finite
        values /= divisor
    return values.tobytes()


def _npy_head(images: Kind) -> bytes:
    """Return the header of a `.npy` file of one row."""
    file = io.BytesIO()
    description = npy.dtype_to_descr(images.dtype)
    fields = {"descr": description, "fortran_order": False, "shape": images.shape[1:]}
    npy.write_array_header_1_0(file, fields)
    return file.getvalue()
