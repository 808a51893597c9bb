"""The name of the processor, as Linux on two architectures tells it."""

import pytest

from lensbench import machine
from lensbench.machine import cpu_name

X86 = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n\nprocessor\t: 1\nmodel name\t: Another\n"
ARM = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"


def test_this_processor_has_a_name_and_cores():
    assert cpu_name().endswith("cores)")
    assert not cpu_name().startswith(" ")


@pytest.mark.parametrize(
    ("listing", "name"), [(X86, "Some CPU @ 2 GHz"), (ARM, "aarch64 0x41 0xd0c"), ("", "aarch64")]
)
def test_a_processor_without_a_name_is_told_by_its_numbers(monkeypatch, tmp_path, listing, name):
    """Times of two kinds of ARM processor are not compared."""
    monkeypatch.setattr(machine, "_LISTING", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(listing)
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    assert cpu_name().startswith(f"{name} (")
