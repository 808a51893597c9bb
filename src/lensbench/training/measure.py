"""How fast a classifier trains and predicts on this machine, without its images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from lensbench.config import MachineSpec, ModelSpec, Recipe
from lensbench.cost import MeasuredCost, Throughput
from lensbench.training.execution import Execution, Work, choose_execution
from lensbench.training.memory import PeakMemory
from lensbench.training.module import Training
from lensbench.training.steps import (
    inference_step,
    left_alone,
    open_fabric,
    random_batch,
    seconds,
    training_step,
)
from lensbench.zoo.build import ImageShape, build
from lensbench.zoo.classifier import Classifier
from lensbench.zoo.count import cost_of

_REPEAT_SECONDS = 0.2
_N_WARM_UP = 3

_N_IMAGES = 1_000_000_000
"""Of a fit that is long on any machine."""

PLAIN = Execution()


@dataclass(frozen=True)
class Subject:
    """A model to be measured, under the conditions of its run."""

    identifier: str
    """As in `ModelSpec`."""
    recipe: Recipe
    classes: tuple[str, ...]
    image_shape: ImageShape
    """(C, H, W) on disk."""

    def build(self) -> Classifier:
        """Return it with random weights."""
        model = ModelSpec(identifier=self.identifier, pretrained=False)
        return build(model, self.recipe, self.classes, self.image_shape, seed=0)


def fastest_execution(subject: Subject, machine: MachineSpec) -> Execution:
    """Return how a long fit of a classifier is computed on this machine.

    As `choose_execution` does for a fit, but nothing is compiled unless the machine's settings say
    so: whether that pays depends on how long the fit is. Errors are those of `measure`.
    """
    if machine.compile == "auto":
        machine = machine.model_copy(update={"compile": "no"})
    work = Work(
        subject.build(), subject.recipe, subject.image_shape, len(subject.classes), _N_IMAGES
    )
    return choose_execution(work, machine)


def measure(
    subject: Subject, machine: MachineSpec, execution: Execution = PLAIN, n_repeats: int = 5
) -> MeasuredCost:
    """Measure what a classifier with random weights costs, on random images.

    A training step is that of `fit`: augmentation, forward and backward pass, clipping, AdamW and
    averaging. Inference is that of `predict`, all views of an image and float32, which brings the
    logits to the CPU. Both begin with a batch that is on the device. Left out are reading images,
    the schedule, validation, and what Lightning's loop itself takes.

    Each repeat has as many steps as fill 0.2 s or more, and the device has finished them when its
    clock stops. Random numbers and threads of this process are left as they were.

    Args:
        subject: The model.
        machine: On what.
        execution: How training is computed.
        n_repeats: How often each speed is measured.

    Raises:
        ModelError: There is no such network, or it cannot take such images.
        ConfigError: The machine lacks the accelerator that was asked for.
    """
    recipe, batch_size = subject.recipe, subject.recipe.batch_size
    classifier = subject.build()  # before memory is kept, which would count what that has freed
    with left_alone(machine) as device:
        memory = PeakMemory(classifier, device)
        cost = cost_of(classifier)
        execution.arrange(classifier)
        training = Training(
            classifier,
            recipe,
            n_steps=_N_IMAGES // batch_size,
            seed=0,
            fused=execution.fused,
            compiled=execution.compiled,
        ).to(device)
        batch = random_batch(batch_size, subject.image_shape, len(subject.classes), device)

        def rates(step: Callable[[], object]) -> Throughput:
            for _ in range(_N_WARM_UP):
                step()
            # While cuDNN looks for the fastest kernels it takes memory that later steps do not.
            memory.restart()
            repeats = _rates(step, device, n_repeats)
            return Throughput(
                repeats=tuple(batch_size * rate for rate in repeats), batch_size=batch_size
            )

        # The peak of a CPU's process never falls, so what takes less comes first.
        inference = rates(inference_step(training, batch))
        inference_peak = memory.bytes()
        trained = rates(training_step(open_fabric(machine, execution.precision), training, batch))
        return MeasuredCost(
            **dict(cost),
            training=trained,
            inference=inference,
            training_peak_bytes=memory.bytes(),
            inference_peak_bytes=inference_peak,
            execution=str(execution),
        )


def _rates(step: Callable[[], object], device: torch.device, n_repeats: int) -> list[float]:
    """Return steps per second of each repeat."""
    n_steps = 1
    while seconds(step, n_steps, device) < _REPEAT_SECONDS:
        n_steps *= 2
    return [n_steps / seconds(step, n_steps, device) for _ in range(n_repeats)]
