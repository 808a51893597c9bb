import csv
from dataclasses import replace

import numpy as np
import pytest

from lensbench.errors import ConfigError
from lensbench.simulation import CLASSES, COMMON_TEST_1, DEMO, Scene, draw, generator, simulate
from lensbench.simulation.lensing import Lenses
from lensbench.simulation.preview import (
    contact_sheet,
    critical_curves,
    mean_convergence,
    take_apart,
)
from lensbench.simulation.render import CPU
from lensbench.simulation.scene import Points, Strings

CAMERA = COMMON_TEST_1.camera
SEED = 5


def a_lens(**changes) -> Scene:
    scene = draw(COMMON_TEST_1, "no", generator(SEED, "train", "no", 1, "scene"))
    return replace(scene, **changes)


def centres(n: int, side: float) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the pixels of a frame, the first row being the top."""
    axis = np.array([side * (i + 0.5) - n * side / 2 for i in range(n)])
    return np.meshgrid(axis, axis[::-1])


def convergence_of(scene: Scene) -> np.ndarray:
    return mean_convergence(CAMERA, Lenses.of([scene], CPU))


def curves_of(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    lenses = Lenses.of([scene], CPU)
    x, y = critical_curves(CAMERA, lenses)
    return tuple(axis[0].numpy() for axis in (x, y, *lenses.to_source(x, y)))


def test_the_contact_sheet_holds_the_images_that_simulate_writes(tmp_path):
    out = simulate(DEMO, tmp_path / "out", n_train=3, n_val=0, seed=SEED, processes=1)
    examples = contact_sheet(DEMO, SEED, 3)
    with (out / "parameters.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert [(example.name, example.label) for example in examples] == [
        (f"train/{label}/{number}.npy", label) for label in CLASSES for number in (1, 2, 3)
    ]
    for example in examples:
        np.testing.assert_array_equal(example.image, np.load(out / example.name)[0])
        drawn = rows[example.name]
        assert float(drawn["shear"]) == example.scene.shear
        assert int(drawn["n_perturbers"]) == len(example.scene.perturbers.mass_solar)


def test_the_lens_that_is_taken_apart_is_one_of_the_contact_sheet():
    example = contact_sheet(DEMO, SEED, 2)[-1]
    anatomy = take_apart(DEMO, "vort", SEED, 2)
    assert (anatomy.name, anatomy.label) == (example.name, example.label)
    np.testing.assert_array_equal(anatomy.observed / anatomy.observed.max(), example.image)
    np.testing.assert_equal(vars(anatomy.scene.perturbers), vars(example.scene.perturbers))
    assert anatomy.half_width_arcsec == pytest.approx(3.2)


def test_the_convergence_of_an_isothermal_sphere_falls_with_the_distance():
    x, y = centres(CAMERA.n_pixels, CAMERA.pixel_scale_arcsec)
    scene = a_lens(shear=0.3)  # which has no convergence
    radius = np.hypot(x, y)
    outside = radius > 0.5
    expected = scene.einstein_radius_arcsec / (2 * radius)
    np.testing.assert_allclose(convergence_of(scene)[outside], expected[outside], rtol=1e-3)


@pytest.mark.parametrize("share", [1e-4, 0.01])
def test_a_point_mass_is_in_its_own_pixel(share):
    scene = a_lens()
    mass = np.array([share * scene.ring_mass_solar])
    with_mass = replace(scene, perturbers=Points(mass, np.array([1.13]), np.array([2.02])))
    added = convergence_of(with_mass) - convergence_of(scene)
    side = CAMERA.pixel_scale_arcsec
    row, column = 75 - 1 - int(2.02 / side), 75 + int(1.13 / side)
    # The mass within the Einstein radius fills its disc with the critical density.
    discs = share * np.pi * scene.einstein_radius_arcsec**2 / side**2
    assert added[row, column] == pytest.approx(discs, rel=1e-3)
    added[row, column] = 0
    assert np.abs(added).max() < 1e-3 * discs


def test_a_string_has_its_mass_along_its_line():
    scene = a_lens()
    one = [0.05 * scene.ring_mass_solar, 0.5, -1.0, 2.0, 30.0, 0.01]
    strings = Strings(*(np.array([value]) for value in one))
    added = convergence_of(replace(scene, perturbers=strings)) - convergence_of(scene)
    x, y = centres(CAMERA.n_pixels, CAMERA.pixel_scale_arcsec)
    dx, dy = x - 0.5, y + 1.0
    along = dx * np.cos(np.pi / 6) + dy * np.sin(np.pi / 6)
    across = dy * np.cos(np.pi / 6) - dx * np.sin(np.pi / 6)
    near = (np.abs(across) < 0.1) & (np.abs(along) < 1.1)
    whole = 0.05 * np.pi * scene.einstein_radius_arcsec**2 / CAMERA.pixel_scale_arcsec**2
    assert added[near].sum() == pytest.approx(whole, rel=0.02)


@pytest.mark.parametrize(("shear", "angle"), [(0.0, 0.0), (0.2, 0.0), (0.2, 35.0)])
def test_curves_of_a_sheared_isothermal_sphere_are_where_the_equation_says(shear, angle):
    scene = a_lens(shear=shear, shear_angle_deg=angle)
    x, y, source_x, source_y = curves_of(scene)
    theta = scene.einstein_radius_arcsec
    phi = np.arctan2(y, x) - np.radians(angle)
    expected = theta * (1 - shear * np.cos(2 * phi)) / (1 - shear**2)
    np.testing.assert_allclose(np.hypot(x, y), expected, atol=1e-3)
    # Cusps of the astroid, along the shear and across it.
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    along, across = source_x * cos + source_y * sin, source_y * cos - source_x * sin
    assert along.max() == pytest.approx(2 * shear * theta / (1 + shear), abs=3e-3)
    assert across.max() == pytest.approx(2 * shear * theta / (1 - shear), abs=3e-3)


@pytest.mark.parametrize("label", CLASSES)
def test_curves_are_closed(label):
    scene = draw(COMMON_TEST_1, label, generator(SEED, "train", label, 1, "scene"))
    x, y, *_ = curves_of(scene)
    ends = np.stack((x, y), axis=-1)
    assert np.abs(ends[:, 0] - ends[:, 1]).max() <= 1.01 * CAMERA.pixel_scale_arcsec / 4
    _, counts = np.unique(ends.reshape(-1, 2), axis=0, return_counts=True)
    assert set(counts) == {2}


def test_a_lens_without_mass_has_no_curves():
    assert curves_of(a_lens(einstein_radius_arcsec=0.0, shear=0.1))[0].shape == (0, 2)


def test_a_deflection_points_outwards_and_is_the_einstein_radius():
    population = DEMO.but(lens={"shear": 0.0})
    anatomy = take_apart(population, "no", SEED)
    x, y = centres(64, 0.1)
    radius = anatomy.scene.einstein_radius_arcsec
    np.testing.assert_allclose(anatomy.deflection_x_arcsec, radius * x / np.hypot(x, y), atol=1e-6)
    np.testing.assert_allclose(anatomy.deflection_y_arcsec, radius * y / np.hypot(x, y), atol=1e-6)


def test_the_source_is_where_it_was_drawn():
    anatomy = take_apart(DEMO, "sphere", SEED)
    n, half = len(anatomy.source), anatomy.source_half_width_arcsec
    x, y = centres(n, 2 * half / n)
    brightest = np.unravel_index(anatomy.source.argmax(), anatomy.source.shape)
    light = anatomy.scene.source
    assert x[brightest] == pytest.approx(light.x_arcsec[0], abs=half / n)
    assert y[brightest] == pytest.approx(light.y_arcsec[0], abs=half / n)
    for axis in (anatomy.caustic_x_arcsec, anatomy.caustic_y_arcsec):
        assert np.abs(axis).max() < half


@pytest.mark.parametrize("label", CLASSES)
def test_only_substructure_makes_a_difference(label):
    assert take_apart(DEMO, label, SEED).difference.any() == (label != "no")


def test_the_difference_is_in_units_of_the_scatter_between_exposures():
    population = DEMO.but(camera={"read_noise_counts": 5.0})
    anatomy = take_apart(population, "sphere", SEED)
    at = np.unravel_index(np.abs(anatomy.difference).argmax(), anatomy.difference.shape)
    twin = population.but(substructure_mass_factor=0.0)
    smooth = take_apart(twin, "sphere", SEED).expected[at]
    rng = np.random.default_rng(1)
    sky = population.camera.sky_counts
    exposures = rng.poisson(smooth + sky, 100_000) + rng.normal(0, 5, 100_000)
    expected = (anatomy.expected[at] - smooth) / exposures.std()
    assert anatomy.difference[at] == pytest.approx(expected, rel=0.02)


def test_the_observed_image_scatters_around_the_expected_one():
    anatomy = take_apart(COMMON_TEST_1, "vort", SEED)
    sigma = np.sqrt(anatomy.expected + CAMERA.sky_counts)
    noise = anatomy.observed - anatomy.expected
    deviations = (noise - np.median(noise)) / sigma
    assert deviations.std() == pytest.approx(1, abs=0.03)


def test_a_dark_sky_leaves_finite_numbers():
    dark = DEMO.but(
        camera={"sky_counts": 0.0}, source={"sersic_index": 0.36, "radius_arcsec": 0.05}
    )
    assert np.isfinite(take_apart(dark, "sphere", SEED).difference).all()


def test_a_negative_seed_is_an_error():
    with pytest.raises(ConfigError, match="the seed must be 0 or more, not -1"):
        contact_sheet(DEMO, -1)
    with pytest.raises(ConfigError, match="the seed must be 0 or more, not -1"):
        take_apart(DEMO, "no", -1)
