"""Distances in a flat universe of matter and a cosmological constant, and Einstein radii.

Written out, where astropy has them too: the same seed gives the same images, whatever constants and
quadrature another version of it takes. The tests hold them to astropy's.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import ArrayLike, NDArray

from lensbench.simulation.population import DistanceConvention

HUBBLE_KM_PER_S_MPC = 70.0
OMEGA_MATTER = 0.3

_SPEED_OF_LIGHT_KM_PER_S = 299_792.458
_SUN_GM_KM3_PER_S2 = 1.3271244e11  # IAU 2015 resolution B3
_KM_PER_MPC = 3.0856775814913673e19
_ARCSEC_PER_RADIAN = 180 * 3600 / np.pi

# The integrand is smooth: 32 nodes are exact to rounding for the redshifts of galaxy lenses.
_NODES, _WEIGHTS = leggauss(32)


def comoving_distance_mpc(redshift: ArrayLike) -> NDArray[np.float64]:
    """Return the line-of-sight comoving distance (Hogg 1999, astro-ph/9905116, eq. 14 and 15).

    Args:
        redshift: Redshifts from 0 to 10, of any shape.

    Returns:
        Distances in megaparsec, float64, of the same shape.

    >>> print(f"{comoving_distance_mpc(0.5):.2f}")
    1888.63
    """
    half = np.asarray(redshift, dtype=np.float64)[..., None] / 2
    expansion = np.sqrt(_squared_expansion(half * (1 + _NODES)))
    integral = np.sum(_WEIGHTS * half / expansion, axis=-1)
    return np.asarray(_SPEED_OF_LIGHT_KM_PER_S / HUBBLE_KM_PER_S_MPC * integral)


def angular_diameter_distance_mpc(redshift: ArrayLike) -> NDArray[np.float64]:
    """Return the angular-diameter distance of a flat universe (Hogg 1999, eq. 16 and 18).

    Args:
        redshift: Redshifts from 0 to 10, of any shape.

    Returns:
        Distances in megaparsec, float64, of the same shape.

    >>> print(f"{angular_diameter_distance_mpc(0.5):.2f}")
    1259.08
    """
    return np.asarray(comoving_distance_mpc(redshift) / (1 + np.asarray(redshift)))


def kpc_per_arcsec(redshift: ArrayLike) -> NDArray[np.float64]:
    """Return how many kiloparsec an arcsecond is across, at some redshifts; float64."""
    return np.asarray(angular_diameter_distance_mpc(redshift) * 1e3 / _ARCSEC_PER_RADIAN)


def critical_density_solar_per_kpc3(redshift: ArrayLike) -> NDArray[np.float64]:
    """Return 3 H^2 / (8 pi G) at some redshifts, in solar masses per cubic kiloparsec; float64.

    >>> print(f"{critical_density_solar_per_kpc3(0):.1f}")
    136.0
    """
    hubble_per_s = HUBBLE_KM_PER_S_MPC / _KM_PER_MPC
    squared = hubble_per_s**2 * _squared_expansion(np.asarray(redshift, dtype=np.float64))
    return np.asarray(3 * squared / (8 * np.pi * _SUN_GM_KM3_PER_S2) * (_KM_PER_MPC / 1e3) ** 3)


def ring_mass_solar(
    einstein_radius_arcsec: ArrayLike,
    lens_redshift: ArrayLike,
    source_redshift: ArrayLike,
    distances: DistanceConvention = "angular-diameter",
) -> NDArray[np.float64]:
    """Return the mass within an Einstein radius: the inverse of `ring_radius_arcsec`.

    It is that of a point mass as well as of any lens whose mean convergence within that radius is
    1 (Narayan & Bartelmann 1996, astro-ph/9606001, sect. 3.1).

    Args:
        einstein_radius_arcsec: Radii in arcseconds.
        lens_redshift: Redshifts of the lenses.
        source_redshift: Redshifts of the sources, above those of their lenses.
        distances: Which distances to put in.

    Returns:
        Solar masses, float64, of the shape that the arguments broadcast to.
    """
    of_one = ring_radius_arcsec(1.0, lens_redshift, source_redshift, distances)
    return np.asarray((np.asarray(einstein_radius_arcsec) / of_one) ** 2)


def isothermal_radius_arcsec(
    sigma_km_per_s: ArrayLike, lens_redshift: ArrayLike, source_redshift: ArrayLike
) -> NDArray[np.float64]:
    """Return the Einstein radius 4 pi (sigma / c)^2 D_LS / D_S of an isothermal sphere.

    Narayan & Bartelmann 1996 (astro-ph/9606001), sect. 3.1.

    Args:
        sigma_km_per_s: Velocity dispersions along the line of sight.
        lens_redshift: Redshifts of the lenses.
        source_redshift: Redshifts of the sources, above those of their lenses.

    Returns:
        Radii in arcseconds, float64, of the shape that the arguments broadcast to.

    >>> print(f"{isothermal_radius_arcsec(250, 0.5, 2.0):.2f}")
    1.15
    """
    far = 1 - comoving_distance_mpc(lens_redshift) / comoving_distance_mpc(source_redshift)
    squared = (np.asarray(sigma_km_per_s) / _SPEED_OF_LIGHT_KM_PER_S) ** 2
    return np.asarray(4 * np.pi * squared * far * _ARCSEC_PER_RADIAN)


def ring_radius_arcsec(
    mass_solar: ArrayLike,
    lens_redshift: ArrayLike,
    source_redshift: ArrayLike,
    distances: DistanceConvention = "angular-diameter",
) -> NDArray[np.float64]:
    """Return the Einstein radius sqrt(4 G M / c^2 * D_LS / (D_L D_S)) of a point mass.

    The formula is the one of Narayan & Bartelmann 1996 (astro-ph/9606001, sect. 2.3), and right
    with "angular-diameter" distances (Hogg 1999, eq. 18 and 19). The "luminosity-slip" of
    DeepLense's simulator puts in luminosity distances D_L and D_S, and their difference for D_LS;
    its Einstein radii are too small.

    Args:
        mass_solar: Masses in solar masses.
        lens_redshift: Redshifts of the lenses.
        source_redshift: Redshifts of the sources, above those of their lenses.
        distances: Which distances to put in.

    Returns:
        Radii in arcseconds, float64, of the shape that the arguments broadcast to.

    >>> for distances in ("angular-diameter", "luminosity-slip"):
    ...     print(f"{ring_radius_arcsec(1e12, 0.5, 1.0, distances):.3f}")
    1.665
    1.281
    """
    lens, source = np.asarray(lens_redshift), np.asarray(source_redshift)
    to_lens, to_source = comoving_distance_mpc(lens), comoving_distance_mpc(source)
    match distances:
        case "angular-diameter":
            between = (to_source - to_lens) / (1 + source)
            to_lens, to_source = to_lens / (1 + lens), to_source / (1 + source)
        case "luminosity-slip":
            to_lens, to_source = to_lens * (1 + lens), to_source * (1 + source)
            between = to_source - to_lens
        case _:
            assert_never(distances)
    schwarzschild_mpc = 2 * _SUN_GM_KM3_PER_S2 / _SPEED_OF_LIGHT_KM_PER_S**2 / _KM_PER_MPC
    radius = np.sqrt(
        2 * schwarzschild_mpc * np.asarray(mass_solar) * between / (to_lens * to_source)
    )
    return np.asarray(radius * _ARCSEC_PER_RADIAN)


def _squared_expansion(redshift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return E(z)^2 (Hogg 1999, eq. 14)."""
    return np.asarray(OMEGA_MATTER * (1 + redshift) ** 3 + 1 - OMEGA_MATTER)
