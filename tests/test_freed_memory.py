"""Whether the next step finds the memory of the last one: what a process has after freeing it."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another C library gives memory back by itself"
)

# In a process of its own, whose heap nothing else has used.
SETTING = """
import resource
from pathlib import Path
from lensbench.freed_memory import freed_memory_kept, keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

def keeps():
    before = resident()
    block = b"1" * 2**28
    del block
    return resident() - before > 2**27
"""


def run(code: str) -> str:
    command = [sys.executable, "-c", SETTING + code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_freed_memory_is_kept_while_a_block_lasts_and_given_back_after_it():
    said = run("""
start = resident()
print(keeps())
with freed_memory_kept():
    print(keeps())
    with freed_memory_kept():
        pass
    print(resident() - start > 2**27)  # the outer block lasts
print(resident() - start < 2**27)
print(keeps())
""")
    assert said.split() == ["False", "True", "True", "True", "False"]


def test_it_is_given_back_after_an_error():
    said = run("""
try:
    with freed_memory_kept():
        raise ZeroDivisionError
except ZeroDivisionError:
    print(keeps())
""")
    assert said == "False\n"


def test_a_process_that_keeps_it_for_good_keeps_it_after_blocks():
    said = run("""
keep_freed_memory()
with freed_memory_kept():
    pass
print(keeps())
""")
    assert said == "True\n"


def test_training_on_a_cpu_keeps_it():
    said = run("""
from lensbench.config import MachineSpec
from lensbench.training.steps import left_alone
start = resident()
with left_alone(MachineSpec(accelerator="cpu")):
    print(keeps())
print(resident() - start < 2**27)
""")
    assert said.split() == ["True", "True"]
