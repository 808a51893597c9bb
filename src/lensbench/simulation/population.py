"""Populations of simulated lenses: every number that defines a data set, with its source.

A `Population` is a camera, a lens, a source, and two kinds of substructure. Distances between
these are angles on the sky, with x to the right and y upwards, and the lens at the centre of the
frame. A parameter whose type is `Distribution` is drawn anew for each image; a plain number there
means that all images share it, a pair of numbers a uniform distribution.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from lensbench.config import Spec
from lensbench.simulation.distribution import (
    Distribution,
    LogNormal,
    Normal,
    PowerLaw,
    Rayleigh,
    within,
)

CLASSES = ("no", "sphere", "vort")
"""No substructure, subhalos, and a vortex of a superfluid."""

DistanceConvention = Literal["angular-diameter", "luminosity-slip"]
"""Distances in Einstein radii: correct ones, or luminosity distances with D_LS = D_S - D_L."""

AngleConvention = Literal["isotropic", "degrees-slip"]
"""Angles over the full circle, or a draw from [0, 2 pi] that is read as degrees."""

_NonNegative = Annotated[Distribution, within(0)]
_Redshift = Annotated[Distribution, within(0, 10, exclusive=True)]
_Positive = Annotated[Distribution, within(0, exclusive=True)]
_Ratio = Annotated[Distribution, within(0, 1, exclusive=True)]
# Below, the series for b_n fails.
_SersicIndex = Annotated[Distribution, within(0.36, 10)]


class _Part(Spec):
    """A part of a population."""

    model_config = ConfigDict(validate_default=True)


class Camera(_Part):
    """What takes the picture. Counts are detected photons per pixel."""

    n_pixels: int = Field(ge=8)
    """Pixels on each side of the square frame."""

    pixel_scale_arcsec: float = Field(gt=0)
    """Side of a pixel, in arcseconds."""

    rays_per_pixel_side: int = Field(default=2, ge=1, le=16)
    """Rays on each side of a pixel (2: four rays a pixel)."""

    psf_sigma_arcsec: float = Field(gt=0)
    """Standard deviation of the Gaussian point-spread function, in arcseconds."""

    sky_counts: float = Field(ge=0)
    """Counts per pixel of the sky, which is not subtracted."""

    read_noise_counts: float = Field(default=0.0, ge=0)
    """Standard deviation of what reading the detector adds to each pixel, in counts."""

    @property
    def margin_pixels(self) -> int:
        """Pixels around the frame from which the point-spread function brings light: 4.5 sigma."""
        return math.ceil(4.5 * self.psf_sigma_arcsec / self.pixel_scale_arcsec)


class RingMass(_Part):
    """The Einstein radius of a point mass."""

    kind: Literal["ring-mass"] = "ring-mass"

    mass_solar: _Positive
    """Mass within the Einstein radius, in solar masses."""

    distances: DistanceConvention = "angular-diameter"
    """Which distances to compute with."""


class VelocityDispersion(_Part):
    """The Einstein radius of an isothermal sphere."""

    kind: Literal["velocity-dispersion"] = "velocity-dispersion"

    sigma_km_per_s: _Positive
    """Velocity dispersion of the lens along the line of sight, in km/s."""

    distances: Literal["angular-diameter"] = "angular-diameter"
    """Which distances to compute with."""


class Lens(_Part):
    """The galaxy in front: an elliptical power law with external shear, at the frame's centre."""

    redshift: _Redshift
    """Redshift of the lens."""

    size: Annotated[RingMass | VelocityDispersion, Field(discriminator="kind")]
    """What sets its Einstein radius."""

    einstein_radius_arcsec: tuple[float, float] = (0.0, 60.0)
    """Least and largest Einstein radius, in arcseconds; other lenses are drawn again."""

    axis_ratio: _Ratio = 1.0  # type: ignore[assignment]
    """Minor over major axis of its surface density."""

    slope: Annotated[Distribution, within(1.1, 2.9)] = 2.0  # type: ignore[assignment]
    """Logarithmic slope gamma of the density, which goes as r^-gamma; isothermal: 2."""

    shear: Annotated[Distribution, within(0, 0.9)] = 0.0  # type: ignore[assignment]
    """Strength of the external shear."""

    angles: AngleConvention = "isotropic"
    """How the angles of lens, shear and source are drawn."""

    light_counts: _NonNegative = 0.0  # type: ignore[assignment]
    """Counts per pixel of the lens's own light at its effective radius; 0: none. Its cusp is
    sampled by the rays of a pixel: with 300 counts, four rays miss 2 % of the central pixels'."""

    light_radius_arcsec: _Positive = 1.0  # type: ignore[assignment]
    """Effective radius of the lens's light, the root of the product of its axes, in arcseconds."""

    light_sersic_index: _SersicIndex = 4.0  # type: ignore[assignment]
    """Sersic index of the lens's light (de Vaucouleurs: 4), which has the mass's shape."""

    @field_validator("einstein_radius_arcsec")
    @classmethod
    def _rises(cls, radii: tuple[float, float]) -> tuple[float, float]:
        least, largest = radii
        if not least < largest:
            raise ValueError(f"a range runs from low to high, not from {least} to {largest}")
        return radii


