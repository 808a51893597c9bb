"""Pack -> batches on the device that trains, without worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from lensbench.data.pack import Pack

Batch = tuple[torch.Tensor, torch.Tensor]
"""(B, C, H, W) float32 images and (B,) int64 labels."""

_SHARE_OF_FREE_MEMORY = 0.25
"""More would be missed by a large network, whose steps come later."""


class DeviceImages:
    """The images of a pack as float32 on a device.

    A batch is gathered from the memory map into one buffer, copied to the device as it is stored,
    and becomes float32 there. A GPU with enough free memory gets a copy of all the stored images
    instead, and gathers from that.

    Args:
        pack: The images.
        device: Where batches are wanted.
        resident: Whether the device holds a copy of all images; None: if it is a GPU that can.
    """

    def __init__(self, pack: Pack, device: torch.device, *, resident: bool | None = None) -> None:
        self._pack = pack
        self._device = device
        self._on_gpu = device.type == "cuda"
        self._divisors = torch.tensor(pack.divisors, device=device)[:, None, None, None]
        self._labels = torch.tensor(pack.labels, device=device)
        self._buffer = torch.empty(0)
        self._copied: torch.cuda.Event | None = None
        fits = self._on_gpu and pack.stored.nbytes < (
            _SHARE_OF_FREE_MEMORY * torch.cuda.mem_get_info(device)[0]
        )
        self._resident = _upload(pack, device) if (fits if resident is None else resident) else None

    @property
    def is_resident(self) -> bool:
        """Whether the device holds a copy of all images."""
        return self._resident is not None

    def release(self) -> None:
        """Give up the copy of all images, if the device holds one: batches take longer then."""
        self._resident = None

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return the images and labels at some rows of the pack, in the order asked for."""
        index = self._send(self._pinned(torch.from_numpy(rows)))
        if self._resident is not None:
            values = self._resident[index]
        else:
            values = self._send(self._gathered(rows))
            if self._on_gpu:
                self._copied = torch.cuda.current_stream(self._device).record_event()
        if self._pack.stored.dtype == np.uint16:
            values = _unsigned(values)
        pixels = values.to(torch.float32, copy=True)  # the buffer will be used again
        return pixels.div_(self._divisors[index]), self._labels[index]

    def _gathered(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the stored images at some rows, in a buffer that the next call uses again."""
        if self._copied is not None:
            self._copied.synchronize()  # the buffer may still be on its way
        if len(self._buffer) < len(rows):
            shape = (len(rows), *self._pack.image_shape)
            self._buffer = self._pinned(torch.empty(shape, dtype=_dtype_of(self._pack)))
        gathered = self._buffer[: len(rows)]
        # With the default mode, "raise", numpy gathers into an array of its own first.
        np.take(_signed(self._pack.stored), rows, axis=0, out=gathered.numpy(), mode="clip")
        return gathered

    def _pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.pin_memory() if self._on_gpu else tensor

    def _send(self, tensor: torch.Tensor) -> torch.Tensor:
        # Only from pinned memory does a copy not wait for the work that the GPU has left.
        return tensor.to(self._device, non_blocking=self._on_gpu)


def _signed(stored: NDArray[Any]) -> NDArray[Any]:
    """See uint16 as int16, since devices can index and copy only that."""
    return stored.view(np.int16) if stored.dtype == np.uint16 else stored


def _unsigned(values: torch.Tensor) -> torch.Tensor:
    """Undo `_signed`; not every device can convert uint16."""
    if values.device.type == "cpu":
        return values.view(torch.uint16)
    return values.to(torch.int32).bitwise_and_(0xFFFF)


def _dtype_of(pack: Pack) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype=_signed(pack.stored[:0]).dtype)).dtype


def _upload(pack: Pack, device: torch.device) -> torch.Tensor:
    copy = torch.empty(pack.stored.shape, dtype=_dtype_of(pack), device=device)
    for first in range(0, len(copy), 1024):
        block = np.array(_signed(pack.stored[first : first + 1024]))
        copy[first : first + 1024] = torch.from_numpy(block)
    return copy


class Feeder:
    """Some rows of a pack in batches, each row once.

    Args:
        images: Where the batches come from.
        rows: (n,) rows of the pack.
        batch_size: Most images per step; a step of training has 3 where 2 would leave 1 alone.
        shuffle_seed: For training: every epoch has a new order, that depends on this and the
            number of the epoch alone, and batches are of equal size, give or take one, since a
            last one of a few images would count as much as the others. None, for evaluation,
            keeps the order of `rows`.
    """

    def __init__(
        self,
        images: DeviceImages,
        rows: NDArray[np.int64],
        batch_size: int,
        *,
        shuffle_seed: int | None = None,
    ) -> None:
        self._images = images
        self._rows = rows
        self._batch_size = batch_size
        self._shuffle_seed = shuffle_seed
        self._epoch = 0
        self._n_delivered = 0
        self._n_skipped = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0); the trainer calls this."""
        self._epoch = epoch

    @property
    def sampler(self) -> Self:
        """Where Lightning looks for `set_epoch`."""
        return self

    batch_sampler = None  # where there is a `sampler`, Lightning asks for this as well

    def state_dict(self) -> dict[str, int]:
        """Return how much of which epoch was delivered."""
        return {"epoch": self._epoch, "batches": self._n_delivered}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next pass go on where another one stopped."""
        self._epoch = state["epoch"]
        self._n_skipped = state["batches"] % len(self)

    def __len__(self) -> int:
        n_batches = -(-len(self._rows) // self._batch_size)
        if self._shuffle_seed is None:
            return n_batches
        # One image alone is no batch for BatchNorm, so that of batches of 2 one may have 3.
        return max(1, min(n_batches, len(self._rows) // 2))

    def __iter__(self) -> Iterator[Batch]:
        first, self._n_skipped = self._n_skipped, 0
        for number, rows in enumerate(self._batches()):
            if number >= first:
                self._n_delivered = number + 1
                yield self._images.batch(rows)

    def _batches(self) -> list[NDArray[np.int64]]:
        if self._shuffle_seed is None:
            return [
                self._rows[first : first + self._batch_size]
                for first in range(0, len(self._rows), self._batch_size)
            ]
        order = self._rows[_shuffled(len(self._rows), self._shuffle_seed, self._epoch)]
        return np.array_split(order, len(self))


def _shuffled(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return 0 to n - 1 in an order that no release of NumPy changes.

    NumPy promises that for the bits of its generators, not for its permutations (NEP 19).
    """
    bits = np.random.Philox(np.random.SeedSequence([seed, epoch])).random_raw(n)
    return np.argsort(bits, kind="stable")
