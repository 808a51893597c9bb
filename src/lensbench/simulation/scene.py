"""What is in front of the camera of one image.

Angles run from the x axis, to the right, towards y, upwards.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Light:
    """K Sersic profiles; every attribute is (K,) float64.

    Attributes:
        x_arcsec: Centres.
        y_arcsec: Centres.
        axis_ratio: Minor over major axis.
        angle_deg: Direction of the major axis.
        sersic_index: Sersic index.
        radius_arcsec: Effective radius, the root of the product of its axes.
        counts: Counts per pixel at the effective radius.
    """

    x_arcsec: _Array
    y_arcsec: _Array
    axis_ratio: _Array
    angle_deg: _Array
    sersic_index: _Array
    radius_arcsec: _Array
    counts: _Array

    def flux(self) -> _Array:
        """Return the light of each profile, (K,), in counts per pixel times square arcseconds."""
        return self.counts * self.radius_arcsec**2 * sersic_flux(self.sersic_index)


def sersic_flux(sersic_index: _Array) -> _Array:
    """Return the flux of a Sersic profile with unit brightness at its unit effective radius.

    Graham & Driver 2005 (astro-ph/0503176), eq. 2, with b_n from the series of Ciotti & Bertin
    1999 (astro-ph/9911078), eq. 18; float64 of the same shape.
    """
    # Imported here, so that populations can be listed without waiting for it.
    from scipy.special import gamma

    n = np.asarray(sersic_index)
    # As caustics has it, so that brightness and flux belong to one profile.
    b = 2 * n - 1 / 3 + 4 / (405 * n) + 46 / (25515 * n**2) + 131 / (1148175 * n**3)
    b -= 2194697 / (30690717750 * n**4)
    return np.asarray(2 * np.pi * n * np.exp(b) * b ** (-2 * n) * gamma(2 * n))


@dataclass(frozen=True)
class Points:
    """M point masses; every attribute is (M,) float64."""

    mass_solar: _Array
    x_arcsec: _Array
    y_arcsec: _Array


@dataclass(frozen=True)
class Haloes(Points):
    """M truncated NFW profiles, whose whole masses these are; every attribute is (M,) float64.

    Attributes:
        scale_radius_arcsec: Scale radius.
        truncation: Truncation radius in scale radii.
    """

    scale_radius_arcsec: _Array
    truncation: _Array


@dataclass(frozen=True)
class Strings(Points):
    """M straight lines of uniform density; every attribute is (M,) float64.

    Attributes:
        length_arcsec: Length; x_arcsec and y_arcsec are the middle.
        angle_deg: Direction.
        core_arcsec: Radius of the core.
    """

    length_arcsec: _Array
    angle_deg: _Array
    core_arcsec: _Array


PERTURBER_COLUMNS = tuple(
    dict.fromkeys(field.name for kind in (Points, Haloes, Strings) for field in fields(kind))
)
"""The names of all that perturbers may have."""

NOTHING = Points(np.empty(0), np.empty(0), np.empty(0))
"""No substructure."""


@dataclass(frozen=True)
class Scene:
    """A lens, what perturbs it, and the light of the source behind and of the lens itself.

    Attributes:
        lens_redshift: Redshift of the lens.
        source_redshift: Redshift of the source.
        einstein_radius_arcsec: Einstein radius of the lens without substructure; of an elliptical
            one, the root of the product of its axes.
        ring_mass_solar: Mass within the Einstein radius.
        lens_axis_ratio: Minor over major axis of the surface density.
        lens_angle_deg: Direction of the lens's major axis.
        lens_slope: Logarithmic slope of the density; isothermal: 2.
        shear: Strength of the external shear.
        shear_angle_deg: The direction along which it stretches images.
        source: What is lensed.
        lens_light: What is not.
        perturbers: The substructure.
    """

    lens_redshift: float
    source_redshift: float
    einstein_radius_arcsec: float
    ring_mass_solar: float
    lens_axis_ratio: float
    lens_angle_deg: float
    lens_slope: float
    shear: float
    shear_angle_deg: float
    source: Light
    lens_light: Light
    perturbers: Points

    def smooth(self) -> Self:
        """Return the same scene without substructure."""
        return replace(self, perturbers=NOTHING)

    def row(self) -> dict[str, float | int]:
        """Return the parameters as one row of a table.

        Of the source, its smooth part, the number of its clumps and their share of its light; of
        the lens's light, NaN where there is none. Of the substructure, the masses in solar masses,
        and how far from the Einstein ring its nearest heavy part is: the least distance of the
        perturbers, or points of a string, that weigh at least half of the heaviest one.
        """
        numbers = {key: value for key, value in vars(self).items() if isinstance(value, float)}
        mass = self.perturbers.mass_solar
        return (
            numbers
            | {f"source_{key}": float(values[0]) for key, values in vars(self.source).items()}
            | {
                f"lens_light_{key}": float(getattr(self.lens_light, key).sum() or "nan")
                for key in ("sersic_index", "radius_arcsec", "counts")
            }
            | {
                "n_clumps": len(self.source.counts) - 1,
                "clump_flux_share": self._clump_flux_share(),
                "n_perturbers": len(mass),
                "perturber_mass_solar": float(mass.sum()),
                "largest_perturber_mass_solar": float(mass.max(initial=0)),
                "ring_distance_arcsec": self._ring_distance_arcsec(),
            }
        )

    def perturber_rows(self) -> list[dict[str, float]]:
        """Return one row of a table for each perturber."""
        columns = vars(self.perturbers)
        return [
            dict(zip(columns, map(float, values), strict=True))
            for values in zip(*columns.values(), strict=True)
        ]

    def _clump_flux_share(self) -> float:
        if len(self.source.counts) == 1:
            return 0.0
        flux = self.source.flux()
        return float(flux[1:].sum() / flux.sum())

    def _ring_distance_arcsec(self) -> float:
        heavy = self.perturbers
        if not len(heavy.mass_solar):
            return float("nan")
        x, y = heavy.x_arcsec, heavy.y_arcsec
        if isinstance(heavy, Strings):
            along = np.linspace(-0.5, 0.5, 101)[:, None] * heavy.length_arcsec
            angle = np.radians(heavy.angle_deg)
            x, y = x + along * np.cos(angle), y + along * np.sin(angle)
        distance = np.abs(np.hypot(x, y) - self.einstein_radius_arcsec)
        is_heavy = heavy.mass_solar >= heavy.mass_solar.max() / 2
        return float(distance[..., is_heavy].min())
