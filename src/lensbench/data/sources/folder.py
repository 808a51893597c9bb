"""The files below a folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Collection, Iterator
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from lensbench.data.formats.decode import suffix_of
from lensbench.data.formats.fault import MAX_FILE_BYTES
from lensbench.data.sources.source import Load, is_debris, without_files
from lensbench.errors import DatasetError


class _State(NamedTuple):
    """What tells one version of a file from another."""

    n_bytes: int
    modified_ns: int
    changed_ns: int


_N_AHEAD = 256
_UNREADABLE = _State(0, 0, 0)  # a broken link, say; reading it will tell


class FolderSource:
    """The regular files below a folder, listed once, as are folders with several names, by links.

    Hidden files and folders do not count: systems add and change them as they like.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def stamp(self) -> str:
        """Return the hash of all names, and of sizes and times of change of the images.

        Raises:
            DatasetError: A folder cannot be listed.
        """
        digest = hashlib.sha256()
        for name in self.names():
            state = self._files[name] if suffix_of(name) else ""
            digest.update(f"{name}\0{state}\n".encode(errors="surrogateescape"))
        for folder in self.empty_folders():
            digest.update(f"{folder}/\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def names(self) -> list[str]:
        """Return the names of all files but hidden ones, sorted.

        Raises:
            DatasetError: A folder cannot be listed.
        """
        return sorted(self._files)

    def empty_folders(self) -> list[str]:
        """Return the names of all folders without these files, sorted.

        Raises:
            DatasetError: A folder cannot be listed.
        """
        return without_files(self._folders, self._files)

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, Load]]:
        """Yield each name with how to read it, in the order given."""
        coming = iter(names)
        for name in islice(coming, _N_AHEAD):
            self._announce(name)
        for name in names:
            if (later := next(coming, None)) is not None:
                self._announce(later)
            yield name, partial(self._load, name)

    def _announce(self, name: str) -> None:
        """Let the system fetch a file from the disk while others are worked on."""
        if not hasattr(os, "posix_fadvise"):
            return
        with contextlib.suppress(OSError):  # a system that cannot; a file that reading will name
            file = os.open(self.path / name, os.O_RDONLY | os.O_NONBLOCK)
            try:
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(file)

    def _load(self, name: str) -> bytes:
        if self._files[name].n_bytes > MAX_FILE_BYTES:
            raise DatasetError(f"{self.path}: {name} is larger than {MAX_FILE_BYTES:,} bytes")
        return (self.path / name).read_bytes()

    @cached_property
    def _files(self) -> dict[str, _State]:
        return {name: state for name, state in self._listed.items() if state is not None}

    @property
    def _folders(self) -> list[str]:
        return [name for name, state in self._listed.items() if state is None]

    @cached_property
    def _listed(self) -> dict[str, _State | None]:
        try:
            return dict(_walk(self.path))
        except OSError as error:
            raise DatasetError(f"{self.path}: cannot list {error.filename}: {error}") from error


def _walk(root: Path) -> Iterator[tuple[str, _State | None]]:
    """Yield the name of each file and its state, of each folder and None.

    What a link leads to goes by its own name if it has one; by others, it seems to be empty.

    `os.scandir` rather than `os.walk`: that would ask the system for each file twice.
    """
    folders, links, visited = [(str(root), "")], list[tuple[str, str]](), set[tuple[int, int]]()
    while folders or links:
        folder, prefix = folders.pop() if folders else links.pop(links.index(min(links)))
        status = Path(folder).stat()
        identity = (status.st_dev, status.st_ino)
        if prefix:
            yield prefix.removesuffix("/"), None
        if identity in visited:  # a link to a folder above would be walked for ever
            continue
        visited.add(identity)
        with os.scandir(folder) as entries:
            for entry in entries:
                name = prefix + entry.name
                if is_debris(name):
                    continue
                if _is_folder(entry):
                    (links if entry.is_symlink() else folders).append((entry.path, f"{name}/"))
                elif (state := _state(entry)) is not None:
                    yield name, state


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _state(entry: os.DirEntry[str]) -> _State | None:
    """Return the state of a file, None for what is none: reading a pipe would never end."""
    try:
        status = entry.stat()
    except OSError:
        return _UNREADABLE
    if not stat.S_ISREG(status.st_mode):
        return None
    return _State(status.st_size, status.st_mtime_ns, status.st_ctime_ns)
