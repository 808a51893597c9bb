"""What training leaves behind: the seam between training and judging. No torch here."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from lensbench.errors import RecordError
from lensbench.whole_file import written_whole

ROUNDING = 0.02
"""How far probabilities that were written with few digits may be from adding up to 1."""

UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)
"""What NumPy raises for files that are none of its own, or are damaged."""


def ranking_scores(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what ranks examples as the probabilities of each class do, without their ties at 1.

    Args:
        logits: (N, K) float64.

    Returns:
        (N, K) float64, the log-odds of each class against all others; logits that are logarithms
        of probabilities as they are, since equal ones shall stay equal.
    """
    if _are_logs_of_probabilities(logits):
        return logits
    largest = np.finfo(np.float64).max
    with np.errstate(over="ignore"):
        below = logits - logits.max(axis=1, keepdims=True)
        odds = [
            below[:, k] - np.logaddexp.reduce(np.delete(below, k, axis=1), axis=1)
            for k in range(logits.shape[1])
        ]
    return np.stack(odds, axis=1).clip(-largest, largest)


def _are_logs_of_probabilities(logits: NDArray[np.float64]) -> bool:
    sums = np.exp(logits.clip(max=1)).sum(axis=1)
    return bool(np.abs(sums - 1).max(initial=0) <= ROUNDING)


@dataclass(frozen=True)
class Predictions:
    """The logits of a classifier for a list of examples, each exactly once.

    Attributes:
        ids: (N,) strings, unique; an example's path inside its data set.
        labels: (N,) int64, the true class of each example as an index into `classes`.
        logits: (N, K) float64, before the softmax.
        classes: The K class names.

    Raises:
        RecordError: The shapes disagree, there are no two classes of different names, an id occurs
            twice, a label is out of range or a logit is not finite.
    """

    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    logits: NDArray[np.float64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        n, k = len(self.ids), len(self.classes)
        if k < 2 or len(set(self.classes)) < k:
            raise RecordError(f"two or more classes of different names, not {self.classes}")
        if self.labels.shape != (n,) or self.logits.shape != (n, k):
            raise RecordError(
                f"predictions for {n} ids and {k} classes need labels of shape ({n},) and logits "
                f"of shape ({n}, {k}), but have {self.labels.shape} and {self.logits.shape}"
            )
        if len(np.unique(self.ids)) != n:
            raise RecordError("an example must be predicted once, but some ids occur twice")
        if n and not (self.labels.min() >= 0 and self.labels.max() < k):
            raise RecordError(f"labels must lie in 0..{k - 1}")
        if not np.isfinite(self.logits).all():
            n_bad = int((~np.isfinite(self.logits)).any(axis=1).sum())
            raise RecordError(
                f"the logits of {n_bad} of {n} examples are not finite: training diverged; "
                "try a lower learning rate"
            )

    @classmethod
    def of(
        cls,
        ids: Sequence[str] | NDArray[np.str_],
        labels: Sequence[int] | NDArray[np.integer],
        logits: Sequence[Sequence[float]] | NDArray[np.floating],
        classes: Sequence[str],
    ) -> Predictions:
        """Make predictions from sequences or arrays; see the class for shapes and errors."""
        numbers = np.asarray(labels)
        if numbers.size and numbers.dtype.kind not in "iu":
            raise RecordError(f"labels are the numbers of classes, integers, not {numbers.dtype}")
        return cls(
            np.asarray(ids, dtype=np.str_),
            numbers.astype(np.int64),
            np.asarray(logits, dtype=np.float64),
            tuple(classes),
        )

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N, K) float64, the softmax of the logits.

        Logits that already are logarithms of probabilities are only exponentiated: renormalising
        rows whose sums differ from 1 by rounding would break ties.
        """
        if _are_logs_of_probabilities(self.logits):
            return np.exp(self.logits)
        shifted = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        probabilities: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
        return probabilities

    @classmethod
    def joined(cls, parts: Sequence[Predictions]) -> Predictions:
        """Put predictions of different examples together, as those of the folds of a data set.

        Args:
            parts: One or more; the first one's order of the classes is that of all.

        Raises:
            RecordError: An example is in two of them, or their classes differ.
        """
        classes = parts[0].classes
        for part in parts:
            if set(part.classes) != set(classes):
                raise RecordError(
                    f"the classes {', '.join(classes)} are not {', '.join(part.classes)}"
                )
        ids, counts = np.unique(np.concatenate([part.ids for part in parts]), return_counts=True)
        if (counts > 1).any():
            raise RecordError(f"example {str(ids[counts > 1][0])!r} is in more than one of them")
        aligned = [part.in_order_of_classes(classes) for part in parts]
        return cls(
            np.concatenate([part.ids for part in aligned]),
            np.concatenate([part.labels for part in aligned]),
            np.concatenate([part.logits for part in aligned]),
            classes,
        )

    def in_order_of_ids(self) -> Predictions:
        """Return the same predictions, sorted by id, so that those of two models stand in line."""
        order = np.argsort(self.ids, kind="stable")
        return Predictions(self.ids[order], self.labels[order], self.logits[order], self.classes)

    def in_order_of_classes(self, classes: Sequence[str]) -> Predictions:
        """Return the same predictions with their classes in another order."""
        places = [self.classes.index(name) for name in classes]
        labels = np.argsort(places)[self.labels]
        return Predictions(self.ids, labels, self.logits[:, places], tuple(classes))

    def save(self, path: Path) -> None:
        """Write an `.npz` that holds plain arrays only; the file appears whole or not at all."""
        with written_whole(path) as partial, partial.open("wb") as file:
            np.savez_compressed(
                file,
                ids=np.asarray(self.ids, dtype=np.str_),
                labels=self.labels,
                logits=self.logits,
                classes=np.asarray(self.classes, dtype=np.str_),
            )

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what `save` wrote.

        Raises:
            RecordError: The file is missing, is not such an archive, or holds pickled objects.
        """
        try:
            # NumPy leaves a damaged archive open.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return cls(
                    ids=arrays["ids"],
                    labels=arrays["labels"].astype(np.int64),
                    logits=arrays["logits"].astype(np.float64),
                    classes=tuple(str(name) for name in arrays["classes"]),
                )
        except UNREADABLE as error:
            raise RecordError(f"{path}: not a predictions file of lensbench ({error})") from error


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Epoch(_Frozen):
    """One pass over the training images.

    Losses are mean cross-entropies in nats; the AUC is the macro one-vs-rest one on the
    validation images; `learning_rate` is that of the epoch's last step.
    """

    train_loss: float
    validation_loss: float
    validation_auc: float
    learning_rate: float


class History(_Frozen):
    """All epochs of a fit, and the one whose weights were kept (counted from 1)."""

    epochs: tuple[Epoch, ...]
    kept_epoch: int

    @property
    def kept(self) -> Epoch:
        """The epoch whose weights were kept."""
        return self.epochs[self.kept_epoch - 1]


class Timing(_Frozen):
    """Wall-clock seconds; `fit_seconds` holds training and validation, never the test pass."""

    fit_seconds: float
    n_train_images_per_second: float
