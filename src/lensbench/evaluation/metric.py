"""What is known of a metric: its name, how it is computed, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lensbench.evaluation import caveats
from lensbench.evaluation.caveats import Caveat
from lensbench.evaluation.influences import Influences
from lensbench.evaluation.metrics_of_calls import Counted
from lensbench.evaluation.ranking import Floats, Integers
from lensbench.evaluation.scored import Scored, WeightedMetric


@dataclass(frozen=True)
class Metric:
    """A metric of predictions.

    Attributes:
        name: The key of its estimates, without `/<class>`.
        title: As tables and plots show it.
        about: What it is, with its source, in a line.
        weighted: Its value on resamples of the examples.
        interval: How its interval is computed. Of the bootstrap's two, `deviation` takes that of
            resampled values to the scale of `interval_within`; `percentiles` suits metrics whose
            true value may well be a limit, which that scale never reaches.
        reads: What it depends on. `calls`: the class of highest probability. `ranks`: the order
            of the probabilities too; a strictly monotone function of all of them changes nothing.
            `probabilities`: their values.
        needs: What must be there for it to be defined, as a noun phrase.
        per_class: Whether each class has one.
        pooled: Whether it takes the examples of all classes for one sample.
        best: Its value for perfect predictions: the label at probability 1.
        worst: The least favourable value there is.
        greater_is_better: Whether the best value is the greatest.
        caveat: What the bootstrap of it, or its influences, do not see.
        mean_of: The metric of each class that it is the mean of, if it is one.
        counted: Of a proportion, its numerator and denominator.
        influences: Of each example on it, if its error is a sum over examples.
    """

    name: str
    title: str
    about: str
    weighted: WeightedMetric
    interval: Literal["delong", "wilson", "deviation", "percentiles"]
    reads: Literal["calls", "ranks", "probabilities"]
    needs: str = "examples"
    per_class: bool = False
    pooled: bool = False
    best: float = 1.0
    worst: float = 0.0
    greater_is_better: bool = True
    caveat: Caveat = caveats.none
    mean_of: str | None = None
    counted: Callable[[Scored, Floats], Counted] | None = None
    influences: Influences | None = None

    def keys(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the keys of its estimates."""
        return tuple(f"{self.name}/{one}" for one in classes) if self.per_class else (self.name,)

    def title_of(self, key: str) -> str:
        """Return what one of its keys is called in tables and plots."""
        _, slash, one = key.partition("/")
        return f"{self.title} of {one}" if slash else self.title

    def compared(self, labels: Integers, row: int) -> Integers:
        """Return the labels that one of its estimates compares.

        Args:
            labels: (N,) int64 in 0..K-1.
            row: Which of its `keys`.

        Returns:
            (N,) int64: if each class has an estimate, 1 for examples of the class and 0 for
            others; 0 if classes are pooled; the labels themselves if not.
        """
        if self.pooled:
            return np.zeros_like(labels)
        return (labels == row).astype(np.int64) if self.per_class else labels

    @property
    def is_resampled(self) -> bool:
        """Whether its interval is one of the bootstrap."""
        return self.interval in ("deviation", "percentiles")

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest value there is."""
        return min(self.best, self.worst), max(self.best, self.worst)

    def on_examples(self, scored: Scored) -> Floats:
        """Return its values on the examples themselves, (K,) or (1,)."""
        values = self.weighted(scored, np.ones((len(scored.labels), 1)))
        return np.atleast_1d(values[..., 0])
