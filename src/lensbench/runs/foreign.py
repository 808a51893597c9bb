"""Predictions of any other program -> Predictions, from the formats that such programs write."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import RecordError
from lensbench.outcome import ROUNDING, UNREADABLE, Predictions

Kind = Literal["scores", "probabilities", "logits"]
Scores = Literal["auto", "probabilities", "logits"]
"""What the scores of a file are; auto takes rows that add up to 1 for probabilities."""

SUFFIXES = (".npz", ".npy", ".csv")

_KINDS: tuple[Kind, ...] = ("scores", "probabilities", "logits")
_PREFIXES: dict[str, Kind] = {
    "score_": "scores",
    "probability_": "probabilities",
    "prob_": "probabilities",
    "p_": "probabilities",
    "logit_": "logits",
}


_LOG_OF_ZERO = -1e200
"""Finite, so that zeros have a place in rankings, and too far for a log loss."""


def read_predictions(
    path: Path, labels: Path | None = None, scores: Scores = "auto"
) -> Predictions:
    """Read predictions that another program, or this one, has written.

    Probabilities are ranked as they were written, even if they add up to 1 only roughly. One of 0
    is lower than all others; where it is that of the label, there is no log loss.

    Args:
        path: One of
            an `.npz` with `labels`, one of `scores`, `probabilities` and `logits`, and, if it has
            them, `ids` and `classes`;
            an `.npy` with the scores, whose labels are in an `.npy` of their own;
            a CSV with the columns id, label, and one for each class, named after it (`vort`,
            `score_vort`, `prob_vort`, `logit_vort`); a single one is that of the second of two
            classes.
            Scores are (N, K), or (N,) of the second of two classes. Labels are names of classes,
            or numbers from 0; names need `classes`, or columns with names, to say their order.
            Examples without ids are numbered, and are the same in two files if they have the same
            place.
        labels: The labels (N,) of an `.npy`.
        scores: What the scores are, where the file does not say it.

    Raises:
        RecordError: The file cannot be read or does not hold such predictions; says why.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise RecordError(f"{path}: predictions are read from {', '.join(SUFFIXES)}")
    if (suffix == ".npy") != (labels is not None):
        raise RecordError(
            f"{path}: an .npy of scores needs an .npy of labels beside it, and nothing else does "
            "(--labels FILE, in Python labels=...)"
        )
    try:
        if suffix == ".csv":
            return _assembled(_columns(path), scores)
        if labels is not None:
            return _assembled({"labels": _array(labels), "scores": _array(path)}, scores)
        # NumPy leaves a damaged archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return _assembled({name: arrays[name] for name in arrays.files}, scores)
    except (*UNREADABLE, csv.Error, RecordError) as error:
        reason = str(error) or type(error).__name__
        raise RecordError(f"{path}: not predictions that can be judged: {reason}") from error


