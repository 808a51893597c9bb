"""What a user names -> the models and settings that are meant."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from lensbench.config import (
    DataSpec,
    JudgeSpec,
    MachineSpec,
    ModelSpec,
    Recipe,
    RunConfig,
    Spec,
    SplitSpec,
)
from lensbench.errors import ConfigError
from lensbench.recipes import RECIPES, recipe_for
from lensbench.zoo.names import CONTRACT_MODELS, ContractModel, resolve

_Spec = TypeVar("_Spec", bound=Spec)

Models = str | Sequence[str | ContractModel] | None
"""As `run` takes them: one name, or several; None is all of the contract."""


def choose_runs(
    data: str | Path | DataSpec,
    models: Models,
    recipe: str | Recipe,
    overrides: Mapping[str, Any],
    *,
    pretrained: bool,
    weights: Path | None,
    split: SplitSpec,
    machine: MachineSpec,
    judge: JudgeSpec,
    seed: int,
    seeds: int,
    group: str | None,
) -> list[RunConfig]:
    """Return all settings of each run; the arguments are those of `lensbench.run`.

    They are in the order in which they should be made: seed by seed, so that what is finished after
    an interruption is a whole comparison.

    Raises:
        LensbenchError: Settings that cannot be used.
    """
    if "name" in overrides:
        raise ConfigError(f"to name a run, name its model: {overrides['name']}=model")
    plan = choose_recipe(recipe, **overrides)
    rows = choose_models(models, with_batch_sizes=plan.name == "contract")
    if weights is not None and len(rows) > 1:
        raise ConfigError("a local weight file fits one model: name one with models")
    if group is not None and (len(rows) > 1 or seeds > 1):
        raise ConfigError("a group is named for one run at a time")
    if seeds < 1:
        raise ConfigError(f"a model needs one seed or more, not {seeds}")
    changes = {name: value for name, value in overrides.items() if value is not None}
    runs = []
    for replicate, row in itertools.product(range(seeds), rows):
        model = str(resolve(row.identifier))
        start = checked(
            ModelSpec, {"identifier": model, "pretrained": pretrained, "weights": weights}
        )
        own = recipe_for(recipe, start) if isinstance(recipe, str) else recipe
        settings = {
            "name": f"{row.desc}-seed{seed + replicate}" if replicate else row.desc,
            "group": row.desc if replicate else group,
            "data": data_spec(data),
            "model": start,
            "recipe": choose_recipe(own, **({"batch_size": row.batch_size} | changes)),
            "split": split,
            "machine": machine,
            "judge": judge,
            "seed": seed + replicate,
        }
        runs.append(checked(RunConfig, settings))
    require_apart(run.name for run in runs)
    return runs


def choose_models(models: Models, *, with_batch_sizes: bool) -> list[ContractModel]:
    """Return name, identifier and, if it has one of its own, batch size of each model.

    Args:
        models: As `run` takes them.
        with_batch_sizes: Whether the contract's batch sizes hold for models given by name.

    Raises:
        ConfigError: There are no models, or one is neither a name nor such a row, or two runs would
            have the same name.
    """
    names: Sequence[str | ContractModel] = [row.desc for row in CONTRACT_MODELS]
    if models is not None:
        names = [models] if isinstance(models, str) else models
    rows = [_row(model, with_batch_sizes) for model in names]
    if not rows:
        raise ConfigError("there are no models to run")
    require_apart(row.desc for row in rows)
    return rows


def choose_recipe(recipe: str | Recipe, **overrides: Any) -> Recipe:
    """Return a recipe with some settings changed; None leaves a setting as it is.

    Raises:
        ConfigError: There is no such recipe or setting, or a value makes no sense.
    """
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise ConfigError(f"no recipe {recipe!r}; there are {', '.join(RECIPES)}")
        recipe = RECIPES[recipe]
    changes = {name: value for name, value in overrides.items() if value is not None}
    return checked(Recipe, recipe.model_dump() | changes)


def data_spec(data: str | Path | DataSpec) -> DataSpec:
    """Return the settings of a data set of which perhaps only the place is given."""
    return data if isinstance(data, DataSpec) else checked(DataSpec, {"path": data})


def checked(spec: type[_Spec], settings: Mapping[str, Any]) -> _Spec:
    """Make an object of settings.

    Raises:
        ConfigError: A setting does not exist, or a value makes no sense.
    """
    try:
        return spec.model_validate(settings)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise ConfigError(faults) from error


def require_apart(names: Iterable[str]) -> None:
    """Refuse names of models that are given twice.

    Raises:
        ConfigError: One is.
    """
    for name, n in Counter(names).items():
        if n > 1:
            raise ConfigError(f"{n} models would be called {name!r}: name them apart, name=...")


def _row(model: str | ContractModel, with_batch_sizes: bool) -> ContractModel:
    if not isinstance(model, str):
        try:
            return ContractModel(*model)
        except TypeError as error:
            raise ConfigError(
                f"{model!r} is no model: give its name, or (name, model, batch size)"
            ) from error
    name, equals, identifier = model.partition("=")
    for row in CONTRACT_MODELS:
        if (identifier or name) in (row.desc, row.identifier, str(row.model)):
            return row._replace(
                desc=name if equals else row.desc,
                batch_size=row.batch_size if with_batch_sizes else None,
            )
    return (
        ContractModel(name, identifier) if equals else ContractModel(name.replace("/", "_"), name)
    )
