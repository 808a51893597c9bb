"""What `prepare` lets pass, and what it says of it."""

import numpy as np
import pytest

from lensbench.config import DataSpec, ModelSpec, RunConfig, SplitSpec
from lensbench.errors import DatasetError, RecordError
from lensbench.pipeline import prepare
from lensbench.recipes import QUICK


@pytest.fixture
def leaking(make_dataset):
    """One training image lies in val as well, another does turned around."""
    root = make_dataset(shape=(1, 64, 64))
    np.save(root / "val/no/1.npy", np.load(root / "train/no/1.npy"))
    np.save(root / "val/vort/1.npy", np.load(root / "train/vort/1.npy")[:, ::-1])
    return root


def prepared(root, *accept: str, **split):
    config = RunConfig(
        name="x",
        data=DataSpec(path=root, cache=root.parent / "cache", accept=accept),
        model=ModelSpec(identifier="timm/test_resnet"),
        recipe=QUICK,
        split=SplitSpec(**split),
    )
    return prepare(config)


def write_parts(root, part_of) -> None:
    ids = sorted(file.relative_to(root).as_posix() for file in root.rglob("*.npy"))
    lines = [f"{name},{part_of(name)}" for name in ids]
    (root.parent / "parts.csv").write_text("\n".join(["id,part", *lines]))


def test_leaks_stop_a_split_by_partitions_until_all_are_accepted(leaking):
    with pytest.raises(DatasetError, match="--accept leak near-leak"):
        prepared(leaking)
    with pytest.raises(DatasetError, match="near-leak"):
        prepared(leaking, "leak")
    warnings = prepared(leaking, "leak", "near-leak").warnings
    assert any(line.startswith("error leak: 2 images are equal") for line in warnings)
    assert any(line.startswith("error near-leak: 2 images are copies") for line in warnings)
    assert "error leak: 2 images have copies in another part of the split (" in " ".join(warnings)


def test_a_split_that_goes_by_no_partitions_keeps_copies_together(leaking):
    data = prepared(leaking, fold=1)
    assert not any("leak" in line for line in data.warnings)
    for names in (("train/no/1.npy", "val/no/1.npy"), ("train/vort/1.npy", "val/vort/1.npy")):
        parts = [
            part
            for part in ("train", "validation", "test")
            if {*names} & {*getattr(data.split, part)}
        ]
        assert len(parts) == 1


def test_a_csv_that_parts_copies_is_refused(leaking):
    file = leaking.parent / "parts.csv"
    write_parts(
        leaking, lambda name: "test" if "val" in name else "train" if "1" in name else "val"
    )
    with pytest.raises(DatasetError, match=r"leak: 2 images have copies in another part") as caught:
        prepared(leaking, file=file)
    assert "near-leak: 2 images have copies" in str(caught.value)
    assert prepared(leaking, "leak", "near-leak", file=file).split.convention == "csv"


def test_a_csv_that_leaves_copies_out_is_fine(leaking):
    copies = ("val/no/1.npy", "val/vort/1.npy")
    write_parts(
        leaking,
        lambda name: (
            "unused"
            if name in copies
            else "test"
            if "val" in name
            else "validation"
            if "2" in name
            else "train"
        ),
    )
    data = prepared(leaking, file=leaking.parent / "parts.csv")
    assert not set(copies) & {*data.split.train, *data.split.validation, *data.split.test}
    assert data.warnings == ()


def test_a_class_that_records_cannot_name_is_refused_before_anything_is_trained(make_dataset):
    with pytest.raises(RecordError, match="a class is called 'macro'"):
        prepared(make_dataset(classes=("macro", "no")))


def test_images_that_cannot_be_used_stop_any_split(leaking):
    (leaking / "train/no/2.npy").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"unreadable.*train/no/2\.npy"):
        prepared(leaking, "leak", "near-leak", fold=0)
