"""Simulated images as a whole: like the originals, and no class betrayed by global statistics."""

from itertools import combinations

import numpy as np
import pytest
from scipy import fft, ndimage
from scipy.stats import chi2, ks_2samp, mannwhitneyu, norm

from lensbench.simulation import CLASSES, COMMON_TEST_1, PHYSICAL, Population, generator
from lensbench.simulation.knobs import shifted
from lensbench.simulation.render import expected_counts, normalised, observe

from .conftest import ORIGINALS

# Each group of tests cries wolf with this probability, however many statistics it looks at.
FAMILY_WISE = 0.01

N_NO, N_CLASS, N_PHYSICAL, N_SHIFTED, N_PERMUTATIONS = 600, 150, 100, 60, 1_999

CENTRE = np.arange(150) - 74.5
RADIUS = np.hypot(CENTRE, CENTRE[:, None])
CORNERS = RADIUS > 95
RADII_PX = (*range(5, 75, 5), 74)
PERCENTILES = (1, 5, 25, 50, 75, 90, 95, 99, 99.9)
WAVES = (1, 2, 4, 8, 12, 16, 20, 25, 30)
HANN = np.hanning(150) * np.hanning(150)[:, None]
WAVE_NUMBER = np.hypot(np.fft.rfftfreq(150), np.fft.fftfreq(150)[:, None]) * 150
WAVE_NUMBER = WAVE_NUMBER.round().astype(int)
RIDGE_PX = np.arange(5, 74.5, 0.5)
DIRECTIONS = 2 * np.pi * np.arange(72) / 72
ALONG_RIDGE = np.stack((-np.sin(DIRECTIONS), np.cos(DIRECTIONS)))[:, None] * RIDGE_PX[:, None]
ALONG_RIDGE += 74.5

Statistics = dict[str, np.ndarray]


def statistics_of(images: np.ndarray) -> Statistics:
    """Global statistics of each image, (N,): those of design/SIMULATOR.md, and more."""
    light = images - np.percentile(images, 30, axis=(1, 2), keepdims=True)
    flux = light.sum((1, 2))
    return {
        **dict(zip(map("percentile {}".format, PERCENTILES), percentiles_of(images), strict=True)),
        **{f"at {r} px": images[:, np.rint(RADIUS) == r].mean(1) for r in RADII_PX},
        **spectra_of(images),
        **ridges_of(images),
        "mean": images.mean((1, 2)),
        "deviation": images.std((1, 2)),
        "radius of light": (light * RADIUS).sum((1, 2)) / flux,
        "share above half": (images > 0.5).mean((1, 2)),
        "steepness": np.abs(np.diff(images)).mean((1, 2)),
        "centre x": (light * CENTRE).sum((1, 2)) / flux,
        "centre y": (light * -CENTRE[:, None]).sum((1, 2)) / flux,
        "lean": (light * CENTRE * -CENTRE[:, None]).sum((1, 2)) / flux,
        "stretch": (light * (CENTRE**2 - CENTRE[:, None] ** 2)).sum((1, 2)) / flux,
    }


def counts_of(images: np.ndarray) -> Statistics:
    """What is known of original images alone, whose values are counts over the peak's counts."""
    peak = peak_counts(images)
    return {
        "peak counts": peak,
        "sky in the corners": images[:, CORNERS].mean(1) * peak,
        "variance in the corners": images[:, CORNERS].var(1) * peak**2,
    }


def described(images: np.ndarray) -> Statistics:
    return statistics_of(images) | counts_of(images)


def peak_counts(images: np.ndarray) -> np.ndarray:
    return np.array([round(1 / np.diff(np.unique(image)).min()) for image in images])


def percentiles_of(images: np.ndarray) -> np.ndarray:
    return np.percentile(images.reshape(len(images), -1), PERCENTILES, axis=1)


