"""Who is in which part, on every machine."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lensbench.config import SplitSpec
from lensbench.data.catalogue import Catalogue
from lensbench.data.source import FolderSource
from lensbench.data.split import make_split
from lensbench.errors import DatasetError


def catalogue(**n_images: int) -> Catalogue:
    """Make a catalogue of `n_images` a class in each partition; `all` means no partition."""
    classes = ("no", "sphere", "vort")
    rows = sorted(
        (f"{'' if part == 'all' else part + '/'}{name}/{i}.npy", part, k)
        for part, n in n_images.items()
        for k, name in enumerate(classes)
        for i in range(n)
    )
    return Catalogue(
        source=FolderSource(Path("data")),
        ids=tuple(row[0] for row in rows),
        members=tuple(row[0] for row in rows),
        stamps=("",) * len(rows),
        labels=np.array([row[2] for row in rows]),
        partitions=() if "all" in n_images else tuple(row[1] for row in rows),
        classes=classes,
        ignored=(),
    )


def part_of(ids: tuple[str, ...]) -> set[str]:
    return {name.split("/")[0] for name in ids}


def per_class(ids: tuple[str, ...]) -> list[int]:
    return [sum(f"{name}/" in i for i in ids) for name in ("no", "sphere", "vort")]


def test_halved_divides_val_and_leaves_train_whole():
    split = make_split(catalogue(train=20, val=10), SplitSpec(), "halved")
    assert split.convention == "halved"
    assert part_of(split.train) == {"train"}
    assert part_of(split.validation) | part_of(split.test) == {"val"}
    assert [per_class(p) for p in (split.train, split.validation, split.test)] == [
        [20] * 3,
        [5] * 3,
        [5] * 3,
    ]


def test_sealed_takes_a_tenth_of_train_and_tests_on_val():
    split = make_split(catalogue(train=20, val=10), SplitSpec(convention="sealed"), "halved")
    assert per_class(split.validation) == [2] * 3
    assert part_of(split.validation) == part_of(split.train) == {"train"}
    assert per_class(split.test) == [10] * 3
    assert part_of(split.test) == {"val"}


def test_given_keeps_three_partitions():
    split = make_split(catalogue(train=5, val=3, test=2), SplitSpec(), "halved")
    assert split.convention == "given"
    assert [len(p) for p in (split.train, split.validation, split.test)] == [15, 9, 6]


def test_data_without_partitions_are_stratified_in_eighths():
    split = make_split(catalogue(all=80), SplitSpec(), "halved")
    assert split.convention == "stratified"
    assert [per_class(p) for p in (split.train, split.validation, split.test)] == [
        [60] * 3,
        [10] * 3,
        [10] * 3,
    ]


@given(st.integers(3, 40), st.integers(0, 2**31), st.sampled_from(["halved", "sealed"]))
def test_every_image_is_in_exactly_one_part(n_images, seed, convention):
    data = catalogue(train=2 * n_images + 10, val=n_images)
    split = make_split(data, SplitSpec(convention=convention, seed=seed), "halved")
    assert sorted(split.train + split.validation + split.test) == list(data.ids)


def test_the_split_is_the_same_everywhere():
    """The literal is the promise: no machine, library or file order may change it."""
    assert make_split(catalogue(train=20, val=10), SplitSpec(), "halved").fingerprint == (
        "a3e39903da618eda"
    )


def test_the_seed_matters():
    data = catalogue(train=20, val=10)
    one, other = (make_split(data, SplitSpec(seed=seed), "halved") for seed in (1, 2))
    assert one.train == other.train
    assert one.test != other.test


def test_an_image_keeps_its_lot_when_others_are_removed():
    data = catalogue(train=5, val=100)
    keep = np.flatnonzero(np.random.default_rng(0).random(len(data)) < 0.9)
    fewer = dataclasses.replace(
        data,
        ids=tuple(data.ids[i] for i in keep),
        members=tuple(data.members[i] for i in keep),
        stamps=tuple(data.stamps[i] for i in keep),
        labels=data.labels[keep],
        partitions=tuple(data.partitions[i] for i in keep),
    )
    before = set(make_split(data, SplitSpec(), "halved").test)
    after = set(make_split(fewer, SplitSpec(), "halved").test)
    assert len(after - before) < 0.1 * len(before)


@pytest.mark.parametrize(
    ("data", "convention", "message"),
    [
        (catalogue(all=10), "halved", "'stratified' does"),
        (catalogue(train=10, val=10, test=10), "halved", "'given' does"),
        (catalogue(train=10, test=10), "halved", "'sealed' does"),
        (catalogue(train=10, val=10), "stratified", "'halved' does"),
        (catalogue(train=10), None, "which have train; give them train and val folders"),
        (catalogue(train=10, val=1), "halved", "test part would have no image of no, sphere"),
        (catalogue(train=3, val=5), "sealed", "validation part would have no image"),
    ],
)
def test_a_split_that_does_not_fit_the_data_is_refused(data, convention, message):
    with pytest.raises(DatasetError, match=message):
        make_split(data, SplitSpec(convention=convention), "halved")


def test_a_split_is_written_as_lists_of_ids(tmp_path):
    split = make_split(catalogue(train=3, val=2), SplitSpec(), "halved")
    lists = {"train.txt", "validation.txt", "test.txt"}
    for _ in range(2):
        split.write(tmp_path / "split")
        assert (tmp_path / "split/test.txt").read_text().splitlines() == list(split.test)
        assert {path.name for path in (tmp_path / "split").iterdir()} == lists


def test_lists_of_another_split_are_kept(tmp_path):
    one, other = (
        make_split(catalogue(train=3, val=20), SplitSpec(seed=seed), "halved") for seed in (1, 2)
    )
    one.write(tmp_path)
    other.write(tmp_path)
    (aside,) = tmp_path.glob("superseded-*")
    assert (aside / "test.txt").read_text().splitlines() == list(one.test)
    assert (tmp_path / "test.txt").read_text().splitlines() == list(other.test)
