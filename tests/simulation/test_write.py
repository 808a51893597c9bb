import csv
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from operator import attrgetter
from pathlib import Path

import filelock
import h5py
import numpy as np
import pytest

from lensbench.config import UNFINISHED, DataSpec
from lensbench.data.pack import open_or_build_pack
from lensbench.data.sources.open import open_source
from lensbench.errors import ConfigError, DatasetError
from lensbench.simulation import (
    CLASSES,
    DEMO,
    PHYSICAL,
    block,
    draw,
    engine,
    generator,
    render,
    simulate,
    stack,
    write,
)
from lensbench.simulation.block import Block

TINY = DEMO.but(name="tiny", camera={"n_pixels": 16, "pixel_scale_arcsec": 0.3})
TINY_PHYSICAL = PHYSICAL.but(name="tiny", camera={"n_pixels": 16, "pixel_scale_arcsec": 0.3})

# A folder, and a file.
FORMATS = ["set", "set.h5"]

each_format = pytest.mark.parametrize("name", FORMATS)


def make(out: Path, n_train=3, n_val=2, seed=5, population=TINY, **options) -> Path:
    options = {"batch_size": 2, "processes": 1, "device": "cpu", "progress": False} | options
    return simulate(population, out, n_train, n_val, seed, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def images_of(out: Path) -> dict[str, np.ndarray]:
    """Images by id, whatever the format."""
    if out.is_dir():
        paths = out.rglob("*.npy")
        return {path.relative_to(out).as_posix(): np.load(path) for path in paths}
    images = {}
    with h5py.File(out) as file:
        for partition, group in file.items():
            columns = (
                group["labels"].asstr()[()],
                group["ids"].asstr()[()],
                group["images"][()] / group["divisors"][()][:, None, None, None],
            )
            for label, number, image in zip(*columns, strict=True):
                images[f"{partition}/{label}/{number}.npy"] = image
    return images


def manifest_of(out: Path) -> dict:
    if out.is_dir():
        return json.loads((out / "manifest.json").read_text())
    with h5py.File(out) as file:
        return json.loads(file.attrs["manifest"])


def table(out: Path, kind: str) -> list[dict[str, str]]:
    path = out / f"{kind}.csv" if out.is_dir() else out.with_name(f"{out.stem}_{kind}.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


@pytest.fixture
def small_blocks(monkeypatch):
    """Two images a block, so that a small data set has many."""
    monkeypatch.setattr(block, "_N_IMAGES", 2)


def ids(n_train: dict[str, int], n_val: dict[str, int]) -> set[str]:
    return {
        f"{partition}/{label}/{number}.npy"
        for partition, counts in (("train", n_train), ("val", n_val))
        for label, n in counts.items()
        for number in range(1, n + 1)
    }


@each_format
@pytest.mark.parametrize("population", [TINY, TINY_PHYSICAL])
def test_a_data_set_is_its_images_their_parameters_and_a_manifest(tmp_path, name, population):
    n_train, n_val = {"no": 3, "vort": 1}, dict.fromkeys(CLASSES, 1)
    folder = tmp_path / "new"
    out = make(folder / "deep" / name, n_train=n_train, n_val=1, population=population)
    assert out == folder / "deep" / name
    expected = ids(n_train, n_val)
    tables = {"parameters.csv", "perturbers.csv"}
    assert set(contents(folder)) == (
        {f"deep/set/{path}" for path in expected | tables | {"manifest.json"}}
        if name == "set"
        else {"deep/set.h5"} | {f"deep/set_{path}" for path in tables}
    )
    images = images_of(out)
    assert set(images) == expected
    for image in images.values():
        assert (image.shape, image.dtype) == ((1, 16, 16), np.float64)
        assert (image.min(), image.max()) == (0, 1)

    manifest = manifest_of(out)
    assert manifest["population"] == population.model_dump(mode="json", exclude={"about"})
    assert manifest["seed"] == 5
    assert manifest["n_images"] == {
        "train": {"no": 3, "sphere": 0, "vort": 1},
        "val": {"no": 1, "sphere": 1, "vort": 1},
    }
    assert manifest["lensbench_version"]

    rows = {row["id"]: row for row in table(out, "parameters")}
    assert set(rows) == expected
    perturbers = table(out, "perturbers")
    for path, row in rows.items():
        partition, label, number = path.removesuffix(".npy").split("/")
        scene = draw(population, label, generator(5, partition, label, int(number), "scene"))
        assert row["label"] == label
        assert float(row["einstein_radius_arcsec"]) == scene.einstein_radius_arcsec
        masses = scene.perturbers.mass_solar
        assert int(row["n_perturbers"]) == len(masses)
        assert float(row["perturber_mass_solar"]) == masses.sum()
        mine = [float(part["mass_solar"]) for part in perturbers if part["id"] == path]
        assert mine == pytest.approx(masses, rel=1e-6)
    assert len(perturbers) == sum(int(row["n_perturbers"]) for row in rows.values())


def test_ring_distances_are_those_of_the_second_table(tmp_path):
    out = make(tmp_path / "set")
    for row in table(out, "parameters"):
        found = float(row["ring_distance_arcsec"])
        parts = [part for part in table(out, "perturbers") if part["id"] == row["id"]]
        if not parts:
            assert math.isnan(found)
            continue
        heaviest = max(float(part["mass_solar"]) for part in parts)
        expected = min(
            abs(
                math.hypot(float(part["x_arcsec"]), float(part["y_arcsec"]))
                - float(row["einstein_radius_arcsec"])
            )
            for part in parts
            if float(part["mass_solar"]) >= heaviest / 2
        )
        assert found == pytest.approx(expected, abs=1e-6)


@each_format
def test_images_can_be_made_again_from_the_seed(tmp_path, name):
    out = make(tmp_path / name)
    scene = draw(TINY, "sphere", generator(5, "val", "sphere", 2, "scene"))
    expected = render.expected_counts(TINY.camera, [scene])
    noise = generator(5, "val", "sphere", 2, "noise")
    counts = render.observe(TINY.camera, expected, [noise])[0].astype(float)
    again = counts / counts.max()
    np.testing.assert_array_equal(images_of(out)["val/sphere/2.npy"], again[None])


@each_format
def test_images_depend_on_nothing_but_seed_and_number(tmp_path, name):
    few = images_of(make(tmp_path / "few" / name, batch_size=1))
    many = images_of(make(tmp_path / "many" / name, n_train=7, batch_size=5))
    other = images_of(make(tmp_path / "other" / name, seed=6))
    assert set(few) == ids(dict.fromkeys(CLASSES, 3), dict.fromkeys(CLASSES, 2))
    assert len({image.tobytes() for image in few.values()}) == len(few) == 15
    assert all(np.array_equal(many[path], image) for path, image in few.items())
    assert not any(np.array_equal(other[path], image) for path, image in few.items())


@pytest.mark.parametrize("population", [TINY, TINY_PHYSICAL])
@pytest.mark.parametrize("batch_size", [None, 3, 32])
def test_images_do_not_depend_on_the_batch(population, batch_size):
    for label in CLASSES:
        some = Block("train", label, (1, 2, 3, 4, 5))
        one_by_one = engine.images_of(population, 5, some, "cpu", 1)
        together = engine.images_of(population, 5, some, "cpu", batch_size)
        assert (one_by_one.shape, one_by_one.dtype) == ((5, 16, 16), np.uint16)
        np.testing.assert_array_equal(one_by_one, together)


@pytest.mark.parametrize("population", [TINY, TINY_PHYSICAL])
def test_both_formats_hold_the_same_data_set(tmp_path, population, small_blocks):
    folder, file = (make(tmp_path / name, 5, 2, population=population) for name in FORMATS)
    assert equal(images_of(folder), images_of(file))
    assert manifest_of(folder) == manifest_of(file)
    for kind in ("parameters", "perturbers"):
        assert table(folder, kind) == table(file, kind)
    packs = [
        open_or_build_pack(DataSpec(path=path, cache=tmp_path / "cache")) for path in (folder, file)
    ]
    assert packs[0].fingerprint == packs[1].fingerprint
    # The tables are no images.
    assert set(packs[1].catalogue.ids) == set(packs[0].catalogue.ids) == set(images_of(file))


def test_a_stack_is_counts_as_numpy_would_have_written_them(tmp_path, small_blocks):
    out = make(tmp_path / "set.hdf5", {"no": 5, "vort": 2}, {"sphere": 1})
    with h5py.File(out) as file:
        assert set(file) == {"train", "val"}
        images, divisors = file["train/images"], file["train/divisors"][()]
        assert (images.shape, images.dtype) == ((7, 1, 16, 16), np.uint16)
        assert (images.chunks, images.compression, images.shuffle) == ((1, 1, 16, 16), "gzip", True)
        assert divisors.dtype == np.uint16
        np.testing.assert_array_equal(divisors, images[()].max((1, 2, 3)))
        assert images[()].min((1, 2, 3)).max() == 0
        assert list(file["train/ids"].asstr()) == ["1", "2", "3", "4", "5", "1", "2"]
        assert list(file["train/labels"].asstr()) == ["no"] * 5 + ["vort"] * 2
        of_vort = Block("train", "vort", (1, 2))
        np.testing.assert_array_equal(
            images[5:, 0], engine.images_of(TINY, 5, of_vort, "cpu", None)
        )
        assert len(file["val/images"]) == 1


def test_a_dark_image_stays_black(tmp_path):
    dark = TINY.but(camera={"sky_counts": 0}, source={"counts": 1e-9})
    for name in FORMATS:
        images = images_of(make(tmp_path / name, 1, 0, population=dark))
        assert len(images) == 3
        assert all((image == 0).all() for image in images.values())


@each_format
def test_too_many_counts_are_refused_with_a_reason(tmp_path, name):
    bright = TINY.but(name="bright", source={"counts": 1e6})
    with pytest.raises(ConfigError, match=r"than 65,535: lower source\.counts, .* of 'bright'"):
        make(tmp_path / name, population=bright)
    make(tmp_path / name)  # what came to nothing claims nothing
    make(tmp_path / "other" / name)
    assert contents(tmp_path / name) == contents(tmp_path / "other" / name)


@each_format
def test_the_same_data_set_is_left_alone(tmp_path, monkeypatch, name):
    make(tmp_path / name)
    before = contents(tmp_path)
    monkeypatch.setattr(render, "expected_counts", pytest.fail)
    make(tmp_path / name)
    assert contents(tmp_path) == before


@each_format
def test_another_version_of_the_program_leaves_it_alone_too(tmp_path, monkeypatch, name):
    make(tmp_path / name)
    monkeypatch.setattr("lensbench.simulation.manifest.__version__", "9.9")
    monkeypatch.setattr(render, "expected_counts", pytest.fail)
    make(tmp_path / name)


@each_format
@pytest.mark.parametrize("kind", ["parameters", "perturbers"])
def test_a_table_that_is_missing_is_written_again(tmp_path, monkeypatch, name, kind):
    out = make(tmp_path / name)
    before = contents(tmp_path)
    (path,) = tmp_path.rglob(f"*{kind}.csv")
    path.unlink()
    monkeypatch.setattr(render, "expected_counts", pytest.fail)
    make(out)
    assert contents(tmp_path) == before


def interrupt_after(n: int, monkeypatch) -> None:
    calls = []

    def observe(*args):
        calls.append(args)
        if len(calls) > n:
            raise KeyboardInterrupt
        return original(*args)

    original = render.observe
    monkeypatch.setattr(render, "observe", observe)


@each_format
def test_an_interrupted_data_set_is_continued_without_a_seam(
    tmp_path, monkeypatch, name, small_blocks
):
    make(tmp_path / "whole" / name, n_train=5)
    whole, out = contents(tmp_path / "whole"), tmp_path / "interrupted" / name
    with monkeypatch.context() as patch:
        interrupt_after(7, patch)
        with pytest.raises(KeyboardInterrupt):
            make(out, n_train=5)
    there = contents(tmp_path / "interrupted")
    if name == "set":
        assert sum(path.endswith(".npy") for path in there) == 12  # blocks of 2, 2, 1; 2, 2, 1; 2
        assert "set/manifest.json" not in there
        cut = out / "train/no/2.npy"
        cut.write_bytes(cut.read_bytes()[:500])
        kept = out / "train/no/1.npy"
    else:
        assert sum(path.endswith(".npz") for path in there) == 7
        assert not out.exists()
        (tmp_path / "interrupted/set.h5.partial/train-sphere-1.tmp").write_bytes(b"cut")
        kept = None
    before = kept and kept.stat().st_mtime_ns
    made = []
    original = render.observe
    with monkeypatch.context() as patch:
        patch.setattr(render, "observe", lambda *args: made.append(args[2]) or original(*args))
        make(out, n_train=5)
    assert sum(map(len, made)) == 21 - 12 + (name == "set")
    assert contents(tmp_path / "interrupted") == whole
    assert (kept and kept.stat().st_mtime_ns) == before


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


def test_a_folder_is_claimed_at_every_moment(tmp_path, monkeypatch):
    """Between two manifests, a kill must not leave a folder that nobody owns."""
    out = make(tmp_path / "set")
    whole = contents(out)
    (out / "val/vort/2.npy").unlink()

    def unlink(path, **_):
        assert (out / "manifest.partial.json").exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(KeyboardInterrupt):
            make(out)
    make(out)
    assert contents(out) == whole


@each_format
def test_a_manifest_that_was_cut_off_claims_nothing(tmp_path, name):
    make(tmp_path / "whole" / name)
    out = tmp_path / "cut" / name
    partial = out if name == "set" else out.with_name("set.h5.partial")
    partial.mkdir(parents=True)
    (partial / "manifest.tmp").write_text('{"gen')
    make(out)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_what_is_left_behind_a_finished_stack_is_cleared_up(tmp_path, monkeypatch):
    out = tmp_path / "set.h5"
    with monkeypatch.context() as patch:
        patch.setattr(stack.shutil, "rmtree", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            make(out)
    assert out.exists()
    before = out.read_bytes()
    (tmp_path / "set.h5.partial/manifest.json").unlink()
    (tmp_path / "set.h5.partial/val-no-1-2.npz").unlink()
    make(out)
    assert set(contents(tmp_path)) == {"set.h5", "set_parameters.csv", "set_perturbers.csv"}
    assert out.read_bytes() == before


@each_format
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 6}, "seed"),
        ({"n_val": 3}, "n_images"),
        ({"population": TINY.but(camera={"sky_counts": 9.0})}, "population"),
        ({"population": TINY.but(name="other"), "seed": 6}, "population, seed"),
    ],
)
@pytest.mark.parametrize("interrupted", [False, True])
def test_another_data_set_is_not_touched(tmp_path, monkeypatch, name, changes, named, interrupted):
    out = tmp_path / name
    if interrupted:
        with monkeypatch.context() as patch:
            interrupt_after(3, patch)
            with pytest.raises(KeyboardInterrupt):
                make(out)
    else:
        make(out)
    before = contents(tmp_path)
    assert before
    with pytest.raises(DatasetError, match=rf"\({named} differ.*choose another (folder|name)"):
        make(out, **changes)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "text"),
    [("thesis.txt", "mine"), ("manifest.json", "mine"), ("manifest.json", '["mine"]')],
)
def test_a_folder_of_somebody_else_is_not_touched(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match="choose another folder, or delete this one"):
        make(tmp_path)
    assert contents(tmp_path) == {name: text.encode()}


