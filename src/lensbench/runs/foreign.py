"""Predictions of any other program -> Predictions, from the formats that such programs write."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lensbench.errors import RecordError
from lensbench.outcome import Predictions

Scores = Literal["auto", "probabilities", "logits"]
"""What the scores of a file are; auto takes rows that are shares of 1 for probabilities."""

SUFFIXES = (".npz", ".npy", ".csv")

_PREFIXES = ("score_", "probability_", "prob_", "p_", "logit_")
_ROUNDED = 1e-3
_EXACT = 1e-9


def read_predictions(
    path: Path, labels: Path | None = None, scores: Scores = "auto"
) -> Predictions:
    """Read predictions that another program, or this one, has written.

    A probability of 0 is taken as the smallest number that a float64 holds, so that its logarithm
    is finite.

    Args:
        path: One of
            an `.npz` with `labels`, one of `scores`, `probabilities` and `logits`, and, if it has
            them, `ids` and `classes`;
            an `.npy` with the scores, whose labels are in an `.npy` of their own;
            a CSV with the columns id, label, and one for each class, named after it (`vort`,
            `score_vort`, `logit_vort`, ...).
            Scores are (N, K), or (N,) of the second of two classes. Labels are class names, or
            numbers from 0. Examples without ids are numbered, and are the same in two files if
            they have the same place.
        labels: The labels (N,) of an `.npy`.
        scores: What the scores are.

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
            return _from_table(path, scores)
        if labels is not None:
            return _assembled({"labels": _array(labels), "scores": _array(path)}, scores)
        with np.load(path, allow_pickle=False) as arrays:
            return _assembled({name: arrays[name] for name in arrays.files}, scores)
    except (OSError, ValueError, RecordError) as error:
        raise RecordError(f"{path}: not predictions that can be judged: {error}") from error


def _array(path: Path) -> NDArray[Any]:
    array: NDArray[Any] = np.load(path, allow_pickle=False)
    return array


def _from_table(path: Path, scores: Scores) -> Predictions:
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
    told = "logits" if all(name.startswith("logit_") for name in header[2:]) else "auto"
    arrays: dict[str, NDArray[Any]] = {
        "ids": np.array([row[0] for row in rows], dtype=np.str_),
        "labels": np.array([row[1].strip() for row in rows], dtype=np.str_),
        "logits" if told == "logits" else "scores": values,
    }
    if len(header) > 3:
        arrays["classes"] = np.array([_class_of(name) for name in header[2:]], dtype=np.str_)
    return _assembled(arrays, scores)


def _class_of(column: str) -> str:
    for prefix in _PREFIXES:
        if column.startswith(prefix) and column != prefix:
            return column.removeprefix(prefix)
    return column


def _assembled(arrays: Mapping[str, NDArray[Any]], scores: Scores) -> Predictions:
    kinds = [kind for kind in ("scores", "probabilities", "logits") if kind in arrays]
    if len(kinds) != 1 or "labels" not in arrays:
        raise RecordError(
            "it needs labels and one of scores, probabilities and logits, but holds "
            f"{', '.join(arrays) or 'nothing'}"
        )
    values = np.asarray(arrays[kinds[0]], dtype=np.float64)
    labels = arrays["labels"]
    if values.ndim not in (1, 2) or labels.shape != values.shape[:1] or not len(labels):
        raise RecordError(
            f"labels of shape {labels.shape} and scores of shape {values.shape} are not (N,) and "
            "(N, K) or (N,)"
        )
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))[0])
        raise RecordError(f"the scores of example {bad} are not finite")
    kind = scores if kinds[0] == "scores" else kinds[0]
    logits = _logits(values.reshape(len(values), -1), kind)
    classes = tuple(map(str, arrays["classes"])) if "classes" in arrays else None
    numbers, classes = _numbered(labels, classes, logits.shape[1])
    ids = arrays.get("ids", np.arange(len(labels)))
    return Predictions(ids.astype(np.str_), numbers, logits, classes)


def _logits(values: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """Return (N, K) logits; K is 2 for the scores of one class alone."""
    alone = values.shape[1] == 1
    sums = np.ones(len(values)) if alone else values.sum(axis=1)
    are_shares = bool((values >= 0).all() and (values <= 1 + _ROUNDED).all())
    off = np.abs(sums - 1)
    if kind == "auto":
        if are_shares and off.max() > _ROUNDED:
            worst = int(off.argmax())
            raise RecordError(
                f"all scores lie between 0 and 1, but those of example {worst} add up to "
                f"{sums[worst]:.6g}: say what they are (--scores probabilities|logits)"
            )
        kind = "probabilities" if are_shares else "logits"
    if kind == "logits":
        return np.column_stack([np.zeros(len(values)), values]) if alone else values
    if not are_shares or (sums == 0).any():
        raise RecordError("probabilities must lie between 0 and 1, and not all be 0")
    if alone:
        values = np.column_stack([1 - values, values])
    elif off.max() > _EXACT:
        values = values / sums[:, None]
    return np.log(np.maximum(values, np.finfo(np.float64).smallest_subnormal))


def _numbered(
    labels: NDArray[Any], classes: Sequence[str] | None, n_classes: int
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return labels as numbers of classes, and the names of the classes."""
    if labels.dtype.kind == "f" and (labels == labels.round()).all():
        labels = labels.astype(np.int64)
    texts = [str(label) for label in labels.tolist()]
    if classes is None:
        distinct = sorted(set(texts))
        if all(text.isdecimal() for text in distinct):
            classes = [str(k) for k in range(n_classes)]
        elif len(distinct) == n_classes:
            classes = distinct
        else:
            raise RecordError(
                f"{len(distinct)} different labels and scores of {n_classes} classes, whose names "
                "are not given"
            )
    if len(classes) != n_classes:
        raise RecordError(f"{len(classes)} class names, but scores of {n_classes} classes")
    numbers = {name: k for k, name in enumerate(classes)}
    if not set(texts) <= set(classes) and all(text.isdecimal() for text in texts):
        numbers = {str(k): k for k in range(n_classes)}
    unknown = sorted(set(texts) - set(numbers))
    if unknown:
        raise RecordError(f"label {unknown[0]!r} is none of the classes {', '.join(classes)}")
    return np.array([numbers[text] for text in texts], dtype=np.int64), tuple(classes)
