"""Many runs, one after another: skip the finished, resume the interrupted, retry the failed."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lensbench.config import RunConfig
from lensbench.errors import LensbenchError, RecordError
from lensbench.pipeline import Prepared, degraded, prepare, run_one
from lensbench.reporting.plots import plot_run
from lensbench.runs.compose import failed_record
from lensbench.runs.environment import describe_environment
from lensbench.runs.identity import regrouped
from lensbench.runs.record import RunRecord
from lensbench.runs.store import RunStore
from lensbench.whole_file import write_whole
from lensbench.zoo.build import require_weights

What = Literal["trained", "resumed", "skipped", "failed", "interrupted", "not started", "busy"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """A run to be made, and where its files go."""

    config: RunConfig
    store: RunStore


@dataclass(frozen=True)
class JobOutcome:
    """What became of a job.

    `record` is None for one that was interrupted or not started, and for one that another process
    was `busy` with.
    """

    job: Job
    what: What
    record: RunRecord | None = None


def sweep(jobs: Sequence[Job], say: Say) -> list[JobOutcome]:
    """Do all jobs in their order; a model that fails does not stop the next one.

    Nor does one that another process is training: it is left to that one. So several processes with
    the same jobs, on one machine or on many that see the same folder, share them.

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
        RecordError: What is there of a run cannot be read, or is of a later version of lensbench.
    """
    unfinished = [job for job in jobs if job.store.state(job.config) != "finished"]
    path = jobs[0].config.data.path
    if not unfinished and not path.exists():
        say(f"{path} is gone: finished runs cannot be checked against it")
        return [JobOutcome(job, "skipped", RunRecord.read(job.store.record)) for job in jobs]
    # Of a finished run the file is looked for too: what it holds may have changed.
    require_weights(
        job.config.model for job in jobs if job in unfinished or job.config.model.weights
    )
    data = prepare(jobs[0].config)
    _introduce(data, say)
    outcomes: list[JobOutcome] = []
    for number, job in enumerate(jobs, start=1):
        label = f"[{number}/{len(jobs)}] {job.config.name}"
        if any(outcome.what == "interrupted" for outcome in outcomes):
            outcomes.append(JobOutcome(job, "not started"))
        elif job.store.state(job.config, data.fingerprints(job.config.model)) == "finished":
            outcomes.append(_skip(job, label, say))
        else:
            outcomes.append(_do(job, data, label, say))
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


def _skip(job: Job, label: str, say: Say) -> JobOutcome:
    record = RunRecord.read(job.store.record)
    say(f"{label}: finished before, skipped")
    if (in_group := regrouped(record, job.config.group)) is not None:
        job.store.finish(in_group)
        say(f"{label}: from now on it is a run of {job.config.group}")
    return JobOutcome(job, "skipped", in_group or record)


def _do(job: Job, data: Prepared, label: str, say: Say) -> JobOutcome:
    """Make a run, unless another process does."""
    with job.store.alone() as is_alone:
        if not is_alone:
            say(f"{label}: another process is training it, left to that one")
            return JobOutcome(job, "busy")
        # Another process may have finished it since it was looked at.
        state = job.store.state(job.config, data.fingerprints(job.config.model))
        if state == "finished":
            return _skip(job, label, say)
        if state == "changed":
            aside = job.store.set_aside()
            say(
                f"{label}: an earlier run with other settings, images or weights to start from was "
                f"moved to {aside}"
            )
        refused = degraded(job.config, data)
        for line in refused:
            say(f"{label}: {line}")
        return _train(job, data, label, say, told=(*data.warnings, *refused))


def _train(job: Job, data: Prepared, label: str, say: Say, told: Sequence[str]) -> JobOutcome:
    what: What = "resumed" if job.store.has_checkpoint else "trained"
    if what == "resumed":
        say(f"{label}: going on where it was interrupted")
    try:
        record = run_one(job.config, data, job.store, label)
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
    except (OSError, RecordError) as obstacle:
        say(f"{label}: the failure itself could not be recorded: {obstacle}")
    else:
        say(f"{label}: the traceback is in {details}")
    return record
