"""The noise of the camera, against scipy's Poisson distribution."""

import numpy as np
import pytest
import torch
from scipy.special import gammaincc, ndtr
from scipy.stats import chisquare, norm, poisson, skew

from lensbench.errors import ConfigError
from lensbench.simulation import DEMO
from lensbench.simulation.block import Block
from lensbench.simulation.engine import images_of
from lensbench.simulation.photons import expose, poisson_quantile
from lensbench.simulation.population import Camera
from lensbench.simulation.render import observe

MEANS = np.geomspace(1e-3, 6e4, 41)


def camera(**changes: float) -> Camera:
    return DEMO.camera.model_copy(update=changes)


def quantile(normal: np.ndarray, mean: np.ndarray | float) -> np.ndarray:
    mean = np.broadcast_to(np.asarray(mean, dtype=float), normal.shape).copy()
    return poisson_quantile(torch.from_numpy(normal), torch.from_numpy(mean)).numpy()


@pytest.mark.parametrize("reach", ["normal", "uniform"])
def test_counts_are_quantiles(reach):
    rng = np.random.default_rng(3)
    n = 50_000
    for mean in MEANS:
        z = rng.standard_normal(n) if reach == "normal" else rng.uniform(-6, 6, n)
        k = np.arange(poisson.ppf(norm.sf(8), mean), poisson.isf(norm.sf(8), mean) + 2)
        # Below and above the middle: the smaller of the two tails is the one that is precise.
        below = k[0] + np.searchsorted(poisson.cdf(k, mean), ndtr(z))
        above = k[0] + np.searchsorted(-poisson.sf(k, mean), -ndtr(-z))
        expected = np.where(z < 0, below, above)
        found = quantile(z, mean)
        # Far above the middle, P and Phi are within 10^-9 of 1, and known to 10^-16 only.
        differ = found != expected
        assert not differ[z < 4].any()
        assert differ.mean() <= 2 / n
        assert np.abs(found - expected).max() <= 1


def test_counts_are_scipys():
    rng = np.random.default_rng(4)
    z, mean = rng.standard_normal(20_000), np.exp(rng.uniform(np.log(1e-3), np.log(6e4), 20_000))
    np.testing.assert_array_equal(quantile(z, mean), poisson.ppf(ndtr(z), mean))


@pytest.mark.parametrize(("low", "high"), [(1e-3, 20), (8, 1000), (500, 6e4)])
def test_counts_of_any_mean_are_quantiles(low, high):
    rng = np.random.default_rng(5)
    n = 400_000
    z, mean = rng.standard_normal(n), np.exp(rng.uniform(np.log(low), np.log(high), n))
    k = quantile(z, mean)
    assert (k >= 0).all()
    assert (k == np.floor(k)).all()
    probability = ndtr(z)
    assert (gammaincc(k + 1, mean) >= probability).all()  # the cumulative distribution at k
    some = k > 0
    assert (gammaincc(k[some], mean[some]) < probability[some]).all()


def test_whole_numbers_of_the_middle():
    # The median of a Poisson variable lies between mean - ln 2 and mean + 1/3 (Choi 1994).
    mean = np.linspace(0.01, 300, 30_000)
    median = quantile(np.zeros(30_000), mean)
    assert (median >= mean - np.log(2)).all()
    assert (median < mean + 1 / 3).all()
    np.testing.assert_array_equal(median, poisson.median(mean))


def test_extreme_normal_numbers_end():
    z, mean = np.meshgrid([-40.0, -9.0, 9.0, 40.0], [1e-12, 0.5, 1.0, 10.0, 6e4])
    count = quantile(z, mean)
    assert np.isfinite(count).all()
    assert (count[0, :2] == 0).all()
    assert (count[0] <= 2).all()
    assert (np.abs(count[-1] - 6e4) <= 42 * np.sqrt(6e4)).all()


def test_more_light_never_gives_fewer_counts():
    rng = np.random.default_rng(6)
    z = np.repeat(rng.uniform(-6, 6, 200)[:, None], 2000, axis=1)
    mean = np.sort(np.exp(rng.uniform(np.log(1e-3), np.log(6e4), (200, 2000))), axis=1)
    assert (np.diff(quantile(z, mean), axis=1) >= 0).all()
    z = np.sort(rng.uniform(-6, 6, (200, 2000)), axis=1)
    mean = np.repeat(np.exp(rng.uniform(np.log(1e-3), np.log(6e4), 200))[:, None], 2000, axis=1)
    assert (np.diff(quantile(z, mean), axis=1) >= 0).all()


@pytest.mark.parametrize("mean", [0.3, 3.0, 10.0, 47.0, 900.0])
def test_counts_follow_the_poisson_distribution(mean):
    count = quantile(np.random.default_rng(7).standard_normal(10**6), mean)
    k = np.arange(poisson.ppf(1e-5, mean), poisson.isf(1e-5, mean))
    found = np.array([(count == one).sum() for one in k])
    expected = 1e6 * poisson.pmf(k, mean)
    rest = [1e6 - found.sum()], [1e6 - expected.sum()]
    p = chisquare(np.append(found, rest[0]), np.append(expected, rest[1])).pvalue
    assert p > 1e-3


