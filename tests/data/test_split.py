"""Who is in which part, on every machine."""

import bisect
import csv
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from lensbench.config import SplitSpec
from lensbench.data.catalogue import Catalogue
from lensbench.data.split import PARTS, Split, make_split, straddling
from lensbench.errors import DatasetError

CLASSES = ("no", "sphere", "vort")

Groups = NDArray[np.int64]


def make(ids: Sequence[str], labels: Sequence[int], partitions: Sequence[str] = ()) -> Catalogue:
    return Catalogue(
        path=Path("data"),
        ids=tuple(ids),
        members=tuple(ids),
        labels=np.array(labels, dtype=np.int64),
        partitions=tuple(partitions),
        classes=CLASSES,
        ignored=(),
    )


def catalogue(**n_images: int | tuple[int, ...]) -> Catalogue:
    """Make a catalogue of so many images a class in each partition; `all` means no partition."""
    rows = sorted(
        (f"{'' if part == 'all' else part + '/'}{name}/{i}.npy", k, part)
        for part, n in n_images.items()
        for k, name in enumerate(CLASSES)
        for i in range(n if isinstance(n, int) else n[k])
    )
    ids, labels, partitions = zip(*rows, strict=True)
    return make(ids, labels, () if "all" in n_images else partitions)


def alone(data: Catalogue) -> Groups:
    return np.arange(len(data))


def copies(data: Catalogue, n_pairs: int, seed: int) -> Groups:
    """Make copies of random images within each partition, of other classes too."""
    rng = np.random.default_rng(seed)
    groups = np.arange(len(data))
    for one, other in rng.integers(len(data), size=(n_pairs, 2)):
        if not data.partitions or data.partitions[one] == data.partitions[other]:
            low, high = sorted((groups[one], groups[other]))
            groups[groups == high] = low
    return groups


def split_of(data: Catalogue, spec: SplitSpec | None = None, groups: Groups | None = None) -> Split:
    return make_split(
        data, spec or SplitSpec(), "halved", alone(data) if groups is None else groups
    )


def part_of(ids: tuple[str, ...]) -> set[str]:
    return {name.split("/")[0] for name in ids}


def per_class(ids: tuple[str, ...]) -> list[int]:
    return [sum(f"{name}/" in i for i in ids) for name in CLASSES]


def parts_of(split: Split) -> dict[str, str]:
    return {name: part for part in PARTS for name in getattr(split, part)}


def write_csv(path: Path, lines: Sequence[Sequence[str]], encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file).writerows(lines)
    return path


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csv") / "parts.csv"


CONVENTIONS = {
    "halved": (catalogue(train=20, val=40), {}),
    "sealed": (catalogue(train=60, val=10), {"convention": "sealed"}),
    "given": (catalogue(train=20, val=10, test=10), {}),
    "stratified": (catalogue(all=60), {}),
    "kfold": (catalogue(train=40, val=20), {"folds": 4, "fold": 2}),
    "csv": (catalogue(train=40, val=20), {}),
}


def every_convention(test: Callable) -> Callable:
    return pytest.mark.parametrize("convention", CONVENTIONS)(settings(max_examples=30)(test))


seeds = st.integers(0, 2**31)
class_sizes = st.tuples(*[st.integers(20, 60)] * 3)


def case(convention: str, file: Path, groups: Groups, **settings) -> tuple[Catalogue, SplitSpec]:
    """Return images and settings of a convention; a file keeps copies together."""
    data, own = CONVENTIONS[convention]
    if convention == "csv":
        parts = [("train", "val", "test")[group % 3] for group in groups]
        write_csv(file, [("id", "part"), *zip(data.ids, parts, strict=True)])
        own = {"file": file}
    return data, SplitSpec(**own, **settings)


def test_halved_divides_val_and_leaves_train_whole():
    split = split_of(catalogue(train=20, val=10))
    assert split.convention == "halved"
    assert part_of(split.train) == {"train"}
    assert part_of(split.validation) | part_of(split.test) == {"val"}
    assert [per_class(getattr(split, part)) for part in PARTS] == [[20] * 3, [5] * 3, [5] * 3]


def test_sealed_takes_a_tenth_of_train_and_tests_on_val():
    split = split_of(catalogue(train=20, val=10), SplitSpec(convention="sealed"))
    assert per_class(split.validation) == [2] * 3
    assert part_of(split.validation) == part_of(split.train) == {"train"}
    assert per_class(split.test) == [10] * 3
    assert part_of(split.test) == {"val"}


