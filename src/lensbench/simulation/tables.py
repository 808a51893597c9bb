"""The drawn parameters of a data set, as two CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lensbench.simulation.block import Block
from lensbench.simulation.population import Population
from lensbench.simulation.scene import PERTURBER_COLUMNS
from lensbench.whole_file import written_whole

_OF_PERTURBERS = ("id", *PERTURBER_COLUMNS)


class Lines(NamedTuple):
    """Lines of both tables, without their headings.

    Attributes:
        columns: The headings of the first table.
        images: Lines of it.
        perturbers: Lines of the second.
    """

    columns: tuple[str, ...]
    images: str
    perturbers: str


def rows_of(population: Population, seed: int, block: Block) -> Lines:
    """Return the lines of some images, and of their perturbers."""
    images: list[dict[str, Any]] = []
    perturbers: list[dict[str, Any]] = []
    for name, scene in zip(block.ids, block.scenes(population, seed), strict=True):
        images.append({"id": name, "label": block.label} | scene.row())
        perturbers.extend({"id": name} | row for row in scene.perturber_rows())
    columns = tuple(images[0])
    short = ({key: _short(value) for key, value in row.items()} for row in perturbers)
    return Lines(columns, _csv(columns, images), _csv(_OF_PERTURBERS, short))


def write_tables(images: Path, perturbers: Path, blocks: Iterable[Lines]) -> None:
    """Write the lines of all blocks; the files appear whole.

    Args:
        images: File for a row an image.
        perturbers: File for a row a perturber, to seven digits; what it does not have is empty.
        blocks: Lines as `rows_of` returns them.
    """
    with (
        written_whole(images) as first,
        written_whole(perturbers) as second,
        first.open("w", encoding="utf-8", newline="") as of_images,
        second.open("w", encoding="utf-8", newline="") as of_perturbers,
    ):
        of_perturbers.write(_csv(_OF_PERTURBERS, [], heading=True))
        is_first = True
        for block in blocks:
            if is_first:
                of_images.write(_csv(block.columns, [], heading=True))
            is_first = False
            of_images.write(block.images)
            of_perturbers.write(block.perturbers)


def _csv(
    columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, heading: bool = False
) -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, columns)
    if heading:
        table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def _short(value: Any) -> str:
    return f"{value:.7g}" if isinstance(value, float) else str(value)
