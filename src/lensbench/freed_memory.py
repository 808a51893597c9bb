"""Freed memory that a process keeps, for work that asks for as much again a moment later.

The C library of Linux gives large blocks back to the system when they are freed. The next step of
the same work gets them again page by page, each emptied by the system first, and spends a good part
of its time on that (`benchmarks/training.py`, part `memory`).
"""

from __future__ import annotations

import ctypes
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

# Of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4

_holders: set[object] = set()
_lock = threading.Lock()


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory while a block lasts; after it, give back what is free then.

    Blocks may lie within each other and in several threads. After the last one, the C library maps
    blocks of 32 MiB and more on their own again, as it does by default once many sizes have come
    and gone. Where it is not glibc, nothing changes.
    """
    holder = _hold()
    try:
        yield
    finally:
        with _lock:
            _holders.discard(holder)
            if not _holders:
                _give_back()


def keep_freed_memory() -> None:
    """Keep freed memory for as long as this process lives; without glibc, do nothing."""
    _hold()


def _hold() -> object:
    holder = object()
    with _lock:
        _holders.add(holder)
        if (library := _glibc()) is not None:
            library.mallopt(_M_MMAP_MAX, 0)
            library.mallopt(_M_TRIM_THRESHOLD, -1)
    return holder


def _give_back() -> None:
    if (library := _glibc()) is not None:
        library.mallopt(_M_MMAP_MAX, 65_536)
        library.mallopt(_M_MMAP_THRESHOLD, 2**25)
        library.mallopt(_M_TRIM_THRESHOLD, 2**26)
        library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
