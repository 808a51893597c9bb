"""One training step, one validation pass: what Lightning's loop calls."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import lightning
import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import nn

from lensbench.config import Recipe
from lensbench.data.batches import Batch
from lensbench.errors import TrainingError
from lensbench.evaluation.auc import one_vs_rest
from lensbench.outcome import Epoch, ranking_scores
from lensbench.training.augment import augment
from lensbench.training.float32 import exact_float32
from lensbench.training.schedule import cosine, optimizer_for
from lensbench.training.views import views
from lensbench.zoo.classifier import Symmetry

_N_MOVES = 64
"""Moves of averaged weights in as many steps as they reach back. More of them change the mean of
weights little, and for a small network each takes a good part of a step."""


class Training(lightning.LightningModule):
    """A classifier while it is trained.

    The order of an epoch depends on the seed and the epoch alone, what is drawn in a step
    (augmentation, dropout) on these and the step, so a fit that is resumed after any step goes on
    exactly as if it had never stopped.
    """

    def __init__(
        self,
        classifier: nn.Module,
        recipe: Recipe,
        n_steps: int,
        seed: int,
        *,
        fused: bool = True,
        compiled: bool = False,
    ) -> None:
        """Wrap a classifier.

        Args:
            classifier: What is trained.
            recipe: How.
            n_steps: Optimiser steps in all epochs together.
            seed: Of augmentation and dropout.
            fused: Whether one kernel does the whole step of the optimiser.
            compiled: Whether `torch.compile` makes the training step.
        """
        super().__init__()
        self.classifier = classifier
        reach = max(recipe.average * n_steps, 1)
        self._stride = max(1, int(reach / _N_MOVES))
        self.averaged: ModelEmaV3 | None = None
        if recipe.average:
            decay = (1 - 1 / reach) ** self._stride
            # In training mode like all else: the trainer changes modes, and warns of others.
            self.averaged = ModelEmaV3(classifier, decay, use_warmup=True).train()
        self.recipe = recipe
        # A function, not a module: its weights are kept already, as those of the classifier.
        self._forward = classifier.forward
        if compiled:
            # Classifiers share their code, of which only so many compiled versions are kept.
            torch.compiler.reset()
            self._forward = torch.compile(classifier.forward, dynamic=False)
        self._fused = fused
        self.epochs: list[Epoch] = []
        self.train_seconds = 0.0
        self.validation_seconds = 0.0
        self.machine = ""
        """Where it is trained."""
        self.machines: tuple[str, ...] = ()
        """Where it was trained; a fit may go on on another one."""
        self._n_steps = n_steps
        self._learning_rate = math.nan
        self._seed = seed
        self._draws = torch.Generator()
        self._plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        self._loss_sum = torch.zeros(())
        self._n_trained = 0
        self._validated: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._clock = 0.0

    @property
    def evaluated(self) -> nn.Module:
        """The classifier that is validated and kept: with averaged weights, if there are some."""
        return self.classifier if self.averaged is None else self.averaged.module

    @property
    def has_stalled(self) -> bool:
        """Whether the validation AUC has been no better for as long as the recipe waits."""
        return self.recipe.patience != "none" and (
            len(self.epochs) - best_epoch(self.epochs) >= self.recipe.patience
        )

    def configure_optimizers(self) -> Any:
        """AdamW, with a schedule per step or the plateau schedule per epoch."""
        recipe = self.recipe
        network = getattr(self.classifier, "network", self.classifier)
        optimizer = optimizer_for(network, recipe, fused=self._fused)
        # The rate of a cycle of one step would be a 100-millionth of what was asked for.
        if recipe.schedule == "one-cycle" and self._n_steps > 1:
            rates = [group["lr"] for group in optimizer.param_groups]
            cycle: torch.optim.lr_scheduler.LRScheduler = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, rates, total_steps=self._n_steps
            )
            return _each_step(optimizer, cycle)
        if recipe.schedule == "cosine":
            factor = partial(cosine, n_steps=self._n_steps, warm_up=recipe.warm_up)
            return _each_step(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor))
        if recipe.schedule == "plateau":
            # Lightning checkpoints an epoch before it steps such a schedule, so that a resumed
            # fit would miss a step; here it is stepped with the validation that it looks at.
            self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer,
                mode="max",
                factor=recipe.plateau_factor,
                patience=recipe.plateau_patience,
            )
            if self._plateau_state is not None:
                self._plateau.load_state_dict(self._plateau_state)
        return optimizer

    def on_train_start(self) -> None:
        """Start the clock; an epoch that is resumed in its middle has no other start."""
        self.trainer.should_stop = self.has_stalled
        self._loss_sum = self._loss_sum.to(self.device)
        self._clock = time.perf_counter()

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's sums."""
        self._loss_sum = torch.zeros((), device=self.device)
        self._n_trained = 0
        self._clock = time.perf_counter()

    def training_step(self, batch: Batch, step: int) -> torch.Tensor:
        """Return the mean cross-entropy of one augmented batch."""
        images, labels = batch
        entropy = np.random.SeedSequence([self._seed, self.current_epoch, step])
        step_seed = int(entropy.generate_state(1)[0])
        self._draws.manual_seed(step_seed)
        _seed_dropout(step_seed, images.device)
        logits = self._forward(augment(images, self.recipe, self._draws))
        loss = nn.functional.cross_entropy(
            logits, labels, label_smoothing=self.recipe.label_smoothing
        )
        self._loss_sum += loss.detach() * len(labels)
        self._n_trained += len(labels)
        return loss

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """Do a step and let the averaged weights follow, before any checkpoint of it."""
        # A schedule goes on to the rate of the next step before the epoch's validation.
        self._learning_rate = max(group["lr"] for group in self.trainer.optimizers[0].param_groups)
        if self.machine not in self.machines:
            self.machines = (*self.machines, self.machine)
        super().optimizer_step(*arguments, **named)
        self.follow(self.trainer.global_step + 1)  # counted only after this hook

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm, of gradients that are not scaled here: Lightning asks, and then refuses.

        It takes any fused optimiser in mixed precision for one that scales gradients.
        """
        if gradient_clip_val is not None:
            groups = optimizer.param_groups  # to find them in the modules takes a millisecond
            parameters = [parameter for group in groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(parameters, gradient_clip_val)

    def follow(self, step: int) -> None:
        """Move the averaged weights, if it is their turn, towards those after a step (from 1)."""
        if self.averaged is not None and step % self._stride == 0:
            self.averaged.update(self.classifier, step // self._stride)

    def on_validation_start(self) -> None:
        """Note when training stopped and validation began."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # steps that are still to be done are training
        self.train_seconds += self._lap()

    def validation_step(self, batch: Batch, _: int) -> None:
        """Keep the logits of one batch, in float32: rounded ones would be equal, and tie."""
        images, labels = batch
        with torch.autocast(self.device.type, enabled=False), exact_float32():
            self._validated.append((self.evaluated(images).float().cpu(), labels.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Turn all validation logits into this epoch's line of the history."""
        logits, labels = (torch.cat(parts) for parts in zip(*self._validated, strict=True))
        self._validated.clear()
        train_loss = float(self._loss_sum) / self._n_trained
        if not (math.isfinite(train_loss) and logits.isfinite().all()):
            raise TrainingError(
                f"training diverged in epoch {self.current_epoch + 1}: the loss or the logits are "
                "not finite; try a lower learning rate, or gradient clipping"
            )
        auc = one_vs_rest(labels.numpy(), ranking_scores(logits.double().numpy())).macro
        self.epochs.append(
            Epoch(
                train_loss=train_loss,
                validation_loss=float(nn.functional.cross_entropy(logits, labels)),
                validation_auc=auc,
                learning_rate=self._learning_rate,
            )
        )
        self.trainer.should_stop = self.has_stalled
        if self._plateau is not None:
            self._plateau.step(auc)
        self.validation_seconds += self._lap()

    def predict_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Return the logits of one batch, (V, B, K) float32 on the CPU, of each of V views."""
        # One view after another: eight at once would take eight times the memory.
        seen = views(batch[0], Symmetry.of(self.recipe))
        logits = [self.classifier(view) for view in seen]
        return torch.stack(logits).float().cpu()

    def on_train_batch_end(self, *_: Any) -> None:
        """Count the time of the step."""
        self.train_seconds += self._lap()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed fit needs beside weights and optimiser."""
        checkpoint["lensbench"] = {
            "epochs": [epoch.model_dump() for epoch in self.epochs],
            "loss_sum": self._loss_sum.cpu(),
            "n_trained": self._n_trained,
            "train_seconds": self.train_seconds,
            "validation_seconds": self.validation_seconds,
            "machines": list(self.machines),
            "plateau": self._plateau.state_dict() if self._plateau is not None else None,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what `on_save_checkpoint` wrote; called before the optimisers are made."""
        kept = checkpoint["lensbench"]
        self.epochs = [Epoch.model_validate(epoch) for epoch in kept["epochs"]]
        self._loss_sum, self._n_trained = kept["loss_sum"], kept["n_trained"]
        self.train_seconds = kept["train_seconds"]
        self.validation_seconds = kept["validation_seconds"]
        self.machines = tuple(kept["machines"])
        self._plateau_state = kept["plateau"]

    def _lap(self) -> float:
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        return seconds


def _seed_dropout(seed: int, device: torch.device) -> None:
    """Seed the global generator of a device: dropout knows no other.

    `torch.manual_seed` seeds those of all kinds of device, and for each that is not in use it
    writes down the whole call stack, which takes milliseconds.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.get_device_module(device).manual_seed(seed)


def best_epoch(epochs: Sequence[Epoch]) -> int:
    """Return the first epoch, counted from 1, of the highest validation AUC; 0 if there is none."""
    aucs = [epoch.validation_auc for epoch in epochs]
    return 1 + aucs.index(max(aucs)) if aucs else 0


def _each_step(
    optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler
) -> dict[str, Any]:
    """Return what Lightning takes for a schedule that goes on at each step."""
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
