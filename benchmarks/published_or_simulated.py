"""Can a classifier tell published images without substructure from simulated ones?

Usage: python benchmarks/published_or_simulated.py [--out NAME] FOLDER...

The folders hold original images of Common Test I, of class `no`, as .npy files. Against as many
simulated images, classifiers are cross-validated: they should be left at an AUC of 0.5. That they
see something at all is shown by simulated images with a fault, which they should recognise; that
the intervals are honest, by simulated images in the place of the published ones. One core is used,
for about ten minutes. No setting may be chosen by what this prints.
"""

import argparse
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy
import sklearn
import torch
from numpy.typing import NDArray
from scipy import fft, ndimage, stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer
from torch import Tensor, nn

from lensbench.evaluation.auc import auc_estimate, one_vs_rest
from lensbench.evaluation.estimate import Estimate
from lensbench.simulation import COMMON_TEST_1, Population, draw, generator
from lensbench.simulation.knobs import shifted
from lensbench.simulation.render import expected_counts, normalised, observe

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

N_FOLDS = 5
DRAWS = (1, 2, 3)
FAULTS = ({"psf": 1.15}, {"sky": 1.3})
EPOCHS, BATCH, LEARNING_RATE = 20, 32, 1e-2
LEVEL = 0.95

CENTRE = np.arange(150) - 74.5
RADIUS = np.hypot(CENTRE, CENTRE[:, None])
HANN = np.hanning(150) * np.hanning(150)[:, None]
KX, KY = np.fft.rfftfreq(150)[None] * 150, np.fft.fftfreq(150)[:, None] * 150
WAVE = np.hypot(KX, KY)
LEANING = np.floor(4 * np.mod(np.arctan2(KY, KX + 1e-9), np.pi) / np.pi).clip(max=3)


def published_images(folders: list[Path]) -> Floats:
    """Load all images of some folders, (N, 150, 150) from 0 to 1."""
    files = sorted(file for folder in folders for file in folder.glob("*.npy"))
    return np.concatenate([np.load(file).astype(np.float64) for file in files])


def simulated_images(population: Population, seed: int, n: int) -> Floats:
    """Simulate images without substructure, (N, 150, 150) from 0 to 1."""
    camera, images = population.camera, []
    for number in range(1, n + 1):
        scene = draw(population, "no", generator(seed, "train", "no", number, "scene"))
        noise = generator(seed, "train", "no", number, "noise")
        images.append(normalised(observe(camera, expected_counts(camera, [scene]), [noise]))[:, 0])
    return np.concatenate(images)


def features(image: Floats) -> Floats:
    """Describe an image by global statistics, and by its noise, counts, edges and spectrum."""
    values = np.unique(image)
    peak = round(1 / np.diff(values).min())
    counts = np.rint(image * peak)
    corners = image[RADIUS > 95] * peak
    light = image - np.percentile(image, 30)
    x, y = CENTRE / 75, -CENTRE[:, None] / 75
    moments = [
        (light * x**i * y**j).sum() / light.sum()
        for i in range(5)
        for j in range(5)
        if 0 < i + j < 5
    ]
    smooth = ndimage.gaussian_filter(counts, 1.5)
    rough = (counts - smooth) ** 2 / (smooth + 0.7)
    bands = np.digitize(smooth, np.percentile(smooth, (40, 60, 80, 95, 99)))
    power = np.abs(fft.rfft2((image - image.mean()) * HANN)) ** 2
    shells = np.searchsorted((1.5, 2.5, 4.5, 7, 10, 14, 18, 22, 26, 31, 40, 55), WAVE)
    spectrum = [
        np.log10(power[(shells == shell) & (leaning == LEANING)].mean())
        for shell in range(2, 12)
        for leaning in range(4)
    ]
    return np.array(
        [
            *np.percentile(image, (0.1, 1, 5, 25, 50, 75, 90, 95, 99, 99.9)),
            *(image.mean(), image.std(), peak, len(values), np.mod(counts, 2).mean()),
            *(image[np.abs(RADIUS - r) < 2.5].mean() for r in range(3, 76, 6)),
            *(corners.mean(), corners.var(), stats.skew(corners), stats.kurtosis(corners)),
            *((image[edge] * peak).mean() for edge in np.s_[0, -1, (..., 0), (..., -1)]),
            *moments,
            *(rough[bands == band].mean() for band in range(6)),
            *(np.abs(np.diff(image, axis=axis)).mean() for axis in (0, 1)),
            *(np.abs(np.diff(image, 2, axis=axis)).max() for axis in (0, 1)),
            *spectrum,
        ]
    )


