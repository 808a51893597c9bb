"""The command line: what it loads, prints and returns."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import lensbench as package
from lensbench import cli
from lensbench.config import DataSpec
from lensbench.data.finding import Audit
from lensbench.data.pack import open_or_build_pack
from lensbench.simulation import KNOBS, POPULATIONS

TINY = ["--recipe", "quick", "--epochs", "1", "--batch-size", "8", "--no-pretrained"]


@pytest.fixture
def lensbench(capsys):
    """Run a command; returns its exit status and what it printed."""

    def call(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return caught.value.code or 0, printed.out + printed.err

    return call


def loaded_by(code: str) -> set[str]:
    code += "; import sys; print(*(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("module", ["lensbench", "lensbench.cli"])
def test_nothing_heavy_is_loaded_at_import(module):
    heavy = {"torch", "lightning", "timm", "torchvision", "transformers", "sklearn", "matplotlib"}
    assert loaded_by(f"import {module}") & heavy == set()


def test_the_package_can_be_run(tmp_path):
    command = [sys.executable, "-m", "lensbench", "verify", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("lensbench: ")
    assert "nowhere" in done.stderr


def test_comparing_and_plotting_need_no_torch(shared, tmp_path):
    (record,) = (shared / "reference/seed_results").glob("*ResNet18.json")
    code = f"import lensbench; lensbench.compare([{str(record)!r}], {str(tmp_path)!r})"
    assert "torch" not in loaded_by(code)
    assert len(list(tmp_path.glob("**/*.png"))) >= 4


def test_the_version_is_told(lensbench):
    installed = importlib.metadata.version("lensbench")
    assert lensbench("--version") == (0, f"lensbench {installed}\n")
    assert package.__version__ == installed
    assert "lensbench --version" in lensbench("--help")[1]


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_explains_itself(lensbench, verb):
    status, text = lensbench(verb, "--help")
    assert status == 0
    assert f"usage: lensbench {verb}" in text
    status, text = lensbench("--help")
    assert verb in text


def test_the_whole_way_from_simulation_to_report(lensbench, tmp_path):
    data, out, cache = tmp_path / "data", tmp_path / "runs", tmp_path / "cache"
    status, text = lensbench("simulate", data, "--population", "demo", "--n-train", 6, "--n-val", 4)
    assert (status, "30 images" in text) == (0, True)
    status, text = lensbench("verify", data, "--cache", cache)
    assert status == 0
    images = "30 images (10 no, 10 sphere, 10 vort) of 1 x 64 x 64"
    assert f"{images}: 0 errors, 0 warnings; fit for training" in text
    status, text = lensbench(
        "run",
        "--data",
        data,
        "--models",
        "a=timm/test_resnet",
        "--out",
        out,
        "--cache",
        cache,
        *TINY,
    )
    assert status == 0
    assert "is the only model compared" in text
    for name in ("comparison.csv", "comparison.md", "comparison_plot_test_auc.png"):
        assert str(out / name) in text
        assert (out / name).exists()
    status, text = lensbench(
        "train",
        "--data",
        data,
        "--model",
        "timm/test_vit",
        "--name",
        "b",
        "--out",
        out,
        "--cache",
        cache,
        *TINY,
    )
    assert status == 0
    status, text = lensbench("compare", out)
    assert status == 0
    assert " a " in text
    assert " b " in text
    missing = [out / "a/roc_curve_a.png", out / "comparison_plot_test_auc.png"]
    for path in missing:
        path.unlink()
    status, text = lensbench("plots", out)
    assert (status, text.splitlines()) == (0, [*map(str, missing), "plots drawn: 2"])
    assert all(path.exists() for path in missing)
    figures = [out / f"{name}/recall_against_shear_{name}.png" for name in "ab"]
    by_shear = ["--table", data / "parameters.csv", "--by", "shear", "--judge.level", 0.9]
    status, text = lensbench("explain", out, *by_shear)
    assert (status, text.splitlines()) == (0, [*map(str, figures), "plots drawn: 2"])
    assert all(path.stat().st_size > 10_000 for path in figures)
    status, text = lensbench("explain", out, "--table", data / "perturbers.csv")
    assert (status, "perturbers.csv: the first line must name the columns id" in text) == (2, True)


def test_one_file_of_counts_is_the_same_data_set(lensbench, tmp_path):
    sizes = ["--population", "demo", "--n-train", 3, "--n-val", 2]
    fingerprints = []
    for name in ("folder", "stack.h5"):
        status, text = lensbench("simulate", tmp_path / name, *sizes)
        assert (status, f"15 images are in {tmp_path / name}" in text) == (0, True)
        pack = open_or_build_pack(DataSpec(path=tmp_path / name, cache=tmp_path / "cache"))
        fingerprints.append(pack.fingerprint)
    assert fingerprints[0] == fingerprints[1]
    folder, stack = (tmp_path / "folder/parameters.csv", tmp_path / "stack_parameters.csv")
    assert folder.read_bytes() == stack.read_bytes()


def test_a_population_can_be_printed_changed_shifted_and_simulated(lensbench, tmp_path):
    status, text = lensbench("populations")
    assert status == 0
    assert all(name in text for name in (*POPULATIONS, *KNOBS))
    status, text = lensbench("populations", "demo")
    mine = json.loads(text) | {"name": "mine", "about": "made up"}
    mine["camera"]["n_pixels"] = 20
    (tmp_path / "mine.json").write_text(json.dumps(mine))
    status, text = lensbench(
        *("simulate", tmp_path / "out", "--population", tmp_path / "mine.json"),
        *("--n-train", 1, "--n-val", 0, "--shift", "psf=1.41", "lens-light=50"),
    )
    assert status == 0
    assert "population 'mine psf=1.41 lens-light=50': made up" in text
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["population"]["camera"]["psf_sigma_arcsec"] == 1.41 * 0.0859
    assert manifest["population"]["lens"]["light_counts"] == 50
    assert np.load(tmp_path / "out/train/vort/1.npy").shape == (1, 20, 20)


def test_a_preview_is_pictures_and_no_data_set(lensbench, tmp_path):
    out = tmp_path / "pictures"
    status, text = lensbench("simulate", out, "--population", "demo", "--preview")
    names = ["lenses.png", "sphere_taken_apart.png", "vort_taken_apart.png"]
    assert (status, text.splitlines()) == (0, [*(str(out / n) for n in names), "plots drawn: 3"])
    assert sorted(path.name for path in out.iterdir()) == names
    assert all((out / name).stat().st_size > 50_000 for name in names)
    for manifest in ("manifest.json", "manifest.partial.json"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / manifest).write_text("{}")
        status, text = lensbench("simulate", tmp_path / "data", "--preview")
        assert (status, "is a data set: name another folder" in text) == (2, True)
        assert [path.name for path in (tmp_path / "data").iterdir()] == [manifest]
        (tmp_path / "data" / manifest).unlink()


def test_the_real_archive_as_it_is_published(lensbench, make_dataset, tmp_path):
    plain = make_dataset(partitions={"train": 6, "val": 4}, shape=(1, 32, 32))
    archive = tmp_path / "dataset.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in plain.rglob("*.npy"):
            name = path.relative_to(plain).as_posix()
            file.write(path, f"dataset/dataset/{name}")
            file.writestr(f"__MACOSX/dataset/dataset/{name}", b"\0")
    shutil.rmtree(plain)
    status, text = lensbench(
        "run",
        "--data",
        archive,
        "--models",
        "timm/test_resnet",
        "--out",
        tmp_path / "runs",
        "--cache",
        tmp_path / "cache",
        "--split.convention",
        "halved",
        *TINY,
    )
    assert status == 0, text
    assert len((tmp_path / "runs/timm_test_resnet/split/test.txt").read_text().split()) == 6
    assert {path.name for path in tmp_path.iterdir()} == {"dataset.zip", "runs", "cache"}


def test_a_trained_classifier_is_exported(lensbench, tmp_path):
    from lensbench.config import ModelSpec
    from lensbench.recipes import RECIPES
    from lensbench.zoo.build import build
    from lensbench.zoo.weights import save_weights

    model = ModelSpec(identifier="timm/test_resnet", pretrained=False)
    classifier = build(model, RECIPES["quick"], ("no", "vort"), (1, 32, 32), seed=0)
    weights, out = tmp_path / "weights.safetensors", tmp_path / "out/a.pt2"
    save_weights(classifier, weights)
    status, text = lensbench("export", weights, out)
    assert (status, text.splitlines()) == (0, [f"exported: {out}"])
    assert out.stat().st_size > weights.stat().st_size
    status, text = lensbench("export", weights, tmp_path / "a.h5")
    assert (status, "a.h5: export writes .onnx and .pt2 files only" in text) == (2, True)


def test_a_failed_model_sets_the_exit_status(lensbench, make_dataset, tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("boom")

    monkeypatch.setattr("lensbench.sweep.run_one", fails)
    status, text = lensbench(
        "run",
        "--data",
        make_dataset(),
        "--models",
        "timm/test_resnet",
        "--out",
        tmp_path / "runs",
        "--cache",
        tmp_path / "cache",
        *TINY,
    )
    assert status == 1
    assert "RuntimeError: boom" in text


@pytest.mark.usefixtures("undrawn")
def test_finished_runs_need_no_images_and_no_pretrained_weights(
    lensbench, make_dataset, tmp_path, monkeypatch
):
    data = make_dataset()
    command = (
        *("run", "--data", data, "--models", "timm/test_resnet", "--out", tmp_path / "runs"),
        *("--cache", tmp_path / "cache", *TINY),
    )
    assert lensbench(*command)[0] == 0
    asked_for = []
    monkeypatch.setattr("lensbench.sweep.require_weights", lambda some: asked_for.extend(some))
    assert lensbench(*command)[0] == 0
    assert asked_for == []
    shutil.rmtree(data)
    status, text = lensbench(*command)
    assert status == 0
    assert "is gone: finished runs cannot be checked against it" in text


def test_verify_fails_for_data_that_cannot_be_used(lensbench, make_dataset, tmp_path):
    root = make_dataset(shape=(1, 64, 64))
    np.save(root / "val/vort/1.npy", np.load(root / "train/no/1.npy"))
    status, text = lensbench(
        "verify", root, "--json", tmp_path / "audit.json", "--cache", tmp_path / "cache"
    )
    assert status == 1
    assert "not fit for training" in text
    audit = Audit.model_validate_json((tmp_path / "audit.json").read_bytes())
    (finding,) = audit.findings
    assert (finding.code, finding.severity) == ("contradiction", "error")
    assert finding.ids == ("train/no/1.npy", "val/vort/1.npy")
    assert audit.n_images == 36


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "nowhere"], "lensbench: nowhere: no such file or folder. Simulate a data set"),
        (["compare", "nowhere"], "no result records"),
        (
            ["simulate", "x", "--population", "real"],
            "no population 'real'; there are common-test-1",
        ),
        (["simulate", "x", "--population", "x.json"], "x.json: No such file"),
        (["simulate", "x", "--shift", "psf"], "--shift takes KNOB=VALUE, such as psf=1.41"),
        (["simulate", "x", "--shift", "fog=2"], "no knob 'fog'; there are exposure, sky, psf"),
        (["simulate", "x", "--shift", "psf=0"], "knob 'psf' cannot be 0"),
        (["simulate", "x", "--shift", "sky=2", "sky=3"], "--shift names 'sky' twice"),
        (["simulate", "x.h5", "--preview"], "x.h5: a preview is several pictures; name a folder"),
        (["simulate", "x", "--processes", "0"], "the number of processes must be 1 or more"),
        (["explain", ".", "--table", "x.csv"], "x.csv: No such file"),
        (["run", "--data", "x", "--models", "resnet19"], "resnet18"),
        (["export", "x.safetensors", "x.onnx"], "x.safetensors does not exist"),
        (["run", "--data", "x", "--image-size", "8"], "image_size"),
        (["run", "--data", "x", "--gradient-clip", "-1"], "gradient_clip"),
        (["run", "--data", "x", "--weight-decay", "inf"], "weight_decay"),
    ],
)
def test_an_error_is_one_clear_line_and_status_2(
    lensbench, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    status, text = lensbench(*arguments)
    assert status == 2
    assert message in text
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []


def test_models_are_listed_and_searched(lensbench):
    status, text = lensbench("models")
    assert status == 0
    assert "timm/vit_base_patch16_224" in text
    status, text = lensbench("models", "mobilenetv3_small*100")
    assert (status, text.splitlines()) == (0, ["timm/mobilenetv3_small_100"])
    assert lensbench("models", "no such model")[0] == 1


@pytest.mark.usefixtures("undrawn")
def test_the_published_table_is_compared_by_name(lensbench, shared, tmp_path):
    status, text = lensbench("compare", shared / "reference/seed_results", "--out", tmp_path)
    assert status == 0
    assert "ResNet34 and 10 others are best" in text
    assert "cannot be told apart from EfficientNet-B1" in text
    assert "confusion_matrix_ResNet34.png is not drawn" in text
