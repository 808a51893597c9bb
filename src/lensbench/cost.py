"""What a classifier costs: the numbers between measuring and reporting. No torch here."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cost(_Frozen):
    """What is the same on every machine."""

    model: str
    """Its full name, `library/model`."""

    image_size: tuple[PositiveInt, PositiveInt]
    """Height and width in pixels of what the network sees."""

    channels: PositiveInt
    """That the network sees."""

    n_parameters: PositiveInt
    """Trainable ones."""

    multiply_adds: PositiveInt
    """Of one image on its way to the logits; `zoo.count` says what is counted."""


class Throughput(_Frozen):
    """How fast batches of one size went through, several times over."""

    repeats: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    """Images per second of each repeat, in the order of the measurement."""

    batch_size: PositiveInt

    @property
    def n_repeats(self) -> int:
        """How often it was measured."""
        return len(self.repeats)

    @property
    def median(self) -> float:
        """Images per second."""
        return float(np.median(self.repeats))

    @property
    def low(self) -> float:
        """Lower quartile of the repeats, in images per second."""
        return float(np.quantile(self.repeats, 0.25))

    @property
    def high(self) -> float:
        """Upper quartile of the repeats, in images per second."""
        return float(np.quantile(self.repeats, 0.75))


class MeasuredCost(Cost):
    """What holds for one machine and its precision alone, beside what holds everywhere."""

    training: Throughput
    """Whole optimiser steps."""

    inference: Throughput

    training_peak_bytes: PositiveInt | None
    """Most memory in use at once; None where the system does not tell."""

    inference_peak_bytes: PositiveInt | None

    execution: str | None = None
    """How training was computed: precision and order in memory; None in older files."""

    def joined(self, later: MeasuredCost) -> MeasuredCost:
        """Return one measurement with the repeats of both, and the higher of their peaks."""
        return later.model_copy(
            update={
                "training": _joined(self.training, later.training),
                "inference": _joined(self.inference, later.inference),
                "training_peak_bytes": _higher(self.training_peak_bytes, later.training_peak_bytes),
                "inference_peak_bytes": _higher(
                    self.inference_peak_bytes, later.inference_peak_bytes
                ),
            }
        )


def _joined(one: Throughput, other: Throughput) -> Throughput:
    return Throughput(repeats=one.repeats + other.repeats, batch_size=one.batch_size)


def _higher(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)


Quantity = Literal["multiply-adds", "parameters", "training images/s", "inference images/s"]
"""What an accuracy may be set against."""

SPEEDS: tuple[Quantity, ...] = ("training images/s", "inference images/s")
"""Those that more is better of, and that hold for one machine."""


def throughput(cost: Cost, quantity: Quantity) -> Throughput | None:
    """Return a speed with its spread; None for other quantities, or if it was not measured."""
    if not isinstance(cost, MeasuredCost):
        return None
    return {"training images/s": cost.training, "inference images/s": cost.inference}.get(quantity)


def amount(cost: Cost, quantity: Quantity) -> float | None:
    """Return one number of a cost, in the unit of its name; None for a speed not measured."""
    if quantity in SPEEDS:
        speed = throughput(cost, quantity)
        return None if speed is None else speed.median
    return cost.multiply_adds if quantity == "multiply-adds" else cost.n_parameters