def _array(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def _columns(path: Path) -> dict[str, NDArray[Any]]:
    """Return the columns of a CSV as the arrays that an `.npz` would have."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.reader(file)
        header = [name.strip() for name in next(table, [])]
        rows = [row for row in table if row]
    if header[:2] != ["id", "label"] or len(header) < 3:
        raise RecordError(
            f"the columns must be id, label and one for each class, not {','.join(header)}"
        )
    values = np.empty((len(rows), len(header) - 2))
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise RecordError(
                f"row {number + 2} has {len(row)} columns, the header has {len(header)}"
            )
        for column, text in enumerate(row[2:]):
            try:
                values[number, column] = float(text)
            except ValueError as error:
                raise RecordError(
                    f"row {number + 2}: {header[column + 2]} is {text!r}, no number"
                ) from error
    labels = [row[1].strip() for row in rows]
    kind, names = _kind_and_classes(header[2:], set(labels))
    columns = {
        "ids": np.array([row[0] for row in rows], dtype=np.str_),
        "labels": np.array(labels, dtype=np.str_),
        kind: values,
    }
    others = sorted(set(labels) - set(names))
    if len(names) > 1:
        columns["classes"] = np.array(names, dtype=np.str_)
    elif names[0] in labels and len(others) == 1:
        columns["classes"] = np.array([others[0], names[0]], dtype=np.str_)
    return columns


def _kind_and_classes(columns: Sequence[str], labels: Set[str]) -> tuple[Kind, tuple[str, ...]]:
    """Return what the columns hold, and of which classes.

    Names of classes may begin as other columns do: columns are named after their classes alone
    unless all of them begin so, and even then if the labels fit that better.
    """
    parted = [_parted(column) for column in columns]
    kinds = [kind for kind, _ in parted if kind is not None]
    names = tuple(name for _, name in parted)
    if len(kinds) < len(columns) or len(labels & {*columns}) > len(labels & {*names}):
        return "scores", tuple(columns)
    return kinds[0] if len(set(kinds)) == 1 else "scores", names


def _parted(column: str) -> tuple[Kind | None, str]:
    for prefix, kind in _PREFIXES.items():
        if column.startswith(prefix) and column != prefix:
            return kind, column.removeprefix(prefix)
    return None, column


def _assembled(given_arrays: Mapping[str, NDArray[Any]], scores: Scores) -> Predictions:
    # As h5py gives texts.
    arrays = {
        name: array.astype(np.str_) if array.dtype.kind == "S" else array
        for name, array in given_arrays.items()
    }
    told = [kind for kind in _KINDS if kind in arrays]
    if len(told) != 1 or "labels" not in arrays:
        raise RecordError(
            "it needs labels and one of scores, probabilities and logits, but holds "
            f"{', '.join(arrays) or 'nothing'}"
        )
    if told[0] not in ("scores", scores) and scores != "auto":
        raise RecordError(f"it calls its scores {told[0]}, but they are asked for as {scores}")
    given, labels = arrays[told[0]], arrays["labels"]
    if given.ndim not in (1, 2) or labels.shape != given.shape[:1] or not len(labels):
        raise RecordError(
            f"labels of shape {labels.shape} and scores of shape {given.shape} are not (N,) and "
            "(N, K) or (N,)"
        )
    if given.dtype.kind not in "fiu":
        raise RecordError(f"scores are numbers, not {given.dtype}")
    values = given.reshape(len(given), -1).astype(np.float64)
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise RecordError(f"the scores of example {bad} are not finite")
    classes = [str(name) for name in arrays["classes"]] if "classes" in arrays else None
    numbers, names = _numbered(labels, classes, max(2, values.shape[1]))
    logits = _logits(values, scores if told[0] == "scores" else told[0])
    ids = arrays.get("ids", np.arange(len(labels)))
    return Predictions(ids.astype(np.str_), numbers, logits, names)


def _logits(values: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """Return (N, K) logits; K is 2 for the scores of one class alone."""
    alone = values.shape[1] == 1
    sums = np.ones(len(values)) if alone else values.sum(axis=1)
    are_shares = bool((values >= -ROUNDING).all() and (values <= 1 + ROUNDING).all())
    off = np.abs(sums - 1)
    if kind == "auto":
        kind = "probabilities" if are_shares else "logits"
        doubt = _doubt_of_one(values, are_shares) if alone else _doubt(values, are_shares)
        if doubt is not None:
            raise RecordError(f"{doubt}: say what they are (--scores probabilities|logits)")
    if kind == "logits":
        return np.column_stack([np.zeros(len(values)), values]) if alone else values
    if not are_shares or (sums <= 0).any():
        raise RecordError("probabilities must lie between 0 and 1, and not all be 0")
    if alone:
        values = np.column_stack([1 - values, values])
    elif off.max() > ROUNDING:
        values = values / sums[:, None]
    with np.errstate(divide="ignore"):
        logs: NDArray[np.float64] = np.log(values.clip(min=0))
    return logs.clip(min=_LOG_OF_ZERO)


def _doubt_of_one(values: NDArray[np.float64], are_shares: bool) -> str | None:
    """Say why the scores of one class may be in percent; logits of two classes have both signs."""
    if not are_shares and values.min() >= 0 and values.max() <= 100 * (1 + ROUNDING):
        return (
            f"the scores lie between {values.min():.6g} and {values.max():.6g}: logits that call "
            "nothing the first class, or percent, which are to be divided by 100"
        )
    return None


def _doubt(values: NDArray[np.float64], are_shares: bool) -> str | None:
    """Say why (N, K) scores look like probabilities and like none; None if they do not."""
    sums = values.sum(axis=1)
    off = np.abs(sums - 1)
    if are_shares and off.max() > ROUNDING:
        worst = int(off.argmax())
        return (
            f"all scores lie between 0 and 1, but those of example {worst} add up to "
            f"{sums[worst]:.6g}"
        )
    total = next((total for total in (1, 100) if np.abs(sums / total - 1).max() <= ROUNDING), None)
    if not are_shares and total is not None:
        return (
            f"the scores of each example add up to {total}, but they lie between "
            f"{values.min():.6g} and {values.max():.6g}"
        )
    return None


def _numbered(
    labels: NDArray[Any], classes: Sequence[str] | None, n_classes: int
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return labels as numbers of classes, and the names of the classes."""
    if labels.dtype.kind == "b":
        labels = labels.astype(np.int64)
    if labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels % 1 == 0).all():
        labels = labels.astype(np.int64)
    texts = [str(label) for label in labels.tolist()]
    are_numbers = all(text.isdecimal() for text in texts)
    if classes is None:
        if not are_numbers:
            raise RecordError(
                f"its labels are names ({', '.join(sorted(set(texts))[:3])}, ...), and nothing "
                "says which score is whose: add an array classes, or name columns after classes"
            )
        classes = [str(k) for k in range(n_classes)]
    if len(classes) != n_classes:
        raise RecordError(f"{len(classes)} class names, but scores of {n_classes} classes")
    if len(set(classes)) < n_classes:
        raise RecordError(f"a class has more than one column: {', '.join(classes)}")
    numbers = {name: k for k, name in enumerate(classes)}
    if are_numbers and not set(texts) <= set(classes):
        numbers = {str(k): k for k in range(n_classes)}
    unknown = sorted(set(texts) - set(numbers))
    if unknown:
        raise RecordError(f"label {unknown[0]!r} is none of the classes {', '.join(classes)}")
    return np.array([numbers[text] for text in texts], dtype=np.int64), tuple(classes)
