"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Let a file take the place of `path` as soon as it is written; an error leaves all as it was.

    Args:
        path: The file that shall appear. Its folder is made.

    Yields:
        Where to write it: beside `path`, under a name that no other process writes to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
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
