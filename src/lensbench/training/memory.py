"""How much memory a network takes at most."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

_STATUS = Path("/proc/self/status")


class PeakMemory:
    """Most bytes in use at once since this was made, the network's own weights included.

    Made when the network has been built on the CPU, and before it moves to where it works. On a
    GPU these are the bytes that torch has allocated there. On a CPU it is resident memory of the
    process, what it keeps for later included, whose peak never falls: it is right in a process
    that has done nothing else before, and is then at least what building the network took.
    Elsewhere it is unknown.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._device = device
        self._before: int | None = None
        if device.type == "cuda":
            self._before = torch.cuda.memory_allocated(device)
        elif device.type == "cpu" and _STATUS.exists():
            tensors = (*network.parameters(), *network.buffers())
            self._before = _resident("VmRSS") - sum(tensor.nbytes for tensor in tensors)

    def restart(self) -> None:
        """Forget the peak so far, on a GPU; a CPU's process cannot."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def bytes(self) -> int | None:
        """Return the peak; None where the system does not tell."""
        if self._before is None:
            return None
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        return _resident("VmHWM") - self._before


def _resident(field: str) -> int:
    # Not getrusage: its peak is inherited from the process that started this one.
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no line {field}")
