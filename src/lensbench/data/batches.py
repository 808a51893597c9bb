"""Pack -> batches on the device that trains, without worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray

from lensbench.data.pack import Pack
from lensbench.errors import ConfigError

Batch = tuple[torch.Tensor, torch.Tensor]
"""(B, C, H, W) float32 images and (B,) int64 labels."""

_SHARE_OF_FREE_MEMORY = 0.5


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
        self._divisors = torch.tensor(pack.divisors, device=device)[:, None, None, None]
        self._labels = torch.tensor(pack.labels, device=device)
        self._buffer = torch.empty(0)
        self._copied: torch.cuda.Event | None = None
        fits = device.type == "cuda" and pack.stored.nbytes < (
            _SHARE_OF_FREE_MEMORY * torch.cuda.mem_get_info(device)[0]
        )
        self._resident = _upload(pack, device) if (fits if resident is None else resident) else None

    @property
    def is_resident(self) -> bool:
        """Whether the device holds a copy of all images."""
        return self._resident is not None

    def batch(self, rows: NDArray[np.int64]) -> Batch:
        """Return the images and labels at some rows of the pack, in the order asked for."""
        index = torch.from_numpy(rows).to(self._device)
        values = self._staged(rows) if self._resident is None else self._resident[index]
        if self._pack.stored.dtype == np.uint16:
            values = values.to(torch.int32).bitwise_and_(0xFFFF)
        return values.float() / self._divisors[index], self._labels[index]

    def _staged(self, rows: NDArray[np.int64]) -> torch.Tensor:
        if self._copied is not None:
            self._copied.synchronize()  # the buffer may still be on its way
        if len(self._buffer) < len(rows):
            self._buffer = torch.empty(
                (len(rows), *self._pack.image_shape),
                dtype=_dtype_of(self._pack),
                pin_memory=self._device.type == "cuda",
            )
        gathered = self._buffer[: len(rows)]
        # With the default mode, "raise", numpy gathers into an array of its own first.
        np.take(_signed(self._pack.stored), rows, axis=0, out=gathered.numpy(), mode="clip")
        values = gathered.to(self._device, non_blocking=True)
        if self._device.type == "cuda":
            self._copied = torch.cuda.current_stream(self._device).record_event()
        return values


def _signed(stored: NDArray[Any]) -> NDArray[Any]:
    """See uint16 as int16, since devices can index and copy only that."""
    return stored.view(np.int16) if stored.dtype == np.uint16 else stored


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

    Where `torch.distributed` runs, every process gets its own share: of each batch in training,
    of all rows in evaluation, where the shares may differ by one row.

    Args:
        images: Where the batches come from.
        rows: (n,) rows of the pack.
        batch_size: Images per training step, of all processes together; in evaluation of each.
        shuffle_seed: For training: every epoch has a new order, that depends on this and the
            number of the epoch alone, and a smaller last batch is left out, since some layers
            cannot train on it. None, for evaluation, keeps the order of `rows` and every row.
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
        self._batch_size = batch_size if shuffle_seed is None else min(batch_size, len(rows))
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
        rank, n_processes = _share()
        if self._shuffle_seed is not None:
            return len(self._rows) // self._batch_size
        return -(-len(self._rows[rank::n_processes]) // self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        first, self._n_skipped = self._n_skipped, 0
        batches = self._batches()
        for number in range(first, len(self)):
            self._n_delivered = number + 1
            yield self._images.batch(batches(number))

    def _batches(self) -> Callable[[int], NDArray[np.int64]]:
        """Return the function from the number of a batch to this process's rows."""
        rank, n_processes = _share()
        size = self._batch_size
        if self._shuffle_seed is None:
            share = self._rows[rank::n_processes]
            return lambda number: share[number * size : (number + 1) * size]
        if size % n_processes:
            raise ConfigError(
                f"{n_processes} processes cannot share batches of {size} images evenly; choose a "
                f"batch size that is a multiple of {n_processes}"
            )
        draw = np.random.default_rng([self._shuffle_seed, self._epoch])
        order = self._rows[draw.permutation(len(self._rows))]
        return lambda number: order[number * size : (number + 1) * size][rank::n_processes]


def _share() -> tuple[int, int]:
    """Return the number of this process, and of how many."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
