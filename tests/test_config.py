"""Settings: each is explained, and contradictions die when the object is made."""

import math
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from lensbench.config import (
    DataSpec,
    JudgeSpec,
    MachineSpec,
    ModelSpec,
    Recipe,
    RunConfig,
    SplitSpec,
)
from lensbench.recipes import CONTRACT


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


def test_a_resolved_configuration_survives_json():
    made = config()
    assert RunConfig.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize("name", ["Model Name", "EfficientNet-B0", "ViT_Tiny (P16)", "a+b.c"])
def test_names_may_be_what_files_may_be(name):
    assert config(name=name).name == name


@pytest.mark.parametrize(
    "name", ["", "a/b", "../a", ".hidden", "a\\b", "a\n", "x.", "*", "comparison.csv"]
)
def test_other_names_are_refused(name):
    with pytest.raises(ValidationError, match="name"):
        config(name=name)


def test_a_name_that_is_too_long_is_told_so():
    assert config(name="x" * 100).name
    with pytest.raises(ValidationError, match="has 101 characters: use 100 at most"):
        config(name="x" * 101)


def test_names_that_no_record_could_hold_are_refused():
    with pytest.raises(ValidationError, match="is no UTF-8"):
        DataSpec(path=Path(os.fsdecode(b"\xdcbersicht")))


@pytest.mark.parametrize(
    ("spec", "settings"),
    [
        (Recipe, {"name": "x", "epochs": 0, "batch_size": 2, "learning_rate": 1}),
        (Recipe, {"name": "x", "epochs": 1, "batch_size": 1, "learning_rate": 1}),
        (Recipe, {"name": "x", "epochs": 1, "batch_size": 2, "learning_rate": -1}),
        (Recipe, {"name": "x", "epochs": 1, "batch_size": 2, "learning_rate": 1, "speed": 3}),
        (Recipe, {"name": "x", "epochs": 2, "batch_size": 2, "learning_rate": 1, "warm_up": 0.1}),
        (Recipe, {"name": "x", "epochs": 1, "batch_size": 2, "learning_rate": math.inf}),
        (DataSpec, {"path": "d", "value_range": (0, math.inf)}),
        (SplitSpec, {"validation_fraction": 1.0}),
        (SplitSpec, {"convention": "random"}),
        (JudgeSpec, {"level": 95}),
        (MachineSpec, {"threads": 0}),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(spec, settings):
    with pytest.raises(ValidationError):
        spec(**settings)
