"""Simulated lenses: a contact sheet of a population, and one lens taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import CenteredNorm, LogNorm, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lensbench.figures.style import SKY, VERMILION, new_axes, styled
from lensbench.simulation.scene import Points, Scene, Strings
from lensbench.simulation.views import Anatomy, Example

_LIGHT = "magma"
# Area of all dots together, in square points.
_DOTS = 200.0
_N_ARROWS = 13
_LEAST_CONVERGENCE, _LARGEST_CONVERGENCE = 0.1, 10.0
_EXPONENTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


@styled()
def draw_example(example: Example, ax: Axes | None = None) -> Axes:
    """Draw an image, square-root stretched, and below it what was drawn for it."""
    ax = ax or new_axes(2.3, 2.9)
    ax.imshow(np.sqrt(example.image), cmap=_LIGHT, vmin=0, vmax=1)
    ax.grid(visible=False)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_xlabel(_parameters(example.scene), fontsize=8, labelpad=4, loc="left")
    return ax


@styled()
def draw_contact_sheet(examples: Sequence[Example], title: str | None = None) -> Figure:
    """Draw a row of images for each class.

    Args:
        examples: Images, those of a class one after another.
        title: What they were drawn from.
    """
    rows = [(label, list(group)) for label, group in groupby(examples, key=lambda e: e.label)]
    n_columns = max(len(row) for _, row in rows)
    size = (0.4 + 1.95 * n_columns, 0.75 + 2.5 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), n_columns, squeeze=False)
    for axes, (label, row) in zip(grid, rows, strict=True):
        for ax, example in zip(axes, row, strict=False):
            draw_example(example, ax)
        for ax in axes[len(row) :]:
            ax.set_axis_off()
        axes[0].set_ylabel(label, fontsize=11, weight="bold")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    figure.supxlabel(
        "off the ring: from the Einstein ring to the nearest mass of at least half the heaviest",
        fontsize=8,
        x=0.01,
        ha="left",
    )
    return figure


@styled()
def draw_anatomy(anatomy: Anatomy) -> Figure:
    """Draw how an image comes about: mass, deflection and source above, images below."""
    figure = Figure(figsize=(13, 7.7), layout=ConstrainedLayoutEngine(w_pad=0.1))
    upper, lower = figure.subplots(2, 3)
    draw_convergence(anatomy, upper[0])
    draw_deflection(anatomy, upper[1])
    draw_source_plane(anatomy, upper[2])
    draw_expected(anatomy, lower[0])
    draw_observed(anatomy, lower[1])
    draw_difference(anatomy, lower[2])
    for ax in (*upper[1:], *lower[1:]):
        ax.set_ylabel("")
    scene = anatomy.scene
    figure.suptitle(
        f"{anatomy.name}: lens at redshift {scene.lens_redshift:.2f}, "
        f"source at {scene.source_redshift:.2f}, Einstein radius "
        f"{scene.einstein_radius_arcsec:.2f}″, shear {scene.shear:.2f}, "
        + substructure_text(scene.perturbers),
        x=0.01,
        ha="left",
    )
    return figure


@styled()
def draw_convergence(anatomy: Anatomy, ax: Axes | None = None) -> Axes:
    """Draw the convergence, with masses as dots of areas in proportion, strings as lines."""
    norm = LogNorm(_LEAST_CONVERGENCE, _LARGEST_CONVERGENCE, clip=True)
    ax = _draw_frame(
        anatomy,
        anatomy.convergence,
        "Convergence (mean of a pixel)",
        ax,
        cmap="cividis",
        norm=norm,
        extend="max",
    )
    masses = anatomy.scene.perturbers
    if isinstance(masses, Strings):
        angle = np.radians(masses.angle_deg)
        half = masses.length_arcsec / 2 * np.array([np.cos(angle), np.sin(angle)])
        ends_x = np.array([masses.x_arcsec - half[0], masses.x_arcsec + half[0]])
        ends_y = np.array([masses.y_arcsec - half[1], masses.y_arcsec + half[1]])
        ax.plot(ends_x, ends_y, color=VERMILION, linewidth=2)
    elif masses.mass_solar.any():
        ax.scatter(
            masses.x_arcsec,
            masses.y_arcsec,
            s=_DOTS * masses.mass_solar / masses.mass_solar.sum(),
            facecolor=VERMILION,
            edgecolor="white",
            linewidth=0.4,
        )
    ax.set_title("Mass")
    return ax


@styled()
def draw_deflection(anatomy: Anatomy, ax: Axes | None = None) -> Axes:
    """Draw how far rays are deflected, and in which direction their images are shifted."""
    by_x, by_y = anatomy.deflection_x_arcsec, anatomy.deflection_y_arcsec
    size = np.hypot(by_x, by_y)
    norm = Normalize(0, float(np.quantile(size, 0.999)))
    ax = _draw_frame(anatomy, size, "Deflection (arcsec)", ax, norm=norm, extend="max")
    step = max(1, len(size) // _N_ARROWS)
    every = slice(step // 2, None, step)
    x = (np.arange(len(size)) + 0.5) * anatomy.pixel_scale_arcsec - anatomy.half_width_arcsec
    ax.quiver(
        x[every],
        -x[every],
        by_x[every, every] / size[every, every],
        by_y[every, every] / size[every, every],
        color="white",
        scale=1.6 * _N_ARROWS,
        width=0.004,
        pivot="mid",
    )
    ax.set_title("Deflection")
    return ax


@styled()
def draw_source_plane(anatomy: Anatomy, ax: Axes | None = None) -> Axes:
    """Draw the source as it would be seen without a lens, and the caustics."""
    half = anatomy.source_half_width_arcsec
    norm = PowerNorm(0.5, vmin=0, vmax=float(anatomy.source.max()))
    ax = _draw_image(anatomy.source, half, "Counts per pixel", ax, cmap=_LIGHT, norm=norm)
    _draw_curve(ax, anatomy.caustic_x_arcsec, anatomy.caustic_y_arcsec)
    ax.set_title("Source, and caustics")
    return ax


@styled()
def draw_expected(anatomy: Anatomy, ax: Axes | None = None) -> Axes:
    """Draw the image without noise, and the critical curves."""
    norm = PowerNorm(0.5, vmin=0, vmax=float(anatomy.expected.max()))
    ax = _draw_frame(
        anatomy, anatomy.expected, "Counts per pixel, without the sky", ax, cmap=_LIGHT, norm=norm
    )
    _draw_curve(ax, anatomy.critical_x_arcsec, anatomy.critical_y_arcsec)
    ax.set_title("Image without noise, and critical curves")
    return ax


@styled()
def draw_observed(anatomy: Anatomy, ax: Axes | None = None) -> Axes:
    """Draw the image as it is written."""
    norm = PowerNorm(0.5, vmin=0, vmax=float(anatomy.observed.max()))
    ax = _draw_frame(
        anatomy, anatomy.observed, "Counts above the lowest", ax, cmap=_LIGHT, norm=norm
    )
    ax.set_title("Image with noise")
    return ax


@styled()
def draw_difference(anatomy: Anatomy, ax: Axes | None = None) -> Axes:
    """Draw what the substructure does to the image, in standard deviations of the noise."""
    norm = CenteredNorm(halfrange=float(np.abs(anatomy.difference).max()))
    ax = _draw_frame(
        anatomy,
        anatomy.difference,
        "Standard deviations of the noise",
        ax,
        cmap="RdBu_r",
        norm=norm,
    )
    ax.set_title("What the substructure does")
    return ax


def substructure_text(perturbers: Points) -> str:
    """Say how much substructure there is."""
    n, mass = len(perturbers.mass_solar), _mass_text(float(perturbers.mass_solar.sum()))
    if not n:
        return "no substructure"
    if isinstance(perturbers, Strings):
        return f"string of {mass}" if n == 1 else f"{n} strings, {mass}"
    return f"1 mass, {mass}" if n == 1 else f"{n} masses, {mass}"


def _parameters(scene: Scene) -> str:
    lines = [f"ring {scene.einstein_radius_arcsec:.2f}″, shear {scene.shear:.2f}"]
    lines.append(substructure_text(scene.perturbers))
    distance = scene.row()["ring_distance_arcsec"]
    lines.append("" if np.isnan(distance) else f"{distance:.2f}″ off the ring")
    return "\n".join(lines)


def _mass_text(mass_solar: float) -> str:
    if not mass_solar:
        return "0 M☉"
    digits, exponent = f"{mass_solar:.1e}".split("e")
    return f"{digits}·10{str(int(exponent)).translate(_EXPONENTS)} M☉"


def _draw_frame(
    anatomy: Anatomy, values: NDArray[np.float64], quantity: str, ax: Axes | None, **options: Any
) -> Axes:
    return _draw_image(values, anatomy.half_width_arcsec, quantity, ax, **options)


def _draw_image(
    values: NDArray[np.float64],
    half: float,
    quantity: str,
    ax: Axes | None,
    extend: str = "neither",
    **options: Any,
) -> Axes:
    """Draw a square of the sky with its colour bar."""
    ax = ax or new_axes(4.6, 3.9)
    image = ax.imshow(values, extent=(-half, half, -half, half), **options)
    ax.autoscale(enable=False)
    ax.grid(visible=False)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.set(xlabel="x (arcsec)", ylabel="y (arcsec)")
    # Its own formats are mathematics, which the style leaves as text.
    log: dict[str, Any] = {"format": "{x:g}"} if isinstance(image.norm, LogNorm) else {}
    bar = ax.figure.colorbar(image, ax=ax, extend=extend, fraction=0.046, pad=0.03, **log)
    bar.set_label(quantity)
    bar.outline.set_visible(False)
    return ax


def _draw_curve(ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    pieces = np.stack((x, y), axis=-1)
    ax.add_collection(LineCollection(list(pieces), colors=SKY, linewidths=1))
