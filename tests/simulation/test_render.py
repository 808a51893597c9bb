import caustics.func as lensing
import numpy as np
import pytest
import torch
from lenstronomy.Data.imaging_data import ImageData
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_model import ImageModel
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from lenstronomy.LightModel.Profiles.sersic import SersicElliptic
from lenstronomy.Util.param_util import phi_q2_ellipticity, shear_polar2cartesian

from lensbench.simulation import CLASSES, COMMON_TEST_1, DEMO, Population, Scene
from lensbench.simulation.render import expected_counts, observe, trace

POPULATIONS = pytest.mark.parametrize("population", [COMMON_TEST_1, DEMO], ids=lambda p: p.name)


def make_scene(**changes) -> Scene:
    """A lens that does nothing in front of a round source, but for the changes."""
    nothing = np.empty(0)
    neutral = {
        "lens_redshift": 0.5,
        "source_redshift": 1.0,
        "einstein_radius_arcsec": 0.0,
        "shear": 0.0,
        "shear_angle_deg": 0.0,
        "source_axis_ratio": 1.0,
        "source_angle_deg": 0.0,
        "source_x_arcsec": 0.0,
        "source_y_arcsec": 0.0,
        "perturber_mass_fraction": nothing,
        "perturber_x_arcsec": nothing,
        "perturber_y_arcsec": nothing,
    }
    return Scene(**neutral | changes)


def in_lenstronomy(scene: Scene) -> tuple[LensModel, list[dict[str, float]]]:
    gamma1, gamma2 = shear_polar2cartesian(np.radians(scene.shear_angle_deg), scene.shear)
    radii = scene.einstein_radius_arcsec * np.sqrt(scene.perturber_mass_fraction)
    points = [
        {"theta_E": radius, "center_x": x, "center_y": y}
        for radius, x, y in zip(
            radii, scene.perturber_x_arcsec, scene.perturber_y_arcsec, strict=True
        )
    ]
    model = LensModel(["SIS", "SHEAR", *["POINT_MASS"] * len(points)])
    return model, [
        {"theta_E": scene.einstein_radius_arcsec},
        {"gamma1": gamma1, "gamma2": gamma2},
        *points,
    ]


def lenstronomy_counts(population: Population, scene: Scene) -> np.ndarray:
    """The noiseless image, on a larger frame that is cropped: its border repeats pixels."""
    margin, scale = population.margin_pixels, population.pixel_scale_arcsec
    n = population.n_pixels + 2 * margin
    offset = np.arange(-margin, margin + 1) * scale
    kernel = np.exp(-(offset**2 + offset[:, None] ** 2) / 2 / population.psf_sigma_arcsec**2)
    corner = -(n - 1) / 2 * scale
    data = ImageData(
        image_data=np.zeros((n, n)),
        ra_at_xy_0=corner,
        dec_at_xy_0=corner,
        transform_pix2angle=np.eye(2) * scale,
    )
    index = population.source_sersic_index
    # Their b_n is the exact one, caustics' a series: the same curve with other constants.
    b_ours, b_theirs = lensing.k_sersic(index), SersicElliptic().b_n(index)
    e1, e2 = phi_q2_ellipticity(np.radians(scene.source_angle_deg), scene.source_axis_ratio)
    source = {
        "amp": population.source_counts / scale**2 * np.exp(b_ours - b_theirs),
        "R_sersic": population.source_radius_arcsec * (b_theirs / b_ours) ** index,
        "n_sersic": index,
        "e1": e1,
        "e2": e2,
        "center_x": scene.source_x_arcsec,
        "center_y": scene.source_y_arcsec,
    }
    lens, kwargs_lens = in_lenstronomy(scene)
    model = ImageModel(
        data,
        PSF(psf_type="PIXEL", kernel_point_source=kernel / kernel.sum()),
        lens_model_class=lens,
        source_model_class=LightModel(["SERSIC_ELLIPSE"]),
        kwargs_numerics={"supersampling_factor": population.rays_per_pixel_side},
    )
    image = model.image(kwargs_lens, [source])
    return image[margin:-margin, margin:-margin][::-1]


def rays(n: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.random.default_rng(1).uniform(-3, 3, (2, n)))


