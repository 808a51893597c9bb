"""Finite groups of turns and flips of the plane."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """The turns by multiples of 360/n degrees about the origin, with or without flips.

    Element `turns + n_turns * flipped` first flips left and right, if `flipped` is 1, and then
    turns counterclockwise `turns` times. Element 0 leaves everything as it is.

    Attributes:
        n_turns: Number of turns n.
        has_flips: Whether each turn is there with a flip before it as well.
    """

    n_turns: int
    has_flips: bool

    @property
    def order(self) -> int:
        """Number of elements |G|."""
        return self.n_turns * (2 if self.has_flips else 1)

    def matrices(self) -> Tensor:
        """Return what each element does to a point (x, y), y upwards: (|G|, 2, 2) float64."""
        angle = 2 * torch.pi * torch.arange(self.n_turns, dtype=torch.float64) / self.n_turns
        cos, sin = angle.cos(), angle.sin()
        turns = torch.stack([cos, -sin, sin, cos], dim=1).reshape(-1, 2, 2)
        if not self.has_flips:
            return turns
        flip = torch.tensor([[-1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
        return torch.cat([turns, turns @ flip])

    def quotients(self) -> Tensor:
        """Return the element g^-1 h at [g, h]: (|G|, |G|) int64.

        A flip reverses the turns that come after it: flip turn = turn^-1 flip.
        """
        element = torch.arange(self.order)
        turns, flipped = element % self.n_turns, element // self.n_turns
        between = turns[None, :] - turns[:, None]
        between = torch.where(flipped[:, None] == 1, -between, between) % self.n_turns
        return between + self.n_turns * (flipped[:, None] ^ flipped[None, :])


D4 = Group(n_turns=4, has_flips=True)
"""The eight symmetries of a square, under which a grid of pixels falls onto itself."""

C8 = Group(n_turns=8, has_flips=False)
"""Turns by multiples of 45 degrees, without flips."""
