"""What the optimiser does with which weights, and how fast."""

from __future__ import annotations

import math
from typing import Any

import timm.models
import torch
from torch import nn

from lensbench.config import Recipe
from lensbench.errors import ConfigError


def optimizer_for(network: nn.Module, recipe: Recipe, *, fused: bool) -> torch.optim.AdamW:
    """Return AdamW over all weights of a network, with the recipe's rates and decays.

    Args:
        network: The network of a classifier.
        recipe: Its `step_learning_rate`, `layer_decay`, `weight_decay` and `decayed`.
        fused: Whether one kernel does the whole step.

    Raises:
        ConfigError: The rates depend on the layer, but the network does not tell its layers.
    """
    depth = _depths(network) if recipe.layer_decay < 1 else {}
    exempt = _exempt(network) if recipe.decayed == "matrices" else frozenset()
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, weight in network.named_parameters():
        layer, decays = depth.get(name, 0), name not in exempt
        group = groups.setdefault(
            (layer, decays),
            {
                "params": [],
                "lr": recipe.step_learning_rate * recipe.layer_decay**layer,
                "weight_decay": recipe.weight_decay if decays else 0.0,
            },
        )
        group["params"].append(weight)
    return torch.optim.AdamW(list(groups.values()), lr=recipe.step_learning_rate, fused=fused)


def _depths(network: Any) -> dict[str, int]:
    """Return, for each weight by its name, how many layers come after its own."""
    if not hasattr(network, "group_matcher"):
        raise ConfigError(
            "layer_decay is for networks of timm: others do not tell which layer comes first"
        )
    layers = timm.models.group_parameters(network, network.group_matcher(), reverse=True)
    last = max(layers.values())
    return {name: last - layer for name, layer in layers.items()}


def _exempt(network: nn.Module) -> frozenset[str]:
    """Return the names of weights that scale or shift, and of those that the network exempts."""
    vectors = {
        name
        for name, weight in network.named_parameters()
        if sum(side > 1 for side in weight.shape) <= 1
    }
    return frozenset(vectors | set(getattr(network, "no_weight_decay", set)()))


def cosine(step: int, n_steps: int, warm_up: float) -> float:
    """Return the factor of the learning rate at one of `n_steps` steps, counted from 0.

    It rises evenly, to 1 at the last step of the warm-up, and falls to zero as half a cosine
    (Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, with one period and a lowest rate of 0).

    >>> [round(cosine(step, 10, 0.2), 3) for step in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    n_rising = round(warm_up * n_steps)
    if step < n_rising:
        return (step + 1) / n_rising
    return 0.5 * (1 + math.cos(math.pi * (step - n_rising) / max(n_steps - n_rising, 1)))
