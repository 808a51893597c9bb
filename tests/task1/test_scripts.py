"""The contract's scripts, run from inside task1/ as its document shows."""

import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import lensbench
from lensbench.runs.record import RunRecord

TASK1 = Path(__file__).parents[2] / "task1"
NAMES = ("ResNet-Tiny", "Second")
SETTINGS = """
MODELS_TO_RUN = [("ResNet-Tiny", "timm/test_resnet"), ("Second", "timm/test_efficientnet", 4)]
PRETRAINED = False
IMG_SIZE = 64
NUM_EPOCHS = 2
BATCH_SIZE = 8
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A copy of task1/ with two tiny models in its config.py and a simulated dataset/."""
    folder = tmp_path_factory.mktemp("contract") / "task1"
    folder.mkdir()
    for script in TASK1.glob("*.py"):
        shutil.copy(script, folder)
    with (folder / "config.py").open("a") as config:
        config.write(SETTINGS)
    lensbench.simulate(folder / "dataset", population="demo", n_train=8, n_val=8, seed=1)
    return folder


@dataclass(frozen=True)
class Done:
    """What a script left on the screen."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def script(monkeypatch, capsys) -> Callable[..., Done]:
    """Run a script inside its folder, as `python NAME FLAGS` does, but with torch loaded before."""

    def run(folder: Path, name: str, *flags: str) -> Done:
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            patch.syspath_prepend(folder)
            patch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
            patch.setattr(sys, "argv", [name, *flags])
            with pytest.raises(SystemExit) as ended:
                runpy.run_path(name, run_name="__main__")
        for module in ("config", "lens_utils"):  # the next folder has its own
            sys.modules.pop(module)
        return Done(int(ended.value.code or 0), *capsys.readouterr())

    return run


def made(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix not in (".py", ".pyc")
        and not path.is_relative_to(folder / "dataset")
    }


@pytest.mark.slow
def test_the_contract_from_its_first_command_to_its_last(folder, script):
    done = script(folder, "main_controller.py")
    assert done.status == 0, done.stderr
    expected = {
        f"model_results_task1_comparison/{file}"
        for name in NAMES
        for file in (
            f"results_{name}.json",
            f"predictions_validation_{name}.npz",
            f"predictions_test_{name}.npz",
        )
    }
    expected |= {f"model_weights_task1_comparison/best_model_{name}.safetensors" for name in NAMES}
    expected |= {f"dataset_split/{part}.txt" for part in ("train", "validation", "test")}
    expected |= {
        f"{kind}_{name}.png"
        for name in NAMES
        for kind in ("confusion_matrix", "roc_curve", "training_history")
    }
    expected |= {
        "comparison_plot_test_auc.png",
        "comparison_plot_test_accuracy.png",
        "comparison_plot_training_time.png",
        "comparison_plot_auc_vs_time.png",
        "model_comparison_task1_results_final.csv",
        "comparison_intervals.csv",
        "comparison.md",
    }
    assert made(folder) == expected
    for name, batch_size in zip(NAMES, (8, 4), strict=True):
        record = RunRecord.read(folder / f"model_results_task1_comparison/results_{name}.json")
        assert record.config.batch_size == batch_size
        assert record.config.epochs == 2
        assert record.config.img_size == 64
        assert record.config.learning_rate == 3e-4
        assert record.lensbench.split.convention == "halved"
        assert record.lensbench.split.n_validation == record.lensbench.split.n_test == 12

    (told,) = re.findall("`lensbench report (.*)` makes one page", done.stdout)
    comparison, _ = lensbench.compare(told)
    assert {entry.name for entry in comparison.entries} == set(NAMES)

    again = script(folder, "main_controller.py")
    assert again.status == 0
    assert again.stdout.count("finished before, skipped") == 2

    (folder / "training_history_Second.png").unlink()
    drawn = script(folder, "generate_history_plots.py")
    assert drawn.status == 0, drawn.stderr
    assert "plots drawn: 1" in drawn.stdout
    assert (folder / "training_history_Second.png").exists()

    table = folder / "model_comparison_task1_results_final.csv"
    before = table.read_text()
    table.unlink()
    compared = script(folder, "compare_results.py")
    assert compared.status == 0, compared.stderr
    assert table.read_text() == before

    flags = ["--model_desc", "Single", "--model_identifier", "timm/test_resnet"]
    single = script(folder, "run_single_model.py", *flags, "--batch_size", "6", "--epochs", "1")
    assert single.status == 0, single.stderr
    record = RunRecord.read(folder / "model_results_task1_comparison/results_Single.json")
    assert (record.config.batch_size, record.config.epochs) == (6, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["main_controller.py", "run_single_model.py"])
def test_without_images_the_error_says_how_to_get_some(folder, script, name, tmp_path):
    for path in folder.glob("*.py"):
        shutil.copy(path, tmp_path)
    flags = ["--model_desc", "X", "--model_identifier", "resnet18"] if "single" in name else []
    done = script(tmp_path, name, *flags)
    assert done.status == 2
    assert "dataset/ does not exist" in done.stderr
    assert "https://drive.google.com" in done.stderr
    assert "lensbench simulate dataset" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_settings_out_of_the_box_are_the_contracts():
    code = (
        "import config, lens_utils; "
        "print(config.BATCH_SIZE, config.LEARNING_RATE, config.NUM_EPOCHS, config.IMG_SIZE, "
        "config.WEIGHT_DECAY, config.VAL_FRACTION, len(config.MODELS_TO_RUN), config.PRETRAINED)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=TASK1, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["64", "0.0003", "15", "224", "0.01", "0.5", "23", "True"]
