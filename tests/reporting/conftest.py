from pathlib import Path

import pytest

from lensbench.comparison.compare import Comparison
from lensbench.runs.record import RunRecord

from .builders import CONFIG, make_comparison, make_record

SHARED = Path(__file__).parents[2].parent / "shared"


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    """Two finished runs and a failed one."""
    failed = RunRecord(
        model_desc="Broken",
        model_identifier="timm/broken",
        status="Failed",
        error="out of memory\n  at step 3 | 4",
        config=CONFIG,
    )
    return make_comparison(
        tmp_path, make_record("Second", 0.95), failed, make_record("First", 0.97654321)
    )


@pytest.fixture
def published() -> Path:
    """Return the folder of the contract's published records."""
    folder = SHARED / "reference" / "seed_results"
    if not folder.is_dir():
        pytest.skip("the published records are not here")
    return folder
