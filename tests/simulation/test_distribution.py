from typing import Annotated

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy.integrate import quad
from scipy.stats import kstest, lognorm, loguniform, norm, pareto, powerlaw, rayleigh, uniform

from lensbench.simulation.distribution import (
    Distribution,
    LogNormal,
    Normal,
    PowerLaw,
    Rayleigh,
    Uniform,
    within,
)

N = 20_000
READ = TypeAdapter(Distribution)

# Ours, and scipy's without the bounds.
PAIRS = [
    (Uniform(low=-2, high=3), uniform(-2, 5)),
    (Normal(mean=0.5, sigma=0.15, low=0.2, high=0.9), norm(0.5, 0.15)),
    (Normal(mean=0, sigma=1, low=1.5, high=4), norm(0, 1)),
    (LogNormal(median=0.15, dex=0.25, low=0.05, high=0.5), lognorm(0.25 * np.log(10), scale=0.15)),
    (LogNormal(median=2, dex=0.3, low=-1, high=1e3), lognorm(0.3 * np.log(10), scale=2)),
    (Rayleigh(sigma=0.05, low=0, high=0.2), rayleigh(scale=0.05)),
    (Rayleigh(sigma=0.05, low=0.06, high=0.08), rayleigh(scale=0.05)),
    (PowerLaw(low=1e6, high=1e10, slope=-0.9), powerlaw(0.1, scale=1e10)),
    (PowerLaw(low=1e8, high=1e10, slope=-1.9), pareto(0.9, scale=1e8)),
    (PowerLaw(low=40, high=400, slope=-1), loguniform(40, 400)),
    (PowerLaw(low=1, high=5, slope=-2), pareto(1, scale=1)),
    (PowerLaw(low=1, high=5, slope=1.5), powerlaw(2.5, scale=5)),
    (PowerLaw(low=1, high=5, slope=0), uniform(1, 4)),
]


def share_below(ours, theirs):
    below, above = theirs.cdf(ours.low), theirs.cdf(ours.high)
    return lambda values: (theirs.cdf(values) - below) / (above - below)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_draws_follow_the_law_within_the_bounds(ours, theirs):
    values = ours.draw(np.random.default_rng(1), N)
    assert (values.shape, values.dtype) == ((N,), np.float64)
    assert ours.low <= values.min() <= values.max() <= ours.high
    assert kstest(values, share_below(ours, theirs)).pvalue > 1e-3


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("factor", [0.25, 1.41])
def test_scaled_is_the_distribution_of_the_multiple(ours, theirs, factor):
    scaled = ours.scaled(factor)
    assert scaled.kind == ours.kind
    values = scaled.draw(np.random.default_rng(2), N)
    assert kstest(values / factor, share_below(ours, theirs)).pvalue > 1e-3
    # And number by number, which the tests of robustness rest on.
    one_by_one = factor * ours.draw(np.random.default_rng(2), N)
    np.testing.assert_allclose(values, one_by_one, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("one", "factor"),
    [
        (PowerLaw(low=1, high=2, slope=-1), 0),
        (Uniform(low=1, high=2), -1),
        (Uniform(low=1, high=2), float("inf")),
        (Normal(mean=1, sigma=1, low=0, high=2), 0),
    ],
)
def test_a_multiple_that_is_no_distribution_is_refused(one, factor):
    with pytest.raises(ValidationError):
        one.scaled(factor)


@pytest.mark.parametrize("one", [one for one, _ in PAIRS])
def test_no_values_are_none(one):
    assert one.draw(np.random.default_rng(0), 0).shape == (0,)


@pytest.mark.parametrize("slope", [-3.3, -2, -1.9, -1, -0.9, 0, 1.5])
def test_the_mean_of_a_power_law_is_the_integral(slope):
    low, high = 1.5, 40.0
    moments = [quad(lambda x, k=k: x ** (slope + k), low, high)[0] for k in (0, 1)]
    found = PowerLaw(low=low, high=high, slope=slope).mean
    assert found == pytest.approx(moments[1] / moments[0], rel=1e-9)


@pytest.mark.parametrize("slope", [-100, 70])
def test_a_steep_power_law_ends_at_its_bounds(slope):
    law = PowerLaw(low=1, high=1e4, slope=slope)
    bound = law.low if slope < 0 else law.high
    assert law.mean == pytest.approx(bound, rel=0.02)
    assert law.draw(np.random.default_rng(0), 1000) == pytest.approx(bound, rel=0.15)


