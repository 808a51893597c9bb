"""The recipes that have names, and what they change for families of models."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Any

from lensbench.config import ModelSpec, Recipe

CONTRACT = Recipe(
    name="contract",
    image_size=224,
    channels=3,
    normalise="imagenet",
    symmetry="flips",
    rotation_degrees=15,
    shift=0.05,
    scale=0.05,
    epochs=15,
    batch_size=64,
    learning_rate=3e-4,
    weight_decay=0.01,
    schedule="plateau",
    keep="best",
    mixed_precision=False,
    split="halved",
    expected="Common Test I as published: ResNet18 0.9918, ResNet34 0.9942 macro AUC on 3,750 "
    "images after training on 30,000; hours per model on a CPU.",
)

QUICK = Recipe(
    name="quick",
    stretch="sqrt",
    epochs=6,
    batch_size=32,
    learning_rate=3e-3,
    gradient_clip=1.0,
    expected="ResNet18 from random weights has a macro AUC of 0.98 to 0.99 on the simulated "
    "population demo (1,890 images of 64 px, two to four minutes on two CPU cores).",
)

LENSBENCH = Recipe(
    name="lensbench",
    stretch="sqrt",
    rotation_degrees=180,
    affine_share=0.5,
    epochs=50,
    batch_size=64,
    learning_rate=1e-3,
    reference_batch_size=64,
    weight_decay=0.05,
    decayed="matrices",
    gradient_clip=1.0,
    schedule="cosine",
    warm_up=0.05,
    test_time_augmentation="d4",
    expected="ResNet18 from random weights has an AUC of 0.999 on DeepLense's two-class set "
    "of 2020 (6,000 images of 150 px) after 4 epochs in batches of 32, 21 minutes on two CPU "
    "cores. The 50 epochs are meant for a GPU.",
)

RECIPES = {recipe.name: recipe for recipe in (CONTRACT, QUICK, LENSBENCH)}

_OF_FAMILIES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "lensbench": {
        "timm/vit_*": {"learning_rate": 5e-4, "layer_decay": 0.75, "warm_up": 0.1},
        "transformers/*convnextv2*": {"learning_rate": 5e-4},
        "lensbench/*": {"learning_rate": 3e-3},
        "lensbench/d4_*": {"test_time_augmentation": "none"},  # all views give the same logits
    }
}
"""Where one size does not fit all: what a recipe changes for models whose full names match."""


def recipe_for(recipe: str, model: ModelSpec) -> Recipe:
    """Return a recipe as it is for one model, whose identifier is its full name `library/model`."""
    plan = RECIPES[recipe]
    for pattern, changes in _OF_FAMILIES.get(recipe, {}).items():
        if fnmatch.fnmatchcase(model.identifier, pattern):
            plan = plan.model_copy(update=dict(changes))
    if not model.starts_trained:
        # Random layers all have as far to go: a ViT-Tiny lost 0.018 of its AUC by rates that fall
        # from layer to layer (benchmarks/results/recipe_vit_cpu.md).
        plan = plan.model_copy(update={"layer_decay": 1.0})
    return plan
