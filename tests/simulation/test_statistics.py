"""Simulated images as a whole: like the real ones, and no class betrayed by global statistics."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, mannwhitneyu

from lensbench.simulation import COMMON_TEST_1
from lensbench.simulation.render import expected_counts

CENTRE = np.arange(150) - 74.5
RADIUS = np.hypot(CENTRE, CENTRE[:, None])


def statistics_of(images: np.ndarray) -> dict[str, np.ndarray]:
    """Global statistics of each image, (N,)."""
    light = images - np.percentile(images, 30, axis=(1, 2), keepdims=True)
    rings = {
        f"ring {low}-{low + 15} px": images[:, (low <= RADIUS) & (low + 15 > RADIUS)].mean(1)
        for low in range(0, 75, 15)
    }
    percentiles = {
        f"percentile {q}": np.percentile(images, q, axis=(1, 2))
        for q in (5, 25, 50, 75, 90, 95, 99)
    }
    return (
        rings
        | percentiles
        | {
            "mean": images.mean((1, 2)),
            "deviation": images.std((1, 2)),
            "radius of light": (light * RADIUS).sum((1, 2)) / light.sum((1, 2)),
            "share above half": (images > 0.5).mean((1, 2)),
            "steepness": np.abs(np.diff(images)).mean((1, 2)),
            "lean": (light * CENTRE * -CENTRE[:, None]).sum((1, 2)) / light.sum((1, 2)),
            "stretch": (light * (CENTRE**2 - CENTRE[:, None] ** 2)).sum((1, 2)) / light.sum((1, 2)),
            "peak counts": peak_counts(images),
        }
    )


def peak_counts(images: np.ndarray) -> np.ndarray:
    return np.array([round(1 / np.diff(np.unique(image)).min()) for image in images])


@pytest.mark.parametrize("pair", [("sphere", "no"), ("vort", "no"), ("vort", "sphere")])
def test_no_global_statistic_separates_the_classes(simulated, pair):
    # The real classes stay within 0.40 to 0.60. Lenses and sources are the same in both classes
    # here, which takes out most of the scatter of 0.03 that an AUC of 150 images has.
    first, second = (statistics_of(simulated[label]) for label in pair)
    auc = {
        name: mannwhitneyu(values, second[name]).statistic / len(values) ** 2
        for name, values in first.items()
    }
    assert {name: value for name, value in auc.items() if not 0.42 < value < 0.58} == {}


def test_images_without_substructure_are_like_the_real_ones(simulated, real_no):
    ours, theirs = statistics_of(simulated["no"]), statistics_of(real_no)
    p_values = {name: ks_2samp(ours[name], theirs[name]).pvalue for name in ours}
    assert {name: p for name, p in p_values.items() if p < 1e-3} == {}


def test_the_sky_is_as_bright_as_the_real_one(simulated, real_no):
    corners = RADIUS > 95
    ours, theirs = (
        np.array([image[corners].var() * peak**2 for image, peak in zip(i, n, strict=True)])
        for i, n in ((images, peak_counts(images)) for images in (simulated["no"], real_no))
    )
    assert ours.mean() == pytest.approx(10, abs=0.2)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.2)


@pytest.mark.parametrize("label", ["sphere", "vort"])
def test_substructure_stands_out_of_the_noise(label, scene_of):
    changed = []
    for number in range(20):
        smooth, perturbed = (
            expected_counts(COMMON_TEST_1, [scene_of(name, number)])[0] for name in ("no", label)
        )
        variance = smooth + COMMON_TEST_1.sky_counts
        changed.append(float(((perturbed - smooth) ** 2 / variance).sum()))
    assert min(changed) > 200
    assert 1_000 < np.median(changed) < 20_000