def test_given_keeps_three_partitions():
    split = split_of(catalogue(train=5, val=3, test=2))
    assert split.convention == "given"
    assert [len(getattr(split, part)) for part in PARTS] == [15, 9, 6]


def test_data_without_partitions_are_stratified_in_eighths():
    split = split_of(catalogue(all=80))
    assert split.convention == "stratified"
    assert [per_class(getattr(split, part)) for part in PARTS] == [[60] * 3, [10] * 3, [10] * 3]


@every_convention
@given(seed=seeds, n_pairs=st.integers(0, 12))
def test_every_image_is_in_exactly_one_part(file, convention, seed, n_pairs):
    groups = copies(CONVENTIONS[convention][0], n_pairs, seed)
    data, spec = case(convention, file, groups, seed=seed)
    split = split_of(data, spec, groups)
    assert split.convention == convention
    assert sorted(split.train + split.validation + split.test) == list(data.ids)
    assert all(list(ids) == sorted(ids) for ids in (split.train, split.validation, split.test))


@every_convention
@given(seed=seeds, n_pairs=st.integers(1, 12), fraction=st.sampled_from([0.3, 0.7, 1]))
def test_copies_are_never_parted(file, convention, seed, n_pairs, fraction):
    groups = copies(CONVENTIONS[convention][0], n_pairs, seed)
    data, spec = case(convention, file, groups, seed=seed, train_fraction=fraction)
    split = split_of(data, spec, groups)
    parts = parts_of(split)
    for first in set(groups):
        assert len({parts.get(data.ids[row]) for row in np.flatnonzero(groups == first)}) == 1
    assert straddling(split, data, groups) == ()


@every_convention
@given(seed=seeds)
def test_the_order_of_the_images_does_not_matter(file, convention, seed):
    groups = copies(CONVENTIONS[convention][0], 8, seed)
    data, spec = case(convention, file, groups, seed=seed, train_fraction=0.6)
    order = np.random.default_rng(seed).permutation(len(data))
    shuffled = make(
        [data.ids[row] for row in order],
        data.labels[order],
        [data.partitions[row] for row in order] if data.partitions else (),
    )
    place = np.argsort(order)
    assert split_of(shuffled, spec, place[groups[order]]) == split_of(data, spec, groups)


def slow_draw(
    data: Catalogue, rows: Sequence[int], groups: Groups, seed: int, bounds: Callable
) -> dict[str, int]:
    """Return, for each id, how many of its class's bounds are passed when its group is dealt."""
    dealt: dict[str, int] = {}
    for k in range(len(CLASSES)):
        mine = [row for row in rows if data.labels[groups[row]] == k]
        firsts = sorted(
            {int(groups[row]) for row in mine},
            key=lambda row: hashlib.sha256(f"{seed}:{data.ids[row]}".encode()).hexdigest(),
        )
        taken = 0
        for first in firsts:
            group = [data.ids[row] for row in mine if groups[row] == first]
            part = bisect.bisect_right(bounds(len(mine)), taken)
            dealt |= dict.fromkeys(group, part)
            taken += len(group)
    return dealt


def nearest(share: float) -> int:
    return int(np.floor(share + 0.5))


@given(class_sizes, seeds, st.integers(0, 8), st.sampled_from([0.2, 0.35, 0.5]))
def test_a_draw_is_what_a_slow_one_is(sizes, seed, n_pairs, fraction):
    data = catalogue(train=20, val=sizes)
    groups = copies(data, n_pairs, seed)
    split = split_of(data, SplitSpec(seed=seed, validation_fraction=fraction), groups)
    rows = [row for row, partition in enumerate(data.partitions) if partition == "val"]
    dealt = slow_draw(data, rows, groups, seed, lambda n: [nearest(n * fraction)])
    assert set(split.validation) == {name for name, part in dealt.items() if part == 0}
    assert set(split.test) == {name for name, part in dealt.items() if part == 1}


@given(seeds, st.integers(0, 4), st.integers(2, 9))
def test_folds_are_what_slow_ones_are(seed, n_pairs, folds):
    data = catalogue(all=(60, 71, 80))
    groups = copies(data, n_pairs, seed)
    dealt = slow_draw(
        data,
        range(len(data)),
        groups,
        seed,
        lambda n: [nearest(n * fold / folds) for fold in range(1, folds)],
    )
    for fold in range(folds):
        split = split_of(data, SplitSpec(seed=seed, folds=folds, fold=fold), groups)
        assert set(split.test) == {name for name, part in dealt.items() if part == fold}


