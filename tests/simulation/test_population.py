import inspect
import subprocess
import sys

import pytest
from pydantic import ValidationError

from lensbench.config import Spec
from lensbench.simulation import COMMON_TEST_1, DEMO, PHYSICAL, POPULATIONS, Population, population

PARTS = [
    part
    for _, part in inspect.getmembers(population, inspect.isclass)
    if issubclass(part, Spec) and part.__module__ == population.__name__
]
UNITS = {
    "arcsec": "arcsecond",
    "kpc": "kiloparsec",
    "solar": "solar mass",
    "km_per_s": "km/s",
    "counts": "ounts",
    "pixels": "ixels",
}


def leaves(settings, prefix=""):
    """Flatten nested settings: {"camera.sky_counts": 10.0, ...}."""
    if not isinstance(settings, dict):
        return {prefix: settings}
    found = {}
    for name, value in settings.items():
        found |= leaves(value, f"{prefix}.{name}".lstrip("."))
    return found


@pytest.mark.parametrize("part", PARTS)
def test_every_parameter_has_a_description_that_names_its_unit(part):
    assert part.__doc__
    for name, field in part.model_fields.items():
        if name == "kind":  # says which class it is, whose docstring describes it
            continue
        assert field.description, name
        for suffix, unit in UNITS.items():
            if name.endswith(suffix):
                assert unit in field.description, (name, field.description)


def test_all_parts_are_looked_at():
    assert {"Camera", "Clumps", "TruncatedNfw", "String", "Population"} <= {
        part.__name__ for part in PARTS
    }
    assert len(PARTS) == 16


def test_populations_are_found_by_name():
    assert POPULATIONS == {"common-test-1": COMMON_TEST_1, "demo": DEMO, "physical": PHYSICAL}
    assert all(name == one.name and one.about for name, one in POPULATIONS.items())


@pytest.mark.parametrize(
    "one",
    [
        *POPULATIONS.values(),
        PHYSICAL.but(
            source={
                "clumps": {"mean_number": 2, "flux_share": (0.1, 0.4), "radius_arcsec": 0.04},
            },
            lens={"light_counts": {"kind": "rayleigh", "sigma": 9, "low": 0, "high": 50}},
        ),
    ],
)
def test_a_population_survives_json_and_its_own_dictionary(one):
    assert Population.model_validate_json(one.model_dump_json()) == one
    assert Population.model_validate(one.model_dump(mode="json")) == one
    assert Population.model_validate(one.model_dump()) == one
    assert one.but() == one


def test_numbers_and_ranges_stay_as_short_as_they_were_written():
    settings = leaves(COMMON_TEST_1.model_dump(mode="json"))
    assert settings["source.radius_arcsec"] == 0.5
    assert settings["lens.shear"] == [0.0, 0.3]


def test_common_test_1_is_as_it_was_measured():
    settings = leaves(COMMON_TEST_1.model_dump())
    expected = {
        "camera.n_pixels": 150,
        "camera.pixel_scale_arcsec": 0.05,
        "camera.rays_per_pixel_side": 2,
        "camera.psf_sigma_arcsec": 0.0859,
        "camera.sky_counts": 10.0,
        "camera.read_noise_counts": 0.0,
        "lens.redshift": (0.4, 0.6),
        "lens.size.kind": "ring-mass",
        "lens.size.mass_solar": 1e12,
        "lens.size.distances": "luminosity-slip",
        "lens.axis_ratio": 1.0,
        "lens.slope": 2.0,
        "lens.shear": (0.0, 0.3),
        "lens.angles": "degrees-slip",
        "lens.light_counts": 0.0,
        "source.redshift": (0.8, 1.2),
        "source.sersic_index": 1.5,
        "source.radius_arcsec": 0.5,
        "source.axis_ratio": (0.4, 1.0),
        "source.offset_arcsec": (0.0, 0.5),
        "source.counts": 100.0,
        "source.clumps": None,
        "subhalos.amount.mean": 25,
        "subhalos.mass_solar.low": 1e6,
        "subhalos.mass_solar.high": 1e10,
        "subhalos.mass_solar.slope": -0.9,
        "subhalos.distance_arcsec": 2.0,
        "subhalos.density": "central",
        "subhalos.profile.kind": "point",
        "vortex.mass": (0.03, 0.055),
        "vortex.centre_sigma_arcsec": 0.5,
        "vortex.length_arcsec": (1.0, 4.0),
        "vortex.shape.kind": "beads",
        "vortex.shape.number": 25,
        "substructure_mass_factor": 1.0,
    }
    assert {name: settings[name] for name in expected} == expected


