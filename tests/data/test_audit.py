"""Each fault is found, and a sound data set is not accused of it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from lensbench.config import DataSpec
from lensbench.data.finding import require_sound
from lensbench.data.pack import open_or_build_pack, verify
from lensbench.errors import DatasetError


def change(path: Path, how) -> None:
    np.save(path, how(np.load(path)))


def nan_pixel(path: Path) -> None:
    image = np.load(path)
    image[0, 3, 3] = np.nan
    np.save(path, image)


def broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.npy")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


FAULTS = {
    "unreadable": lambda root: cut_short(root / "train/no/1.npy"),
    "object-array": lambda root: np.save(
        root / "train/no/1.npy", np.array([None, 1]), allow_pickle=True
    ),
    "wrong-dtype": lambda root: np.save(root / "train/no/1.npy", np.ones((1, 16, 16), complex)),
    "wrong-shape": lambda root: np.save(root / "train/no/1.npy", np.ones(16)),
    "not-finite": lambda root: nan_pixel(root / "train/no/1.npy"),
    "shapes-differ": lambda root: np.save(root / "train/no/1.npy", np.eye(50)),
    "contradiction": lambda root: shutil.copy(root / "train/no/1.npy", root / "val/vort/1.npy"),
    "leak": lambda root: shutil.copy(root / "train/no/1.npy", root / "val/no/1.npy"),
    "duplicate": lambda root: shutil.copy(root / "train/no/1.npy", root / "train/no/2.npy"),
    "near-contradiction": lambda root: np.save(
        root / "val/vort/1.npy", np.rot90(np.load(root / "train/no/1.npy"), axes=(1, 2)) * 0.9
    ),
    "near-leak": lambda root: np.save(
        root / "val/no/1.npy", np.load(root / "train/no/1.npy")[:, ::-1]
    ),
    "near-duplicate": lambda root: np.save(
        root / "train/no/2.npy", np.load(root / "train/no/1.npy").transpose(0, 2, 1)
    ),
    "constant": lambda root: np.save(root / "train/no/1.npy", np.full((1, 64, 64), 0.5)),
    "out-of-range": lambda root: change(root / "train/no/1.npy", lambda image: image * 1.5),
    "dtypes-differ": lambda root: change(root / "train/no/1.npy", np.float32),
    "imbalance": lambda root: [path.unlink() for path in sorted((root / "train/no").iterdir())[:6]],
    "ignored-files": lambda root: (root / "train/no/notes.txt").write_text("seen"),
}
WARNINGS = {
    "duplicate",
    "near-duplicate",
    "constant",
    "out-of-range",
    "dtypes-differ",
    "imbalance",
    "ignored-files",
}


def findings(root: Path, **settings):
    return verify(DataSpec(path=root, cache=root.parent / "cache", **settings)).findings


@pytest.fixture
def sound(make_dataset):
    """Noise of its own in every image, since twelve images of one square are near duplicates."""
    return make_dataset(shape=(1, 64, 64))


def test_a_sound_data_set_has_no_findings(sound):
    audit = verify(DataSpec(path=sound, cache=sound.parent / "cache"))
    assert audit.findings == ()
    assert audit.is_sound
    assert (audit.n_images, audit.classes) == (36, {"no": 12, "sphere": 12, "vort": 12})


def test_a_broken_link_is_unreadable(sound):
    broken_link(sound / "train/no/1.npy")
    (finding,) = findings(sound)
    assert (finding.code, finding.ids) == ("unreadable", ("train/no/1.npy",))


@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_is_found_and_nothing_else(sound, code):
    FAULTS[code](sound)
    (finding,) = findings(sound)
    assert finding.code == code
    assert finding.severity == ("warning" if code in WARNINGS else "error")
    if code not in ("dtypes-differ", "imbalance"):
        assert any(name.startswith("train/no/") for name in finding.ids)


def test_a_class_of_files_that_are_no_images_is_an_error(sound):
    for file in sorted(sound.glob("*/vort/*.npy")):
        file.rename(file.with_suffix(".webp"))
    (finding,) = findings(sound)
    assert (finding.code, finding.severity) == ("folder-without-images", "error")
    assert len(finding.ids) == 12
    assert "train/vort, val/vort would be class folders, but hold none of .fit," in finding.message
    spec = DataSpec(path=sound, cache=sound.parent / "cache")
    with pytest.raises(DatasetError, match="--accept folder-without-images"):
        require_sound(sound, open_or_build_pack(spec).findings)


def test_an_empty_class_is_warned_of_also_where_a_pack_was_there_before(sound):
    spec = DataSpec(path=sound, cache=sound.parent / "cache")
    assert open_or_build_pack(spec).findings == ()
    (sound / "train/axion").mkdir()
    (finding,) = open_or_build_pack(spec).findings
    assert (finding.code, finding.severity) == ("empty-folder", "warning")
    assert finding.ids == ("train/axion",)


def test_two_classes_that_link_to_one_place_are_warned_of(sound, tmp_path):
    for part in ("train", "val"):
        (sound / part / "sphere").rename(tmp_path / f"S{part}")
        shutil.rmtree(sound / part / "vort")
        for name in ("sphere", "vort"):
            (sound / part / name).symlink_to(tmp_path / f"S{part}")
    (finding,) = findings(sound)
    assert (finding.code, finding.severity) == ("empty-folder", "warning")
    assert finding.ids == ("train/vort", "val/vort")
    assert "or are links to folders that have other names here" in finding.message


@pytest.mark.parametrize("parts", [("val",), ("train",), ("val", "test")])
def test_data_that_no_recipe_divides_are_warned_of(sound, parts):
    if "test" in parts:
        shutil.copytree(sound / "train", sound / "test")
        for file in (sound / "test").rglob("*.npy"):
            change(file, lambda image: image[:, ::-1] * np.linspace(0.5, 1, 64) ** 2)
    for other in {"train", "val"} - set(parts):
        shutil.rmtree(sound / other)
    codes = {finding.code: finding for finding in findings(sound)}
    assert codes["no-split"].severity == "warning"
    assert f"data that have {' and '.join(sorted(parts))} alone" in codes["no-split"].message
    assert "--split.fold" in codes["no-split"].message


def test_the_size_of_the_images_is_told(sound):
    assert verify(DataSpec(path=sound, cache=sound.parent / "cache")).image_shape == (1, 64, 64)


def test_all_copies_of_a_picture_are_named_together(sound):
    image = np.load(sound / "train/no/1.npy")
    for i, copy in ((2, image[:, ::-1]), (3, image), (4, np.rot90(image, axes=(1, 2)))):
        np.save(sound / f"train/no/{i}.npy", copy)
    exact, near = findings(sound)
    assert (exact.code, exact.ids) == ("duplicate", ("train/no/1.npy", "train/no/3.npy"))
    assert near.code == "near-duplicate"
    assert near.ids == tuple(f"train/no/{i}.npy" for i in (1, 2, 3, 4))


def test_equal_pixels_in_other_formats_are_duplicates(sound):
    image = np.load(sound / "train/no/1.npy").astype(np.float32)
    np.save(sound / "train/no/1.npy", image)
    np.savez(sound / "train/no/2.npz", image)
    (sound / "train/no/2.npy").unlink()
    codes = {finding.code: finding for finding in findings(sound)}
    assert codes["duplicate"].ids == ("train/no/1.npy", "train/no/2.npz")


def test_the_range_is_what_was_declared(sound):
    for file in sound.rglob("*.npy"):
        change(file, lambda image: image * 5000)
    (finding,) = findings(sound)
    assert finding.code == "out-of-range"
    assert len(finding.ids) == 36
    assert "[0, 1]" in finding.message
    assert findings(sound, value_range=(0, 5000)) == ()


def rewrite(root: Path, name: str, dtype: type) -> None:
    for file in root.glob(f"*/{name}/*.npy"):
        change(file, dtype)


def test_a_header_that_tells_the_class_is_found(sound):
    rewrite(sound, "no", np.float32)
    (finding,) = (f for f in findings(sound) if f.code == "header-tells-class")
    assert finding.severity == "warning"
    assert "the dtype of a file tells 67% of the classes" in finding.message
    assert "<f4: 12 no; <f8: 12 sphere, 12 vort" in finding.message


def test_a_header_that_differs_at_random_tells_nothing(sound):
    for k, file in enumerate(sorted(sound.rglob("*.npy"))):
        if k % 2:
            change(file, np.float32)
    assert [finding.code for finding in findings(sound)] == ["dtypes-differ"]


def test_a_file_type_that_tells_the_class_is_found(sound):
    for file in sound.glob("*/vort/*.npy"):
        pixels = (np.load(file)[0] * 255).astype(np.uint8)
        Image.fromarray(pixels).save(file.with_suffix(".png"))
        file.unlink()
    messages = [f.message for f in findings(sound) if f.code == "header-tells-class"]
    assert any(message.startswith("the file type of a file tells") for message in messages)
    assert any(message.startswith("the values of a file tells") for message in messages)


def write_fits(root: Path, cards) -> None:
    """Turn every image into a FITS file with the cards of its class and number."""
    for k, file in enumerate(sorted(root.rglob("*.npy"))):
        hdu = fits.PrimaryHDU(np.load(file)[0])
        for name, value in cards(file.parent.name, k).items():
            hdu.header[name] = value
        hdu.writeto(file.with_suffix(".fits"))
        file.unlink()


CARDS = {
    "OBJECT": lambda name, k: {"OBJECT": name},
    "HISTORY": lambda name, k: {"HISTORY": f"{'reduced ' * 12} by {'a' if name == 'no' else 'b'}"},
    "EXPTIME": lambda name, k: {"EXPTIME": (150 if name == "vort" else 100) + k / 1000},
    "DATE": lambda name, k: {"DATE": f"2026-0{1 + (name == 'vort')}-{10 + k}"},
}


@pytest.mark.parametrize("card", CARDS)
def test_a_fits_card_that_gives_the_class_away_is_found(sound, card):
    write_fits(sound, CARDS[card])
    (finding,) = (f for f in findings(sound) if f.code == "header-tells-class")
    assert finding.message.startswith(f"the FITS {card} of a file ")


def test_fits_cards_that_differ_at_random_tell_nothing(sound):
    rng = np.random.default_rng(0)
    write_fits(
        sound,
        lambda name, k: {
            "EXPTIME": rng.normal(100, 1),
            "DATE": f"2026-01-{rng.integers(10, 30)}",
            "HISTORY": f"frame {rng.integers(10**6)}",
            "FILTER": "ri"[rng.integers(2)],
        },
    )
    assert findings(sound) == ()


def test_a_fits_card_of_one_file_of_each_class_tells_nothing(sound):
    without = {"no", "sphere"}

    def cards(name, k):
        if name not in without:
            return {}
        without.remove(name)
        return {"FOCUS": 1.5}

    write_fits(sound, cards)
    assert findings(sound) == ()


def test_how_many_counts_a_class_has_is_no_matter_of_its_files(make_dataset):
    """One class would fit into 8 bits, the others would not."""
    root = make_dataset(partitions={"train": 40}, shape=(1, 64, 64))
    rng = np.random.default_rng(0)
    for file in root.rglob("*.npy"):
        peak = rng.integers(200, 250) + (60 if "no" in file.parts else 0)
        np.save(file, rng.integers(0, peak + 1, (1, 64, 64)) / peak)
    assert "header-tells-class" not in {finding.code for finding in findings(root)}


def test_small_images_that_were_turned_are_found_exactly(make_dataset):
    root = make_dataset(shape=(1, 40, 40))
    image = np.load(root / "train/no/1.npy")
    np.save(root / "val/vort/2.npy", np.rot90(image, 3, (1, 2))[:, ::-1])
    found = {finding.code: finding.ids for finding in findings(root)}
    assert found["near-contradiction"] == ("train/no/1.npy", "val/vort/2.npy")


def test_images_squeezed_to_eight_bits_in_one_class_are_found(sound):
    """The files look alike; only their values give the class away."""
    for file in sound.glob("*/vort/*.npy"):
        change(file, lambda image: np.floor(image * 255) / 255)
    (finding,) = findings(sound)
    assert finding.code == "header-tells-class"
    assert "the values of a file tells 67% of the classes" in finding.message


def test_a_test_set_from_elsewhere_is_found(make_dataset):
    root = make_dataset(partitions={"train": 40, "val": 40}, shape=(1, 64, 64))
    assert findings(root) == ()
    for file in root.glob("val/sphere/*.npy"):
        change(file, lambda image: image * 0.8)
    shifts = findings(root)
    assert {finding.code for finding in shifts} == {"shift"}
    assert all("of class sphere differs between train" in f.message for f in shifts)
    assert any(f.message.startswith("the mean of") for f in shifts)


def test_images_without_a_label_are_named(sound, tmp_path):
    rows = [f"{i},{Path(i).parent.name}" for i in sorted(contents(sound))[:-1]]
    (tmp_path / "labels.csv").write_text("id,label\n" + "\n".join(rows))
    (finding,) = findings(sound, labels=tmp_path / "labels.csv")
    assert (finding.code, finding.ids) == ("unlabelled", ("val/vort/4.npy",))


def contents(root: Path) -> list[str]:
    return [file.relative_to(root).as_posix() for file in root.rglob("*.npy")]


def test_errors_stop_training_and_are_all_named(sound):
    for code in ("unreadable", "leak"):
        FAULTS[code](sound)
    nan_pixel(sound / "train/vort/3.npy")
    with pytest.raises(DatasetError, match=r"train/vort/3\.npy") as caught:
        require_sound(sound, findings(sound))
    assert "unreadable" in str(caught.value)


def test_warnings_do_not_stop_training(sound):
    FAULTS["constant"](sound)
    require_sound(sound, findings(sound))


def test_a_leak_stops_training_unless_it_is_accepted(sound):
    FAULTS["leak"](sound)
    with pytest.raises(DatasetError, match="--accept leak"):
        require_sound(sound, findings(sound))
    require_sound(sound, findings(sound), accept=["leak"])
    FAULTS["unreadable"](sound)
    with pytest.raises(DatasetError, match="unreadable") as caught:
        require_sound(sound, findings(sound), accept=["leak"])
    assert "--accept" not in str(caught.value)


def test_each_file_is_read_once(sound, monkeypatch):
    """Candidates for near duplicates, of which there are none here, would be read once more."""
    opened: list[str] = []
    read_bytes = Path.read_bytes

    def watched(self: Path) -> bytes:
        opened.append(os.fspath(self))
        return read_bytes(self)

    monkeypatch.setattr(Path, "read_bytes", watched)
    assert findings(sound) == ()
    assert sorted(opened) == sorted(map(str, sound.rglob("*.npy")))


def test_nothing_but_broken_files_is_still_audited(sound):
    for file in sound.rglob("*.npy"):
        cut_short(file)
    (finding,) = findings(sound)
    assert (finding.code, len(finding.ids)) == ("unreadable", 36)
    (left,) = (sound.parent / "cache/packs").iterdir()
    assert left.suffix == ".lock"


def test_images_too_small_to_be_searched_for_turned_copies_are_said(make_dataset):
    (finding,) = findings(make_dataset(shape=(1, 47, 64)))
    assert (finding.code, finding.severity) == ("near-unchecked", "warning")
    assert "fewer than 48 pixels" in finding.message


def test_too_many_likely_pairs_are_said(sound, monkeypatch):
    from lensbench.data import copies

    def hurried(signatures, read):
        return near_duplicates(signatures, read, max_checks=0)

    near_duplicates = copies.near_duplicates
    monkeypatch.setattr(copies, "near_duplicates", hurried)
    FAULTS["near-duplicate"](sound)
    (finding,) = findings(sound)
    assert (finding.code, finding.severity) == ("near-unchecked", "warning")
    assert finding.message.startswith("1 pairs of images")
