"""Where the files of a run lie, and what state a run is in."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import filelock
from pydantic import BaseModel, ValidationError

from lensbench.config import RunConfig
from lensbench.errors import RecordError
from lensbench.outcome import Predictions
from lensbench.runs.record import Provenance, RunRecord, faults
from lensbench.whole_file import write_whole

State = Literal["new", "finished", "interrupted", "failed", "changed"]


@dataclass(frozen=True)
class Layout:
    """File names relative to the store's root; `{name}` is the name of the run."""

    record: str = "{name}/record.json"
    weights: str = "{name}/weights.safetensors"
    predictions: str = "{name}/predictions_{part}.npz"
    split: str = "{name}/split"
    work: str = "{name}/unfinished"
    lock: str = "{name}/training.lock"
    run_figures: str = "{name}"
    comparison: str = "."
    csv: str = "comparison.csv"


NATIVE = Layout()

PREDICTED = ("validation", "test", "validation_single_view", "test_single_view")
"""Predictions that a run may leave. Those of a single view are from the image alone; the others are
means over its views, if there are several."""


def contract_layout(results: str, weights: str, split: str, csv: str) -> Layout:
    """Return the contract's file names, in folders of the given names.

    Figures lie directly in the root, as the contract's document shows them.
    """
    return Layout(
        record=f"{results}/results_{{name}}.json",
        weights=f"{weights}/best_model_{{name}}.safetensors",
        predictions=f"{results}/predictions_{{part}}_{{name}}.npz",
        split=split,
        work=f"{weights}/unfinished_{{name}}",
        lock=f"{weights}/training_{{name}}.lock",
        run_figures=".",
        comparison=".",
        csv=csv,
    )


class Fingerprints(NamedTuple):
    """What tells that images, parts and a file of weights are the same as before."""

    data: str
    """Of the names, labels and pixels of all images."""
    split: str
    weights: str | None = None
    """Of the file that training starts from; None without one."""


class _Start(BaseModel):
    run: RunConfig
    fingerprints: Fingerprints