def test_physical_makes_none_of_the_slips_and_gives_both_classes_one_mass_law():
    assert PHYSICAL.lens.size.kind == "velocity-dispersion"
    assert PHYSICAL.lens.size.distances == "angular-diameter"
    assert PHYSICAL.lens.angles == "isotropic"
    assert PHYSICAL.lens.einstein_radius_arcsec == (0.6, 2.0)
    assert PHYSICAL.vortex.mass == "as-subhalos"
    assert PHYSICAL.vortex.shape.kind == "string"
    assert PHYSICAL.subhalos.density == "uniform"
    assert PHYSICAL.subhalos.profile.kind == "truncated-nfw"
    assert PHYSICAL.subhalos.amount.kind == "surface-fraction"
    assert PHYSICAL.substructure_mass_factor == 1
    assert PHYSICAL.camera.read_noise_counts > 0


def test_demo_differs_from_the_default_only_where_it_says():
    theirs, ours = leaves(COMMON_TEST_1.model_dump()), leaves(DEMO.model_dump())
    assert {name for name in ours if ours[name] != theirs[name]} == {
        "name",
        "about",
        "camera.n_pixels",
        "camera.pixel_scale_arcsec",
        "lens.shear",
        "source.axis_ratio",
        "substructure_mass_factor",
    }
    assert "easier" in DEMO.about


def test_other_settings_leave_the_rest_alone():
    changed = PHYSICAL.but(
        name="mine",
        camera={"sky_counts": 3},
        source={"radius_arcsec": {"median": 0.2}, "counts": 7},
    )
    before, after = leaves(PHYSICAL.model_dump()), leaves(changed.model_dump())
    assert after["source.counts"] == 7
    assert after["source.radius_arcsec.median"] == 0.2
    assert after["source.radius_arcsec.kind"] == "log-normal"
    different = {name for name in before if after.get(name) != before[name]}
    assert {name for name in different if not name.startswith("source.counts.")} == {
        "name",
        "camera.sky_counts",
        "source.radius_arcsec.median",
    }
    assert PHYSICAL.camera.sky_counts == 198