class Clumps(_Part):
    """Star-forming clumps of a source: round exponential discs on top of its smooth light."""

    mean_number: float = Field(ge=1)
    """Mean number of clumps: one, and a Poisson deviate of the rest."""

    flux_share: Annotated[Distribution, within(0, 0.99)]
    """Share of all clumps together in the light of the source, which stays the same."""

    radius_arcsec: _Positive
    """Effective radius of a clump, in arcseconds."""

    distance: _NonNegative = (0.0, 1.5)  # type: ignore[assignment]
    """Distance of a clump from the source's centre, in the source's effective radii."""


class Source(_Part):
    """The galaxy behind: one Sersic profile, or one with clumps."""

    redshift: _Redshift
    """Redshift of the source."""

    sersic_index: _SersicIndex
    """Sersic index."""

    radius_arcsec: _Positive
    """Effective radius, the root of the product of its axes, in arcseconds."""

    axis_ratio: _Ratio
    """Minor over major axis."""

    offset_arcsec: _NonNegative
    """Distance from the lens's axis, in arcseconds, in any direction."""

    counts: _Positive
    """Counts per pixel of the unlensed source at its effective radius."""

    clumps: Clumps | None = None
    """Its clumps, if it has any."""


class MeanNumber(_Part):
    """As many subhalos as a Poisson distribution gives."""

    kind: Literal["mean-number"] = "mean-number"

    mean: float = Field(ge=0, le=1e5)
    """Its mean."""


class SurfaceFraction(_Part):
    """As many subhalos as their part in the surface density near the ring asks for.

    Their mean surface density is that fraction of the lens's own one at its Einstein radius, which
    is (3 - slope) / 2 of the critical density; their number is a Poisson deviate, of one at least.
    They come on top of the lens.
    """

    kind: Literal["surface-fraction"] = "surface-fraction"

    fraction: Annotated[Distribution, within(0, 0.5, exclusive=True)]
    """The fraction."""


class PointMass(_Part):
    """A subhalo that is a point."""

    kind: Literal["point"] = "point"


class TruncatedNfw(_Part):
    """A subhalo with the profile of Navarro, Frenk & White, truncated by the tides of the lens.

    Its mass is the whole of the truncated profile. The concentration is that of Dutton & Maccio
    2014 (arXiv:1402.7073) with a scatter of 0.11 dex, as if that were the mass M200 before the
    tides: its centre is denser than the relation has it by the part that they have taken, 1.4 in
    the median. Subhalos are below the masses that the relation was calibrated for. The truncation
    radius is that of Cyr-Racine et al. 2016 (arXiv:1512.06507) with the constants of Gilman et
    al. 2020 (arXiv:1908.06983): 1.4 kpc (m / 10^7)^(1/3) (r / 50 kpc)^(2/3), at the distance r
    from the lens's centre.
    """

    kind: Literal["truncated-nfw"] = "truncated-nfw"

    depth_kpc: _NonNegative = (0.0, 150.0)  # type: ignore[assignment]
    """Distance from the lens along the line of sight, in kiloparsec."""


class Subhalos(_Part):
    """The class `sphere`."""

    amount: Annotated[MeanNumber | SurfaceFraction, Field(discriminator="kind")]
    """How many."""

    mass_solar: PowerLaw
    """Their masses, in solar masses."""

    distance_arcsec: float = Field(gt=0)
    """Largest distance from the lens's centre, in arcseconds."""

    density: Literal["uniform", "central"] = "uniform"
    """As many in every square arcsecond, or (central) at every distance."""

    profile: Annotated[PointMass | TruncatedNfw, Field(discriminator="kind")] = PointMass()
    """What each of them is."""


class Beads(_Part):
    """A vortex of equal point masses at equal distances on a straight line."""

    kind: Literal["beads"] = "beads"

    number: int = Field(ge=1)
    """How many."""


