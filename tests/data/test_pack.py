"""What the pack holds, and when it is built."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from lensbench.config import DataSpec
from lensbench.data import pack as pack_module
from lensbench.data.pack import Pack, open_or_build_pack, open_pack, verify
from lensbench.data.sources.archive import TarSource
from lensbench.errors import DatasetError


@pytest.fixture
def spec(make_dataset, tmp_path):
    return DataSpec(path=make_dataset(), cache=tmp_path / "cache")


def build(spec) -> Pack:
    return open_or_build_pack(spec)


def image(pack: Pack, row: int) -> np.ndarray:
    return pack.read(np.array([row]))[0]


def left(spec) -> list:
    """Return what lies in the folder of packs, but for locks."""
    return [path for path in (spec.cache / "packs").iterdir() if path.suffix != ".lock"]


def test_the_pack_holds_the_exact_values_of_the_files(spec):
    pack = build(spec)
    assert pack.image_shape == (1, 16, 16)
    assert len(pack.catalogue) == 36
    for row, name in enumerate(pack.catalogue.ids):
        on_disk = np.load(spec.path / name)
        np.testing.assert_array_equal(image(pack, row), on_disk.astype(np.float32))


def test_a_pack_is_built_once(spec, monkeypatch):
    build(spec)
    monkeypatch.setattr(pack_module, "read_and_audit", lambda *_: pytest.fail("read again"))
    assert len(build(spec).stored) == 36


CHANGES = {
    "changed": lambda root: np.save(root / "train/no/1.npy", np.eye(16)[None]),
    "added": lambda root: np.save(root / "train/no/9.npy", np.eye(16)[None]),
    "removed": lambda root: (root / "train/no/1.npy").unlink(),
    "renamed": lambda root: (root / "train/no/1.npy").rename(root / "train/no/10.npy"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_data_set_gets_a_new_pack_and_the_old_one_goes(spec, change):
    before = build(spec)
    CHANGES[change](spec.path)
    after = build(spec)
    assert after.fingerprint != before.fingerprint
    files = sorted(f.relative_to(spec.path).as_posix() for f in spec.path.rglob("*.npy"))
    assert list(after.catalogue.ids) == files
    on_disk = np.stack([np.load(spec.path / name) for name in files])
    np.testing.assert_array_equal(after.read(np.arange(len(files))), on_disk.astype(np.float32))
    assert left(spec) == [after.folder]


def test_the_fingerprint_is_that_of_names_and_contents(spec, tmp_path):
    before = build(spec).fingerprint
    copy = spec.model_copy(update={"path": tmp_path / "copy"})
    shutil.copytree(spec.path, copy.path, copy_function=shutil.copyfile)
    assert build(copy).fingerprint == before
    image = np.load(copy.path / "train/no/1.npy")
    image[0, 0, 0] += 1e-3
    np.save(copy.path / "train/no/1.npy", image)
    assert build(copy).fingerprint != before


def test_data_sets_that_look_alike_from_outside_have_packs_of_their_own(spec, tmp_path):
    other = spec.model_copy(update={"path": tmp_path / "other"})
    shutil.copytree(spec.path, other.path)
    original = np.load(other.path / "train/no/1.npy")
    stamp = (spec.path / "train/no/1.npy").stat()
    np.save(other.path / "train/no/1.npy", 1 - original)
    os.utime(other.path / "train/no/1.npy", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert build(spec).fingerprint != build(other).fingerprint
    assert image(build(spec), 0)[0, 0, 0] != image(build(other), 0)[0, 0, 0]


def test_a_full_disk_is_said_before_it_is_filled(spec, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(DatasetError, match="--cache"):
        build(spec)


def test_what_is_wrong_with_the_images_is_said_before_what_the_disk_lacks(spec, monkeypatch):
    np.save(spec.path / "train/no/1.npy", np.ones((1, 500, 500)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 10**6))
    with pytest.raises(DatasetError, match=r"shapes-differ.*train/no/1\.npy"):
        build(spec)
    assert left(spec) == []


def test_an_unsound_data_set_leaves_nothing_behind(spec):
    (spec.path / "train/no/1.npy").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"train/no/1\.npy"):
        build(spec)
    assert left(spec) == []


def test_an_interrupted_build_leaves_no_pack(spec, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pack_module.np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(spec)
    assert left(spec) == []


BUILD_WHEN_TOLD = """
import sys
from pathlib import Path
from lensbench.config import DataSpec
from lensbench.data import audit
from lensbench.data.pack import open_or_build_pack

survey = audit.survey
def waiting(catalogue, source, sink):
    def watched(row, image):
        sink(row, image)
        if row == 0:
            print(row, flush=True)
            sys.stdin.readline()
    return survey(catalogue, source, watched)
