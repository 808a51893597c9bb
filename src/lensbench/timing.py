"""What the models of finished runs cost on this machine, whatever machine trained them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from lensbench.config import MachineSpec
from lensbench.cost import MeasuredCost
from lensbench.errors import RecordError
from lensbench.recipes import CONTRACT
from lensbench.runs.cost import Costs
from lensbench.runs.environment import describe_environment
from lensbench.runs.record import RunRecord
from lensbench.training.measure import Subject
from lensbench.training.measure_all import measure_all
from lensbench.training.steps import find_hardware

_PUBLISHED_SHAPE = (1, 150, 150)


def time_runs(
    records: Sequence[RunRecord],
    machine: MachineSpec,
    *,
    batch_size: int | None,
    n_repeats: int,
    n_rounds: int,
    say: Callable[[str], None],
) -> Costs:
    """Measure every model once, under the conditions of its run; no image of a data set is read.

    Runs that differ in their seed alone cost the same: the first one stands for them.

    Args:
        records: Of finished runs.
        machine: On what to measure, and how.
        batch_size: Images per step, of all models (default: that of each run).
        n_repeats: How often each speed is measured in each round.
        n_rounds: How often each model has its turn.
        say: Takes each line of news.

    Raises:
        RecordError: No model could be measured.
        ConfigError: The machine lacks the accelerator that was asked for.
    """
    subjects: dict[str, Subject] = {}
    for record in records:
        subject = _subject(record)
        if record.ensemble is not None:
            say(f"{record.model_desc}: nothing to measure, it costs what its members cost together")
        elif subject is None:
            say(f"{record.model_desc}: nothing to measure, its predictions were made elsewhere")
        else:
            changes = {"batch_size": batch_size or subject.recipe.batch_size}
            recipe = subject.recipe.model_copy(update=changes)
            subjects.setdefault(record.model_name, replace(subject, recipe=recipe))
    known: dict[str, MeasuredCost] = {}
    for name, found in measure_all(subjects, machine, n_repeats=n_repeats, n_rounds=n_rounds):
        if isinstance(found, str):
            say(f"{name}: not measured: {found}")
            known.pop(name, None)
            continue
        known[name] = found
        say(
            f"{name}: {found.training.median:,.0f} images/s in training, "
            f"{found.inference.median:,.0f} in inference "
            f"({found.training.n_repeats} repeats, batches of {found.training.batch_size}, "
            f"trained in {found.execution})"
        )
    if not known:
        raise RecordError("no model could be measured: there are no costs to keep")
    hardware = find_hardware(machine)
    environment = describe_environment(
        hardware.accelerator, hardware.device, machine.precision, hardware.threads
    )
    return Costs(environment=environment, date=datetime.now(UTC), runs=known)


def _subject(record: RunRecord) -> Subject | None:
    """Return what to measure; of published records what their protocol says."""
    ours = record.lensbench
    if ours is None:
        recipe = CONTRACT
        if record.config is not None:
            recipe = CONTRACT.model_copy(update={"batch_size": record.config.batch_size})
        return Subject(record.model_identifier, recipe, record.classes, _PUBLISHED_SHAPE)
    if ours.run is None or ours.image_shape is None:
        return None
    return Subject(ours.run.model.identifier, ours.run.recipe, ours.classes, ours.image_shape)
