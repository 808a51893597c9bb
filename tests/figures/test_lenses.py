from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from lensbench.figures.lenses import (
    draw_anatomy,
    draw_contact_sheet,
    draw_convergence,
    draw_deflection,
    draw_difference,
    draw_example,
    draw_expected,
    draw_observed,
    draw_source_plane,
    substructure_text,
)
from lensbench.simulation.scene import NOTHING, Haloes, Light, Points, Scene, Strings
from lensbench.simulation.views import Anatomy, Example

N, SIDE = 40, 0.1
PANELS = pytest.mark.parametrize(
    "draw",
    [
        draw_convergence,
        draw_deflection,
        draw_source_plane,
        draw_expected,
        draw_observed,
        draw_difference,
    ],
    ids=lambda draw: draw.__name__.removeprefix("draw_"),
)

POINTS = Points(np.array([1e9, 4e9, 2e6]), np.array([0.5, -1.0, 0.0]), np.array([-0.7, 1.2, 1.9]))
STRING = Strings(*(np.array([value]) for value in (3.5e9, 0.2, -0.4, 2.0, 90.0, 0.05)))


def make_scene(perturbers: Points) -> Scene:
    values = ([0.1], [0.2], [0.8], [30.0], [1.0], [0.3], [100.0])
    return Scene(
        lens_redshift=0.5,
        source_redshift=1.25,
        einstein_radius_arcsec=1.3,
        ring_mass_solar=1e12,
        lens_axis_ratio=1.0,
        lens_angle_deg=0.0,
        lens_slope=2.0,
        shear=0.07,
        shear_angle_deg=0.0,
        source=Light(*map(np.array, values)),
        lens_light=Light(*[np.empty(0)] * 7),
        perturbers=perturbers,
    )


def make_anatomy(perturbers: Points = POINTS, **changes) -> Anatomy:
    rng = np.random.default_rng(0)
    images = rng.random((7, N, N))
    return replace(
        Anatomy(
            name="train/sphere/3.npy",
            label="sphere",
            scene=make_scene(perturbers),
            pixel_scale_arcsec=SIDE,
            convergence=images[0],
            deflection_x_arcsec=images[1],
            deflection_y_arcsec=images[2] - 0.5,
            critical_x_arcsec=rng.uniform(-1, 1, (9, 2)),
            critical_y_arcsec=rng.uniform(-1, 1, (9, 2)),
            caustic_x_arcsec=rng.uniform(-0.5, 0.5, (9, 2)),
            caustic_y_arcsec=rng.uniform(-0.5, 0.5, (9, 2)),
            source=images[3],
            source_half_width_arcsec=0.7,
            expected=500 * images[4],
            observed=np.round(500 * images[5]),
            difference=images[6] - 0.9,
        ),
        **changes,
    )


def make_example(label: str = "no", number: int = 1, perturbers: Points = NOTHING) -> Example:
    image = np.random.default_rng(number).random((N, N))
    return Example(f"train/{label}/{number}.npy", label, make_scene(perturbers), image)


def test_masses_are_marked_where_they_are_with_areas_in_proportion():
    [dots] = draw_convergence(make_anatomy()).collections
    np.testing.assert_array_equal(dots.get_offsets(), np.c_[POINTS.x_arcsec, POINTS.y_arcsec])
    areas = dots.get_sizes()
    np.testing.assert_allclose(areas / areas[0], POINTS.mass_solar / 1e9)


def test_haloes_are_marked_as_masses_are():
    haloes = Haloes(*vars(POINTS).values(), np.full(3, 0.1), np.full(3, 5.0))
    [dots] = draw_convergence(make_anatomy(haloes)).collections
    assert len(dots.get_offsets()) == 3


def test_a_string_is_marked_from_end_to_end():
    ax = draw_convergence(make_anatomy(STRING))
    [line] = ax.lines
    np.testing.assert_allclose(line.get_xydata(), [[0.2, -1.4], [0.2, 0.6]], atol=1e-12)
    assert not ax.collections


def test_nothing_is_marked_where_there_is_nothing():
    ax = draw_convergence(make_anatomy(NOTHING))
    assert not ax.collections
    assert not ax.lines


