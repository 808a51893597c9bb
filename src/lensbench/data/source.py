"""Where the bytes of a data set come from: a folder, or a zip archive read in place."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lensbench.config import DATASET_URL
from lensbench.errors import DatasetError


class Source(Protocol):
    """A list of named files. Names are POSIX paths relative to `path`."""

    @property
    def path(self) -> Path:
        """The folder or archive."""
        ...

    def stamps(self) -> dict[str, str]:
        """Return for each file a text that changes when the file does, without reading it."""
        ...

    def read(self, name: str) -> bytes:
        """Return the content of one file."""
        ...


def open_source(path: Path) -> Source:
    """Open a folder or a `.zip` archive.

    Raises:
        DatasetError: There is nothing at `path`, or it is neither of the two.
    """
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise DatasetError(
            f"{path}: no such file or folder. Simulate a data set with `lensbench simulate "
            f"{path}`, or download the real one from {DATASET_URL}."
        )
    if not zipfile.is_zipfile(path):
        raise DatasetError(f"{path}: neither a folder nor a readable .zip archive")
    return ZipSource(path)


@dataclass(frozen=True)
class FolderSource:
    """The files below a folder."""

    path: Path

    def stamps(self) -> dict[str, str]:
        """Return size and times of change of each file; links to folders are followed."""
        stamps = {}
        visited: set[str] = set()
        for folder, subfolders, files in os.walk(self.path, followlinks=True):
            # A link to a folder above would be walked for ever.
            subfolders[:] = [name for name in subfolders if not _seen(Path(folder, name), visited)]
            for name in files:
                place = Path(folder, name).relative_to(self.path).as_posix()
                stamps[place] = _stamp(Path(folder, name))
        return stamps

    def read(self, name: str) -> bytes:
        """Return the content of one file."""
        return (self.path / name).read_bytes()


def _stamp(file: Path) -> str:
    try:
        status = file.stat()
    except OSError:
        return "unreadable"  # a broken link, say; reading it will tell
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"


def _seen(folder: Path, visited: set[str]) -> bool:
    real = os.path.realpath(folder)
    was_there = real in visited
    visited.add(real)
    return was_there


class ZipSource:
    """The members of a zip archive; nothing is ever unpacked to disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive = zipfile.ZipFile(path)

    def stamps(self) -> dict[str, str]:
        """Return size and checksum of each member."""
        return {
            member.filename: f"{member.file_size}:{member.CRC}"
            for member in self._archive.infolist()
            if not member.is_dir()
        }

    def read(self, name: str) -> bytes:
        """Return the content of one member.

        Raises:
            DatasetError: The member is damaged or encrypted.
        """
        try:
            return self._archive.read(name)
        except (zipfile.BadZipFile, RuntimeError, EOFError, OSError) as error:
            raise DatasetError(f"{self.path}: {name}: {error}") from error