class String(_Part):
    """A vortex that is a straight line of uniform density, softened by a core."""

    kind: Literal["string"] = "string"

    core_arcsec: float = Field(gt=0)
    """Radius of the core, in arcseconds: each piece of the line deflects as a Plummer sphere."""


class Vortex(_Part):
    """The class `vort`."""

    mass: Annotated[Distribution, within(0, 0.5)] | Literal["as-subhalos"]
    """Its mass in units of the mass within the Einstein radius; or (as-subhalos) what the subhalos
    of an image weigh, so that mass does not tell the two classes apart."""

    centre_sigma_arcsec: float = Field(ge=0)
    """Standard deviation of each coordinate of its centre, in arcseconds."""

    length_arcsec: _Positive
    """Its length, in arcseconds."""

    shape: Annotated[Beads | String, Field(discriminator="kind")]
    """What it is made of."""


class Population(_Part):
    """What a population of lensed images looks like."""

    name: str
    """The name of the population."""

    about: str = ""
    """What to know before a result on it is quoted."""

    camera: Camera
    """What takes the pictures."""

    lens: Lens
    """The galaxy in front."""

    source: Source
    """The galaxy behind."""

    subhalos: Subhalos
    """The substructure of the class `sphere`."""

    vortex: Vortex
    """The substructure of the class `vort`."""

    substructure_mass_factor: float = Field(default=1.0, ge=0)
    """Multiplies every mass of subhalos and vortices, not their sizes: the dial of difficulty."""

    def but(self, **changes: Any) -> Self:
        """Return this population with other settings: `but(camera={"sky_counts": 3})`.

        Raises:
            ValidationError: A setting does not exist, or makes no sense.
        """
        return type(self).model_validate(_merged(self.model_dump(), changes))

    @model_validator(mode="after")
    def _is_behind(self) -> Self:
        if not self.lens.redshift.high < self.source.redshift.low:
            raise ValueError("the source must lie behind the lens, at every redshift of both")
        return self


def _merged(settings: Any, changes: Any) -> Any:
    """Change some settings; those of another kind replace the old ones as a whole."""
    if not (isinstance(settings, dict) and isinstance(changes, dict)):
        return changes
    if changes.get("kind", settings.get("kind")) != settings.get("kind"):
        return changes
    return settings | {name: _merged(settings.get(name), new) for name, new in changes.items()}


# Its generator descends from arXiv:2008.12731 ("Model B") and was never published with these
# settings. Values without a source were fitted to published images: 112 images without
# substructure fit with a chi-square of 1.00 per pixel, and the distributions of their parameters
# agree with the ranges below; five images with subhalos and twenty with vortices gave theirs.
# PyLensing is github.com/DeepLense-Unsupervised/PyLensing, DeepLenseSim
# github.com/mwt5345/DeepLenseSim.
COMMON_TEST_1 = Population(
    name="common-test-1",
    about="drawn as the images of DeepLense's Common Test I are, as far as those tell",
    camera=Camera(
        n_pixels=150,
        pixel_scale_arcsec=0.05,  # DeepLenseSim, and fitted
        rays_per_pixel_side=2,  # PyLensing
        # The fits had one ray a pixel and gave 0.0871 +- 0.0003; four rays blur by themselves,
        # which leaves 0.0862. The peaks, percentiles and power spectra of 9,995 published images
        # say 0.0859 +- 0.0001. DeepLenseSim has 0.087 as the full width: excluded.
        psf_sigma_arcsec=0.0859,
        sky_counts=10.0,
    ),
    lens=Lens(
        redshift=(0.4, 0.6),
        # A slip: correct distances miss the smallest rings.
        size=RingMass(mass_solar=1e12, distances="luminosity-slip"),
        shear=(0.0, 0.3),  # PyLensing, and fitted
        angles="degrees-slip",  # another: all images lean the same way
    ),
    source=Source(
        redshift=(0.8, 1.2),
        sersic_index=1.5,  # PyLensing, and fitted
        radius_arcsec=0.5,  # PyLensing, and fitted
        axis_ratio=(0.4, 1.0),
        offset_arcsec=(0.0, 0.5),
        counts=100.0,  # to 0.2
    ),
    subhalos=Subhalos(
        amount=MeanNumber(mean=25),  # DeepLenseSim
        # The papers have a slope of -1.9, with which nothing would be seen.
        mass_solar=PowerLaw(low=1e6, high=1e10, slope=-0.9),  # DeepLenseSim
        distance_arcsec=2.0,
        density="central",
    ),
    vortex=Vortex(
        mass=(0.03, 0.055),
        centre_sigma_arcsec=0.5,
        length_arcsec=(1.0, 4.0),
        shape=Beads(number=25),  # PyLensing
    ),
)

