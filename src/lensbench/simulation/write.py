"""A simulated data set on disk: what is missing of it is made, on all cores or a GPU."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol, SupportsIndex

import filelock
import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from lensbench.errors import ConfigError, DatasetError
from lensbench.simulation.block import Block, blocks_of
from lensbench.simulation.draw import PARTITIONS
from lensbench.simulation.engine import chosen_device, images_of, n_workers, spread_over
from lensbench.simulation.folder import Folder
from lensbench.simulation.manifest import LOCK, manifest_of
from lensbench.simulation.population import CLASSES, Population
from lensbench.simulation.stack import SUFFIXES, Stack
from lensbench.simulation.tables import rows_of, write_tables


class Target(Protocol):
    """Where images are written, and in what form; it can be sent to other processes."""

    @property
    def path(self) -> Path:
        """Where they are written."""
        ...

    @property
    def tables(self) -> tuple[Path, Path]:
        """Where the parameters of the images and those of their perturbers are written."""
        ...

    def is_finished(self, manifest: dict[str, Any]) -> bool:
        """Return whether this data set is there; DatasetError if something else is."""
        ...

    def missing(self, block: Block) -> Block:
        """Return the images of a block that have to be made."""
        ...

    def begin(self, manifest: dict[str, Any]) -> None:
        """Say what is coming."""
        ...

    def write(self, block: Block, images: NDArray[np.uint16]) -> None:
        """Write images, counts less the lowest of each, (n, H, W)."""
        ...

    def finish(self, blocks: list[Block]) -> None:
        """Say that all is there."""
        ...


def simulate(
    population: Population,
    out: Path,
    n_train: int | Mapping[str, int],
    n_val: int | Mapping[str, int],
    seed: int = 42,
    *,
    processes: int | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    progress: bool = True,
) -> Path:
    """Simulate a data set and write it to a folder or a file.

    The images depend on the population, the seed and their own number alone: not on the batch,
    the process or the device, and a larger data set begins with the images of a smaller one. If
    `out` already holds this very data set, it is left as it is; if it holds an interrupted one,
    only what is missing is made.

    Beside the images lie two tables: the parameters of each image, and those of each perturber.

    Args:
        population: What to draw from.
        out: Folder of `.npy` files in the archive's structure; or, if its name ends with `.h5` or
            `.hdf5`, one file of the same images as counts. Made if it does not exist.
        n_train: Images of each class in train, one number for all classes or one for each.
        n_val: The same in val.
        seed: Seed of the data set, 0 or more.
        processes: How many work at once (default: as many as there are cores and enough to do).
        device: `cpu`, `cuda`, or `auto` for a GPU if there is one.
        batch_size: Images that are ray-traced at once (default: 1 on a CPU, whose cache holds no
            more, and a block of 50 on a GPU).
        progress: Whether to show a progress bar.

    Returns:
        `out`.

    Raises:
        ConfigError: If a number makes no sense, a class does not exist, or there is no GPU.
        DatasetError: If `out` holds anything else, cannot be written, or another process writes it.
    """
    n_images = {"train": _per_class(n_train), "val": _per_class(n_val)}
    seed = _whole(seed, "the seed")
    _require_sense(n_images, seed=seed, processes=processes, batch_size=batch_size)
    manifest = manifest_of(population, seed, n_images)
    target = _target(out, population)
    if _is_whole(target, manifest):  # looking takes no lock: the place may be read-only
        return out
    with _alone(out):
        if not _is_whole(target, manifest):  # another process may have completed it meanwhile
            _complete(population, target, manifest, processes, device, batch_size, progress)
    return out


def _is_whole(target: Target, manifest: dict[str, Any]) -> bool:
    return target.is_finished(manifest) and not any(
        target.missing(block).numbers for block in blocks_of(manifest["n_images"])
    )


def _complete(
    population: Population,
    target: Target,
    manifest: dict[str, Any],
    processes: int | None,
    device: str,
    batch_size: int | None,
    progress: bool,
) -> None:
    """Make what a data set lacks."""
    seed = manifest["seed"]
    blocks = blocks_of(manifest["n_images"])
    missing = [some for block in blocks if (some := target.missing(block)).numbers]
    device = chosen_device(device)
    target.begin(manifest)
    n_missing = sum(len(block.numbers) for block in missing)
    n = processes or n_workers(n_missing, device)
    with tqdm(total=n_missing, unit="image", desc="simulate", disable=not progress) as bar:
        make = partial(_make, population, seed, target, device, batch_size)
        for n_made in spread_over(n, device, make, missing):
            bar.update(n_made)
    n = processes or n_workers(sum(len(block.numbers) for block in blocks), "cpu")
    rows = spread_over(n, "cpu", partial(rows_of, population, seed), blocks)
    write_tables(*target.tables, rows)
    target.finish(blocks)


def _make(
    population: Population,
    seed: int,
    target: Target,
    device: str,
    batch_size: int | None,
    block: Block,
) -> int:
    """Make and write some images; return how many."""
    target.write(block, images_of(population, seed, block, device, batch_size))
    return len(block.numbers)


def _target(out: Path, population: Population) -> Target:
    kind = Stack if out.suffix.lower() in SUFFIXES else Folder
    return kind(out, population.camera.n_pixels)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep other processes from writing the same data set.

    The lock lies beside the data set, where every machine that could write it sees it, or in it if
    nothing can be written beside it, as in a folder that is mounted.

    Raises:
        DatasetError: One does already, or nothing can be written there.
    """
    place = out.resolve()
    path = place.with_name(f".{place.name}.lock")
    if place.is_dir() and not os.access(place.parent, os.W_OK):
        path = place / LOCK
    lock = filelock.FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise DatasetError(f"{out}: another process is writing it; wait for that one") from error
    except OSError as error:
        raise DatasetError(
            f"{out}: cannot be written there ({path}: {error.strerror}); choose another path"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # while it is held: afterwards it may be another's
            path.unlink()
        lock.release()


def _per_class(count: int | Mapping[str, int]) -> dict[str, int]:
    counts = dict(count) if isinstance(count, Mapping) else dict.fromkeys(CLASSES, count)
    if unknown := counts.keys() - set(CLASSES):
        raise ConfigError(f"no class {', '.join(sorted(unknown))}: there are {', '.join(CLASSES)}")
    return {label: _whole(counts.get(label, 0), "a number of images") for label in CLASSES}


def _whole(value: SupportsIndex, name: str) -> int:
    """Return an integer, NumPy's included, as Python's, which alone JSON can hold."""
    try:
        return operator.index(value)
    except TypeError as error:
        raise ConfigError(f"{name} must be a whole number, not {value!r}") from error


def _require_sense(
    n_images: Mapping[str, Mapping[str, int]],
    *,
    seed: int,
    processes: int | None,
    batch_size: int | None,
) -> None:
    numbers = [n_images[partition][label] for partition in PARTITIONS for label in CLASSES]
    if min(numbers) < 0:
        raise ConfigError("a number of images must be 0 or more")
    if not any(numbers):
        raise ConfigError("there are no images to simulate: n_train and n_val are 0")
    if seed < 0:
        raise ConfigError(f"the seed must be 0 or more, not {seed}")
    for name, value in (("processes", processes), ("images in a batch", batch_size)):
        if value is not None and value < 1:
            raise ConfigError(f"the number of {name} must be 1 or more, not {value}")
