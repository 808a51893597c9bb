"""A small network, a small pack and a short recipe, for fits that take a tenth of a second."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lensbench.config import MachineSpec, Recipe
from lensbench.data.pack import Pack
from lensbench.training.fit import Fit, fit

CPU = MachineSpec(accelerator="cpu", precision="32-true", memory_format="contiguous", compile="no")


def recipe(**changes) -> Recipe:
    settings = {
        "name": "tiny",
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 0.01,
        "symmetry": "d4",
        "rotation_degrees": 10,
    }
    return Recipe(**(settings | changes))


def make_pack(folder: Path) -> Pack:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = rng.random((60, 1, 12, 12), dtype=np.float32)
    images += labels[:, None, None, None].astype(np.float32)
    np.savez(folder / "columns.npz", labels=labels.astype(np.int64))
    return Pack(
        stored=images,
        divisors=np.ones(60, dtype=np.float32),
        findings=(),
        classes=("a", "b", "c"),
        fingerprint="",
        folder=folder,
        source=folder,
    )


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(400, 3),
    )


def run(
    pack: Pack, folder: Path, recipe: Recipe, classifier: nn.Module, machine: MachineSpec = CPU
) -> Fit:
    """Fit on 40 images, five batches an epoch, and validate on 20."""
    rows = np.arange(60)
    return fit(
        classifier,
        pack,
        rows[:40],
        rows[40:],
        recipe,
        machine=machine,
        seed=1,
        folder=folder,
        cache=folder.parent / "execution.json",
        label="tiny",
    )


@contextmanager
def nothing_global_changed() -> Iterator[None]:
    """Check that random numbers, threads and cuDNN are as they were, on a machine of 2 threads."""
    threads = torch.get_num_threads()
    numpys, pythons = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng([]):
        torch.manual_seed(54321)  # no seed that a step sets
        torchs = torch.get_rng_state()
        torch.set_num_threads(2)
        try:
            yield
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(threads)
        assert torch.equal(torch.get_rng_state(), torchs)
    assert np.array_equal(np.random.get_state()[1], numpys)  # noqa: NPY002
    assert random.getstate() == pythons
    assert torch.is_grad_enabled()
    assert not torch.backends.cudnn.benchmark
