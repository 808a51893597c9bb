import time

import astropy.units as u
import numpy as np
import pytest
from astropy.constants import G, M_sun, c
from astropy.cosmology import FlatLambdaCDM
from scipy.integrate import quad
from scipy.special import gammaincinv
from scipy.stats import ks_2samp, kstest, lognorm, norm, poisson

from lensbench.errors import ConfigError
from lensbench.simulation import CLASSES, COMMON_TEST_1, DEMO, PHYSICAL, draw, generator
from lensbench.simulation.cosmology import ring_radius_arcsec
from lensbench.simulation.distribution import LogNormal, Normal
from lensbench.simulation.draw import sersic_flux
from lensbench.simulation.halo import concentration
from lensbench.simulation.scene import Haloes, Points, Strings

N = 2000
ASTROPY = FlatLambdaCDM(H0=70, Om0=0.3)
CLUMPS = {"mean_number": 3, "flux_share": (0.1, 0.4), "radius_arcsec": (0.03, 0.06)}
LENS_LIGHT = {
    "light_counts": (10, 50),
    "light_radius_arcsec": (0.5, 1.0),
    "light_sersic_index": (2, 6),
}


def distance_between(lens, source):
    """The angular-diameter distance of a flat universe (Hogg 1999, eq. 19)."""
    return (ASTROPY.comoving_distance(source) - ASTROPY.comoving_distance(lens)) / (1 + source)


def critical_density(lens, source):
    """c^2 D_S / (4 pi G D_L D_LS) (Narayan & Bartelmann 1996), as mass over area."""
    near, far = (ASTROPY.angular_diameter_distance(z) for z in (lens, source))
    return c**2 / (4 * np.pi * G) * far / (near * distance_between(lens, source))


def drawn(population, label, n=N):
    return [
        draw(population, label, generator(3, "train", label, number, "scene"))
        for number in range(n)
    ]


@pytest.fixture(scope="module")
def scenes():
    return {label: drawn(COMMON_TEST_1, label) for label in CLASSES}


@pytest.fixture(scope="module")
def physical():
    return {label: drawn(PHYSICAL, label) for label in CLASSES}


def column(scenes, name):
    return np.array([getattr(scene, name) for scene in scenes])


def of_source(scenes, name):
    return np.array([getattr(scene.source, name).item() for scene in scenes])


def of_perturbers(scenes, name):
    return [getattr(scene.perturbers, name) for scene in scenes]


def is_uniform(values, low, high):
    return kstest(values, "uniform", (low, high - low)).pvalue > 1e-3


def truncated(law, low, high):
    return lambda x: (law.cdf(x) - law.cdf(low)) / (law.cdf(high) - law.cdf(low))


def smoothed(k, mean):
    """The distribution of a Poisson number plus a uniform one, which is continuous."""
    below = np.floor(k)
    return poisson.cdf(below - 1, mean) + (k - below) * poisson.pmf(below, mean)


def same(one, other):
    """Whether two lights or perturbers are equal to the last bit."""
    assert type(one) is type(other)
    return all(np.array_equal(vars(one)[name], vars(other)[name]) for name in vars(one))


def same_but(one, other, *exempt):
    """Whether two scenes are equal to the last bit but for some attributes."""
    return all(
        same(value, vars(other)[name]) if hasattr(value, "__dict__") else value == vars(other)[name]
        for name, value in vars(one).items()
        if name not in exempt
    )


def test_lens_and_source_follow_their_laws(scenes):
    of = scenes["no"]
    assert is_uniform(column(of, "lens_redshift"), 0.4, 0.6)
    assert is_uniform(column(of, "source_redshift"), 0.8, 1.2)
    assert is_uniform(column(of, "shear"), 0, 0.3)
    assert is_uniform(of_source(of, "axis_ratio"), 0.4, 1)
    x, y = of_source(of, "x_arcsec"), of_source(of, "y_arcsec")
    assert is_uniform(np.hypot(x, y), 0, 0.5)
    assert is_uniform(np.arctan2(y, x), -np.pi, np.pi)
    for name, value in (("sersic_index", 1.5), ("radius_arcsec", 0.5), ("counts", 100)):
        assert set(of_source(of, name)) == {value}
    assert set(column(of, "lens_axis_ratio")) == {1.0}
    assert set(column(of, "lens_slope")) == {2.0}
    assert all(len(scene.lens_light.counts) == 0 for scene in of)


