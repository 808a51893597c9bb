"""A simulated data set as a folder of `.npy` files, the format of the archive."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lensbench.config import UNFINISHED
from lensbench.errors import DatasetError
from lensbench.simulation.block import Block
from lensbench.simulation.manifest import differing, is_unused, parse, write_manifest

_MANIFEST = "manifest.json"
_UNFINISHED_FILES = ".unfinished"
_NPY_HEADER_BYTES = 128


def is_data_set(folder: Path) -> bool:
    """Return whether a folder is a simulated data set, or the beginning of one."""
    return any((folder / name).exists() for name in (_MANIFEST, UNFINISHED))


@dataclass(frozen=True)
class Folder:
    """`{train,val}/{no,sphere,vort}/<number>.npy` of (1, n, n) float64 in [0, 1].

    Attributes:
        path: Where it is, or shall be.
        n_pixels: Pixels on a side of its images.
    """

    path: Path
    n_pixels: int

    @property
    def tables(self) -> tuple[Path, Path]:
        """Where the parameters of the images and those of their perturbers are written."""
        return self.path / "parameters.csv", self.path / "perturbers.csv"

    def is_finished(self, manifest: dict[str, Any]) -> bool:
        """Return whether this data set is there already, and whole.

        Raises:
            DatasetError: Something else is.
        """
        if not self.path.exists():
            return False
        if not self.path.is_dir():
            raise DatasetError(f"{self.path} is not a folder: choose another path")
        if is_unused(self.path, begun=UNFINISHED):
            return False
        for name in (_MANIFEST, UNFINISHED):
            file = self.path / name
            if file.is_file():
                if others := differing(parse(file.read_bytes()), manifest):
                    raise DatasetError(
                        f"{self.path} holds something else ({', '.join(others)} differ, see "
                        f"{name}): choose another folder, or delete this one"
                    )
                return name == _MANIFEST and all(table.is_file() for table in self.tables)
        raise DatasetError(
            f"{self.path} is not empty and holds no simulated data set: "
            "choose another folder, or delete this one"
        )

    def missing(self, block: Block) -> Block:
        """Return the images of a block that are not there, or were cut off in writing."""
        n_bytes = _NPY_HEADER_BYTES + 8 * self.n_pixels**2
        return block._replace(
            numbers=tuple(
                number
                for number, name in zip(block.numbers, block.ids, strict=True)
                if not (file := self.path / name).is_file() or file.stat().st_size != n_bytes
            )
        )

    def begin(self, manifest: dict[str, Any]) -> None:
        """Say what the folder will hold."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_manifest(self.path / UNFINISHED, manifest)
        (self.path / _MANIFEST).unlink(missing_ok=True)

    def write(self, block: Block, images: NDArray[np.uint16]) -> None:
        """Write the images of a block.

        Args:
            block: Which they are.
            images: Counts less the lowest of each image, (n, H, W).
        """
        from lensbench.simulation.render import normalised

        (self.path / _UNFINISHED_FILES).mkdir(exist_ok=True)
        for name, image in zip(block.ids, normalised(images), strict=True):
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            worker = f"{os.getpid()}-{threading.get_ident()}"
            half_written = self.path / _UNFINISHED_FILES / f"{worker}.npy"
            with half_written.open("wb") as out:
                np.save(out, image)
            half_written.replace(file)

    def finish(self, blocks: list[Block]) -> None:
        """Say that all is there."""
        shutil.rmtree(self.path / _UNFINISHED_FILES, ignore_errors=True)
        (self.path / UNFINISHED).replace(self.path / _MANIFEST)
