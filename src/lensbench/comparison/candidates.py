"""Records -> the runs that may be members of an ensemble."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lensbench.comparison.judged import Judged, load_judged
from lensbench.errors import ComparisonError, ConfigError, RecordError
from lensbench.evaluation.calibration import AllRightError, fit_temperature
from lensbench.outcome import Predictions
from lensbench.runs.record import RunRecord, read_records
from lensbench.runs.store import RunStore, load_predictions


@dataclass(frozen=True)
class Candidate:
    """A finished run with predictions for validation and test, and what calibrates it."""

    run: Judged
    validation: Predictions
    temperature: float
    is_calibrated: bool
    """False if all its validation images are called right: its temperature is then 1."""


def find_candidates(
    paths: Sequence[Path], store: RunStore, names: Sequence[str]
) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
    """Return the runs that may be members, and a line for each record that may not.

    An ensemble never may. Of a record that does not keep its validation predictions, or whose
    model has learnt nothing that they could calibrate, nothing is known that could weight it.

    Args:
        paths: Of records.
        store: Of the ensemble. An older one there, which it replaces, is not worth a line.
        names: Of the only runs to take, each of which must be fit for it; none: all that are.

    Raises:
        ConfigError: A name is given twice, or no run has it; or a run is called as the ensemble is.
        RecordError: A run that was named may be no member, or fewer than two may.
        ComparisonError: Two runs have the same name.
    """
    for name, n in Counter(names).items():
        if n > 1:
            raise ConfigError(f"{name!r} is named as a member {n} times")
    found: dict[str, Candidate] = {}
    known = []
    records, left_out = read_records(paths)
    for path, record in records:
        is_older_one = path.resolve() == store.record.resolve()
        if store.name in (record.model_desc, record.model_name) and not is_older_one:
            raise ConfigError(f"{path} is called {store.name!r} too: name the ensemble otherwise")
        known.append(record.model_desc)
        if record.model_desc not in names and (names or is_older_one):
            continue
        try:
            candidate = _candidate(record, path)
        except RecordError as error:
            if names:
                raise
            left_out.append(str(error))
            continue
        if candidate.run.name in found:
            other = found[candidate.run.name].run.path
            raise ComparisonError(
                f"2 runs are called {candidate.run.name!r}: {other}, {path}; leave out one"
            )
        found[candidate.run.name] = candidate
    unknown = [name for name in names if name not in known]
    if unknown:
        there = "; ".join([f"there are {', '.join(sorted(known))}", *left_out])
        raise ConfigError(f"no run is called {unknown[0]!r}; {there}")
    if len(found) < 2:
        reasons = "".join(f"; {line}" for line in left_out)
        raise RecordError(
            f"an ensemble needs two runs or more that may be members, not {len(found)}{reasons}"
        )
    return tuple(found[name] for name in sorted(found)), tuple(left_out)


def _candidate(record: RunRecord, path: Path) -> Candidate:
    if not record.is_completed:
        raise RecordError(f"{path}: not a finished run ({record.status})")
    if record.ensemble is not None:
        raise RecordError(f"{path}: an ensemble, which is no member of another")
    validation = load_predictions(record, path, "validation")
    run = load_judged(record, path)
    if validation is None or run.predictions is None:
        raise RecordError(f"{path}: no predictions for validation and test are kept")
    is_calibrated = True
    try:
        temperature = fit_temperature(validation)
    except AllRightError:
        temperature, is_calibrated = 1.0, False
    except RecordError as error:
        raise RecordError(f"{path}: cannot be calibrated: {error}") from error
    return Candidate(run, validation, temperature, is_calibrated)
