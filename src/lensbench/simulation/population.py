"""Populations of simulated lenses: every number that defines a data set, with its source.

`COMMON_TEST_1` is the population of DeepLense's Common Test I. Its generator descends from
arXiv:2008.12731 ("Model B") and was never published with these settings; values marked *fitted*
were recovered from published images: 112 images without substructure fit with a chi-square of
1.00 per pixel, and the distributions of their parameters agree with the ranges below. Other
values are those of the collaboration's published simulators, PyLensing
(github.com/DeepLense-Unsupervised/PyLensing) and DeepLenseSim (github.com/mwt5345/DeepLenseSim).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lensbench.config import Spec

CLASSES = ("no", "sphere", "vort")
"""No substructure, subhalos as point masses, and a vortex of a superfluid."""

DistanceConvention = Literal["angular-diameter", "luminosity-slip"]
"""Distances in Einstein radii: correct ones, or luminosity distances with D_LS = D_S - D_L."""

AngleConvention = Literal["isotropic", "degrees-slip"]
"""Angles over the full circle, or a draw from [0, 2 pi] that is read as degrees."""


def _rising(bounds: tuple[float, float]) -> tuple[float, float]:
    if not bounds[0] <= bounds[1]:
        raise ValueError(f"a range runs from low to high, not from {bounds[0]} to {bounds[1]}")
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_rising)]
"""Lower and upper end of a uniform distribution."""


class Population(Spec):
    """What a population of lensed images looks like; the defaults are those of `common-test-1`.

    Distances between a lens's parts are angles on the sky, with x to the right and y upwards,
    and the lens at the centre of the frame.
    """

    name: str
    """The name of the population."""

    about: str = ""
    """What to know before a result on it is quoted."""

    n_pixels: int = Field(default=150, ge=8)
    """Pixels on each side of the square frame; as in the published images."""

    pixel_scale_arcsec: float = Field(default=0.05, gt=0)
    """Side of a pixel, in arcseconds; as in DeepLenseSim, and fitted."""

    rays_per_pixel_side: int = Field(default=2, ge=1)
    """Rays on each side of a pixel (2: four rays a pixel); PyLensing's default."""

    psf_sigma_arcsec: float = Field(default=0.0871, gt=0)
    """Standard deviation of the Gaussian point-spread function, in arcseconds; fitted to 0.0003.

    DeepLenseSim has 0.087 as the full width at half maximum, which the images exclude.
    """

    lens_redshift: Range = (0.4, 0.6)
    """Redshifts of the lens; fitted, by the Einstein radii."""

    source_redshift: Range = (0.8, 1.2)
    """Redshifts of the source; fitted, by the Einstein radii."""

    distances: DistanceConvention = "luminosity-slip"
    """How masses become Einstein radii; fitted: correct distances miss the smallest rings."""

    halo_mass_solar: float = Field(default=1e12, gt=0)
    """Mass of the lens, in solar masses: a point of this mass has its Einstein radius; fitted."""

    shear: Range = (0.0, 0.3)
    """Strength of the external shear; PyLensing, and fitted."""

    angles: AngleConvention = "degrees-slip"
    """How the angles of shear and source are drawn; fitted: all images lean the same way."""

    source_sersic_index: float = Field(default=1.5, gt=0.36)  # below, the series for b_n fails
    """Sersic index of the source; PyLensing, and fitted."""

    source_radius_arcsec: float = Field(default=0.5, gt=0)
    """Effective radius of the source, the root of the product of its axes, in arcseconds;
    PyLensing, and fitted."""

    source_axis_ratio: Range = (0.4, 1.0)
    """Minor over major axis of the source; fitted."""

    source_offset_arcsec: Range = (0.0, 0.5)
    """Distance of the source from the axis, in arcseconds, in any direction; fitted."""

    source_counts: float = Field(default=100.0, gt=0)
    """Counts per pixel of the unlensed source at its effective radius; fitted to 0.2."""

    sky_counts: float = Field(default=10.0, ge=0)
    """Counts per pixel of the sky, which is not subtracted; fitted."""

    subhalo_mean_number: float = Field(default=25.0, ge=0)
    """Mean of the Poisson distribution of the number of subhalos; DeepLenseSim."""

    subhalo_mass_solar: Range = (1e6, 1e10)
    """Masses of subhalos, in solar masses; DeepLenseSim."""

    subhalo_mass_slope: float = -0.9
    """Exponent of the mass distribution dN/dm; DeepLenseSim (with -1.9 nothing would be seen)."""

    subhalo_distance_arcsec: Range = (0.0, 2.0)
    """Distance of a subhalo from the lens's centre, in arcseconds, in any direction; fitted."""

    vortex_n_masses: int = Field(default=25, ge=1)
    """Equal point masses that make up a vortex; PyLensing."""

    vortex_mass_fraction: Range = (0.03, 0.055)
    """Mass of a vortex in units of the lens's mass; fitted to twenty images."""

    vortex_centre_sigma_arcsec: float = Field(default=0.5, ge=0)
    """Standard deviation of each coordinate of a vortex's centre, in arcseconds; fitted."""

    vortex_length_arcsec: Range = (1.0, 4.0)
    """Length of a vortex from its first to its last mass, in arcseconds; fitted to ten images."""

    substructure_mass_factor: float = Field(default=1.0, ge=0)
    """Multiplies every mass of subhalos and vortices: the dial of difficulty."""

    @property
    def margin_pixels(self) -> int:
        """Pixels around the frame from which the point-spread function brings light: 4.5 sigma."""
        return math.ceil(4.5 * self.psf_sigma_arcsec / self.pixel_scale_arcsec)

    @model_validator(mode="after")
    def _is_physical(self) -> Self:
        if not 0 < self.lens_redshift[0] <= self.lens_redshift[1] < self.source_redshift[0]:
            raise ValueError("the source must lie behind the lens, and the lens before us")
        if not 0 < self.source_axis_ratio[0] <= self.source_axis_ratio[1] <= 1:
            raise ValueError("an axis ratio lies above 0 and up to 1")
        if self.subhalo_mass_solar[0] <= 0:
            raise ValueError("the lowest subhalo mass must be above 0")
        return self


COMMON_TEST_1 = Population(
    name="common-test-1",
    about="drawn as the images of DeepLense's Common Test I are, as far as those tell",
)

# Larger pixels for speed; round, little sheared lenses and tenfold masses, so that a network sees
# the substructure after minutes. So much substructure cannot hide: where global statistics of an
# image tell nothing about the classes of Common Test I, boosted trees reach a macro AUC of 0.9 on
# those of this population.
DEMO = Population(
    name="demo",
    about="easier than the images of Common Test I: results on it say nothing about those",
    n_pixels=64,
    pixel_scale_arcsec=0.1,
    shear=(0.0, 0.1),
    source_axis_ratio=(0.7, 1.0),
    substructure_mass_factor=10.0,
)

POPULATIONS = {population.name: population for population in (COMMON_TEST_1, DEMO)}
