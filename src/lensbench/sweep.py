"""Many runs, one after another: skip the finished, resume the interrupted, retry the failed."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lensbench.config import RunConfig
from lensbench.errors import LensbenchError
from lensbench.pipeline import Prepared, degraded, prepare, run_one
from lensbench.reporting.plots import plot_run
from lensbench.runs.compose import failed_record
from lensbench.runs.environment import describe_environment
from lensbench.runs.record import RunRecord
from lensbench.runs.store import RunStore, write_whole
from lensbench.zoo.build import require_weights

What = Literal["trained", "resumed", "skipped", "failed", "interrupted", "not started"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """A run to be made, and where its files go."""

    config: RunConfig
    store: RunStore


@dataclass(frozen=True)
class JobOutcome:
    """What became of a job; `record` is None for one that was interrupted or not started."""

    job: Job
    what: What
    record: RunRecord | None = None


def sweep(jobs: Sequence[Job], say: Say) -> list[JobOutcome]:
    """Do all jobs in their order; a model that fails does not stop the next one.

    Weights that cannot be had and images that cannot be used concern every model, so they are
    looked for first, and stop the sweep before anything is trained.

    Args:
        jobs: Runs on one data set, with different names.
        say: Takes each line of news.

    Returns:
        One outcome for each job, in their order. After Ctrl-C or SIGTERM the current one is
        `interrupted` and the rest are `not started`.

    Raises:
        WeightsError: Pretrained weights of one or more models cannot be had.
        DatasetError: The images cannot be used as they are.
    """
    unfinished = [job for job in jobs if job.store.state(job.config) != "finished"]
    path = jobs[0].config.data.path
    if not unfinished and not path.exists():
        say(f"{path} is gone: finished runs cannot be checked against it")
        return [JobOutcome(job, "skipped", RunRecord.read(job.store.record)) for job in jobs]
    require_weights(job.config.model for job in unfinished)
    data = prepare(jobs[0].config)
    _introduce(data, say)
    outcomes: list[JobOutcome] = []
    for number, job in enumerate(jobs, start=1):
        label = f"[{number}/{len(jobs)}] {job.config.name}"
        state = job.store.state(job.config, data.fingerprints)
        if any(outcome.what == "interrupted" for outcome in outcomes):
            outcomes.append(JobOutcome(job, "not started"))
        elif state == "finished":
            say(f"{label}: finished before, skipped")
            outcomes.append(JobOutcome(job, "skipped", RunRecord.read(job.store.record)))
        else:
            if state == "changed":
                aside = job.store.set_aside()
                say(f"{label}: an earlier run with other settings or images was moved to {aside}")
            refused = degraded(job.config, data)
            for line in refused:
                say(f"{label}: {line}")
            outcomes.append(_do(job, label, say, told=(*data.warnings, *refused)))
    return outcomes


def _introduce(data: Prepared, say: Say) -> None:
    """Say what the runs are made of."""
    split, stored = data.split, data.pack.stored
    say(
        f"{len(stored):,} images of {', '.join(data.pack.classes)}; split "
        f"{split.convention!r}: {len(split.train):,} to train, {len(split.validation):,} to "
        f"validate, {len(split.test):,} to test"
    )
    say(f"packed as {stored.dtype}, {stored.nbytes / 1e9:.2g} GB, in {data.pack.folder}")
    for warning in data.warnings:
        say(warning)


def _do(job: Job, label: str, say: Say, told: Sequence[str]) -> JobOutcome:
    what: What = "resumed" if job.store.has_checkpoint else "trained"
    if what == "resumed":
        say(f"{label}: going on where it was interrupted")
    try:
        record = run_one(job.config, job.store, label)
    except KeyboardInterrupt:
        say(f"{label}: interrupted; the same command goes on from the last checkpoint")
        return JobOutcome(job, "interrupted")
    except Exception as error:  # whatever stops one model must not stop the next
        return JobOutcome(job, "failed", _note_failure(job, label, error, say))
    if record.lensbench is not None:
        for warning in record.lensbench.warnings:
            if warning not in told:
                say(f"{label}: {warning}")
        say(f"{label}: test AUC {record.lensbench.estimates['auc_ovr_macro']}")
    try:
        plot_run(record, job.store.figures)
    except Exception as error:  # a picture can be drawn again, the run is finished without it
        say(f"{label}: its plots could not be drawn ({error}); `lensbench plots` tries again")
    return JobOutcome(job, what, record)


def _note_failure(job: Job, label: str, error: Exception, say: Say) -> RunRecord:
    reason = str(error) if isinstance(error, LensbenchError) else f"{type(error).__name__}: {error}"
    say(f"{label}: failed: {reason}")
    machine = job.config.machine
    record = failed_record(
        job.config,
        describe_environment(machine.accelerator, None, machine.precision, machine.threads),
        reason,
    )
    details = job.store.work / "traceback.txt"
    try:
        write_whole(details, "".join(traceback.format_exception(error)))
        job.store.finish(record)
    except OSError as unwritable:
        say(f"{label}: the failure itself could not be recorded: {unwritable}")
    else:
        say(f"{label}: the traceback is in {details}")
    return record
