"""Files -> one memory-mapped array, built once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import filelock
import numpy as np
import platformdirs
from numpy.typing import NDArray
from pydantic import TypeAdapter
from tqdm.auto import tqdm

from lensbench.config import AcceptableFinding, DataSpec
from lensbench.data.audit import read_and_audit
from lensbench.data.catalogue import Catalogue
from lensbench.data.encoding import decode
from lensbench.data.finding import Audit, Finding, require_sound
from lensbench.data.sources.open import open_source
from lensbench.data.sources.source import Source
from lensbench.errors import DatasetError

PACK_VERSION = 4
"""To be raised when the files of a pack, or what the audit finds, change their meaning."""

_FINDINGS = TypeAdapter(tuple[Finding, ...])


@dataclass(frozen=True)
class Pack:
    """All images of a data set, in the order of its catalogue.

    Opening one takes the same time whatever its size: names and labels are read when asked for,
    pixels when indexed.

    Attributes:
        stored: (N, C, H, W) read-only memory map of the smallest dtype that is exact; see
            `encoding`.
        divisors: (N,) float32; `stored / divisors` are the images.
        findings: What the audit found while the files were read.
        classes: K sorted class names.
        fingerprint: Of all ids, labels and pixels; see `fingerprint`.
        folder: Where the pack is kept.
        source: The folder, archive or stack that it was made from.
    """

    stored: NDArray[Any]
    divisors: NDArray[np.float32]
    findings: tuple[Finding, ...]
    classes: tuple[str, ...]
    fingerprint: str
    folder: Path
    source: Path

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.stored.shape
        return channels, height, width

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) int64, indices into `classes`."""
        labels: NDArray[np.int64] = self._columns["labels"]
        return labels

    @property
    def groups(self) -> NDArray[np.int64]:
        """(N,) int64; rows that are copies of each other share a number, the smallest of them."""
        groups: NDArray[np.int64] = self._columns["groups"]
        return groups

    @property
    def exact_groups(self) -> NDArray[np.int64]:
        """(N,) int64; as `groups`, of images with equal pixels alone."""
        _, first, group = np.unique(self.digests, return_index=True, return_inverse=True)
        exact: NDArray[np.int64] = first[group]
        return exact

    @property
    def digests(self) -> NDArray[np.str_]:
        """(N,) hexadecimal digests of the pixels."""
        digests: NDArray[np.str_] = self._columns["digests"]
        return digests

    @cached_property
    def catalogue(self) -> Catalogue:
        """The names, labels and partitions of the images."""
        return Catalogue(
            path=self.source,
            ids=tuple(self._columns["ids"].tolist()),
            members=tuple(self._columns["members"].tolist()),
            labels=self.labels,
            partitions=tuple(self._columns["partitions"].tolist()),
            classes=self.classes,
        )

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the images (n, C, H, W) float32 at some rows."""
        return decode(self.stored[rows], self.divisors[rows])

    @cached_property
    def _columns(self) -> Mapping[str, NDArray[Any]]:
        with np.load(self.folder / "columns.npz") as columns:
            return dict(columns)


def open_or_build_pack(spec: DataSpec) -> Pack:
    """Open the pack of a data set, or read and audit every file once and build it.

    A pack is named by where the data are and by a stamp that changes when a file is added,
    removed or changed; then a new one is built and the old one deleted. It is built under another
    name and renamed when complete, by one process at a time: others wait for it. What a killed
    process left is cleared away by the next.

    Raises:
        DatasetError: The audit found images that cannot be used; the message holds all of its
            errors, and nothing is kept. Or the files changed while they were read.
    """
    source = open_source(spec.path)
    root = packs_folder(spec)
    place, stamp = _place(spec), _stamp(spec, source)
    folder = root / f"{place}-{stamp}"
    pack = _opened(folder)
    if pack is None:
        with _alone(root / f"{place}.lock", spec.path):
            pack = _opened(folder)
            if pack is None:
                # Other versions of these data, and what a killed `verify` left.
                for old in (*root.glob(f"{place}-*"), root / f"{place}.audit"):
                    _discard(old)
                _build(spec, source, folder)
                if _stamp(spec, open_source(spec.path)) != stamp:
                    _discard(folder)
                    raise DatasetError(f"{spec.path}: files changed while they were read; go again")
                pack = open_pack(folder)
    return pack


def verify(spec: DataSpec) -> Audit:
    """Read every file of a data set once and say what is wrong with it; nothing is kept.

    Raises:
        DatasetError: There are no images, they are not labelled, or there is no place to work in.
    """
    source, root = open_source(spec.path), packs_folder(spec)
    folder = root / f"{_place(spec)}.audit"
    with _alone(root / f"{_place(spec)}.lock", spec.path):
        _discard(folder)
        _make(folder)
        try:
            images = read_and_audit(spec, source, folder)
        finally:
            _discard(folder)
    counts = np.bincount(images.catalogue.labels).tolist()
    return Audit(
        path=spec.path,
        n_images=len(images.catalogue),
        classes=dict(zip(images.catalogue.classes, counts, strict=True)),
        image_shape=images.shape,
        findings=images.findings,
    )


def cache_folder(spec: DataSpec) -> Path:
    """Return where all is kept that can be made again; it may not exist yet.

    Raises:
        DatasetError: None is named, and the user has no home that one could lie in.
    """
    try:
        return spec.cache or platformdirs.user_cache_path("lensbench")
    except RuntimeError as error:
        raise DatasetError(
            f"there is no place for a cache ({error}): name one with --cache"
        ) from error


def packs_folder(spec: DataSpec) -> Path:
    """Return the folder of all packs, which then exists.

    Raises:
        DatasetError: It cannot be made, or lies among the images.
    """
    root = cache_folder(spec) / "packs"
    if root.resolve().is_relative_to(spec.path.resolve()):
        raise DatasetError(f"{root} lies inside the data; name another folder with --cache")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(root, error) from error
    return root


def _make(folder: Path) -> None:
    try:
        folder.mkdir()
    except OSError as error:
        raise _unusable(folder.parent, error) from error


def _unusable(root: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"{root}: cannot keep packed images there ({error.strerror}); name another folder with "
        "--cache"
    )


def open_pack(folder: Path) -> Pack:
    """Open a complete pack."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return Pack(
        stored=np.load(folder / f"{manifest['dtype']}.npy", mmap_mode="r"),
        divisors=np.load(folder / "divisors.npy", mmap_mode="r"),
        findings=_FINDINGS.validate_python(manifest["findings"]),
        classes=tuple(manifest["classes"]),
        fingerprint=manifest["fingerprint"],
        folder=folder,
        source=Path(manifest["source"]),
    )