audit.survey = waiting
pack = open_or_build_pack(DataSpec(path=Path(sys.argv[1]), cache=Path(sys.argv[2])))
print("fingerprint", pack.fingerprint)
"""


def building(spec) -> subprocess.Popen:
    """Build the pack in another process, which after the first image says so and waits."""
    return subprocess.Popen(
        [sys.executable, "-c", BUILD_WHEN_TOLD, str(spec.path), str(spec.cache)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_build_leaves_no_pack_and_the_next_clears_it_away(spec):
    process = building(spec)
    assert process.stdout.readline() == "0\n"
    process.kill()
    process.communicate(timeout=30)
    (partial,) = left(spec)
    assert partial.name.endswith(".partial")
    assert (partial / "float32.npy").stat().st_size > 36 * 16 * 16 * 4
    assert not (partial / "manifest.json").exists()
    pack = build(spec)
    assert left(spec) == [pack.folder]
    on_disk = np.stack([np.load(spec.path / name) for name in pack.catalogue.ids])
    np.testing.assert_array_equal(pack.read(np.arange(36)), on_disk.astype(np.float32))


def test_of_two_processes_one_builds_and_the_other_waits(spec):
    first = building(spec)
    assert first.stdout.readline() == "0\n"
    second = building(spec)
    assert f"another process is packing {spec.path}; waiting" in second.stderr.readline()
    said = [process.communicate("go on\n", timeout=60)[0] for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0]
    assert said[0] == said[1]  # its pack; the second read no image itself
    assert left(spec) == [build(spec).folder]


SPOIL = {
    "the manifest is gone": lambda folder: (folder / "manifest.json").unlink(),
    "the pixels are gone": lambda folder: (folder / "float32.npy").unlink(),
    "the pixels are cut short": lambda folder: os.truncate(folder / "float32.npy", 1000),
    "the names are gone": lambda folder: (folder / "columns.npz").unlink(),
    "the names are empty": lambda folder: os.truncate(folder / "columns.npz", 0),
    "the divisors are empty": lambda folder: os.truncate(folder / "divisors.npy", 0),
    "the manifest is cut short": lambda folder: os.truncate(folder / "manifest.json", 10),
}


@pytest.mark.parametrize("spoil", SPOIL)
def test_a_damaged_pack_is_built_anew(spec, spoil):
    before = build(spec)
    expected = before.read(np.arange(36))
    SPOIL[spoil](before.folder)
    after = build(spec)
    np.testing.assert_array_equal(after.read(np.arange(36)), expected)
    assert len(after.catalogue) == 36
    assert left(spec) == [after.folder]


@pytest.mark.parametrize("following", [verify, build])
def test_a_killed_audit_is_cleared_away_by_what_comes_next(spec, following):
    audit = spec.cache / "packs" / f"{pack_module._place(spec)}.audit"
    audit.mkdir(parents=True)
    (audit / "float32.npy").write_bytes(b"left")
    following(spec)
    assert not audit.exists()


@pytest.mark.parametrize("cache", [".", "cache", ".cache"])
def test_a_cache_inside_the_data_is_refused(spec, cache):
    inside = spec.model_copy(update={"cache": spec.path / cache})
    with pytest.raises(DatasetError, match=r"lies inside the data; .*--cache"):
        build(inside)


def test_a_cache_that_cannot_be_made_is_named(spec, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="--cache"):
        build(spec.model_copy(update={"cache": tmp_path / "file"}))


def test_a_user_without_a_home_is_asked_for_a_cache(spec, monkeypatch):
    def homeless(name):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(pack_module.platformdirs, "user_cache_path", homeless)
    with pytest.raises(DatasetError, match=r"home directory.*name one with --cache"):
        open_or_build_pack(spec.model_copy(update={"cache": None}))


@pytest.mark.parametrize("use", [verify, build])
def test_a_cache_that_cannot_be_written_is_named(spec, use):
    # As root, who may write anywhere, sees it too.
    (spec.cache / "packs" / f"{pack_module._place(spec)}.lock").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"packs: cannot keep packed images .*--cache"):
        use(spec)


@pytest.mark.parametrize("use", [verify, build])
def test_a_cache_that_has_become_read_only_is_named_once_it_is_needed(spec, use):
    before = build(spec)
    packs = before.folder.parent
    packs.chmod(0o555)
    try:
        if os.access(packs, os.W_OK):
            pytest.skip("root may write anywhere")
        assert build(spec).fingerprint == before.fingerprint
        CHANGES["changed"](spec.path)
        with pytest.raises(DatasetError, match=r"packs: cannot keep packed images .*--cache"):
            use(spec)
    finally:
        packs.chmod(0o755)


def test_a_name_that_no_list_could_hold_is_refused(spec):
    try:
        (spec.path / "train/no/1.npy").rename(spec.path / "train/no/caf\udce9.npy")
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(DatasetError, match="no UTF-8"):
        build(spec)


def test_another_range_is_judged_without_a_second_pack(spec):
    build(spec)
    wide = build(spec.model_copy(update={"value_range": (0, 0.5)}))
    assert "out-of-range" in {finding.code for finding in wide.findings}
    assert left(spec) == [wide.folder]


def test_files_that_change_while_they_are_read_give_no_pack(spec, monkeypatch):
    read_and_audit = pack_module.read_and_audit

    def disturbed(*arguments):
        images = read_and_audit(*arguments)
        np.save(spec.path / "train/no/1.npy", np.eye(16)[None])
        return images

    monkeypatch.setattr(pack_module, "read_and_audit", disturbed)
    with pytest.raises(DatasetError, match="files changed while they were read"):
        build(spec)
    assert left(spec) == []


def test_counts_are_stored_as_integers(spec):
    rng = np.random.default_rng(0)
    for file in spec.path.rglob("*.npy"):
        counts = rng.poisson(300, (1, 16, 16)).astype(float)
        np.save(file, (counts - counts.min()) / np.ptp(counts))
    pack = build(spec)
    assert pack.stored.dtype == np.uint8
    np.testing.assert_array_equal(
        image(pack, 0), np.load(file.parents[2] / "train/no/1.npy").astype(np.float32)
    )


@pytest.mark.parametrize("first", [True, False])
def test_one_image_that_does_not_fit_widens_all(spec, first):
    rng = np.random.default_rng(0)
    files = sorted(spec.path.rglob("*.npy"))
    for k, file in enumerate(files):
        tops = [200, 700, 3000]
        np.save(file, rng.integers(0, tops[k % 3] + 1, (1, 16, 16)) / tops[k % 3])
    assert build(spec).stored.dtype == np.uint16
    np.save(files[0 if first else -1], rng.random((1, 16, 16)))
    pack = build(spec)
    assert pack.stored.dtype == np.float32
    on_disk = np.stack([np.load(file) for file in files]).astype(np.float32)
    np.testing.assert_array_equal(pack.read(np.arange(36)), on_disk)
    assert len(list(pack.folder.glob("*.npy"))) == 2


def test_an_archive_is_not_even_listed_once_its_pack_is_there(spec, tmp_path, monkeypatch):
    shutil.make_archive(str(tmp_path / "data"), "gztar", spec.path)
    packed = spec.model_copy(update={"path": tmp_path / "data.tar.gz"})
    before = build(packed)
    assert before.fingerprint == build(spec).fingerprint
    monkeypatch.setattr(TarSource, "names", lambda _: pytest.fail("listed again"))
    assert build(packed).catalogue.ids == before.catalogue.ids


def test_labels_of_a_file_are_part_of_the_pack(spec, tmp_path):
    labels = tmp_path / "labels.csv"
    ids = [f"{p}/{c}/{i}.npy" for p in ("train", "val") for c in ("no", "vort") for i in (1, 2)]
    labels.write_text("id,label\n" + "".join(f"{i},{i.split('/')[1]}\n" for i in ids))
    labelled = spec.model_copy(update={"labels": labels})
    before = build(labelled)
    assert before.classes == ("no", "vort")
    labels.write_text(labels.read_text().replace("vort\n", "string\n"))
    after = build(labelled)
    assert after.classes == ("no", "string")
    assert after.fingerprint != before.fingerprint
    assert sorted(after.catalogue.ids) == ids


def test_copies_are_grouped(spec):
    shutil.copy(spec.path / "train/no/1.npy", spec.path / "train/no/3.npy")
    groups = build(spec).groups
    np.testing.assert_array_equal(groups, [0, 1, 0, *range(3, 36)])


def test_leaks_are_packed_so_that_they_can_be_accepted(spec):
    shutil.copy(spec.path / "train/no/1.npy", spec.path / "val/no/1.npy")
    (finding, _) = build(spec).findings
    assert (finding.code, finding.severity) == ("leak", "error")


def test_opening_reads_neither_pixels_nor_names(spec):
    folder = build(spec).folder
    columns = folder / "columns.npz"
    columns.rename(folder / "hidden.npz")
    pack = open_pack(folder)
    assert isinstance(pack.stored, np.memmap)
    assert pack.image_shape == (1, 16, 16)
    (folder / "hidden.npz").rename(columns)
    assert len(pack.catalogue) == 36


def test_warnings_are_kept_with_the_pack(spec):
    np.save(spec.path / "train/no/1.npy", np.full((1, 16, 16), 0.5))
    build(spec)
    codes = [finding.code for finding in build(spec).findings]
    assert codes == ["constant", "near-unchecked"]
