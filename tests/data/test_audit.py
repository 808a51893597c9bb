"""Each fault is found, and a sound data set is not accused of it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from lensbench.config import DataSpec
from lensbench.data.audit import require_sound, verify
from lensbench.data.catalogue import read_catalogue
from lensbench.errors import DatasetError


def nan_pixel(path: Path) -> None:
    image = np.load(path)
    image[0, 3, 3] = np.nan
    np.save(path, image)


def broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.npy")


FAULTS = {
    "unreadable": lambda root: (root / "train/no/1.npy").write_bytes(b"\x93NUMPY"),
    "object-array": lambda root: np.save(
        root / "train/no/1.npy", np.array([None, 1]), allow_pickle=True
    ),
    "wrong-dtype": lambda root: np.save(root / "train/no/1.npy", np.ones((1, 16, 16), complex)),
    "wrong-shape": lambda root: np.save(root / "train/no/1.npy", np.ones(16)),
    "not-finite": lambda root: nan_pixel(root / "train/no/1.npy"),
    "shapes-differ": lambda root: np.save(root / "train/no/1.npy", np.eye(15)),
    "contradiction": lambda root: shutil.copy(root / "train/no/1.npy", root / "val/vort/1.npy"),
    "leak": lambda root: shutil.copy(root / "train/no/1.npy", root / "val/no/1.npy"),
    "duplicate": lambda root: shutil.copy(root / "train/no/1.npy", root / "train/no/2.npy"),
    "constant": lambda root: np.save(root / "train/no/1.npy", np.full((1, 16, 16), 0.5)),
    "out-of-range": lambda root: np.save(root / "train/no/1.npy", np.eye(16) * 1.5),
    "dtypes-differ": lambda root: np.save(root / "train/no/1.npy", np.eye(16, dtype=np.float32)),
    "imbalance": lambda root: [path.unlink() for path in sorted((root / "train/no").iterdir())[:6]],
    "ignored-files": lambda root: (root / "train/no/notes.txt").write_text("seen"),
}
WARNINGS = {"duplicate", "constant", "out-of-range", "dtypes-differ", "imbalance", "ignored-files"}


def findings(root: Path):
    return verify(read_catalogue(DataSpec(path=root)))


def test_a_sound_data_set_has_no_findings(make_dataset):
    assert findings(make_dataset()) == ()


def test_a_broken_link_is_unreadable(make_dataset):
    root = make_dataset()
    broken_link(root / "train/no/1.npy")
    (finding,) = findings(root)
    assert (finding.code, finding.ids) == ("unreadable", ("train/no/1.npy",))


@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_is_found_and_nothing_else(make_dataset, code):
    root = make_dataset()
    FAULTS[code](root)
    (finding,) = findings(root)
    assert finding.code == code
    assert finding.severity == ("warning" if code in WARNINGS else "error")
    if code not in ("dtypes-differ", "imbalance"):
        assert any(name.startswith("train/no/") for name in finding.ids)


def test_errors_stop_training_and_are_all_named(make_dataset):
    root = make_dataset()
    for code in ("unreadable", "leak"):
        FAULTS[code](root)
    nan_pixel(root / "train/vort/3.npy")
    catalogue = read_catalogue(DataSpec(path=root))
    with pytest.raises(DatasetError, match=r"train/vort/3\.npy") as caught:
        require_sound(catalogue, verify(catalogue))
    assert "unreadable" in str(caught.value)


def test_warnings_do_not_stop_training(make_dataset):
    root = make_dataset()
    FAULTS["constant"](root)
    catalogue = read_catalogue(DataSpec(path=root))
    require_sound(catalogue, verify(catalogue))
