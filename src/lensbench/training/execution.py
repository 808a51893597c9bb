"""How the steps of a fit are computed: as the machine's settings say, else what is fastest here."""

from __future__ import annotations

import contextlib
import copy
import itertools
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from torch import nn

from lensbench.config import EXECUTION_NOTE, MachineSpec, MemoryFormat, Precision, Recipe
from lensbench.errors import ConfigError
from lensbench.training.module import Training
from lensbench.training.steps import (
    left_alone,
    open_fabric,
    random_batch,
    seconds,
    training_step,
)
from lensbench.whole_file import write_whole, written_whole
from lensbench.zoo.build import ImageShape

SHORT_SECONDS = 30.0
"""A fit that takes no longer is not worth a measurement."""

LONG_SECONDS = 600.0
"""A fit on a GPU that takes longer is worth trying torch.compile, which takes a minute. On a CPU a
ResNet18 was no faster for it, after a minute or two of compiling; `benchmarks/training.py --parts
ways` measures it."""

_GAIN = 0.9
"""Share of the time that something else may take to be preferred; less is within the noise."""

_N_ROUNDS = 3
"""How often something else must be faster, in turn with what is preferred: on two busy cores, the
ratio of one step of a ResNet18 to the next ranged from 0.73 to 1.06."""

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


def _say_nothing(_: str) -> None:
    pass


def choose_execution(
    work: Work,
    machine: MachineSpec,
    cache: Path | None = None,
    say: Callable[[str], None] = _say_nothing,
) -> Execution:
    """Return what the machine's settings say, and where they say auto, what is fastest.

    Each way takes some steps on a batch of noise, with a copy of the classifier. What was found
    is kept, so that later fits of as many images with the same model on the same machine are
    computed alike. Float32 with channels last is what other ways are measured against: they are
    chosen only if they take less than 0.9 of its time, each time that both are measured in turn.
    Short fits are computed so without a measurement.

    Args:
        work: What there is to compute.
        machine: On what.
        cache: JSON file of what was found before; None keeps nothing.
        say: Takes a line for each way that fails.

    Raises:
        ConfigError: The machine lacks the accelerator, or the precision, that was asked for.
    """
    with left_alone(machine) as device, warnings.catch_warnings():
        ways = allowed_ways(work.recipe, machine, device)
        if len(ways) == 1 and machine.compile != "auto":
            return ways[0].model_copy(update={"compiled": machine.compile == "yes"})
        # The schedule of a step that is only measured does not matter.
        warnings.simplefilter("ignore")
        key = _key(work, machine, device)
        known = _read(cache)
        if key not in known:
            stopwatch = Stopwatch(work, machine, device, say)
            found = _found(ways, work, machine, stopwatch, device)
            del stopwatch  # and the copies of the classifier that it holds
            known = _read(cache) | {key: found}
            _write(known, cache)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # the images will want it
    return known[key]


def _found(
    ways: Sequence[Execution],
    work: Work,
    machine: MachineSpec,
    stopwatch: Stopwatch,
    device: torch.device,
) -> Execution:
    """Measure, as far as that is worth it."""
    short = SHORT_SECONDS / work.n_images
    whole_fit = stopwatch.seconds_per_image(ways[0], enough_below=short) * work.n_images
    best = ways[0] if whole_fit < SHORT_SECONDS else _fastest(ways, stopwatch)
    compiled = machine.compile == "yes" or (
        machine.compile == "auto"
        and device.type == "cuda"
        and whole_fit > LONG_SECONDS
        and stopwatch.compiling_pays(best, work.n_images)
    )
    return best.model_copy(update={"compiled": compiled})


def keep_execution(execution: Execution, folder: Path) -> None:
    """Note in the folder of a fit how it is computed, so that it goes on in the same way."""
    write_whole(folder / EXECUTION_NOTE, execution.model_dump_json())


