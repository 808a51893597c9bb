"""What the pack holds, and when it is built."""

import os
import shutil

import numpy as np
import pytest

from lensbench.config import DataSpec
from lensbench.data import pack as pack_module
from lensbench.data.batches import EpochShuffle, evaluation_batches, training_batches
from lensbench.data.catalogue import read_catalogue
from lensbench.data.pack import open_or_build_pack
from lensbench.errors import DatasetError


@pytest.fixture
def spec(make_dataset, tmp_path):
    return DataSpec(path=make_dataset(), cache=tmp_path / "cache")


def build(spec):
    return open_or_build_pack(read_catalogue(spec), spec)


def test_the_pack_holds_the_exact_values_of_the_files(spec):
    catalogue = read_catalogue(spec)
    pack = build(spec)
    assert pack.image_shape == (1, 16, 16)
    for row, name in enumerate(catalogue.ids):
        on_disk = np.load(spec.path / name)
        np.testing.assert_array_equal(pack.images[row], on_disk.astype(np.float32))


def test_a_pack_is_built_once(spec, monkeypatch):
    build(spec)
    monkeypatch.setattr(pack_module, "survey", lambda *_: pytest.fail("read again"))
    assert len(build(spec).images) == 36


def test_a_changed_data_set_gets_a_new_pack(spec):
    before = build(spec).folder
    np.save(spec.path / "train/no/1.npy", np.eye(16)[None])
    after = build(spec)
    assert after.folder != before
    np.testing.assert_array_equal(after.images[0], np.eye(16, dtype=np.float32)[None])


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
    image = np.load(other.path / "train/no/1.npy")
    stamp = (spec.path / "train/no/1.npy").stat()
    np.save(other.path / "train/no/1.npy", 1 - image)
    os.utime(other.path / "train/no/1.npy", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert build(spec).fingerprint != build(other).fingerprint
    assert build(spec).images[0, 0, 0, 0] != build(other).images[0, 0, 0, 0]


def test_a_full_disk_is_said_before_it_is_filled(spec, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1000))
    with pytest.raises(DatasetError, match="--cache"):
        build(spec)


def test_an_unsound_data_set_leaves_nothing_behind(spec):
    (spec.path / "train/no/1.npy").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"train/no/1\.npy"):
        build(spec)
    assert list((spec.cache / "packs").iterdir()) == []


def test_an_interrupted_build_leaves_no_pack(spec, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pack_module, "find", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(spec)
    assert list((spec.cache / "packs").iterdir()) == []


def test_whoever_builds_second_takes_the_first_one(spec, monkeypatch):
    """Another process finishes the same pack while this one is reading."""
    first = []
    survey = pack_module.survey

    def slow_survey(*arguments):
        if not first:
            first.append(None)
            first.append(build(spec).folder)
        return survey(*arguments)

    monkeypatch.setattr(pack_module, "survey", slow_survey)
    assert build(spec).folder == first[1]
    assert list((spec.cache / "packs").iterdir()) == [first[1]]


def test_warnings_are_kept_with_the_pack(spec):
    np.save(spec.path / "train/no/1.npy", np.full((1, 16, 16), 0.5))
    build(spec)
    (finding,) = build(spec).findings
    assert finding.code == "constant"


def test_evaluation_sees_every_row_once_in_order(spec):
    pack = build(spec)
    rows = np.array([30, 2, 7, 19, 5])
    images, labels = zip(*evaluation_batches(pack, rows, 2), strict=True)
    assert [len(batch) for batch in labels] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(images), pack.images[rows])
    np.testing.assert_array_equal(np.concatenate(labels), pack.labels[rows])


def test_the_order_depends_on_seed_and_epoch_alone(spec):
    def order(seed: int, epoch: int) -> list[int]:
        sampler = EpochShuffle(50, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 0) == order(1, 0)
    assert sorted(order(1, 0)) == list(range(50))
    assert order(1, 0) != order(1, 1) != order(2, 1)


def test_training_leaves_out_only_what_fills_no_batch(spec):
    loader = training_batches(build(spec), np.arange(36), batch_size=16, seed=0)
    assert [len(labels) for _, labels in loader] == [16, 16]
    assert len(training_batches(build(spec), np.arange(6), batch_size=16, seed=0)) == 1