class Sample(NamedTuple):
    """Images of two kinds: pixels (N, 150, 150), features (N, F), and which kind (N,)."""

    images: Floats
    features: Floats
    labels: Integers


def out_of_folds(
    score: Callable[[NDArray[np.intp], NDArray[np.intp], int], Floats],
    labels: Integers,
    n_repeats: int,
) -> Floats:
    """Score every image by classifiers that did not see it, (N,).

    Scores of different classifiers have no common scale: what counts is the rank in the fold.
    """
    total = np.zeros(len(labels))
    for repeat in range(n_repeats):
        folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=repeat)
        for number, (seen, unseen) in enumerate(folds.split(labels, labels)):
            ranks = stats.rankdata(score(seen, unseen, N_FOLDS * repeat + number))
            total[unseen] += (ranks - 0.5) / len(unseen)
    return total


def by_regression(sample: Sample) -> Floats:
    """Score with logistic regression on features, each made normal."""

    def score(seen: NDArray[np.intp], unseen: NDArray[np.intp], seed: int) -> Floats:
        model = make_pipeline(
            QuantileTransformer(n_quantiles=100, output_distribution="normal", random_state=seed),
            LogisticRegressionCV(
                Cs=[1e-3, 1e-2, 1e-1, 1],
                l1_ratios=(0,),
                scoring="roc_auc",
                cv=5,
                use_legacy_attributes=False,
            ),
        ).fit(sample.features[seen], sample.labels[seen])
        return np.asarray(model.decision_function(sample.features[unseen]))

    return out_of_folds(score, sample.labels, n_repeats=3)


def by_trees(sample: Sample) -> Floats:
    """Score with boosted trees on features."""

    def score(seen: NDArray[np.intp], unseen: NDArray[np.intp], seed: int) -> Floats:
        model = HistGradientBoostingClassifier(
            learning_rate=0.05,
            max_iter=120,
            max_leaf_nodes=8,
            max_features=0.3,
            early_stopping=False,
            random_state=seed,
        ).fit(sample.features[seen], sample.labels[seen])
        return np.asarray(model.decision_function(sample.features[unseen]))

    return out_of_folds(score, sample.labels, n_repeats=3)


def network() -> nn.Module:
    """Build a convolutional network of 4,900 parameters, which sees 9 x 9 pixels at first."""

    def layer(n_in: int, n_out: int) -> list[nn.Module]:
        convolution = nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(n_out), nn.ReLU()]

    return nn.Sequential(
        nn.PixelUnshuffle(3),
        *layer(9, 16),
        *layer(16, 24),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, 1),
    )