def test_einstein_radii_have_the_slip_and_their_mass_takes_it_back(scenes):
    of = scenes["no"]
    radius = column(of, "einstein_radius_arcsec")
    theirs = ring_radius_arcsec(
        1e12, column(of, "lens_redshift"), column(of, "source_redshift"), "luminosity-slip"
    )
    np.testing.assert_array_equal(radius, theirs)
    # SIMULATOR.md, from fits to published images.
    found = [radius.min(), np.median(radius), radius.max()]
    np.testing.assert_allclose(found, [0.83, 1.28, 1.66], atol=0.03)
    np.testing.assert_allclose(column(of, "ring_mass_solar"), 1e12, rtol=1e-12)


def test_the_slip_reads_radians_as_degrees(scenes):
    assert is_uniform(column(scenes["no"], "shear_angle_deg"), 0, 2 * np.pi)
    assert is_uniform(of_source(scenes["no"], "angle_deg"), 0, 2 * np.pi)


def test_isotropic_angles_fill_the_circle():
    of = drawn(COMMON_TEST_1.but(lens={"angles": "isotropic"}), "no", 1000)
    for angles in (
        column(of, "shear_angle_deg"),
        column(of, "lens_angle_deg"),
        of_source(of, "angle_deg"),
    ):
        assert is_uniform(angles, 0, 360)


def test_subhalos_follow_their_laws(scenes):
    of = scenes["sphere"]
    assert {type(scene.perturbers) for scene in of} == {Points}
    numbers = np.array([len(mass) for mass in of_perturbers(of, "mass_solar")])
    spread = numbers + np.random.default_rng(0).random(N)
    assert kstest(spread, lambda k: smoothed(k, 25)).pvalue > 1e-3
    mass = np.concatenate(of_perturbers(of, "mass_solar"))
    assert kstest(mass, lambda m: (m**0.1 - 1e6**0.1) / (1e10**0.1 - 1e6**0.1)).pvalue > 1e-3
    assert (mass > 4e9).sum() / N == pytest.approx(3.6, abs=0.2)
    x, y = (np.concatenate(of_perturbers(of, f"{axis}_arcsec")) for axis in "xy")
    assert is_uniform(np.hypot(x, y), 0, 2)
    assert is_uniform(np.arctan2(y, x), -np.pi, np.pi)


def test_vortices_are_straight_lines_of_equal_masses(scenes):
    of = scenes["vort"]
    x, y = (np.array(of_perturbers(of, f"{axis}_arcsec")) for axis in "xy")
    mass = np.array(of_perturbers(of, "mass_solar"))
    assert mass.shape == (N, 25)
    assert np.ptp(mass, axis=1).max() == 0
    assert is_uniform(mass.sum(1), 0.03e12, 0.055e12)
    steps = np.diff(x + 1j * y, axis=1)
    np.testing.assert_allclose(steps, np.repeat(steps[:, :1], 24, axis=1), rtol=1e-9)
    assert is_uniform(np.abs(steps.sum(1)), 1, 4)
    assert is_uniform(np.angle(steps[:, 0]), -np.pi, np.pi)
    for centre in (x.mean(1), y.mean(1)):
        assert kstest(centre, norm(0, 0.5).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(x.mean(1), y.mean(1))[0, 1]) < 0.08


def test_a_vortex_of_one_bead_is_at_its_centre():
    one = DEMO.but(vortex={"shape": {"number": 1}, "centre_sigma_arcsec": 0})
    perturbers = drawn(one, "vort", 1)[0].perturbers
    np.testing.assert_array_equal([perturbers.x_arcsec, perturbers.y_arcsec], [[0], [0]])


