"""The settings of a run -> the command that makes it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from lensbench.config import DataSpec, JudgeSpec, MachineSpec, RunConfig, Spec, SplitSpec
from lensbench.recipes import CONTRACT, RECIPES, recipe_for
from lensbench.runs.record import Environment


def reproducing_command(config: RunConfig, environment: Environment | None = None) -> str:
    """Return the `lensbench train` that has these settings, ready for a shell.

    Only what differs from a default is said, but for the batch size, whose default depends on the
    model. Paths are as the run had them.

    Args:
        config: Its settings.
        environment: Where it ran. What was chosen there, and not by the settings, is said too: how
            steps were computed, and with how many threads of a CPU.
    """
    known = config.recipe.name if config.recipe.name in RECIPES else CONTRACT.name
    recipe = recipe_for(known, config.model)
    words = ["lensbench", "train"]
    words += ["--data", str(config.data.path), "--model", config.model.identifier]
    words += ["--name", config.name, "--recipe", recipe.name, "--seed", str(config.seed)]
    words += ["--group", config.group] if config.group else []
    words += [] if config.model.pretrained else ["--no-pretrained"]
    words += ["--weights", str(config.model.weights)] if config.model.weights else []
    words += ["--batch-size", str(config.recipe.batch_size)]
    words += _flags(config.recipe, recipe, skip=("name", "batch_size", "split", "expected"))
    words += _flags(config.data, DataSpec(path=config.data.path))
    words += _flags(_split(config), SplitSpec(), prefix="split.", plain=("train_fraction",))
    machine = _chosen(config.machine, environment) if environment else config.machine
    words += _flags(machine, MachineSpec(), prefix="machine.")
    words += _flags(config.judge, JudgeSpec(), prefix="judge.")
    return shlex.join(words)


def _chosen(machine: MachineSpec, environment: Environment) -> MachineSpec:
    """Return the settings of a machine with what was left to it filled in, as far as known."""
    compiled = {True: "yes", False: "no", None: None}[environment.compiled]
    found = {
        "precision": environment.precision,
        "memory_format": environment.memory_format,
        "compile": compiled,
        "threads": environment.threads if environment.accelerator == "cpu" else None,
    }
    known = {name: value for name, value in found.items() if value is not None}
    return machine.model_copy(update=known)


def _split(config: RunConfig) -> SplitSpec:
    """Return the split with its convention, where that is not the one of the recipe named."""
    known = RECIPES.get(config.recipe.name, CONTRACT)
    if config.split.convention is None and config.recipe.split != known.split:
        return config.split.model_copy(update={"convention": config.recipe.split})
    return config.split


def _flags(
    settings: Spec,
    defaults: Spec,
    *,
    prefix: str = "",
    plain: Sequence[str] = (),
    skip: Sequence[str] = (),
) -> Iterator[str]:
    """Yield what differs from the defaults; names in `plain` go without the prefix."""
    for name in type(settings).model_fields:
        value: Any = getattr(settings, name)
        if name in skip or value == getattr(defaults, name):
            continue
        flag = name.replace("_", "-")
        yield f"--{flag}" if name in plain else f"--{prefix}{flag}"
        yield from map(str, value if isinstance(value, tuple) else (value,))