@pytest.mark.parametrize("slope", [-2, -1, -0.9])
def test_a_power_law_of_one_value_is_a_constant(slope):
    one = PowerLaw(low=1e8, high=1e8, slope=slope)
    assert one.mean == 1e8
    np.testing.assert_array_equal(one.draw(np.random.default_rng(0), 3), [1e8] * 3)


def test_the_bounds_of_a_steep_power_law_hold_to_the_last_bit():
    values = PowerLaw(low=0.1, high=0.1 + 1e-15, slope=-9).draw(np.random.default_rng(0), 1000)
    assert 0.1 <= values.min() <= values.max() <= 0.1 + 1e-15


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Normal, {"mean": 0, "sigma": 1, "low": 4, "high": 9}),
        (Normal, {"mean": 0, "sigma": 1, "low": 1, "high": 1}),
        (LogNormal, {"median": 1, "dex": 0.1, "low": 3, "high": 9}),
        (LogNormal, {"median": 1, "dex": 0.1, "low": -3, "high": 0}),
        (Rayleigh, {"sigma": 1, "low": 4, "high": 9}),
        (Rayleigh, {"sigma": 1, "low": -2, "high": 0.1}),
    ],
)
def test_bounds_that_hold_hardly_any_value_are_refused(kind, settings):
    with pytest.raises(ValidationError, match=r"only 0\..% of the distribution lie within"):
        kind(**settings)


def test_the_share_within_the_bounds_is_that_of_scipy():
    # Just above and below one percent.
    for one, theirs in PAIRS:
        if "sigma" not in type(one).model_fields and "median" not in type(one).model_fields:
            continue
        start = theirs.ppf(0.5)
        type(one)(**vars(one) | {"low": start, "high": theirs.ppf(0.511)})
        with pytest.raises(ValidationError, match="only"):
            type(one)(**vars(one) | {"low": start, "high": theirs.ppf(0.509)})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ((3, 2), "from 3.0 to 2.0"),
        ((0, float("inf")), "finite"),
        (float("nan"), "finite"),
        ({"kind": "normal", "mean": float("nan"), "sigma": 1, "low": 0, "high": 1}, "finite"),
        ({"kind": "normal", "mean": 0, "sigma": 0, "low": 0, "high": 1}, "greater than 0"),
        ({"kind": "power-law", "low": 0, "high": 1, "slope": -1}, "above 0"),
        ({"kind": "power-law", "low": 1, "high": 2, "slope": float("nan")}, "finite"),
        ({"kind": "power-law", "low": 1e6, "high": 1e10, "slope": 100}, "slope of 100 .*lower it"),
        ({"kind": "power-law", "low": 1e-300, "high": 1e300, "slope": 0}, "narrow the range"),
        ({"kind": "cauchy", "low": 0, "high": 1}, "'uniform', 'normal', 'log-normal'"),
        ({"kind": "uniform", "low": 0, "high": 1, "mean": 1}, "Extra inputs"),
        ((1, 2, 3), r"expected a number, a pair \[low, high\], or an object"),
        ("1", "expected a number, a pair"),
        (True, "expected a number, a pair"),
    ],
)
def test_senseless_distributions_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        READ.validate_python(wrong)


def test_numbers_and_ranges_are_uniform_distributions():
    assert READ.validate_python(3) == Uniform(low=3, high=3)
    assert READ.validate_python((1, 2)) == READ.validate_json("[1, 2]") == Uniform(low=1, high=2)
    np.testing.assert_array_equal(
        READ.validate_python(0.1).draw(np.random.default_rng(0), 4), [0.1] * 4
    )


@pytest.mark.parametrize("one", [one for one, _ in PAIRS])
def test_distributions_survive_json(one):
    assert READ.validate_json(READ.dump_json(one)) == one
    assert READ.validate_python(READ.dump_python(one)) == one


def test_values_outside_what_makes_sense_are_refused():
    share = TypeAdapter(Annotated[Distribution, within(0, 1)])
    assert share.validate_python((0, 1)).high == 1
    for wrong in (-0.1, 1.1, (0, 1.1), (-0.1, 1)):
        with pytest.raises(ValidationError, match="between 0 and 1"):
            share.validate_python(wrong)
    positive = TypeAdapter(Annotated[Distribution, within(0, exclusive=True)])
    assert positive.validate_python(1e-9).low == 1e-9
    with pytest.raises(ValidationError, match="above 0"):
        positive.validate_python((0, 1))
