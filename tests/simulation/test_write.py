import csv
import json
from pathlib import Path

import numpy as np
import pytest

from lensbench.errors import ConfigError, DatasetError
from lensbench.simulation import CLASSES, DEMO, draw, generator, render, simulate

TINY = DEMO.model_copy(update={"name": "tiny", "n_pixels": 16, "pixel_scale_arcsec": 0.3})


def make(out: Path, n_train=3, n_val=2, seed=5, population=TINY, batch_size=2) -> Path:
    return simulate(population, out, n_train, n_val, seed, batch_size=batch_size, progress=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_folder_holds_exactly_the_images_their_parameters_and_a_manifest(tmp_path):
    out = make(tmp_path / "new" / "set", n_train={"no": 3, "vort": 1}, n_val=1)
    images = {"train/no/1.npy", "train/no/2.npy", "train/no/3.npy", "train/vort/1.npy"} | {
        f"val/{label}/1.npy" for label in CLASSES
    }
    assert set(contents(out)) == images | {"parameters.csv", "manifest.json"}
    for path in images:
        image = np.load(out / path)
        assert (image.shape, image.dtype) == ((1, 16, 16), np.float64)
        assert (image.min(), image.max()) == (0, 1)

    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["population"] == TINY.model_dump(mode="json", exclude={"about"})
    assert manifest["seed"] == 5
    assert manifest["n_images"]["train"] == {"no": 3, "sphere": 0, "vort": 1}
    assert manifest["lensbench_version"]

    with (out / "parameters.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert set(rows) == images
    row = rows["train/vort/1.npy"]
    scene = draw(TINY, "vort", generator(5, "train", "vort", 1, "scene"))
    assert row["label"] == "vort"
    assert float(row["einstein_radius_arcsec"]) == scene.einstein_radius_arcsec
    assert int(row["n_perturbers"]) == 25
    assert float(row["perturber_mass_fraction"]) == scene.perturber_mass_fraction.sum()


def test_images_can_be_made_again_from_the_seed(tmp_path):
    out = make(tmp_path / "set")
    scene = draw(TINY, "sphere", generator(5, "val", "sphere", 2, "scene"))
    expected = render.expected_counts(TINY, [scene])[0].numpy()
    noise = generator(5, "val", "sphere", 2, "noise")
    again = render.observe(expected, TINY.sky_counts, noise)
    np.testing.assert_array_equal(np.load(out / "val/sphere/2.npy"), again)


def test_images_depend_on_nothing_but_seed_and_number(tmp_path):
    few = contents(make(tmp_path / "few", batch_size=1))
    many = contents(make(tmp_path / "many", n_train=7, batch_size=5))
    other = contents(make(tmp_path / "other", seed=6))
    images = [path for path in few if path.endswith(".npy")]
    assert len(images) == len({few[path] for path in images}) == 15
    assert all(many[path] == few[path] for path in images)
    assert all(other[path] != few[path] for path in images)


def test_the_same_data_set_is_left_alone(tmp_path, monkeypatch, caplog):
    before = contents(make(tmp_path / "set"))
    monkeypatch.setattr(render, "expected_counts", pytest.fail)
    with caplog.at_level("INFO"):
        make(tmp_path / "set")
    assert "left as it is" in caplog.text
    assert contents(tmp_path / "set") == before


def interrupt_after(n: int, monkeypatch) -> None:
    calls = []

    def observe(*args):
        calls.append(args)
        if len(calls) > n:
            raise KeyboardInterrupt
        return original(*args)

    original = render.observe
    monkeypatch.setattr(render, "observe", observe)


def test_an_interrupted_data_set_is_continued_without_a_seam(tmp_path, monkeypatch):
    whole = contents(make(tmp_path / "whole"))
    out = tmp_path / "interrupted"
    with monkeypatch.context() as patch:
        interrupt_after(7, patch)
        with pytest.raises(KeyboardInterrupt):
            make(out)
    assert len(list(out.rglob("*.npy"))) == 7
    assert not (out / "manifest.json").exists()
    cut = out / "train/no/2.npy"
    cut.write_bytes(cut.read_bytes()[:500])
    kept = out / "train/no/1.npy"
    before = kept.stat().st_mtime_ns
    make(out)
    assert contents(out) == whole
    assert kept.stat().st_mtime_ns == before


def test_missing_images_are_made_again(tmp_path, monkeypatch):
    out = make(tmp_path / "set")
    whole = contents(out)
    (out / "val/vort/2.npy").unlink()
    with monkeypatch.context() as patch:
        interrupt_after(0, patch)
        with pytest.raises(KeyboardInterrupt):
            make(out)
    assert not (out / "manifest.json").exists()
    make(out)
    assert contents(out) == whole


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 6}, "seed"),
        ({"n_val": 3}, "n_images"),
        ({"population": TINY.model_copy(update={"sky_counts": 9.0})}, "population"),
    ],
)
@pytest.mark.parametrize("interrupted", [False, True])
def test_another_data_set_is_not_touched(tmp_path, changes, named, interrupted):
    out = make(tmp_path / "set")
    if interrupted:
        (out / "manifest.json").rename(out / "manifest.partial.json")
    before = contents(out)
    with pytest.raises(DatasetError, match=rf"\({named} differ.*choose another folder"):
        make(out, **changes)
    assert contents(out) == before


@pytest.mark.parametrize(
    ("name", "text"),
    [("thesis.txt", "mine"), ("manifest.json", "mine"), ("manifest.json", '["mine"]')],
)
def test_a_folder_of_somebody_else_is_not_touched(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match="choose another folder, or delete this one"):
        make(tmp_path)
    assert contents(tmp_path) == {name: text.encode()}


def test_an_empty_folder_is_used(tmp_path):
    assert make(tmp_path) == tmp_path
    assert (tmp_path / "manifest.json").exists()


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "set").write_text("mine")
    with pytest.raises(DatasetError, match="is not a folder"):
        make(tmp_path / "set")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "seed must be 0 or more"),
        ({"n_train": 0, "n_val": 0}, "images to simulate"),
        ({"n_train": -1}, "0 or more"),
        ({"n_train": {"axion": 3}}, "no class axion: there are no, sphere, vort"),
        ({"batch_size": 0}, "batch"),
    ],
)
def test_senseless_numbers_are_refused(tmp_path, wrong, message):
    with pytest.raises(ConfigError, match=message):
        make(tmp_path / "set", **wrong)
    assert not (tmp_path / "set").exists()