def test_a_pixel_without_convergence_is_drawn_as_the_faintest():
    convergence = np.full((N, N), 1.0)
    convergence[0, 0], convergence[0, 1] = -2.0, 0.0
    [image] = draw_convergence(make_anatomy(convergence=convergence)).images
    shown = image.to_rgba(image.get_array())
    np.testing.assert_array_equal(shown[0, 0], shown[0, 1])
    np.testing.assert_array_equal(shown[0, 0], image.cmap(0.0))


@PANELS
def test_the_first_row_is_at_the_top_and_axes_are_in_arcseconds(draw):
    anatomy = make_anatomy()
    ax = draw(anatomy)
    [image] = ax.images
    half = anatomy.source_half_width_arcsec if draw is draw_source_plane else N * SIDE / 2
    assert image.get_extent() == pytest.approx([-half, half, -half, half])
    assert image.origin == "upper"
    assert (ax.get_xlim(), ax.get_ylim()) == ((-half, half), (-half, half))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (arcsec)", "y (arcsec)")


@pytest.mark.parametrize("perturbers", [POINTS, STRING], ids=["points", "string"])
def test_what_lies_outside_the_frame_does_not_widen_it(perturbers):
    far = replace(perturbers, x_arcsec=perturbers.x_arcsec + 3)
    ax = draw_convergence(make_anatomy(far))
    ax.figure.draw_without_rendering()
    assert (ax.get_xlim(), ax.get_ylim()) == ((-2, 2), (-2, 2))


@PANELS
def test_every_panel_has_a_title_and_a_bar_that_names_its_quantity(draw):
    ax = draw(make_anatomy())
    ax.figure.draw_without_rendering()
    _, bar = ax.figure.axes
    assert ax.get_title(loc="left")
    assert bar.get_ylabel()
    # The style shows mathematics as it is written.
    assert not [label for label in bar.get_yticklabels() if "$" in label.get_text()]


@PANELS
def test_it_draws_where_it_is_told(draw):
    ax = Figure().add_subplot()
    assert draw(make_anatomy(), ax) is ax


@pytest.mark.parametrize(
    ("draw", "name", "quantity"),
    [
        (draw_source_plane, "source", "Counts per pixel"),
        (draw_expected, "expected", "Counts per pixel, without the sky"),
        (draw_observed, "observed", "Counts above the lowest"),
        (draw_difference, "difference", "Standard deviations of the noise"),
    ],
)
def test_panels_show_their_numbers(draw, name, quantity):
    anatomy = make_anatomy()
    ax = draw(anatomy)
    np.testing.assert_array_equal(ax.images[0].get_array(), getattr(anatomy, name))
    assert ax.figure.axes[1].get_ylabel() == quantity


@pytest.mark.parametrize(
    ("draw", "curve"), [(draw_source_plane, "caustic"), (draw_expected, "critical")]
)
def test_curves_are_drawn_piece_by_piece(draw, curve):
    anatomy = make_anatomy()
    [pieces] = draw(anatomy).collections
    drawn = np.array(pieces.get_segments())
    np.testing.assert_array_equal(drawn[..., 0], getattr(anatomy, f"{curve}_x_arcsec"))
    np.testing.assert_array_equal(drawn[..., 1], getattr(anatomy, f"{curve}_y_arcsec"))


@pytest.mark.parametrize("curves", [(), ("critical", "caustic")])
def test_a_lens_without_curves_is_drawn(curves):
    none = {f"{curve}_{axis}_arcsec": np.empty((0, 2)) for curve in curves for axis in "xy"}
    draw_anatomy(make_anatomy(**none)).draw_without_rendering()


def test_arrows_point_along_the_deflection_at_their_place():
    axis = (np.arange(N) - (N - 1) / 2) * SIDE
    x, y = np.meshgrid(axis, axis[::-1])
    ax = draw_deflection(make_anatomy(deflection_x_arcsec=2 * x, deflection_y_arcsec=2 * y))
    [arrows] = ax.collections
    at = np.array(arrows.get_offsets())
    direction = np.c_[np.ravel(arrows.U), np.ravel(arrows.V)]
    np.testing.assert_allclose(direction, at / np.hypot(*at.T)[:, None], atol=1e-9)
    np.testing.assert_allclose(ax.images[0].get_array(), 2 * np.hypot(x, y))


