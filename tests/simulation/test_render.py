"""Images, against lenstronomy and closed forms."""

import caustics.func as caustics
import numpy as np
import pytest
import torch
from lenstronomy.Data.imaging_data import ImageData
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_model import ImageModel
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from lenstronomy.LightModel.Profiles.sersic import SersicElliptic
from lenstronomy.Util.param_util import phi_q2_ellipticity

from lensbench.simulation import CLASSES, COMMON_TEST_1, DEMO, PHYSICAL, generator
from lensbench.simulation.lensing import brightness, light_of
from lensbench.simulation.population import Camera
from lensbench.simulation.render import divisors, expected_counts, normalised, observe
from lensbench.simulation.scene import Light, Points, Strings

RICH = PHYSICAL.but(
    name="physical with lens light and clumps",
    lens={"light_counts": (100.0, 300.0)},
    source={"clumps": {"mean_number": 4, "flux_share": 0.4, "radius_arcsec": (0.02, 0.05)}},
)
POPULATIONS = pytest.mark.parametrize(
    "population", [COMMON_TEST_1, DEMO, PHYSICAL, RICH], ids=lambda p: p.name
)
SMALL = Camera(n_pixels=64, pixel_scale_arcsec=0.1, psf_sigma_arcsec=0.087, sky_counts=10.0)


class WithStrings:
    """A lens of lenstronomy with strings, each a sum of softened points at Gauss's nodes."""

    def __init__(self, lens: LensModel, strings: Strings, unit: float) -> None:
        self._lens, self._strings, self._unit = lens, strings, unit

    def __getattr__(self, name: str):
        return getattr(self._lens, name)

    def ray_shooting(self, x, y, *args, **kwargs):
        source_x, source_y = self._lens.ray_shooting(x, y, *args, **kwargs)
        strings = self._strings
        angle, half = np.radians(strings.angle_deg), strings.length_arcsec / 2
        for node, weight in zip(*np.polynomial.legendre.leggauss(300), strict=True):
            dx = x - strings.x_arcsec - node * half * np.cos(angle)
            dy = y - strings.y_arcsec - node * half * np.sin(angle)
            factor = weight / 2 * self._unit * strings.mass_solar
            factor = factor / (dx**2 + dy**2 + strings.core_arcsec**2)
            source_x, source_y = source_x - factor * dx, source_y - factor * dy
        return source_x, source_y


def light_in_lenstronomy(light: Light, scale: float) -> tuple[LightModel, list[dict[str, float]]]:
    profiles = []
    for values in zip(*vars(light).values(), strict=True):
        one = dict(zip(vars(light), map(float, values), strict=True))
        # Their b_n is the exact one, caustics' a series: the same curve with other constants.
        index = one["sersic_index"]
        b_ours, b_theirs = caustics.k_sersic(index), SersicElliptic().b_n(index)
        e1, e2 = phi_q2_ellipticity(np.radians(one["angle_deg"]), one["axis_ratio"])
        profiles.append(
            {
                "amp": one["counts"] / scale**2 * np.exp(b_ours - b_theirs),
                "R_sersic": one["radius_arcsec"] * (b_theirs / b_ours) ** index,
                "n_sersic": index,
                "e1": e1,
                "e2": e2,
                "center_x": one["x_arcsec"],
                "center_y": one["y_arcsec"],
            }
        )
    return LightModel(["SERSIC_ELLIPSE"] * len(profiles)), profiles


def lenstronomy_counts(camera: Camera, scene, in_lenstronomy) -> np.ndarray:
    """The noiseless image, on a larger frame that is cropped: its border repeats pixels."""
    margin, scale = camera.margin_pixels, camera.pixel_scale_arcsec
    n = camera.n_pixels + 2 * margin
    offset = np.arange(-margin, margin + 1) * scale
    kernel = np.exp(-(offset**2 + offset[:, None] ** 2) / 2 / camera.psf_sigma_arcsec**2)
    corner = -(n - 1) / 2 * scale
    data = ImageData(
        image_data=np.zeros((n, n)),
        ra_at_xy_0=corner,
        dec_at_xy_0=corner,
        transform_pix2angle=np.eye(2) * scale,
    )
    if isinstance(strings := scene.perturbers, Strings):
        lens, kwargs_lens = in_lenstronomy(scene.smooth())
        unit = scene.einstein_radius_arcsec**2 / scene.ring_mass_solar
        lens = WithStrings(lens, strings, unit)
    else:
        lens, kwargs_lens = in_lenstronomy(scene)
    source, kwargs_source = light_in_lenstronomy(scene.source, scale)
    lens_light, kwargs_light = light_in_lenstronomy(scene.lens_light, scale)
    model = ImageModel(
        data,
        PSF(psf_type="PIXEL", kernel_point_source=kernel / kernel.sum()),
        lens_model_class=lens,
        source_model_class=source,
        lens_light_model_class=lens_light,
        kwargs_numerics={"supersampling_factor": camera.rays_per_pixel_side},
    )
    image = model.image(kwargs_lens, kwargs_source, kwargs_lens_light=kwargs_light)
    return image[margin:-margin, margin:-margin][::-1]