def spectra_of(images: np.ndarray) -> Statistics:
    """Logarithms of the power at some numbers of waves per image."""
    window = HANN / np.sqrt((HANN**2).sum())
    powers = np.abs(fft.rfft2((images - images.mean((1, 2), keepdims=True)) * window)) ** 2
    # Of each pair k and -k, a real transform holds one.
    twice = np.where(np.isin(np.arange(76), (0, 75)), 1, 2) * np.ones((150, 1))
    n_waves = np.bincount(WAVE_NUMBER.ravel(), twice.ravel())
    sums = np.stack([np.bincount(WAVE_NUMBER.ravel(), (twice * p).ravel()) for p in powers])
    spectrum = np.log10(sums / n_waves)
    k = np.arange(spectrum.shape[1])

    def slope(low: int, high: int) -> np.ndarray:
        return np.polyfit(np.log10(k[low : high + 1]), spectrum[:, low : high + 1].T, 1)[0]

    return {f"power at {wave}": spectrum[:, wave] for wave in WAVES} | {
        "power above 40": np.log10((sums / n_waves)[:, 40:75].mean(1)),
        "slope 2-8": slope(2, 8),
        "slope 8-20": slope(8, 20),
    }


def ridges_of(images: np.ndarray) -> Statistics:
    """The brightest radius along each direction, after smoothing by a pixel."""
    values = np.stack(
        [
            ndimage.map_coordinates(ndimage.gaussian_filter(i, 1, truncate=3), ALONG_RIDGE, order=1)
            for i in images
        ]
    )
    radius, brightness = RIDGE_PX[values.argmax(1)], values.max(1)
    return {
        "median ridge": np.median(radius, axis=1),
        "least ridge": radius.min(1),
        "largest ridge": radius.max(1),
        "faintest over brightest ridge": brightness.min(1) / brightness.max(1),
    }


def in_8_bits(images: np.ndarray) -> np.ndarray:
    """The middle of the interval that floor(256 x value) leaves."""
    return (np.minimum(np.floor(256 * images), 255) + 0.5) / 256


def original(folder: str) -> np.ndarray:
    files = sorted((ORIGINALS / folder).glob("*.npy"))
    if not files:
        pytest.skip(f"no images of Common Test I in {ORIGINALS / folder}")
    images = np.concatenate([np.load(file) for file in files])
    return (images + 0.5) / 256 if images.dtype == np.uint8 else images


def originals_in_8_bits(label: str) -> np.ndarray:
    return np.concatenate(
        (in_8_bits(original(f"exact/{label}")), original(f"rendered_8bit/{label}"))
    )


def images_of(population: Population, scenes: list, label: str, first: int = 0) -> np.ndarray:
    """Expose scenes, (N, H, W); with the same numbers, the noise is that of the fixtures."""
    camera = population.camera
    noise = [generator(7, "train", label, first + i, "noise") for i in range(len(scenes))]
    return np.concatenate(
        [
            normalised(observe(camera, expected_counts(camera, [scene]), [rng]))[:, 0]
            for scene, rng in zip(scenes, noise, strict=True)
        ]
    )


@pytest.fixture(scope="module")
def ours(simulate_images, scene_of) -> dict[str, np.ndarray]:
    """Images like those of Common Test I, and more of them without substructure."""
    images = simulate_images(COMMON_TEST_1, N_CLASS)
    more = [scene_of("no", number) for number in range(N_CLASS, N_NO)]
    return images | {
        "no": np.concatenate((images["no"], images_of(COMMON_TEST_1, more, "no", N_CLASS)))
    }


@pytest.fixture(scope="module")
def ours_in_8_bits(ours) -> dict[str, Statistics]:
    return {label: statistics_of(in_8_bits(images[:N_CLASS])) for label, images in ours.items()}


@pytest.fixture(scope="module")
def ours_without_substructure(ours) -> Statistics:
    return described(ours["no"])