def test_no_difference_is_the_middle_of_the_colours():
    for difference in (np.zeros((N, N)), make_anatomy().difference):
        [image] = draw_difference(make_anatomy(difference=difference)).images
        assert image.norm(0.0) == pytest.approx(0.5)
        assert image.norm.vmax == -image.norm.vmin > 0
        assert min(image.to_rgba(0.0)[:3]) > 0.95


def test_the_anatomy_holds_six_panels_within_the_figure():
    figure = draw_anatomy(make_anatomy())
    figure.draw_without_rendering()
    panels = [ax for ax in figure.axes if ax.images]
    assert len(panels) == 6
    inside = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert inside.x0 >= 0
    assert inside.y0 >= 0
    assert inside.x1 <= width
    assert inside.y1 <= height
    title = figure.get_suptitle()
    assert title.startswith("train/sphere/3.npy")
    assert "Einstein radius 1.30″, shear 0.07, 3 masses, 5.0·10⁹ M☉" in title


def test_the_sheet_has_a_row_for_each_class_with_its_images():
    labels = {"no": NOTHING, "sphere": POINTS, "vort": STRING}
    examples = [
        make_example(label, number, perturbers)
        for label, perturbers in labels.items()
        for number in (1, 2)
    ]
    figure = draw_contact_sheet(examples, "demo, seed 1")
    assert figure.get_suptitle() == "demo, seed 1"
    assert [ax.get_ylabel() for ax in figure.axes] == ["no", "", "sphere", "", "vort", ""]
    for ax, example in zip(figure.axes, examples, strict=True):
        [image] = ax.images
        np.testing.assert_allclose(image.get_array() ** 2, example.image)
        assert image.get_clim() == (0, 1)
        assert image.origin == "upper"


def test_a_sheet_with_fewer_images_in_a_class_leaves_places_empty():
    examples = [make_example("no", 1), make_example("no", 2), make_example("vort", 1, STRING)]
    figure = draw_contact_sheet(examples)
    assert [len(ax.images) for ax in figure.axes] == [1, 1, 1, 0]
    assert not figure.axes[3].axison


@pytest.mark.parametrize(
    ("perturbers", "lines"),
    [
        (NOTHING, ["no substructure", ""]),
        # From the ring to the only mass of at least half the heaviest.
        (POINTS, ["3 masses, 5.0·10⁹ M☉", f"{np.hypot(1.0, 1.2) - 1.3:.2f}″ off the ring"]),
        # Its lower end is 1.41" from the centre, its upper one 0.63".
        (STRING, ["string of 3.5·10⁹ M☉", "0.00″ off the ring"]),
    ],
    ids=["no", "points", "string"],
)
def test_an_example_says_what_was_drawn_for_it(perturbers, lines):
    text = draw_example(make_example(perturbers=perturbers)).get_xlabel()
    assert text.split("\n") == ["ring 1.30″, shear 0.07", *lines]


@pytest.mark.parametrize(
    ("masses", "text"),
    [
        ([], "no substructure"),
        ([9.96e9], "1 mass, 1.0·10¹⁰ M☉"),
        ([2e6, 5e5], "2 masses, 2.5·10⁶ M☉"),
        ([0.0, 0.0], "2 masses, 0 M☉"),
    ],
)
def test_masses_are_written_with_two_digits(masses, text):
    mass = np.array(masses)
    assert substructure_text(Points(mass, mass, mass)) == text


def test_masses_of_nothing_are_drawn():
    weightless = Points(np.zeros(2), np.zeros(2), np.zeros(2))
    draw_anatomy(make_anatomy(weightless)).draw_without_rendering()


def test_marks_stand_out_from_what_is_below():
    [dots] = draw_convergence(make_anatomy()).collections
    [image] = draw_convergence(make_anatomy()).images
    colours = image.cmap(np.linspace(0, 1, 50))[:, :3]
    assert np.abs(colours - to_rgb(dots.get_facecolor()[0])).max(1).min() > 0.2
