"""The files of a run, and what state it is in."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import filelock
from pydantic import BaseModel, ValidationError

from lensbench.config import EXECUTION_NOTE, SUPERSEDED, RunConfig
from lensbench.errors import RecordError
from lensbench.outcome import Predictions
from lensbench.runs.identity import Fingerprints, as_it_ran, known_of, same_run
from lensbench.runs.layout import NATIVE, PREDICTED, RECALL_FIGURE, Layout, run_figure_names
from lensbench.runs.record import RunRecord, faults
from lensbench.whole_file import write_whole

State = Literal["new", "finished", "interrupted", "failed", "changed"]


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
            known_run = as_it_ran(record)
            if known_run is not None and not record.is_completed:
                known_run = self._as_it_runs(known_run)
            if (
                record.lensbench is None
                or known_run is None
                or not same_run(known_run, config, parts_known=fingerprints is not None)
            ):
                return "changed"
            if record.is_completed:
                known = known_of(record.lensbench)
                return "finished" if fingerprints in (None, known) else "changed"
        if not _is_whole(self._start):
            return "changed"
        start = self._read_start()
        if start is None:
            return "failed" if self.record.exists() else "new"
        same_data = fingerprints in (None, start.fingerprints)
        begun = self._as_it_runs(start.run)
        if not (same_data and same_run(begun, config, parts_known=fingerprints is not None)):
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
            aside = self._new_aside()
            aside.parent.mkdir(exist_ok=True)
            folder.replace(aside)
            try:
                new.record.parent.replace(folder)
            except OSError:
                aside.replace(folder)
                raise

    def drop_figures(self) -> None:
        """Delete the figures of this run: they show what its next record will not say."""
        for name in run_figure_names(self.name).values():
            (self.figures / name).unlink(missing_ok=True)

    def set_aside(self) -> Path:
        """Move every file of this run into a folder of its own, so that it can be run anew."""
        aside = self._new_aside()
        aside.mkdir(parents=True)
        own_split = [self.split] if "{name}" in self.layout.split else []
        # Where runs share a folder, a name does not tell for sure whose recall it is.
        has_folder = self.layout.record.startswith("{name}/")
        recalls = sorted(self.record.parent.glob(f"{RECALL_FIGURE}_*")) if has_folder else []
        for file in (
            self.record,
            self.weights,
            *(self.predictions(part) for part in PREDICTED),
            *(self.figures / name for name in run_figure_names(self.name).values()),
            *recalls,
            self.work,
            *own_split,
        ):
            if file.exists():
                shutil.move(file, aside / file.name)
        return aside

    def _as_it_runs(self, begun: RunConfig) -> RunConfig:
        """Return the settings of an unfinished run, with the precision that was chosen for it.

        Raises:
            RecordError: What was chosen cannot be read.
        """
        note = self.work / EXECUTION_NOTE
        try:
            precision = json.loads(note.read_bytes())["precision"]
        except FileNotFoundError:
            return begun
        except OSError as error:
            raise RecordError(f"{note}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError):  # damaged; the fit chooses again
            return begun
        machine = begun.machine.model_copy(update={"precision": precision})
        return begun.model_copy(update={"machine": machine})

    def _new_aside(self) -> Path:
        return self.root / SUPERSEDED / f"{self.name}-{time.time_ns()}"

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


def load_predictions(record: RunRecord, path: Path, part: str) -> Predictions | None:
    """Load the predictions that a record names; None for a record that has none.

    Raises:
        RecordError: The record names a file that is missing or damaged.
    """
    if record.lensbench is None or part not in record.lensbench.files:
        return None
    file = path.parent / record.lensbench.files[part]
    if not file.exists():
        raise RecordError(f"{file} is gone: to make it anew, move {path} away and run it again")
    return Predictions.load(file)


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
