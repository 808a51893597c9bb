"""Which images are found, and what they are labelled."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lensbench.config import DataSpec
from lensbench.data.catalogue import read_catalogue
from lensbench.errors import DatasetError


def catalogue(path: Path):
    return read_catalogue(DataSpec(path=path))


def test_ids_labels_and_partitions_come_from_the_folders(make_dataset):
    found = catalogue(make_dataset(partitions={"train": 2, "val": 1}))
    assert found.ids == (
        "train/no/1.npy",
        "train/no/2.npy",
        "train/sphere/1.npy",
        "train/sphere/2.npy",
        "train/vort/1.npy",
        "train/vort/2.npy",
        "val/no/1.npy",
        "val/sphere/1.npy",
        "val/vort/1.npy",
    )
    assert found.classes == ("no", "sphere", "vort")
    np.testing.assert_array_equal(found.labels, [0, 0, 1, 1, 2, 2, 0, 1, 2])
    assert found.partitions == ("train",) * 6 + ("val",) * 3


def test_the_published_archive_reads_like_its_plain_folder(make_dataset, tmp_path):
    """Nested twice, with `__MACOSX` and the same file names in train and val, and zipped."""
    plain = make_dataset()
    archive = tmp_path / "dataset.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(plain.rglob("*.npy"), reverse=True):
            name = path.relative_to(plain).as_posix()
            file.write(path, f"dataset/dataset/{name}")
            file.writestr(f"__MACOSX/dataset/dataset/{name.replace('/', '/._', 2)}", b"junk")
        file.writestr("dataset/dataset/.DS_Store", b"junk")
    zipped, folder = catalogue(archive), catalogue(plain)
    assert zipped.ids == folder.ids
    np.testing.assert_array_equal(zipped.labels, folder.labels)
    for theirs, ours in zip(zipped.members, folder.members, strict=True):
        assert zipped.source.read(theirs) == folder.source.read(ours)


def test_class_folders_without_partitions_have_none(make_dataset):
    root = make_dataset()
    assert catalogue(root / "train").partitions == ()
    assert catalogue(root / "train").ids[0] == "no/1.npy"


def test_links_to_folders_are_followed_once(make_dataset, tmp_path):
    root = make_dataset()
    (tmp_path / "elsewhere").mkdir()
    (root / "train").rename(tmp_path / "elsewhere" / "train")
    (root / "train").symlink_to(tmp_path / "elsewhere" / "train")
    (root / "val" / "no" / "loop").symlink_to(root / "val" / "no")
    assert len(catalogue(root)) == 36


def test_the_fingerprint_changes_with_a_file(make_dataset):
    root = make_dataset()
    before = catalogue(root).fingerprint
    assert catalogue(root).fingerprint == before
    np.save(root / "train/no/1.npy", np.ones((1, 16, 17)))
    assert catalogue(root).fingerprint != before


def test_what_is_no_image_inside_a_class_folder_is_named(make_dataset):
    root = make_dataset()
    (root / "manifest.json").write_text("{}")
    (root / "train/no/2.npz").write_bytes(b"")
    assert catalogue(root).ignored == ("train/no/2.npz",)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: root.rename(root.parent / "gone"), "no such file or folder"),
        (lambda root: np.save(root / "train/1.npy", np.ones(3)), "lies in no class folder"),
        (lambda root: np.save(root / "1.npy", np.ones(3)), "lies in no class folder"),
        (lambda root: (root / "val/vort").rename(root / "val/.vort"), "val/ lacks vort"),
        (lambda root: (root / "val").rename(root / "more"), "more than one data set"),
        (lambda root: shutil.copytree(root / "val", root / "valid"), "2 files would both be val/"),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused(make_dataset, spoil, message):
    root = make_dataset()
    spoil(root)
    with pytest.raises(DatasetError, match=message):
        catalogue(root)


def test_one_class_is_not_enough(make_dataset):
    with pytest.raises(DatasetError, match="single class 'no'"):
        catalogue(make_dataset(classes=("no",)))


def test_an_empty_folder_and_a_file_that_is_no_archive_are_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"no images found among 0 files"):
        catalogue(tmp_path)
    (tmp_path / "x.zip").write_bytes(b"no zip")
    with pytest.raises(DatasetError, match="neither a folder nor a readable"):
        catalogue(tmp_path / "x.zip")
