"""Rays and brightness, against lenstronomy, sums over points and closed forms."""

import caustics.func as caustics
import numpy as np
import pytest
import torch
from scipy.integrate import quad

from lensbench.simulation import CLASSES, DEMO, PHYSICAL
from lensbench.simulation.draw import sersic_flux
from lensbench.simulation.lensing import Lenses, brightness, light_of
from lensbench.simulation.scene import NOTHING, Haloes, Points, Strings

CPU = torch.device("cpu")

POINTS = Points(
    mass_solar=np.array([0.3, 0.02, 1e-4]),
    x_arcsec=np.array([0.4, -1.0, 0.0]),
    y_arcsec=np.array([-0.7, 1.3, 0.0]),
)
HALOES = Haloes(
    mass_solar=np.array([0.01, 3e-3, 1e-3, 1e-4]),
    x_arcsec=np.array([0.4, -1.0, 2.0, -0.3]),
    y_arcsec=np.array([-0.7, 1.3, 0.1, -2.0]),
    scale_radius_arcsec=np.array([0.5, 0.2, 0.09, 0.03]),
    truncation=np.array([13.3, 5.0, 0.7, 2.4]),
)
STRING = Strings(
    mass_solar=np.array([0.02]),
    x_arcsec=np.array([0.3]),
    y_arcsec=np.array([-0.5]),
    length_arcsec=np.array([2.2]),
    angle_deg=np.array([37.0]),
    core_arcsec=np.array([0.05]),
)


def rays(n: int = 1000, near: Points = POINTS) -> np.ndarray:
    """Positions in a frame of 6 arcseconds, and a pixel beside each mass, (2, N)."""
    rng = np.random.default_rng(1)
    angle = rng.uniform(0, 2 * np.pi, (20, 1))
    beside = near.x_arcsec + 0.05 * np.cos(angle), near.y_arcsec + 0.05 * np.sin(angle)
    return np.hstack([rng.uniform(-3, 3, (2, n)), np.reshape(beside, (2, -1))])


def traced(scene, x, y) -> np.ndarray:
    """Where rays come from, (2, N)."""
    at = [torch.as_tensor(axis, dtype=torch.float64)[None, None] for axis in (x, y)]
    source = Lenses.of([scene], CPU).to_source(*at)
    assert all(axis.dtype == torch.float64 for axis in source)
    return np.array([axis[0, 0].numpy() for axis in source])


def deflected(scene, x, y) -> np.ndarray:
    return np.array([x, y]) - traced(scene, x, y)


def rotated(xy: np.ndarray, degrees: float) -> np.ndarray:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, -sin], [sin, cos]]) @ xy


ROUND = {"einstein_radius_arcsec": 1.3}
SHEAR = {"shear": 0.21, "shear_angle_deg": 33.0}
LENSES = {
    "isothermal sphere": ROUND,
    "shear": SHEAR,
    "points": {"perturbers": POINTS},
    "sphere and all": ROUND | SHEAR | {"perturbers": POINTS},
    **{
        f"power law {q} {slope} {angle}": {
            "einstein_radius_arcsec": 1.1,
            "lens_axis_ratio": q,
            "lens_slope": slope,
            "lens_angle_deg": angle,
        }
        for q, slope, angle in (
            *((0.4, 1.6, 20.0), (0.4, 2.5, 250.0), (0.6, 2.0, -75.0)),
            *((0.8, 2.2, 100.0), (1.0, 1.7, 0.0), (1.0, 2.0, 0.0), (0.999, 2.0, 45.0)),
        )
    },
}
LENSES["power law and all"] = LENSES["power law 0.8 2.2 100.0"] | SHEAR | {"perturbers": POINTS}


@pytest.mark.parametrize("changes", LENSES.values(), ids=LENSES.keys())
def test_deflections_agree_with_lenstronomy(changes, make_scene, in_lenstronomy):
    scene = make_scene(**changes)
    x, y = rays()
    lens, kwargs = in_lenstronomy(scene)
    theirs = lens.ray_shooting(x, y, kwargs)
    np.testing.assert_allclose(traced(scene, x, y), theirs, atol=1e-10, rtol=0)


@pytest.mark.parametrize("changes", [{}, LENSES["power law and all"]], ids=["alone", "in a lens"])
def test_truncated_haloes_agree_with_lenstronomy(changes, make_scene, in_lenstronomy):
    scene = make_scene(**changes | {"perturbers": HALOES})
    x, y = rays(near=HALOES)
    lens, kwargs = in_lenstronomy(scene)
    np.testing.assert_allclose(
        traced(scene, x, y), lens.ray_shooting(x, y, kwargs), atol=5e-9, rtol=0
    )


@pytest.mark.parametrize("number", range(4))
def test_a_truncated_halo_deflects_to_a_part_in_a_million(number, make_scene, in_lenstronomy):
    one = Haloes(**{key: values[[number]] for key, values in vars(HALOES).items()})
    scene = make_scene(perturbers=one)
    x, y = rays(near=one)
    lens, kwargs = in_lenstronomy(scene)
    theirs = np.hypot(*lens.alpha(x, y, kwargs))
    np.testing.assert_allclose(np.hypot(*deflected(scene, x, y)), theirs, rtol=1e-6)


