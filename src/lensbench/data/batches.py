"""Pack -> batches on the CPU, without worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from lensbench.data.pack import Pack

Batch = tuple[torch.Tensor, torch.Tensor]
"""(B, C, H, W) float32 images and (B,) int64 labels."""


class PackedImages(Dataset[Batch]):
    """Some rows of a pack; a whole batch is copied by one indexing of the memory map."""

    def __init__(self, pack: Pack, rows: NDArray[np.int64]) -> None:
        self._pack = pack
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """Return the images and labels at some positions, in the order asked for."""
        rows = self._rows[np.asarray(positions)]
        return torch.from_numpy(self._pack.images[rows]), torch.from_numpy(self._pack.labels[rows])


class EpochShuffle(Sampler[int]):
    """A new order in each epoch, that depends on the seed and the epoch alone."""

    def __init__(self, n_examples: int, seed: int) -> None:
        self._n_examples = n_examples
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0); the trainer calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._n_examples

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self._seed, self._epoch]).permutation(self._n_examples)
        return iter(order.tolist())


def training_batches(
    pack: Pack, rows: NDArray[np.int64], batch_size: int, seed: int
) -> DataLoader[Batch]:
    """Shuffled batches. A smaller last one is left out, since some layers cannot train on it."""
    return _batches(
        PackedImages(pack, rows),
        batch_size=min(batch_size, len(rows)),
        sampler=EpochShuffle(len(rows), seed),
        drop_last=True,
    )


def evaluation_batches(pack: Pack, rows: NDArray[np.int64], batch_size: int) -> DataLoader[Batch]:
    """Every row once, in the order given."""
    return _batches(PackedImages(pack, rows), batch_size=batch_size)


def _batches(images: PackedImages, **settings: Any) -> DataLoader[Batch]:
    return DataLoader(
        images,
        collate_fn=_as_it_is,
        pin_memory=torch.cuda.is_available(),
        # Without one of its own, the loader takes numbers from the global generator, and what
        # dropout then draws depends on when a loader was opened.
        generator=torch.Generator(),
        **settings,
    )


def _as_it_is(batch: Any) -> Any:
    return batch
