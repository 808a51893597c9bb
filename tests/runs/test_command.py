"""The command that a report shows makes the same run again."""

import shlex
from pathlib import Path

import pytest

from lensbench import cli
from lensbench.config import (
    DataSpec,
    JudgeSpec,
    MachineSpec,
    ModelSpec,
    Recipe,
    RunConfig,
    SplitSpec,
)
from lensbench.recipes import CONTRACT, LENSBENCH, QUICK, recipe_for
from lensbench.runs.command import reproducing_command
from lensbench.runs.environment import describe_environment

VIT = "timm/vit_tiny_patch16_224"


def config(**changes: object) -> RunConfig:
    settings = {
        "name": "ResNet18",
        "data": DataSpec(path=Path("my data/it's.zip")),
        "model": ModelSpec(identifier="torchvision/resnet18"),
        "recipe": CONTRACT,
    } | changes
    return RunConfig.model_validate(settings)


def run_by(command: str, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """Return the settings with which a command line would train."""
    jobs = []

    def no_sweep(asked, say):
        jobs.extend(asked)
        raise SystemExit(0)

    monkeypatch.setattr("lensbench.sweep.sweep", no_sweep)
    words = shlex.split(command)
    assert words[0] == "lensbench"
    with pytest.raises(SystemExit):
        cli.main(words[1:])
    (job,) = jobs
    return job.config


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"recipe": QUICK, "seed": 43, "name": "ResNet18-seed43", "group": "ResNet18"},
        {"recipe": LENSBENCH},
        *(
            {"recipe": recipe_for("lensbench", model), "model": model}
            for model in (ModelSpec(identifier=VIT), ModelSpec(identifier=VIT, pretrained=False))
        ),
        {"recipe": LENSBENCH, "model": ModelSpec(identifier=VIT)},
        {"judge": JudgeSpec(level=0.9, n_resamples=500)},
        {"model": ModelSpec(identifier="torchvision/resnet101")},
        {"model": ModelSpec(identifier="timm/vit_tiny_patch16_224", pretrained=False)},
        {"model": ModelSpec(identifier="torchvision/resnet18", weights=Path("w x.safetensors"))},
        {"recipe": CONTRACT.model_copy(update={"epochs": 3, "image_size": "native"})},
        {"recipe": CONTRACT.model_copy(update={"gradient_clip": 0.5, "rotation_degrees": 0})},
        {"split": SplitSpec(convention="stratified", train_fraction=0.1, seed=3)},
        {"split": SplitSpec(fold=2, folds=4)},
        {"split": SplitSpec(file=Path("parts.csv"))},
        {"machine": MachineSpec(accelerator="cpu", precision="bf16-mixed", threads=1)},
        {"data": DataSpec(path=Path("d"), value_range=(-1, 2), accept=("leak", "near-leak"))},
        {"data": DataSpec(path=Path("d"), labels=Path("l.csv"), cache=Path("c"))},
    ],
)
def test_the_command_has_the_same_settings(changes, monkeypatch):
    wanted = config(**changes)
    made = run_by(reproducing_command(wanted), monkeypatch)
    assert made.model_dump() == wanted.model_dump()


def test_a_recipe_of_ones_own_is_told_setting_by_setting(monkeypatch):
    own = Recipe(name="mine", epochs=2, batch_size=8, learning_rate=1e-4, stretch="asinh")
    made = run_by(reproducing_command(config(recipe=own)), monkeypatch)
    told = made.recipe.model_copy(update={"name": "mine", "split": own.split, "expected": ""})
    assert told == own
    assert made.split.convention == own.split


def test_what_was_chosen_on_the_machine_is_told_too(monkeypatch):
    wanted = config(recipe=LENSBENCH)
    environment = describe_environment(
        "cpu", None, "bf16-mixed", 3, memory_format="channels-last", compiled=False
    )
    made = run_by(reproducing_command(wanted, environment), monkeypatch)
    told = MachineSpec(
        precision="bf16-mixed", memory_format="channels-last", compile="no", threads=3
    )
    assert made.machine == told
    assert made.model_dump(exclude={"machine"}) == wanted.model_dump(exclude={"machine"})


def test_of_a_gpu_no_threads_are_told_and_of_a_failed_run_nothing(monkeypatch):
    on_gpu = describe_environment("cuda", "A GPU", "32-true", 16, compiled=True)
    made = run_by(reproducing_command(config(), on_gpu), monkeypatch)
    assert made.machine == MachineSpec(precision="32-true", compile="yes")
    failed = describe_environment("auto", None, "auto", None)
    assert reproducing_command(config(), failed) == reproducing_command(config())
