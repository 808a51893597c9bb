"""How the steps of a fit are computed: as the machine's settings say, else what is fastest here."""

from __future__ import annotations

import copy
import itertools
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from torch import nn

from lensbench.config import MachineSpec, Recipe
from lensbench.training.module import Training
from lensbench.training.steps import (
    left_alone,
    open_fabric,
    random_batch,
    seconds,
    training_step,
)
from lensbench.zoo.build import ImageShape

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
MemoryFormat = Literal["contiguous", "channels-last"]

SHORT_SECONDS = 30.0
"""A fit that takes no longer is not worth a measurement."""

LONG_SECONDS = 600.0
"""A fit on a GPU that takes longer is worth trying torch.compile, which takes a minute. On a CPU it
was slower than plain steps, after minutes of compiling (benchmarks/training.py)."""

_NOTE = "execution.json"

_GAIN = 0.9
"""Share of the time that something else may take to be preferred; less is within the noise."""

_MEASURED_SECONDS = 0.5
_MOST_IMAGES_ON_A_CPU = 16


class Execution(BaseModel):
    """How steps are computed. The weights that they lead to differ by rounding alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Precision = "32-true"
    memory_format: MemoryFormat = "contiguous"
    compiled: bool = False

    def __str__(self) -> str:
        return ", ".join(
            [self.precision, self.memory_format, *(["compiled"] if self.compiled else [])]
        )

    @property
    def fused(self) -> bool:
        """Whether one kernel does the optimiser's step; gradients that are scaled forbid it."""
        return self.precision != "16-mixed"

    def arrange(self, network: nn.Module) -> None:
        """Lay the weights of a network out in memory; images follow them."""
        channels_last = self.memory_format == "channels-last"
        network.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


@dataclass(frozen=True)
class Work:
    """What there is to compute."""

    classifier: nn.Module
    recipe: Recipe
    image_shape: ImageShape
    """(C, H, W) on disk."""
    n_classes: int
    n_images: int
    """That pass through in training, all epochs together."""


def choose_execution(work: Work, machine: MachineSpec, cache: Path | None = None) -> Execution:
    """Return what the machine's settings say, and where they say auto, what is fastest.

    Each way takes some steps on a batch of noise, with a copy of the classifier. What was found
    is kept, so that later runs of the same model on the same machine are computed alike. Only
    what takes less than 0.9 of the time is preferred to plain float32. Short fits are plain.

    Args:
        work: What there is to compute.
        machine: On what.
        cache: JSON file of what was found before; None keeps nothing.

    Raises:
        ConfigError: The machine lacks the accelerator that was asked for.
    """
    ways = _ways(work.recipe, machine)
    if len(ways) == 1 and machine.compile != "auto":
        return ways[0].model_copy(update={"compiled": machine.compile == "yes"})
    device = open_fabric(machine, "32-true").device
    with left_alone(machine, device), warnings.catch_warnings():
        # The schedule of a step that is only measured does not matter.
        warnings.simplefilter("ignore")
        stopwatch = _Stopwatch(work, machine, device)
        whole_fit = stopwatch.seconds_per_image(ways[0]) * work.n_images
        if whole_fit < SHORT_SECONDS:
            return ways[0].model_copy(update={"compiled": machine.compile == "yes"})
        tries_compiling = (
            machine.compile == "auto" and device.type == "cuda" and whole_fit > LONG_SECONDS
        )
        key = _key(work, machine, device, tries_compiling)
        known = _read(cache)
        if key not in known:
            found = _fastest(ways, stopwatch)
            if machine.compile == "yes" or (
                tries_compiling and stopwatch.compiling_pays(found, work.n_images)
            ):
                found = found.model_copy(update={"compiled": True})
            known = _read(cache) | {key: found}
            _write(known, cache)
    return known[key]


