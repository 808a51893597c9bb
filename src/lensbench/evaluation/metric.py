"""What is known of a metric: its name, how it is computed, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lensbench.evaluation.influences import Influences
from lensbench.evaluation.metrics_of_calls import Counted
from lensbench.evaluation.ranking import Floats
from lensbench.evaluation.scored import Scored, WeightedMetric


@dataclass(frozen=True)
class Metric:
    """A metric of predictions.

    Attributes:
        name: The key of its estimates, without `/<class>`.
        title: As tables and plots show it.
        about: What it is, with its source, in a line.
        weighted: Its value on resamples of the examples.
        interval: How its interval is computed.
        reads: What it depends on. `calls`: the class of highest probability. `ranks`: the order
            of the probabilities too; a strictly monotone function of all of them changes nothing.
            `probabilities`: their values.
        needs: What it is undefined without, as a noun phrase.
        per_class: Whether each class has one.
        best: Its value for perfect predictions: the label at probability 1.
        worst: The least favourable value there is.
        greater_is_better: Whether the best value is the greatest.
        caveat: What its interval does not see, as a clause.
        mean_of: The metric of each class that it is the mean of, if it is one.
        counted: What it is a share of what, if it is one.
        influences: Of each example on it, if its error is a sum over examples.
    """

    name: str
    title: str
    about: str
    weighted: WeightedMetric
    interval: Literal["delong", "wilson", "bootstrap"]
    reads: Literal["calls", "ranks", "probabilities"]
    needs: str = "examples"
    per_class: bool = False
    best: float = 1.0
    worst: float = 0.0
    greater_is_better: bool = True
    caveat: str = ""
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

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest value there is."""
        return min(self.best, self.worst), max(self.best, self.worst)

    def on_examples(self, scored: Scored) -> Floats:
        """Return its values on the examples themselves, (K,) or (1,)."""
        values = self.weighted(scored, np.ones((len(scored.labels), 1)))
        return np.atleast_1d(values[..., 0])
