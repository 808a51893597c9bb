"""One training step, one validation pass: what Lightning's loop calls."""

from __future__ import annotations

import math
import time
from typing import Any

import lightning
import numpy as np
import torch
from torch import nn

from lensbench.config import Recipe
from lensbench.data.batches import Batch
from lensbench.errors import TrainingError
from lensbench.evaluation.auc import one_vs_rest
from lensbench.outcome import Epoch
from lensbench.training.augment import augment


class Training(lightning.LightningModule):
    """A classifier while it is trained.

    The order of an epoch depends on the seed and the epoch alone, what is drawn in a step
    (augmentation, dropout) on these and the step, so a fit that is resumed after any step goes on
    exactly as if it had never stopped.
    """

    def __init__(self, classifier: nn.Module, recipe: Recipe, n_steps: int, seed: int) -> None:
        """Wrap a classifier for `n_steps` optimiser steps in all epochs together."""
        super().__init__()
        self.classifier = classifier
        self.recipe = recipe
        self.epochs: list[Epoch] = []
        self.train_seconds = 0.0
        self.validation_seconds = 0.0
        self._n_steps = n_steps
        self._seed = seed
        self._draws = torch.Generator()
        self._plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        self._loss_sum = torch.zeros(())
        self._n_trained = 0
        self._validated: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._clock = 0.0

    def configure_optimizers(self) -> Any:
        """AdamW, with the one-cycle schedule per step or the plateau schedule per epoch."""
        recipe = self.recipe
        optimizer = torch.optim.AdamW(
            self.classifier.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        if recipe.schedule == "one-cycle":
            cycle = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, recipe.learning_rate, total_steps=self._n_steps
            )
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": cycle, "interval": "step"},
            }
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
        # Dropout knows no generator but the global one.
        torch.manual_seed(step_seed)
        logits = self.classifier(augment(images, self.recipe, self._draws))
        loss = nn.functional.cross_entropy(logits, labels)
        self._loss_sum += loss.detach() * len(labels)
        self._n_trained += len(labels)
        return loss

    def on_validation_start(self) -> None:
        """Note when training stopped and validation began."""
        self.train_seconds += self._lap()

    def validation_step(self, batch: Batch, _: int) -> None:
        """Keep the logits of one batch."""
        images, labels = batch
        self._validated.append((self.classifier(images).float().cpu(), labels.cpu()))

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
        auc = one_vs_rest(labels.numpy(), logits.double().softmax(dim=1).numpy()).macro
        optimizer = self.trainer.optimizers[0]
        self.epochs.append(
            Epoch(
                train_loss=train_loss,
                validation_loss=float(nn.functional.cross_entropy(logits, labels)),
                validation_auc=auc,
                learning_rate=optimizer.param_groups[0]["lr"],
            )
        )
        if self._plateau is not None:
            self._plateau.step(auc)
        self.validation_seconds += self._lap()

    def predict_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Return the logits of one batch, (B, K) float32 on the CPU."""
        logits: torch.Tensor = self.classifier(batch[0])
        return logits.float().cpu()

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
            "plateau": self._plateau.state_dict() if self._plateau is not None else None,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what `on_save_checkpoint` wrote; called before the optimisers are made."""
        kept = checkpoint["lensbench"]
        self.epochs = [Epoch.model_validate(epoch) for epoch in kept["epochs"]]
        self._loss_sum, self._n_trained = kept["loss_sum"], kept["n_trained"]
        self.train_seconds = kept["train_seconds"]
        self.validation_seconds = kept["validation_seconds"]
        self._plateau_state = kept["plateau"]

    def _lap(self) -> float:
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        return seconds
