"""Test images -> small pictures that are part of the page."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from imagecodecs import png_encode
from numpy.typing import NDArray

from lensbench.config import DataSpec
from lensbench.data import encoding
from lensbench.data.catalogue import read_catalogue
from lensbench.data.encoding import Encoded
from lensbench.data.pack import fingerprint
from lensbench.data.sources.open import open_source
from lensbench.data.survey import survey
from lensbench.errors import DatasetError
from lensbench.outcome import Predictions

_LARGEST_SIDE = 150
_SOFTENING = 0.1


@dataclass(frozen=True)
class Pictures:
    """Pictures by the id of their image, as data URIs; else why there are none."""

    uris: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def read_pictures(
    spec: DataSpec, predictions: Predictions, test_fingerprint: str, wanted: Collection[str]
) -> Pictures:
    """Read some test images and make pictures of them, if they are still those that were tested.

    All test images are read once, since the record's fingerprint is that of them all. The first
    band is shown, its values divided by the largest one of all pictures and stretched with
    asinh(x / 0.1).

    Args:
        spec: Where the images are.
        predictions: Of the test images.
        test_fingerprint: Of names, classes and pixels of the test images, as the record has it.
        wanted: Ids of the images of which pictures are wanted.
    """
    try:
        source = open_source(spec.path)
        catalogue = read_catalogue(source, spec.labels)
        ids = sorted(predictions.ids.tolist())
        absent = set(ids) - set(catalogue.ids)
        if absent:
            return _none(f"{len(absent):,} of {len(ids):,} are not in {spec.path} any more")
        rows = catalogue.rows_of(ids)
        members = tuple(catalogue.members[row] for row in rows)
        tested = replace(catalogue, ids=tuple(ids), members=members, labels=catalogue.labels[rows])
        kept: dict[str, Encoded] = {}

        def keep(row: int, image: Encoded) -> None:
            if ids[row] in wanted:
                kept[ids[row]] = image

        facts = survey(tested, source, keep)
    except (DatasetError, OSError) as error:
        return _none(str(error))
    labels = (tested.classes[k] for k in tested.labels)
    if fingerprint(ids, labels, (fact.digest for fact in facts)) != test_fingerprint:
        return _none(f"those in {spec.path} have changed since they were tested")
    planes = {
        name: encoding.decode(image.values[None], np.array([image.divisor], dtype=np.float32))[0, 0]
        for name, image in kept.items()
    }
    brightest = max((float(plane.max()) for plane in planes.values()), default=1.0)
    return Pictures({name: _uri(plane, brightest) for name, plane in planes.items()})


def _none(reason: str) -> Pictures:
    return Pictures(problem=f"The test images cannot be shown: {reason}")


def _uri(plane: NDArray[np.float32], brightest: float) -> str:
    step = -(-max(plane.shape) // _LARGEST_SIDE)
    height, width = (side // step * step for side in plane.shape)
    blocks = plane[:height, :width].reshape(height // step, step, width // step, step)
    values = np.clip(blocks.mean(axis=(1, 3)) / (brightest or 1), 0, None)
    stretched = np.arcsinh(values / _SOFTENING) / np.arcsinh(1 / _SOFTENING)
    grey = np.round(255 * np.clip(stretched, 0, 1)).astype(np.uint8)
    return f"data:image/png;base64,{base64.b64encode(png_encode(grey)).decode()}"
