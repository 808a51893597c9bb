"""Recipes: the published protocol, and what suits a family of models."""

from lensbench.config import ModelSpec, Recipe
from lensbench.recipes import _OF_FAMILIES, CONTRACT, RECIPES, recipe_for


def test_the_contract_is_the_published_protocol():
    assert CONTRACT.model_dump(exclude={"expected"}) == {
        "name": "contract",
        "image_size": 224,
        "channels": 3,
        "per_image": "none",
        "stretch": "none",
        "normalise": "imagenet",
        "symmetry": "flips",
        "rotation_degrees": 15,
        "shift": 0.05,
        "scale": 0.05,
        "affine_share": 1,
        "epochs": 15,
        "batch_size": 64,
        "learning_rate": 3e-4,
        "reference_batch_size": "none",
        "layer_decay": 1,
        "weight_decay": 0.01,
        "decayed": "all",
        "gradient_clip": "none",
        "label_smoothing": 0,
        "average": 0,
        "warm_up": 0,
        "schedule": "plateau",
        "plateau_factor": 0.2,
        "plateau_patience": 3,
        "patience": "none",
        "keep": "best",
        "mixed_precision": False,
        "test_time_augmentation": "none",
        "split": "halved",
    }


def test_every_recipe_says_what_to_expect():
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert recipe.expected


def test_a_recipe_suits_the_family_of_a_model():
    plain = recipe_for("lensbench", ModelSpec(identifier="torchvision/resnet18"))
    assert plain == RECIPES["lensbench"]
    vit = recipe_for("lensbench", ModelSpec(identifier="timm/vit_tiny_patch16_224"))
    assert vit.layer_decay < 1
    assert vit.learning_rate < plain.learning_rate
    for name in ("timm/vit_tiny_patch16_224", "torchvision/resnet18"):
        assert recipe_for("contract", ModelSpec(identifier=name)) == CONTRACT


def test_all_layers_of_random_weights_have_one_rate(tmp_path):
    name = "timm/vit_tiny_patch16_224"
    trained = recipe_for("lensbench", ModelSpec(identifier=name))
    for start, decay in (
        (ModelSpec(identifier=name, pretrained=False), 1),
        (ModelSpec(identifier=name, pretrained=False, weights=tmp_path), trained.layer_decay),
    ):
        found = recipe_for("lensbench", start)
        assert found == trained.model_copy(update={"layer_decay": decay})


def test_what_a_recipe_changes_for_families_are_settings_that_exist():
    for recipe, families in _OF_FAMILIES.items():
        for changes in families.values():
            assert Recipe.model_validate(RECIPES[recipe].model_dump() | dict(changes))
