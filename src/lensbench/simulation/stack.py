"""A simulated data set as one HDF5 file of photon counts, a tenth as large as the folder."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import DatasetError
from lensbench.simulation.block import Block
from lensbench.simulation.manifest import differing, is_unused, parse, write_manifest

if TYPE_CHECKING:
    import h5py

SUFFIXES = (".h5", ".hdf5")
"""How the names of such files end."""

_MANIFEST = "manifest.json"
_COMPRESSION = 4


@dataclass(frozen=True)
class Stack:
    """Groups `train` and `val` of images (N, 1, n, n) uint16, divisors, labels and ids (N,).

    The image that a folder would hold is `images / divisors`, in float64. Until the file is whole,
    its images wait in a folder beside it, one file for each block.

    Attributes:
        path: Where the file is, or shall be.
        n_pixels: Pixels on a side of its images.
    """

    path: Path
    n_pixels: int

    @property
    def tables(self) -> tuple[Path, Path]:
        """Where the parameters of the images and those of their perturbers are written."""
        stem = self.path.stem
        return (
            self.path.with_name(f"{stem}_parameters.csv"),
            self.path.with_name(f"{stem}_perturbers.csv"),
        )

    @property
    def _waiting(self) -> Path:
        return self.path.with_name(f"{self.path.name}.partial")

    def is_finished(self, manifest: dict[str, Any]) -> bool:
        """Return whether this data set is there already.

        Raises:
            DatasetError: Something else is.
        """
        if self.path.exists():
            self._require_same(self.path, self._stored_manifest(), manifest)
            return not self._waiting.exists() and all(table.is_file() for table in self.tables)
        if self._waiting.exists() and not (
            self._waiting.is_dir() and is_unused(self._waiting, begun=_MANIFEST)
        ):
            self._require_same(self._waiting, self._waiting_manifest(), manifest)
        elif of_another := [table for table in self.tables if table.exists()]:
            raise DatasetError(
                f"{of_another[0]} belongs to something else: choose another name, or delete it"
            )
        return False

    def missing(self, block: Block) -> Block:
        """Return the block if its images are not there, else no images of it."""
        is_there = self.path.exists() or self._file(block).exists()
        return block._replace(numbers=()) if is_there else block

    def begin(self, manifest: dict[str, Any]) -> None:
        """Say what the file will hold."""
        self._waiting.mkdir(parents=True, exist_ok=True)
        write_manifest(self._waiting / _MANIFEST, manifest)

    def write(self, block: Block, images: NDArray[np.uint16]) -> None:
        """Compress the images of a block, and keep them in a file that appears whole.

        Args:
            block: Which they are.
            images: Counts less the lowest of each image, (n, H, W).
        """
        from lensbench.simulation.render import divisors

        packed = [_compressed(image) for image in images]
        file = self._file(block)
        # One of each process: those of a run that was killed finish what they have begun.
        half_written = file.with_suffix(f".{os.getpid()}.tmp")
        with half_written.open("wb") as out:
            np.savez(
                out,
                chunks=np.frombuffer(b"".join(packed), dtype=np.uint8),
                lengths=np.array([len(chunk) for chunk in packed]),
                divisors=divisors(images),
            )
        half_written.replace(file)

    def finish(self, blocks: list[Block]) -> None:
        """Put all blocks into one file, which appears whole."""
        if not self.path.exists():  # else the last run was stopped while it cleared up
            self._join(blocks)
        shutil.rmtree(self._waiting)

    def _join(self, blocks: list[Block]) -> None:
        import h5py

        half_written = self._waiting / "stack.tmp"
        with h5py.File(half_written, "w") as file:
            file.attrs["manifest"] = (self._waiting / _MANIFEST).read_text(encoding="utf-8")
            for partition, of_partition in groupby(blocks, key=lambda block: block.partition):
                self._write_partition(file.create_group(partition), list(of_partition))
        half_written.replace(self.path)

    def _write_partition(self, group: h5py.Group, blocks: list[Block]) -> None:
        import h5py

        rows = [(block.label, number) for block in blocks for number in block.numbers]
        n = self.n_pixels
        images = group.create_dataset(
            "images",
            shape=(len(rows), 1, n, n),
            dtype="<u2",
            chunks=(1, 1, n, n),
            compression="gzip",
            compression_opts=_COMPRESSION,
            shuffle=True,
        )
        all_divisors = np.empty(len(rows), dtype=np.uint16)
        stored = zip(range(len(rows)), self._chunks(blocks), strict=True)
        for row, (chunk, divisor) in stored:
            images.id.write_direct_chunk((row, 0, 0, 0), chunk)
            all_divisors[row] = divisor
        group["divisors"] = all_divisors
        text = h5py.string_dtype()
        group.create_dataset("labels", data=[label for label, _ in rows], dtype=text)
        group.create_dataset("ids", data=[str(number) for _, number in rows], dtype=text)

    def _chunks(self, blocks: Iterable[Block]) -> Iterator[tuple[bytes, int]]:
        """Yield each image as compressed, and its divisor."""
        for block in blocks:
            with np.load(self._file(block)) as stored:
                chunks, lengths = stored["chunks"].tobytes(), stored["lengths"]
                block_divisors = stored["divisors"]
            ends = np.cumsum(lengths)
            for start, end, divisor in zip(ends - lengths, ends, block_divisors, strict=True):
                yield chunks[start:end], int(divisor)

    def _file(self, block: Block) -> Path:
        first, last = block.numbers[0], block.numbers[-1]
        return self._waiting / f"{block.partition}-{block.label}-{first}-{last}.npz"

    def _require_same(self, path: Path, found: dict[str, Any], manifest: dict[str, Any]) -> None:
        if others := differing(found, manifest):
            raise DatasetError(
                f"{path} holds something else ({', '.join(others)} differ): "
                "choose another name, or delete it"
            )

    def _stored_manifest(self) -> dict[str, Any]:
        import h5py

        try:
            with h5py.File(self.path) as file:
                return parse(str(file.attrs.get("manifest", "")))
        except OSError:
            return {}

    def _waiting_manifest(self) -> dict[str, Any]:
        file = self._waiting / _MANIFEST
        return parse(file.read_bytes()) if file.is_file() else {}


def _compressed(image: NDArray[np.uint16]) -> bytes:
    """Return an image as HDF5's filters shuffle and gzip leave it."""
    pairs = image.astype("<u2", copy=False).reshape(-1, 1).view(np.uint8)
    return zlib.compress(pairs.T.tobytes(), _COMPRESSION)
