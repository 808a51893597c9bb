"""When two runs are the same, and when they differ in their seed alone."""

from __future__ import annotations

from typing import Any, NamedTuple

from lensbench.config import RunConfig
from lensbench.runs.record import Provenance, RunRecord


class Fingerprints(NamedTuple):
    """What tells that images, parts and a file of weights are the same as before."""

    data: str
    """Of the names, labels and pixels of all images."""
    split: str
    weights: str | None = None
    """Of the file that training starts from; None without one."""


def known_of(ours: Provenance) -> tuple[str | None, ...]:
    """Return the `Fingerprints` of a run, as far as its record has them."""
    from_file = ours.run is not None and ours.run.model.weights is not None
    return (
        ours.data_fingerprint,
        ours.split.fingerprint if ours.split else None,
        ours.weights_used.rpartition(":")[2] if from_file and ours.weights_used else None,
    )


def as_it_ran(record: RunRecord) -> RunConfig | None:
    """Return the settings of a run, with the precision that was chosen for it if it was chosen."""
    ours = record.lensbench
    if ours is None or ours.run is None or ours.environment is None:
        return None
    machine = ours.run.machine.model_copy(update={"precision": ours.environment.precision})
    return ours.run.model_copy(update={"machine": machine})


def same_run(one: RunConfig, other: RunConfig, *, parts_known: bool) -> bool:
    """Whether one run has the weights and predictions that another asks for, but for rounding.

    Where the images and a file of weights lie is no part of that, since their fingerprints are
    compared as well. Nor is on what and how steps are computed, unless a precision is asked for.

    Args:
        one: A run as it was made.
        other: A run as it is asked for.
        parts_known: Whether the fingerprint of the split is compared as well, so that it does not
            matter in what words it is asked for. What a recipe is called never does.
    """
    if not parts_known and (one.split, one.recipe.split) != (other.split, other.recipe.split):
        return False
    precision = other.machine.precision
    return precision in ("auto", one.machine.precision) and _defining(one) == _defining(other)


def regrouped(record: RunRecord, group: str | None) -> RunRecord | None:
    """Return the record of a run as one of another group; None if that changes nothing.

    Args:
        record: A finished run.
        group: As the run is asked for now; None asks for none.
    """
    ours = record.lensbench
    if group is None or ours is None or ours.run is None or ours.run.group == group:
        return None
    run = ours.run.model_copy(update={"group": group})
    return record.model_copy(update={"lensbench": ours.model_copy(update={"run": run})})


def differ_in_seed_alone(one: RunRecord, other: RunRecord) -> bool:
    """Whether two records are of runs with different seeds, of equal settings and on equal images.

    On what and how steps were computed may differ.
    """
    ours, theirs = one.lensbench, other.lensbench
    if ours is None or theirs is None or ours.run is None or theirs.run is None:
        return False
    if ours.run.seed == theirs.run.seed:
        return False
    run = theirs.run.model_copy(update={"name": ours.run.name, "seed": ours.run.seed})
    return known_of(ours) == known_of(theirs) and _defining(ours.run) == _defining(run)


def _defining(config: RunConfig) -> dict[str, Any]:
    starts_from_file = config.model.weights is not None
    settings = config.model_dump(
        mode="json",
        exclude={
            "data": True,
            "group": True,
            "judge": True,
            "machine": True,
            # Weights from a file leave nothing to the library's.
            "model": {"weights"} | ({"pretrained"} if starts_from_file else set()),
            "recipe": {"name", "expected", "split", "mixed_precision"},
            "split": True,
        },
    )
    return settings | {"starts_from_file": starts_from_file}