def foreign_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = [1, 2]
        file.attrs["manifest"] = "mine"


@pytest.mark.parametrize(
    ("name", "put"),
    [
        ("set.h5", lambda path: path.write_text("mine")),
        ("set.h5", lambda path: path.write_text("")),
        ("set.h5", foreign_hdf5),
        ("set.h5", lambda path: (path.mkdir(), (path / "mine").write_text("mine"))),
        ("set.h5.partial", lambda path: path.write_text("mine")),
        ("set.h5.partial", lambda path: (path.mkdir(), (path / "mine").write_text("mine"))),
        ("set_parameters.csv", lambda path: path.write_text("mine")),
        ("set_perturbers.csv", lambda path: path.write_text("mine")),
    ],
)
def test_a_stack_takes_the_place_of_nothing_else(tmp_path, name, put):
    put(tmp_path / name)
    before = contents(tmp_path)
    with pytest.raises(DatasetError, match=rf"{name} .*choose another name, or delete it"):
        make(tmp_path / "set.h5")
    assert contents(tmp_path) == before


def test_two_stacks_do_not_share_their_tables(tmp_path):
    make(tmp_path / "set.h5")
    before = contents(tmp_path)
    with pytest.raises(DatasetError, match="belongs to something else"):
        make(tmp_path / "set.hdf5", seed=6)
    assert contents(tmp_path) == before


