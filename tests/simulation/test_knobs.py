import numpy as np
import pytest

from lensbench.errors import ConfigError
from lensbench.simulation import CLASSES, COMMON_TEST_1, POPULATIONS, draw, generator
from lensbench.simulation.knobs import KNOBS, shifted

from .test_population import leaves

ONE_SIDED = {"source-clumps", "read-noise", "lens-light"}
EVERY = [(name, value) for name, knob in KNOBS.items() for value in knob.levels]
TURNED = [(name, value) for name, value in EVERY if value != KNOBS[name].nominal]

# A population that has everything, so that no knob finds nothing to turn.
RICH = POPULATIONS["physical"].but(
    name="rich",
    lens={
        "light_counts": {"kind": "rayleigh", "sigma": 20, "low": 5, "high": 90},
        "light_radius_arcsec": (0.5, 1),
    },
)
ALL = [*POPULATIONS.values(), RICH]

CHANGES = {
    "exposure": {"camera.sky_counts", "lens.light_counts", "source.counts"},
    "sky": {"camera.sky_counts"},
    "psf": {"camera.psf_sigma_arcsec"},
    "pixel-scale": {"camera.pixel_scale_arcsec"},
    "substructure-mass": {"substructure_mass_factor"},
    "source-index": {"source.sersic_index"},
    "source-clumps": {"source.clumps"},
    "read-noise": {"camera.read_noise_counts"},
    "lens-light": {"lens.light_counts"},
}


def changed(before, after):
    """The names of the settings that differ; those of a distribution are its quantity's."""
    one, other = leaves(before.model_dump()), leaves(after.model_dump())
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def test_every_knob_is_looked_at():
    assert KNOBS.keys() == CHANGES.keys()


@pytest.mark.parametrize("name", KNOBS)
def test_a_ladder_rises_and_holds_the_value_that_changes_nothing(name):
    knob = KNOBS[name]
    assert knob.about
    assert list(knob.levels) == sorted(set(knob.levels))
    assert len(knob.levels) == 5
    assert knob.levels.index(knob.nominal) == (0 if name in ONE_SIDED else 2)
    assert knob.nominal == (0 if name in ONE_SIDED else 1)
    for population in ALL:
        assert shifted(population, {name: knob.nominal}) is population


@pytest.mark.parametrize("population", ALL, ids=lambda population: population.name)
@pytest.mark.parametrize(("name", "value"), TURNED)
def test_a_knob_changes_its_settings_alone(population, name, value):
    found = changed(population, shifted(population, {name: value}))
    expected = CHANGES[name]
    if name == "exposure" and population.lens.light_counts.high == 0:
        expected = expected - {"lens.light_counts"}
    assert {"name", "about"} <= found
    for setting in found - {"name", "about"}:
        assert any(setting == one or setting.startswith(f"{one}.") for one in expected), setting
    for one in expected:
        assert any(setting == one or setting.startswith(f"{one}.") for setting in found), one


def test_names_tell_what_was_turned():
    both = shifted(COMMON_TEST_1, {"psf": 2, "exposure": 0.25})
    assert both.name == "common-test-1 exposure=0.25 psf=2"
    assert both == shifted(COMMON_TEST_1, {"exposure": 0.25, "psf": 2})


def test_knobs_turn_in_one_order():
    bright = shifted(COMMON_TEST_1, {"lens-light": 30, "exposure": 2})
    assert bright == shifted(COMMON_TEST_1, {"exposure": 2, "lens-light": 30})
    assert bright.lens.light_counts.low == 30


def test_values_are_what_they_say():
    def of(name, value, population=COMMON_TEST_1):
        return leaves(shifted(population, {name: value}).model_dump())

    assert of("exposure", 0.5)["camera.sky_counts"] == 5
    assert of("exposure", 0.5)["source.counts"] == 50
    assert of("exposure", 2, RICH)["lens.light_counts.sigma"] == 40
    assert of("exposure", 2, RICH)["source.counts.high"] == 800
    assert of("sky", 4)["camera.sky_counts"] == 40
    assert of("psf", 2)["camera.psf_sigma_arcsec"] == pytest.approx(0.1718)
    assert of("pixel-scale", 0.8)["camera.pixel_scale_arcsec"] == pytest.approx(0.04)
    assert of("substructure-mass", 0.5)["substructure_mass_factor"] == 0.5
    assert of("substructure-mass", 0.5, POPULATIONS["demo"])["substructure_mass_factor"] == 5
    assert of("source-index", 2)["source.sersic_index"] == 3
    assert of("source-clumps", 4)["source.clumps.mean_number"] == 4
    assert of("source-clumps", 4)["source.clumps.flux_share"] == (0.1, 0.4)
    assert of("read-noise", 4)["camera.read_noise_counts"] == 4
    # 4.2 counts a read, four reads, and 8 more: in quadrature.
    assert of("read-noise", 8, RICH)["camera.read_noise_counts"] == pytest.approx(11.6)
    assert of("lens-light", 30)["lens.light_counts"] == 30