@pytest.mark.parametrize("population", [COMMON_TEST_1, PHYSICAL])
@pytest.mark.parametrize("label", CLASSES)
def test_the_mass_factor_multiplies_masses_and_nothing_else(population, label):
    (plain,) = drawn(population, label, 1)
    (heavy,) = drawn(population.but(substructure_mass_factor=10), label, 1)
    assert same_but(plain, heavy, "perturbers")
    for name, values in vars(plain.perturbers).items():
        factor = 10 if name == "mass_solar" else 1
        np.testing.assert_array_equal(vars(heavy.perturbers)[name], factor * values)


def test_a_slope_of_minus_one_is_uniform_in_the_logarithm():
    population = COMMON_TEST_1.but(subhalos={"mass_solar": {"slope": -1.0}})
    mass = np.concatenate(of_perturbers(drawn(population, "sphere", 100), "mass_solar"))
    assert is_uniform(np.log10(mass), 6, 10)


def test_physical_lenses_follow_their_laws():
    # Without a choice of Einstein radii, which prefers heavy lenses.
    population = PHYSICAL.but(lens={"einstein_radius_arcsec": (0, 60)})
    of = drawn(population, "no")
    lens, source = column(of, "lens_redshift"), column(of, "source_redshift")
    for values, law, low, high in (
        (lens, norm(0.5, 0.15), 0.2, 0.9),
        (source, norm(2.0, 0.5), 1.0, 3.5),
        (column(of, "lens_axis_ratio"), norm(0.78, 0.12), 0.4, 1.0),
        (column(of, "lens_slope"), norm(2.078, 0.16), 1.6, 2.5),
        (of_source(of, "sersic_index"), norm(1.0, 0.3), 0.5, 2.5),
        (of_source(of, "radius_arcsec"), lognorm(0.25 * np.log(10), scale=0.15), 0.05, 0.5),
    ):
        assert kstest(values, truncated(law, low, high)).pvalue > 1e-3
    # Narayan & Bartelmann 1996, eq. 49, with the distances of astropy.
    far = ASTROPY.angular_diameter_distance(source)
    ratio = (distance_between(lens, source) / far).to_value(u.dimensionless_unscaled)
    radius = column(of, "einstein_radius_arcsec") / 206_264.806
    sigma = 299_792.458 * np.sqrt(radius / (4 * np.pi * ratio))
    assert kstest(sigma, truncated(norm(263, 44), 160, 400)).pvalue > 1e-3
    for angles in (
        column(of, "shear_angle_deg"),
        column(of, "lens_angle_deg"),
        of_source(of, "angle_deg"),
    ):
        assert is_uniform(angles, 0, 360)


def test_ring_masses_are_those_within_the_einstein_radius(physical):
    of = physical["no"][:50]
    lens, source = column(of, "lens_redshift"), column(of, "source_redshift")
    radius = (column(of, "einstein_radius_arcsec") * u.arcsec).to_value(
        u.rad
    ) * ASTROPY.angular_diameter_distance(lens)
    theirs = (np.pi * radius**2 * critical_density(lens, source) / M_sun).to_value(
        u.dimensionless_unscaled
    )
    np.testing.assert_allclose(column(of, "ring_mass_solar"), theirs, rtol=1e-4)


def test_physical_einstein_radii_lie_within_the_bounds(physical):
    for of in physical.values():
        radius = column(of, "einstein_radius_arcsec")
        assert 0.6 <= radius.min() < 0.65
        assert 1.9 < radius.max() <= 2.0


def test_the_masses_of_the_two_substructure_classes_cannot_tell_them_apart(physical):
    totals = {
        label: np.array([mass.sum() for mass in of_perturbers(physical[label], "mass_solar")])
        for label in ("sphere", "vort")
    }
    assert ks_2samp(totals["sphere"], totals["vort"]).pvalue > 1e-3
    for number in range(50):  # not in law alone: of the same lens, to the last bit
        subhalos, vortex = (
            draw(PHYSICAL, label, generator(8, "val", "no", number, "scene"))
            for label in ("sphere", "vort")
        )
        assert vortex.perturbers.mass_solar.item() == subhalos.perturbers.mass_solar.sum()