def test_a_damaged_stack_is_not_taken_for_whole(tmp_path):
    out = make(tmp_path / "set.h5")
    out.write_bytes(out.read_bytes()[:1000])
    with pytest.raises(DatasetError, match="holds something else"):
        make(out)


def test_an_empty_folder_is_used(tmp_path):
    assert make(tmp_path) == tmp_path
    assert (tmp_path / "manifest.json").exists()


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "set").write_text("mine")
    with pytest.raises(DatasetError, match="is not a folder"):
        make(tmp_path / "set")


@each_format
def test_numbers_may_be_numpy_s(tmp_path, name):
    out = make(tmp_path / name)
    before = manifest_of(out)
    make(out, np.int64(3), {label: np.uint8(2) for label in CLASSES}, seed=np.int64(5))
    assert manifest_of(make(tmp_path / "new" / name, np.int64(3), seed=np.int32(5))) == before


@each_format
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "seed must be 0 or more"),
        ({"seed": 1.0}, r"seed must be a whole number, not 1\.0"),
        ({"n_val": 2.5}, r"number of images must be a whole number, not 2\.5"),
        ({"n_train": {"no": "3"}}, "number of images must be a whole number, not '3'"),
        ({"n_train": 0, "n_val": 0}, "images to simulate"),
        ({"n_train": -1}, "0 or more"),
        ({"n_train": {"axion": 3}}, "no class axion: there are no, sphere, vort"),
        ({"batch_size": 0}, "images in a batch must be 1 or more"),
        ({"processes": 0}, "processes must be 1 or more"),
        ({"device": "tpu"}, "no device 'tpu': there are auto, cpu and cuda"),
    ],
)
def test_senseless_numbers_are_refused(tmp_path, name, wrong, message):
    with pytest.raises(ConfigError, match=message):
        make(tmp_path / name, **wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="no CUDA GPU here; take --device cpu"):
        make(tmp_path / "set", device="cuda")
    assert engine.chosen_device("auto") == "cpu"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert engine.chosen_device("auto") == "cuda"


