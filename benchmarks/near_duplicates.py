"""How many copies does the search for near duplicates find, and how often does it cry wolf?

Usage: python benchmarks/near_duplicates.py [--population demo] [--n-images 4000] [--n-copies 100]

Simulates independent lenses of class `no`. Of some it makes copies of each kind, which should be
found; among all of them nothing should be. Images are drawn again whenever they are needed, so
that memory bounds no number of pairs.
"""

import argparse
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage, stats

from lensbench.data.exposure import is_copy
from lensbench.data.near_duplicates import near_duplicates
from lensbench.data.signature import signature
from lensbench.simulation.draw import draw, generator
from lensbench.simulation.population import POPULATIONS, Population
from lensbench.simulation.render import expected_counts, observe

Plane = NDArray[np.floating[Any]]
BATCH = 4


def turned(image: Plane, rng: Generator) -> Plane:
    """Turn by any angle, as augmentation does: bilinear, with the border repeated."""
    made: Plane = ndimage.rotate(image, rng.uniform(0, 360), reshape=False, order=1, mode="nearest")
    return made


def in_8_bits(image: Plane) -> NDArray[np.uint8]:
    """Scale [0, 1] to 0..255."""
    made: NDArray[np.uint8] = np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return made


def as_jpeg(image: Plane, quality: int) -> Plane:
    """Save as JPEG and read again."""
    file = io.BytesIO()
    Image.fromarray(in_8_bits(image)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), dtype=np.float32) / 255


def halved(image: Plane, resample: Image.Resampling) -> Plane:
    """Save at half the resolution."""
    side = len(image) // 2
    return np.asarray(Image.fromarray(image).resize((side, side), resample))


def down_and_up(image: Plane, resample: Image.Resampling) -> Plane:
    """Halve and enlarge again."""
    half = Image.fromarray(halved(image, resample))
    return np.asarray(half.resize((len(image), len(image)), resample))


COPIES: dict[str, Callable[[Plane, Generator], Plane]] = {
    "quarter turn": lambda image, rng: np.rot90(image, int(rng.integers(1, 4))),
    "flip": lambda image, _: image[:, ::-1],
    "any angle": turned,
    "any angle, flipped": lambda image, rng: turned(image[::-1], rng),
    "brightness a x + b": lambda image, rng: rng.uniform(0.3, 3) * image + rng.uniform(-1, 1),
    "8 bits": lambda image, _: in_8_bits(image).astype(np.float32) / 255,
    "JPEG, quality 90": lambda image, _: as_jpeg(image, 90),
    "JPEG, quality 75": lambda image, _: as_jpeg(image, 75),
    "any angle, then JPEG 90": lambda image, rng: as_jpeg(turned(image, rng), 90),
    "down and up by 2, bilinear": lambda image, _: down_and_up(image, Image.Resampling.BILINEAR),
    "down and up by 2, bicubic": lambda image, _: down_and_up(image, Image.Resampling.BICUBIC),
    "half size, bilinear": lambda image, _: halved(image, Image.Resampling.BILINEAR),
    "shift by 1 pixel": lambda image, rng: np.roll(image, rng.choice([-1, 1], 2), (0, 1)),
}


def exposures(population: Population, seed: int, n: int, noise_seed: int) -> Iterator[Plane]:
    """Yield (1, n_pixels, n_pixels) images number 0, 1, ..."""
    for start in range(0, n, BATCH):
        numbers = range(start, min(start + BATCH, n))
        yield from expose(population, seed, numbers, noise_seed)


def expose(population: Population, seed: int, numbers: range, noise_seed: int) -> Iterator[Plane]:
    """Yield the images of some numbers."""
    scenes = [draw(population, "no", generator(seed, "train", "no", k, "scene")) for k in numbers]
    expected = expected_counts(population, scenes).numpy()
    for k, counts in zip(numbers, expected, strict=True):
        rng = generator(noise_seed, "train", "no", k, "noise")
        yield observe(counts, population.sky_counts, rng).astype(np.float32)


def n_found(originals: list[Plane], copies: list[Plane]) -> tuple[int, int]:
    """Return how many copies are linked to their originals, and how many are compared alone."""
    images = [*originals, *copies]
    search = near_duplicates(np.stack([signature(image) for image in images]), images.__getitem__)
    n = len(originals)
    n_alike = sum(is_copy(a, b) for a, b in zip(originals, copies, strict=True))
    return len(set(search.pairs) & {(i, n + i) for i in range(n)}), n_alike


def main() -> None:
    """Print one table of detections and one of false alarms and costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--population", choices=POPULATIONS, default="common-test-1")
    parser.add_argument("--n-images", type=int, default=4000)
    parser.add_argument("--n-copies", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    population, seed = POPULATIONS[args.population], args.seed
    rng = np.random.default_rng(seed)
    n_copies = min(args.n_copies, args.n_images)

    originals = list(exposures(population, seed, n_copies, seed))
    print(f"{population.name}, seed {seed}: copies linked of {n_copies} (compared alone)")
    for name, copy in COPIES.items():
        copies = [
            np.ascontiguousarray(copy(image[0], rng), np.float32)[None] for image in originals
        ]
        found, alike = n_found(originals, copies)
        print(f"  {name:28} {found:4} ({alike})", flush=True)
    found, alike = n_found(originals, list(exposures(population, seed, n_copies, seed + 1)))
    print(f"  {'second exposure: no copy':28} {found:4} ({alike})", flush=True)

    start = time.perf_counter()
    for image in originals:
        signature(image)
    seconds_each = (time.perf_counter() - start) / n_copies
    signatures = [signature(image) for image in exposures(population, seed, args.n_images, seed)]
    n_reads, reading = 0, 0.0

    def read(row: int) -> Plane:
        nonlocal n_reads, reading
        start = time.perf_counter()
        (image,) = expose(population, seed, range(row, row + 1), seed)
        n_reads, reading = n_reads + 1, reading + time.perf_counter() - start
        return image

    start = time.perf_counter()
    near_duplicates(np.stack(signatures), read, max_checks=0)
    searching = time.perf_counter() - start
    start = time.perf_counter()
    search = near_duplicates(np.stack(signatures), read, max_checks=args.n_images**2)
    comparing = time.perf_counter() - start - reading - searching
    n_pairs, n_alarms = args.n_images * (args.n_images - 1) // 2, len(search.pairs)
    limit = stats.chi2.ppf(0.95, 2 * n_alarms + 2) / 2 / n_pairs
    print(f"{args.n_images} independent images, {n_pairs:.3g} pairs: {n_alarms} false alarms,")
    print(f"  below {limit:.2g} a pair with 95 % confidence (Poisson)")
    print(f"  signature {1e6 * seconds_each:.0f} microseconds an image")
    print(f"  search {searching:.1f} s, comparison {comparing:.1f} s, {n_reads} images read again")
    for i, j in search.pairs:
        print(f"  false alarm: images {i} and {j}")


if __name__ == "__main__":
    main()
