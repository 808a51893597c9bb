"""Files -> one memory-mapped array, built once and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray
from pydantic import TypeAdapter

from lensbench.config import DataSpec
from lensbench.data.audit import Finding, find, require_sound, survey
from lensbench.data.catalogue import Catalogue
from lensbench.errors import DatasetError

PACK_VERSION = 2
_FINDINGS = TypeAdapter(tuple[Finding, ...])


@dataclass(frozen=True)
class Pack:
    """All images of a catalogue, in its order.

    Attributes:
        images: (N, C, H, W) float32 memory map, read-only.
        labels: (N,) int64.
        findings: What the audit found while the files were read; warnings only.
        digests: (N,) hexadecimal digests of the files' contents.
        fingerprint: Of all ids and contents; see `fingerprint`.
        folder: Where the pack is kept.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    findings: tuple[Finding, ...]
    digests: NDArray[np.str_]
    fingerprint: str
    folder: Path

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.images.shape
        return channels, height, width


def open_or_build_pack(catalogue: Catalogue, spec: DataSpec) -> Pack:
    """Open the pack of a catalogue, or read and audit every file once and build it.

    A pack is named by the catalogue's fingerprint, so a changed data set gets a new one. It is
    built under another name and renamed when complete: an interrupted build leaves no pack, and
    of two processes that build the same one, the second finds the first one's.

    Raises:
        DatasetError: The audit found errors; the message holds them all, and nothing is kept.
    """
    root = (spec.cache or platformdirs.user_cache_path("lensbench")) / "packs"
    folder = root / f"{catalogue.fingerprint}-v{PACK_VERSION}"
    if not (folder / "manifest.json").exists():
        _build(catalogue, folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return Pack(
        images=np.load(folder / "images.npy", mmap_mode="r"),
        labels=catalogue.labels,
        findings=_FINDINGS.validate_python(manifest["findings"]),
        digests=np.load(folder / "digests.npy"),
        fingerprint=manifest["fingerprint"],
        folder=folder,
    )


def _build(catalogue: Catalogue, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=folder.parent))
    try:
        writer = _Writer(partial / "images.npy", len(catalogue))
        facts = survey(catalogue, writer.write)
        findings = find(catalogue, facts)
        require_sound(catalogue, findings)
        writer.close()
        digests = [fact.digest for fact in facts]
        np.save(partial / "digests.npy", np.array(digests))
        manifest = {
            "version": PACK_VERSION,
            "source": str(catalogue.source.path.resolve()),
            "n_images": len(catalogue),
            "fingerprint": fingerprint(catalogue.ids, digests),
            "findings": _FINDINGS.dump_python(findings, mode="json"),
        }
        (partial / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / "manifest.json").exists():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def fingerprint(ids: Iterable[str], digests: Iterable[str]) -> str:
    """Return 16 hexadecimal digits that are equal on every machine for equal ids and contents."""
    whole = hashlib.sha256()
    for name, digest in zip(ids, digests, strict=True):
        whole.update(f"{name}\0{digest}\n".encode())
    return whole.hexdigest()[:16]


class _Writer:
    """Writes images to an `.npy` file whose shape is known with the first of them."""

    def __init__(self, path: Path, n_images: int) -> None:
        self._path = path
        self._n_images = n_images
        self._images: np.memmap[tuple[int, ...], np.dtype[np.float32]] | None = None

    def write(self, row: int, pixels: NDArray[np.float32]) -> None:
        if self._images is None:
            self._require_space(self._n_images * pixels.nbytes)
            self._images = np.lib.format.open_memmap(
                self._path, mode="w+", dtype=np.float32, shape=(self._n_images, *pixels.shape)
            )
        # An image of another shape is a finding of the audit, which then forbids the pack.
        if pixels.shape == self._images.shape[1:]:
            self._images[row] = pixels

    def close(self) -> None:
        if self._images is not None:
            self._images.flush()
            self._images = None  # Windows renames no folder in which a file is open

    def _require_space(self, n_bytes: int) -> None:
        # A memory map on a full disk kills the process instead of raising an error.
        n_free = shutil.disk_usage(self._path.parent).free
        if n_bytes > n_free:
            raise DatasetError(
                f"packing these images takes {n_bytes / 1e9:.1f} GB, but {self._path.parent} has "
                f"{n_free / 1e9:.1f} GB left; name another folder with --cache"
            )