@given(class_sizes, seeds, st.floats(0.1, 0.4), st.floats(0.1, 0.4))
def test_draws_are_stratified_to_the_image(sizes, seed, validation, test):
    data = catalogue(all=sizes)
    spec = SplitSpec(seed=seed, validation_fraction=validation, test_fraction=test)
    split = split_of(data, spec)
    for ids, share in ((split.validation, validation), (split.test, test)):
        assert np.abs(np.array(per_class(ids)) - share * np.array(sizes)).max() <= 1


@given(class_sizes, seeds, st.integers(2, 9))
def test_folds_test_every_image_once(sizes, seed, folds):
    data = catalogue(all=sizes)
    splits = [split_of(data, SplitSpec(seed=seed, folds=folds, fold=fold)) for fold in range(folds)]
    assert sorted(name for split in splits for name in split.test) == list(data.ids)
    assert np.ptp([per_class(split.test) for split in splits], axis=0).max() <= 1
    for split in splits:
        rest = np.array(sizes) - per_class(split.test)
        assert np.abs(np.array(per_class(split.validation)) - rest / 8).max() <= 0.5


def test_folds_do_not_care_about_partitions():
    data = catalogue(train=20, val=10)
    merged = make(data.ids, data.labels)
    spec = SplitSpec(fold=1)
    assert split_of(merged, spec) == split_of(data, spec)


@every_convention
@given(seed=seeds, shares=st.lists(st.floats(0.01, 1), min_size=2, max_size=4))
def test_smaller_shares_of_the_training_images_are_nested(file, convention, seed, shares):
    groups = alone(CONVENTIONS[convention][0])
    data, spec = case(convention, file, groups, seed=seed)
    whole = split_of(data, spec)
    larger = whole
    for share in sorted(shares, reverse=True):
        split = split_of(data, spec.model_copy(update={"train_fraction": share}))
        assert set(split.train) <= set(larger.train)
        assert (split.validation, split.test) == (whole.validation, whole.test)
        wanted = [max(1, nearest(n * share)) for n in per_class(whole.train)]
        assert per_class(split.train) == wanted
        larger = split


@given(seeds, st.floats(0.05, 0.95), st.integers(1, 12))
def test_a_share_of_the_training_images_takes_whole_groups(seed, share, n_pairs):
    data = catalogue(all=60)
    groups = copies(data, n_pairs, seed)
    whole = split_of(data, SplitSpec(seed=seed), groups)
    dealt = slow_draw(
        data, data.rows_of(whole.train), groups, seed, lambda n: [max(1, nearest(n * share))]
    )
    split = split_of(data, SplitSpec(seed=seed, train_fraction=share), groups)
    assert set(split.train) == {name for name, part in dealt.items() if part == 0}


@pytest.mark.parametrize(
    ("data", "settings", "n_pairs", "fingerprint"),
    [
        (catalogue(train=20, val=10), {}, 0, "a3e39903da618eda"),
        (catalogue(train=20, val=10), {"fold": 3}, 0, "fc77965b2630eef1"),
        (catalogue(train=20, val=10), {"train_fraction": 0.25}, 0, "cd0257fd65321aaf"),
        (catalogue(all=30), {}, 25, "9194d6883e76c812"),
    ],
)
def test_the_split_is_the_same_everywhere(data, settings, n_pairs, fingerprint):
    """The literals are the promise: no machine, library or file order may change them."""
    groups = np.arange(len(data))
    groups[1 : 2 * n_pairs : 2] -= 1
    assert split_of(data, SplitSpec(**settings), groups).fingerprint == fingerprint


def test_the_seed_matters():
    data = catalogue(train=20, val=10)
    one, other = (split_of(data, SplitSpec(seed=seed)) for seed in (1, 2))
    assert one.train == other.train
    assert one.test != other.test


