"""What the zoo asks of a library, and what it gets: the contract of the `from_*` modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from lensbench.zoo.fetching import Hosts
from lensbench.zoo.preprocess import Size

State = dict[str, Tensor]
"""Tensors by name, as `state_dict()` gives them."""


def unchanged(state: State) -> State:
    """Return the checkpoint as it is: its names are those of the network."""
    return state


@dataclass(frozen=True)
class Candidate:
    """A network with random weights, and what it needs to take images of the wanted size.

    Attributes:
        network: Takes (B, C, *accepts) float32, returns (B, K) logits.
        head: Names of the tensors of its last layer, whose shapes depend on K.
        accepts: Height and width of the images that it is given.
        pads: Whether images get from the wanted size to `accepts` by a black frame;
            otherwise they are resized.
        convert: Turns a checkpoint of the library into one that fits this network, but for
            head and stem.
    """

    network: nn.Module
    head: frozenset[str]
    accepts: Size
    pads: bool = False
    convert: Callable[[State], State] = unchanged


class Adapter(Protocol):
    """One library; the modules `from_*` beside this one."""

    def candidates(
        self, name: str, n_classes: int, n_channels: int, size: Size
    ) -> Iterator[Candidate]:
        """Yield networks for images of `size`, best first; the last resort resizes them."""
        ...

    def fetch(self, name: str, hosts: Hosts) -> None:
        """Make sure that the pretrained weights lie on this machine.

        Raises:
            WeightsError: They cannot be had; the message is the reason, in one line.
        """
        ...

    def read(self, name: str, hosts: Hosts) -> tuple[State, str]:
        """Fetch the pretrained weights and read them; the second value says which they are.

        Raises:
            WeightsError: They cannot be had; the message is the reason, in one line.
        """
        ...


def names_below(network: nn.Module, *layers: nn.Module) -> frozenset[str]:
    """Return the names, within `network`, of the tensors of some of its layers."""
    inside = {id(part) for layer in layers for part in layer.modules()}
    return frozenset(
        f"{prefix}.{tensor}" if prefix else tensor
        for prefix, part in network.named_modules()
        if id(part) in inside
        for tensor in part.state_dict()
    )


def framed(size: Size, patch: Size) -> Size:
    """Return the smallest size that holds `size` and consists of whole patches.

    >>> framed((150, 150), (16, 16))
    (160, 160)
    """
    return (-(-size[0] // patch[0]) * patch[0], -(-size[1] // patch[1]) * patch[1])
