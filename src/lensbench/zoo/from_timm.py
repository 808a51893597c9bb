"""Classifiers of timm."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import timm
from torch import nn

from lensbench.errors import WeightsError
from lensbench.zoo.adapter import Candidate, State, framed, names_below
from lensbench.zoo.fetching import Hosts, fetch_from_hub
from lensbench.zoo.preprocess import Size
from lensbench.zoo.weights import read_weights


def candidates(name: str, n_classes: int, n_channels: int, size: Size) -> Iterator[Candidate]:
    """Yield networks for images of `size`, best first; the last resort resizes them.

    A network that is made for one size takes another by timm's own `dynamic_img_size`, which
    interpolates its positions, after a frame that completes the last patches. (Its `img_size`
    would lay out some networks such that their pretrained weights fit no more.)

    Args:
        name: A name of `timm.list_models()`, with or without a `.tag` of its weights.
        n_classes: Number of logits.
        n_channels: Channels of the images.
        size: Height and width of the images.

    Raises:
        RuntimeError: timm cannot build it as a classifier.
    """
    settings = _settings(name)
    native = (settings["input_size"][1], settings["input_size"][2])
    make = partial(_candidate, name, n_classes, n_channels)
    if not settings.get("fixed_input_size") or size == native:
        yield make({}, size)
    else:
        # An architecture that takes no such argument says so in a way of its own.
        with contextlib.suppress(TypeError, ValueError, RuntimeError, AssertionError):
            yield make({"dynamic_img_size": True}, size)
    if size != native:
        yield make({}, native)


def fetch(name: str, hosts: Hosts) -> None:
    """Make sure that the pretrained weights lie on this machine.

    Raises:
        WeightsError: They cannot be had; the message is the reason, in one line.
    """
    fetch_from_hub(*_source(name), hosts)


def read(name: str, hosts: Hosts) -> tuple[State, str]:
    """Fetch the pretrained weights and read them, with the names that the file gives.

    Raises:
        WeightsError: They cannot be had; the message is the reason, in one line.
    """
    repository, filename = _source(name)
    path = fetch_from_hub(repository, filename, hosts)
    return read_weights(path)[0], f"timm: {repository}@{path.parent.name[:12]}"


def _settings(name: str) -> dict[str, Any]:
    """Return timm's description of a model and of its weights."""
    found = timm.get_pretrained_cfg(name)
    settings: dict[str, Any] = found.to_dict() if found is not None else {}
    settings.setdefault("input_size", (3, 224, 224))
    return settings


def _source(name: str) -> tuple[str, str]:
    """Return repository and file of the pretrained weights."""
    settings = _settings(name)
    repository = settings.get("hf_hub_id")
    if not repository:
        raise WeightsError(
            "timm has these weights only as a pickle"
            if settings.get("url")
            else "timm has no pretrained weights for it"
        )
    filename = settings.get("hf_hub_filename") or "model.safetensors"
    return repository, filename.replace("pytorch_model.bin", "model.safetensors")


def _candidate(
    name: str, n_classes: int, n_channels: int, options: dict[str, Any], size: Size
) -> Candidate:
    network: nn.Module = timm.create_model(
        name, num_classes=n_classes, in_chans=n_channels, **options
    )
    accepts = size
    if options.get("dynamic_img_size"):
        accepts = framed(size, network.patch_embed.patch_size)  # type: ignore[union-attr,arg-type]
    last: Any = network.get_classifier()  # type: ignore[operator]
    return Candidate(
        network,
        names_below(network, *(last if isinstance(last, tuple | list) else (last,))),
        accepts,
        pads=accepts != size,
        convert=partial(_convert, name, n_channels, options),
    )


def _convert(name: str, n_channels: int, options: dict[str, Any], state: State) -> State:
    """Let timm itself load a checkpoint, strictly, and return what became of it.

    timm knows how to rename its older checkpoints, to resize position tables and to adapt stems.

    Raises:
        RuntimeError: The checkpoint is of another network; the message lists the tensors.
    """
    settings = _settings(name)
    head = settings.get("classifier")
    first = head if isinstance(head, str) or head is None else head[0]
    weight = state.get(f"{first}.weight")
    # With a head of the checkpoint's own size timm loads strictly, with another it does not.
    n_classes = settings.get("num_classes", 1000)
    if weight is not None:
        n_classes = len(weight) - (settings.get("label_offset") or 0)
    loaded: nn.Module = timm.create_model(
        name,
        pretrained=True,
        pretrained_cfg_overlay={"state_dict": dict(state), "num_classes": n_classes},
        num_classes=n_classes,
        in_chans=n_channels,
        **options,
    )
    return dict(loaded.state_dict())
