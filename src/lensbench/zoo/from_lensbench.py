"""Classifiers of our own."""

from __future__ import annotations

from collections.abc import Iterator

from lensbench.errors import WeightsError
from lensbench.zoo.adapter import Candidate, State, names_below
from lensbench.zoo.equivariant.networks import MINIMAL_SIDE, NETWORKS
from lensbench.zoo.fetching import Hosts
from lensbench.zoo.preprocess import Size


def candidates(name: str, n_classes: int, n_channels: int, size: Size) -> Iterator[Candidate]:
    """Yield one network, which takes images of any size that is large enough.

    Args:
        name: A name of `lensbench.zoo.names.OWN_NAMES`.
        n_classes: Number of logits.
        n_channels: Channels of the images.
        size: Height and width of the images.

    Raises:
        ValueError: The images are too small.
    """
    if min(size) < MINIMAL_SIDE:
        raise ValueError(f"it needs {MINIMAL_SIDE} pixels or more along each side")
    network = NETWORKS[name](n_classes, n_channels)
    yield Candidate(network, names_below(network, network.head.linear), size)


def fetch(name: str, hosts: Hosts) -> None:  # noqa: ARG001 - what every library is given
    """Say that there are no pretrained weights.

    Raises:
        WeightsError: Always.
    """
    raise WeightsError("lensbench has no pretrained weights for it")


def read(name: str, hosts: Hosts) -> tuple[State, str]:  # noqa: ARG001
    """Say that there are no pretrained weights.

    Raises:
        WeightsError: Always.
    """
    raise WeightsError("lensbench has no pretrained weights for it")
