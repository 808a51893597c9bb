"""Folders, archives and stacks are one thing to their reader."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import time
import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
import pytest

from lensbench.config import DataSpec
from lensbench.data.formats.fault import MAX_FILE_BYTES
from lensbench.data.pack import open_or_build_pack
from lensbench.data.sources.open import open_source
from lensbench.errors import DatasetError

FILES = {
    "train/no/10.npy": b"ten" * 1000,
    "train/no/2.npy": b"",
    "train/.DS_Store": b"junk",
    "__MACOSX/train/no/._2.npy": b"more junk",
    "val/vort/1.npy": bytes(range(256)) * 300,
}
SEEN = {name: content for name, content in FILES.items() if "/." not in name}
INFLATE = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def folder(place: Path) -> Path:
    for name, content in FILES.items():
        file = place / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (place / "data" / "empty").mkdir()
    return place / "data"


def zip_of(method: int, prefix: str = ""):
    def write(place: Path) -> Path:
        with zipfile.ZipFile(place / "data.zip", "w", method) as archive:
            archive.mkdir("train")
            for name, content in FILES.items():
                archive.writestr(prefix + name, content)
        return place / "data.zip"

    return write


def tar_of(suffix: str, prefix: str = ""):
    def write(place: Path) -> Path:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            archive.add(folder(place), prefix or ".", recursive=False)
            for name, content in FILES.items():
                member = tarfile.TarInfo(prefix + name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        path = place / f"data.tar{suffix}"
        path.write_bytes(INFLATE[suffix](file.getvalue()))
        return path

    return write


def everything(path: Path) -> dict[str, bytes]:
    source = open_source(path)
    return {name: load() for name, load in source.contents(source.names())}


@pytest.mark.parametrize(
    "make",
    [
        folder,
        zip_of(zipfile.ZIP_STORED),
        zip_of(zipfile.ZIP_DEFLATED, "./"),
        tar_of("", "./"),
        tar_of(".gz"),
        tar_of(".bz2"),
        tar_of(".xz"),
    ],
    ids=["folder", "zip-stored", "zip-deflated", "tar", "gz", "bz2", "xz"],
)
class TestEverySource:
    def test_gives_every_file_as_it_is(self, make, tmp_path):
        path = make(tmp_path)
        assert open_source(path).names() == sorted(SEEN)
        assert everything(path) == SEEN

    def test_gives_only_what_is_asked_for(self, make, tmp_path):
        source = open_source(make(tmp_path))
        wanted = {"val/vort/1.npy", "train/no/10.npy"}
        assert {name: load() for name, load in source.contents(wanted)} == {
            name: SEEN[name] for name in wanted
        }
        assert list(source.contents([])) == []

    def test_may_be_read_later(self, make, tmp_path):
        source = open_source(make(tmp_path))
        names, loads = zip(*source.contents(source.names()), strict=True)
        assert {name: load() for name, load in zip(names, loads, strict=True)} == SEEN

    def test_has_a_stamp_that_changes_with_it(self, make, tmp_path):
        path = make(tmp_path)
        stamp = open_source(path).stamp()
        assert open_source(path).stamp() == stamp
        changed = path / "train/no/2.npy" if path.is_dir() else path
        os.utime(changed, ns=(0, changed.stat().st_mtime_ns + 1))
        assert open_source(path).stamp() != stamp


@pytest.mark.parametrize("make", [zip_of(zipfile.ZIP_DEFLATED), tar_of(".gz")])
def test_archives_are_read_in_the_order_of_their_bytes(make, tmp_path):
    source = open_source(make(tmp_path))
    assert [name for name, _ in source.contents(source.names())] == list(SEEN)


def test_a_folder_stamp_sees_files_come_go_and_move(tmp_path):
    path = folder(tmp_path)
    stamps = [open_source(path).stamp()]
    (path / "new.npy").touch()
    stamps.append(open_source(path).stamp())
    (path / "new.npy").rename(path / "newer.npy")
    stamps.append(open_source(path).stamp())
    (path / "newer.npy").unlink()
    assert open_source(path).stamp() == stamps[0]
    assert len(set(stamps)) == 3


def test_a_folder_s_stamp_is_that_of_its_images(tmp_path):
    path = folder(tmp_path)
    (path / "notes.txt").write_text("first")
    stamp = open_source(path).stamp()
    (path / ".DS_Store").write_text("what a system adds")
    (path / ".cache").mkdir()
    (path / ".cache/x.npy").write_bytes(b"")
    (path / "notes.txt").write_text("another line")
    assert open_source(path).stamp() == stamp
    (path / "more.txt").write_text("a new file")
    assert open_source(path).stamp() != stamp


def test_a_link_to_itself_is_a_file_that_cannot_be_read(tmp_path):
    path = folder(tmp_path)
    (path / "loop.npy").symlink_to("loop.npy")
    source = open_source(path)
    assert "loop.npy" in source.names()
    ((_, load),) = source.contents(["loop.npy"])
    with pytest.raises(OSError, match="symbolic links"):
        load()


def test_links_to_folders_are_followed_once_and_files_keep_their_own_names(tmp_path):
    path = folder(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.npy").write_bytes(b"x")
    (path / "a-link").symlink_to(tmp_path / "elsewhere")
    (path / "b-link").symlink_to(tmp_path / "elsewhere")
    (path / "a-loop").symlink_to(path)
    (path / "a-name").symlink_to(path / "train")
    assert open_source(path).names() == sorted([*SEEN, "a-link/x.npy"])
    assert set(open_source(path).empty_folders()) >= {"b-link", "a-loop", "a-name"}


def test_a_folder_lists_broken_links_but_no_pipes(tmp_path):
    (tmp_path / "broken.npy").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe.npy")
    source = open_source(tmp_path)
    assert source.names() == ["broken.npy"]
    (_, load), *_ = source.contents(["broken.npy"])
    with pytest.raises(OSError, match="No such file"):
        load()


def test_a_file_larger_than_any_image_is_not_read(tmp_path):
    with (tmp_path / "x.npy").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    (_, load), *_ = open_source(tmp_path).contents(["x.npy"])
    with pytest.raises(DatasetError, match=r"x\.npy is larger than"):
        load()


def test_names_that_are_no_utf8_can_be_stamped(tmp_path):
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff.npy")).touch()
    assert open_source(tmp_path).stamp()


def test_what_is_no_source_is_refused_with_what_may_be_given(tmp_path):
    with pytest.raises(DatasetError, match=r"no such file or folder.*lensbench simulate"):
        open_source(tmp_path / "gone")
    (tmp_path / "x.zip").write_bytes(b"no zip")
    with pytest.raises(DatasetError, match=r"neither a folder nor .*\.tgz.*\.h5"):
        open_source(tmp_path / "x.zip")


def test_a_tar_that_ends_in_a_zip_is_a_tar(tmp_path):
    file = io.BytesIO()
    np.savez(file, image=np.ones((3, 3)))
    (tmp_path / "a.npz").write_bytes(file.getvalue())
    with tarfile.open(tmp_path / "data.tar", "w") as archive:
        archive.add(tmp_path / "a.npz", "no/a.npz")
    assert open_source(tmp_path / "data.tar").names() == ["no/a.npz"]


def write_zip(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes], **options) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return path


def zip_info(name: str, mode: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    return member


def test_names_that_zip_packs_on_linux_are_utf8(tmp_path):
    """Info-ZIP does not set the flag for it."""
    path = write_zip(tmp_path / "x.zip", ("sph__re/1.npy", b"1"), ("no/1.npy", b"2"))
    path.write_bytes(path.read_bytes().replace(b"sph__re", "sphère".encode()))
    assert everything(path) == {"sphère/1.npy": b"1", "no/1.npy": b"2"}
    path.write_bytes(path.read_bytes().replace("sphère".encode(), b"sph\x8a_re"))
    assert everything(path) == {"sphè_re/1.npy": b"1", "no/1.npy": b"2"}  # cp437


HOSTILE_NAMES = ["/etc/passwd", "../up", "a/../../up", "a\\b", "C:/x", "c:x", ".."]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_elsewhere_are_refused(kind, name, tmp_path):
    path = tmp_path / f"x.{kind}"
    if kind == "zip":
        write_zip(path, ("sound.npy", b""), (name, b"evil"))
    else:
        write_tar(path, tarfile.TarInfo("sound.npy"), tarfile.TarInfo(name))
    with pytest.raises(DatasetError, match="not read, for its member") as caught:
        open_source(path).names()
    assert str(path) in str(caught.value)
    assert repr(name) in str(caught.value)


def write_tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)) if member.isreg() else None)
    return path


def tar_info(kind: bytes, **fields) -> tarfile.TarInfo:
    member = tarfile.TarInfo("x.npy")
    member.type = kind
    for field, value in fields.items():
        setattr(member, field, value)
    return member


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (tar_info(tarfile.SYMTYPE, linkname="/etc/passwd"), "a link"),
        (tar_info(tarfile.LNKTYPE, linkname="sound.npy"), "a link"),
        (tar_info(tarfile.CHRTYPE), "a device"),
        (tar_info(tarfile.FIFOTYPE), "a device"),
    ],
)
def test_tar_members_that_are_no_files_are_refused(member, message, tmp_path):
    path = write_tar(tmp_path / "x.tar", tarfile.TarInfo("sound.npy"), member)
    with pytest.raises(DatasetError, match=rf"'x\.npy' is {message}"):
        open_source(path).names()


@pytest.mark.parametrize(
    ("mode", "message"), [(0o120777, "a link"), (0o020666, "a device"), (0o010666, "a device")]
)
def test_zip_members_that_are_no_files_are_refused(mode, message, tmp_path):
    path = write_zip(tmp_path / "x.zip", (zip_info("x.npy", mode), b"/etc/passwd"))
    with pytest.raises(DatasetError, match=rf"'x\.npy' is {message}"):
        open_source(path).names()
    sound = write_zip(tmp_path / "sound.zip", (zip_info("x.npy", 0o100644), b"x"))
    assert everything(sound) == {"x.npy": b"x"}


def test_members_of_one_name_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        write_zip(tmp_path / "x.zip", ("a.npy", b"1"), ("a.npy", b"2"))
    write_zip(tmp_path / "y.zip", ("a.npy", b"1"), ("./a.npy", b"2"))
    write_tar(tmp_path / "x.tar", tarfile.TarInfo("a.npy"), tarfile.TarInfo("a.npy"))
    for name in ("x.zip", "y.zip", "x.tar"):
        with pytest.raises(DatasetError, match="there twice"):
            open_source(tmp_path / name).names()


def patched_zip(path: Path, content: bytes, name: str = "a.npy", **changes: int) -> Path:
    """Write a zip file of one member whose entry in the directory says something else."""
    write_zip(path, (name, content), compression=zipfile.ZIP_DEFLATED)
    archive = bytearray(path.read_bytes())
    start = archive.index(b"PK\x01\x02")
    for what, value in changes.items():
        place, n_bytes = {"flags": (8, 2), "method": (10, 2), "crc": (16, 4), "size": (24, 4)}[what]
        archive[start + place : start + place + n_bytes] = value.to_bytes(n_bytes, "little")
    path.write_bytes(archive)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flags": 1}, "encrypted"),
        ({"method": zipfile.ZIP_LZMA}, "compressed by method 14"),
        ({"size": MAX_FILE_BYTES + 1}, "a file may take"),
    ],
)
def test_zip_members_that_cannot_be_read_safely_are_refused(changes, message, tmp_path):
    with pytest.raises(DatasetError, match=message):
        open_source(patched_zip(tmp_path / "x.zip", b"x" * 100, **changes)).names()


@pytest.mark.parametrize("size", [99, 101])
def test_a_zip_member_of_another_size_than_declared_is_refused(size, tmp_path):
    path = patched_zip(tmp_path / "x.zip", b"x" * 100, size=size)
    with pytest.raises(DatasetError, match=r"x\.zip: a\.npy"):
        everything(path)


def test_a_zip_member_that_inflates_beyond_its_size_takes_no_memory(tmp_path):
    path = patched_zip(tmp_path / "x.zip", bytes(2**24), size=100)
    source = open_source(path)
    (_, load), *_ = source.contents(source.names())
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match="CRC"):
            load()
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_damaged_zip_member_is_named(tmp_path):
    path = write_zip(tmp_path / "x.zip", ("a.npy", b"x" * 100), ("b.npy", b"sound"))
    path.write_bytes(path.read_bytes().replace(b"x" * 100, b"y" * 100))
    source = open_source(path)
    loads = dict(source.contents(source.names()))
    assert loads["b.npy"]() == b"sound"
    with pytest.raises(DatasetError, match=r"x\.zip: a\.npy: .*CRC"):
        loads["a.npy"]()


def test_bombs_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("lensbench.data.sources.archive._MAX_TOTAL_BYTES", 2**21)
    members = [(f"{i}.npy", bytes(2**20)) for i in range(3)]
    path = write_zip(tmp_path / "x.zip", *members, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(DatasetError, match="may inflate to"):
        open_source(path).names()
    write_zip(tmp_path / "small.zip", *members[:2], compression=zipfile.ZIP_DEFLATED)
    assert len(open_source(tmp_path / "small.zip").names()) == 2
    write_zip(tmp_path / "stored.zip", *members)
    assert len(open_source(tmp_path / "stored.zip").names()) == 3

    member = tarfile.TarInfo("x.npy")
    member.size = 2**22
    plain = write_tar(tmp_path / "x.tar", member)
    assert len(open_source(plain).names()) == 1
    (tmp_path / "x.tgz").write_bytes(gzip.compress(plain.read_bytes()))
    with pytest.raises(DatasetError, match="may inflate to"):
        open_source(tmp_path / "x.tgz").names()


def test_a_tar_with_an_endless_name_takes_no_memory(tmp_path):
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 2**24
    content = member.tobuf(tarfile.GNU_FORMAT) + b"n" * 2**24 + bytes(1024)
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DatasetError, match="a header of"):
        open_source(tmp_path / "x.tar.gz").names()


@pytest.mark.parametrize("suffix", INFLATE)
def test_a_tar_that_is_cut_short_is_refused(suffix, tmp_path):
    path = tar_of(suffix)(tmp_path)
    content = path.read_bytes()
    n_refused = 0
    for cut in range(600 if not suffix else 30, len(content), 1 + len(content) // 60):
        path.write_bytes(content[:cut])
        try:
            assert everything(path) == SEEN  # only padding is missing
        except DatasetError:
            n_refused += 1
    assert n_refused > 25


def test_a_tar_with_a_damaged_header_is_refused(tmp_path):
    path = write_tar(tmp_path / "x.tar", *(tarfile.TarInfo(f"{i}.npy") for i in range(4)))
    content = bytearray(path.read_bytes())
    content[2 * 512 + 150] ^= 255
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="damaged or cut short"):
        open_source(path).names()


IMAGES = np.random.default_rng(0).integers(0, 2**16, (12, 6, 5), dtype=np.uint16)
DIVISORS = IMAGES.max(axis=(1, 2)).astype(np.int32)
NUMBERS = np.arange(12) % 3
TEXTS = np.array(["no", "sphere", "vort"])[NUMBERS]


def stack(path: Path, **arrays) -> Path:
    if path.suffix == ".npz":
        np.savez_compressed(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                texts = np.asarray(array).dtype.kind == "U"
                file[name] = np.asarray(array).astype(object) if texts else array
    return path


def images_of(path: Path) -> dict[str, np.ndarray]:
    return {name: np.load(io.BytesIO(content)) for name, content in everything(path).items()}


@pytest.mark.parametrize("name", ["x.npz", "x.h5", "x.hdf5"])
class TestEveryStack:
    @pytest.mark.parametrize("dtype", ["<u2", ">f8", "<f4", "|i1"])
    def test_gives_each_row_as_a_file(self, name, dtype, tmp_path):
        images = IMAGES.astype(dtype)
        found = images_of(stack(tmp_path / name, images=images, labels=NUMBERS[:, None]))
        assert list(found) == [f"{number}/{row:02}.npy" for row, number in enumerate(NUMBERS)]
        for image, expected in zip(found.values(), images, strict=True):
            np.testing.assert_array_equal(image, expected)
            assert image.dtype == np.dtype(dtype)

    def test_names_files_by_classes_ids_and_partitions(self, name, tmp_path):
        path = stack(
            tmp_path / name,
            train_images=IMAGES[:8, ..., None],
            train_labels=NUMBERS[:8],
            train_ids=np.array([f"lens-{i}" for i in range(8)]),
            val_images=IMAGES[8:, ..., None],
            val_labels=NUMBERS[8:],
            classes=np.array(["no", "sphere", "vort"]),
        )
        found = images_of(path)
        assert "train/sphere/lens-4.npy" in found
        np.testing.assert_array_equal(found["val/vort/0.npy"][..., 0], IMAGES[8])
        assert len(found) == 12
        assert open_source(path).names() == sorted(found)

    def test_takes_texts_for_labels_and_the_names_x_and_y(self, name, tmp_path):
        found = images_of(stack(tmp_path / name, x=IMAGES, y=TEXTS))
        np.testing.assert_array_equal(found["sphere/04.npy"], IMAGES[4])

    def test_gives_only_what_is_asked_for(self, name, tmp_path):
        source = open_source(stack(tmp_path / name, x=IMAGES, y=TEXTS))
        loads = dict(source.contents({"vort/11.npy", "no/03.npy"}))
        assert list(loads) == ["no/03.npy", "vort/11.npy"]
        np.testing.assert_array_equal(np.load(io.BytesIO(loads["vort/11.npy"]())), IMAGES[11])

    @pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f4", "<i8"])
    @pytest.mark.parametrize("divisors", [DIVISORS, DIVISORS[:, None], DIVISORS / 7])
    def test_divides_each_image_by_its_own_divisor(self, name, dtype, divisors, tmp_path):
        images = IMAGES.astype(dtype)
        found = images_of(stack(tmp_path / name, x=images, y=NUMBERS, divisors=divisors))
        assert list(found) == [f"{number}/{row:02}.npy" for row, number in enumerate(NUMBERS)]
        for row, image in enumerate(found.values()):
            # Python's own division of integers and floats is correctly rounded too.
            divisor = divisors.ravel()[row].item()
            assert image.tolist() == [[v / divisor for v in line] for line in images[row].tolist()]
            assert image.dtype.str == "<f8"

    def test_divides_only_the_partition_that_says_so_and_what_is_asked_for(self, name, tmp_path):
        path = stack(
            tmp_path / name,
            train_x=IMAGES[:8],
            train_y=TEXTS[:8],
            val_x=IMAGES[8:],
            val_y=TEXTS[8:],
            val_divisors=DIVISORS[8:],
        )
        source = open_source(path)
        wanted = ["train/no/6.npy", "val/sphere/2.npy"]
        train, val = (np.load(io.BytesIO(load())) for _, load in source.contents(wanted))
        np.testing.assert_array_equal(train, IMAGES[6])
        assert train.dtype == IMAGES.dtype
        np.testing.assert_array_equal(val, np.array(IMAGES[10] / float(DIVISORS[10])))

    @pytest.mark.parametrize(
        ("divisors", "message"),
        [
            (DIVISORS[1:], r"x\.\w+: divisors has shape \(11,\) .*; write \(12,\) numbers"),
            (np.float64(255), r"divisors has shape \(\) .*; write \(12,\) numbers"),
            (np.ones((12, 2)), r"divisors has shape \(12, 2\) .*; write \(12,\) numbers"),
            (np.full(12, "1"), "divisors has .* dtype .*; write .* numbers, one for each image"),
            (np.full(12, True), "divisors has .* dtype bool; write .* numbers"),
            (DIVISORS * (NUMBERS != 2), r"4 of 12 divisors .* row 2, 0\.0; write 1 where"),
            (DIVISORS * np.where(np.arange(12) == 5, -1, 1), r"1 of 12 divisors .* row 5, -"),
            (np.where(NUMBERS == 1, np.nan, 2.0), r"4 of 12 divisors .* row 1, nan"),
            (np.where(np.arange(12) == 3, np.inf, 2.0), r"1 of 12 divisors .* row 3, inf"),
        ],
    )
    def test_with_bad_divisors_is_refused_with_a_reason(self, name, divisors, message, tmp_path):
        path = stack(tmp_path / name, images=IMAGES, labels=NUMBERS, divisors=divisors)
        with pytest.raises(DatasetError, match=message):
            open_source(path).names()

    def test_with_divisors_of_no_images_is_refused(self, name, tmp_path):
        path = stack(tmp_path / name, train_x=IMAGES, train_y=TEXTS, divisors=DIVISORS)
        with pytest.raises(DatasetError, match=r"divisors has no images to divide; .*train_di"):
            open_source(path).names()

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"images": IMAGES}, "no images with labels among the arrays images; expected"),
            ({"images": IMAGES, "labels": NUMBERS[:-1]}, r"labels has shape \(11,\)"),
            ({"images": IMAGES, "labels": np.ones((12, 3), int)}, r"labels has shape \(12, 3\)"),
            ({"images": IMAGES, "labels": NUMBERS / 2}, "no texts or integers"),
            ({"images": IMAGES[0], "labels": NUMBERS}, r"images has shape \(6, 5\)"),
            ({"images": IMAGES.astype(complex), "labels": NUMBERS}, "complex"),
            ({"images": IMAGES, "labels": NUMBERS, "classes": ["a", "b"]}, "beyond the 2 classes"),
            ({"images": IMAGES, "labels": NUMBERS - 1, "classes": TEXTS[:3]}, "beyond the 3"),
            ({"images": IMAGES, "labels": TEXTS, "ids": ["a"] * 12}, "two images"),
            ({"images": IMAGES, "labels": TEXTS, "x": IMAGES, "y": TEXTS}, "more than one stack"),
            (
                {"images": IMAGES, "labels": TEXTS, "val_x": IMAGES, "val_y": TEXTS},
                "more than one stack",
            ),
            *(
                ({"images": IMAGES[:1], "labels": [text]}, "can name no file")
                for text in ("", "..", "a/b", "a\\b", ".hidden")
            ),
            (
                {"images": IMAGES, "labels": ["x" * 256, *TEXTS[1:]]},
                "labels holds a text of 256 characters, 'xxx.*; a name may have 255",
            ),
        ],
    )
    def test_is_refused_with_a_reason(self, name, arrays, message, tmp_path):
        path = stack(tmp_path / name, **arrays)
        with pytest.raises(DatasetError, match=message):
            open_source(path).names()

    @pytest.mark.parametrize(
        ("train", "val", "test"),
        [
            ("train_", "val_", "test_"),
            ("training_", "validation_", "testing_"),
            ("train/", "valid/", "test/"),
        ],
    )
    def test_has_partitions_of_every_spelling(self, name, train, val, test, tmp_path):
        arrays = {}
        for number, prefix in enumerate((train, val, test)):
            arrays |= {f"{prefix}images": IMAGES[number::3], f"{prefix}y": ["no", "vort"] * 2}
        found = open_source(stack(tmp_path / name, **arrays)).names()
        assert Counter(map(os.path.dirname, found)) == {
            f"{part}/{label}": 2 for part in ("train", "val", "test") for label in ("no", "vort")
        }

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (
                {"test_images": IMAGES},
                "test_images has no test_labels or test_y beside it, and wou",
            ),
            ({"test_images": IMAGES, "test_label": TEXTS}, "test_images has no test_labels or"),
            ({"test_labels": TEXTS}, "test_labels has no test_images or test_x beside it"),
            ({"dev_images": IMAGES, "dev_labels": TEXTS}, "dev_images belongs to no partition"),
            ({"dev_x": IMAGES, "dev_y": TEXTS}, "dev_x belongs to no partition that is known"),
        ],
    )
    def test_loses_no_images(self, name, more, message, tmp_path):
        path = stack(tmp_path / name, train_x=IMAGES, train_y=TEXTS, **more)
        with pytest.raises(DatasetError, match=message):
            open_source(path).names()

    def test_may_hold_other_arrays(self, name, tmp_path):
        others = {"centre_x": DIVISORS, "centre_y": DIVISORS, "psf_images": IMAGES}
        path = stack(tmp_path / name, images=IMAGES, labels=TEXTS, **others)
        assert len(open_source(path).names()) == 12

    def test_names_classes_once_and_perhaps_for_each_partition(self, name, tmp_path):
        arrays = {
            f"{part}_{kind}": one
            for part in ("train", "val")
            for kind, one in {"images": IMAGES, "labels": NUMBERS}.items()
        }
        path = stack(
            tmp_path / name,
            **arrays,
            classes=["no", "sphere", "vort"],
            val_classes=["vort", "no", "sphere"],
        )
        found = images_of(path)
        np.testing.assert_array_equal(found["train/no/00.npy"], IMAGES[0])
        np.testing.assert_array_equal(found["val/vort/00.npy"], IMAGES[0])
        path = stack(tmp_path / f"2{name}", **arrays, classes=["no", "no", "vort"])
        with pytest.raises(DatasetError, match="classes names a class twice: no, no, vort"):
            open_source(path).names()

    def test_without_labels_is_for_who_needs_none(self, name, tmp_path):
        path = stack(
            tmp_path / name, images=IMAGES, test_x=IMAGES, test_ids=[f"a{i}" for i in range(12)]
        )
        with pytest.raises(DatasetError, match="no images with labels"):
            open_source(path).names()
        alone = stack(tmp_path / f"2{name}", images=IMAGES)
        source = open_source(alone, labelled=False)
        assert source.names() == [f"{i:02}.npy" for i in range(12)]
        ((_, load),) = source.contents(["07.npy"])
        np.testing.assert_array_equal(np.load(io.BytesIO(load())), IMAGES[7])

    def test_that_is_damaged_is_refused(self, name, tmp_path):
        path = stack(tmp_path / name, x=IMAGES, y=TEXTS)
        content = path.read_bytes()
        for cut in range(0, len(content), 1 + len(content) // 50):
            path.write_bytes(content[:cut])
            with pytest.raises(DatasetError, match="no readable stack"):
                everything(path)


def test_links_to_other_hdf5_files_are_left_alone(tmp_path):
    path = stack(
        tmp_path / "x.h5", **{"train/images": IMAGES, "train/labels": NUMBERS, "test/x": IMAGES}
    )
    with h5py.File(path, "a") as file:
        file["test/y"] = h5py.ExternalLink("elsewhere.h5", "y")
    with pytest.raises(DatasetError, match="test/x has no test/labels or test/y beside it"):
        open_source(path).names()
    with h5py.File(path, "a") as file:
        del file["test/y"]
        file.create_dataset("test/y", (12,), "u1", external=[("/dev/zero", 0, 12)])
    with pytest.raises(DatasetError, match="keeps its values in other files"):
        open_source(path).names()


def test_objects_in_a_stack_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("unpickled",)

    np.savez(tmp_path / "x.npz", images=IMAGES, labels=np.array([Trap()] * 12, dtype=object))
    message = r"labels holds Python objects, which are never unpickled; .*labels\.astype\(str\)"
    with pytest.raises(DatasetError, match=message):
        open_source(tmp_path / "x.npz").names()


def test_one_long_text_takes_its_own_memory_alone(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", (2000, 6, 5), "u1")
        file["y"] = ["x" * 20_000, *["no"] * 1999]
    source = open_source(tmp_path / "x.h5")
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match="a text of 20,000 characters"):
            source.names()
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_a_stack_of_more_images_than_there_is_memory_for_their_names_is_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, shape in (("x", (2**27, 6, 5)), ("y", (2**27,))):
            file.create_dataset(name, shape, "u1", chunks=(2**10, *shape[1:]))
    with pytest.raises(DatasetError, match="x has 134,217,728 rows; a stack may have 10,000,000"):
        open_source(tmp_path / "x.h5").names()


def test_arrays_of_hdf5_that_are_no_texts_are_no_labels(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = IMAGES
        labels = file.create_dataset("y", (12,), h5py.vlen_dtype("i4"))
        labels[0] = [1, 2]
    with pytest.raises(DatasetError, match="no texts or integers"):
        open_source(tmp_path / "x.h5").names()


def test_a_stack_in_fortran_order_is_told_its_way_out(tmp_path):
    path = stack(tmp_path / "x.npz", x=np.asfortranarray(IMAGES), y=NUMBERS)
    with pytest.raises(DatasetError, match="ascontiguousarray"):
        everything(path)


def test_a_stack_that_lacks_rows_is_refused(tmp_path):
    file = io.BytesIO()
    np.save(file, IMAGES)
    whole, cut = len(file.getvalue()), file.getvalue()[:-1]
    patched_zip(tmp_path / "x.npz", cut, size=whole, name="x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive, archive.open("y.npy", "w") as labels:
        np.save(labels, NUMBERS)
    with pytest.raises(DatasetError, match="cut short"):
        everything(tmp_path / "x.npz")


def test_a_chunked_hdf5_stack_is_read_the_same(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", data=IMAGES, chunks=(5, 6, 5), compression="gzip")
        file["labels"] = TEXTS.astype("S")
    found = images_of(tmp_path / "x.h5")
    np.testing.assert_array_equal(found["vort/05.npy"], IMAGES[5])


def test_a_large_chunk_is_inflated_once(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        shape = (11_000, 80, 80)  # 67 MiB
        file.create_dataset("x", shape, "u1", chunks=shape, compression="gzip")
        file["x"][0] = 1
        file["y"] = np.arange(11_000) % 2
    source = open_source(tmp_path / "x.h5")
    seconds = []
    for _, load in source.contents([f"0/{row:05}.npy" for row in range(0, 12, 2)]):
        start = time.perf_counter()
        load()
        seconds.append(time.perf_counter() - start)
    assert min(seconds[1:]) < seconds[0] / 4


@pytest.mark.parametrize("labels", ["texts", "numbers"])
def test_counts_and_their_divisors_are_the_same_data_as_a_folder_of_quotients(labels, tmp_path):
    rng = np.random.default_rng(1)
    names = [(label, str(number)) for label in ("no", "vort") for number in range(1, 8)]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for partition in ("train", "val"):
            counts = rng.poisson(40 + 1000 * rng.random((14, 1, 16, 16))).astype(np.uint16)
            counts -= counts.min(axis=(1, 2, 3), keepdims=True)
            for (label, number), image in zip(names, counts, strict=True):
                place = tmp_path / "folder" / partition / label / f"{number}.npy"
                place.parent.mkdir(parents=True, exist_ok=True)
                np.save(place, image.astype(np.float64) / float(image.max()))
            group = file.create_group(partition)
            group.create_dataset(
                "images", data=counts, chunks=(4, 1, 16, 16), compression="gzip", shuffle=True
            )
            group["divisors"] = counts.max(axis=(1, 2, 3))
            group["ids"] = [number for _, number in names]
            group["labels"] = [
                label if labels == "texts" else ("no", "vort").index(label) for label, _ in names
            ]
        if labels == "numbers":
            file["classes"] = ["no", "vort"]
    assert everything(tmp_path / "x.h5") == everything(tmp_path / "folder")
    of_stack, of_folder = (
        open_or_build_pack(DataSpec(path=tmp_path / name, cache=tmp_path / "cache"))
        for name in ("x.h5", "folder")
    )
    assert of_stack.fingerprint == of_folder.fingerprint
    assert "train/no/1.npy" in of_stack.catalogue.ids


def test_a_quotient_beyond_float64_is_infinite_for_the_audit_to_find(tmp_path):
    images = np.array([[[1e300]], [[-1e300]], [[1.0]]])
    found = images_of(stack(tmp_path / "x.npz", x=images, y=[0, 1, 1], divisors=[1e-9, 1e-9, 2]))
    assert [image.item() for image in found.values()] == [np.inf, -np.inf, 0.5]


def test_images_too_large_once_divided_are_refused_unread(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", (2, 2**13, 2**13), "u1", chunks=(1, 64, 64))
        file["y"] = [0, 1]
    assert len(open_source(tmp_path / "x.h5").names()) == 2
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file["divisors"] = [1, 2]
    with pytest.raises(DatasetError, match="536,870,912 bytes"):
        open_source(tmp_path / "x.h5").names()


def test_memory_stays_small_while_a_stack_is_read(tmp_path):
    images = np.zeros((500, 64, 64))
    path = stack(tmp_path / "x.npz", x=images, y=np.arange(500) % 2)
    source = open_source(path)
    names = source.names()
    tracemalloc.start()
    try:
        assert sum(len(load()) for _, load in source.contents(names)) > images.nbytes
        assert tracemalloc.get_traced_memory()[1] < images.nbytes / 8
    finally:
        tracemalloc.stop()
