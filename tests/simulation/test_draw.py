import numpy as np
import pytest
from scipy.stats import kstest, norm, poisson

from lensbench.simulation import CLASSES, COMMON_TEST_1, DEMO, draw, generator
from lensbench.simulation.cosmology import point_mass_einstein_radius_arcsec

N = 2000
SMOOTH = (
    "einstein_radius_arcsec",
    "shear",
    "shear_angle_deg",
    "source_axis_ratio",
    "source_x_arcsec",
)


@pytest.fixture(scope="module")
def scenes():
    return {
        label: [
            draw(COMMON_TEST_1, label, generator(3, "train", label, number, "scene"))
            for number in range(N)
        ]
        for label in CLASSES
    }


def column(scenes, name):
    return np.array([getattr(scene, name) for scene in scenes])


def is_uniform(values, low, high):
    return kstest(values, "uniform", (low, high - low)).pvalue > 1e-3


def test_lens_and_source_follow_their_laws(scenes):
    of = scenes["no"]
    assert is_uniform(column(of, "lens_redshift"), 0.4, 0.6)
    assert is_uniform(column(of, "source_redshift"), 0.8, 1.2)
    assert is_uniform(column(of, "shear"), 0, 0.3)
    assert is_uniform(column(of, "shear_angle_deg"), 0, 2 * np.pi)
    assert is_uniform(column(of, "source_axis_ratio"), 0.4, 1)
    assert is_uniform(column(of, "source_angle_deg"), 0, 2 * np.pi)
    x, y = column(of, "source_x_arcsec"), column(of, "source_y_arcsec")
    assert is_uniform(np.hypot(x, y), 0, 0.5)
    assert is_uniform(np.arctan2(y, x), -np.pi, np.pi)
    radius = point_mass_einstein_radius_arcsec(
        1e12, column(of, "lens_redshift"), column(of, "source_redshift"), "luminosity-slip"
    )
    np.testing.assert_array_equal(column(of, "einstein_radius_arcsec"), radius)


def test_isotropic_angles_fill_the_circle():
    population = COMMON_TEST_1.model_copy(update={"angles": "isotropic"})
    angles = [
        draw(population, "no", generator(3, "train", "no", number, "scene")).shear_angle_deg
        for number in range(N)
    ]
    assert is_uniform(angles, 0, 360)


def test_subhalos_follow_their_laws(scenes):
    numbers = [len(scene.perturber_mass_fraction) for scene in scenes["sphere"]]
    assert (
        kstest(numbers + np.random.default_rng(0).random(N), lambda k: _smoothed(k)).pvalue > 1e-3
    )
    mass = 1e12 * np.concatenate(column_of_arrays(scenes["sphere"], "perturber_mass_fraction"))
    cdf = lambda m: (m**0.1 - 1e6**0.1) / (1e10**0.1 - 1e6**0.1)  # noqa: E731
    assert kstest(mass, cdf).pvalue > 1e-3
    assert (mass > 4e9).sum() / N == pytest.approx(3.6, abs=0.2)
    x, y = (
        np.concatenate(column_of_arrays(scenes["sphere"], f"perturber_{axis}_arcsec"))
        for axis in "xy"
    )
    assert is_uniform(np.hypot(x, y), 0, 2)
    assert is_uniform(np.arctan2(y, x), -np.pi, np.pi)


def column_of_arrays(scenes, name):
    return [getattr(scene, name) for scene in scenes]


def _smoothed(k):
    """Poisson(25) plus a uniform number, whose distribution is continuous."""
    below = np.floor(k)
    return poisson.cdf(below - 1, 25) + (k - below) * poisson.pmf(below, 25)


def test_vortices_are_straight_lines_of_equal_masses(scenes):
    x, y = (
        column(scenes["vort"], "perturber_x_arcsec"),
        column(scenes["vort"], "perturber_y_arcsec"),
    )
    fraction = column(scenes["vort"], "perturber_mass_fraction")
    assert fraction.shape == (N, 25)
    assert np.ptp(fraction, axis=1).max() == 0
    assert is_uniform(fraction.sum(1), 0.03, 0.055)
    steps = np.diff(x + 1j * y, axis=1)
    np.testing.assert_allclose(steps, np.repeat(steps[:, :1], 24, axis=1), rtol=1e-9)
    assert is_uniform(np.abs(steps.sum(1)), 1, 4)
    assert is_uniform(np.angle(steps[:, 0]), -np.pi, np.pi)
    for centre in (x.mean(1), y.mean(1)):
        assert kstest(centre, norm(0, 0.5).cdf).pvalue > 1e-3


def test_the_mass_factor_multiplies_masses_and_nothing_else():
    plain, heavy = (
        draw(
            COMMON_TEST_1.model_copy(update={"substructure_mass_factor": factor}),
            "sphere",
            generator(1, "val", "sphere", 4, "scene"),
        )
        for factor in (1.0, 10.0)
    )
    np.testing.assert_allclose(heavy.perturber_mass_fraction, 10 * plain.perturber_mass_fraction)
    np.testing.assert_array_equal(heavy.perturber_x_arcsec, plain.perturber_x_arcsec)


def test_a_slope_of_minus_one_is_uniform_in_the_logarithm():
    population = COMMON_TEST_1.model_copy(update={"subhalo_mass_slope": -1.0})
    mass = np.concatenate(
        [
            draw(
                population, "sphere", generator(3, "train", "sphere", k, "scene")
            ).perturber_mass_fraction
            for k in range(100)
        ]
    )
    assert is_uniform(np.log10(mass * 1e12), 6, 10)


def test_lenses_and_sources_do_not_depend_on_the_class():
    scenes = [draw(DEMO, label, generator(0, "train", "no", 5, "scene")) for label in CLASSES]
    for name in SMOOTH:
        assert len({getattr(scene, name) for scene in scenes}) == 1


def test_every_image_has_random_numbers_of_its_own():
    keys = [
        (seed, partition, label, number, use)
        for seed in (0, 1)
        for partition in ("train", "val")
        for label in CLASSES
        for number in (1, 2)
        for use in ("scene", "noise")
    ]
    assert len({generator(*key).random() for key in keys}) == len(keys) == 48
    assert generator(*keys[5]).random() == generator(*keys[5]).random()


def test_an_unknown_class_is_refused():
    with pytest.raises(ValueError, match="not in tuple"):
        generator(0, "train", "axion", 1, "scene")
