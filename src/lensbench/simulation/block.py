"""Some images of one class, which are made at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from numpy.random import Generator

from lensbench.simulation.draw import PARTITIONS, draw, generator
from lensbench.simulation.population import CLASSES, Population
from lensbench.simulation.scene import Scene

_N_IMAGES = 50


class Block(NamedTuple):
    """Images by their numbers.

    Attributes:
        partition: One of `PARTITIONS`.
        label: One of `CLASSES`.
        numbers: Numbers of the images in their folder, counted from 1.
    """

    partition: str
    label: str
    numbers: tuple[int, ...]

    @property
    def ids(self) -> list[str]:
        """The names of the images in the archive's folder structure."""
        return [f"{self.partition}/{self.label}/{number}.npy" for number in self.numbers]

    def scenes(self, population: Population, seed: int) -> list[Scene]:
        """Draw the parameters of the images."""
        return [draw(population, self.label, rng) for rng in self._generators(seed, "scene")]

    def noise(self, seed: int) -> list[Generator]:
        """Return where the noise of each image comes from."""
        return self._generators(seed, "noise")

    def _generators(self, seed: int, use: Literal["scene", "noise"]) -> list[Generator]:
        return [generator(seed, self.partition, self.label, number, use) for number in self.numbers]


def blocks_of(n_images: Mapping[str, Mapping[str, int]]) -> list[Block]:
    """Divide a data set, of some images for each partition and class, into blocks."""
    return [
        Block(partition, label, tuple(range(first, min(first + _N_IMAGES, n + 1))))
        for partition in PARTITIONS
        for label in CLASSES
        for n in [n_images[partition][label]]
        for first in range(1, n + 1, _N_IMAGES)
    ]
