"""What an interrupted fit goes on from, and the weights of the best epoch so far."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lensbench.outcome import Epoch
from lensbench.training.interrupts import StopRequest
from lensbench.training.module import Training, best_epoch
from lensbench.whole_file import written_whole

SECONDS_BETWEEN_CHECKPOINTS = 600.0
"""What an interrupted fit may lose, if an epoch is not shorter."""

SECONDS_BETWEEN_EPOCHS = 30.0
"""What it may lose if epochs are shorter. A checkpoint of a ResNet18 has 134 MB and takes some
tenths of a second, which are a good part of an epoch on a fast GPU."""


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that replace the one before them once they are whole.

    Lightning's are written in the folder for temporary files and moved from there, which on another
    file system is a copy over the one before: who is killed in it has none.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None
    ) -> None:
        """Write a checkpoint beside the one before, and take its place."""
        partial = Path(path).with_suffix(".partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        torch.save(checkpoint, partial)
        partial.replace(path)


class LastStep(ModelCheckpoint):
    """All that is needed to go on, in `last.ckpt`: after epochs, and in long ones between.

    Where someone wants the fit to end, it is written first.
    """

    def __init__(self, folder: Path, *, each_epoch: bool, stop: StopRequest) -> None:
        """Write to a folder.

        Args:
            folder: Where.
            each_epoch: Whether no epoch is left out, however short: weights of the best epoch
                must not be of one that the checkpoint does not know.
            stop: Whether someone wants the fit to end.
        """
        super().__init__(
            folder, filename="last", enable_version_counter=False, save_on_train_epoch_end=True
        )
        self._file = folder / "last.ckpt"
        self._each_epoch = each_epoch
        self._stop = stop
        self._clock = time.monotonic()

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Write the state after an epoch, if it is the last one or the last time was long ago.

        Raises:
            KeyboardInterrupt: The fit is to end here.
        """
        is_last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        if is_last or self._each_epoch or self._is_due(SECONDS_BETWEEN_EPOCHS):
            super().on_train_epoch_end(trainer, pl_module)
            self._clock = time.monotonic()
        if self._stop.made and not is_last:
            raise KeyboardInterrupt

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Write the state after a step, if the last time was long ago.

        Raises:
            KeyboardInterrupt: The fit is to end here.
        """
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return  # the epoch is not over before its validation, after which it is written
        if self._is_due(SECONDS_BETWEEN_CHECKPOINTS):
            trainer.save_checkpoint(self._file)
            self._clock = time.monotonic()
        if self._stop.made:
            raise KeyboardInterrupt

    def _is_due(self, seconds: float) -> bool:
        return self._stop.made or time.monotonic() - self._clock >= seconds

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: there is always one file, wherever the folder is by then."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up nothing."""


class BestEpoch(lightning.Callback):
    """The weights of the epoch of the highest validation AUC, in a file of its number.

    Which epoch that is follows from the history, so nothing has to be remembered for a fit that
    is resumed, wherever its folder is by then. A fit that loses an epoch may not find it the best
    when it comes again, so the best of those before it is kept until the next one.
    """

    def __init__(self, folder: Path) -> None:
        """Write to a folder."""
        self._folder = folder

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Keep the weights if this epoch is better than all before."""
        if not isinstance(pl_module, Training):
            return
        epochs = pl_module.epochs
        best, best_before = best_epoch(epochs), best_epoch(epochs[:-1])
        for file in self._folder.glob("best-*.safetensors"):
            if file not in (self._of(best), self._of(best_before)):
                file.unlink()
        if best == len(epochs):
            state = pl_module.evaluated.state_dict()
            copies = {k: t.detach().cpu().contiguous().clone() for k, t in state.items()}
            with written_whole(self._of(best)) as partial:
                save_file(copies, partial)

    def load(self, epochs: Sequence[Epoch]) -> dict[str, torch.Tensor]:
        """Return the weights that were kept of a fit with these epochs, of which there are some.

        Raises:
            ValueError: They are gone or damaged.
        """
        file = self._of(best_epoch(epochs))
        try:
            weights: dict[str, torch.Tensor] = load_file(file)
        except (FileNotFoundError, SafetensorError) as error:
            raise ValueError(f"the weights in {file.name} cannot be read: {error}") from error
        return weights

    def _of(self, epoch: int) -> Path:
        return self._folder / f"best-{epoch}.safetensors"


def find_checkpoint(
    folder: Path, best: BestEpoch | None, say: Callable[[str], None]
) -> Path | None:
    """Return the checkpoint to go on from; a damaged one is set aside and that is said.

    Args:
        folder: Of the fit.
        best: Keeps weights that the fit cannot go on without.
        say: Takes the line.

    Raises:
        OSError: It cannot be read now, which says nothing of what it holds.
    """
    path = folder / "last.ckpt"
    if not path.exists():
        return None
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)["lensbench"]
        if "machines" not in kept:
            raise ValueError("an earlier version has left it")
        epochs = [Epoch.model_validate(epoch) for epoch in kept["epochs"]]
        if best is not None and epochs:
            best.load(epochs)
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        damaged = path.with_suffix(".damaged")
        path.replace(damaged)
        say(f"{path} cannot be used ({error}) and is now {damaged.name}: training starts anew")
        return None
    return path
