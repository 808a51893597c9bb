from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lensbench.config import ModelSpec, Recipe
from lensbench.zoo.build import build
from lensbench.zoo.classifier import Classifier

CLASSES = ("no", "sphere", "vort")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def images() -> Callable[..., Tensor]:
    def draw(n: int = 2, channels: int = 1, side: int = 150, seed: int = 0) -> Tensor:
        return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed))

    return draw


@pytest.fixture
def make() -> Callable[..., Classifier]:
    """Build with the settings that differ from plain ones; random weights unless asked."""

    def build_with(
        identifier: str,
        *,
        seed: int = 0,
        pretrained: bool = False,
        weights: Path | None = None,
        classes: tuple[str, ...] = CLASSES,
        image_shape: tuple[int, int, int] = (1, 150, 150),
        **recipe: Any,
    ) -> Classifier:
        return build(
            ModelSpec(identifier=identifier, pretrained=pretrained, weights=weights),
            plain_recipe(**recipe),
            classes,
            image_shape,
            seed,
        )

    return build_with


def plain_recipe(**settings: Any) -> Recipe:
    return Recipe(**{"name": "t", "epochs": 1, "batch_size": 2, "learning_rate": 1e-3, **settings})