def test_the_surface_density_is_the_part_of_the_lens_that_was_asked_for():
    # Of so many light ones that their number hardly varies.
    population = PHYSICAL.but(
        subhalos={
            "amount": {"fraction": 0.02},
            "mass_solar": {"low": 1e6, "high": 1e7},
            "distance_arcsec": 1.7,
        }
    )
    for scene in drawn(population, "sphere", 20):
        lens, source = scene.lens_redshift, scene.source_redshift
        radius = (1.7 * u.arcsec).to_value(u.rad) * ASTROPY.angular_diameter_distance(lens)
        density = scene.perturbers.mass_solar.sum() * M_sun / (np.pi * radius**2)
        # Convergence of a power law at its Einstein radius (Tessore & Metcalf 2015, eq. 2).
        of_lens = critical_density(lens, source) * (3 - scene.lens_slope) / 2
        found = (density / of_lens).to_value(u.dimensionless_unscaled)
        assert found == pytest.approx(0.02, rel=0.15)
        assert len(scene.perturbers.mass_solar) > 200


def test_the_number_of_subhalos_is_poissonian_but_at_least_one(physical):
    numbers = np.array([len(mass) for mass in of_perturbers(physical["sphere"], "mass_solar")])
    assert numbers.min() == 1
    constant = PHYSICAL.but(subhalos={"amount": {"fraction": 0.03}})
    of = drawn(constant, "sphere", 1000)
    numbers = np.array([len(mass) for mass in of_perturbers(of, "mass_solar")])
    # Mean mass by quadrature; (3 - slope) / 2 of the critical density is the lens's own there.
    moments = [quad(lambda m, k=k: m ** (k - 1.9), 1e8, 1e10, limit=200)[0] for k in (0, 1)]
    critical = column(of, "ring_mass_solar") / (np.pi * column(of, "einstein_radius_arcsec") ** 2)
    of_lens = critical * (3 - column(of, "lens_slope")) / 2
    expected = 0.03 * of_lens * np.pi * 2.5**2 / (moments[1] / moments[0])
    assert expected.min() > 5
    pull = (numbers - expected) / np.sqrt(expected)
    assert pull.mean() == pytest.approx(0, abs=0.12)
    assert pull.std() == pytest.approx(1, abs=0.08)


def test_the_mean_surface_density_of_physical_is_near_what_it_promises(physical):
    of = physical["sphere"]
    total = np.array([mass.sum() for mass in of_perturbers(of, "mass_solar")])
    discs = (2.5 / column(of, "einstein_radius_arcsec")) ** 2
    of_lens = column(of, "ring_mass_solar") * (3 - column(of, "lens_slope")) / 2
    fraction = total / (discs * of_lens)
    law = lognorm(0.3 * np.log(10), scale=0.006)
    shares = law.cdf([0.002, 0.03])
    mean = quad(lambda x: x * law.pdf(x), 0.002, 0.03)[0] / (shares[1] - shares[0])
    # At least one subhalo, where fewer would be expected, adds a little.
    assert mean * 0.95 < fraction.mean() < mean * 1.15


def test_physical_subhalos_are_uniform_in_area(physical):
    x, y = (np.concatenate(of_perturbers(physical["sphere"], f"{axis}_arcsec")) for axis in "xy")
    assert is_uniform((x**2 + y**2) / 2.5**2, 0, 1)
    assert is_uniform(np.arctan2(y, x), -np.pi, np.pi)