@pytest.fixture(scope="module")
def of_classes(
    simulate_images, ours, ours_without_substructure
) -> dict[str, dict[str, Statistics]]:
    """Statistics of as many images of each class, with the same lenses and sources."""
    physical = simulate_images(PHYSICAL, N_PHYSICAL)
    smooth = {name: values[:N_CLASS] for name, values in ours_without_substructure.items()}
    return {
        PHYSICAL.name: {label: described(physical[label]) for label in CLASSES},
        COMMON_TEST_1.name: {
            label: described(ours[label]) if label != "no" else smooth for label in CLASSES
        },
    }


@pytest.mark.slow
@pytest.mark.parametrize("pair", list(combinations(CLASSES, 2)), ids="-".join)
@pytest.mark.parametrize("population", [COMMON_TEST_1.name, PHYSICAL.name])
def test_no_global_statistic_separates_the_classes(of_classes, population, pair):
    # The originals stay within 0.40 to 0.60. Lenses and sources are the same in both classes here,
    # which takes out most of the scatter of 0.03 that an AUC of 150 images has.
    first, second = (of_classes[population][label] for label in pair)
    auc = {
        name: mannwhitneyu(values, second[name]).statistic / len(values) ** 2
        for name, values in first.items()
    }
    assert {name: value for name, value in auc.items() if not 0.42 < value < 0.58} == {}


def kolmogorov_distances(first: Statistics, second: Statistics) -> tuple[dict[str, float], float]:
    """Distances of Kolmogorov and Smirnov, and what none exceeds but by rare chance.

    Which image is of which sample is permuted: since all statistics are permuted together, the
    bound on the largest distance (Westfall & Young 1993, sect. 2.3) holds whatever their
    correlation. It is exact, and as family-wise as each of the four tests of it needs.
    """
    pooled = {name: np.concatenate((values, second[name])) for name, values in first.items()}
    n, m = (len(next(iter(sample.values()))) for sample in (first, second))
    weight = np.repeat(np.float32([1 / n, -1 / m]), (n, m))
    rng = np.random.default_rng(0)
    weights = np.stack([weight, *(rng.permutation(weight) for _ in range(N_PERMUTATIONS))])
    distances = {}
    for name, values in pooled.items():
        order = np.argsort(values)
        is_last = np.append(np.diff(values[order]) > 0, True)  # of equal values
        distances[name] = np.abs(weights[:, order].cumsum(1)[:, is_last]).max(1)
    largest = np.max(list(distances.values()), axis=0)
    bound = float(np.quantile(largest[1:], 1 - FAMILY_WISE / 4))
    return {name: float(permuted[0]) for name, permuted in distances.items()}, bound


def test_distances_and_their_bound_are_those_of_kolmogorov_and_smirnov():
    rng = np.random.default_rng(1)
    first, second = {"x": rng.normal(size=200)}, {"x": rng.normal(0.3, 1, 150)}
    _, bound = kolmogorov_distances(first, second)
    # Of one statistic without ties, their law of large samples is known.
    known = np.sqrt(-np.log(FAMILY_WISE / 4 / 2) / 2 * (1 / 200 + 1 / 150))
    assert bound == pytest.approx(known, rel=0.05)
    with_ties = first["x"].round(1), second["x"].round(1)
    distances, _ = kolmogorov_distances(*({"x": values} for values in with_ties))
    assert distances["x"] == pytest.approx(ks_2samp(*with_ties).statistic, abs=1e-6)


@pytest.mark.slow
def test_images_without_substructure_are_like_the_originals(ours_without_substructure, original_no):
    theirs = np.concatenate((original_no, original("exact/no")))
    distances, bound = kolmogorov_distances(ours_without_substructure, described(theirs))
    assert bound < 0.16  # so much may two distributions differ
    assert {name: d for name, d in distances.items() if d > bound} == {}


