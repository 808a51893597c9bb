"""The mean of calibrated probabilities, and who is in it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import log_loss

from lensbench.config import JudgeSpec
from lensbench.errors import ComparisonError, ConfigError
from lensbench.evaluation.calibration import fit_temperature, with_temperature
from lensbench.evaluation.ensemble import (
    N_ROUNDS,
    Ensemble,
    fit_ensemble,
    greedy_counts,
    mean_prediction,
)
from lensbench.evaluation.evaluate import evaluate
from lensbench.outcome import Predictions

CLASSES = ("no", "sphere", "vort")
N = 90
LABELS = np.arange(N) % 3


def made(seed: int, separation: float = 1.0, part: str = "v", sharpness: float = 1.0):
    """Predict N examples; all parts and models have the same labels."""
    rng = np.random.default_rng([seed, ord(part)])
    logits = rng.normal(size=(N, 3)) + separation * np.eye(3)[LABELS]
    return Predictions.of([f"{part}{i:03}" for i in range(N)], LABELS, sharpness * logits, CLASSES)


def library(n: int, seed: int = 0, part: str = "v") -> dict[str, Predictions]:
    separations = (0.6, 1.5, 0.9, 1.2, 0.7, 1.4)
    return {f"m{i}": made(10 * seed + i, separations[i % 6], part, 1 + i % 3) for i in range(n)}


def temperatures_of(members: dict[str, Predictions]) -> dict[str, float]:
    return {name: fit_temperature(one) for name, one in members.items()}


def fitted(members: dict[str, Predictions], selection="greedy") -> Ensemble:
    return fit_ensemble(members, temperatures_of(members), selection)


def shuffled(predictions: Predictions, seed: int) -> Predictions:
    order = np.random.default_rng(seed).permutation(len(predictions.ids))
    return Predictions(
        predictions.ids[order],
        predictions.labels[order],
        predictions.logits[order],
        predictions.classes,
    )


def direct_mean(
    members: Sequence[Predictions], temperatures: Sequence[float], weights: Sequence[float]
) -> np.ndarray:
    return sum(
        weight * softmax(one.logits / temperature, axis=1)
        for one, temperature, weight in zip(members, temperatures, weights, strict=True)
    )


def test_the_mean_is_that_of_the_probabilities():
    members = list(library(3).values())
    temperatures, weights = (0.7, 1.3, 2.0), (0.5, 0.2, 0.3)
    mean = mean_prediction(members, temperatures, weights)
    np.testing.assert_allclose(
        mean.probabilities, direct_mean(members, temperatures, weights), rtol=1e-13
    )
    np.testing.assert_array_equal(mean.ids, members[0].ids)
    np.testing.assert_array_equal(mean.labels, members[0].labels)


def test_equal_weights_are_those_of_all():
    members, test = library(4), library(4, part="t")
    ensemble = fitted(members, "all")
    assert ensemble.weights == dict.fromkeys(members, 0.25)
    assert ensemble.temperatures == temperatures_of(members)
    assert ensemble.n_rounds is None
    assert ensemble.n_validation == N
    expected = direct_mean(list(test.values()), list(ensemble.temperatures.values()), [0.25] * 4)
    np.testing.assert_allclose(ensemble.predict(test).probabilities, expected, rtol=1e-13)


@pytest.mark.parametrize("selection", ["all", "greedy"])
def test_losses_are_log_losses_of_the_calibrated_probabilities(selection):
    members = library(5)
    ensemble = fitted(members, selection)
    for name, one in members.items():
        scaled = with_temperature(one, ensemble.temperatures[name])
        assert ensemble.losses[name] == pytest.approx(log_loss(LABELS, scaled.probabilities))
    mean = ensemble.predict(members)
    assert ensemble.loss == pytest.approx(log_loss(LABELS, mean.probabilities), rel=1e-12)


@pytest.mark.parametrize("selection", ["all", "greedy"])
def test_neither_the_order_of_members_nor_of_examples_nor_of_classes_matters(selection):
    members, test = library(4), library(4, part="t")
    ensemble = fitted(members, selection)
    turned = {
        name: shuffled(one, i).in_order_of_classes(CLASSES[i % 3 :] + CLASSES[: i % 3])
        for i, (name, one) in enumerate(reversed(members.items()))
    }
    again = fit_ensemble(turned, ensemble.temperatures, selection)
    assert again.weights == ensemble.weights
    assert again.loss == pytest.approx(ensemble.loss, rel=1e-13)
    mean = ensemble.predict(test)
    other = ensemble.predict(
        {
            name: shuffled(test[name], i).in_order_of_classes(turned[name].classes)
            for i, name in enumerate(turned)
        }
    )
    np.testing.assert_array_equal(other.ids, mean.ids)
    other = other.in_order_of_classes(CLASSES)
    np.testing.assert_array_equal(other.labels, mean.labels)
    np.testing.assert_allclose(other.logits, mean.logits, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [800.0, 1e6, 1e150, 1.7e308])
def test_extreme_logits_stay_finite(size):
    """Probabilities that underflow are still ranked by their logarithms."""
    logits = np.array([[size, 0, -size], [-size, size, size], [0, 0, 0], [size, -size, -size]])
    labels = np.array([2, 0, 1, 0])
    ids = [str(i) for i in range(4)]
    extreme = Predictions.of(ids, labels, logits, CLASSES)
    mild = Predictions.of(ids, labels, np.eye(3)[labels], CLASSES)
    for members in ([extreme], [extreme, extreme], [extreme, mild], [mild, extreme]):
        n = len(members)
        mean = mean_prediction(members, [0.5] * n, [1 / n] * n)
        assert np.isfinite(mean.logits).all()
        np.testing.assert_allclose(mean.probabilities.sum(axis=1), 1)
    both = mean_prediction([extreme, extreme], [1, 1], [0.5, 0.5])
    assert both.logits[0].argsort().tolist() == [2, 1, 0]
    hopeless = np.full(3, -size / 3)
    assert greedy_counts(np.stack([hopeless, np.full(3, -1.0)])).tolist() == [0, 1]


def test_a_member_alone_is_its_calibrated_self_to_the_bit():
    one = made(3, 6.0, sharpness=7)  # many probabilities of nearly 1, where rounding makes ties
    temperature = fit_temperature(made(3, 1.5))
    alone = mean_prediction([one], [temperature], [1.0])
    calibrated = with_temperature(one, temperature)
    np.testing.assert_array_equal(alone.probabilities, calibrated.probabilities)
    spec = JudgeSpec(n_resamples=100)
    assert evaluate(alone, spec).estimates == evaluate(calibrated, spec).estimates


@given(st.integers(0, 10**6), st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_an_ensemble_of_identical_members_is_the_member(seed, n):
    one = made(seed)
    members = {f"m{i}": one for i in range(n)}
    ensemble = fitted(members)
    assert ensemble.weights == {f"m{i}": float(i == 0) for i in range(n)}
    assert ensemble.n_rounds == 1
    expected = with_temperature(one, fit_temperature(one)).probabilities
    for mean in (ensemble.predict(members), fitted(members, "all").predict(members)):
        np.testing.assert_allclose(mean.probabilities, expected, rtol=1e-12)


def naive_greedy(probabilities: np.ndarray, n_rounds: int) -> Counter[int]:
    """Select by (M, N) probabilities of the labels, one bag at a time."""

    def loss(bag: Sequence[int]) -> float:
        return float(-np.log(np.mean([probabilities[i] for i in bag], axis=0)).mean())

    bag: list[int] = []
    bags = []
    for _ in range(n_rounds):
        bag = min(([*bag, i] for i in range(len(probabilities))), key=loss)
        bags.append(bag)
    return Counter(min(bags, key=loss))


def best_of_all_bags(probabilities: np.ndarray, n_rounds: int) -> float:
    return min(
        float(-np.log(np.mean(probabilities[list(bag)], axis=0)).mean())
        for size in range(1, n_rounds + 1)
        for bag in itertools.combinations_with_replacement(range(len(probabilities)), size)
    )


@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_greedy_selection_is_that_of_its_definition(seed, n_members, n_rounds):
    """Each model is good at some examples, so that mixtures are worth it."""
    rng = np.random.default_rng(seed)
    probabilities = rng.beta(0.8, 0.6, size=(n_members, 12)).clip(1e-6)
    counts = greedy_counts(np.log(probabilities), n_rounds)
    assert counts.dtype == np.int64
    weights = counts / counts.sum()
    # Rounding tells 2 + 2 from 1 + 1; the weights are the same.
    expected = naive_greedy(probabilities, n_rounds)
    np.testing.assert_allclose(
        weights, [expected[i] / expected.total() for i in range(n_members)], rtol=1e-12
    )
    mine = -np.log(weights @ probabilities).mean()
    alone = -np.log(probabilities).mean(axis=1).min()
    assert best_of_all_bags(probabilities, n_rounds) - 1e-12 <= mine <= alone


def test_the_chosen_mean_is_never_worse_than_the_best_alone_and_here_better():
    for seed in range(20):
        ensemble = fitted(library(6, seed))
        assert ensemble.loss < min(ensemble.losses.values())
        assert sum(ensemble.weights.values()) == pytest.approx(1)
        assert ensemble.n_rounds is not None
        counts = np.array(list(ensemble.weights.values())) * ensemble.n_rounds
        np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
        assert ensemble.n_rounds <= N_ROUNDS


def test_the_best_prefix_is_kept():
    """A later round may only make it worse: here the second candidate never helps."""
    good, bad = np.full(5, 0.9), np.full(5, 0.2)
    assert greedy_counts(np.log([bad, good])).tolist() == [0, 1]
    # Two that complement each other: half of each is the best there is.
    left, right = np.array([0.9, 0.1] * 5), np.array([0.1, 0.9] * 5)
    assert greedy_counts(np.log([left, right])).tolist() == [1, 1]


def test_ties_are_broken_by_the_order_of_names():
    same = made(1)
    weights = fitted({"b": same, "c": same, "a": same}).weights
    assert weights == {"a": 1.0, "b": 0.0, "c": 0.0}


def spoilt(**changes: object) -> Predictions:
    whole = made(2)
    parts = {
        "ids": whole.ids,
        "labels": whole.labels,
        "logits": whole.logits,
        "classes": whole.classes,
    }
    return Predictions(**(parts | changes))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (spoilt(labels=np.roll(LABELS, 1)), "90 validation images have different labels"),
        (spoilt(classes=("no", "sphere", "other")), r"their classes are .*'vort'.* and .*'other'"),
        (made(2, part="w"), "only 0 of 90 and 90 validation images are the same"),
        (
            spoilt(ids=made(2).ids[:60], labels=LABELS[:60], logits=made(2).logits[:60]),
            "only 60 of 90 and 60 validation images are the same",
        ),
    ],
)
def test_members_of_other_examples_are_refused_by_name(other, message):
    members = {"right": made(1), "wrong": other, "alright": made(4)}
    with pytest.raises(ComparisonError, match=f"alright and wrong cannot .*: {message}"):
        fit_ensemble(members, dict.fromkeys(members, 1.0), "all")
    ensemble = fit_ensemble({"right": made(1), "wrong": made(2)}, {"right": 1, "wrong": 1}, "all")
    with pytest.raises(ComparisonError, match="right and wrong cannot"):
        ensemble.predict({"right": made(1), "wrong": other})


def test_nothing_is_no_ensemble():
    with pytest.raises(ConfigError, match="ensemble of nothing"):
        fit_ensemble({}, {})
    with pytest.raises(ConfigError, match="1 round or more"):
        greedy_counts(np.zeros((2, 3)), 0)