def test_clumps_that_a_population_has_are_kept_but_for_their_number():
    clumps = {"mean_number": 3, "flux_share": 0.5, "radius_arcsec": 0.1}
    own = COMMON_TEST_1.but(source={"clumps": clumps})
    turned = shifted(own, {"source-clumps": 8})
    assert changed(own, turned) == {"name", "about", "source.clumps.mean_number"}


@pytest.mark.parametrize(
    ("shift", "message"),
    [
        ({"colour": 1}, "no knob 'colour'; there are exposure, sky,"),
        ({"colour": float("nan"), "sky": 1}, "no knob 'colour'"),
        *(({name: -0.5}, f"knob '{name}': .* 0 or more, not -0.5") for name in KNOBS),
        *(({name: float("nan")}, f"knob '{name}': .* 0 or more, not nan") for name in KNOBS),
        *(({name: float("inf")}, f"knob '{name}': .* not inf") for name in KNOBS),
        ({"exposure": 0}, "knob 'exposure' cannot be 0: source.*counts: .*above 0"),
        ({"psf": 0}, "knob 'psf' cannot be 0: camera.*psf_sigma_arcsec: .*greater than 0"),
        ({"pixel-scale": 0}, "knob 'pixel-scale' cannot be 0: camera.*pixel_scale_arcsec"),
        ({"source-index": 0}, "knob 'source-index' cannot be 0: source.*sersic_index"),
        ({"source-index": 8}, "knob 'source-index' cannot be 8: .* between 0.36 and 10"),
        ({"source-clumps": 0.5}, "knob 'source-clumps' cannot be 0.5: source.*mean_number"),
    ],
)
def test_senseless_shifts_are_refused(shift, message):
    with pytest.raises(ConfigError, match=message):
        shifted(COMMON_TEST_1, shift)


@pytest.mark.parametrize("population", ALL, ids=lambda population: population.name)
@pytest.mark.parametrize("name", KNOBS)
def test_a_knob_at_zero_makes_sense_or_names_itself(population, name):
    if name in {"exposure", "psf", "pixel-scale", "source-index"}:
        with pytest.raises(ConfigError, match=f"knob '{name}' cannot be 0: "):
            shifted(population, {name: 0})
    else:
        shifted(population, {name: 0})


def flat(scene):
    """All numbers of a scene by name, arrays of substructure and light included."""
    found = {}
    for name, value in vars(scene).items():
        if hasattr(value, "__dict__"):
            found |= {f"{name}.{key}": values for key, values in vars(value).items()}
        else:
            found[name] = np.array([value])
    return found


@pytest.mark.parametrize("population", ALL, ids=lambda population: population.name)
@pytest.mark.parametrize("label", CLASSES)
@pytest.mark.parametrize(("name", "value"), TURNED)
def test_scenes_stay_as_they_are_but_for_the_knob(population, label, name, value):
    turned = shifted(population, {name: value})
    factors = {
        "exposure": {"source.counts": value, "lens_light.counts": value},
        "substructure-mass": {"perturbers.mass_solar": value},
        "source-index": {"source.sersic_index": value},
    }.get(name, {})
    for number in range(3):
        before, after = (
            draw(one, label, generator(5, "val", label, number, "scene"))
            for one in (population, turned)
        )
        if name == "lens-light":
            assert (after.lens_light.counts == value).all()
            assert len(after.lens_light.counts) == 1
        theirs, ours = flat(before), flat(after)
        for key, values in theirs.items():
            if name == "lens-light" and key.startswith("lens_light."):
                continue
            found = ours[key]
            if name == "source-clumps" and key.startswith("source."):
                assert len(found) > 1
                if key == "source.counts":
                    assert 0.6 * values[0] - 1e-9 <= found[0] <= 0.9 * values[0] + 1e-9
                    continue
                found = found[:1]
            np.testing.assert_allclose(found, values * factors.get(key, 1), rtol=1e-12)


def test_a_shifted_population_says_what_was_turned():
    about = shifted(COMMON_TEST_1, {"substructure-mass": 0, "psf": 2}).about
    assert about.startswith(COMMON_TEST_1.about)
    assert "but psf is 2 (nominal 1)" in about
    assert "but substructure-mass is 0 (nominal 1)" in about
