"""A simulated data set on disk, in the folder structure of the real one.

out/{train,val}/{no,sphere,vort}/<number>.npy holds (1, n, n) float64 in [0, 1], numbered from 1
in each folder; out/parameters.csv has one row an image; out/manifest.json says what it all is.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from lensbench.errors import ConfigError, DatasetError
from lensbench.simulation.draw import PARTITIONS, draw, generator
from lensbench.simulation.population import CLASSES, Population

MANIFEST = "manifest.json"
PARTIAL_MANIFEST = "manifest.partial.json"

# Raised whenever the same population and seed come to give other images.
_GENERATOR = 1

_NPY_HEADER_BYTES = 128

_log = logging.getLogger(__name__)


class _Image(NamedTuple):
    partition: str
    label: str
    number: int

    @property
    def id(self) -> str:
        return f"{self.partition}/{self.label}/{self.number}.npy"


def simulate(
    population: Population,
    out: Path,
    n_train: int | Mapping[str, int],
    n_val: int | Mapping[str, int],
    seed: int = 42,
    *,
    batch_size: int = 4,
    progress: bool = True,
) -> Path:
    """Simulate a data set and write it to a folder.

    The images depend on the population, the seed and their own number alone: a larger data set
    begins with the images of a smaller one. If `out` already holds this very data set, it is left
    as it is; if it holds an interrupted one, only what is missing is made.

    Args:
        population: What to draw from.
        out: Folder to write to; made if it does not exist.
        n_train: Images of each class in train, one number for all classes or one for each.
        n_val: The same in val.
        seed: Seed of the data set, 0 or more.
        batch_size: Images that are ray-traced at once; small batches stay in a processor's cache.
        progress: Whether to show a progress bar.

    Returns:
        `out`.

    Raises:
        ConfigError: If a number makes no sense or a class does not exist.
        DatasetError: If `out` holds anything else.
    """
    counts = {"train": _per_class(n_train), "val": _per_class(n_val)}
    if seed < 0:
        raise ConfigError(f"the seed must be 0 or more, not {seed}")
    if batch_size < 1:
        raise ConfigError(f"a batch holds at least one image, not {batch_size}")
    if not any(any(count.values()) for count in counts.values()):
        raise ConfigError("there are no images to simulate: n_train and n_val are 0")
    manifest = {
        "generator": _GENERATOR,
        "population": population.model_dump(mode="json", exclude={"about"}),
        "seed": seed,
        "n_images": counts,
    }
    images = [
        _Image(partition, label, number)
        for partition in PARTITIONS
        for label in CLASSES
        for number in range(1, counts[partition][label] + 1)
    ]
    is_finished = _is_finished(out, manifest)
    missing = [image for image in images if not _is_whole(out / image.id, population)]
    if is_finished and not missing:
        _log.info("%s already holds this data set: left as it is", out)
        return out

    out.mkdir(parents=True, exist_ok=True)
    (out / MANIFEST).unlink(missing_ok=True)
    partial = out / PARTIAL_MANIFEST
    partial.write_text(
        json.dumps(manifest | {"lensbench_version": version("lensbench")}, indent=2) + "\n",
        encoding="utf-8",
    )
    _write_images(population, out, missing, seed, batch_size, progress)
    _write_parameters(population, out, images, seed)
    partial.replace(out / MANIFEST)
    return out


def _write_images(
    population: Population,
    out: Path,
    images: Sequence[_Image],
    seed: int,
    batch_size: int,
    progress: bool,
) -> None:
    # Imported here, so that populations can be listed without waiting for torch.
    from lensbench.simulation.render import expected_counts, observe

    for folder in {(out / image.id).parent for image in images}:
        folder.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(images), unit="image", desc="simulate", disable=not progress) as bar:
        for batch in _batches(images, batch_size):
            scenes = [
                draw(population, image.label, generator(seed, *image, "scene")) for image in batch
            ]
            expected = expected_counts(population, scenes).numpy()
            for image, counts in zip(batch, expected, strict=True):
                rng = generator(seed, *image, "noise")
                np.save(out / image.id, observe(counts, population.sky_counts, rng))
            bar.update(len(batch))


def _batches(images: Sequence[_Image], size: int) -> Iterator[Sequence[_Image]]:
    """Yield batches; a batch is of one class, which have different numbers of perturbers."""
    for label in CLASSES:
        of_class = [image for image in images if image.label == label]
        for start in range(0, len(of_class), size):
            yield of_class[start : start + size]


def _write_parameters(
    population: Population, out: Path, images: Sequence[_Image], seed: int
) -> None:
    rows = [
        {"id": image.id, "label": image.label}
        | draw(population, image.label, generator(seed, *image, "scene")).row()
        for image in images
    ]
    with (out / "parameters.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _per_class(count: int | Mapping[str, int]) -> dict[str, int]:
    counts = dict.fromkeys(CLASSES, count) if isinstance(count, int) else dict(count)
    if unknown := counts.keys() - set(CLASSES):
        raise ConfigError(f"no class {', '.join(sorted(unknown))}: there are {', '.join(CLASSES)}")
    if min(counts.values(), default=0) < 0:
        raise ConfigError("a number of images must be 0 or more")
    return {label: counts.get(label, 0) for label in CLASSES}


def _is_finished(out: Path, manifest: dict[str, Any]) -> bool:
    """Return whether a folder holds this data set, and finished.

    Raises:
        DatasetError: If it holds something else.
    """
    if not out.exists():
        return False
    if not out.is_dir():
        raise DatasetError(f"{out} is not a folder: choose another path")
    if not any(out.iterdir()):
        return False
    for name in (MANIFEST, PARTIAL_MANIFEST):
        if (out / name).is_file():
            found = _read_manifest(out / name)
            differing = [key for key, value in manifest.items() if found.get(key) != value]
            if differing:
                raise DatasetError(
                    f"{out} holds something else ({', '.join(differing)} differ, see {name}): "
                    "choose another folder, or delete this one"
                )
            return name == MANIFEST
    raise DatasetError(
        f"{out} is not empty and holds no simulated data set: "
        "choose another folder, or delete this one"
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    """Return what a file says, or nothing if it is no manifest."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_whole(path: Path, population: Population) -> bool:
    """Return whether an image exists and was not cut off while it was written."""
    n_bytes = _NPY_HEADER_BYTES + 8 * population.n_pixels**2
    return path.is_file() and path.stat().st_size == n_bytes
