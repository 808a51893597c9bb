"""Several classifiers -> one: the weighted mean of their calibrated probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, logsumexp

from lensbench.config import Selection
from lensbench.errors import ConfigError
from lensbench.evaluation.matching import in_one_order
from lensbench.evaluation.metrics_of_probabilities import LARGEST_LOSS
from lensbench.evaluation.ranking import Floats, Integers
from lensbench.outcome import Predictions

N_ROUNDS = 100
"""Of the greedy selection, at most: weights are multiples of one part in 100 or of a larger one."""

_ROUNDING = 1e-12
"""What the log loss of a mean of equal probabilities may change by, relative to it or to 1."""


@dataclass(frozen=True)
class Ensemble:
    """What validation examples have said of M candidates, whose names are the keys, sorted.

    Attributes:
        temperatures: By which the logits of each are divided.
        weights: Of each in the mean, of sum 1; 0 of those that are no members.
        losses: Log loss of the calibrated probabilities of each alone, in nats.
        loss: That of the mean.
        n_rounds: Rounds of the greedy selection that were kept; None if nothing was selected.
        n_validation: Examples that all of it was fitted to.
    """

    temperatures: Mapping[str, float]
    weights: Mapping[str, float]
    losses: Mapping[str, float]
    loss: float
    n_rounds: int | None
    n_validation: int

    def predict(
        self, candidates: Mapping[str, Predictions], images: str = "test images"
    ) -> Predictions:
        """Return the mean of the members' probabilities.

        Args:
            candidates: Predictions of the same examples, by name; only members are taken.
            images: What the examples are called.

        Raises:
            ComparisonError: Members are of different examples, labels or classes; names two.
        """
        names = [name for name, weight in self.weights.items() if weight]
        members = in_one_order({name: candidates[name] for name in names}, images)
        return mean_prediction(
            list(members.values()),
            [self.temperatures[name] for name in names],
            [self.weights[name] for name in names],
        )


def fit_ensemble(
    validation: Mapping[str, Predictions],
    temperatures: Mapping[str, float],
    selection: Selection = "greedy",
) -> Ensemble:
    """Choose members and weights, by what is known of validation examples alone.

    The same examples have chosen the temperatures, and often the epoch of each candidate. Losses
    here are therefore too good to be reported as results; those of test examples, which are not
    seen before the weights are fixed, are not.

    Args:
        validation: Predictions of each candidate for the same examples.
        temperatures: Of each candidate, fitted to these.
        selection: `all` gives each the same weight, `greedy` selects; see `greedy_counts`.

    Raises:
        ConfigError: There are no candidates.
        ComparisonError: They are of different examples, labels or classes; names two.
    """
    if not validation:
        raise ConfigError("an ensemble of nothing does not exist: name some members")
    names = sorted(validation)
    members = in_one_order({name: validation[name] for name in names}, "validation images")
    of_label = np.stack(
        [_of_label(one, temperatures[name]) for name, one in members.items()]
    )  # (M, N)
    counts = greedy_counts(of_label) if selection == "greedy" else np.ones(len(names), np.int64)
    chosen = counts > 0
    weights = counts / counts.sum()
    mean = logsumexp(of_label[chosen], axis=0, b=weights[chosen, None])
    return Ensemble(
        temperatures={name: float(temperatures[name]) for name in names},
        weights=dict(zip(names, weights.tolist(), strict=True)),
        losses=dict(zip(names, (-of_label.mean(axis=1)).tolist(), strict=True)),
        loss=-float(mean.mean()),
        n_rounds=int(counts.sum()) if selection == "greedy" else None,
        n_validation=of_label.shape[1],
    )


def mean_prediction(
    members: Sequence[Predictions], temperatures: Sequence[float], weights: Sequence[float]
) -> Predictions:
    """Return the mean of calibrated probabilities, the logits being its logarithms.

    They are finite however far apart the logits of members lie, since no probability is
    exponentiated before the mean is taken. Those of a single member are as `with_temperature` has
    them.

    Args:
        members: M predictions of the same examples and classes in the same order.
        temperatures: By which the logits of each are divided.
        weights: Of each, above 0 and of sum 1.
    """
    first = members[0]
    logs = [
        log_softmax(_scaled(one, temperature), axis=1)
        for one, temperature in zip(members, temperatures, strict=True)
    ]
    logits = logs[0]
    if len(members) > 1:
        mean = logsumexp(logs, axis=0, b=np.asarray(weights)[:, None, None])
        logits = np.minimum(mean, 0)  # rounding may find more than 1
    return Predictions(first.ids, first.labels, logits, first.classes)


def greedy_counts(log_likelihoods: Floats, n_rounds: int = N_ROUNDS) -> Integers:
    """Return how often greedy selection with replacement takes each candidate.

    It begins with the best candidate. Each round adds the one, perhaps again, whose probabilities
    lower the log loss of the mean most, or raise it least; in the end the rounds up to the lowest
    loss are kept (Caruana, Niculescu-Mizil, Crew & Ksikes 2004, ICML, "Ensemble selection from
    libraries of models"). The first of equally good candidates is taken, and the fewest of equally
    good rounds. No mean that is kept has a larger loss than the best candidate.

    Args:
        log_likelihoods: (M, N) logarithm of the probability that each candidate gives to the label
            of each validation example; finite.
        n_rounds: At most.

    Returns:
        (M,) int64; over their sum they are the weights.

    Raises:
        ConfigError: There is less than one round.
    """
    if n_rounds < 1:
        raise ConfigError(f"a selection needs 1 round or more, not {n_rounds}")
    total = np.full(log_likelihoods.shape[1], -np.inf)
    taken, losses = [], []
    for size in range(1, n_rounds + 1):
        sums = np.logaddexp(total, log_likelihoods)
        of_candidates = np.log(size) - sums.mean(axis=1)
        best = int(of_candidates.argmin())
        total = sums[best]
        taken.append(best)
        losses.append(float(of_candidates[best]))
    lowest = min(losses)
    n_kept = 1 + next(
        place
        for place, loss in enumerate(losses)
        if loss <= lowest + _ROUNDING * max(1.0, abs(lowest))
    )
    counts: Integers = np.bincount(taken[:n_kept], minlength=len(log_likelihoods))
    return counts


def calibrated_loss(predictions: Predictions, temperature: float) -> float:
    """Return the log loss, in nats, of one candidate alone with its logits / temperature."""
    return -float(_of_label(predictions, temperature).mean())


def _of_label(predictions: Predictions, temperature: float) -> Floats:
    """Return (N,) the logarithm of the calibrated probability of each label."""
    logs = log_softmax(_scaled(predictions, temperature), axis=1)
    picked: Floats = logs[np.arange(len(logs)), predictions.labels]
    return picked


def _scaled(predictions: Predictions, temperature: float) -> Floats:
    """Return (N, K) logits / temperature, kept within what log losses can be reckoned with."""
    with np.errstate(over="ignore"):
        scaled = predictions.logits / temperature
    return scaled.clip(-LARGEST_LOSS, LARGEST_LOSS)