@pytest.mark.filterwarnings("ignore:`axes` should not be `None`")  # lenstronomy under NumPy 2
@pytest.mark.parametrize("rays_per_side", [1, 2])
@POPULATIONS
@pytest.mark.parametrize("label", CLASSES)
def test_images_agree_with_lenstronomy(population, label, rays_per_side, scene_of, in_lenstronomy):
    scene = scene_of(label, 11, population)
    camera = population.but(camera={"rays_per_pixel_side": rays_per_side}).camera
    ours = expected_counts(camera, [scene])[0]
    theirs = lenstronomy_counts(camera, scene, in_lenstronomy)
    assert ours.dtype == torch.float64
    assert ours.shape == theirs.shape == (camera.n_pixels, camera.n_pixels)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-7 * theirs.max())


def test_an_unlensed_source_is_its_profile(make_scene, make_light):
    source = make_light({"radius_arcsec": 0.5, "counts": 100.0, "sersic_index": 1.5})
    camera = COMMON_TEST_1.but(camera={"psf_sigma_arcsec": 0.01}).camera
    image = expected_counts(camera, [make_scene(source=source)])[0]
    above, below = image[75 - 11 : 75 - 9, 75].numpy()
    assert above < 100 < below


def test_the_first_row_is_the_top_and_the_first_column_the_left(make_scene, make_light):
    source = make_light({"x_arcsec": 1.0, "y_arcsec": 2.0, "radius_arcsec": 0.3})
    image = expected_counts(SMALL, [make_scene(source=source)])[0]
    row, column = divmod(int(image.argmax()), SMALL.n_pixels)
    assert row in (11, 12)
    assert column in (41, 42)


@pytest.mark.parametrize("sigma", [1e-9, 0.005, 0.02, 0.04, 0.05, 0.069, 0.07, 0.2])
def test_the_point_spread_function_keeps_light_and_adds_its_variance(sigma, make_scene, make_light):
    scene = make_scene(source=make_light({"radius_arcsec": 0.3}))
    sharp, blurred = (
        expected_counts(SMALL.model_copy(update={"psf_sigma_arcsec": sigma}), [scene])[0]
        for sigma in (1e-9, sigma)
    )
    x = (torch.arange(64) - 31.5) * 0.1
    for axis in (0, 1):
        before, after = ((im.sum(axis) * x**2).sum() / im.sum() for im in (sharp, blurred))
        # Cut at 4.5 sigma.
        assert float(after - before) == pytest.approx(sigma**2, rel=5e-3, abs=1e-9)
    assert blurred.sum() == pytest.approx(float(sharp.sum()), rel=1e-5)


FINE = Camera(
    n_pixels=200,
    pixel_scale_arcsec=0.02,
    psf_sigma_arcsec=0.01,
    sky_counts=0,
    rays_per_pixel_side=8,
)


def test_a_point_mass_makes_two_images_with_their_magnifications(make_scene, make_light):
    small = {"radius_arcsec": 0.02, "sersic_index": 0.5, "x_arcsec": 0.6}
    light = make_light(small)
    point = Points(np.ones(1), np.zeros(1), np.zeros(1))
    image, unlensed = (
        expected_counts(FINE, [make_scene(source=light, **changes)])[0].numpy()
        for changes in ({"perturbers": point}, {})
    )
    x = (np.arange(200) - 99.5) * 0.02
    root = np.sqrt(0.6**2 + 4)
    for side, sign in ((slice(100, 200), 1), (slice(0, 100), -1)):
        columns = image[:, side].sum(0)
        position = (columns * x[side]).sum() / columns.sum()
        assert position == pytest.approx((0.6 + sign * root) / 2, abs=1e-3)
        magnification = (0.6**2 + 2) / (2 * 0.6 * root) + sign / 2
        assert columns.sum() / unlensed.sum() == pytest.approx(magnification, rel=2e-3)


@pytest.mark.parametrize("beta", [0.3, 0.5, 0.9])
def test_an_isothermal_sphere_magnifies_by_its_diameter_over_the_offset(
    beta, make_scene, make_light
):
    light = make_light({"radius_arcsec": 0.02, "sersic_index": 0.5, "x_arcsec": beta})
    image, unlensed = (
        expected_counts(FINE, [make_scene(source=light, einstein_radius_arcsec=radius)]).sum()
        for radius in (1.0, 1e-12)
    )
    assert float(image / unlensed) == pytest.approx(2 / beta, rel=3e-3)


def test_light_of_the_lens_is_not_lensed(make_scene, make_light):
    lit = {"lens_light": make_light({"x_arcsec": 1.0, "counts": 5.0, "sersic_index": 4.0})}
    lens = {"einstein_radius_arcsec": 1.2, "shear": 0.2}
    source = {"source": make_light({"y_arcsec": 0.3})}
    both = expected_counts(SMALL, [make_scene(**lens, **source, **lit)])
    parts = [make_scene(**lens, **source), make_scene(**lit)]
    torch.testing.assert_close(both[0], expected_counts(SMALL, parts).sum(0), rtol=1e-12, atol=0)


