"""Images that several tests look at, made once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lensbench.simulation import CLASSES, COMMON_TEST_1, Scene, draw, generator
from lensbench.simulation.render import expected_counts, observe

REAL_IMAGES = Path(__file__).parents[2].parent / "shared" / "data" / "common_test_1"
N_SIMULATED = 150


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def scene_of() -> Callable[..., Scene]:
    """Draw scenes; scenes of the same number share lens and source whatever their class."""

    def make(label: str, number: int = 1, population=COMMON_TEST_1) -> Scene:
        return draw(population, label, generator(7, "train", "no", number, "scene"))

    return make


@pytest.fixture(scope="session")
def simulated(scene_of) -> dict[str, np.ndarray]:
    """Images of each class with the same lenses and sources, (N, 150, 150)."""
    images = {}
    for label in CLASSES:
        images[label] = np.concatenate(
            [
                observe(
                    expected_counts(COMMON_TEST_1, [scene_of(label, number)])[0].numpy(),
                    COMMON_TEST_1.sky_counts,
                    generator(7, "train", label, number, "noise"),
                )
                for number in range(N_SIMULATED)
            ]
        )
    return images


@pytest.fixture(scope="session")
def real_no() -> np.ndarray:
    """Original images of Common Test I without substructure, (N, 150, 150)."""
    files = sorted((REAL_IMAGES / "exact_no").glob("*.npy"))
    if not files:
        pytest.skip(f"no original images of Common Test I in {REAL_IMAGES / 'exact_no'}")
    return np.concatenate([np.load(file) for file in files])
