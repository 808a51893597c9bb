import astropy.units as u
import numpy as np
import pytest
from astropy.constants import G, M_sun, c
from astropy.cosmology import FlatLambdaCDM

from lensbench.simulation.cosmology import (
    comoving_distance_mpc,
    point_mass_einstein_radius_arcsec,
)

ASTROPY = FlatLambdaCDM(H0=70, Om0=0.3)


def test_distances_agree_with_astropy():
    redshift = np.array([[0.0, 1e-3, 0.4], [1.2, 3.0, 10.0]])
    theirs = ASTROPY.comoving_distance(redshift).to_value(u.Mpc)
    np.testing.assert_allclose(comoving_distance_mpc(redshift), theirs, rtol=1e-9)


@pytest.mark.parametrize("distances", ["angular-diameter", "luminosity-slip"])
def test_einstein_radii_agree_with_astropy(distances):
    mass = np.array([1e6, 1e12])[:, None]
    lens, source = np.array([0.4, 0.5, 0.6]), np.array([0.8, 1.0, 1.2])
    if distances == "angular-diameter":
        to_lens = ASTROPY.angular_diameter_distance(lens)
        to_source = ASTROPY.angular_diameter_distance(source)
        along = ASTROPY.comoving_distance(source) - ASTROPY.comoving_distance(lens)
        between = along / (1 + source)
    else:
        to_lens, to_source = ASTROPY.luminosity_distance(lens), ASTROPY.luminosity_distance(source)
        between = to_source - to_lens
    squared = 4 * G * mass * M_sun / c**2 * between / (to_lens * to_source)
    theirs = (np.sqrt(squared.to_value(u.dimensionless_unscaled)) * u.rad).to_value(u.arcsec)
    ours = point_mass_einstein_radius_arcsec(mass, lens, source, distances)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)  # G is known to 2e-5


@pytest.mark.parametrize(
    ("distances", "low", "median", "high"),
    [("luminosity-slip", 0.83, 1.28, 1.66), ("angular-diameter", 1.11, 1.66, 2.08)],
)
def test_einstein_radii_span_the_known_ranges(distances, low, median, high):
    lens, source = np.meshgrid(np.linspace(0.4, 0.6, 51), np.linspace(0.8, 1.2, 51))
    radius = point_mass_einstein_radius_arcsec(1e12, lens, source, distances)
    found = [radius.min(), np.median(radius), radius.max()]
    np.testing.assert_allclose(found, [low, median, high], atol=0.01)
