"""Zip and tar archives, read in place and without trust in what they say of their members."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lensbench.data.formats.fault import MAX_FILE_BYTES
from lensbench.data.formats.zipped import read_member, require_bounded
from lensbench.data.sources.source import Load, SingleFile, is_debris, without_files
from lensbench.errors import DatasetError

_MAX_TOTAL_BYTES, _MAX_RATIO = 2**30, 200
"""An archive that inflates to more than both is a bomb: images are seldom packed tenfold."""

_MAX_HEADER_BYTES = 2**20
_UTF8_FLAG = 0x800

_ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")

_ZIP_DAMAGE = (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, ValueError)
_TAR_DAMAGE = (
    *(tarfile.TarError, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, ValueError, OverflowError, RecursionError),
)


class _Member(NamedTuple):
    """A file or folder in an archive, as the archive describes it."""

    name: str
    n_bytes: int
    position: int
    oddity: str = ""  # why it must not be read
    is_folder: bool = False


class _Archive(SingleFile, ABC):
    """What zip and tar archives have in common."""

    @cached_property
    @abstractmethod
    def _members(self) -> dict[str, _Member]:
        """The files and folders by name, in the order of the archive."""

    def names(self) -> list[str]:
        """Return the names of all files but hidden ones, sorted.

        Raises:
            DatasetError: The archive is damaged or hostile.
        """
        return sorted(
            name
            for name, member in self._members.items()
            if not (member.is_folder or is_debris(name))
        )

    def empty_folders(self) -> list[str]:
        """Return the names of all folders without these files that the archive lists, sorted.

        Raises:
            DatasetError: The archive is damaged or hostile.
        """
        folders = [
            name
            for name, member in self._members.items()
            if member.is_folder and not is_debris(name)
        ]
        return without_files(folders, self.names())


class ZipSource(_Archive):
    """The members of a zip archive."""

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, Load]]:
        """Yield each name with how to read it, in the order of the archive.

        Raises:
            DatasetError: The archive is damaged or hostile.
        """
        wanted = frozenset(names)
        for name, member in self._members.items():
            if name in wanted:
                yield name, partial(self._load, member)

    def _load(self, member: _Member) -> bytes:
        try:
            return read_member(self._archive, self._infos[member.name])
        except _ZIP_DAMAGE as error:
            raise DatasetError(f"{self.path}: {member.name}: {error}") from error

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except (*_ZIP_DAMAGE, NotImplementedError) as error:
            raise DatasetError(f"{self.path}: no readable zip archive: {error}") from error

    @cached_property
    def _infos(self) -> dict[str, zipfile.ZipInfo]:
        return {_zip_name(member): member for member in self._archive.infolist()}

    @cached_property
    def _members(self) -> dict[str, _Member]:
        members = map(_zip_member, self._archive.infolist())
        return _harmless(self.path, sorted(members, key=lambda member: member.position))


class TarSource(_Archive):
    """The members of a tar archive, plain or compressed, read from front to back."""

    def contents(self, names: Collection[str]) -> Iterator[tuple[str, Load]]:
        """Yield each name with its content, in the order of the archive: one pass over it.

        Raises:
            DatasetError: The archive is damaged or hostile.
        """
        wanted = frozenset(names)
        with _open(self.path) as stream:
            for name, member in self._members.items():
                if name in wanted:
                    yield name, partial(bytes, self._read(stream, member))

    def _read(self, stream: io.BufferedIOBase, member: _Member) -> bytes:
        try:
            stream.seek(member.position)
            content = stream.read(member.n_bytes)
        except _TAR_DAMAGE as error:
            raise DatasetError(f"{self.path}: {member.name}: {error}") from error
        if len(content) != member.n_bytes:
            raise DatasetError(f"{self.path}: {member.name}: the archive is cut short")
        return content

    @cached_property
    def _members(self) -> dict[str, _Member]:
        try:
            with _open(self.path) as stream:
                headers = _Headers(stream)
                with tarfile.open(fileobj=headers, mode="r:") as archive:
                    members = _harmless(self.path, map(_tar_member, archive))
        except _TAR_DAMAGE as error:
            raise DatasetError(f"{self.path}: no readable tar archive: {error}") from error
        if headers.last != bytes(tarfile.BLOCKSIZE):
            raise DatasetError(f"{self.path}: the archive is damaged or cut short: it has no end")
        return members


def is_tar(path: Path) -> bool:
    """Tell whether a file, inflated if need be, starts with a tar header.

    `tarfile.is_tarfile` reads on, as far as the header says.
    """
    try:
        with _open(path) as stream:
            tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
    except _TAR_DAMAGE:
        return False
    return True


def is_zip(path: Path) -> bool:
    """Tell whether a file starts as a zip archive; `zipfile.is_zipfile` looks at its end alone."""
    with path.open("rb") as file:
        return file.read(4) in _ZIP_SIGNATURES


class _Headers(io.RawIOBase):
    """What tarfile reads of an archive: never much at once, and the last of it is kept.

    Tarfile takes a damaged header for the end of the archive, and believes any length of name.
    """

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise ValueError(f"a header of {size} bytes")
        self.last = self._stream.read(size)
        return self.last

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def _open(path: Path) -> io.BufferedIOBase:
    """Open a file for reading what it holds, inflated if need be."""
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(path)
    if start.startswith(b"BZh"):
        return bz2.open(path)
    if start == b"\xfd7zXZ\0":
        return lzma.open(path)
    return path.open("rb")


def _zip_member(member: zipfile.ZipInfo) -> _Member:
    oddity = "encrypted" if member.flag_bits & 1 else ""
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        oddity = "a link" if kind == stat.S_IFLNK else "a device"
    try:
        require_bounded(member)
    except zipfile.BadZipFile as error:
        oddity = str(error)
    return _Member(
        _zip_name(member), member.file_size, member.header_offset, oddity, member.is_dir()
    )


def _zip_name(member: zipfile.ZipInfo) -> str:
    """Return the name of a member as it was packed.

    Info-ZIP's `zip` writes UTF-8 without the flag that says so, and zipfile takes it for cp437.
    """
    if not member.flag_bits & _UTF8_FLAG:
        with contextlib.suppress(UnicodeError):
            return member.filename.encode("cp437").decode()
    return member.filename


def _tar_member(member: tarfile.TarInfo) -> _Member:
    oddity = "a sparse file" if member.issparse() else ""
    if not (member.isfile() or member.isdir()):
        oddity = "a link" if member.issym() or member.islnk() else "a device"
    return _Member(member.name, member.size, member.offset_data, oddity, member.isdir())


def _harmless(path: Path, members: Iterable[_Member]) -> dict[str, _Member]:
    """Return the members by name, in their order.

    Raises:
        DatasetError: Names the first member that no honest archive of images holds.
    """
    total, limit = 0, max(_MAX_TOTAL_BYTES, _MAX_RATIO * path.stat().st_size)
    known: dict[str, _Member] = {}
    for member in members:
        name = PurePosixPath(member.name).as_posix()
        total += member.n_bytes
        trouble = member.oddity or _odd_name(member)
        if member.n_bytes > MAX_FILE_BYTES:
            trouble = f"{member.n_bytes:,} bytes; a file may take {MAX_FILE_BYTES:,}"
        elif total > limit:
            trouble = f"more than the {limit:,} bytes that an archive of this size may inflate to"
        elif name in known and not (member.is_folder and known[name].is_folder):
            trouble = "there twice"
        if trouble:
            raise DatasetError(f"{path}: not read, for its member {member.name!r} is {trouble}")
        known[name] = member
    return known


def _odd_name(member: _Member) -> str:
    parts = PurePosixPath(member.name).parts
    if "\\" in member.name or re.match("[A-Za-z]:", member.name):
        return "named as on Windows; pack it with / between folders"
    if ".." in parts or member.name.startswith("/") or not (parts or member.is_folder):
        return "named outside the archive"
    return ""
