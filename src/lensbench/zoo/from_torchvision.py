"""Classifiers of torchvision."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
import torchvision.models as library
from torch import nn
from torchvision.models.vision_transformer import interpolate_embeddings

from lensbench.errors import WeightsError
from lensbench.zoo.adapter import Candidate, State, framed, names_below, unchanged
from lensbench.zoo.fetching import Hosts, one_line
from lensbench.zoo.preprocess import Size

_INCEPTIONS = ("googlenet", "inception_v3")


def candidates(name: str, n_classes: int, n_channels: int, size: Size) -> Iterator[Candidate]:
    """Yield networks for images of `size`, best first; the last resort resizes them.

    A ViT is laid out for the smallest square of whole patches that holds the images.

    Args:
        name: A name of `torchvision.models.list_models(module=torchvision.models)`.
        n_classes: Number of logits.
        n_channels: Channels of the images.
        size: Height and width of the images.
    """
    if name.startswith("vit_"):
        patch = int(name.rsplit("_", 1)[1])
        side = framed((max(size), max(size)), (patch, patch))[0]
        network = _network(name, n_classes, n_channels, image_size=side)
        yield Candidate(
            network,
            _head(network),
            (side, side),
            pads=True,
            convert=partial(interpolate_embeddings, side, patch),
        )
        return
    options, convert = {}, unchanged
    if name in _INCEPTIONS:
        # No auxiliary heads, whose logits no one would use; the recipe alone normalises.
        options = {"aux_logits": False, "transform_input": False, "init_weights": True}
        convert = _without_auxiliary_heads
    network = _network(name, n_classes, n_channels, **options)
    side = library.get_model_weights(name).DEFAULT.transforms().crop_size[0]
    for accepts in (size, (side, side)):
        yield Candidate(network, _head(network), accepts, convert=convert)


def fetch(name: str, hosts: Hosts) -> None:
    """Make sure that the pretrained weights lie on this machine; a download's checksum is tested.

    Raises:
        WeightsError: They cannot be had; the message is the reason, in one line.
    """
    weights = _weights(name)
    if _cached(weights).exists():
        return
    hosts.require(weights.url)
    try:
        # torch announces a download on stderr, and offers no way to ask it not to.
        with contextlib.redirect_stderr(io.StringIO()):
            weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # network, checksum and disk have no common class
        raise WeightsError(f"{weights.url}: {one_line(error)}") from error


def read(name: str, hosts: Hosts) -> tuple[State, str]:
    """Fetch the pretrained weights and let torchvision load them.

    Raises:
        WeightsError: They cannot be had; the message is the reason, in one line.
    """
    fetch(name, hosts)
    weights = _weights(name)
    try:
        # torchvision would unpickle whatever is in the file; this refuses all but tensors.
        torch.load(_cached(weights), map_location="cpu", weights_only=True)
        loaded = library.get_model(name, weights=weights, progress=False)
    except Exception as error:  # a damaged file breaks in every way there is
        raise WeightsError(
            f"{_cached(weights)} cannot be read ({one_line(error)}); delete it to fetch it again"
        ) from error
    return dict(loaded.state_dict()), f"torchvision: {weights}"


def _weights(name: str) -> Any:
    try:
        return library.get_model_weights(name).DEFAULT
    except AttributeError:
        raise WeightsError("torchvision has no pretrained weights for it") from None


def _cached(weights: Any) -> Path:
    return Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(weights.url).path).name)


def _network(name: str, n_classes: int, n_channels: int, **options: Any) -> nn.Module:
    network: nn.Module = library.get_model(name, weights=None, num_classes=n_classes, **options)
    if n_channels == 1:
        _reduce_stem(network)
    return network


def _without_auxiliary_heads(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.lower().startswith("aux")}


def _reduce_stem(network: nn.Module) -> None:
    """Let the first convolution take one channel, with the sum of the weights of its three.

    An image of one channel gives then what it gave when repeated for three.
    """
    stem = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
    stem.in_channels = 1
    stem.weight = nn.Parameter(stem.weight.detach().sum(1, keepdim=True))


def _head(network: nn.Module) -> frozenset[str]:
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return names_below(network, layers[-1])
