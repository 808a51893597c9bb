"""What a person sees while a classifier is trained."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning
from tqdm.auto import tqdm

from lensbench.training.module import Training


class Progress(lightning.Callback):
    """One bar for a whole fit: which run, which epoch, time left, and how it is going.

    Where the output is no terminal (a log file), each epoch gets a line of its own instead.
    """

    def __init__(self, label: str) -> None:
        """Show `label` (the name of the run, and which of how many it is) in front."""
        self._label = label
        self._bar: Any = None
        self._start = (0, 0.0)

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Open the bar, at the place where a resumed fit goes on."""
        # A bar that the environment disables (TQDM_DISABLE) counts nothing itself.
        self._start = trainer.global_step, time.monotonic()
        n_batches = int(trainer.num_training_batches)
        self._bar = tqdm(
            total=(trainer.max_epochs or 0) * n_batches,
            initial=trainer.global_step,
            unit="step",
            leave=True,
            mininterval=0.5 if sys.stderr.isatty() else 30,
            dynamic_ncols=True,
        )

    def on_train_epoch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Say which epoch this is."""
        self._bar.set_description(
            f"{self._label}, epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        )

    def on_train_batch_end(self, *_: Any) -> None:
        """Move on by a step."""
        self._bar.update()

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Show the losses and the validation AUC."""
        if not isinstance(pl_module, Training) or not pl_module.epochs:
            return
        last = pl_module.epochs[-1]
        line = (
            f"loss {last.train_loss:.3f}, validation {last.validation_loss:.3f}, "
            f"AUC {last.validation_auc:.4f}"
        )
        self._bar.set_postfix_str(line)
        if not sys.stderr.isatty():
            first_step, start = self._start
            n_steps = int(trainer.num_training_batches) * (trainer.max_epochs or 0)
            seconds_per_step = (time.monotonic() - start) / (trainer.global_step - first_step)
            left = (n_steps - trainer.global_step) * seconds_per_step
            tqdm.write(
                f"{self._label}, epoch {len(pl_module.epochs)}/{trainer.max_epochs}: {line}, "
                f"{tqdm.format_interval(left)} left",
                file=sys.stderr,
            )

    def on_train_end(self, *_: Any) -> None:
        """Close the bar."""
        self._bar.close()

    def on_exception(self, *_: Any) -> None:
        """Close the bar, so that the error stands on a line of its own."""
        if self._bar is not None:
            self._bar.close()
