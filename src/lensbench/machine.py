"""What a machine is called, so that times on different ones are never compared."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_LISTING = Path("/proc/cpuinfo")
# ARM has no name there, but numbers that tell one core from another.
_TELLING = ("CPU implementer", "CPU part")


def cpu_name() -> str:
    """Return the model name of the processor and how many of its cores may be used."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{_model()} ({n_cores} cores)"


def machine_name(device: str, accelerator: str, threads: int | None) -> str:
    """Return a line that is equal only for machines whose times may be compared, or added.

    Args:
        device: Model name of the GPU, or of the processor with its cores.
        accelerator: `cpu`, `cuda` or `mps`.
        threads: CPU threads; on a GPU they do not matter.
    """
    if accelerator != "cpu":
        return device
    return f"{device}, {threads} thread{'' if threads == 1 else 's'}"


def _model() -> str:
    known: dict[str, str] = {}
    if _LISTING.exists():
        for line in _LISTING.read_text().splitlines():
            key, _, value = line.partition(":")
            known.setdefault(key.strip(), value.strip())
    plain = platform.processor() or platform.machine()
    if "model name" in known:
        return known["model name"]
    return " ".join([plain, *(known[key] for key in _TELLING if key in known)])
