"""Small data sets in the folders of Common Test I."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

SHARED = Path(__file__).parents[2] / "shared"

MakeDataset = Callable[..., Path]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of published images and records, where there is one."""
    if not SHARED.is_dir():
        pytest.skip(f"the published images and records are not at {SHARED}")
    return SHARED


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave an empty file for each figure: drawing takes longer than all else that is tested."""

    def touch(figure: Figure, path: Path, **_: object) -> None:
        path.touch()

    monkeypatch.setattr(Figure, "savefig", touch)


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """Write `{partition}/{class}/{i}.npy`, each class told by where its bright square is."""

    def make(
        root: Path | None = None,
        *,
        partitions: dict[str, int] | None = None,
        classes: tuple[str, ...] = ("no", "sphere", "vort"),
        shape: tuple[int, ...] = (1, 16, 16),
    ) -> Path:
        root = root or tmp_path / "dataset"
        rng = np.random.default_rng(0)
        for partition, n_images in (partitions or {"train": 8, "val": 4}).items():
            for k, name in enumerate(classes):
                folder = root / partition / name
                folder.mkdir(parents=True)
                for i in range(1, n_images + 1):
                    image = rng.random(shape) * 0.5
                    image[..., 5 * k : 5 * k + 4, 2:10] += 0.5
                    np.save(folder / f"{i}.npy", image)
        return root

    return make
