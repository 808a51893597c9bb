"""Writes the pixels of a pack, image by image."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.data.encoding import Encoded, Kind, common_kind, decode, widen
from lensbench.errors import DatasetError


class PackWriter:
    """Writes images to an `.npy` file, whose shape and dtype are known with the first of them.

    When an image does not fit that dtype, all are written anew in a wider one.

    Args:
        folder: Where the files go: `{dtype}.npy` and `divisors.npy`.
        n_images: How many there will be.
    """

    def __init__(self, folder: Path, n_images: int) -> None:
        self._folder = folder
        self._divisors = np.ones(n_images, dtype=np.float32)
        self._is_written = np.zeros(n_images, dtype=bool)
        self.shortage: DatasetError | None = None
        self._stored: np.memmap[Any, Any] | None = None
        self._kind: Kind = "uint8"

    def write(self, row: int, image: Encoded) -> None:
        """Write one image; one of another shape than the first is left out.

        If the disk cannot take all images, none is written, and `shortage` says so.
        """
        if self.shortage is not None:
            return
        try:
            self._write(row, image)
        except DatasetError as error:
            self.shortage = error

    def _write(self, row: int, image: Encoded) -> None:
        stored = self._stored
        if stored is None:
            stored = self._create(image.kind, image.values.shape)
        if image.values.shape != stored.shape[1:]:
            return
        kind = common_kind(self._kind, image.kind)
        if kind != self._kind:
            stored = self._widen(stored, kind)
        wide = widen(image, kind)
        stored[row] = wide.values
        self._divisors[row] = wide.divisor
        self._is_written[row] = True

    def read(self, row: int) -> NDArray[np.float32]:
        """Return the image (C, H, W) float32 that was written to a row."""
        assert self._stored is not None  # noqa: S101 - nobody reads before the first is written
        images = decode(self._stored[row : row + 1], self._divisors[row : row + 1])
        return images.reshape(images.shape[1:])

    def close(self) -> Kind:
        """Finish the files; return the dtype that `stored` has."""
        if self._stored is not None:
            self._stored.flush()
            self._stored = None  # Windows renames no folder, and deletes no file, that is open
        for file in self._folder.glob("*.npy"):
            if file.stem != self._kind:
                file.unlink()
        np.save(self._folder / "divisors.npy", self._divisors)
        return self._kind

    def _create(self, kind: Kind, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
        whole = (len(self._divisors), *shape)
        self._require_space(int(np.prod(whole)) * np.dtype(kind).itemsize)
        self._kind = kind
        file = self._folder / f"{kind}.npy"
        self._stored = np.lib.format.open_memmap(file, mode="w+", dtype=np.dtype(kind), shape=whole)
        if hasattr(os, "posix_fallocate"):  # else the file has holes until they are written
            try:
                with file.open("r+b") as handle:
                    os.posix_fallocate(handle.fileno(), 0, file.stat().st_size)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):  # others: it cannot be reserved
                    raise DatasetError(
                        f"{file}: no room for all images ({error.strerror}); name another folder "
                        "with --cache"
                    ) from error
        return self._stored

    def _widen(self, narrow: np.memmap[Any, Any], kind: Kind) -> np.memmap[Any, Any]:
        stored = self._create(kind, narrow.shape[1:])
        for row in np.flatnonzero(self._is_written):
            wide = widen(Encoded(narrow[row], float(self._divisors[row])), kind)
            stored[row] = wide.values
            self._divisors[row] = wide.divisor
        return stored

    def _require_space(self, n_bytes: int) -> None:
        # A memory map on a full disk kills the process instead of raising an error.
        n_free = shutil.disk_usage(self._folder).free
        if n_bytes > n_free:
            raise DatasetError(
                f"packing these images takes {n_bytes / 1e9:.1f} GB, but {self._folder.parent} has "
                f"{n_free / 1e9:.1f} GB left; name another folder with --cache"
            )
