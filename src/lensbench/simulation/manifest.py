"""What a simulated data set says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lensbench.simulation.population import Population
from lensbench.version import __version__

# Raised whenever the same population and seed come to give other images.
_GENERATOR = 3

HALF_WRITTEN = "manifest.tmp"
"""What a manifest is called until it is whole."""

LOCK = ".lock"
"""What the lock of a data set is called if it lies within."""

_ABOUT_THE_PROGRAM = "lensbench_version"


def manifest_of(
    population: Population, seed: int, n_images: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """Return everything that the images follow from, and the version that makes them."""
    return {
        "generator": _GENERATOR,
        "population": population.model_dump(mode="json", exclude={"about"}),
        "seed": seed,
        "n_images": n_images,
        _ABOUT_THE_PROGRAM: __version__,
    }


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest to a file, which appears whole."""
    half_written = path.with_name(HALF_WRITTEN)
    half_written.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    half_written.replace(path)


def is_unused(folder: Path, begun: str) -> bool:
    """Return whether a folder holds no more than empty folders and what was to be begun there.

    Args:
        folder: Where it is.
        begun: Name of the manifest of a data set that is not finished.
    """
    nothing = (HALF_WRITTEN, LOCK, begun)
    return all(
        not any(file.rglob("*")) if file.is_dir() else file.name in nothing
        for file in folder.iterdir()
    )


def parse(text: bytes | str) -> dict[str, Any]:
    """Return what a manifest says, or nothing if it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def differing(found: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Return in what two manifests differ, but for the version of the program."""
    return [
        key
        for key, value in expected.items()
        if key != _ABOUT_THE_PROGRAM and found.get(key) != value
    ]
