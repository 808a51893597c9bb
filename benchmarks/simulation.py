"""How fast lenses are simulated, as ratios to lenstronomy, and where the time goes.

Usage: python benchmarks/simulation.py [--seconds 60] [--n-images 3000] [--out FILE]
       [--parts lenstronomy,steps,sets,gpu]

Both make images of `common-test-1`, noise included, on one thread, turn and turn about.
lenstronomy is used as DeepLenseSim does: an image model for each image, on the frame without a
margin. Its vortex has 100 masses there, which the row says; the same 25 as ours are measured too.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from lensbench.machine import cpu_name
from lensbench.simulation import CLASSES, COMMON_TEST_1, Population, Scene, simulate
from lensbench.simulation.block import Block, blocks_of
from lensbench.simulation.engine import images_of, settle_in
from lensbench.simulation.folder import Folder
from lensbench.simulation.render import expected_counts, observe
from lensbench.simulation.stack import Stack

_SEED = 11
_N_AT_ONCE = 10
_GOALS = {"no": 2.5, "sphere": 5.0, "vort": 12.0}

Rows = list[tuple[str, ...]]


def main(
    seconds: float = 60.0,
    n_images: int = 3000,
    out: Path | None = None,
    parts: Annotated[str, tyro.conf.arg(metavar="lenstronomy,steps,sets,gpu")] = (
        "lenstronomy,steps,sets,gpu"
    ),
) -> None:
    """Measure, print tables and write them.

    Args:
        seconds: How long each class and number of rays is measured.
        n_images: Images of the data sets that are written.
        out: Markdown file for the tables.
        parts: What to measure; the last only where there is a GPU.
    """
    settle_in()
    tables: dict[str, tuple[str, tuple[str, ...], Callable[[], Rows]]] = {
        "lenstronomy": (
            "Images a second on one thread",
            ("class", "rays a pixel", "lensbench", "lenstronomy", "ratio", "goal"),
            lambda: against_lenstronomy(seconds),
        ),
        "steps": (
            "Where the time of an image goes, in ms",
            ("class", "parameters", "rays and blur", "photons", "folder", "HDF5 file"),
            by_part,
        ),
        "sets": (
            "Whole data sets",
            ("what", "measured", "beside", "ratio"),
            lambda: whole(n_images),
        ),
        "gpu": ("On the GPU", ("what", "measured"), on_gpu),
    }
    libraries = ("torch", "caustics", *(["lenstronomy"] if "lenstronomy" in parts else []))
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    lines = [f"{cpu_name()}; {versions}."]
    for part in parts.split(","):
        title, columns, measure = tables[part]
        if part == "gpu" and not torch.cuda.is_available():
            print("no GPU here: nothing is measured on one")
            continue
        rows = measure()
        table = Table(*columns, title=title)
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        lines += ["", f"**{title}**", "", f"| {' | '.join(columns)} |"]
        lines += [f"|{' --- |' * len(columns)}", *(f"| {' | '.join(row)} |" for row in rows)]
        if out is not None:
            out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def against_lenstronomy(seconds: float) -> Rows:
    """Compare images per second; each ratio is the median over turns, with its quartiles."""
    warnings.simplefilter("ignore")  # lenstronomy under NumPy 2
    rows = []
    cases = [(label, rays, 25) for label in CLASSES for rays in (1, 2)]
    cases[4:4] = [("vort", rays, 100) for rays in (1, 2)]
    for label, rays, n_beads in cases:
        population = COMMON_TEST_1.but(camera={"rays_per_pixel_side": rays})
        theirs = population.but(vortex={"shape": {"number": n_beads}})
        ours_s, theirs_s = [], []
        number, end = 1, time.perf_counter() + seconds
        while time.perf_counter() < end or len(ours_s) < 5:
            numbers = tuple(range(number, number + _N_AT_ONCE))
            number += _N_AT_ONCE
            block = Block("train", label, numbers)
            scenes = block.scenes(theirs, _SEED)
            noise = block.noise(_SEED)
            ours_s.append(seconds_of(lambda b=block, p=population: images_of(p, _SEED, b, "cpu")))
            theirs_s.append(
                seconds_of(
                    lambda s=scenes, r=noise, p=theirs: [
                        rng.poisson(lenstronomy_counts(p, scene) + p.camera.sky_counts)
                        for scene, rng in zip(s, r, strict=True)
                    ]
                )
            )
        ratios = np.divide(theirs_s, ours_s)
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        goal = _GOALS[label] if label != "vort" or n_beads == 100 else None
        rows.append(
            (
                label if label != "vort" else f"vort, {n_beads} masses in lenstronomy",
                str(rays**2),
                f"{_N_AT_ONCE / statistics.median(ours_s):.0f}",
                f"{_N_AT_ONCE / statistics.median(theirs_s):.0f}",
                f"{middle:.1f} ({low:.1f} to {high:.1f})",
                f"{goal:g}" if goal else "",
            )
        )
    return rows


def lenstronomy_counts(population: Population, scene: Scene) -> np.ndarray:
    """Return a noiseless image, (n, n): spheres, shear, points and one Sersic profile."""
    # Imported here, so that the other parts run without it.
    from lenstronomy.Data.imaging_data import ImageData
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel
    from lenstronomy.Util.param_util import phi_q2_ellipticity, shear_polar2cartesian

    camera = population.camera
    n, scale = camera.n_pixels, camera.pixel_scale_arcsec
    corner = -(n - 1) / 2 * scale
    gamma1, gamma2 = shear_polar2cartesian(np.radians(scene.shear_angle_deg), scene.shear)
    masses = scene.perturbers
    radii = scene.einstein_radius_arcsec * np.sqrt(masses.mass_solar / scene.ring_mass_solar)
    points = [
        {"theta_E": radius, "center_x": x, "center_y": y}
        for radius, x, y in zip(radii, masses.x_arcsec, masses.y_arcsec, strict=True)
    ]
    source = {name: float(values[0]) for name, values in vars(scene.source).items()}
    e1, e2 = phi_q2_ellipticity(np.radians(source["angle_deg"]), source["axis_ratio"])
    model = ImageModel(
        ImageData(
            image_data=np.zeros((n, n)),
            ra_at_xy_0=corner,
            dec_at_xy_0=corner,
            transform_pix2angle=np.eye(2) * scale,
        ),
        PSF(psf_type="GAUSSIAN", fwhm=2.3548 * camera.psf_sigma_arcsec, pixel_size=scale),
        lens_model_class=LensModel(["SIS", "SHEAR", *["POINT_MASS"] * len(points)]),
        source_model_class=LightModel(["SERSIC_ELLIPSE"]),
        kwargs_numerics={"supersampling_factor": camera.rays_per_pixel_side},
    )
    image = model.image(
        [
            {"theta_E": scene.einstein_radius_arcsec},
            {"gamma1": gamma1, "gamma2": gamma2},
            *points,
        ],
        [
            {
                "amp": source["counts"] / scale**2,
                "R_sersic": source["radius_arcsec"],
                "n_sersic": source["sersic_index"],
                "e1": e1,
                "e2": e2,
                "center_x": source["x_arcsec"],
                "center_y": source["y_arcsec"],
            }
        ],
    )
    return np.asarray(image)[::-1]


def by_part(n: int = 200) -> Rows:
    """Say how long each step takes for an image."""
    camera = COMMON_TEST_1.camera
    rows = []
    for label in CLASSES:
        block = Block("train", label, tuple(range(1, n + 1)))
        times = dict.fromkeys(("draw", "render", "photons", "folder", "stack"), 0.0)
        start = time.perf_counter()
        scenes = block.scenes(COMMON_TEST_1, _SEED)
        times["draw"] = time.perf_counter() - start
        images = []
        for scene, rng in zip(scenes, block.noise(_SEED), strict=True):
            start = time.perf_counter()
            expected = expected_counts(camera, [scene])
            times["render"] += time.perf_counter() - start
            start = time.perf_counter()
            images.append(observe(camera, expected, [rng]))
            times["photons"] += time.perf_counter() - start
        counts = np.concatenate(images)
        with tempfile.TemporaryDirectory() as folder:
            for name, target in (
                ("folder", Folder(Path(folder) / "data", camera.n_pixels)),
                ("stack", Stack(Path(folder) / "data.h5", camera.n_pixels)),
            ):
                target.begin({})
                times[name] = seconds_of(lambda t=target, b=block, c=counts: t.write(b, c))
        rows.append((label, *(f"{1e3 * value / n:.2f}" for value in times.values())))
    return rows


def whole(n_images: int) -> Rows:
    """Write data sets on one and on all cores, in both formats."""
    n = max(1, n_images // 3)
    rows: Rows = []
    with tempfile.TemporaryDirectory() as folder:

        def timed(name: str, processes: int | None) -> float:
            return seconds_of(
                lambda: simulate(
                    *(COMMON_TEST_1, Path(folder) / name, n, 0, _SEED),
                    processes=processes,
                    device="cpu",
                    progress=False,
                )
            )

        timed("warm-up.h5", None)  # processes start once
        one, every = timed("one", 1), timed("all", None)
        shutil.rmtree(Path(folder) / "one")
        stack = timed("stack.h5", None)
        rows.append(
            (
                f"{3 * n:,} images, all cores, folder",
                f"{3 * n / every:.0f} images/s",
                f"one process: {3 * n / one:.0f} images/s",
                f"{one / every:.2f}",
            )
        )
        rows.append(
            (
                "the same as one HDF5 file",
                f"{3 * n / stack:.0f} images/s",
                f"folder: {3 * n / every:.0f} images/s",
                f"{every / stack:.2f}",
            )
        )
        files = sum(file.stat().st_size for file in (Path(folder) / "all").rglob("*.npy"))
        size = (Path(folder) / "stack.h5").stat().st_size
        rows.append(
            (
                "its size",
                f"{size / 1e6:.0f} MB",
                f"folder: {files / 1e6:.0f} MB",
                f"{size / files:.3f}",
            )
        )
    return rows


def on_gpu(n_each: int = 12_500, n_compared: int = 100) -> Rows:
    """Make the whole data set on a GPU, and compare some of it with the CPU's."""
    rows: Rows = []
    with tempfile.TemporaryDirectory() as folder:
        simulate(COMMON_TEST_1, Path(folder) / "warm.h5", 100, 0, device="cuda", progress=False)
        torch.cuda.reset_peak_memory_stats()
        for name in ("data.h5", "data"):
            taken = seconds_of(
                lambda out=Path(folder) / name: simulate(
                    COMMON_TEST_1, out, n_each, 0, device="cuda", progress=False
                )
            )
            rows.append((f"{3 * n_each:,} images into {name}", f"{taken:.1f} s"))
        rows.append(("peak GPU memory", f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB"))
    blocks = blocks_of(
        {"train": dict.fromkeys(CLASSES, n_compared), "val": dict.fromkeys(CLASSES, 0)}
    )
    both = [
        (images_of(COMMON_TEST_1, _SEED, b, "cuda"), images_of(COMMON_TEST_1, _SEED, b, "cpu"))
        for b in blocks
    ]
    n_other = sum(int((one != other).sum()) for one, other in both)
    n_all = sum(one.size for one, _ in both)
    rows.append(("pixels that differ from the CPU's", f"{n_other} of {n_all:,}"))
    for label in CLASSES:
        scenes = Block("train", label, (1, 2, 3)).scenes(COMMON_TEST_1, _SEED)
        here = expected_counts(COMMON_TEST_1.camera, scenes)
        there = expected_counts(COMMON_TEST_1.camera, scenes, torch.device("cuda")).cpu()
        gap = float(((here - there).abs() / here.amax()).max())
        rows.append((f"largest difference of expected counts, {label}", f"{gap:.1e} of the peak"))
    return rows


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    tyro.cli(main)