def keep_execution(execution: Execution, folder: Path) -> None:
    """Note in the folder of a fit how it is computed, so that it goes on in the same way."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{_NOTE}.partial"
    partial.write_text(execution.model_dump_json(), encoding="utf-8")
    partial.replace(folder / _NOTE)


def resumed_execution(folder: Path) -> Execution | None:
    """Return how an interrupted fit was computed; None if there is none."""
    try:
        return Execution.model_validate_json((folder / _NOTE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _ways(recipe: Recipe, machine: MachineSpec) -> list[Execution]:
    """Return what is allowed, the plainest first."""
    precisions: Sequence[Precision] = ("32-true",)
    if machine.precision != "auto":
        precisions = (machine.precision,)
    elif recipe.mixed_precision:
        precisions = ("32-true", "bf16-mixed")
    formats: Sequence[MemoryFormat] = ("contiguous", "channels-last")
    if machine.memory_format != "auto":
        formats = (machine.memory_format,)
    return [
        Execution(precision=precision, memory_format=memory_format)
        for precision, memory_format in itertools.product(precisions, formats)
    ]


def _fastest(ways: Sequence[Execution], stopwatch: _Stopwatch) -> Execution:
    best = ways[0]
    for way in ways[1:]:
        fastest = stopwatch.seconds_per_image(best)
        if stopwatch.seconds_per_image(way, give_up_above=2 * fastest) < _GAIN * fastest:
            best = way
    return best


class _Stopwatch:
    """Measures each way once."""

    def __init__(self, work: Work, machine: MachineSpec, device: torch.device) -> None:
        self._work = work
        self._machine = machine
        self._device = device
        self._known: dict[Execution, float] = {}
        self._n_images = work.recipe.batch_size
        if device.type == "cpu":
            # Which way is faster does not depend on it, but how long that takes to find out.
            self._n_images = min(self._n_images, _MOST_IMAGES_ON_A_CPU)

    def seconds_per_image(self, way: Execution, give_up_above: float = float("inf")) -> float:
        """Return the best of some steps after a first one; of the first alone if that is slow."""
        if way not in self._known:
            step = self._step(way)
            first = seconds(step, 1, self._device) / self._n_images
            second = seconds(step, 1, self._device) / self._n_images
            if min(first, second) < give_up_above:
                n_steps = max(1, int(_MEASURED_SECONDS / (second * self._n_images)))
                second = seconds(step, n_steps, self._device) / (n_steps * self._n_images)
            self._known[way] = min(first, second)
        return self._known[way]

    def compiling_pays(self, way: Execution, n_images: int) -> bool:
        """Whether compiled steps win back, over all images, what compiling takes."""
        start = time.perf_counter()
        try:
            compiled = self.seconds_per_image(way.model_copy(update={"compiled": True}))
        except Exception:  # no compiler, or a network that it cannot take: the plain way works
            return False
        spent = time.perf_counter() - start
        plain = self.seconds_per_image(way)
        return compiled < _GAIN * plain and (plain - compiled) * n_images > spent

    def _step(self, way: Execution) -> Callable[[], None]:
        work = self._work
        fabric = open_fabric(self._machine, way.precision)
        classifier = copy.deepcopy(work.classifier).to(self._device)
        way.arrange(classifier)
        training = Training(
            classifier,
            work.recipe,
            n_steps=1,
            seed=0,
            fused=way.fused,
            compiled=way.compiled,
        ).to(self._device)
        batch = random_batch(self._n_images, work.image_shape, work.n_classes, self._device)
        return training_step(fabric, training, batch)


def _key(work: Work, machine: MachineSpec, device: torch.device, tries_compiling: bool) -> str:
    """Return all that the choice depends on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    threads = torch.get_num_threads()
    return "; ".join(
        [
            str(getattr(work.classifier, "name", type(work.classifier).__name__)),
            f"{work.recipe.channels} x {work.recipe.image_size} of {work.image_shape}",
            f"batches of {work.recipe.batch_size}",
            f"{name}, {threads} threads, torch {torch.__version__}",
            f"{machine.precision}, mixed {work.recipe.mixed_precision}",
            f"{machine.memory_format}, compile {machine.compile} tried {tries_compiling}",
        ]
    )


_KNOWN = TypeAdapter(dict[str, Execution])


def _read(cache: Path | None) -> dict[str, Execution]:
    if cache is None:
        return {}
    try:
        return _KNOWN.validate_json(cache.read_bytes())
    except (FileNotFoundError, ValidationError):
        return {}  # of another version: measured again


def _write(known: dict[str, Execution], cache: Path | None) -> None:
    if cache is None:
        return
    cache.parent.mkdir(parents=True, exist_ok=True)
    partial = cache.with_name(cache.name + ".partial")
    partial.write_bytes(_KNOWN.dump_json(known, indent=1))
    partial.replace(cache)