def test_physical_subhalos_are_as_concentrated_and_truncated_as_they_say(physical):
    scatter, depth = [], []
    for scene in physical["sphere"][:500]:
        haloes = scene.perturbers
        assert type(haloes) is Haloes
        z = scene.lens_redshift
        kpc = 1 / ASTROPY.arcsec_per_kpc_proper(z).value
        density = ASTROPY.critical_density(z).to_value(u.M_sun / u.kpc**3)
        r200 = (haloes.mass_solar / (4 / 3 * np.pi * 200 * density)) ** (1 / 3)
        scale = haloes.scale_radius_arcsec * kpc
        scatter.append(np.log10(r200 / scale / concentration(haloes.mass_solar, z)))
        # arXiv:1908.06983, solved for the distance from the lens.
        truncation = haloes.truncation * scale
        away = 50 * (truncation / (1.4 * (haloes.mass_solar / 1e7) ** (1 / 3))) ** 1.5
        across = np.hypot(haloes.x_arcsec, haloes.y_arcsec) * kpc
        depth.append(np.sqrt(np.maximum(away**2 - across**2, 0)))
    assert kstest(np.concatenate(scatter), norm(0, 0.11).cdf).pvalue > 1e-3
    assert is_uniform(np.concatenate(depth), 0, 150)


def test_strings_follow_their_laws(physical):
    of = physical["vort"]
    assert all(type(scene.perturbers) is Strings for scene in of)
    values = {name: np.array(of_perturbers(of, name)) for name in vars(of[0].perturbers)}
    assert {value.shape for value in values.values()} == {(N, 1)}
    assert is_uniform(values["length_arcsec"][:, 0], 0.5, 3)
    assert is_uniform(values["angle_deg"][:, 0], 0, 360)
    assert set(values["core_arcsec"].ravel()) == {0.05}
    for axis in "xy":
        assert kstest(values[f"{axis}_arcsec"][:, 0], norm(0, 0.8).cdf).pvalue > 1e-3


@pytest.mark.parametrize("index", [0.5, 1, 1.5, 4, 10])
def test_the_flux_of_a_profile_is_its_integral(index):
    b = gammaincinv(2 * index, 0.5)  # half of the light lies within the effective radius
    total = quad(
        lambda t: np.exp(-b * (np.exp(t / index) - 1) + 2 * t), -40, 25 * index**0.5, limit=500
    )[0]
    assert sersic_flux(np.array([index])).item() == pytest.approx(2 * np.pi * total, rel=2e-3)


def total_flux(light):
    return (light.counts * light.radius_arcsec**2 * sersic_flux(light.sersic_index)).sum()


def test_clumps_keep_the_light_of_the_source():
    clumpy = COMMON_TEST_1.but(source={"clumps": CLUMPS})
    shares, numbers, distances, angles = [], [], [], []
    for plain, scene in zip(drawn(COMMON_TEST_1, "no"), drawn(clumpy, "no"), strict=True):
        smooth, light = plain.source, scene.source
        assert total_flux(light) == pytest.approx(total_flux(smooth), rel=1e-12)
        for name, values in vars(light).items():
            assert values.shape == light.counts.shape
            if name != "counts":
                assert values[0] == vars(smooth)[name].item()
        flux = light.counts * light.radius_arcsec**2 * sersic_flux(light.sersic_index)
        np.testing.assert_allclose(flux[1:], flux[1], rtol=1e-12)
        shares.append(flux[1:].sum() / flux.sum())
        numbers.append(len(flux) - 1)
        dx, dy = light.x_arcsec[1:] - light.x_arcsec[0], light.y_arcsec[1:] - light.y_arcsec[0]
        distances.extend(np.hypot(dx, dy) / light.radius_arcsec[0])
        angles.extend(np.arctan2(dy, dx))
        assert ((light.radius_arcsec[1:] >= 0.03) & (light.radius_arcsec[1:] <= 0.06)).all()
        assert (light.sersic_index[1:] == 1).all()
        assert (light.axis_ratio[1:] == 1).all()
    assert is_uniform(shares, 0.1, 0.4)
    spread = np.array(numbers) - 1 + np.random.default_rng(0).random(N)
    assert kstest(spread, lambda k: smoothed(k, 2)).pvalue > 1e-3
    assert is_uniform(distances, 0, 1.5)
    assert is_uniform(angles, -np.pi, np.pi)


