"""From random numbers to the parameters of one image.

Every image has random numbers of its own, counted from the seed, its partition, its class and its
number; so it is the same in whatever batch, order, process or size of data set it is made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, assert_never

import numpy as np
from numpy.random import Generator, Philox, SeedSequence
from numpy.typing import NDArray

from lensbench.errors import ConfigError
from lensbench.simulation.cosmology import (
    isothermal_radius_arcsec,
    kpc_per_arcsec,
    ring_mass_solar,
    ring_radius_arcsec,
)
from lensbench.simulation.distribution import Distribution
from lensbench.simulation.halo import scale_radius_kpc, truncation_radius_kpc
from lensbench.simulation.population import (
    CLASSES,
    Beads,
    Clumps,
    MeanNumber,
    PointMass,
    Population,
    RingMass,
    String,
    SurfaceFraction,
    TruncatedNfw,
    VelocityDispersion,
)
from lensbench.simulation.scene import NOTHING, Haloes, Light, Points, Scene, Strings, sersic_flux

PARTITIONS = ("train", "val")

_MAX_LENSES_DRAWN = 10_000

_DARK = Light(*[np.empty(0)] * 7)

_Array = NDArray[np.float64]


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
    perturbers differs between classes; what a population may do without has random numbers of
    its own, so that the rest stays the same when it is added.

    Args:
        population: The distributions to draw from.
        label: One of `CLASSES`.
        rng: Source of randomness; see `generator`.

    Raises:
        KeyError: If there is no such class.
        ConfigError: If hardly any lens has an Einstein radius as the population asks for.
    """
    lens = population.lens
    lens_redshift, source_redshift, radius, ring_mass = _lens(population, rng)
    smooth = Scene(
        lens_redshift=lens_redshift,
        source_redshift=source_redshift,
        einstein_radius_arcsec=radius,
        ring_mass_solar=ring_mass,
        lens_axis_ratio=_one(lens.axis_ratio, rng),
        lens_angle_deg=_angle(population, rng),
        lens_slope=_one(lens.slope, rng),
        shear=_one(lens.shear, rng),
        shear_angle_deg=_angle(population, rng),
        source=_source(population, rng),
        lens_light=_DARK,
        perturbers=NOTHING,
    )
    perturbers = _PERTURBERS[label](population, smooth, rng)
    heavier = perturbers.mass_solar * population.substructure_mass_factor
    scene = replace(smooth, perturbers=replace(perturbers, mass_solar=heavier))
    if population.source.clumps is None and population.lens.light_counts.high == 0:
        return scene
    of_clumps, of_light = rng.spawn(2)
    return replace(
        scene,
        source=_with_clumps(population.source.clumps, scene.source, of_clumps),
        lens_light=_lens_light(population, scene, of_light),
    )


def _lens(population: Population, rng: Generator) -> tuple[float, float, float, float]:
    """Draw the redshifts of lens and source, the Einstein radius and the mass within it."""
    lens, (least, largest) = population.lens, population.lens.einstein_radius_arcsec
    for _ in range(_MAX_LENSES_DRAWN):
        redshifts = _one(lens.redshift, rng), _one(population.source.redshift, rng)
        match lens.size:
            case RingMass(mass_solar=masses, distances=distances):
                mass = _one(masses, rng)
                radius = float(ring_radius_arcsec(mass, *redshifts, distances))
            case VelocityDispersion(sigma_km_per_s=sigma):
                radius = float(isothermal_radius_arcsec(_one(sigma, rng), *redshifts))
                mass = float(ring_mass_solar(radius, *redshifts))
            case _:
                assert_never(lens.size)
        if least <= radius <= largest:
            return *redshifts, radius, mass
    raise ConfigError(
        f"population {population.name!r}: of {_MAX_LENSES_DRAWN:,} lenses none has an Einstein "
        f'radius of {least} to {largest}"; widen einstein_radius_arcsec'
    )


def _source(population: Population, rng: Generator) -> Light:
    source = population.source
    axis_ratio, angle = _one(source.axis_ratio, rng), _angle(population, rng)
    x, y = _polar(rng, source.offset_arcsec.draw(rng, 1))
    return Light(
        x_arcsec=x,
        y_arcsec=y,
        axis_ratio=np.array([axis_ratio]),
        angle_deg=np.array([angle]),
        sersic_index=source.sersic_index.draw(rng, 1),
        radius_arcsec=source.radius_arcsec.draw(rng, 1),
        counts=source.counts.draw(rng, 1),
    )


