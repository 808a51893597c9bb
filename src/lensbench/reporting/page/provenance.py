"""Where results come from: the images, the machines, and the commands that make them again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lensbench.comparison.compare import Entry
from lensbench.comparison.judged import Judged
from lensbench.runs.command import reproducing_command
from lensbench.runs.record import Environment


@dataclass(frozen=True)
class RunView:
    """How one run was made."""

    name: str
    facts: tuple[tuple[str, str], ...]
    command: str
    """Empty where it is not known."""
    is_ensemble: bool


@dataclass(frozen=True)
class Shared:
    """Something that several runs have in common."""

    text: str
    runs: tuple[str, ...]


def run_views(entries: Sequence[Entry]) -> list[RunView]:
    """Return how each run of a ranking was made."""
    return [
        RunView(run.name, tuple(_facts(run)), _command(run), run.record.ensemble is not None)
        for entry in entries
        for run in entry.runs
    ]


def warnings_of(entries: Sequence[Entry]) -> list[Shared]:
    """Return what the audits of the data and the runs had to say, each with the runs it is of."""
    return _shared(
        (warning, run.name)
        for entry in entries
        for run in entry.runs
        for warning in (run.record.lensbench.warnings if run.record.lensbench else ())
    )


def data_of(entries: Sequence[Entry]) -> list[Shared]:
    """Return which images were used for what."""
    return _shared((_data(run), run.name) for entry in entries for run in entry.runs)


def environments(entries: Sequence[Entry]) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """Return each machine with its software, by the runs that were made there."""
    return [
        (known.machine, _environment_facts(known, names))
        for known, names in by_environment([run for entry in entries for run in entry.runs])
        if known is not None
    ]


def by_environment(runs: Sequence[Judged]) -> list[tuple[Environment | None, list[str]]]:
    """Return the names of the runs that were made in each environment, or in one that none tells.

    An ensemble was made in none.
    """
    groups: list[tuple[Environment | None, list[str]]] = []
    for run in runs:
        if run.record.ensemble is not None:
            continue
        environment = run.record.lensbench.environment if run.record.lensbench else None
        for known, names in groups:
            if known == environment:
                names.append(run.name)
                break
        else:
            groups.append((environment, [run.name]))
    return groups


def _environment_facts(
    environment: Environment, names: Sequence[str]
) -> tuple[tuple[str, str], ...]:
    return (
        ("Runs", ", ".join(names)),
        ("Device", f"{environment.device} ({environment.accelerator}, {environment.arithmetic})"),
        ("Threads", str(environment.threads or "not recorded")),
        ("System", f"{environment.platform}, Python {environment.python}"),
        ("Libraries", ", ".join(f"{name} {v}" for name, v in environment.libraries.items())),
    )


def _facts(run: Judged) -> Iterable[tuple[str, str]]:
    record, ours = run.record, run.record.lensbench
    yield "Model", record.model_identifier
    if record.config is not None:
        config = record.config
        yield "Seed", str(config.seed)
        yield (
            "Training",
            f"{config.epochs} epochs, batches of {config.batch_size}, learning rate "
            f"{config.learning_rate:g}, weight decay {config.weight_decay:g}",
        )
    if ours is not None and ours.ensemble is not None:
        yield "Consists of", ours.ensemble.text
        yield "Written by", f"lensbench {ours.lensbench_version}"
    elif ours is not None:
        yield "Recipe", ours.run.recipe.name if ours.run else "unknown (trained elsewhere)"
        yield "Weights at the start", ours.weights_used or "not recorded"
        if ours.cost is not None:
            yield "Parameters", f"{ours.cost.n_parameters:,}"
            yield "Multiply-adds of one image", f"{ours.cost.multiply_adds:,}"
        yield "Written by", f"lensbench {ours.lensbench_version}"
    yield "Machine", record.machine
    yield "Record", str(run.path)


def _command(run: Judged) -> str:
    ours = run.record.lensbench
    return reproducing_command(ours.run, ours.environment) if ours and ours.run else ""


def _data(run: Judged) -> str:
    ours = run.record.lensbench
    if ours is None or ours.split is None:
        return f"{sum(run.supports):,} test images; the record does not say which"
    where = f"{ours.run.data.path}: " if ours.run else ""
    return (
        f"{where}split {ours.split.convention}, {ours.split.n_train:,} images for training, "
        f"{ours.split.n_validation:,} for validation, {ours.split.n_test:,} for the test; "
        f"fingerprints {ours.split.fingerprint} of the split, {ours.split.test_fingerprint} of the "
        f"test images, {ours.data_fingerprint or 'not recorded'} of all images"
    )


def _shared(texts: Iterable[tuple[str, str]]) -> list[Shared]:
    runs: dict[str, list[str]] = {}
    for text, name in texts:
        runs.setdefault(text, []).append(name)
    return [Shared(text, tuple(names)) for text, names in runs.items()]