@pytest.mark.parametrize("population", [COMMON_TEST_1, PHYSICAL])
@pytest.mark.parametrize("label", CLASSES)
def test_clumps_and_the_light_of_the_lens_change_nothing_else(population, label):
    populations = {
        (clumps is not None, bool(light)): population.but(source={"clumps": clumps}, lens=light)
        for clumps in (None, CLUMPS)
        for light in ({}, LENS_LIGHT)
    }
    for number in range(20):
        scenes = {
            key: draw(one, label, generator(3, "train", label, number, "scene"))
            for key, one in populations.items()
        }
        plain, both = scenes[False, False], scenes[True, True]
        assert same_but(plain, scenes[True, False], "source")
        assert same_but(plain, scenes[False, True], "lens_light")
        assert same_but(scenes[True, False], both, "lens_light")
        assert same_but(scenes[False, True], both, "source")
        assert len(plain.source.counts) == 1 < len(both.source.counts)
        assert len(plain.lens_light.counts) == 0 < len(both.lens_light.counts)


def test_the_light_of_a_lens_follows_its_laws_and_has_the_shape_of_its_mass():
    of = drawn(PHYSICAL.but(lens=LENS_LIGHT), "no", 500)
    lights = [scene.lens_light for scene in of]
    for name, (low, high) in LENS_LIGHT.items():
        values = [vars(light)[name.removeprefix("light_")].item() for light in lights]
        assert is_uniform(values, low, high)
    for scene, light in zip(of, lights, strict=True):
        assert light.axis_ratio.item() == scene.lens_axis_ratio
        assert light.angle_deg.item() == scene.lens_angle_deg
        assert light.x_arcsec.item() == light.y_arcsec.item() == 0


@pytest.mark.parametrize("population", [COMMON_TEST_1, DEMO, PHYSICAL])
def test_lenses_and_sources_do_not_depend_on_the_class(population):
    population = population.but(lens=LENS_LIGHT)
    for number in range(20):
        no, sphere, vort = (
            draw(population, label, generator(0, "train", "no", number, "scene"))
            for label in CLASSES
        )
        assert same_but(no, sphere, "perturbers", "lens_light")
        assert same_but(no, vort, "perturbers", "lens_light")
        assert same(no.lens_light, sphere.lens_light)
        assert same(no.lens_light, vort.lens_light)
        assert len(no.perturbers.mass_solar) == 0


def test_every_image_has_random_numbers_of_its_own():
    keys = [
        (seed, partition, label, number, use)
        for seed in (0, 1)
        for partition in ("train", "val")
        for label in CLASSES
        for number in (1, 2)
        for use in ("scene", "noise")
    ]
    assert len({generator(*key).random() for key in keys}) == len(keys) == 48
    assert generator(*keys[5]).random() == generator(*keys[5]).random()


def test_unknown_classes_and_partitions_are_refused():
    with pytest.raises(ValueError, match="not in tuple"):
        generator(0, "train", "axion", 1, "scene")
    with pytest.raises(ValueError, match="not in tuple"):
        generator(0, "test", "no", 1, "scene")
    with pytest.raises(KeyError, match="axion"):
        draw(DEMO, "axion", generator(0, "train", "no", 1, "scene"))


def test_einstein_radii_that_no_lens_has_are_refused_in_time():
    impossible = PHYSICAL.but(name="huge", lens={"einstein_radius_arcsec": (30, 40)})
    start = time.perf_counter()
    with pytest.raises(ConfigError, match=r"'huge'.*30\.0 to 40\.0.*widen einstein_radius_arcsec"):
        draw(impossible, "no", generator(0, "train", "no", 1, "scene"))
    assert time.perf_counter() - start < 30


def test_a_distribution_can_stand_wherever_a_number_can():
    population = COMMON_TEST_1.but(
        lens={"size": {"mass_solar": LogNormal(median=1e12, dex=0.1, low=5e11, high=2e12)}},
        source={"counts": Normal(mean=100, sigma=5, low=80, high=120)},
    )
    of = drawn(population, "no", 500)
    mass = column(of, "ring_mass_solar")
    law = lognorm(0.1 * np.log(10), scale=1e12)
    assert kstest(mass, truncated(law, 5e11, 2e12)).pvalue > 1e-3
    assert kstest(of_source(of, "counts"), truncated(norm(100, 5), 80, 120)).pvalue > 1e-3
