"""Which images are found, and what they are labelled."""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lensbench.config import UNFINISHED
from lensbench.data.catalogue import read_catalogue
from lensbench.data.sources.open import open_source
from lensbench.errors import DatasetError


def catalogue(path: Path, labels: Path | None = None):
    return read_catalogue(open_source(path), labels)


def contents(path: Path) -> dict[str, bytes]:
    """Return the bytes of every image by its id."""
    found = catalogue(path)
    id_of = dict(zip(found.members, found.ids, strict=True))
    return {id_of[member]: load() for member, load in open_source(path).contents(found.members)}


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
    assert contents(archive) == contents(plain)


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


def test_what_is_no_image_inside_a_class_folder_is_named(make_dataset):
    root = make_dataset()
    (root / "manifest.json").write_text("{}")
    (root / "train/no/2.txt").write_bytes(b"")
    assert catalogue(root).ignored == ("train/no/2.txt",)


@pytest.mark.parametrize("depth", ["", "deep/"])
@pytest.mark.parametrize("place", ["train/vort", "val/vort", "test/no"])
def test_what_may_have_been_a_class_or_a_partition_is_named(make_dataset, tmp_path, place, depth):
    root = make_dataset(tmp_path / "data" / depth, classes=("no", "sphere"))
    (root / place).mkdir(parents=True)
    (tmp_path / "data/notes").mkdir()
    assert catalogue(tmp_path / "data").empty == (f"{depth}{place}",)
    for kind in ("zip", "tar"):
        packed = shutil.make_archive(str(tmp_path / "packed"), kind, tmp_path / "data")
        assert catalogue(Path(packed)).empty == (f"{depth}{place}",)
    (root / place / "1.fits.bz2").write_bytes(b"")
    (root / place / ".DS_Store").write_bytes(b"")
    (tmp_path / "data/notes/read.me").write_text("first")
    assert catalogue(tmp_path / "data").ignored == (f"{depth}{place}/1.fits.bz2",)
    assert catalogue(tmp_path / "data").empty == ()


def test_in_data_without_partitions_each_folder_may_be_a_class(make_dataset):
    root = make_dataset() / "train"
    (root / "axion").mkdir()
    (root / "no/inner").mkdir()
    assert catalogue(root).empty == ("axion",)
    (root / "axion/1.webp").write_bytes(b"")
    assert catalogue(root).ignored == ("axion/1.webp",)


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


def test_an_interrupted_simulation_is_refused_from_whatever_side(make_dataset, tmp_path):
    root = make_dataset(tmp_path / "all" / "lenses")
    (root / UNFINISHED).write_text("{}")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "all")
    for path in (root, root.parent, root / "train", tmp_path / "packed.zip"):
        with pytest.raises(DatasetError, match=r"lenses: the simulation .* was interrupted"):
            catalogue(path)
    (root / UNFINISHED).unlink()
    assert len(catalogue(root.parent)) == 36


def test_one_class_is_not_enough(make_dataset):
    with pytest.raises(DatasetError, match="single class 'no'"):
        catalogue(make_dataset(classes=("no",)))


def test_an_empty_folder_and_a_file_that_is_no_archive_are_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"no images found among 0 files"):
        catalogue(tmp_path)
    (tmp_path / "x.zip").write_bytes(b"no zip")
    with pytest.raises(DatasetError, match="neither a folder nor a readable"):
        catalogue(tmp_path / "x.zip")


def test_other_files_may_have_any_names(make_dataset):
    root = make_dataset()
    Path(os.fsdecode(os.fsencode(root) + b"/train/no/\xdcb.txt")).touch()
    assert catalogue(root).ignored == ("train/no/\\udcdcb.txt",)


def test_names_are_the_same_whether_a_file_system_composes_accents_or_not(make_dataset):
    decomposed = make_dataset(classes=("no", "spha\u0308re"))
    found = catalogue(decomposed)
    assert found.classes == ("no", "sph\u00e4re")
    assert "val/sph\u00e4re/1.npy" in found.ids
    assert len(contents(decomposed)) == 24