def softened_sum(string: Strings, x, y, n: int = 20_000) -> np.ndarray:
    """The deflection of n points with cores, in the middles of equal pieces, (2, N)."""
    at = rotated(np.array([(np.arange(n) + 0.5) / n - 0.5, np.zeros(n)]), string.angle_deg[0])
    at = at * string.length_arcsec + [string.x_arcsec, string.y_arcsec]
    total = np.zeros((2, len(x)))
    for part in np.split(at, 40, axis=1):
        away = np.array([x, y])[:, :, None] - part[:, None]
        total += (away / ((away**2).sum(0) + string.core_arcsec**2)).sum(2)
    return string.mass_solar / n * total


def test_a_string_is_a_sum_of_softened_points(make_scene):
    x, y = rays(100)
    deflection = deflected(make_scene(perturbers=STRING), x, y)
    np.testing.assert_allclose(deflection, softened_sum(STRING, x, y), atol=3e-9, rtol=0)


def test_strings_add_up(make_scene):
    two = Strings(**{key: np.append(values, 0.7 * values) for key, values in vars(STRING).items()})
    x, y = rays(50)
    parts = [
        softened_sum(Strings(**{key: values[[i]] for key, values in vars(two).items()}), x, y)
        for i in (0, 1)
    ]
    deflection = deflected(make_scene(perturbers=two), x, y)
    np.testing.assert_allclose(deflection, sum(parts), atol=3e-9, rtol=0)


def test_from_far_away_a_string_is_a_point(make_scene):
    angle = np.radians(10 * np.arange(36))
    x, y = 1e3 * np.cos(angle), 1e3 * np.sin(angle)
    point = Points(STRING.mass_solar, STRING.x_arcsec, STRING.y_arcsec)
    string, point = (deflected(make_scene(perturbers=some), x, y) for some in (STRING, point))
    assert np.hypot(*(string - point)).max() < 1e-6 * np.hypot(*point).min()


def test_what_turns_turns_everything(make_scene):
    angles = ("lens_angle_deg", "shear_angle_deg")
    lens = LENSES["power law 0.6 2.0 -75.0"] | SHEAR
    x, y = rays()
    at = rotated(np.array([STRING.x_arcsec, STRING.y_arcsec]), 50)
    turned = Strings(
        **vars(STRING) | {"x_arcsec": at[0], "y_arcsec": at[1], "angle_deg": STRING.angle_deg + 50}
    )
    first = traced(make_scene(**lens, perturbers=STRING), x, y)
    lens |= {name: lens[name] + 50 for name in angles}
    second = traced(make_scene(**lens, perturbers=turned), *rotated(np.array([x, y]), 50))
    np.testing.assert_allclose(second, rotated(first, 50), atol=1e-10, rtol=0)


def test_an_isothermal_sphere_deflects_by_its_einstein_radius_everywhere(make_scene):
    deflection = deflected(make_scene(**ROUND), *rays())
    np.testing.assert_allclose(np.hypot(*deflection), 1.3, rtol=1e-12)


def test_shear_pulls_along_its_angle(make_scene):
    x, y = rays()
    for angle in (0.0, 20.0, 150.0):
        straight = rotated(np.array([x, y]), -angle)
        source = rotated(straight * [[0.9], [1.1]], angle)
        found = traced(make_scene(shear=0.1, shear_angle_deg=angle), x, y)
        np.testing.assert_allclose(found, source, atol=1e-11)


def test_a_point_mass_makes_two_images(make_scene):
    point = Points(np.array([1.44]), np.array([0.2]), np.array([-0.3]))
    for beta in (0.01, 0.3, 2.0):
        theta = (beta + np.array([-1, 1]) * np.sqrt(beta**2 + 4 * 1.44)) / 2
        x, y = traced(make_scene(perturbers=point), 0.2 + theta, np.array([-0.3, -0.3]))
        np.testing.assert_allclose(x, 0.2 + beta, atol=1e-10)
        np.testing.assert_allclose(y, -0.3, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in LENSES if name.startswith("power law")][:6])
def test_the_mean_convergence_within_the_einstein_radius_is_1(name, make_scene):
    # The flux of the deflection out of an ellipse is twice the integral of the convergence.
    changes = LENSES[name]
    q, radius = changes["lens_axis_ratio"], changes["einstein_radius_arcsec"]
    t = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    ellipse = radius * np.array([np.cos(t) / q**0.5, np.sin(t) * q**0.5])
    outwards = radius * np.array([np.cos(t) * q**0.5, np.sin(t) / q**0.5])
    angle = changes["lens_angle_deg"]
    deflection = deflected(make_scene(**changes), *rotated(ellipse, angle))
    flux = (deflection * rotated(outwards, angle)).sum() * (2 * np.pi / len(t))
    assert flux / 2 == pytest.approx(np.pi * radius**2, rel=1e-9)