def test_another_kind_replaces_all_settings_of_the_old_one():
    changed = PHYSICAL.but(
        lens={"size": {"kind": "ring-mass", "mass_solar": 1e12}},
        subhalos={"profile": {"kind": "point"}, "amount": {"kind": "mean-number", "mean": 3}},
        vortex={"shape": {"kind": "beads", "number": 4}, "mass": 0.05},
        source={"redshift": {"kind": "power-law", "low": 1, "high": 2, "slope": 0}},
    )
    assert changed.lens.size.model_dump() == {
        "kind": "ring-mass",
        "mass_solar": 1e12,
        "distances": "angular-diameter",
    }
    assert changed.subhalos.profile.model_dump() == {"kind": "point"}
    assert changed.subhalos.amount.model_dump() == {"kind": "mean-number", "mean": 3}
    assert changed.vortex.shape.model_dump() == {"kind": "beads", "number": 4}
    assert changed.vortex.mass.low == changed.vortex.mass.high == 0.05
    assert changed.source.redshift.kind == "power-law"
    assert changed.lens.redshift == PHYSICAL.lens.redshift


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lens": {"shear": (0.3, 0.0)}}, "from low to high"),
        ({"lens": {"einstein_radius_arcsec": (2.0, 0.6)}}, "from low to high"),
        ({"lens": {"einstein_radius_arcsec": (1.0, 1.0)}}, "from low to high"),
        ({"lens": {"shear": (-0.1, 0.1)}}, "between 0 and 0.9"),
        ({"lens": {"axis_ratio": (0.5, 1.1)}}, "between 0 and 1"),
        ({"lens": {"slope": 3.1}}, "between 1.1 and 2.9"),
        ({"lens": {"angles": "clockwise"}}, "degrees-slip"),
        ({"lens": {"size": {"distances": "proper"}}}, "luminosity-slip"),
        ({"lens": {"size": {"kind": "virial"}}}, "velocity-dispersion"),
        ({"lens": {"size": {"kind": "velocity-dispersion"}}}, "sigma_km_per_s\n.*required"),
        ({"lens": {"light_sersic_index": 0.2}}, "between 0.36 and 10"),
        ({"lens": {"light_counts": -1}}, "between 0 and inf"),
        ({"source": {"redshift": (0.5, 1.0)}}, "behind the lens"),
        ({"source": {"redshift": 0.6}}, "behind the lens"),
        ({"source": {"redshift": 11}}, "between 0 and 10"),
        ({"subhalos": {"amount": {"kind": "mean-number", "mean": 1e19}}}, "100000"),
        ({"source": {"axis_ratio": (0.0, 1.0)}}, "above 0"),
        ({"source": {"axis_ratio": 1.5}}, "between 0 and 1"),
        ({"source": {"sersic_index": 0.3}}, "between 0.36 and 10"),
        ({"source": {"counts": 0}}, "above 0"),
        ({"source": {"counts": "many"}}, "source.counts"),
        ({"source": {"counts": float("nan")}}, "finite"),
        ({"source": {"counts": float("inf")}}, "finite"),
        ({"source": {"clumps": {"mean_number": 0.5}}}, "greater than or equal to 1"),
        ({"subhalos": {"mass_solar": {"low": 0.0}}}, "above 0"),
        ({"subhalos": {"mass_solar": {"kind": "uniform"}}}, "power-law"),
        ({"subhalos": {"density": "cuspy"}}, "central"),
        ({"subhalos": {"amount": {"kind": "surface-fraction", "fraction": 0.6}}}, "0 and 0.5"),
        ({"subhalos": {"amount": {"kind": "surface-fraction", "fraction": 0}}}, "above 0"),
        ({"subhalos": {"amount": {"fraction": 0.01}}}, "Extra inputs"),
        ({"vortex": {"mass": (0.03, 0.6)}}, "0 and 0.5"),
        ({"vortex": {"mass": "as-sphere"}}, "as-subhalos"),
        ({"vortex": {"shape": {"number": 0}}}, "greater than or equal to 1"),
        ({"vortex": {"length_arcsec": 0}}, "above 0"),
        ({"camera": {"psf_sigma_arcsec": 0}}, "greater than 0"),
        ({"camera": {"psf_sigma_arcsec": float("inf")}}, "finite"),
        ({"camera": {"sky": 3}}, "Extra inputs"),
        ({"sky_counts": 3}, "Extra inputs"),
        ({"substructure_mass_factor": -1}, "greater than or equal to 0"),
    ],
)
def test_contradictions_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        COMMON_TEST_1.but(**wrong)


def test_nothing_can_be_set_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        COMMON_TEST_1.camera.sky_counts = 3


def test_the_margin_holds_the_point_spread_function():
    assert (COMMON_TEST_1.camera.margin_pixels, DEMO.camera.margin_pixels) == (8, 4)
    assert PHYSICAL.camera.margin_pixels == 5


HEAVY = ("torch", "caustics", "joblib", "h5py", "scipy", "sklearn")


@pytest.mark.parametrize("module", ["lensbench.simulation", "lensbench.cli"])
def test_populations_are_listed_without_anything_heavy(module):
    code = f"import sys, {module}; print(set({HEAVY}) & set(sys.modules))"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
