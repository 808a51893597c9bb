"""Where images are made: in this process, in others beside it, or on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import ConfigError
from lensbench.freed_memory import keep_freed_memory
from lensbench.simulation.block import Block
from lensbench.simulation.population import Population

# Below, starting another process takes longer than what it would do.
_LEAST_PER_PROCESS = 300

# Enough to draw parameters and noise as fast as a GPU takes them.
_N_GPU_THREADS = 8

_Result = TypeVar("_Result")


def images_of(
    population: Population, seed: int, block: Block, device: str, batch_size: int | None = None
) -> NDArray[np.uint16]:
    """Return the images of a block: counts less the lowest of each, (n, H, W).

    Raises:
        ConfigError: An image has more than 65,535 counts.
    """
    # Imported here, so that populations can be listed without waiting for torch.
    import torch

    from lensbench.simulation.render import expected_counts, observe

    scenes, noise = block.scenes(population, seed), block.noise(seed)
    size = batch_size or (1 if device == "cpu" else len(scenes))
    images = []
    try:
        for start in range(0, len(scenes), size):
            part = slice(start, start + size)
            expected = expected_counts(population.camera, scenes[part], torch.device(device))
            images.append(observe(population.camera, expected, noise[part]))
    except OverflowError as error:
        raise ConfigError(
            f"{error}: lower source.counts, lens.light_counts, camera.sky_counts or "
            f"camera.read_noise_counts of {population.name!r}, whichever is large"
        ) from error
    return np.concatenate(images)


def spread_over(
    n: int, device: str, work: Callable[[Block], _Result], blocks: Sequence[Block]
) -> Iterator[_Result]:
    """Do some work on all blocks, in their order, on n cores; a GPU is fed by threads."""
    if n == 1:
        yield from map(work, blocks)
    elif device == "cpu":
        from joblib import Parallel, delayed

        # Processes, since work on small tensors would queue for the interpreter's lock.
        parallel = Parallel(n_jobs=n, return_as="generator", pre_dispatch="2*n_jobs")
        yield from parallel(delayed(_alone)(work, block) for block in blocks)
    else:
        # joblib would not wait for its other threads when one fails, and a process that ends while
        # they are inside torch is aborted.
        with ThreadPoolExecutor(n) as threads:
            yield from threads.map(work, blocks)


def _alone(work: Callable[[Block], _Result], block: Block) -> _Result:
    """Work in a process that is there for nothing else."""
    settle_in()  # first of all: joblib takes memory that grows later for a leak
    return work(block)


@cache
def settle_in() -> None:
    """Make this process a good worker on one core.

    Without kept memory, asking the system for it again would take a third of the time.
    """
    import torch

    torch.set_num_threads(1)
    keep_freed_memory()


def chosen_device(name: str) -> str:
    """Return `cpu` or `cuda`.

    Args:
        name: One of these, or `auto` for a GPU if there is one.

    Raises:
        ConfigError: There is no such device here.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    if name == "auto":
        return "cuda" if has_gpu else "cpu"
    if name == "cuda" and not has_gpu:
        raise ConfigError("there is no CUDA GPU here; take --device cpu")
    if name not in ("cpu", "cuda"):
        raise ConfigError(f"no device {name!r}: there are auto, cpu and cuda")
    return name


def n_workers(n_images: int, device: str) -> int:
    """Return over how many processes, or threads that feed a GPU, to spread some images."""
    if device == "cuda":
        return _N_GPU_THREADS
    from joblib import cpu_count

    return max(1, min(int(cpu_count()), n_images // _LEAST_PER_PROCESS))
