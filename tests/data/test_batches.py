"""Every row arrives exactly once, with its exact values, in an order that can be repeated."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lensbench.config import DataSpec
from lensbench.data.batches import DeviceImages, Feeder
from lensbench.data.pack import Pack, open_or_build_pack

CPU = torch.device("cpu")


class Numbers:
    """Stands for DeviceImages where only the rows matter."""

    def batch(self, rows):
        return torch.from_numpy(rows), torch.from_numpy(rows)


def rows_of(feeder: Feeder) -> list[list[int]]:
    return [labels.tolist() for _, labels in feeder]


def flat(lists: list[list]) -> list:
    return list(itertools.chain.from_iterable(lists))


def feeder(n_rows: int, batch_size: int, seed: int | None = None) -> Feeder:
    return Feeder(Numbers(), np.arange(n_rows), batch_size, shuffle_seed=seed)


KINDS = {
    "uint8": lambda rng: rng.integers(0, 256, (1, 16, 16)) / 255,
    "uint16": lambda rng: rng.integers(0, 65536, (1, 16, 16)) / 65535,
    "float16": lambda rng: rng.random((1, 16, 16)).astype(np.float16),
    "float32": lambda rng: rng.random((1, 16, 16)),
}


@pytest.fixture(params=KINDS)
def pack(request, make_dataset, tmp_path) -> Pack:
    root = make_dataset()
    rng = np.random.default_rng(0)
    for file in root.rglob("*.npy"):
        np.save(file, KINDS[request.param](rng))
    pack = open_or_build_pack(DataSpec(path=root, cache=tmp_path / "cache"))
    assert pack.stored.dtype == request.param
    return pack


@pytest.mark.parametrize("resident", [False, True])
def test_batches_hold_the_exact_values_of_the_files(pack, resident):
    images = DeviceImages(pack, CPU, resident=resident)
    assert images.is_resident == resident
    rows = np.array([30, 2, 7, 19, 5])
    batches = list(Feeder(images, rows, 2))
    assert [len(labels) for _, labels in batches] == [2, 2, 1]
    pixels, labels = (torch.cat(parts).numpy() for parts in zip(*batches, strict=True))
    on_disk = [np.load(pack.source / pack.catalogue.ids[row]) for row in rows]
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, np.stack(on_disk).astype(np.float32))
    np.testing.assert_array_equal(labels, pack.labels[rows])


def test_a_copy_that_is_given_up_changes_no_batch(pack):
    images, rows = DeviceImages(pack, CPU, resident=True), np.array([30, 2, 7])
    before, _ = images.batch(rows)
    images.release()
    assert not images.is_resident
    assert torch.equal(images.batch(rows)[0], before)


def test_a_batch_stays_as_it_is_when_the_next_one_comes(pack):
    images = DeviceImages(pack, CPU)
    first, _ = images.batch(np.array([0, 1]))
    kept = first.clone()
    images.batch(np.array([2, 3]))
    assert torch.equal(first, kept)


def test_a_copy_on_the_device_is_for_gpus(pack):
    assert not DeviceImages(pack, CPU).is_resident


def test_training_has_a_new_order_in_each_epoch_that_depends_on_seed_and_epoch_alone():
    def order(seed: int, epoch: int) -> list[list[int]]:
        some = feeder(50, 8, seed)
        some.set_epoch(epoch)
        return rows_of(some)

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1) != order(2, 1)
    assert sorted(flat(order(1, 0))) == list(range(50))


def test_the_order_is_the_same_on_every_machine_and_with_every_numpy():
    (first, *_) = rows_of(feeder(30_000, 10, 42))
    bits = np.random.Philox(np.random.SeedSequence([42, 0])).random_raw(30_000).tolist()
    assert first == sorted(range(30_000), key=bits.__getitem__)[:10]
    assert first == [1117, 27698, 9516, 8334, 7148, 2956, 6593, 25214, 11145, 19912]


@given(st.integers(1, 200), st.integers(2, 50), st.integers(0, 3))
def test_training_sees_every_row_once_in_batches_of_about_one_size(n_rows, batch_size, seed):
    some = feeder(n_rows, batch_size, seed)
    batches = rows_of(some)
    assert sorted(flat(batches)) == list(range(n_rows))
    sizes = {len(batch) for batch in batches}
    assert max(sizes) - min(sizes) <= 1
    assert len(batches) == len(some)
    assert min(sizes) >= min(2, n_rows)  # BatchNorm cannot train on one alone
    assert max(sizes) <= max(3, batch_size)
    assert batch_size == 2 or len(batches) == -(-n_rows // batch_size)


@given(st.integers(1, 40), st.integers(1, 50))
def test_evaluation_sees_every_row_once_in_order(n_rows, batch_size):
    some = feeder(n_rows, batch_size)
    batches = rows_of(some)
    assert flat(batches) == list(range(n_rows))
    assert len(batches) == len(some)


@given(st.integers(0, 5), st.integers(0, 3))
def test_a_pass_goes_on_where_another_one_stopped(n_before, epoch):
    whole = feeder(50, 8, 1)
    whole.set_epoch(epoch)
    stopped = feeder(50, 8, 1)
    stopped.set_epoch(epoch)
    before = [labels.tolist() for _, (_, labels) in zip(range(n_before), stopped, strict=False)]
    resumed = feeder(50, 8, 1)
    resumed.load_state_dict(stopped.state_dict())
    assert before + rows_of(resumed) == rows_of(whole)
    resumed.set_epoch(epoch + 1)
    whole.set_epoch(epoch + 1)
    assert rows_of(resumed) == rows_of(whole)