def test_an_image_keeps_its_lot_when_others_are_removed():
    data = catalogue(train=5, val=100)
    keep = np.flatnonzero(np.random.default_rng(0).random(len(data)) < 0.9)
    fewer = make([data.ids[i] for i in keep], data.labels[keep], [data.partitions[i] for i in keep])
    before, after = set(split_of(data).test), set(split_of(fewer).test)
    assert len(after - before) < 0.1 * len(before)


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (catalogue(all=10), {"convention": "halved"}, "'stratified' does"),
        (catalogue(train=10, val=10, test=10), {"convention": "halved"}, "'given' does"),
        (catalogue(train=10, test=10), {"convention": "halved"}, "'sealed' does"),
        (catalogue(train=10, val=10), {"convention": "stratified"}, "'halved' does"),
        (catalogue(train=10), {}, "which have train; give them train and val folders"),
        (catalogue(train=10, val=1), {}, "test part would have no image of no, sphere"),
        (catalogue(train=3, val=5), {"convention": "sealed"}, "validation part would have no"),
        (catalogue(all=4), {"fold": 0}, "validation part would have no image"),
        (
            catalogue(all=2),
            {"fold": 0, "validation_fraction": 0.5},
            "test part would have no image",
        ),
    ],
)
def test_a_split_that_does_not_fit_the_data_is_refused(data, settings, message):
    with pytest.raises(DatasetError, match=message):
        split_of(data, SplitSpec(**settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"convention": "csv"}, "csv needs a file"),
        ({"convention": "kfold"}, "kfold the number of a fold"),
        ({"convention": "sealed", "file": "a.csv"}, "file means the split csv"),
        ({"convention": "csv", "file": "a.csv", "fold": 1}, "choose one split"),
        ({"file": "a.csv", "fold": 1}, "choose one split"),
        ({"convention": "given", "fold": 1}, "fold means kfold"),
        ({"fold": 5}, "there is no fold 5: they go from 0 to 4"),
        ({"fold": -1}, "greater than or equal to 0"),
        ({"fold": 0, "folds": 1}, "greater than or equal to 2"),
        ({"train_fraction": 0}, "greater than 0"),
        ({"train_fraction": 1.1}, "less than or equal to 1"),
        (
            {"convention": "stratified", "validation_fraction": 0.6, "test_fraction": 0.4},
            "nothing is left to train on",
        ),
        ({"test_fraction": 0.9}, "validation and test take 102%: nothing is left to train on"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        SplitSpec(**settings)


def test_where_no_test_fraction_serves_that_is_what_is_said():
    """And not that it is too large."""
    spec, data = SplitSpec(convention="sealed", test_fraction=0.95), catalogue(train=10, val=10)
    with pytest.raises(DatasetError, match="does not use test_fraction"):
        make_split(data, spec, "sealed", alone(data))


@pytest.mark.parametrize("settings", [{"file": "a.csv"}, {"convention": "csv", "file": "a.csv"}])
def test_settings_survive_json(settings):
    spec = SplitSpec(**settings)
    assert SplitSpec.model_validate_json(spec.model_dump_json()) == spec


def test_copies_in_different_parts_are_found():
    data = catalogue(train=10, val=10)
    groups = alone(data)
    for one, other in (("train/no/1", "val/vort/7"), ("train/no/2", "train/vort/7")):
        first, second = data.rows_of([f"{one}.npy", f"{other}.npy"])
        groups[second] = first
    leaking = ("train/no/1.npy", "val/vort/7.npy")
    assert straddling(split_of(data, groups=groups), data, groups) == leaking


def test_an_unused_copy_is_in_no_part(file):
    data = catalogue(all=4)
    parts = ["train", "val", "test", "unused"] * 3
    write_csv(file, [("id", "part"), *zip(data.ids, parts, strict=True)])
    split = split_of(data, SplitSpec(file=file))
    groups = alone(data)
    groups[3] = 0
    assert straddling(split, data, groups) == ()
    groups[[4, 5]] = 0
    assert straddling(split, data, groups) == (data.ids[0], data.ids[4], data.ids[5])


@given(seeds, st.permutations(range(30)))
def test_a_split_that_was_written_as_csv_comes_back(file, seed, order):
    data = catalogue(all=10)
    split = split_of(data, SplitSpec(seed=seed, validation_fraction=0.2, test_fraction=0.2))
    parts = parts_of(split)
    lines = [("x", parts[data.ids[row]], data.ids[row]) for row in order]
    write_csv(file, [("label", "part", "id"), *lines])
    read = split_of(data, SplitSpec(file=file))
    assert [getattr(read, part) for part in PARTS] == [getattr(split, part) for part in PARTS]
    assert read.fingerprint == split.fingerprint


def test_a_csv_of_another_system_is_read(file):
    """With a byte order mark, decomposed accents, `val`, unused images and spaces."""
    ids = [f"{name}/é{i}.npy" for name in CLASSES for i in range(4)]
    data = make(ids, [k for k in range(3) for _ in range(4)])
    parts = ["train ", " validation", "test", "unused"]
    lines = [
        (unicodedata.normalize("NFD", name), part)
        for name, part in zip(ids, parts * 3, strict=True)
    ]
    split = split_of(
        data, SplitSpec(file=write_csv(file, [("id", "part"), *lines], encoding="utf-8-sig"))
    )
    assert split.train == ("no/é0.npy", "sphere/é0.npy", "vort/é0.npy")
    assert Counter(parts_of(split).values()) == dict.fromkeys(PARTS, 3)


SOUND = [("id", "part"), *((f"{k}/{i}.npy", part) for k in CLASSES for i, part in enumerate(PARTS))]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "columns id and part, separated by commas; it names none"),
        ([("name", "part")], "it names name, part"),
        ([("id;part",)], "it names id;part"),
        (SOUND[:-2], r"2 ids are images that are not named: list them as unused .*'vort/1.npy', "),
        ([*SOUND, ("b", "test"), ("a", "test")], r"2 ids are no images of data \(the first: 'a', "),
        ([*SOUND, ("no/0.npy", "train")], r"1 ids are named more than once \(.* 'no/0.npy'\)"),
        ([*SOUND[:-1], ("vort/2.npy", "TEST")], r"1 ids have a part that is none of train, val"),
        ([*SOUND[:-1], ("vort/2.npy",)], r"1 ids have a part that is none of .* 'vort/2.npy'\)"),
        ([*SOUND[:-1], ("vort/2.npy", "unused")], "test part would have no image of vort"),
        ([*SOUND, ("x" * 200_000, "train")], "cannot be read as CSV .*field larger"),
    ],
)
def test_a_csv_that_does_not_fit_the_data_is_refused(file, lines, message):
    data = make([name for name, _ in SOUND[1:]], [0, 0, 0, 1, 1, 1, 2, 2, 2])
    write_csv(file, lines)
    with pytest.raises(DatasetError, match=message):
        split_of(data, SplitSpec(file=file))