def resumed_execution(folder: Path, machine: MachineSpec, device: torch.device) -> Execution | None:
    """Return how an interrupted fit goes on; None if there is none.

    That is as it was computed, but for what the machine's settings say, or would not be chosen on
    the device: a fit may go on on another one.

    Raises:
        ConfigError: The device lacks the precision in which it began.
    """
    try:
        begun = Execution.model_validate_json((folder / EXECUTION_NOTE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    _require_precision(begun.precision, device)
    memory_format, compiled = machine.memory_format, machine.compile == "yes"
    if memory_format == "auto":
        memory_format = "contiguous" if device.type == "mps" else begun.memory_format
    if machine.compile == "auto":
        compiled = begun.compiled and device.type == "cuda"
    return begun.model_copy(update={"memory_format": memory_format, "compiled": compiled})


def allowed_ways(recipe: Recipe, machine: MachineSpec, device: torch.device) -> list[Execution]:
    """Return what is allowed, the preferred first.

    On two CPU cores at 150 px, channels last in float32 took 0.6 to 0.9 of the time of the usual
    order with MobileNetV3, EfficientNet and ResNet50, and about as long with shallow ResNets,
    ConvNeXtV2 and ViT (`benchmarks/training.py --parts ways`). On MPS the backward pass of a
    convolution was 30 times slower so (pytorch/pytorch#193349).

    Raises:
        ConfigError: The device lacks the precision that was asked for.
    """
    precisions: Sequence[Precision] = ("32-true",)
    if machine.precision != "auto":
        _require_precision(machine.precision, device)
        precisions = (machine.precision,)
    elif recipe.mixed_precision and _has_bfloat16(device):
        precisions = ("32-true", "bf16-mixed")
    formats: Sequence[MemoryFormat] = ("channels-last", "contiguous")
    if machine.memory_format != "auto":
        formats = (machine.memory_format,)
    elif device.type == "mps":
        formats = ("contiguous",)
    return [
        Execution(precision=precision, memory_format=memory_format)
        for precision, memory_format in itertools.product(precisions, formats)
    ]


def _require_precision(precision: Precision, device: torch.device) -> None:
    """Refuse what Lightning would replace by bfloat16, and no record would say so."""
    if precision == "16-mixed" and device.type == "cpu":
        raise ConfigError("a CPU does not train in 16-mixed: take bf16-mixed or 32-true")


def _has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 may be faster: a CPU without AVX-512 emulates it, many times slower."""
    return device.type != "cpu" or (
        torch.backends.cpu.get_cpu_capability() not in ("NO AVX", "AVX2")
    )


def _fastest(ways: Sequence[Execution], stopwatch: Stopwatch) -> Execution:
    best = ways[0]
    for way in ways[1:]:
        is_better = all(_is_faster(way, best, stopwatch) for _ in range(_N_ROUNDS))
        best, loser = (way, best) if is_better else (best, way)
        stopwatch.forget(loser)  # and the memory that the next one may want
    return best


def _is_faster(way: Execution, than: Execution, stopwatch: Stopwatch) -> bool:
    """Measure both, one after the other."""
    preferred = stopwatch.seconds_per_image(than)
    return stopwatch.seconds_per_image(way, give_up_above=2 * preferred) < _GAIN * preferred


class Stopwatch:
    """Times a step in each way; one that fails where the first one worked is never fast."""

    def __init__(
        self, work: Work, machine: MachineSpec, device: torch.device, say: Callable[[str], None]
    ) -> None:
        """Prepare to measure.

        Args:
            work: What there is to compute; its classifier is copied for each way.
            machine: On what, as far as its settings are the same for all ways.
            device: Of the machine.
            say: Takes a line for each way that fails.
        """
        self._work = work
        self._machine = machine
        self._device = device
        self._say = say
        self._steps: dict[Execution, Callable[[], None]] = {}
        self._n_images = work.recipe.batch_size
        if device.type == "cpu":
            # Which way is faster does not depend on it, but how long that takes to find out.
            self._n_images = min(self._n_images, _MOST_IMAGES_ON_A_CPU)

    def seconds_per_image(
        self, way: Execution, *, enough_below: float = 0, give_up_above: float = float("inf")
    ) -> float:
        """Return the better of one step and some more, as they are now.

        Args:
            way: How the steps are computed.
            enough_below: Seconds; after a first step that takes less, no more are taken.
            give_up_above: Seconds; nor after one that takes more.
        """
        try:
            return self._measured(way, enough_below, give_up_above)
        except Exception as error:  # whatever stops one way must not stop the preferred one
            if not self._steps:
                raise
            self._say(f"{way} does not work here ({type(error).__name__}): not taken")
            return float("inf")

    def forget(self, way: Execution) -> None:
        """Free the memory that steps in a way hold."""
        self._steps.pop(way, None)

    def compiling_pays(self, way: Execution, n_images: int) -> bool:
        """Whether compiled steps win back, over all images, what compiling takes.

        A fit compiles twice, since its batches have two sizes.
        """
        plain = self.seconds_per_image(way)
        start = time.perf_counter()
        compiled = self.seconds_per_image(way.model_copy(update={"compiled": True}))
        spent = 2 * (time.perf_counter() - start)
        return compiled < _GAIN * plain and (plain - compiled) * n_images > spent

    def _measured(self, way: Execution, enough_below: float, give_up_above: float) -> float:
        if way not in self._steps:
            step = self._step(way)
            step()  # the first one allocates, looks for kernels, compiles
            self._steps[way] = step
        step = self._steps[way]
        taken = seconds(step, 1, self._device)
        if enough_below * self._n_images < taken < give_up_above * self._n_images:
            n_steps = max(1, int(_MEASURED_SECONDS / taken))
            taken = min(taken, seconds(step, n_steps, self._device) / n_steps)
        return taken / self._n_images

    def _step(self, way: Execution) -> Callable[[], None]:
        work = self._work
        fabric = open_fabric(self._machine, way.precision)
        classifier = copy.deepcopy(work.classifier).to(self._device)
        way.arrange(classifier)
        training = Training(
            classifier,
            work.recipe,
            n_steps=max(1, work.n_images // work.recipe.batch_size),
            seed=0,
            fused=way.fused,
            compiled=way.compiled,
        ).to(self._device)
        batch = random_batch(self._n_images, work.image_shape, work.n_classes, self._device)
        return training_step(fabric, training, batch)


def _key(work: Work, machine: MachineSpec, device: torch.device) -> str:
    """Return all that the choice depends on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return "; ".join(
        [
            str(getattr(work.classifier, "name", type(work.classifier).__name__)),
            f"{work.recipe.channels} x {work.recipe.image_size} of {work.image_shape}",
            f"{work.n_images} images in batches of {work.recipe.batch_size}",
            f"{platform.node()}, {name}, {torch.get_num_threads()} threads",
            f"torch {torch.__version__}",
            f"{machine.precision}, mixed {work.recipe.mixed_precision}",
            f"{machine.memory_format}, compile {machine.compile}",
        ]
    )


_KNOWN = TypeAdapter(dict[str, Execution])


def _read(cache: Path | None) -> dict[str, Execution]:
    if cache is None:
        return {}
    try:
        return _KNOWN.validate_json(cache.read_bytes())
    except (OSError, ValidationError):
        return {}  # of another version, say: measured again


def _write(known: dict[str, Execution], cache: Path | None) -> None:
    if cache is None:
        return
    # What is not kept is measured again.
    with contextlib.suppress(OSError), written_whole(cache) as partial:
        partial.write_bytes(_KNOWN.dump_json(known, indent=1))
