"""From a name and a recipe to a classifier with its initial weights."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch

from lensbench.config import ModelSpec, Recipe
from lensbench.errors import ModelError, WeightsError
from lensbench.zoo.adapter import Adapter, Candidate
from lensbench.zoo.classifier import Classifier, Symmetry
from lensbench.zoo.fetching import Hosts, one_line
from lensbench.zoo.names import ModelName, resolve
from lensbench.zoo.preprocess import Preprocess, View
from lensbench.zoo.weights import (
    fingerprint,
    load_weights,
    read_weights,
    require_file,
    transplant,
)

ImageShape = tuple[int, int, int]
"""Channels, height and width on disk."""


def build(
    model: ModelSpec,
    recipe: Recipe,
    classes: tuple[str, ...],
    image_shape: ImageShape,
    seed: int,
) -> Classifier:
    """Build a classifier for images as they lie on disk.

    The weights are those of `model.weights` if given, else the library's pretrained ones, else
    random. What they do not cover, the head above all, is drawn with `seed`; no generator
    outside is touched.

    Args:
        model: Which network, and which weights to start from.
        recipe: How it sees the images.
        classes: The K class names.
        image_shape: (C, H, W) of the images on disk.
        seed: Of the random weights; on one machine it gives the same ones each time.

    Returns:
        A classifier on the CPU, in training mode.

    Raises:
        ModelError: There is no such network, or it cannot take such images.
        WeightsError: The weights cannot be had or do not fit; nothing falls back silently.
    """
    require_weights([model])
    name = resolve(model.identifier)
    classifier, candidate = _random(
        name, View.of(recipe), Symmetry.of(recipe), classes, image_shape, seed
    )
    if model.weights is None and not model.pretrained:
        return classifier
    try:
        # Libraries build a second network to convert or read a checkpoint.
        with torch.random.fork_rng(devices=[]):
            _give_weights(classifier, candidate, name, model.weights)
    except WeightsError as error:
        raise WeightsError(_without_weights({str(name): str(error)})) from error
    return classifier


def load_classifier(path: Path) -> Classifier:
    """Rebuild a classifier from what `save_weights` wrote.

    Nothing else is needed, but for a model of the transformers hub that is not listed: its
    `config.json` is read again from the hub, its cache or its folder.

    Raises:
        WeightsError: The file is missing, damaged or of somebody else.
        ModelError: This version of the libraries has no such network.
    """
    _, about = read_weights(path)
    try:
        name = resolve(about["model"])
        shape = cast("ImageShape", tuple(about["image_shape"]))
        view, symmetry = View(**about["view"]), Symmetry(**about["symmetry"])
        classes = tuple(about["classes"])
    except (KeyError, TypeError) as error:
        raise WeightsError(
            f"{path} does not say which classifier it belongs to and how that is tested (no "
            f"{error}); build one and use load_weights, or train it anew"
        ) from error
    classifier, _ = _random(name, view, symmetry, classes, shape, seed=0)
    load_weights(classifier, path)
    classifier.weights_used = f"file: {path.name} sha256:{fingerprint(path)}"
    return classifier


def require_weights(models: Iterable[ModelSpec]) -> None:
    """Fetch all pretrained weights that some models will need, before anything else is done.

    Files that are already on this machine are not asked for again. Where there is no network
    this takes seconds, however many models there are.

    Raises:
        ModelError: There is no model of such a name.
        WeightsError: Names every model whose weights cannot be had, why, and the ways out.
    """
    hosts = Hosts()
    missing: dict[str, str] = {}
    for model in models:
        name = resolve(model.identifier)
        try:
            if model.weights is not None:
                require_file(model.weights)
            elif model.pretrained:
                _adapter(name).fetch(name.name, hosts)
        except WeightsError as error:
            missing[str(name)] = str(error)
    if missing:
        raise WeightsError(_without_weights(missing))


def _random(
    name: ModelName,
    view: View,
    symmetry: Symmetry,
    classes: tuple[str, ...],
    image_shape: ImageShape,
    seed: int,
) -> tuple[Classifier, Candidate]:
    """Build a classifier with random weights out of the first network that takes the images."""
    if len(classes) < 2:
        raise ModelError(f"a classifier needs two classes or more, but got {list(classes)}")
    wanted = view.size(image_shape)
    reason = "it is no classifier"
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        candidates = _adapter(name).candidates(name.name, len(classes), view.channels, wanted)
        try:
            for candidate in candidates:
                preprocess = Preprocess(image_shape, view, candidate.accepts, pads=candidate.pads)
                notes = _notes(name, candidate, wanted)
                classifier = Classifier(
                    name,
                    classes,
                    preprocess,
                    candidate.network,
                    symmetry,
                    _random_weights(seed),
                    notes,
                )
                reason = _try_out(classifier)
                if not reason:
                    return classifier, candidate
        except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError) as error:
            reason = one_line(error)
    raise ModelError(
        f"{name} cannot be built for images of {view.channels} x {wanted[0]} x {wanted[1]}: "
        f"{reason}"
    )


def _give_weights(
    classifier: Classifier, candidate: Candidate, name: ModelName, file: Path | None
) -> None:
    """Replace the random weights by those of a file, or by the library's pretrained ones."""
    if file is None:
        state, classifier.weights_used = _adapter(name).read(name.name, Hosts())
        keep_head = False
    else:
        state, about = read_weights(file)
        classifier.weights_used = f"file: {file.name} sha256:{fingerprint(file)}"
        keep_head = about.get("classes") in (None, list(classifier.classes))
    kept = transplant(
        candidate.network,
        candidate.head,
        state,
        keep_head=keep_head,
        convert=candidate.convert,
        source=classifier.weights_used,
    )
    if kept:
        classifier.notes += ("the last layer is that of the weight file",)


def _try_out(classifier: Classifier) -> str:
    """Return why one image cannot be classified; nothing if it can."""
    classifier.eval()
    try:
        with torch.no_grad():
            logits = classifier(torch.zeros(1, *classifier.preprocess.image_shape))
    except Exception as error:  # libraries refuse a size in every way there is
        return one_line(error)
    finally:
        classifier.train()
    wanted = (1, len(classifier.classes))
    return "" if tuple(logits.shape) == wanted else f"it returns {tuple(logits.shape)} as logits"


def _notes(name: ModelName, candidate: Candidate, wanted: tuple[int, int]) -> tuple[str, ...]:
    if candidate.accepts == wanted:
        return ()
    size, accepts = (f"{h} x {w}" for h, w in (wanted, candidate.accepts))
    if candidate.pads:
        return (f"a black frame makes {accepts} pixels of {size}, for whole patches",)
    return (f"images are resized to {accepts} pixels, not {size}, because {name} needs it",)


def _random_weights(seed: int) -> str:
    return f"none (random, seed {seed})"


def _without_weights(reasons: dict[str, str]) -> str:
    """Say which weights cannot be had, why, and what can be done."""
    lines = [f"  {model}: {reason}" for model, reason in reasons.items()]
    return "\n".join(
        [
            "there are no weights to start from for",
            *lines,
            "Either give a local file (--weights FILE.safetensors, in Python weights=...) or start "
            "from random weights (--no-pretrained, in Python pretrained=False).",
        ]
    )


def _adapter(name: ModelName) -> Adapter:
    """Import the module of one library, and with it the library."""
    module: Any = importlib.import_module(f"lensbench.zoo.from_{name.library}")
    return cast("Adapter", module)
