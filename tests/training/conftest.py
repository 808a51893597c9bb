"""The pack of the fits in these tests."""

from pathlib import Path

import pytest

from lensbench.data.pack import Pack

from .tiny import make_pack


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return make_pack(tmp_path)