@pytest.mark.parametrize(("light", "sky"), [(0.0, 10.0), (30.0, 10.0), (390.0, 10.0), (0.5, 0.0)])
def test_the_noise_has_the_moments_of_a_poisson_distribution(light, sky):
    n, mean = 10**6, light + sky
    normal = torch.from_numpy(np.random.default_rng(8).standard_normal((1, 1000, 1000)))
    counts = expose(torch.full((1, 1000, 1000), light).double(), normal, None, sky, 0.0)
    assert counts.dtype == torch.int64
    lowest = float(poisson_quantile(normal.min()[None], torch.tensor([mean]).double()))
    counts = counts.double().numpy().ravel() + lowest
    assert counts.mean() == pytest.approx(mean, abs=5 * np.sqrt(mean / n))
    kurtosis = 3 + 1 / mean
    assert counts.var() == pytest.approx(mean, rel=5 * np.sqrt((kurtosis - 1) / n))
    assert skew(counts) == pytest.approx(mean**-0.5, abs=5 * np.sqrt(10 / n))


@pytest.mark.parametrize("read_noise", [1.0, 8.4])
def test_reading_out_adds_its_variance(read_noise):
    # Rounding to whole counts adds 1/12 (Sheppard's correction).
    expected = torch.full((1, 1000, 1000), 200.0, dtype=torch.float64)
    noise = np.random.default_rng(9), np.random.default_rng(9)
    quiet, read = (
        observe(camera(sky_counts=10.0, read_noise_counts=sigma), expected, [rng])
        for sigma, rng in zip((0.0, read_noise), noise, strict=True)
    )
    added = read.astype(float) - quiet
    assert added.var() == pytest.approx(read_noise**2 + 1 / 12, rel=0.01)
    assert np.corrcoef(added.ravel(), quiet.ravel())[0, 1] == pytest.approx(0, abs=0.005)


def test_reading_out_changes_no_photon():
    """With read noise, the photons come from the same normal numbers as without."""
    expected = torch.rand(2, 16, 16, dtype=torch.float64, generator=torch.manual_seed(1)) * 50
    rngs = [[np.random.default_rng(seed) for seed in (1, 2)] for _ in range(2)]
    loud, faint = (
        observe(camera(read_noise_counts=sigma), expected, noise)
        for sigma, noise in zip((1e-6, 0.0), rngs, strict=True)
    )
    np.testing.assert_array_equal(loud, faint)


def test_every_image_has_noise_of_its_own():
    expected = torch.full((2, 32, 32), 50.0, dtype=torch.float64)
    images = observe(camera(), expected, [np.random.default_rng(seed) for seed in (1, 2)])
    assert (images.dtype, images.shape) == (np.uint16, (2, 32, 32))
    alone = observe(camera(), expected[1:], [np.random.default_rng(2)])
    np.testing.assert_array_equal(images[1], alone[0])
    assert np.abs(np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1]) < 0.15
    np.testing.assert_array_equal(images.min((1, 2)), 0)


def test_without_light_and_sky_an_image_is_black():
    dark = torch.zeros((2, 64, 64), dtype=torch.float64)
    rngs = [np.random.default_rng(seed) for seed in (1, 2)]
    assert not observe(camera(sky_counts=0.0), dark, rngs).any()
    # What rounding leaves below 0 is no light either.
    rngs = [np.random.default_rng(seed) for seed in (1, 2)]
    assert not observe(camera(sky_counts=0.0), dark - 1e-13, rngs).any()


def test_more_counts_than_fit_are_an_error():
    expected = torch.zeros((1, 8, 8), dtype=torch.float64)
    expected[0, 3, 3] = 60_000
    image = observe(camera(), expected, [np.random.default_rng(1)])
    assert image.max() == pytest.approx(60_000, abs=5 * 60_000**0.5)
    expected[0, 3, 3] = 70_000
    with pytest.raises(OverflowError, match="more than 65,535"):
        observe(camera(), expected, [np.random.default_rng(1)])


@pytest.mark.parametrize(
    ("light", "settings"),
    [
        (1e12, {}),
        (0.0, {"sky_counts": 1e300}),
        (0.0, {"sky_counts": 1.7e308, "read_noise_counts": 1.7e308}),
        (0.0, {"read_noise_counts": 1e300}),
    ],
)
def test_far_too_many_counts_are_an_error_at_once(light, settings):
    expected = torch.full((1, 8, 8), light, dtype=torch.float64)
    with pytest.raises(OverflowError, match="more than 65,535"):
        observe(camera(**settings), expected, [np.random.default_rng(1)])


@pytest.mark.parametrize("setting", ["sky_counts", "read_noise_counts"])
def test_what_makes_too_many_counts_is_among_what_is_to_be_lowered(setting):
    loud = DEMO.but(name="loud", camera={setting: 1e8})
    with pytest.raises(ConfigError, match=rf"lower .*camera\.{setting}.* of 'loud'"):
        images_of(loud, 1, Block("train", "no", (1,)), "cpu")
