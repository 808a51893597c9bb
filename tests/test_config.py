"""Settings: each is explained, and contradictions die when the object is made."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from lensbench.config import (
    _OF_FAMILIES,
    CONTRACT,
    RECIPES,
    DataSpec,
    JudgeSpec,
    MachineSpec,
    ModelSpec,
    Recipe,
    RunConfig,
    SplitSpec,
    recipe_for,
)


def config(**changes) -> RunConfig:
    settings = {
        "name": "ResNet18",
        "data": DataSpec(path=Path("data")),
        "model": ModelSpec(identifier="torchvision/resnet18"),
        "recipe": CONTRACT,
    }
    return RunConfig(**(settings | changes))


@pytest.mark.parametrize("spec", [DataSpec, SplitSpec, ModelSpec, Recipe, JudgeSpec, MachineSpec])
def test_every_setting_explains_itself(spec):
    for name, field in spec.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


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


def test_a_resolved_configuration_survives_json():
    made = config()
    assert RunConfig.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize("name", ["Model Name", "EfficientNet-B0", "ViT_Tiny (P16)", "a+b.c"])
def test_names_may_be_what_files_may_be(name):
    assert config(name=name).name == name


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "a\\b", "a\n", "x.", "*"])
def test_other_names_are_refused(name):
    with pytest.raises(ValidationError, match="name"):
        config(name=name)


@pytest.mark.parametrize(
    ("spec", "settings"),
    [
        (Recipe, {"name": "x", "epochs": 0, "batch_size": 2, "learning_rate": 1}),
        (Recipe, {"name": "x", "epochs": 1, "batch_size": 1, "learning_rate": 1}),
        (Recipe, {"name": "x", "epochs": 1, "batch_size": 2, "learning_rate": -1}),
        (Recipe, {"name": "x", "epochs": 1, "batch_size": 2, "learning_rate": 1, "speed": 3}),
        (Recipe, {"name": "x", "epochs": 2, "batch_size": 2, "learning_rate": 1, "warm_up": 0.1}),
        (SplitSpec, {"validation_fraction": 1.0}),
        (SplitSpec, {"convention": "random"}),
        (JudgeSpec, {"level": 95}),
        (MachineSpec, {"threads": 0}),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(spec, settings):
    with pytest.raises(ValidationError):
        spec(**settings)