def test_there_are_as_many_processes_as_are_worth_it(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 4)
    assert [engine.n_workers(n, "cpu") for n in (0, 1, 599, 600, 1199, 10_000)] == [
        *(1, 1, 1, 2),
        *(3, 4),
    ]
    assert engine.n_workers(1, "cuda") == 8


BLOCKS = [Block("train", "no", (number,)) for number in range(40)]


def test_work_that_feeds_a_gpu_is_done_in_order():
    def work(block: Block) -> int:
        time.sleep(0.002 * (block.numbers[0] % 3))
        return block.numbers[0]

    assert list(engine.spread_over(4, "cuda", work, BLOCKS)) == list(range(40))


@each_format
def test_threads_that_feed_a_gpu_do_not_write_over_each_other(
    tmp_path, monkeypatch, name, small_blocks
):
    """Their images may come at once; here they are made on the CPU."""
    make(tmp_path / "alone" / name, 20, 0, population=TINY)
    monkeypatch.setattr(write, "chosen_device", lambda _: "cuda")
    real = write.images_of
    monkeypatch.setattr(write, "images_of", lambda p, s, b, d, n: real(p, s, b, "cpu", n))
    for trial in range(2):
        place = tmp_path / str(trial)
        make(place / name, 20, 0, population=TINY, processes=8)
        assert contents(place) == contents(tmp_path / "alone")


