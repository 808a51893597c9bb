"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lensbench.errors import ConfigError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Let a file take the place of `path` as soon as it is written; an error leaves all as it was.

    Args:
        path: The file that shall appear. Its folder is made. A link stays one; a pipe or a device
            is written to as it is.

    Yields:
        Where to write it: beside `path`, under a name that nobody else writes to.
    """
    if _is_stream(path):
        yield path
        return
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not the number of the process, which is another one's on another machine.
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, text: str) -> None:
    """Write a text file, in UTF-8, that appears whole or not at all."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def require_room(file: Path) -> None:
    """Refuse a place that cannot be written to, before anything is computed for it.

    Raises:
        ConfigError: Something is in the way, or may not be written to.
    """
    if _is_stream(file):
        return
    try:
        target = file.resolve()
    except RuntimeError as error:
        raise ConfigError(f"{file} cannot be written: {error}") from error
    above = next(place for place in target.parents if place.exists())
    in_the_way = target if target.is_dir() else None if above.is_dir() else above
    if in_the_way is not None:
        raise ConfigError(f"{file} cannot be written: {in_the_way} is in the way")
    if not os.access(above, os.W_OK):
        raise ConfigError(f"{file} cannot be written: you may not write into {above}")


def _is_stream(path: Path) -> bool:
    """Whether it is a pipe or a device."""
    return path.exists() and not (path.is_file() or path.is_dir())
