"""Named arrays in one `.npz` or HDF5 file, read row by row and never unpickled."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lensbench.data.formats.arrays import NpyHeader, npy_array, npy_header
from lensbench.data.formats.fault import MAX_IMAGE_BYTES, ImageFault, require_affordable
from lensbench.data.formats.hdf5 import require_self_contained
from lensbench.data.formats.zipped import read_member, require_bounded

if TYPE_CHECKING:
    import h5py

_HDF5_SUFFIXES = frozenset({".h5", ".hdf5"})
STACK_SUFFIXES = _HDF5_SUFFIXES | {".npz"}
"""How the names of files of many arrays end."""

_MAX_NPY_HEADER = 2**14  # NumPy refuses longer ones


class Kind(NamedTuple):
    """Shape (N, ...) and dtype of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


class NamedArrays(Protocol):
    """The named arrays of one file."""

    def names(self) -> Collection[str]:
        """Return the names of all arrays."""
        ...

    def kind(self, name: str) -> Kind:
        """Return the shape and dtype of an array, of whose values none is read."""
        ...

    def values(self, name: str) -> NDArray[np.generic]:
        """Return a whole array of numbers or texts, the latter perhaps as Python's objects."""
        ...

    def rows(self, name: str, wanted: Sequence[int]) -> Iterator[Callable[[], bytes]]:
        """Yield for each of the ascending rows how to read its bytes, in C order."""
        ...


def open_arrays(path: Path) -> NamedArrays:
    """Open a file whose name ends as one of `STACK_SUFFIXES`.

    Raises:
        Exception: Many kinds, here and from what is returned, if the file is damaged.
    """
    if path.suffix.lower() in _HDF5_SUFFIXES:
        return _Hdf5Arrays(path)
    return _NpzArrays(path)


class _NpzArrays:
    """The arrays of a `.npz` file; rows are read from front to back as the file is inflated."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path)
        self._members = {
            member.filename.removesuffix(".npy"): member for member in self._archive.infolist()
        }
        self._headers: dict[str, NpyHeader] = {}

    def names(self) -> Collection[str]:
        return self._members.keys()

    def kind(self, name: str) -> Kind:
        header = self._header(name)
        return Kind(header.shape, header.dtype)

    def values(self, name: str) -> NDArray[np.generic]:
        header = self._header(name)
        require_affordable(header.shape, header.dtype.itemsize)
        return npy_array(read_member(self._archive, self._members[name]), header)

    def rows(self, name: str, wanted: Sequence[int]) -> Iterator[Callable[[], bytes]]:
        header = self._header(name)
        if header.is_fortran:
            raise ValueError(f"{name} is in Fortran order; save np.ascontiguousarray({name})")
        n_bytes = _n_bytes(header.shape[1:], header.dtype)
        with self._archive.open(self._members[name]) as file:
            for row in wanted:
                file.seek(header.n_bytes + row * n_bytes)
                content = file.read(n_bytes)
                if len(content) != n_bytes:
                    raise EOFError(f"{name} is cut short")
                yield partial(bytes, content)

    def _header(self, name: str) -> NpyHeader:
        if name not in self._headers:
            member = self._members[name]
            require_bounded(member)
            with self._archive.open(member) as file:
                start = file.read(_MAX_NPY_HEADER)
            try:
                header = npy_header(start)
            except ImageFault as fault:
                if fault.code != "object-array":
                    raise
                # As pandas gives out texts.
                raise ValueError(
                    f"{name} holds Python objects, which are never unpickled; save texts as "
                    f"{name}.astype(str), numbers as an array of numbers"
                ) from fault
            if member.file_size != header.n_bytes + _n_bytes(header.shape, header.dtype):
                raise EOFError(f"{name} is longer or shorter than it says")
            self._headers[name] = header
        return self._headers[name]


class _Hdf5Arrays:
    """The datasets of an HDF5 file; h5py itself lets only one thread at a time read."""

    def __init__(self, path: Path) -> None:
        import h5py

        # A chunk larger than the cache would be inflated anew for each of its rows; those larger
        # than this are refused.
        self._file = h5py.File(path, "r", rdcc_nbytes=MAX_IMAGE_BYTES)
        self._datasets: dict[str, h5py.Dataset] = {}

        def collect(name: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset):
                self._datasets[name] = item

        self._file.visititems(collect)  # visits no soft or external links

    def names(self) -> Collection[str]:
        return self._datasets.keys()

    def kind(self, name: str) -> Kind:
        dataset = self._datasets[name]
        return Kind(dataset.shape or (), dataset.dtype)

    def values(self, name: str) -> NDArray[np.generic]:
        import h5py

        dataset = self._dataset(name)
        require_affordable(dataset.shape, dataset.dtype.itemsize)
        if h5py.check_string_dtype(dataset.dtype) is None:
            return np.asarray(dataset[()])
        # As objects: an array of texts would take the longest one's memory for each.
        return np.asarray(dataset.asstr()[()])

    def rows(self, name: str, wanted: Sequence[int]) -> Iterator[Callable[[], bytes]]:
        dataset = self._dataset(name)
        for row in wanted:
            yield partial(_row_of, dataset, row)

    def _dataset(self, name: str) -> h5py.Dataset:
        dataset = self._datasets[name]
        require_self_contained(dataset)
        require_affordable(dataset.chunks or (), dataset.dtype.itemsize)
        return dataset


def _row_of(dataset: h5py.Dataset, row: int) -> bytes:
    values: NDArray[np.generic] = dataset[row]
    return values.tobytes()


def _n_bytes(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> int:
    return math.prod(shape) * dtype.itemsize
