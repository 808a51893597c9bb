"""Whether the next step finds the memory of the last one, counted in faults of pages."""

import platform
from pathlib import Path

import pytest
import torch

from lensbench.config import MachineSpec
from lensbench.freed_memory import freed_memory_kept
from lensbench.training.steps import left_alone

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another C library gives memory back by itself"
)

N_BYTES = 2**26
N_PAGES = N_BYTES // resource.getpagesize()


def n_faults(n_times: int = 4, n_bytes: int = N_BYTES) -> int:
    """Fill and free a large block some times; return how many pages the system had to give."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n_times):
        torch.empty(n_bytes, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def is_given_back() -> bool:
    """Whether freed blocks go to the system, of a size for which there is no room in the heap."""
    return n_faults(n_bytes=4 * N_BYTES) > 15 * N_PAGES


def n_resident_bytes() -> int:
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_freed_memory_is_kept_while_a_block_lasts_and_given_back_after_it():
    assert is_given_back()
    before = n_resident_bytes()
    with freed_memory_kept():
        n_faults(20)
        assert n_faults() < N_PAGES // 10
        assert n_resident_bytes() - before > N_BYTES // 2
        with freed_memory_kept():
            pass
        assert n_faults() < N_PAGES // 10
    assert n_resident_bytes() - before < N_BYTES // 2
    assert is_given_back()


def test_it_is_given_back_after_an_error():
    with pytest.raises(ZeroDivisionError), freed_memory_kept():
        raise ZeroDivisionError
    assert is_given_back()


def test_training_on_a_cpu_keeps_it():
    with left_alone(MachineSpec(accelerator="cpu")):
        n_faults(20)
        assert n_faults() < N_PAGES // 10