def traced(scene: Scene, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    source = trace([scene], torch.from_numpy(x)[None, None], torch.from_numpy(y)[None, None])
    return tuple(axis[0, 0].numpy() for axis in source)


POINTS = {
    "perturber_mass_fraction": np.array([0.01, 0.2]),
    "perturber_x_arcsec": np.array([0.4, -1.0]),
    "perturber_y_arcsec": np.array([-0.7, 1.3]),
}


@pytest.mark.parametrize(
    "changes",
    [
        {"einstein_radius_arcsec": 1.3},
        {"shear": 0.21, "shear_angle_deg": 33.0},
        {"einstein_radius_arcsec": 1.3} | POINTS,
        {"einstein_radius_arcsec": 0.9, "shear": 0.1, "shear_angle_deg": 100.0} | POINTS,
    ],
    ids=["sis", "shear", "points", "all"],
)
def test_deflections_agree_with_lenstronomy(changes):
    scene = make_scene(**changes)
    x, y = rays()
    lens, kwargs = in_lenstronomy(scene)
    np.testing.assert_allclose(traced(scene, x, y), lens.ray_shooting(x, y, kwargs), atol=1e-7)


def test_an_isothermal_sphere_deflects_by_its_einstein_radius_everywhere():
    x, y = rays()
    source_x, source_y = traced(make_scene(einstein_radius_arcsec=1.3), x, y)
    np.testing.assert_allclose(np.hypot(x - source_x, y - source_y), 1.3, rtol=1e-6)


def test_shear_pulls_along_its_angle():
    x, y = np.array([2.0, 0.0]), np.array([0.0, 2.0])
    source_x, source_y = traced(make_scene(shear=0.1), x, y)
    np.testing.assert_allclose(source_x, [1.8, 0])
    np.testing.assert_allclose(source_y, [0, 2.2])


def test_a_point_mass_deflects_by_squared_radius_over_distance():
    one = {key: np.array([value]) for key, value in zip(POINTS, (0.25, 0.4, -0.7), strict=True)}
    x, y = rays()
    halo = traced(make_scene(einstein_radius_arcsec=1.2), x, y)
    both = traced(make_scene(einstein_radius_arcsec=1.2, **one), x, y)
    deflection = np.hypot(both[0] - halo[0], both[1] - halo[1])
    distance = np.hypot(x - 0.4, y + 0.7)
    np.testing.assert_allclose(deflection, 0.25 * 1.2**2 / distance, rtol=1e-6)


def test_the_sum_over_points_agrees_with_caustics():
    x, y = (torch.from_numpy(axis) for axis in rays())
    halo = traced(make_scene(einstein_radius_arcsec=1.2), x.numpy(), y.numpy())
    both = traced(make_scene(einstein_radius_arcsec=1.2, **POINTS), x.numpy(), y.numpy())
    theirs = [
        lensing.reduced_deflection_angle_point(at_x, at_y, 1.2 * fraction**0.5, x, y)
        for fraction, at_x, at_y in zip(*POINTS.values(), strict=True)
    ]
    for axis in (0, 1):
        expected = sum(deflection[axis] for deflection in theirs)
        np.testing.assert_allclose(halo[axis] - both[axis], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore:`axes` should not be `None`")  # lenstronomy under NumPy 2
@POPULATIONS
@pytest.mark.parametrize("label", CLASSES)
def test_images_agree_with_lenstronomy(population, label, scene_of):
    scene = scene_of(label, 11, population)
    ours = expected_counts(population, [scene])[0].numpy()
    theirs = lenstronomy_counts(population, scene)
    assert np.abs(ours - theirs).max() < 2e-6 * theirs.max()


def test_an_unlensed_source_has_its_brightness_at_the_effective_radius():
    population = COMMON_TEST_1.model_copy(update={"psf_sigma_arcsec": 0.01})
    image = expected_counts(population, [make_scene()])[0]
    above, below = image[75 - 11 : 75 - 9, 75].numpy()
    assert above < 100 < below


def test_the_first_row_is_the_top_and_the_first_column_the_left():
    image = expected_counts(DEMO, [make_scene(source_x_arcsec=1.0, source_y_arcsec=2.0)])[0]
    row, column = divmod(int(image.argmax()), DEMO.n_pixels)
    assert (row, column) in {(11, 41), (12, 41), (11, 42), (12, 42)}


def test_the_point_spread_function_keeps_light_and_adds_its_variance():
    blurs = [0.02, 0.2]
    images = [
        expected_counts(
            DEMO.model_copy(update={"psf_sigma_arcsec": sigma, "source_radius_arcsec": 0.3}),
            [make_scene()],
        )[0]
        for sigma in blurs
    ]
    x = (torch.arange(64) - 31.5) * 0.1
    sharp, wide = ((image.sum(0) * x**2).sum() / image.sum() for image in images)
    assert images[1].sum() == pytest.approx(float(images[0].sum()), rel=1e-4)
    assert float(wide - sharp) == pytest.approx(blurs[1] ** 2, rel=5e-3)  # the frame cuts a little


def test_a_ray_through_the_centre_or_a_mass_stays_finite():
    population = DEMO.model_copy(update={"n_pixels": 33, "rays_per_pixel_side": 1})
    at_centre = {key: np.array([value]) for key, value in zip(POINTS, (0.1, 0, 0), strict=True)}
    scenes = [make_scene(einstein_radius_arcsec=1.2, **changes) for changes in ({}, at_centre)]
    assert expected_counts(population, scenes).isfinite().all()


def test_a_batch_is_its_images(scene_of):
    scenes = [scene_of(label, number, DEMO) for number in (1, 2) for label in CLASSES]
    together = expected_counts(DEMO, scenes)
    alone = torch.cat([expected_counts(DEMO, [scene]) for scene in scenes])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)


def counts_above_minimum(image: np.ndarray) -> np.ndarray:
    """Undo the stretch to [0, 1] of an image whose counts leave no gap near the minimum."""
    return image / np.diff(np.unique(image)).min()


def test_values_are_whole_counts_from_0_to_1(simulated):
    for images in simulated.values():
        image = images[0]
        assert (image.dtype, image.min(), image.max()) == (np.float64, 0, 1)
        counts = counts_above_minimum(image)
        np.testing.assert_allclose(counts, np.round(counts), atol=1e-6)


def test_the_variance_of_the_noise_is_its_mean():
    expected = np.full((600, 600), 30.0)
    image = observe(expected, 10.0, np.random.default_rng(5))
    assert image.shape == (1, 600, 600)
    counts = counts_above_minimum(image)
    counts += 40 - counts.mean()
    assert counts.min() == pytest.approx(round(counts.min()), abs=0.05)  # the mean is 40
    assert counts.var() == pytest.approx(40, rel=0.01)


def test_a_dark_image_is_black():
    assert not observe(np.zeros((4, 4)), 0.0, np.random.default_rng(0)).any()
