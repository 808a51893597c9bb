"""What machine and libraries a run was made with."""

from __future__ import annotations

import platform
from importlib import metadata

from lensbench.machine import cpu_name
from lensbench.runs.record import Environment
from lensbench.version import __version__

_LIBRARIES = (
    "numpy",
    "scikit-learn",
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "lightning",
)


def describe_environment(
    accelerator: str,
    device: str | None,
    precision: str,
    threads: int | None,
    *,
    memory_format: str | None = None,
    compiled: bool | None = None,
) -> Environment:
    """Describe where this process runs.

    Args:
        accelerator: `cpu`, `cuda` or `mps`.
        device: Model name of the accelerator; None for a CPU, whose name is looked up.
        precision: Arithmetic of training, as Lightning names it.
        threads: CPU threads that torch uses.
        memory_format: Order of pixels and channels in memory.
        compiled: Whether torch.compile made the training step.
    """
    return Environment(
        device=device or cpu_name(),
        accelerator=accelerator,
        precision=precision,
        memory_format=memory_format,
        compiled=compiled,
        threads=threads,
        platform=platform.platform(),
        python=platform.python_version(),
        libraries={"lensbench": __version__}
        | {name: metadata.version(name) for name in _LIBRARIES},
    )
