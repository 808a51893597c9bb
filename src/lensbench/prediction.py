"""A trained classifier, or an ensemble of several, on images that it was not made with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from lensbench.config import AskedViews, MachineSpec
from lensbench.data.catalogue import images_among, read_catalogue
from lensbench.data.formats.fault import ImageFault
from lensbench.data.sources.source import Source
from lensbench.data.survey import read_image
from lensbench.errors import ConfigError, DatasetError, RecordError, WeightsError
from lensbench.evaluation.ensemble import calibrated_loss
from lensbench.runs.layout import RECORD
from lensbench.runs.record import EnsembleMember, RunRecord
from lensbench.runs.store import load_predictions
from lensbench.training.float32 import exact_float32
from lensbench.training.steps import left_alone
from lensbench.training.views import refusal, views
from lensbench.zoo.build import load_classifier
from lensbench.zoo.classifier import Classifier, Symmetry


@dataclass(frozen=True)
class Member:
    """A classifier, and its part in the mean of several.

    Attributes:
        name: Of its run, or its file.
        classifier: Trained.
        temperature: By which its logits are divided first.
        weight: Of its probabilities; those of all members have the sum 1.
    """

    name: str
    classifier: Classifier
    temperature: float = 1.0
    weight: float = 1.0


@dataclass(frozen=True)
class Classified:
    """What a classifier says of images.

    Attributes:
        classes: K names.
        probabilities: By the name of the image, (K,) float64.
        faults: By the name of each image that could not be classified, why.
        notes: What was asked for and not done, and why.
    """

    classes: tuple[str, ...]
    probabilities: Mapping[str, NDArray[np.float64]]
    faults: Mapping[str, str]
    notes: tuple[str, ...]


def load_members(path: Path) -> tuple[Member, ...]:
    """Load a classifier, or all members of an ensemble.

    Args:
        path: Weights of a run; or the record, or the folder, of a run or an ensemble.

    Raises:
        WeightsError: Weights are missing, damaged or of somebody else.
        RecordError: The record cannot be read, or nothing was trained for it; or the run of a
            member is no longer the one that the ensemble was made of.
    """
    if not path.exists():
        raise WeightsError(f"{path} does not exist")
    if path.is_dir():
        path = path / RECORD
    if path.suffix != ".json":
        return (Member(path.name, load_classifier(path)),)
    record = RunRecord.read(path)
    if record.ensemble is None:
        return (Member(record.model_desc, _classifier_of(record, path)),)
    return tuple(_load_member(member, path) for member in record.ensemble.members)


def _load_member(member: EnsembleMember, ensemble: Path) -> Member:
    if member.record is None:
        raise RecordError(f"{ensemble} does not say where its members lie: make it anew")
    path = ensemble.resolve().parent / member.record
    record = RunRecord.read(path)
    validation = load_predictions(record, path, "validation")
    if validation is None or not math.isclose(
        calibrated_loss(validation, member.temperature), member.validation_log_loss, rel_tol=1e-6
    ):
        raise RecordError(f"{path} is not the run that {ensemble} was made of: make it anew")
    return Member(member.name, _classifier_of(record, path), member.temperature, member.weight)


def _classifier_of(record: RunRecord, path: Path) -> Classifier:
    files = record.lensbench.files if record.lensbench is not None else {}
    if "weights" not in files:
        raise RecordError(f"{path} has no weights: nothing was trained for it here")
    return load_classifier(path.parent / files["weights"])


def labels_of(source: Source, classes: Sequence[str], labels: Path | None) -> dict[str, str]:
    """Return the class of each image by its name, as a file, its folder or its stack says it.

    Raises:
        DatasetError: The images are in no folders of classes, or not of these classes; or the file
            of labels does not fit them.
    """
    catalogue = read_catalogue(source, labels)
    if catalogue.unlabelled:
        raise DatasetError(
            f"{labels} has no class for {len(catalogue.unlabelled)} images of {source.path}, the "
            f"first {catalogue.unlabelled[0]}: name them, or leave them out"
        )
    strange = sorted(set(catalogue.classes) - set(classes))
    if strange:
        raise DatasetError(
            f"{source.path} has the classes {', '.join(catalogue.classes)}, of which the "
            f"classifier does not know {', '.join(strange)}: it knows {', '.join(classes)}"
        )
    names = (catalogue.classes[k] for k in catalogue.labels)
    return dict(zip(catalogue.members, names, strict=True))


def classify(
    members: Sequence[Member],
    source: Source,
    machine: MachineSpec,
    *,
    test_time_augmentation: AskedViews,
    batch_size: int,
) -> Classified:
    """Classify all images of a source, in float32, each read once.

    Args:
        members: One classifier, or an ensemble; of the same classes. Images of another shape than
            theirs are faults.
        source: Its folders mean nothing here.
        machine: Where to compute.
        test_time_augmentation: `d4` takes the mean probability over the eight flips and quarter
            turns of an image, unless that would harm; `auto` does it if the test of the classifier
            did, and only the test's views are what the temperatures of an ensemble are made for.
        batch_size: Images at a time.

    Raises:
        DatasetError: There are no images, or one has a name that no table could hold.
        ConfigError: There is less than one image at a time, or the machine lacks what was asked
            for.
        RecordError: Members are of different classes or shapes of images.
    """
    classes = members[0].classifier.classes
    shape = members[0].classifier.preprocess.image_shape
    for one in members:
        if (one.classifier.classes, one.classifier.preprocess.image_shape) != (classes, shape):
            raise RecordError(
                f"{members[0].name} and {one.name} are of different classes or shapes of images"
            )
    if batch_size < 1:
        raise ConfigError(f"1 image or more at a time, not {batch_size}")
    names = images_among(source.names(), source.path)
    found: dict[str, NDArray[np.float64]] = {}
    faults: dict[str, str] = {}
    images = _usable(source, names, shape, faults)
    asked = [_asked(member.classifier, test_time_augmentation) for member in members]
    notes = tuple(
        f"{member.name}: {reason}"
        for member, one in zip(members, asked, strict=True)
        if (reason := refusal(one, shape))
    )
    with left_alone(machine) as device, exact_float32(), torch.inference_mode():
        for member in members:
            member.classifier.eval().to(device)
        while batch := dict(islice(images, batch_size)):
            pixels = torch.from_numpy(np.stack([*batch.values()])).to(device)
            parts = [
                member.weight * _probabilities(member, views(pixels, one))
                for member, one in zip(members, asked, strict=True)
            ]
            found.update(zip(batch, torch.stack(parts).sum(dim=0).numpy(), strict=True))
        for member in members:
            member.classifier.cpu()
    return Classified(classes, found, faults, notes)


def _asked(classifier: Classifier, test_time_augmentation: AskedViews) -> Symmetry:
    if test_time_augmentation == "auto":
        return classifier.symmetry
    return replace(classifier.symmetry, test_time_augmentation=test_time_augmentation)


def _probabilities(member: Member, views_of_batch: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return (B, K) float64 on the CPU: the mean over the views, then calibrated."""
    logits = torch.stack([member.classifier(view) for view in views_of_batch]).cpu().double()
    mean = logits.log_softmax(dim=2).logsumexp(dim=0)
    return (mean / member.temperature).softmax(dim=1)


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