def test_all_that_is_wrong_with_a_csv_is_said_at_once(file):
    data = catalogue(all=3)
    write_csv(file, [("id", "part"), ("no/0.npy", "train"), ("no/0.npy", "spare"), ("b", "test")])
    with pytest.raises(DatasetError) as error:
        split_of(data, SplitSpec(file=file))
    assert str(error.value).splitlines() == [
        f"{file} does not divide the images:",
        "  1 ids have a part that is none of train, validation, val, test, unused "
        "(the first: 'no/0.npy')",
        "  1 ids are named more than once (the first: 'no/0.npy')",
        "  1 ids are no images of data (the first: 'b')",
        "  8 ids are images that are not named: list them as unused to leave them out "
        "(the first: 'no/1.npy', 'no/2.npy', 'sphere/0.npy')",
    ]


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    data = catalogue(all=3)
    with pytest.raises(DatasetError, match=r"absent\.csv: No such file"):
        split_of(data, SplitSpec(file=tmp_path / "absent.csv"))
    (tmp_path / "latin.csv").write_bytes("id,part\né,train\n".encode("latin-1"))
    with pytest.raises(DatasetError, match="in UTF-8"):
        split_of(data, SplitSpec(file=tmp_path / "latin.csv"))


def test_a_split_is_written_as_lists_of_ids(tmp_path):
    split = split_of(catalogue(train=3, val=2))
    lists = {"train.txt", "validation.txt", "test.txt"}
    for _ in range(2):
        split.write(tmp_path / "split")
        assert (tmp_path / "split/test.txt").read_text().splitlines() == list(split.test)
        assert {path.name for path in (tmp_path / "split").iterdir()} == lists


def test_lists_of_another_split_are_kept(tmp_path):
    one, other = (split_of(catalogue(train=3, val=20), SplitSpec(seed=seed)) for seed in (1, 2))
    one.write(tmp_path)
    other.write(tmp_path)
    (aside,) = tmp_path.glob("superseded-*")
    assert (aside / "test.txt").read_text().splitlines() == list(one.test)
    assert (tmp_path / "test.txt").read_text().splitlines() == list(other.test)
