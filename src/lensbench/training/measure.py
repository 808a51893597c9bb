"""How fast a classifier trains and predicts on this machine, without its images."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import lightning
import torch

from lensbench.config import MachineSpec, ModelSpec, Recipe
from lensbench.cost import MeasuredCost, Throughput
from lensbench.data.batches import Batch
from lensbench.errors import ConfigError
from lensbench.training.memory import PeakMemory
from lensbench.training.module import Training
from lensbench.zoo.build import ImageShape, build
from lensbench.zoo.count import cost_of

_REPEAT_SECONDS = 0.2


class Hardware(NamedTuple):
    """What a machine turned out to be."""

    accelerator: str
    """`cpu`, `cuda` or `mps`."""
    device: str | None
    """Model name of the GPU; None on a CPU."""
    threads: int


def find_hardware(machine: MachineSpec) -> Hardware:
    """Say what measurements with these settings run on.

    Raises:
        ConfigError: The machine lacks the accelerator that was asked for.
    """
    device = _fabric(machine).device
    return Hardware(
        device.type,
        torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        machine.threads or torch.get_num_threads(),
    )


def measure(
    identifier: str,
    recipe: Recipe,
    classes: tuple[str, ...],
    image_shape: ImageShape,
    machine: MachineSpec,
    *,
    batch_size: int | None = None,
    n_warm_up: int = 3,
    n_repeats: int = 5,
) -> MeasuredCost:
    """Measure what a classifier with random weights costs, on random images.

    A training step is that of `fit`: augmentation, forward and backward pass, clipping and AdamW
    in the machine's precision. Inference is that of `predict`, which brings the logits to the CPU.
    Both begin with a batch that is on the device. Left out are reading images, the schedule,
    validation, and what Lightning's loop itself takes.

    Each repeat has as many steps as fill 0.2 s or more, and the device has finished them when its
    clock stops. Random numbers and threads of this process are left as they were.

    Args:
        identifier: Of the model, as in `ModelSpec`.
        recipe: How it sees the images and is trained.
        classes: The K class names.
        image_shape: (C, H, W) of the images on disk.
        machine: On what, and how.
        batch_size: Images per step (default: the recipe's).
        n_warm_up: Steps before the first repeat.
        n_repeats: How often each speed is measured.

    Raises:
        ModelError: There is no such network, or it cannot take such images.
        ConfigError: The machine lacks the accelerator that was asked for.
    """
    batch_size = batch_size or recipe.batch_size
    fabric = _fabric(machine)
    with _left_alone(machine, fabric.device):
        classifier = build(
            ModelSpec(identifier=identifier, pretrained=False), recipe, classes, image_shape, seed=0
        )
        memory = PeakMemory(classifier, fabric.device)
        cost = cost_of(classifier)
        training = Training(classifier, recipe, n_steps=1, seed=0).to(fabric.device)
        batch = _random_batch(batch_size, image_shape, len(classes), fabric.device)

        def rates(step: Callable[[], object]) -> Throughput:
            repeats = _rates(step, fabric.device, n_warm_up, n_repeats)
            return Throughput(
                repeats=tuple(batch_size * rate for rate in repeats), batch_size=batch_size
            )

        # The peak of a CPU's process never falls, so what takes less comes first.
        memory.restart()
        inference = rates(_inference_step(fabric, training, batch))
        inference_peak = memory.bytes()
        memory.restart()
        trained = rates(_training_step(fabric, training, batch))
        return MeasuredCost(
            **dict(cost),
            training=trained,
            inference=inference,
            training_peak_bytes=memory.bytes(),
            inference_peak_bytes=inference_peak,
        )


def _training_step(
    fabric: lightning.Fabric, training: Training, batch: Batch
) -> Callable[[], None]:
    training.train()
    training.on_train_epoch_start()
    configured = training.configure_optimizers()
    plain = configured["optimizer"] if isinstance(configured, dict) else configured
    optimizer = cast("torch.optim.Optimizer", fabric.setup_optimizers(plain))
    clip = training.recipe.gradient_clip

    def step() -> None:
        with fabric.autocast():
            loss = training.training_step(batch, 0)
        optimizer.zero_grad()
        fabric.backward(loss)
        if clip != "none":
            fabric.clip_gradients(training, optimizer, max_norm=clip)
        optimizer.step()

    return step


def _inference_step(
    fabric: lightning.Fabric, training: Training, batch: Batch
) -> Callable[[], None]:
    training.eval()

    def step() -> None:
        with torch.no_grad(), fabric.autocast():
            training.predict_step(batch, 0)

    return step


def _rates(
    step: Callable[[], object], device: torch.device, n_warm_up: int, n_repeats: int
) -> list[float]:
    """Return steps per second of each repeat."""
    for _ in range(n_warm_up):
        step()
    n_steps = 1
    while _seconds(step, n_steps, device) < _REPEAT_SECONDS:
        n_steps *= 2
    return [n_steps / _seconds(step, n_steps, device) for _ in range(n_repeats)]


def _seconds(step: Callable[[], object], n_steps: int, device: torch.device) -> float:
    _wait_for(device)
    start = time.perf_counter()
    for _ in range(n_steps):
        step()
    _wait_for(device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    """Let a device finish what it was told: its work goes on after the calls return."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _random_batch(
    n_images: int, image_shape: ImageShape, n_classes: int, device: torch.device
) -> Batch:
    draws = torch.Generator().manual_seed(0)
    images = torch.rand(n_images, *image_shape, generator=draws)
    labels = torch.randint(n_classes, (n_images,), generator=draws)
    return images.to(device), labels.to(device)


def _fabric(machine: MachineSpec) -> lightning.Fabric:
    try:
        return lightning.Fabric(
            accelerator=machine.accelerator, devices=1, precision=machine.precision
        )
    except (lightning.fabric.utilities.exceptions.MisconfigurationException, RuntimeError) as error:
        raise ConfigError(f"accelerator {machine.accelerator!r}: {error}") from error


@contextlib.contextmanager
def _left_alone(machine: MachineSpec, device: torch.device) -> Iterator[None]:
    """Set the threads that are asked for, and give threads and random numbers back as they were."""
    threads = torch.get_num_threads()
    if machine.threads is not None:
        torch.set_num_threads(machine.threads)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        torch.set_num_threads(threads)