def test_what_goes_wrong_in_a_thread_leaves_none_at_work():
    at_work = set()

    def work(block: Block) -> int:
        (number,) = block.numbers
        at_work.add(number)
        time.sleep(0.02)
        at_work.remove(number)
        if number == 5:
            raise ConfigError("too bright")
        return number

    with pytest.raises(ConfigError, match="too bright"):
        list(engine.spread_over(4, "cuda", work, BLOCKS))
    assert not at_work


@pytest.mark.slow
def test_work_of_several_processes_is_done_in_order():
    numbers = list(engine.spread_over(2, "cpu", attrgetter("numbers"), BLOCKS))
    assert numbers == [block.numbers for block in BLOCKS]


@pytest.mark.slow
@each_format
def test_images_do_not_depend_on_the_number_of_processes(tmp_path, name, small_blocks):
    for processes in (1, 2):
        make(tmp_path / str(processes) / name, n_train=7, processes=processes)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


@pytest.mark.slow
def test_what_goes_wrong_in_another_process_is_told_as_here(tmp_path, small_blocks):
    bright = TINY.but(name="bright", source={"counts": 1e6})
    with pytest.raises(ConfigError, match=r"than 65,535: lower source\.counts, .* of 'bright'"):
        make(tmp_path / "set", 20, population=bright, processes=2)
    huge = TINY.but(name="huge", lens={"einstein_radius_arcsec": (30, 40)})
    with pytest.raises(ConfigError, match=r"'huge'.*widen einstein_radius_arcsec"):
        make(tmp_path / "other", 20, population=huge, processes=2)
    make(tmp_path / "set2", 20, processes=2)  # the next ones are not harmed


