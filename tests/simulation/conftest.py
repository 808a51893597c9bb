"""Images that several tests look at, made once."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LensModel.Profiles.tnfw import TNFW
from lenstronomy.Util.param_util import phi_q2_ellipticity, shear_polar2cartesian

from lensbench.simulation import CLASSES, COMMON_TEST_1, Population, Scene, draw, generator
from lensbench.simulation.render import expected_counts, normalised, observe
from lensbench.simulation.scene import NOTHING, Haloes, Light

ORIGINALS = Path(__file__).parents[2].parent / "shared" / "data" / "common_test_1"
N_SIMULATED = 150


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def scene_of() -> Callable[..., Scene]:
    """Draw scenes; scenes of the same number share lens and source whatever their class."""

    def make(label: str, number: int = 1, population=COMMON_TEST_1) -> Scene:
        return draw(population, label, generator(7, "train", "no", number, "scene"))

    return make


@pytest.fixture(scope="session")
def make_scene() -> Callable[..., Scene]:
    """Make scenes with hardly any lens in front of no light, but for the changes.

    A perturber of a solar mass has an Einstein radius of 1 arcsecond in them.
    """

    def make(**changes) -> Scene:
        nothing: dict[str, Any] = {
            "lens_redshift": 0.5,
            "source_redshift": 1.0,
            "einstein_radius_arcsec": 1e-12,
            "lens_axis_ratio": 1.0,
            "lens_angle_deg": 0.0,
            "lens_slope": 2.0,
            "shear": 0.0,
            "shear_angle_deg": 0.0,
            "source": light(),
            "lens_light": light(),
            "perturbers": NOTHING,
        }
        scene = nothing | changes
        return Scene(ring_mass_solar=scene["einstein_radius_arcsec"] ** 2, **scene)

    return make


@pytest.fixture(scope="session")
def make_light() -> Callable[..., Light]:
    """Make Sersic profiles: round exponential discs of 1 arcsecond, but for the changes."""
    return light


def light(*profiles: dict[str, float]) -> Light:
    disc = {"x_arcsec": 0.0, "y_arcsec": 0.0, "axis_ratio": 1.0, "angle_deg": 0.0}
    disc |= {"sersic_index": 1.0, "radius_arcsec": 1.0, "counts": 1.0}
    return Light(
        **{key: np.array([(disc | one)[key] for one in profiles], dtype=float) for key in disc}
    )


@pytest.fixture(scope="session")
def in_lenstronomy() -> Callable[[Scene], tuple[LensModel, list[dict[str, float]]]]:
    """Build lenses in lenstronomy, which has no strings."""
    return lenstronomy_lens


def lenstronomy_lens(scene: Scene) -> tuple[LensModel, list[dict[str, float]]]:
    ellipticity = phi_q2_ellipticity(np.radians(scene.lens_angle_deg), scene.lens_axis_ratio)
    shear = shear_polar2cartesian(np.radians(scene.shear_angle_deg), scene.shear)
    unit = scene.einstein_radius_arcsec**2 / scene.ring_mass_solar
    parts: list[tuple[str, dict[str, float]]] = [
        ("SHEAR", dict(zip(("gamma1", "gamma2"), shear, strict=True)))
    ]
    if (scene.lens_axis_ratio, scene.lens_slope) == (1, 2):
        parts.append(("SIS", {"theta_E": scene.einstein_radius_arcsec}))
    else:
        halo = {"theta_E": scene.einstein_radius_arcsec, "gamma": scene.lens_slope}
        parts.append(("EPL", halo | dict(zip(("e1", "e2"), ellipticity, strict=True))))
    for one in scene.perturber_rows():
        at = {"center_x": one["x_arcsec"], "center_y": one["y_arcsec"]}
        squared_radius = one["mass_solar"] * unit
        if isinstance(scene.perturbers, Haloes):
            scale, tau = one["scale_radius_arcsec"], one["truncation"]
            # Baltz et al. 2009, eq. A.4, in units of the critical density.
            shape = (tau**2 - 1) * np.log(tau) + np.pi * tau - (tau**2 + 1)
            whole = 4 * scale**3 * tau**2 / (tau**2 + 1) ** 2 * shape
            alpha = TNFW.rho02alpha(squared_radius / whole, scale)
            profile = {"Rs": scale, "alpha_Rs": alpha, "r_trunc": tau * scale}
            parts.append(("TNFW", profile | at))
        else:
            parts.append(("POINT_MASS", {"theta_E": np.sqrt(squared_radius)} | at))
    return LensModel([name for name, _ in parts]), [kwargs for _, kwargs in parts]


@pytest.fixture(scope="session")
def simulate_images(scene_of) -> Callable[[Population, int], dict[str, np.ndarray]]:
    """Make n images of each class with the same lenses and sources, (n, H, W) from 0 to 1."""

    @cache
    def make(population: Population, n: int) -> dict[str, np.ndarray]:
        return {
            label: np.concatenate([image(population, label, number) for number in range(n)])
            for label in CLASSES
        }

    def image(population: Population, label: str, number: int) -> np.ndarray:
        expected = expected_counts(population.camera, [scene_of(label, number, population)])
        noise = generator(7, "train", label, number, "noise")
        return normalised(observe(population.camera, expected, [noise]))[:, 0]

    return make


@pytest.fixture(scope="session")
def simulated(simulate_images) -> dict[str, np.ndarray]:
    """Images of each class with the same lenses and sources, (N, 150, 150)."""
    return simulate_images(COMMON_TEST_1, N_SIMULATED)


@pytest.fixture(scope="session")
def original_no() -> np.ndarray:
    """Original images of Common Test I without substructure, (N, 150, 150)."""
    files = sorted((ORIGINALS / "exact_no").glob("*.npy"))
    if not files:
        pytest.skip(f"no original images of Common Test I in {ORIGINALS / 'exact_no'}")
    return np.concatenate([np.load(file) for file in files])
