import subprocess
import sys

import pytest
from pydantic import ValidationError

from lensbench.simulation import COMMON_TEST_1, DEMO, POPULATIONS, Population


def test_every_parameter_has_a_description():
    fields = Population.model_fields
    assert [name for name, field in fields.items() if not field.description] == []


def test_populations_are_found_by_name():
    assert POPULATIONS == {"common-test-1": COMMON_TEST_1, "demo": DEMO}


def test_a_population_survives_json():
    assert Population.model_validate_json(DEMO.model_dump_json()) == DEMO


def test_demo_differs_from_the_default_only_where_it_says():
    theirs, ours = COMMON_TEST_1.model_dump(), DEMO.model_dump()
    assert {name for name in ours if ours[name] != theirs[name]} == {
        "name",
        "about",
        "n_pixels",
        "pixel_scale_arcsec",
        "shear",
        "source_axis_ratio",
        "substructure_mass_factor",
    }


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shear": (0.3, 0.0)}, "from low to high"),
        ({"source_redshift": (0.5, 1.0)}, "behind the lens"),
        ({"source_axis_ratio": (0.0, 1.0)}, "axis ratio"),
        ({"subhalo_mass_solar": (0.0, 1e10)}, "above 0"),
        ({"distances": "proper"}, "luminosity-slip"),
        ({"sky": 3}, "Extra inputs"),
    ],
)
def test_contradictions_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        Population(name="wrong", **wrong)


def test_the_margin_holds_the_point_spread_function():
    assert (COMMON_TEST_1.margin_pixels, DEMO.margin_pixels) == (8, 4)


def test_populations_are_listed_without_torch():
    code = "import sys, lensbench.simulation; print({'torch', 'caustics'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"