SIMULATE = """
import signal
import sys
from pathlib import Path
# It is ignored by all that a background job of a shell starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
from lensbench.simulation import DEMO, simulate
from lensbench.simulation import block
block._N_IMAGES = 10
simulate(DEMO, Path(sys.argv[1]), 30, 10, 5, processes=int(sys.argv[2]), device="cpu",
         progress=False)
"""


def continued(out: Path) -> dict[str, str]:
    """Run the same simulation in this process; return digests of what it leaves."""
    make(out, 30, 10, population=DEMO)
    return {
        path: hashlib.sha256(content).hexdigest() for path, content in contents(out.parent).items()
    }


@pytest.fixture
def larger_blocks(monkeypatch):
    monkeypatch.setattr(block, "_N_IMAGES", 10)


def killed_in_the_middle(out: Path, processes: int, how: signal.Signals) -> subprocess.Popen:
    """Start a simulation, and send it a signal once some images are there."""
    command = [sys.executable, "-W", "error", "-c", SIMULATE, out, str(processes)]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    waiting = out if out.suffix == "" else out.with_name(f"{out.name}.partial")
    deadline = time.monotonic() + 120
    while not [*waiting.rglob("*.npy"), *waiting.rglob("*.npz")]:
        assert run.poll() is None, run.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    run.send_signal(how)
    return run