@pytest.mark.parametrize(
    "changes",
    [ROUND, LENSES["power law 0.8 2.2 100.0"], {"perturbers": POINTS}, {"perturbers": HALOES}],
    ids=["sphere", "power law", "points", "haloes"],
)
def test_a_ray_through_a_centre_stays_finite_and_disturbs_no_other(changes, make_scene):
    x, y = np.array([[0.0, 0.0], [0.4, -0.7], [0.05, 0.0], [0.4, -0.65]]).T
    together = traced(make_scene(**changes), x, y)
    assert np.isfinite(together).all()
    np.testing.assert_array_equal(together[:, 2:], traced(make_scene(**changes), x[2:], y[2:]))


@pytest.mark.parametrize("population", [DEMO, PHYSICAL], ids=lambda p: p.name)
@pytest.mark.parametrize("label", CLASSES)
def test_lenses_together_are_lenses_alone(population, label, scene_of):
    scenes = [scene_of(label, number, population) for number in range(3)]
    scenes.append(scene_of("no", 9, population))
    axis = torch.linspace(-3, 3, 40, dtype=torch.float64)
    x, y = axis[None, None, :], axis[None, :, None]
    together = Lenses.of(scenes, CPU).to_source(x, y)
    for number, scene in enumerate(scenes):
        for ours, alone in zip(together, Lenses.of([scene], CPU).to_source(x, y), strict=True):
            assert ours.shape == (4, 40, 40)
            torch.testing.assert_close(ours[number], alone[0], rtol=0, atol=1e-10)


def test_perturbers_of_two_kinds_do_not_go_together(make_scene):
    scenes = [make_scene(perturbers=some) for some in (POINTS, NOTHING, STRING)]
    with pytest.raises(ValueError, match="of one kind"):
        Lenses.of(scenes, CPU)
    assert Lenses.of(scenes[:2], CPU).kind is Points
    assert Lenses.of(scenes[1:], CPU).kind is Strings


PROFILES = (
    {"counts": 100.0, "sersic_index": 1.5, "radius_arcsec": 0.5, "x_arcsec": 0.2},
    {"counts": 40.0, "axis_ratio": 0.4, "angle_deg": 30.0, "y_arcsec": -0.7},
    {"counts": 7.0, "sersic_index": 4.0, "axis_ratio": 0.8, "angle_deg": 250.0},
)


def test_brightness_is_that_of_caustics(make_light):
    x, y = torch.from_numpy(rays())
    light = light_of([make_light(*PROFILES), make_light(PROFILES[1]), make_light()], CPU)
    ours = brightness(light, x[None, None], y[None, None])
    assert (ours.dtype, ours.shape) == (torch.float64, (3, 1, len(x)))

    def theirs(*profiles) -> torch.Tensor:
        total = torch.zeros_like(x)
        for values in zip(*vars(make_light(*profiles)).values(), strict=True):
            x0, y0, q, angle, n, radius, counts = (torch.tensor(value) for value in values)
            # Caustics' radius is the major axis.
            total += caustics.brightness_sersic(
                *(x0, y0, q, torch.deg2rad(angle), n, radius / q.sqrt(), counts, x, y),
                k=caustics.k_sersic(n),
            )
        return total

    expected = torch.stack([theirs(*PROFILES), theirs(PROFILES[1]), theirs()])[:, None]
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=0)


def test_brightness_takes_rows_and_columns(make_light):
    light = light_of([make_light(*PROFILES), make_light(PROFILES[1])], CPU)
    axis = torch.linspace(-3, 3, 7, dtype=torch.float64)
    x, y = axis[None, None, :5], axis[None, :, None]
    full = brightness(light, *(both.contiguous() for both in torch.broadcast_tensors(x, y)))
    assert full.shape == (2, 7, 5)
    torch.testing.assert_close(brightness(light, x, y), full, rtol=1e-14, atol=0)


def profile_at(light, radius: float) -> float:
    at = torch.tensor([[[radius]]], dtype=torch.float64)
    return float(brightness(light, at, 0 * at))


@pytest.mark.parametrize("index", [0.5, 1.0, 1.5, 2.5, 4.0])
def test_half_of_the_light_is_within_the_effective_radius(index, make_light):
    light = light_of([make_light({"sersic_index": index, "radius_arcsec": 0.4})], CPU)
    assert profile_at(light, 0.4) == pytest.approx(1, rel=1e-12)

    def ring(t: float) -> float:
        radius = 0.4 * np.exp(t)
        return 2 * np.pi * radius**2 * profile_at(light, radius)

    inside, outside = (quad(ring, *limits, epsrel=1e-9)[0] for limits in ((-30, 0), (0, 9)))
    assert inside == pytest.approx(outside, rel=6e-4)  # b_n is a series; worst for 0.5
    assert inside + outside == pytest.approx(0.16 * float(sersic_flux(np.array(index))), rel=1e-8)
