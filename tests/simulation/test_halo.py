"""Sizes of subhalos, against astropy, published values and integrals."""

import astropy.units as u
import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM

from lensbench.simulation import PHYSICAL
from lensbench.simulation.cosmology import kpc_per_arcsec
from lensbench.simulation.halo import (
    CONCENTRATION_SCATTER_DEX,
    concentration,
    scale_radius_kpc,
    truncation_radius_kpc,
)
from lensbench.simulation.scene import Haloes

ASTROPY = FlatLambdaCDM(H0=70, Om0=0.3)


class Typical:
    """Random numbers without any scatter."""

    def normal(self, mean: float, sigma: float, shape: tuple[int, ...]) -> np.ndarray:
        assert (mean, sigma) == (0, CONCENTRATION_SCATTER_DEX) == (0, 0.11)
        return np.zeros(shape)


def test_concentrations_are_those_of_dutton_and_maccio():
    # Table 3 of arXiv:1402.7073 (c200, NFW): log c = a + b log(M / (10^12 M_sun / h)).
    table = {0.0: (0.905, -0.101), 1.0: (0.728, -0.073), 2.0: (0.612, -0.050)}
    for redshift, (a, b) in table.items():
        assert np.log10(concentration(1e12 / 0.7, redshift)) == pytest.approx(a, abs=0.002)
        slope = np.log10(concentration(1e13, redshift) / concentration(1e12, redshift))
        assert slope == pytest.approx(b, abs=0.003)
    np.testing.assert_allclose(concentration([1e8, 1e10], 0.5), [15.2, 10.1], atol=0.05)


@pytest.mark.parametrize("redshift", [0.2, 0.5, 0.9])
def test_a_halo_has_200_times_the_critical_density_of_astropy(redshift):
    mass = np.array([1e6, 1e8, 1e10])
    r200 = scale_radius_kpc(mass, redshift, Typical()) * concentration(mass, redshift)
    mean_density = mass * u.Msun / (4 / 3 * np.pi * (r200 * u.kpc) ** 3)
    ratio = (mean_density / ASTROPY.critical_density(redshift)).to_value(u.dimensionless_unscaled)
    np.testing.assert_allclose(ratio, 200, rtol=1e-4)  # G is known to 2e-5


def test_concentrations_scatter_by_a_tenth_of_a_decade():
    mass = np.full(100_000, 1e9)
    scale = np.log10(scale_radius_kpc(mass, 0.5, np.random.default_rng(1)))
    typical = np.log10(scale_radius_kpc(mass[:1], 0.5, Typical()))[0]
    assert scale.mean() == pytest.approx(typical, abs=5 * 0.11 / 100_000**0.5)
    assert scale.std() == pytest.approx(0.11, rel=0.01)


def test_tides_truncate():
    assert truncation_radius_kpc(1e7, 50) == pytest.approx(1.4)
    np.testing.assert_allclose(
        truncation_radius_kpc([[1e7], [8e7]], [50.0, 400.0]), [[1.4, 5.6], [2.8, 11.2]]
    )


def test_subhalos_of_a_scene_have_the_sizes_of_their_masses(scene_of):
    haloes = [scene_of("sphere", number, PHYSICAL) for number in range(40)]
    for scene in haloes:
        some = scene.perturbers
        assert isinstance(some, Haloes)
        kpc = kpc_per_arcsec(scene.lens_redshift)
        typical = scale_radius_kpc(some.mass_solar, scene.lens_redshift, Typical())
        scatter = np.log10(some.scale_radius_arcsec * kpc / typical)
        assert np.abs(scatter).max() < 5 * 0.11
        tides = some.truncation * some.scale_radius_arcsec * kpc
        projected = np.hypot(some.x_arcsec, some.y_arcsec) * kpc
        assert (tides >= 0.999999 * truncation_radius_kpc(some.mass_solar, projected)).all()
        farthest = np.hypot(projected, 150)
        assert (tides <= 1.000001 * truncation_radius_kpc(some.mass_solar, farthest)).all()