@pytest.fixture
def unsorted(make_dataset, tmp_path):
    """Images in folders that do not say their class: `{train,val}/{class}{i}.npy`."""
    root = tmp_path / "unsorted"
    for file in sorted(make_dataset(partitions={"train": 2, "val": 1}).rglob("*.npy")):
        partition, name = file.parts[-3:-1]
        target = root / partition / f"{name}{file.stem}.npy"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    return root


LINES = [
    ("train/no1.npy", "none"),
    ("train/no2", "none"),
    ("train/sphere1.npy", "clumps"),
    ("sphere2", "clumps"),
    ("sphere1.npy", "clumps"),
    ("val/no1.npy", "none"),
]


def write_labels(path: Path, lines: list[tuple[str, str]], header: str = "id,label") -> Path:
    path.write_text("\n".join([header, *map(",".join, lines)]) + "\n")
    return path


def test_labels_may_come_from_a_file(unsorted):
    lines = [line for line in LINES if line[0] != "sphere1.npy"]
    lines.append(("val/sphere1.npy", "clumps"))
    labels = write_labels(unsorted / "train" / "labels.csv", lines)
    found = catalogue(unsorted, labels)
    assert found.classes == ("clumps", "none")
    assert found.ids == (
        "train/no1.npy",
        "train/no2.npy",
        "train/sphere1.npy",
        "train/sphere2.npy",
        "val/no1.npy",
        "val/sphere1.npy",
    )
    assert [found.classes[k] for k in found.labels] == ["none"] * 2 + ["clumps"] * 2 + [
        "none",
        "clumps",
    ]
    assert found.partitions == ("train",) * 4 + ("val",) * 2
    assert found.unlabelled == ("train/vort1.npy", "train/vort2.npy", "val/vort1.npy")
    assert found.ignored == ()


def test_one_more_image_without_a_label_gives_the_others_no_new_names(unsorted, tmp_path):
    labels = write_labels(tmp_path / "labels.csv", [("train/no1", "a"), ("train/no2", "b")])
    with_others = catalogue(unsorted, labels)
    shutil.rmtree(unsorted / "val")
    assert catalogue(unsorted, labels).ids == with_others.ids == ("no1.npy", "no2.npy")


@pytest.mark.parametrize(
    ("lines", "header", "message"),
    [
        (LINES[:1], "name,label", "must name the columns id and label, .*; it names name, label"),
        (LINES, "id,label", "'sphere1.npy' fits 2 images, train/sphere1.npy and val/sphere1.npy"),
        ([*LINES[:4], ("nobody", "none")], "id,label", "there is no image 'nobody'"),
        ([*LINES[:4], ("no2.npy", "none")], "id,label", "train/no2.npy has two lines"),
        ([*LINES[:4], ("val/no1.npy", "")], "id,label", "a line lacks its label: 'val/no1.npy'"),
        (LINES[:2], "id,label", "the single class 'none'"),
        ([], "id,label", "no label"),
    ],
)
def test_a_file_of_labels_that_does_not_fit_is_refused(unsorted, tmp_path, lines, header, message):
    with pytest.raises(DatasetError, match=message):
        catalogue(unsorted, write_labels(tmp_path / "labels.csv", lines, header))


def test_spaces_around_the_columns_of_a_file_of_labels_do_not_matter(unsorted, tmp_path):
    lines = [("train/no1", " none"), ("sphere2", " clumps")]
    found = catalogue(unsorted, write_labels(tmp_path / "labels.csv", lines, "id, label"))
    assert found.classes == ("clumps", "none")


def test_a_file_of_labels_that_cannot_be_read_is_named(unsorted, tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"\xff\xfe\x00")
    for name, reason in {"labels.csv": "cannot be read as CSV", "gone.csv": "No such file"}.items():
        with pytest.raises(DatasetError, match=f"{name}: {reason}"):
            catalogue(unsorted, tmp_path / name)