def test_scenes_with_and_without_light_of_their_own_go_together(make_scene, make_light):
    scenes = [make_scene(lens_light=make_light(*[{}] * n)) for n in (0, 2, 1)]
    dark, two, one = expected_counts(SMALL, scenes)
    assert not dark.any()
    torch.testing.assert_close(two, 2 * one)


@pytest.mark.parametrize("rays_per_side", [1, 2, 3])
def test_a_ray_through_a_centre_disturbs_no_other_pixel(rays_per_side, make_scene, make_light):
    camera = Camera(
        n_pixels=33,
        pixel_scale_arcsec=0.1,
        psf_sigma_arcsec=1e-9,  # so narrow that every pixel is its rays
        sky_counts=0,
        rays_per_pixel_side=rays_per_side,
    )
    lens = {"einstein_radius_arcsec": 1.2, "source": make_light({"x_arcsec": 0.1})}
    points = [Points(np.array([0.1]), np.array([at]), np.zeros(1)) for at in (0.0, 1e-9)]
    through, beside = expected_counts(camera, [make_scene(**lens, perturbers=p) for p in points])
    assert through.isfinite().all()
    away = torch.ones(33, 33, dtype=torch.bool)
    away[16, 16] = False
    torch.testing.assert_close(through[away], beside[away], rtol=1e-6, atol=0)


def test_rays_are_followed_in_any_number_at_a_time(scene_of, monkeypatch):
    scene = scene_of("sphere", 3, PHYSICAL)
    camera = PHYSICAL.but(camera={"n_pixels": 20}).camera
    usual = expected_counts(camera, [scene])
    for n in (1, 100, 1000, 10**6):
        monkeypatch.setattr("lensbench.simulation.render._N_RAYS", {"cpu": n})
        monkeypatch.setattr("lensbench.simulation.lensing._BLOCK", {"cpu": 17 * n})
        torch.testing.assert_close(expected_counts(camera, [scene]), usual, rtol=1e-10, atol=0)


@pytest.mark.parametrize("population", [COMMON_TEST_1, RICH], ids=lambda p: p.name)
@pytest.mark.parametrize("label", CLASSES)
def test_a_batch_is_its_images(population, label, scene_of):
    camera = population.camera
    scenes = [scene_of(label, number, population) for number in range(7)]
    together, counts = {}, {}
    for size in (1, 3, 7):
        parts = [slice(start, start + size) for start in range(0, 7, size)]
        together[size] = torch.cat([expected_counts(camera, scenes[part]) for part in parts])
        noise = [generator(7, "train", label, number, "noise") for number in range(7)]
        counts[size] = np.concatenate(
            [observe(camera, together[size][part], noise[part]) for part in parts]
        )
    for size in (3, 7):
        # Sums in another order: most where a ray passes beside a point mass.
        torch.testing.assert_close(together[size], together[1], rtol=1e-10, atol=0)
        np.testing.assert_array_equal(counts[size], counts[1])


def test_scenes_of_two_kinds_are_refused(scene_of):
    scenes = [scene_of(label, 1, PHYSICAL) for label in ("sphere", "vort")]
    with pytest.raises(ValueError, match="of one kind"):
        expected_counts(PHYSICAL.camera, scenes)


def test_the_brightest_pixel_is_that_of_the_profile(make_scene, make_light):
    light = make_light({"radius_arcsec": 0.5, "axis_ratio": 0.5, "angle_deg": 90.0})
    image = expected_counts(
        SMALL.model_copy(update={"psf_sigma_arcsec": 1e-9, "rays_per_pixel_side": 1}),
        [make_scene(source=light)],
    )[0]
    axis = (torch.arange(64, dtype=torch.float64) - 31.5) * 0.1
    profile = brightness(light_of([light], torch.device("cpu")), axis, -axis[:, None])[0]
    torch.testing.assert_close(image, profile, rtol=1e-9, atol=1e-300)
    tall, wide = image[31 - 10, 31], image[31, 31 - 10]
    assert tall > 2 * wide


def test_images_are_stretched_from_0_to_1(scene_of):
    scenes = [scene_of("no", number, DEMO) for number in range(3)]
    noise = [generator(7, "train", "no", number, "noise") for number in range(3)]
    counts = observe(DEMO.camera, expected_counts(DEMO.camera, scenes), noise)
    images = normalised(counts)
    assert (images.dtype, images.shape) == (np.float64, (3, 1, 64, 64))
    np.testing.assert_array_equal(images.min((1, 2, 3)), 0)
    np.testing.assert_array_equal(images.max((1, 2, 3)), 1)
    peaks = counts.max((1, 2)).astype(float)
    np.testing.assert_array_equal(divisors(counts), peaks)
    np.testing.assert_allclose(images[:, 0] * peaks[:, None, None], counts, rtol=1e-15)


def test_a_black_image_stays_black():
    images = normalised(np.zeros((2, 4, 4), np.uint16))
    assert images.shape == (2, 1, 4, 4)
    assert not images.any()