@pytest.mark.slow
@pytest.mark.parametrize("label", CLASSES)
def test_images_of_every_class_are_like_the_originals_in_8_bits(ours_in_8_bits, label):
    distances, bound = kolmogorov_distances(
        ours_in_8_bits[label], statistics_of(originals_in_8_bits(label))
    )
    assert bound < 0.55
    assert {name: d for name, d in distances.items() if d > bound} == {}


@pytest.mark.slow
def test_images_with_substructure_have_as_many_counts_as_the_originals(ours):
    p_values = {
        label: mannwhitneyu(
            *(peak_counts(i) for i in (ours[label], original(f"exact/{label}")))
        ).pvalue
        for label in ("sphere", "vort")
    }
    assert min(p_values.values()) > FAMILY_WISE / 2


def table(rows: dict[str, str]) -> dict[str, tuple[float, float]]:
    """Means and the error of rounding them; a row's columns are those of its statistic."""
    columns = {
        "percentile {}": PERCENTILES,
        "at {} px": RADII_PX,
        "power at {}": WAVES,
    }
    means = {}
    for name, cells in rows.items():
        names = [name.format(column) for column in columns.get(name, [name])]
        for one, cell in zip(names, cells.split(), strict=True):
            digits = len(cell.partition(".")[2])
            means[one] = float(cell), 10.0**-digits / np.sqrt(12)
    return means


# design/SIMULATOR.md. Of the definitions that it leaves open, these are the ones with which the
# shared original images have its values: pixels of a radius are those that round to it, the
# logarithm of the power is averaged, not the power.
ORIGINALS_A = table(
    {
        "percentile {}": ".0045 .0071 .0118 .0173 .0457 .1717 .3027 .6014 .8684",
        "mean": ".0615",
        "deviation": ".1155",
        "at {} px": ".0452 .0838 .1628 .2612 .2954 .2419 .1592 .0940 .0551 .0351 .0249 .0193 .0163 "
        ".0145 .0135",
        "power at {}": "1.47 0.78 0.75 -0.38 -1.22 -1.97 -2.67 -3.36 -3.63",
        "slope 2-8": "-2.14",
        "slope 8-20": "-5.78",
        "median ridge": "24.8",
        "least ridge": "18.5",
        "largest ridge": "35.3",
        "faintest over brightest ridge": "0.23",
        "peak counts": "803",
        "sky in the corners": "9.29",
        "variance in the corners": "10.04",
    }
)
N_ORIGINALS_A = 9_995

IN_8_BITS = {
    "no": table(
        {
            "percentile {}": ".0046 .0066 .0121 .0179 .0472 .1707 .2972 .5983 .8660",
            "mean": ".0615",
            "deviation": ".1144",
        }
    ),
    "sphere": table(
        {
            "percentile {}": ".0045 .0067 .0121 .0174 .0463 .1683 .2914 .5892 .8664",
            "mean": ".0606",
            "deviation": ".1127",
            "at {} px": ".0459 .0849 .1626 .2556 .2814 .2183 .1535 .0982 .0582 .0375 .0266 .0204 "
            ".0169 .0149 .0138",
            "power at {}": "1.43 0.80 0.71 -0.38 -1.29 -1.97 -2.66 -3.38 -3.64",
            "slope 2-8": "-2.17",
            "slope 8-20": "-5.72",
        }
    ),
    "vort": table(
        {
            "percentile {}": ".0048 .0067 .0122 .0176 .0460 .1733 .3020 .6019 .8681",
            "mean": ".0617",
            "deviation": ".1155",
            "at {} px": ".0480 .0864 .1593 .2454 .3039 .2500 .1663 .0943 .0541 .0341 .0241 .0188 "
            ".0160 .0143 .0134",
            "power at {}": "1.48 0.75 0.76 -0.41 -1.25 -1.97 -2.66 -3.36 -3.62",
            "slope 2-8": "-2.12",
            "slope 8-20": "-5.75",
        }
    ),
}
N_IN_8_BITS = {"no": 63, "sphere": 64, "vort": 64}


