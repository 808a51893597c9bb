"""Steps of training and prediction on one batch, and how fast they are."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import lightning
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from lensbench.config import MachineSpec, Precision
from lensbench.data.batches import Batch
from lensbench.errors import ConfigError
from lensbench.freed_memory import freed_memory_kept
from lensbench.machine import cpu_name, machine_name
from lensbench.training.float32 import exact_float32
from lensbench.training.module import Training
from lensbench.training.quiet import quiet
from lensbench.zoo.build import ImageShape


def open_fabric(machine: MachineSpec, precision: Precision) -> lightning.Fabric:
    """Return Lightning's access to the device of a machine, in a precision of its.

    Raises:
        ConfigError: The machine lacks the accelerator that was asked for.
    """
    try:
        with quiet():
            return lightning.Fabric(
                accelerator=machine.accelerator,
                devices=1,
                plugins=LightningEnvironment(),  # one process, whatever a cluster's variables say
                precision=precision,
            )
    except (lightning.fabric.utilities.exceptions.MisconfigurationException, RuntimeError) as error:
        raise ConfigError(f"accelerator {machine.accelerator!r}: {error}") from error


class Hardware(NamedTuple):
    """What a machine turned out to be."""

    accelerator: str
    """`cpu`, `cuda` or `mps`."""
    device: str
    """Model name of the GPU, or of the processor."""
    threads: int

    @property
    def machine(self) -> str:
        """One line that is equal only for machines whose times may be added."""
        return machine_name(self.device, self.accelerator, self.threads)


def find_hardware(machine: MachineSpec) -> Hardware:
    """Say what these settings run on.

    Raises:
        ConfigError: The machine lacks the accelerator that was asked for.
    """
    device = open_fabric(machine, "32-true").device
    return Hardware(
        device.type,
        torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        machine.threads or torch.get_num_threads(),
    )


def training_step(fabric: lightning.Fabric, training: Training, batch: Batch) -> Callable[[], None]:
    """Return a function, each call of which makes one whole training step on a batch."""
    training.train()
    training.on_train_epoch_start()
    configured = training.configure_optimizers()
    plain = configured["optimizer"] if isinstance(configured, dict) else configured
    optimizer = cast("torch.optim.Optimizer", fabric.setup_optimizers(plain))
    clip = training.recipe.gradient_clip
    n_steps = 0

    def step() -> None:
        nonlocal n_steps
        with fabric.autocast():
            loss = training.training_step(batch, 0)
        optimizer.zero_grad()
        fabric.backward(loss)
        if clip != "none":
            # An error would want to know the norm on the host, and wait for the device.
            fabric.clip_gradients(training, optimizer, max_norm=clip, error_if_nonfinite=False)
        optimizer.step()
        n_steps += 1
        training.follow(n_steps)

    return step


def inference_step(training: Training, batch: Batch) -> Callable[[], None]:
    """Return a step of prediction, in float32, on one batch."""
    training.eval()

    def step() -> None:
        with torch.no_grad(), exact_float32():
            training.predict_step(batch, 0)

    return step


def seconds(step: Callable[[], object], n_steps: int, device: torch.device) -> float:
    """Return how long some steps take, until the device has finished them."""
    _wait_for(device)
    start = time.perf_counter()
    for _ in range(n_steps):
        step()
    _wait_for(device)
    return time.perf_counter() - start


def random_batch(
    n_images: int, image_shape: ImageShape, n_classes: int, device: torch.device
) -> Batch:
    """Return images of noise, and labels at random, on a device."""
    draws = torch.Generator().manual_seed(0)
    images = torch.rand(n_images, *image_shape, generator=draws)
    labels = torch.randint(n_classes, (n_images,), generator=draws)
    return images.to(device), labels.to(device)


@contextlib.contextmanager
def left_alone(machine: MachineSpec) -> Iterator[torch.device]:
    """Set threads and cuDNN for a machine, and give them and random numbers back as they were.

    On a CPU, freed memory is kept meanwhile.

    Yields:
        The device of the machine.

    Raises:
        ConfigError: The machine lacks the accelerator that was asked for.
    """
    device = open_fabric(machine, "32-true").device
    threads = torch.get_num_threads()
    searches = torch.backends.cudnn.benchmark
    # Shapes do not change, so cuDNN may look for its fastest kernels.
    torch.backends.cudnn.benchmark = True
    if machine.threads is not None:
        torch.set_num_threads(machine.threads)
    try:
        with (
            freed_memory_kept() if device.type == "cpu" else contextlib.nullcontext(),
            torch.random.fork_rng([device] if device.type == "cuda" else []),
        ):
            yield device
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = searches


def _wait_for(device: torch.device) -> None:
    """Let a device finish what it was told: its work goes on after the calls return."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
