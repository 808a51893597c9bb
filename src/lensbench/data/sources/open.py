"""A path -> the source of the files that lie there."""

from __future__ import annotations

from pathlib import Path

from lensbench.config import DATASET_URL, UNFINISHED
from lensbench.data.sources.archive import TarSource, ZipSource, is_tar, is_zip
from lensbench.data.sources.folder import FolderSource
from lensbench.data.sources.named_arrays import STACK_SUFFIXES
from lensbench.data.sources.source import Source, interrupted
from lensbench.data.sources.stack import StackSource
from lensbench.errors import DatasetError


def open_source(path: Path, *, labelled: bool = True) -> Source:
    """Open a folder, a zip or tar archive, or one `.npz` or HDF5 file that stacks all images.

    Args:
        path: Where it lies.
        labelled: Whether a file that stacks images must hold their labels.

    Raises:
        DatasetError: There is nothing at `path`, it is none of these, or its simulation was
            interrupted.
    """
    if path.is_dir():
        for folder in (path, path.resolve().parent):
            if (folder / UNFINISHED).exists():
                raise interrupted(folder)
        return FolderSource(path)
    if not path.exists():
        raise DatasetError(
            f"{path}: no such file or folder. Simulate a data set with `lensbench simulate "
            f"{path}`, or download the published one from {DATASET_URL}."
        )
    try:
        if path.is_file() and path.suffix.lower() in STACK_SUFFIXES:
            return StackSource(path, labelled=labelled)
        if path.is_file() and is_zip(path):
            return ZipSource(path)
        if path.is_file() and is_tar(path):
            return TarSource(path)
    except OSError as error:
        raise DatasetError(f"{path}: {error}") from error
    raise DatasetError(
        f"{path}: neither a folder nor a readable archive (.zip, .tar, .tar.gz, .tgz, .tar.bz2, "
        f".tar.xz) nor a stack of images ({', '.join(sorted(STACK_SUFFIXES))})"
    )
