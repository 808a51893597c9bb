import math
from dataclasses import replace

import numpy as np
import pytest

from lensbench.simulation import CLASSES, DEMO, PHYSICAL, draw, generator
from lensbench.simulation.scene import PERTURBER_COLUMNS, Points, Strings


def scene_of(label, number=1, population=DEMO):
    return draw(population, label, generator(2, "train", label, number, "scene"))


def with_perturbers(perturbers, einstein_radius=1.0):
    return replace(scene_of("no"), perturbers=perturbers, einstein_radius_arcsec=einstein_radius)


def points(mass, x, y):
    return Points(np.array(mass, float), np.array(x, float), np.array(y, float))


def test_the_row_of_a_scene_says_what_the_scene_is():
    clumps = {"mean_number": 3, "flux_share": 0.2, "radius_arcsec": 0.05}
    scene = scene_of("sphere", population=PHYSICAL.but(source={"clumps": clumps}))
    row = scene.row()
    for name in (
        "lens_redshift",
        "source_redshift",
        "einstein_radius_arcsec",
        "ring_mass_solar",
        "lens_axis_ratio",
        "lens_angle_deg",
        "lens_slope",
        "shear",
        "shear_angle_deg",
    ):
        assert row[name] == getattr(scene, name)
    for name, values in vars(scene.source).items():
        assert row[f"source_{name}"] == values[0]
    mass = scene.perturbers.mass_solar.tolist()
    assert row["n_clumps"] == len(scene.source.counts) - 1 >= 1
    assert row["n_perturbers"] == len(mass)
    assert row["perturber_mass_solar"] == pytest.approx(math.fsum(mass), rel=1e-12)
    assert row["largest_perturber_mass_solar"] == max(mass)
    assert all(type(value) in (int, float) for value in row.values())


@pytest.mark.parametrize("population", [DEMO, PHYSICAL])
def test_rows_of_all_classes_have_the_same_columns(population):
    rows = [scene_of(label, population=population).row() for label in CLASSES]
    assert list(rows[0]) == list(rows[1]) == list(rows[2])


def test_the_row_of_a_smooth_lens_has_no_substructure():
    row = scene_of("no").row()
    assert (row["n_perturbers"], row["perturber_mass_solar"]) == (0, 0)
    assert row["largest_perturber_mass_solar"] == 0
    assert math.isnan(row["ring_distance_arcsec"])
    assert scene_of("no").perturber_rows() == []


def test_smooth_takes_the_substructure_away_and_nothing_else():
    scene = scene_of("vort")
    smooth = scene.smooth()
    assert len(smooth.perturbers.mass_solar) == 0
    assert replace(smooth, perturbers=scene.perturbers) == scene
    assert len(scene.perturbers.mass_solar) == 25


@pytest.mark.parametrize(
    ("population", "label"), [(DEMO, "sphere"), (PHYSICAL, "sphere"), (PHYSICAL, "vort")]
)
def test_every_perturber_has_a_row(population, label):
    scene = scene_of(label, 3, population)
    rows = scene.perturber_rows()
    columns = vars(scene.perturbers)
    assert len(rows) == len(scene.perturbers.mass_solar) > 0
    for number, row in enumerate(rows):
        assert row == {name: values[number] for name, values in columns.items()}
        assert set(row) <= set(PERTURBER_COLUMNS)


def test_columns_are_those_of_all_kinds_once():
    assert PERTURBER_COLUMNS == (
        "mass_solar",
        "x_arcsec",
        "y_arcsec",
        "scale_radius_arcsec",
        "truncation",
        "length_arcsec",
        "angle_deg",
        "core_arcsec",
    )


@pytest.mark.parametrize(
    ("perturbers", "distance"),
    [
        (points([1], [0], [0]), 1.0),
        (points([1], [0], [1.5]), 0.5),
        (points([4, 1], [3, 1], [0, 0]), 2.0),  # too light to count
        (points([4, 2], [3, 1], [0, 0]), 0.0),  # half as heavy counts
        (points([4, 3, 1], [0.6, 0.9, 1], [0.8, 1.2, 0]), 0.0),
        (points([0, 0], [3, 2], [0, 0]), 1.0),
    ],
)
def test_the_distance_from_the_ring_is_that_of_the_nearest_heavy_one(perturbers, distance):
    row = with_perturbers(perturbers).row()
    assert row["ring_distance_arcsec"] == pytest.approx(distance, abs=1e-12)


def test_the_distance_from_the_ring_by_brute_force():
    for number in range(20):
        scene = scene_of("sphere", number)
        masses, *at = vars(scene.perturbers).values()
        distances = [
            abs(math.sqrt(x * x + y * y) - scene.einstein_radius_arcsec)
            for mass, x, y in zip(masses, *at, strict=True)
            if 2 * mass >= max(masses)
        ]
        assert scene.row()["ring_distance_arcsec"] == pytest.approx(min(distances), rel=1e-12)


@pytest.mark.parametrize(
    ("x", "y", "angle", "distance"),
    [
        (0, 0, 30, 0.0),  # from the centre outwards, and across the ring
        (0, 2, 0, 1.0),
        (2, 0, 90, 1.0),
        (0, 0.5, 90, 0.0),
        (3, 0, 0, 1.0),  # begins at 2
        (0, 3, 90, 1.0),
        (3, 0, 90, 2.0),
    ],
)
def test_the_distance_of_a_string_is_that_of_its_nearest_point(x, y, angle, distance):
    columns = [np.array([float(value)]) for value in (1e9, x, y, 2, angle, 0.05)]
    row = with_perturbers(Strings(*columns)).row()
    # The string is looked at every hundredth of its length.
    assert row["ring_distance_arcsec"] == pytest.approx(distance, abs=0.011)
