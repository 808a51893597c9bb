"""From random numbers to the parameters of one image.

Every image has random numbers of its own, counted from the seed, its partition, its class and its
number; so it is the same in whatever batch, order or size of data set it is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator, Philox, SeedSequence
from numpy.typing import NDArray

from lensbench.simulation.cosmology import point_mass_einstein_radius_arcsec
from lensbench.simulation.population import CLASSES, Population, Range

PARTITIONS = ("train", "val")

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """What is in front of the camera; angles run from the x axis (right) towards y (up)."""

    lens_redshift: float
    source_redshift: float
    einstein_radius_arcsec: float
    shear: float
    shear_angle_deg: float
    source_axis_ratio: float
    source_angle_deg: float
    source_x_arcsec: float
    source_y_arcsec: float
    perturber_mass_fraction: _Array
    """Masses of M subhalos, or pieces of a vortex, in units of the lens's mass: (M,)."""
    perturber_x_arcsec: _Array
    perturber_y_arcsec: _Array

    def row(self) -> dict[str, float | int]:
        """Return the parameters as one row of a table, with the perturbers in three numbers."""
        row = {key: value for key, value in vars(self).items() if not key.startswith("perturber")}
        return row | {
            "n_perturbers": len(self.perturber_mass_fraction),
            "perturber_mass_fraction": float(self.perturber_mass_fraction.sum()),
            "largest_perturber_mass_fraction": float(self.perturber_mass_fraction.max(initial=0)),
        }


def generator(
    seed: int, partition: str, label: str, number: int, use: Literal["scene", "noise"]
) -> Generator:
    """Return the random numbers of one image.

    Args:
        seed: Seed of the data set, 0 or more.
        partition: One of `PARTITIONS`.
        label: One of `CLASSES`.
        number: Number of the image within its folder.
        use: What the numbers are for; the two uses are independent.

    Raises:
        ValueError: If there is no such partition or class.
    """
    key = (PARTITIONS.index(partition), CLASSES.index(label), number, ("scene", "noise").index(use))
    return Generator(Philox(SeedSequence(seed, spawn_key=key)))


def draw(population: Population, label: str, rng: Generator) -> Scene:
    """Draw the parameters of one image.

    Lens, shear and source are drawn first and alike for every class, so that nothing but the
    perturbers differs between classes.

    Args:
        population: The distributions to draw from.
        label: One of `CLASSES`.
        rng: Source of randomness; see `generator`.

    Raises:
        KeyError: If there is no such class.
    """
    lens_redshift = rng.uniform(*population.lens_redshift)
    source_redshift = rng.uniform(*population.source_redshift)
    circle = 360.0 if population.angles == "isotropic" else 2 * np.pi
    shear, shear_angle = rng.uniform(*population.shear), rng.uniform(0, circle)
    axis_ratio, source_angle = rng.uniform(*population.source_axis_ratio), rng.uniform(0, circle)
    (source_x,), (source_y,) = _polar(rng, population.source_offset_arcsec, 1)
    fraction, x, y = _PERTURBERS[label](population, rng)
    return Scene(
        lens_redshift=lens_redshift,
        source_redshift=source_redshift,
        einstein_radius_arcsec=float(
            point_mass_einstein_radius_arcsec(
                population.halo_mass_solar, lens_redshift, source_redshift, population.distances
            )
        ),
        shear=shear,
        shear_angle_deg=shear_angle,
        source_axis_ratio=axis_ratio,
        source_angle_deg=source_angle,
        source_x_arcsec=float(source_x),
        source_y_arcsec=float(source_y),
        perturber_mass_fraction=fraction * population.substructure_mass_factor,
        perturber_x_arcsec=x,
        perturber_y_arcsec=y,
    )


def _polar(rng: Generator, radius: Range, size: int) -> tuple[_Array, _Array]:
    r, angle = rng.uniform(*radius, size), rng.uniform(0, 2 * np.pi, size)
    return r * np.cos(angle), r * np.sin(angle)


def _power_law(rng: Generator, bounds: Range, slope: float, size: int) -> _Array:
    """Draw from dN/dm ~ m^slope between the bounds, by inverting the cumulative distribution."""
    u = rng.random(size)
    if slope == -1:
        return np.asarray(bounds[0] * (bounds[1] / bounds[0]) ** u)
    low, high = (bound ** (slope + 1) for bound in bounds)
    return np.asarray((low + u * (high - low)) ** (1 / (slope + 1)))


def _nothing(_population: Population, _rng: Generator) -> tuple[_Array, _Array, _Array]:
    return np.empty(0), np.empty(0), np.empty(0)


def _subhalos(population: Population, rng: Generator) -> tuple[_Array, _Array, _Array]:
    n = rng.poisson(population.subhalo_mean_number)
    mass = _power_law(rng, population.subhalo_mass_solar, population.subhalo_mass_slope, n)
    x, y = _polar(rng, population.subhalo_distance_arcsec, n)
    return mass / population.halo_mass_solar, x, y


def _vortex(population: Population, rng: Generator) -> tuple[_Array, _Array, _Array]:
    n = population.vortex_n_masses
    fraction = rng.uniform(*population.vortex_mass_fraction)
    x, y = rng.normal(0, population.vortex_centre_sigma_arcsec, 2)
    length, angle = rng.uniform(*population.vortex_length_arcsec), rng.uniform(0, 2 * np.pi)
    along = np.linspace(-length / 2, length / 2, n)
    return np.full(n, fraction / n), x + along * np.cos(angle), y + along * np.sin(angle)


_PERTURBERS = {"no": _nothing, "sphere": _subhalos, "vort": _vortex}