PHYSICAL = Population(
    name="physical",
    about="lenses as the literature has them, seen in one orbit of the Hubble Space Telescope; "
    "nothing in it was tuned to any classifier",
    camera=Camera(
        n_pixels=150,
        pixel_scale_arcsec=0.05,  # ACS/WFC, instrument handbook, table 3.1
        psf_sigma_arcsec=0.047,  # full width 0.11", ACS handbook: 0.10" to 0.14"
        # 2,200 s of 0.08 (zodiacal) and 0.01 (dark) electrons a second, four reads of 4.2.
        sky_counts=198.0,
        read_noise_counts=8.4,
    ),
    lens=Lens(
        redshift=Normal(mean=0.5, sigma=0.15, low=0.2, high=0.9),  # BELLS, arXiv:1112.3683
        # SLACS: 263 +- 44 km/s (astro-ph/0601628), between 160 and 400 (arXiv:0805.1931).
        size=VelocityDispersion(sigma_km_per_s=Normal(mean=263, sigma=44, low=160, high=400)),
        einstein_radius_arcsec=(0.6, 2.0),  # what is resolved, and fits into the frame
        axis_ratio=Normal(mean=0.78, sigma=0.12, low=0.4, high=1.0),  # astro-ph/0601628
        slope=Normal(mean=2.078, sigma=0.16, low=1.6, high=2.5),  # SLACS, arXiv:1007.2880
        shear=Rayleigh(sigma=0.05, low=0.0, high=0.2),  # arXiv:2203.00690; 2501.16292 has 0.045
    ),
    source=Source(
        redshift=Normal(mean=2.0, sigma=0.5, low=1.0, high=3.5),  # BELLS GALLERY, 1604.01842
        sersic_index=Normal(mean=1.0, sigma=0.3, low=0.5, high=2.5),  # arXiv:1104.2608: about 1
        radius_arcsec=LogNormal(median=0.15, dex=0.25, low=0.05, high=0.5),  # arXiv:1104.2608
        axis_ratio=(0.2, 0.9),  # BELLS GALLERY, arXiv:1811.03628: median ellipticity 0.49
        offset_arcsec=(0.0, 0.35),  # inside the caustics, or near
        # Peak signal to noise of 7 to 33 a pixel in nine of ten images, 15 in the median.
        counts=PowerLaw(low=40.0, high=400.0, slope=-1.0),
    ),
    subhalos=Subhalos(
        # arXiv:1905.04182 has 0.012 (+0.007, -0.004) in subhalos of 1e6 to 1e9 solar masses,
        # arXiv:1405.3666 0.006 (+0.008, -0.004) in those of 4e6 to 4e9: with the slope below, 0.011
        # and 0.005 in those of this range. If these are shares of the dark matter alone, as in
        # arXiv:0903.4752, they are about half as much of all mass, of which this is a share.
        amount=SurfaceFraction(fraction=LogNormal(median=0.006, dex=0.3, low=0.002, high=0.03)),
        # Slope of Aquarius, arXiv:1010.2491; lighter ones leave no trace at this resolution.
        mass_solar=PowerLaw(low=1e8, high=1e10, slope=-1.9),
        distance_arcsec=2.5,
        density="uniform",  # in projection, this far inside the halo
        profile=TruncatedNfw(),
    ),
    vortex=Vortex(
        # Of positive mass, as in arXiv:1909.07346; quantum vortices are hollow (2004.01188).
        mass="as-subhalos",
        centre_sigma_arcsec=0.8,
        length_arcsec=(0.5, 3.0),
        shape=String(core_arcsec=0.05),
    ),
)

# Larger pixels for speed; round, little sheared lenses and tenfold masses, so that a network sees
# the substructure after minutes. So much substructure cannot hide: where global statistics of an
# image tell nothing about the classes of Common Test I, boosted trees reach a macro AUC of 0.9 on
# those of this population.
DEMO = COMMON_TEST_1.but(
    name="demo",
    about="easier than the images of Common Test I: results on it say nothing about those",
    camera={"n_pixels": 64, "pixel_scale_arcsec": 0.1},
    lens={"shear": (0.0, 0.1)},
    source={"axis_ratio": (0.7, 1.0)},
    substructure_mass_factor=10.0,
)

POPULATIONS = {population.name: population for population in (COMMON_TEST_1, PHYSICAL, DEMO)}
