"""Shifted versions of a population, for tests of robustness: one named knob at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from lensbench.errors import ConfigError
from lensbench.simulation.distribution import LogNormal
from lensbench.simulation.population import Clumps, Population


@dataclass(frozen=True)
class Knob:
    """One thing to shift.

    Attributes:
        about: What its value means.
        levels: A ladder of values to test at, in order.
        nominal: The value that changes nothing; in the middle of the ladder where there are
            values on both sides of it.
        turn: Returns the changes to a population that a value makes.
    """

    about: str
    levels: tuple[float, ...]
    nominal: float
    turn: Callable[[Population, float], dict[str, Any]]


def _exposure(population: Population, factor: float) -> dict[str, Any]:
    lens, source, camera = population.lens, population.source, population.camera
    return {
        "camera": {"sky_counts": camera.sky_counts * factor},
        "lens": {"light_counts": lens.light_counts.scaled(factor)},
        "source": {"counts": source.counts.scaled(factor)},
    }


def _camera(name: str) -> Callable[[Population, float], dict[str, Any]]:
    return lambda population, factor: {"camera": {name: getattr(population.camera, name) * factor}}


def _clumps(population: Population, number: float) -> dict[str, Any]:
    clumps = population.source.clumps or CLUMPS
    changed = clumps.model_dump() | {"mean_number": number}
    return {"source": {"clumps": changed}}


CLUMPS = Clumps(
    mean_number=2,
    flux_share=(0.1, 0.4),
    radius_arcsec=LogNormal(median=0.04, dex=0.2, low=0.01, high=0.2),
)
"""Clumps of star-forming galaxies: 2 of them on average with 19 % of the light (Soto et al. 2017,
arXiv:1702.03038), of 350 pc (Cornachione et al. 2018, arXiv:1708.08854)."""

_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)

KNOBS: Mapping[str, Knob] = {
    "exposure": Knob("factor on all light, sky included: the noise", _FACTORS, 1, _exposure),
    "sky": Knob("factor on the light of the sky", _FACTORS, 1, _camera("sky_counts")),
    "psf": Knob(
        "factor on the width of the point-spread function",
        (0.5, 0.71, 1.0, 1.41, 2.0),
        1,
        _camera("psf_sigma_arcsec"),
    ),
    "pixel-scale": Knob(
        "factor on the side of a pixel; its counts stay, and the frame grows with it",
        (0.8, 0.9, 1.0, 1.11, 1.25),
        1,
        _camera("pixel_scale_arcsec"),
    ),
    "substructure-mass": Knob(
        "factor on the masses of subhalos and vortices",
        _FACTORS,
        1,
        lambda population, factor: {
            "substructure_mass_factor": population.substructure_mass_factor * factor
        },
    ),
    "source-index": Knob(
        "factor on the Sersic index of the source: its type, from disc to bulge",
        # No lower: an index below 0.36 has no profile.
        (0.72, 0.85, 1.0, 1.41, 2.0),
        1,
        lambda population, factor: {
            "source": {"sersic_index": population.source.sersic_index.scaled(factor)}
        },
    ),
    "source-clumps": Knob(
        "mean number of clumps of the source; 0: what the population has",
        (0.0, 1.0, 2.0, 4.0, 8.0),
        0,
        _clumps,
    ),
    "read-noise": Knob(
        "counts that reading out adds, in quadrature with what the population has",
        (0.0, 1.0, 2.0, 4.0, 8.0),
        0,
        lambda population, counts: {
            "camera": {
                "read_noise_counts": (population.camera.read_noise_counts**2 + counts**2) ** 0.5
            }
        },
    ),
    "lens-light": Knob(
        "counts per pixel of the lens's own light at its effective radius; 0: what there is",
        (0.0, 10.0, 30.0, 100.0, 300.0),
        0,
        lambda _, counts: {"lens": {"light_counts": counts}},
    ),
}


def shifted(population: Population, shift: Mapping[str, float]) -> Population:
    """Turn some knobs of a population.

    With the same seed, the images differ by what the knobs changed alone: lenses, sources and the
    random numbers of the noise stay as they are. Knobs are turned in the order of `KNOBS`.

    Args:
        population: What to shift.
        shift: Values of some of the `KNOBS`.

    Raises:
        ConfigError: There is no such knob, or it cannot have that value.
    """
    if unknown := shift.keys() - KNOBS.keys():
        raise ConfigError(f"no knob {', '.join(sorted(unknown))!r}; there are {', '.join(KNOBS)}")
    for name, knob in KNOBS.items():
        value = shift.get(name, knob.nominal)
        if value == knob.nominal:
            continue
        if not 0 <= value < math.inf:
            raise ConfigError(f"knob {name!r}: the value must be 0 or more, not {value:g}")
        try:
            population = population.but(
                name=f"{population.name} {name}={value:g}",
                about=f"{population.about}; but {name} is {value:g} (nominal {knob.nominal:g})",
                **knob.turn(population, value),
            )
        except ValidationError as error:
            first = error.errors()[0]
            why = ": ".join([*map(str, first["loc"]), first["msg"]])
            raise ConfigError(f"knob {name!r} cannot be {value:g}: {why}") from error
    return population