def turned(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Turn and flip each image by chance, to one of its eight positions."""
    out = [
        torch.rot90(image.flip(-1) if flip else image, int(turns), (-2, -1))
        for image, flip, turns in zip(
            images, rng.random(len(images)) < 0.5, rng.integers(0, 4, len(images)), strict=True
        )
    ]
    return torch.stack(out)


def by_network(sample: Sample, *, turn: bool) -> Floats:
    """Score with a network that is trained on the square roots of the pixels."""
    pixels = torch.from_numpy(4 * np.sqrt(sample.images)[:, None] - 1).float()
    pixels = pixels.to(memory_format=torch.channels_last)
    targets = torch.from_numpy(sample.labels).float()[:, None]

    def score(seen: NDArray[np.intp], unseen: NDArray[np.intp], seed: int) -> Floats:
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        model = network().to(memory_format=torch.channels_last)
        n_steps = EPOCHS * (len(seen) // BATCH)
        optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, LEARNING_RATE, total_steps=n_steps
        )
        for _ in range(EPOCHS):
            order = rng.permutation(seen)[: len(seen) // BATCH * BATCH]
            for rows in order.reshape(-1, BATCH):
                batch = turned(pixels[rows], rng) if turn else pixels[rows]
                loss = nn.functional.binary_cross_entropy_with_logits(model(batch), targets[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
        model.eval()
        with torch.inference_mode():
            return np.asarray(model(pixels[unseen])[:, 0].double())

    return out_of_folds(score, sample.labels, n_repeats=1)


CLASSIFIERS: dict[str, Callable[[Sample], Floats]] = {
    "logistic regression": by_regression,
    "boosted trees": by_trees,
    "network": partial(by_network, turn=False),
    "network, D4": partial(by_network, turn=True),
}


def judged(first: Floats, second: Floats) -> dict[str, tuple[float, Floats]]:
    """Cross-validate all classifiers on images of two kinds: AUC, and influence of each image."""
    images = np.concatenate((first, second))
    labels = np.repeat(np.arange(2), (len(first), len(second)))
    sample = Sample(images, np.stack([features(image) for image in images]), labels)
    areas = {}
    for name, classifier in CLASSIFIERS.items():
        scores = classifier(sample)
        area = one_vs_rest(labels, np.stack((-scores, scores), axis=1))
        areas[name] = float(area.values[1]), area.influence[:, 1]
    return areas


def together(areas: list[tuple[float, Floats]], n: int) -> tuple[float, Floats]:
    """Return the mean AUC of several draws, against which the same n images were judged."""
    share = 1 / len(areas)
    same = share * sum(influence[:n] for _, influence in areas)
    others = [share * influence[n:] for _, influence in areas]
    return share * sum(value for value, _ in areas), np.concatenate((same, *others))


def shown(area: tuple[float, Floats], n: int) -> str:
    """Return an AUC with its interval, as the table has it."""
    value, influence = area
    labels = np.repeat(np.arange(2), (n, len(influence) - n))
    estimate: Estimate = auc_estimate("auc", value, influence, labels, LEVEL)
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def main() -> None:
    """Print a table of AUCs, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, help="file for the table, as Markdown")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    published = published_images(args.folders)
    n = len(published)
    plain = {seed: simulated_images(COMMON_TEST_1, seed, n) for seed in (*DRAWS, 0)}

    rows: dict[str, dict[str, str]] = {}

    def add(name: str, areas: dict[str, tuple[float, Floats]]) -> None:
        rows[name] = {classifier: shown(area, n) for classifier, area in areas.items()}
        print(f"{time.process_time() - start:4.0f} s  {name}: {rows[name]}", flush=True)

    draws = []
    for seed in DRAWS:
        draws.append(judged(published, plain[seed]))
        add(f"published, simulated with seed {seed}", draws[-1])
    add(
        f"the same, mean of {len(DRAWS)} seeds",
        {name: together([draw[name] for draw in draws], n) for name in CLASSIFIERS},
    )
    add("simulated with seed 0, with seed 1", judged(plain[0], plain[DRAWS[0]]))
    for fault in FAULTS:
        wrong = simulated_images(shifted(COMMON_TEST_1, fault), DRAWS[0], n)
        knob = ", ".join(f"{name} x {value:g}" for name, value in fault.items())
        add(f"published, simulated with a fault: {knob}", judged(published, wrong))

    text = report(rows, n, time.process_time() - start)
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


def report(rows: dict[str, dict[str, str]], n: int, seconds: float) -> str:
    """Return what was found as Markdown."""
    folds = f"{N_FOLDS}-fold cross-validation"
    lines = [
        f"`python benchmarks/published_or_simulated.py FOLDER...`: {n} published images of class "
        f"`no`, and {n} simulated ones of `common-test-1` for each seed. Areas under the ROC curve "
        f"of out-of-fold scores ({folds}, stratified; features: 3 times), with DeLong's interval "
        f"of {LEVEL:.0%}; 0.5 is what cannot be told apart. {seconds / 60:.0f} minutes of one "
        f"core; Python {platform.python_version()}, NumPy {np.__version__}, "
        f"SciPy {scipy.__version__}, scikit-learn {sklearn.__version__}, "
        f"torch {torch.__version__.partition('+')[0]}.",
        "",
        f"| what is told apart | {' | '.join(CLASSIFIERS)} |",
        f"| --- |{' --- |' * len(CLASSIFIERS)}",
        *(f"| {name} | {' | '.join(cells.values())} |" for name, cells in rows.items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