def fingerprint(ids: Iterable[str], classes: Iterable[str], digests: Iterable[str]) -> str:
    """Return 16 hexadecimal digits that are equal on every machine for equal images.

    Args:
        ids: Names of the images.
        classes: The class name of each.
        digests: The digest of the pixels of each.
    """
    whole = hashlib.sha256()
    for row in zip(ids, classes, digests, strict=True):
        whole.update("\0".join(row).encode() + b"\n")
    return whole.hexdigest()[:16]


def _opened(folder: Path) -> Pack | None:
    """Open a pack; None if there is none, or a damaged one."""
    columns = folder / "columns.npz"
    if not (columns.is_file() and zipfile.is_zipfile(columns)):  # empty after a loss of power
        return None
    try:
        return open_pack(folder)
    except (OSError, EOFError, ValueError, KeyError):
        return None


def _discard(folder: Path) -> None:
    # First what makes it complete: where somebody uses the rest, that cannot be deleted.
    (folder / "manifest.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _build(spec: DataSpec, source: Source, folder: Path) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    _make(partial)
    try:
        images = read_and_audit(spec, source, partial)
        _require_usable(spec, images.findings)
        catalogue = images.catalogue
        np.savez(
            partial / "columns.npz",
            ids=np.array(catalogue.ids),
            members=np.array(catalogue.members),
            labels=catalogue.labels,
            partitions=np.array(catalogue.partitions, dtype=np.str_),
            groups=images.groups,
            digests=np.array(images.digests),
        )
        manifest = {
            "version": PACK_VERSION,
            "source": str(spec.path.resolve()),
            "dtype": images.dtype,
            "classes": catalogue.classes,
            "fingerprint": fingerprint(
                catalogue.ids, (catalogue.classes[k] for k in catalogue.labels), images.digests
            ),
            "findings": _FINDINGS.dump_python(images.findings, mode="json"),
        }
        (partial / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _require_usable(spec: DataSpec, findings: tuple[Finding, ...]) -> None:
    """Refuse images that cannot be packed; whether the rest is sound is asked at each opening."""
    if any(f.severity == "error" and f.code not in get_args(AcceptableFinding) for f in findings):
        require_sound(spec.path, findings, spec.accept)


def _place(spec: DataSpec) -> str:
    """Name where the data are, and how they are read."""
    return _short_hash(f"{spec.path.resolve()} {spec.labels and spec.labels.resolve()}")


def _stamp(spec: DataSpec, source: Source) -> str:
    try:
        labels = spec.labels.read_bytes() if spec.labels else b""
    except OSError as error:
        raise DatasetError(f"{spec.labels}: no readable file of labels: {error}") from error
    known = (PACK_VERSION, source.stamp(), hashlib.sha256(labels).hexdigest(), spec.value_range)
    return _short_hash(repr(known))


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@contextmanager
def _alone(path: Path, data: Path) -> Iterator[None]:
    """Wait until no other process builds a pack of these data.

    Raises:
        DatasetError: The folder cannot be written to.
    """
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        tqdm.write(f"another process is packing {data}; waiting for it", file=sys.stderr)
        lock.acquire()
    except OSError as error:
        raise _unusable(path.parent, error) from error
    try:
        yield
    finally:
        lock.release()
