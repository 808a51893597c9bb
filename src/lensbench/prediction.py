"""A trained classifier on images that nobody has labelled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from lensbench.config import MachineSpec, Views
from lensbench.data.formats.decode import suffix_of
from lensbench.data.formats.fault import ImageFault
from lensbench.data.sources.source import Source
from lensbench.data.survey import read_image
from lensbench.errors import ConfigError, DatasetError
from lensbench.training.float32 import exact_float32
from lensbench.training.steps import left_alone
from lensbench.training.views import d4_views
from lensbench.zoo.classifier import Classifier


@dataclass(frozen=True)
class Classified:
    """What a classifier says of images.

    Attributes:
        classes: K names.
        probabilities: By the name of the image, (K,) float64.
        faults: By the name of each image that could not be classified, why.
    """

    classes: tuple[str, ...]
    probabilities: Mapping[str, NDArray[np.float64]]
    faults: Mapping[str, str]


def classify(
    classifier: Classifier,
    source: Source,
    machine: MachineSpec,
    *,
    views: Views = "none",
    batch_size: int = 64,
) -> Classified:
    """Classify all images of a source, in float32, each read once.

    Args:
        classifier: Takes images of one shape; those of others are faults.
        source: Its folders mean nothing.
        machine: Where to compute.
        views: `d4` takes the mean probability over the eight flips and quarter turns of an image.
        batch_size: Images at a time.

    Raises:
        DatasetError: There are no images.
        ConfigError: Oblong images have no such views, there is less than one image at a time, or
            the machine lacks what was asked for.
    """
    if batch_size < 1:
        raise ConfigError(f"1 image or more at a time, not {batch_size}")
    _, height, width = classifier.preprocess.image_shape
    if views == "d4" and height != width:
        raise ConfigError(f"images of {height} x {width} pixels cannot be turned by 90 degrees")
    names = [name for name in source.names() if suffix_of(name)]
    if not names:
        raise DatasetError(f"{source.path}: no images found")
    found: dict[str, NDArray[np.float64]] = {}
    faults: dict[str, str] = {}
    images = _usable(source, names, classifier.preprocess.image_shape, faults)
    with left_alone(machine) as device, exact_float32(), torch.inference_mode():
        classifier.eval().to(device)
        while batch := dict(islice(images, batch_size)):
            pixels = torch.from_numpy(np.stack([*batch.values()])).to(device)
            seen = d4_views(pixels) if views == "d4" else [pixels]
            logits = torch.stack([classifier(view) for view in seen]).cpu().double()
            found.update(zip(batch, logits.softmax(dim=2).mean(dim=0).numpy(), strict=True))
        classifier.cpu()
    return Classified(classifier.classes, found, faults)


def _usable(
    source: Source, names: list[str], shape: tuple[int, ...], faults: dict[str, str]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the images that the classifier can take, and note why others are none."""
    for name, load in tqdm(
        source.contents(names), total=len(names), desc="classifying", unit="image", leave=False
    ):
        try:
            _, pixels = read_image(name, load)
            if pixels.shape != shape:
                raise ImageFault(
                    "wrong-shape", f"shape {pixels.shape}; the classifier takes {shape}"
                )
        except ImageFault as fault:
            faults[name] = str(fault)
            continue
        yield name, pixels
