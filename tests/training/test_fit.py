"""Fitting: what resumes, what repeats, what is kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lensbench.config import MachineSpec, Recipe
from lensbench.data.pack import Pack
from lensbench.training.fit import Fit, fit, predict
from lensbench.training.module import Training

CPU = MachineSpec(accelerator="cpu")


def recipe(**changes) -> Recipe:
    settings = {
        "name": "tiny",
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 0.01,
        "symmetry": "d4",
        "rotation_degrees": 10,
    }
    return Recipe(**(settings | changes))


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = rng.random((60, 1, 12, 12), dtype=np.float32)
    images += labels[:, None, None, None].astype(np.float32)
    return Pack(images=images, labels=labels.astype(np.int64), findings=(), folder=tmp_path)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(400, 3),
    )


def run(pack: Pack, folder: Path, recipe: Recipe, classifier: nn.Module) -> Fit:
    rows = np.arange(60)
    return fit(
        classifier,
        pack,
        rows[:40],
        rows[40:],
        recipe,
        machine=CPU,
        seed=1,
        folder=folder,
        label="tiny",
    )


@pytest.mark.parametrize("schedule", ["one-cycle", "plateau", "constant"])
@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_resumed_fit_ends_as_if_it_had_never_stopped(
    pack, tmp_path, monkeypatch, schedule, stop_after
):
    plan = recipe(schedule=schedule, plateau_patience=0, keep="last")
    whole = network()
    expected = run(pack, tmp_path / "whole", plan, whole)

    step = Training.training_step

    def interrupted_step(self, batch, index):
        if self.current_epoch == stop_after and index == 2:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(Training, "training_step", interrupted_step)
    with pytest.raises(KeyboardInterrupt):
        run(pack, tmp_path / "halves", plan, network())
    monkeypatch.setattr(Training, "training_step", step)
    resumed = network()
    history = run(pack, tmp_path / "halves", plan, resumed).history

    assert history == expected.history
    rows = np.arange(60)
    np.testing.assert_array_equal(
        predict(resumed, pack, rows, plan, CPU), predict(whole, pack, rows, plan, CPU)
    )
