"""What every source of files offers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from lensbench.errors import DatasetError

Load = Callable[[], bytes]
"""Reads one file. It raises DatasetError or OSError."""

PARTITIONS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""How partitions may be spelled, and what each spelling means."""


class Source(Protocol):
    """A list of named files. Names are POSIX paths relative to `path`."""

    @property
    def path(self) -> Path:
        """The folder, archive or stack."""
        ...

    def stamp(self) -> str:
        """Return a short text that changes when any file does; no contents are read.

        Raises:
            DatasetError: The files cannot be listed.
        """
        ...

    def names(self) -> list[str]:
        """Return the names of all regular files, sorted; hidden ones and `__MACOSX` do not count.

        Raises:
            DatasetError: The files cannot be listed, or it would be dangerous to read them.
        """
        ...

    def empty_folders(self) -> list[str]:
        """Return the names of all folders without any of these files, sorted, if it knows them.

        Raises:
            DatasetError: As `names`.
        """
        ...

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, Load]]:
        """Yield each name once, with how to read it, in the order that is fastest to read.

        Little is held in memory as long as each file is read soon after it is yielded.

        Args:
            names: Some of `names()`.

        Raises:
            DatasetError: An archive is damaged.
        """
        ...


def is_debris(name: str) -> bool:
    """Whether a file is hidden, or of those that macOS adds to archives."""
    return any(part == "__MACOSX" or part.startswith(".") for part in PurePosixPath(name).parts)


def without_files(folders: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the folders below which no file lies, sorted."""
    holding = {
        str(folder)
        for parent in {name.rpartition("/")[0] for name in names}
        for folder in (PurePosixPath(parent), *PurePosixPath(parent).parents)
    }
    return sorted(set(folders) - holding)


def interrupted(place: Path) -> DatasetError:
    """Return why images are refused whose simulation has not come to its end."""
    return DatasetError(
        f"{place}: the simulation of these images was interrupted, some are missing; the same "
        "`lensbench simulate` command completes them"
    )


class SingleFile:
    """A source that is one file, which changes when anything in it does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def stamp(self) -> str:
        """Return the hash of the file's size and times of change.

        Raises:
            DatasetError: There is no such file.
        """
        try:
            status = self.path.stat()
        except OSError as error:
            raise DatasetError(f"{self.path}: {error.strerror}") from error
        state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return hashlib.sha256(repr(state).encode()).hexdigest()