def deviations(
    statistics: Statistics, means: dict[str, tuple[float, float]], n: int
) -> tuple[np.ndarray, np.ndarray]:
    """How far means of a table are from simulated ones, (S,), and the covariance of that, (S, S).

    Images vary alike in both samples; a table of n images adds its rounding.
    """
    values = np.stack([statistics[name] for name in means])
    table_means, rounding = np.array(list(means.values())).T
    covariance = np.cov(values) * (1 / values.shape[1] + 1 / n) + np.diag(rounding**2)
    return table_means - values.mean(1), covariance


def unlike(statistics: Statistics, means: dict[str, tuple[float, float]], n: int, among: int):
    off, covariance = deviations(statistics, means, n)
    z = dict(zip(means, off / np.sqrt(np.diag(covariance)), strict=True))
    bound = norm.isf(FAMILY_WISE / 2 / among)
    return {name: float(value) for name, value in z.items() if abs(value) > bound}


@pytest.mark.slow
def test_means_are_those_of_the_original_images(ours_without_substructure):
    n = len(ORIGINALS_A)
    assert unlike(ours_without_substructure, ORIGINALS_A, N_ORIGINALS_A, n) == {}


@pytest.mark.slow
@pytest.mark.parametrize("label", CLASSES)
def test_means_are_those_of_the_images_in_8_bits(ours_in_8_bits, label):
    n = sum(map(len, IN_8_BITS.values()))
    assert unlike(ours_in_8_bits[label], IN_8_BITS[label], N_IN_8_BITS[label], n) == {}


@pytest.mark.slow
def test_all_means_together_are_those_of_the_original_images(ours_without_substructure):
    # As few images say of a covariance, its inverse is too large (Hartlap et al. 2007, eq. 17).
    off, covariance = deviations(ours_without_substructure, ORIGINALS_A, N_ORIGINALS_A)
    squared = off @ np.linalg.solve(covariance, off) * (N_NO - len(off) - 2) / (N_NO - 1)
    assert chi2.sf(squared, len(off)) > FAMILY_WISE


# As far as a knob is turned to see what it changes.
TURNS = {"psf": 1.02, "sky": 1.05, "exposure": 1.05, "pixel-scale": 1.01, "source-index": 1.05}


@pytest.mark.slow
@pytest.mark.parametrize("knob", TURNS)
def test_no_knob_wants_to_be_turned(ours_without_substructure, scene_of, knob):
    # How far the knob has to be turned for the means of the table, by generalised least squares:
    # the shifted images have the noise of the others, so that few show what the knob does.
    turned = shifted(COMMON_TEST_1, {knob: TURNS[knob]})
    scenes = [scene_of("no", number, turned) for number in range(N_SHIFTED)]
    after = described(images_of(turned, scenes, "no"))
    effect = np.array(
        [(after[k] - ours_without_substructure[k][:N_SHIFTED]).mean() for k in ORIGINALS_A]
    ) / (TURNS[knob] - 1)
    off, covariance = deviations(ours_without_substructure, ORIGINALS_A, N_ORIGINALS_A)
    weights = np.linalg.solve(covariance, effect)
    wanted, error = 1 + off @ weights / (effect @ weights), (effect @ weights) ** -0.5
    assert error < 0.005
    assert wanted == pytest.approx(1, abs=error * norm.isf(FAMILY_WISE / 2 / len(TURNS)))


@pytest.mark.parametrize("label", ["sphere", "vort"])
def test_substructure_stands_out_of_the_noise(label, scene_of):
    changed = []
    for number in range(20):
        smooth, perturbed = (
            expected_counts(COMMON_TEST_1.camera, [scene_of(name, number)])[0]
            for name in ("no", label)
        )
        variance = smooth + COMMON_TEST_1.camera.sky_counts
        changed.append(float(((perturbed - smooth) ** 2 / variance).sum()))
    assert min(changed) > 200
    assert 1_000 < np.median(changed) < 20_000
