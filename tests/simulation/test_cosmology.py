"""Distances and Einstein radii, against astropy."""

import astropy.units as u
import numpy as np
import pytest
from astropy.constants import G, M_sun, c
from astropy.cosmology import FlatLambdaCDM

from lensbench.simulation.cosmology import (
    angular_diameter_distance_mpc,
    comoving_distance_mpc,
    critical_density_solar_per_kpc3,
    isothermal_radius_arcsec,
    kpc_per_arcsec,
    ring_mass_solar,
    ring_radius_arcsec,
)

ASTROPY = FlatLambdaCDM(H0=70, Om0=0.3)
CONVENTIONS = pytest.mark.parametrize("distances", ["angular-diameter", "luminosity-slip"])
LENS, SOURCE = np.array([0.2, 0.5, 0.6, 0.9]), np.array([0.8, 1.0, 1.2, 3.5])
# Hogg 1999 (astro-ph/9905116), eq. 19.
BETWEEN = (ASTROPY.comoving_distance(SOURCE) - ASTROPY.comoving_distance(LENS)) / (1 + SOURCE)


def test_distances_agree_with_astropy():
    redshift = np.array([[0.0, 1e-3, 0.4], [1.2, 3.0, 10.0]])
    comoving = ASTROPY.comoving_distance(redshift).to_value(u.Mpc)
    np.testing.assert_allclose(comoving_distance_mpc(redshift), comoving, rtol=1e-9)
    across = ASTROPY.angular_diameter_distance(redshift).to_value(u.Mpc)
    np.testing.assert_allclose(angular_diameter_distance_mpc(redshift), across, rtol=1e-9)
    scale = ASTROPY.arcsec_per_kpc_proper(redshift[1]).to_value(u.arcsec / u.kpc)
    np.testing.assert_allclose(kpc_per_arcsec(redshift[1]), 1 / scale, rtol=1e-9)


def test_the_critical_density_agrees_with_astropy():
    redshift = np.array([0.0, 0.5, 3.0])
    theirs = ASTROPY.critical_density(redshift).to_value(u.Msun / u.kpc**3)
    np.testing.assert_allclose(critical_density_solar_per_kpc3(redshift), theirs, rtol=1e-4)


@CONVENTIONS
def test_einstein_radii_agree_with_astropy(distances):
    mass = np.array([1e6, 1e12])[:, None]
    if distances == "angular-diameter":
        to_lens = ASTROPY.angular_diameter_distance(LENS)
        to_source = ASTROPY.angular_diameter_distance(SOURCE)
        between = BETWEEN
    else:
        to_lens, to_source = ASTROPY.luminosity_distance(LENS), ASTROPY.luminosity_distance(SOURCE)
        between = to_source - to_lens
    squared = 4 * G * mass * M_sun / c**2 * between / (to_lens * to_source)
    theirs = (np.sqrt(squared.to_value(u.dimensionless_unscaled)) * u.rad).to_value(u.arcsec)
    ours = ring_radius_arcsec(mass, LENS, SOURCE, distances)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)  # G is known to 2e-5


@CONVENTIONS
def test_the_mass_within_a_ring_is_that_of_a_point_with_it(distances):
    mass = np.array([1e6, 3e11, 1e12, 5e12])
    radius = ring_radius_arcsec(mass, LENS, SOURCE, distances)
    np.testing.assert_allclose(ring_mass_solar(radius, LENS, SOURCE, distances), mass, rtol=1e-12)


def test_the_mass_within_a_ring_has_the_critical_surface_density():
    # Of astropy's distances: Sigma_cr = c^2 / (4 pi G) D_S / (D_L D_LS), over pi theta^2 D_L^2.
    to_lens, to_source = (ASTROPY.angular_diameter_distance(z) for z in (LENS, SOURCE))
    critical = c**2 / (4 * np.pi * G) * to_source / (to_lens * BETWEEN)
    area = np.pi * (1.3 * u.arcsec).to_value(u.rad) ** 2 * to_lens**2
    theirs = (critical * area).to_value(u.Msun)
    np.testing.assert_allclose(ring_mass_solar(1.3, LENS, SOURCE), theirs, rtol=1e-4)


def test_isothermal_radii_agree_with_astropy():
    sigma = np.array([160.0, 263.0])[:, None]
    to_source = ASTROPY.angular_diameter_distance(SOURCE)
    ratio = (BETWEEN / to_source).to_value("")
    theirs = 4 * np.pi * (sigma * u.km / u.s / c).to_value("") ** 2 * ratio * u.rad
    ours = isothermal_radius_arcsec(sigma, LENS, SOURCE)
    np.testing.assert_allclose(ours, theirs.to_value(u.arcsec), rtol=1e-9)


@pytest.mark.parametrize(
    ("distances", "low", "median", "high"),
    [("luminosity-slip", 0.83, 1.28, 1.66), ("angular-diameter", 1.11, 1.66, 2.08)],
)
def test_einstein_radii_span_the_known_ranges(distances, low, median, high):
    lens, source = np.meshgrid(np.linspace(0.4, 0.6, 51), np.linspace(0.8, 1.2, 51))
    radius = ring_radius_arcsec(1e12, lens, source, distances)
    found = [radius.min(), np.median(radius), radius.max()]
    np.testing.assert_allclose(found, [low, median, high], atol=0.01)