def processes_of_session(session: int) -> list[int]:
    """The processes of a session that still run, zombies aside."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                # pid (name) state ppid pgrp session ...
                state, _, _, its = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            except (OSError, ValueError):
                continue
            if int(its) == session and state != "Z":
                found.append(int(folder.name))
    return found


def wait_until_nobody_is_left(session: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while left := processes_of_session(session):
        assert time.monotonic() < deadline, f"{left} still run"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "processes"), [("set", 1), ("set", 2), ("set.h5", 2)])
def test_a_killed_data_set_is_continued_without_a_seam(tmp_path, name, processes, larger_blocks):
    out = tmp_path / "set" / name
    run = killed_in_the_middle(out, processes, signal.SIGKILL)
    try:
        run.communicate(timeout=1) if processes == 1 else run.wait(10)
        assert run.returncode == -signal.SIGKILL
        there = contents(tmp_path / "set")
        assert "set/manifest.json" not in there
        assert "set.h5" not in there
        # At once, while the other processes may still finish what they have begun.
        assert continued(out) == continued(tmp_path / "whole" / name)
    finally:
        for process in processes_of_session(run.pid):
            os.kill(process, signal.SIGKILL)
        run.stderr.close()


@pytest.mark.slow
def test_an_interrupt_ends_all_processes_within_seconds(tmp_path, larger_blocks):
    out = tmp_path / "set" / "set.h5"
    with killed_in_the_middle(out, 2, signal.SIGINT) as run:
        _, stderr = run.communicate(timeout=30)
        assert run.returncode in (-signal.SIGINT, 130)
        assert stderr.rstrip().endswith("KeyboardInterrupt")
        assert stderr.count("Traceback") == 1
        assert "Warning" not in stderr
        wait_until_nobody_is_left(run.pid, 30)
    assert continued(out) == continued(tmp_path / "whole" / "set.h5")


def test_an_interrupted_folder_is_no_data_set(tmp_path):
    out = make(tmp_path / "set")
    (out / "manifest.json").rename(out / UNFINISHED)
    with pytest.raises(DatasetError, match=r"was interrupted.*lensbench simulate.*completes them"):
        open_source(out)
    make(out)
    assert len(open_source(out).names()) == 15 + 3  # both tables and the manifest


@each_format
def test_two_processes_do_not_write_the_same_data_set(tmp_path, monkeypatch, name):
    out = tmp_path / "data" / name
    elsewhere = tmp_path / "temporary"
    elsewhere.mkdir()

    def again(*_):
        with monkeypatch.context() as patch:
            patch.setattr(tempfile, "tempdir", str(elsewhere))  # as a job on another node has it
            with pytest.raises(DatasetError, match="another process is writing it"):
                make(out)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(write, "_complete", again)
        with pytest.raises(KeyboardInterrupt):
            make(out)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    make(out)


@each_format
def test_a_finished_data_set_is_found_so_while_another_process_holds_it(tmp_path, name):
    out = make(tmp_path / name)
    with filelock.FileLock(tmp_path / f".{name}.lock"):
        assert make(out) == out
        with pytest.raises(DatasetError, match="holds something else"):
            make(out, seed=6)


@each_format
def test_the_lock_of_a_killed_process_is_cleared_away(tmp_path, name):
    (tmp_path / f".{name}.lock").touch()
    make(tmp_path / name)
    assert list(tmp_path.glob(".*")) == []


def test_a_folder_in_a_place_that_cannot_be_written_is_one_s_own_to_write(tmp_path, monkeypatch):
    """Such as one that is mounted; root may write anywhere, so the answer is made up."""
    out = tmp_path / "mounted"
    out.mkdir()
    held = []
    complete = write._complete

    def watched(*arguments):
        held.append({path.name for path in (*out.glob(".*"), *tmp_path.glob(".*"))})
        complete(*arguments)

    monkeypatch.setattr(write.os, "access", lambda path, _: path != tmp_path)
    monkeypatch.setattr(write, "_complete", watched)
    make(out)
    assert held == [{".lock"}]
    assert not list(out.glob(".*"))


@each_format
def test_a_place_that_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DatasetError, match=r"cannot be written there .*choose another path"):
        make(tmp_path / "file" / name)
    (tmp_path / f".{name}.lock").mkdir()
    with pytest.raises(DatasetError, match=rf"cannot be written there .*\.{name}\.lock"):
        make(tmp_path / name)
