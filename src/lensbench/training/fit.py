"""Fit a classifier, and let a fitted one predict."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import lightning
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from numpy.typing import NDArray
from torch import nn
from tqdm.auto import tqdm

from lensbench.config import MachineSpec, Precision, Recipe
from lensbench.data.batches import DeviceImages, Feeder
from lensbench.data.pack import Pack
from lensbench.outcome import History, Timing
from lensbench.training.checkpoints import BestEpoch, LastStep, WholeCheckpoints, find_checkpoint
from lensbench.training.execution import (
    Execution,
    Work,
    choose_execution,
    keep_execution,
    resumed_execution,
)
from lensbench.training.float32 import exact_float32
from lensbench.training.interrupts import StopRequest, keyboard_interrupts
from lensbench.training.module import Training, best_epoch
from lensbench.training.progress import Progress
from lensbench.training.quiet import quiet
from lensbench.training.steps import Hardware, find_hardware, left_alone

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Fit:
    """What a fit leaves beside the weights, and on what it ran."""

    history: History
    timing: Timing | None
    """None if it was trained on several machines: their times do not add up."""
    execution: Execution
    hardware: Hardware
    notes: tuple[str, ...]
    """What a record should say about how it ended."""


def fit(
    classifier: nn.Module,
    pack: Pack,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    recipe: Recipe,
    *,
    machine: MachineSpec,
    seed: int,
    folder: Path,
    cache: Path,
    label: str,
) -> Fit:
    """Train `classifier` in place; afterwards it has the weights that the recipe keeps.

    Args:
        classifier: (B, C, H, W) float32 -> (B, K) logits.
        pack: The images.
        train: (N,) rows of the pack to train on.
        validation: (M,) rows of the pack for loss and AUC after each epoch.
        recipe: How to train.
        machine: Where to train.
        seed: Of order, augmentation and dropout.
        folder: For checkpoints. If it holds those of an interrupted fit, that one goes on.
        cache: JSON file of how fits were computed before; see `choose_execution`.
        label: Names the fit in the progress bar.

    Raises:
        ConfigError: The machine lacks the accelerator that was asked for.
        TrainingError: The loss or the logits are no longer finite.
        KeyboardInterrupt: Ctrl-C or SIGTERM. The fit ends after the step that it is in, or the
            validation, with a checkpoint; a second Ctrl-C ends it at once, with the last one.
    """
    best = BestEpoch(folder) if recipe.keep == "best" else None
    stop = StopRequest()
    last = LastStep(folder, each_epoch=best is not None, stop=stop)
    callbacks = [Progress(label), stop, last, *([best] if best is not None else [])]

    def say(line: str) -> None:
        tqdm.write(f"{label}: {line}", sys.stderr)

    resumed = find_checkpoint(folder, best, say)
    work = Work(classifier, recipe, pack.image_shape, len(pack.classes), len(train) * recipe.epochs)
    with quiet(), left_alone(machine) as device:
        # A fit that failed before its first checkpoint is not bound to how it was computed.
        execution = resumed_execution(folder, machine, device) if resumed else None
        if execution is None:
            execution = choose_execution(work, machine, cache, say)
        keep_execution(execution, folder)
        trainer = _trainer(machine, execution.precision, recipe, callbacks, folder)
        images = DeviceImages(pack, device)
        batches = Feeder(images, train, recipe.batch_size, shuffle_seed=seed)
        execution.arrange(classifier)
        training = Training(
            classifier,
            recipe,
            len(batches) * recipe.epochs,
            seed,
            fused=execution.fused,
            compiled=execution.compiled,
        )
        hardware = find_hardware(machine)
        training.machine = hardware.machine
        try:
            with keyboard_interrupts(trainer):
                trainer.fit(
                    training,
                    batches,
                    Feeder(images, validation, recipe.batch_size),
                    ckpt_path=resumed,
                    weights_only=True,
                )
        finally:
            images.release()  # the trainer, which knows them, lives until it is collected
    if stop.made:  # in the last epoch, after which there is nothing to end
        raise KeyboardInterrupt
    kept_epoch = len(training.epochs)
    if best is not None:
        kept_epoch = best_epoch(training.epochs)
        classifier.load_state_dict(best.load(training.epochs))
    elif training.averaged is not None:
        classifier.load_state_dict(training.averaged.module.state_dict())
    training.cpu()
    return Fit(
        history=History(epochs=tuple(training.epochs), kept_epoch=kept_epoch),
        timing=_timing(training, len(train)),
        execution=execution,
        hardware=hardware,
        notes=_notes(training),
    )


def predict(
    classifier: nn.Module,
    pack: Pack,
    rows: NDArray[np.int64],
    recipe: Recipe,
    machine: MachineSpec,
) -> NDArray[np.float64]:
    """Return the logits (V, N, K) float64 of some rows of a pack, each once, in their order.

    They are computed in float32, from each of the V views of an image that the recipe asks for; the
    first view is the image itself.
    """
    with quiet(), left_alone(machine) as device:
        trainer = _trainer(machine, "32-true", recipe, [], None)
        # Every row is wanted once: not worth a copy of all of them on the device.
        images = DeviceImages(pack, device, resident=False)
        with keyboard_interrupts(trainer), exact_float32():
            logits = trainer.predict(
                Training(classifier, recipe, 0, 0), Feeder(images, rows, recipe.batch_size)
            )
    classifier.cpu()
    return torch.cat(cast("list[torch.Tensor]", logits), dim=1).double().numpy()


def _notes(training: Training) -> tuple[str, ...]:
    n_epochs, recipe = len(training.epochs), training.recipe
    notes = []
    if n_epochs < recipe.epochs:
        notes.append(
            f"training was stopped after {n_epochs} of {recipe.epochs} epochs: the validation AUC "
            f"had been no better for {recipe.patience}"
        )
    if len(training.machines) > 1:
        notes.append(
            f"no training time is kept: it went on from {' to '.join(training.machines)}, whose "
            "times do not add up"
        )
    return tuple(notes)


def _timing(training: Training, n_images: int) -> Timing | None:
    if len(training.machines) > 1:
        return None
    return Timing(
        fit_seconds=training.train_seconds + training.validation_seconds,
        n_train_images_per_second=n_images * len(training.epochs) / training.train_seconds,
    )


def _trainer(
    machine: MachineSpec,
    precision: Precision,
    recipe: Recipe,
    callbacks: list[lightning.Callback],
    folder: Path | None,
) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator=machine.accelerator,
        devices=1,
        # One process, whatever a cluster's variables say.
        plugins=[LightningEnvironment(), WholeCheckpoints()],
        precision=precision,
        max_epochs=recipe.epochs,
        gradient_clip_val=None if recipe.gradient_clip == "none" else recipe.gradient_clip,
        callbacks=callbacks,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=bool(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
