"""How large a subhalo of some mass is: concentration, scale radius, truncation."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from lensbench.simulation.cosmology import HUBBLE_KM_PER_S_MPC, critical_density_solar_per_kpc3

CONCENTRATION_SCATTER_DEX = 0.11
"""Scatter of the concentration at a mass (Dutton & Maccio 2014, arXiv:1402.7073)."""

_Array = NDArray[np.float64]


def concentration(mass_solar: ArrayLike, redshift: float) -> _Array:
    """Return the median concentration c200 of a halo (Dutton & Maccio 2014, eq. 7, 10 and 11).

    The relation was calibrated for haloes above 10^10 solar masses; below, it is extrapolated.

    Args:
        mass_solar: Masses M200 in solar masses.
        redshift: Their redshift, up to 5.

    Returns:
        Radius r200 over scale radius, float64, of the same shape.

    >>> print(concentration([1e8, 1e10], 0.5).round(1))
    [15.2 10.1]
    """
    a = 0.520 + (0.905 - 0.520) * np.exp(-0.617 * redshift**1.21)
    b = -0.101 + 0.026 * redshift
    mass = np.asarray(mass_solar) * (HUBBLE_KM_PER_S_MPC / 100) / 1e12
    return np.asarray(10 ** (a + b * np.log10(mass)))


def scale_radius_kpc(mass_solar: ArrayLike, redshift: float, rng: Generator) -> _Array:
    """Draw scale radii r200 / c200, in kiloparsec.

    Args:
        mass_solar: Masses M200 in solar masses, (M,).
        redshift: Their redshift.
        rng: Source of the scatter in concentration.

    Returns:
        (M,) float64.
    """
    mass = np.asarray(mass_solar)
    density = critical_density_solar_per_kpc3(redshift)
    r200 = (3 * mass / (4 * np.pi * 200 * density)) ** (1 / 3)
    scatter = 10 ** rng.normal(0, CONCENTRATION_SCATTER_DEX, mass.shape)
    return np.asarray(r200 / (concentration(mass, redshift) * scatter))


def truncation_radius_kpc(mass_solar: ArrayLike, distance_kpc: ArrayLike) -> _Array:
    """Return where the tides of an isothermal host truncate a subhalo, in kiloparsec.

    The form is that of Cyr-Racine et al. 2016 (arXiv:1512.06507), the constants those of Gilman
    et al. 2020 (arXiv:1908.06983): 1.4 kpc (m / 10^7)^(1/3) (r / 50 kpc)^(2/3).

    Args:
        mass_solar: Masses in solar masses.
        distance_kpc: Distances in space from the host's centre, in kiloparsec.

    Returns:
        float64, of the shape that the arguments broadcast to.

    >>> print(truncation_radius_kpc(1e7, 50.0))
    1.4
    """
    mass, distance = np.asarray(mass_solar), np.asarray(distance_kpc)
    return np.asarray(1.4 * (mass / 1e7) ** (1 / 3) * (distance / 50) ** (2 / 3))