def _with_clumps(clumps: Clumps | None, smooth: Light, rng: Generator) -> Light:
    """Move a share of a source's light into clumps, in equal parts."""
    if clumps is None:
        return smooth
    n = 1 + rng.poisson(clumps.mean_number - 1)
    share = _one(clumps.flux_share, rng)
    x, y = _polar(rng, clumps.distance.draw(rng, n) * smooth.radius_arcsec)
    radius = clumps.radius_arcsec.draw(rng, n)
    disc = np.ones(n)
    parts = Light(
        x_arcsec=smooth.x_arcsec + x,
        y_arcsec=smooth.y_arcsec + y,
        axis_ratio=disc,
        angle_deg=0 * disc,
        sersic_index=disc,
        radius_arcsec=radius,
        counts=share / n * smooth.flux() / (radius**2 * sersic_flux(disc)),
    )
    dimmed = vars(smooth) | {"counts": (1 - share) * smooth.counts}
    return Light(**{key: np.append(dimmed[key], values) for key, values in vars(parts).items()})


def _lens_light(population: Population, scene: Scene, rng: Generator) -> Light:
    lens = population.lens
    if lens.light_counts.high == 0:
        return _DARK
    return Light(
        x_arcsec=np.zeros(1),
        y_arcsec=np.zeros(1),
        axis_ratio=np.array([scene.lens_axis_ratio]),
        angle_deg=np.array([scene.lens_angle_deg]),
        sersic_index=lens.light_sersic_index.draw(rng, 1),
        radius_arcsec=lens.light_radius_arcsec.draw(rng, 1),
        counts=lens.light_counts.draw(rng, 1),
    )


def _nothing(_population: Population, _scene: Scene, _rng: Generator) -> Points:
    return NOTHING


def _subhalos(population: Population, scene: Scene, rng: Generator) -> Points:
    subhalos = population.subhalos
    mass = _subhalo_masses(population, scene, rng)
    share = rng.random(len(mass))
    distance = subhalos.distance_arcsec * (
        share if subhalos.density == "central" else np.sqrt(share)
    )
    x, y = _polar(rng, distance)
    match subhalos.profile:
        case PointMass():
            return Points(mass, x, y)
        case TruncatedNfw(depth_kpc=depth):
            kpc = float(kpc_per_arcsec(scene.lens_redshift))
            scale = scale_radius_kpc(mass, scene.lens_redshift, rng)
            away = np.hypot(distance * kpc, depth.draw(rng, len(mass)))
            return Haloes(mass, x, y, scale / kpc, truncation_radius_kpc(mass, away) / scale)
        case _:
            assert_never(subhalos.profile)


def _subhalo_masses(population: Population, scene: Scene, rng: Generator) -> _Array:
    subhalos = population.subhalos
    match subhalos.amount:
        case MeanNumber(mean=mean):
            return subhalos.mass_solar.draw(rng, rng.poisson(mean))
        case SurfaceFraction(fraction=fraction):
            # The mean convergence within the Einstein radius is 1, that on it this.
            on_the_ring = (3 - scene.lens_slope) / 2
            discs = (subhalos.distance_arcsec / scene.einstein_radius_arcsec) ** 2
            total = _one(fraction, rng) * on_the_ring * discs * scene.ring_mass_solar
            return subhalos.mass_solar.draw(
                rng, max(1, rng.poisson(total / subhalos.mass_solar.mean))
            )
        case _:
            assert_never(subhalos.amount)


def _vortex(population: Population, scene: Scene, rng: Generator) -> Points:
    vortex = population.vortex
    if vortex.mass == "as-subhalos":
        mass = float(_subhalo_masses(population, scene, rng).sum())
    else:
        mass = _one(vortex.mass, rng) * scene.ring_mass_solar
    x, y = rng.normal(0, vortex.centre_sigma_arcsec, (2, 1))
    length, angle = vortex.length_arcsec.draw(rng, 1), rng.uniform(0, 2 * np.pi)
    match vortex.shape:
        case Beads(number=n):
            along = length * (np.linspace(-0.5, 0.5, n) if n > 1 else np.zeros(1))
            return Points(
                np.full(n, mass / n), x + along * np.cos(angle), y + along * np.sin(angle)
            )
        case String(core_arcsec=core):
            direction, core_radius = np.degrees([angle]), np.array([core])
            return Strings(np.array([mass]), x, y, length, direction, core_radius)
        case _:
            assert_never(vortex.shape)


_PERTURBERS = {"no": _nothing, "sphere": _subhalos, "vort": _vortex}


def _one(distribution: Distribution, rng: Generator) -> float:
    return float(distribution.draw(rng, 1)[0])


def _angle(population: Population, rng: Generator) -> float:
    """Draw an angle in degrees; the slip reads radians as such."""
    return rng.uniform(0, 360.0 if population.lens.angles == "isotropic" else 2 * np.pi)


def _polar(rng: Generator, radius: _Array) -> tuple[_Array, _Array]:
    angle = rng.uniform(0, 2 * np.pi, len(radius))
    return radius * np.cos(angle), radius * np.sin(angle)