@dataclass(frozen=True)
class RunStore:
    """The files of one run. A run without a record is unfinished and can be resumed."""

    root: Path
    name: str
    layout: Layout = NATIVE

    @property
    def record(self) -> Path:
        """The record, written last."""
        return self._place(self.layout.record)

    @property
    def weights(self) -> Path:
        """The weights that were tested."""
        return self._place(self.layout.weights)

    @property
    def split(self) -> Path:
        """The folder with the ids of each part."""
        return self._place(self.layout.split)

    @property
    def work(self) -> Path:
        """The folder with checkpoints; it exists only while a run is unfinished."""
        return self._place(self.layout.work)

    @property
    def lock(self) -> Path:
        """The file that exists while a process has the run to itself, or if it was killed then."""
        return self._place(self.layout.lock)

    @property
    def figures(self) -> Path:
        """The folder for the figures of this run."""
        return self._place(self.layout.run_figures)

    def predictions(self, part: str) -> Path:
        """The predictions for one of `PREDICTED`."""
        return self._place(self.layout.predictions, part=part)

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is an epoch to go on from."""
        return any(self.work.glob("*.ckpt"))

    def state(self, config: RunConfig, fingerprints: Fingerprints | None = None) -> State:
        """Say what is here, compared with what is asked for.

        `changed` means that files of a run with other settings, images, parts or weights to start
        from are here, or files that are no whole JSON.

        Args:
            config: What is asked for.
            fingerprints: Of what lies in files; None if they were not read yet.

        Raises:
            RecordError: It cannot be said, because files cannot be read, or were written by a later
                version of lensbench.
        """
        if self.record.exists():
            if not _is_whole(self.record):
                return "changed"
            record = RunRecord.read(self.record)
            known_run = _as_it_ran(record)
            if record.lensbench is None or known_run is None or not _same_run(known_run, config):
                return "changed"
            if record.is_completed:
                known = _known_of(record.lensbench)
                return "finished" if fingerprints in (None, known) else "changed"
        if not _is_whole(self._start):
            return "changed"
        start = self._read_start()
        if start is None:
            return "failed" if self.record.exists() else "new"
        same_data = fingerprints in (None, start.fingerprints)
        if not (same_data and _same_run(start.run, config)):
            return "changed"
        return "failed" if self.record.exists() else "interrupted"

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Have the run to oneself while a block lasts, unless another process has it.

        Yields:
            Whether it is one's own; False without waiting for the other process.

        Raises:
            OSError: The folder cannot be written to, or its file system has no locks.
        """
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.lock)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            yield False
            return
        try:
            yield True
        finally:
            # Once released, the file may be the next one's.
            self.lock.unlink(missing_ok=True)
            lock.release()

    def begin(self, config: RunConfig, fingerprints: Fingerprints) -> None:
        """Note settings and fingerprints of a run before it starts, so that it can be resumed."""
        start = _Start(run=config, fingerprints=fingerprints)
        write_whole(self._start, start.model_dump_json(indent=1))

    def finish(self, record: RunRecord) -> None:
        """Write the record. The checkpoints of a completed run go.

        Raises:
            RecordError: The run failed, but the record there has results, or cannot be read.
        """
        if (
            not record.is_completed
            and self.record.exists()
            and RunRecord.read(self.record).is_completed
        ):
            raise RecordError(f"{self.record} holds results, which are kept")
        write_whole(self.record, record.model_dump_json(indent=1))
        if record.is_completed:
            shutil.rmtree(self.work, ignore_errors=True)

    def require_foreign(self) -> None:
        """Refuse to write predictions of another program over a run of ours, or an ensemble.

        Raises:
            RecordError: There is such a run, finished or not.
        """
        if self.work.exists() or (
            self.record.exists() and not RunRecord.read(self.record).is_foreign
        ):
            raise RecordError(f"{self.record.parent} holds a run: choose another name or folder")

    def require_room_for_ensemble(self) -> None:
        """Refuse to put an ensemble where anything else lies than an older one.

        Raises:
            RecordError: There is something else, or a record that cannot be read.
        """
        folder = self.record.parent
        if not folder.exists():
            return
        is_ensemble = (
            self.record.exists()
            and not self.work.exists()
            and RunRecord.read(self.record).ensemble is not None
        )
        if not is_ensemble and any(folder.iterdir()):
            raise RecordError(f"{folder} holds no ensemble: choose another name or folder")

    def put_ensemble(self, record: RunRecord, predictions: Mapping[str, Predictions]) -> None:
        """Write an ensemble into a folder of its own; it appears whole or not at all.

        An older one, with the figures that were drawn of it, moves to `superseded/`.

        Args:
            record: Names its predictions as they lie beside it in the native layout.
            predictions: By part.

        Raises:
            RecordError: Something else lies there.
        """
        self.require_room_for_ensemble()
        folder = self.record.parent
        self.root.mkdir(parents=True, exist_ok=True)
        # Beside the folder, where renaming copies nothing, and too deep for `find_records`.
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=self.root) as place:
            new = RunStore(Path(place), self.name)
            for part, one in predictions.items():
                one.save(new.predictions(part))
            new.finish(record)
            if not self.record.exists():
                new.record.parent.replace(folder)
                return
            aside = self.root / "superseded" / f"{self.name}-{time.time_ns()}"
            aside.parent.mkdir(exist_ok=True)
            folder.replace(aside)
            try:
                new.record.parent.replace(folder)
            except OSError:
                aside.replace(folder)
                raise

    def set_aside(self) -> Path:
        """Move every file of this run into a folder of its own, so that it can be run anew."""
        aside = self.root / "superseded" / f"{self.name}-{time.time_ns()}"
        aside.mkdir(parents=True)
        own_split = [self.split] if "{name}" in self.layout.split else []
        for file in (
            self.record,
            self.weights,
            *(self.predictions(part) for part in PREDICTED),
            *(self.figures / name for name in run_figure_names(self.name).values()),
            self.work,
            *own_split,
        ):
            if file.exists():
                shutil.move(file, aside / file.name)
        return aside

    @property
    def _start(self) -> Path:
        return self.work / "start.json"

    def _read_start(self) -> _Start | None:
        try:
            return _Start.model_validate_json(self._start.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise RecordError(
                f"{self._start}: not the settings of a run: {faults(error)}; to run it anew, move "
                f"{self.work} away"
            ) from error

    def _place(self, template: str, **names: str) -> Path:
        return self.root / template.format(name=self.name, **names)


def run_figure_names(name: str) -> dict[str, str]:
    """Return the contract's names for the figures of one run, by what they show."""
    kinds = ("confusion_matrix", "roc_curve", "training_history")
    return {kind: file_name(kind, name) for kind in kinds}


def file_name(*parts: str) -> str:
    """Return the name of a figure; a record from elsewhere may be called anything."""
    return re.sub(r"[^\w .+()-]", "_", "_".join(parts)) + ".png"


def find_records(root: Path, layout: Layout = NATIVE) -> list[Path]:
    """Return the records below a root, sorted; `root` may also be a folder of records itself."""
    pattern = Path(layout.record.replace("{name}", "*"))
    base = Path(pattern.anchor) if pattern.is_absolute() else root
    found = set(base.glob(str(pattern.relative_to(pattern.anchor))))
    return sorted(found | set(root.glob("results_*.json")))


def load_predictions(record: RunRecord, path: Path, part: str) -> Predictions | None:
    """Load the predictions that a record names; None for a record that has none.

    Raises:
        RecordError: The record names a file that is missing or damaged.
    """
    if record.lensbench is None or part not in record.lensbench.files:
        return None
    return Predictions.load(path.parent / record.lensbench.files[part])


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
    return _known_of(ours) == _known_of(theirs) and _defining(ours.run) == _defining(run)


def _known_of(ours: Provenance) -> tuple[str | None, ...]:
    """Return the `Fingerprints` of a run, as far as its record has them."""
    from_file = ours.run is not None and ours.run.model.weights is not None
    return (
        ours.data_fingerprint,
        ours.split.fingerprint if ours.split else None,
        ours.weights_used.rpartition(":")[2] if from_file and ours.weights_used else None,
    )


def _is_whole(path: Path) -> bool:
    """Whether a file is JSON to its end, or does not exist.

    Raises:
        RecordError: It cannot be read.
    """
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return True
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError:
        return False
    return True


def _as_it_ran(record: RunRecord) -> RunConfig | None:
    """Return the settings of a run, with the precision that was chosen for it if it was chosen."""
    ours = record.lensbench
    if ours is None or ours.run is None or ours.environment is None:
        return None
    machine = ours.run.machine.model_copy(update={"precision": ours.environment.precision})
    return ours.run.model_copy(update={"machine": machine})


def _same_run(one: RunConfig, other: RunConfig) -> bool:
    """Whether one run has the weights and predictions that another asks for, but for rounding.

    Where the images and a file of weights lie is no part of that, since their fingerprints are
    compared as well. Nor is on what and how steps are computed, unless a precision is asked for.
    """
    precision = other.machine.precision
    return precision in ("auto", one.machine.precision) and _defining(one) == _defining(other)


def _defining(config: RunConfig) -> dict[str, Any]:
    settings = config.model_dump(
        mode="json",
        exclude={
            "data": True,
            "group": True,
            "judge": True,
            "machine": True,
            "model": {"weights"},
            "recipe": {"expected", "mixed_precision"},
        },
    )
    return settings | {"starts_from_file": config.model.weights is not None}
