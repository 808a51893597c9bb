"""Measuring tiny models; nothing here depends on how fast they are."""

from __future__ import annotations

import copy
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import lightning
import pytest
import torch
from torch import nn

from lensbench.config import MachineSpec, ModelSpec, Recipe
from lensbench.cost import MeasuredCost, Throughput
from lensbench.errors import ConfigError, ModelError
from lensbench.machine import cpu_name
from lensbench.training import measure as measuring
from lensbench.training import measure_all as measuring_all
from lensbench.training import steps
from lensbench.training.execution import Execution
from lensbench.training.measure import Subject, measure
from lensbench.training.measure_all import measure_all
from lensbench.training.module import Training
from lensbench.training.steps import find_hardware, open_fabric
from lensbench.zoo.build import build

from .tiny import nothing_global_changed

CLASSES = ("no", "sphere", "vort")
SHAPE = (1, 32, 32)
MODEL = "mobilenetv3_small_100"


def _recipe(**settings):
    return Recipe(**{"name": "t", "epochs": 2, "batch_size": 4, "learning_rate": 1e-3} | settings)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(measuring, "_REPEAT_SECONDS", 0.01)


def _measure(machine=None, recipe=None, **settings):
    machine = machine or MachineSpec(accelerator="cpu", threads=1)
    return measure(Subject(MODEL, recipe or _recipe(), CLASSES, SHAPE), machine, **settings)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("precision", "settings"),
    [
        ("32-true", {"gradient_clip": 1.0, "schedule": "one-cycle", "rotation_degrees": 15}),
        ("32-true", {"schedule": "plateau", "channels": 3, "image_size": 48}),
        ("bf16-mixed", {"schedule": "constant", "gradient_clip": 1.0}),
    ],
)
def test_every_number_is_there(precision, settings):
    way = Execution(precision=precision)
    cost = _measure(recipe=_recipe(**settings), execution=way, n_repeats=3)
    for speed in (cost.training, cost.inference):
        assert speed.n_repeats == 3
        assert speed.batch_size == 4
        assert 0 < speed.low <= speed.median <= speed.high
    assert cost.model == "timm/mobilenetv3_small_100"
    assert cost.channels == settings.get("channels", 1)
    assert cost.image_size == (settings.get("image_size", 32),) * 2
    assert cost.multiply_adds > 0


@pytest.mark.usefixtures("short")
def test_random_numbers_and_threads_are_left_alone():
    with nothing_global_changed():
        _measure(n_repeats=1)


def test_a_step_is_one_of_adamw_with_a_clipped_gradient():
    """Against the same two steps in plain torch."""
    recipe = _recipe(symmetry="none", schedule="constant", gradient_clip=0.1, weight_decay=0.2)
    model = ModelSpec(identifier=MODEL, pretrained=False)
    classifier = build(model, recipe, CLASSES, SHAPE, seed=0)
    twin = copy.deepcopy(classifier)
    images, labels = torch.rand(4, *SHAPE), torch.tensor([0, 1, 2, 0])
    fabric = lightning.Fabric(accelerator="cpu", devices=1)
    training = Training(classifier, recipe, 1, 0)
    with torch.random.fork_rng([]):
        step = steps.training_step(fabric, training, (images, labels))
        step()
        step()
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-3, weight_decay=0.2, fused=True)
    for _ in range(2):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(twin(images), labels).backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.1)
        optimizer.step()
    torch.testing.assert_close(classifier.state_dict(), twin.state_dict(), rtol=0, atol=1e-7)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_steps_are_those_of_the_training_loop(monkeypatch, precision):
    """Spied upon: mode, precision, threads, batch and weights at each step."""
    seen = {"train": [], "predict": []}

    def spy(kind, original):
        def step(self, batch, number):
            weights = next(self.classifier.parameters())
            seen[kind].append(
                {
                    "training": self.classifier.training,
                    "gradients": torch.is_grad_enabled(),
                    "mixed": torch.is_autocast_enabled("cpu"),
                    "threads": torch.get_num_threads(),
                    "shape": tuple(batch[0].shape),
                    "weights": weights.detach().clone(),
                    "range": (float(batch[0].min()), float(batch[0].max())),
                    "labels": set(batch[1].tolist()),
                }
            )
            return original(self, batch, number)

        return step

    monkeypatch.setattr(Training, "training_step", spy("train", Training.training_step))
    monkeypatch.setattr(Training, "predict_step", spy("predict", Training.predict_step))
    way = Execution(precision=precision)
    _measure(recipe=_recipe(batch_size=8), execution=way, n_repeats=2)
    for kind, training in (("train", True), ("predict", False)):
        assert len(seen[kind]) >= 3 + 1 + 2
        for step in seen[kind]:
            assert step["training"] is step["gradients"] is training
            # Predictions are made in float32, whatever training is computed in.
            assert step["mixed"] is (kind == "train" and precision == "bf16-mixed")
            assert step["threads"] == 1
            assert step["shape"] == (8, *SHAPE)
            assert 0 <= step["range"][0] < 0.1 < 0.9 < step["range"][1] <= 1
            assert step["labels"] <= {0, 1, 2}
    first, second = (step["weights"] for step in seen["train"][:2])
    assert not torch.equal(first, second)
    assert torch.equal(seen["predict"][0]["weights"], seen["predict"][-1]["weights"])


def test_the_clock_counts_every_step_but_those_that_warm_up(monkeypatch):
    """With a clock that a step moves by a known time, the speeds are known.

    While cuDNN looks for the fastest kernels, steps are slow and take more memory.
    """
    now, n_made, restarts = [0.0], {"predict": 0, "train": 0}, []

    def timed(kind, seconds, original):
        def step(self, batch, number):
            n_made[kind] += 1
            now[0] += seconds if n_made[kind] > 3 else 10
            return original(self, batch, number)

        return step

    monkeypatch.setattr(steps.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(Training, "predict_step", timed("predict", 0.06, Training.predict_step))
    monkeypatch.setattr(Training, "training_step", timed("train", 0.03, Training.training_step))
    monkeypatch.setattr(measuring.PeakMemory, "restart", lambda _: restarts.append(dict(n_made)))
    cost = _measure(n_repeats=4)
    assert cost.inference.repeats == pytest.approx([4 / 0.06] * 4)
    assert cost.training.repeats == pytest.approx([4 / 0.03] * 4)
    # 1, 2, 4 and 8 steps until they fill 0.2 s, then 8 for each repeat; half of that for 0.06 s.
    assert n_made == {"predict": 3 + (1 + 2 + 4) + 4 * 4, "train": 3 + (1 + 2 + 4 + 8) + 4 * 8}
    assert restarts == [{"predict": 3, "train": 0}, {"predict": 26, "train": 3}]


def test_a_step_whose_gradient_overflows_goes_on():
    """As a fit does, which in float16 then lowers its scale; to ask would wait for the GPU."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    plan = _recipe().model_copy(update={"gradient_clip": 1.0})
    machine = MachineSpec(accelerator="cpu")
    labels = torch.tensor([0, 1, 2])
    batch = (torch.full((3, 1, 8, 8), torch.inf), labels)
    training = Training(network, plan, n_steps=1, seed=0)
    steps.training_step(steps.open_fabric(machine, "32-true"), training, batch)()
    assert not network[1].weight.isfinite().all()


def test_hardware():
    found = find_hardware(MachineSpec(accelerator="cpu", threads=3))
    assert found == ("cpu", cpu_name(), 3)
    default = find_hardware(MachineSpec(accelerator="cpu"))
    assert default.threads == torch.get_num_threads()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_an_error():
    for call in (find_hardware, _measure):
        with pytest.raises(ConfigError, match="'gpu'"):
            call(MachineSpec(accelerator="gpu"))


def test_an_unknown_model_is_an_error():
    unknown = Subject("resnet18000", _recipe(), CLASSES, SHAPE)
    with pytest.raises(ModelError, match="no classifier"):
        measure(unknown, MachineSpec(accelerator="cpu"))


def _cost(*rates):
    speed = Throughput(repeats=rates, batch_size=2)
    return MeasuredCost(
        model="timm/x",
        image_size=(32, 32),
        channels=1,
        n_parameters=10,
        multiply_adds=20,
        training=speed,
        inference=speed,
        training_peak_bytes=30,
        inference_peak_bytes=10,
    )


def test_rounds_go_over_all_models_and_failures_stop_nothing(monkeypatch):
    """Each model is computed in the way that was chosen for it, once, before all rounds."""
    ways = {"a": Execution(), "b": Execution(compiled=True), "c": Execution(precision="bf16-mixed")}
    answers = iter([_cost(1.0), torch.OutOfMemoryError("too large"), *map(_cost, (2.0, 3.0, 4.0))])
    chosen, asked = [], []

    def fastest_execution(subject, machine):
        chosen.append((subject.identifier, machine))
        if subject.identifier not in ways:
            raise ModelError("no such model")
        return ways[subject.identifier]

    def measure(subject, *arguments):
        asked.append((subject.identifier, *arguments))
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    # In the place of processes, of which each has one thing to do.
    monkeypatch.setattr(measuring_all, "ProcessPoolExecutor", lambda **_: ThreadPoolExecutor(1))
    monkeypatch.setattr(measuring_all, "fastest_execution", fastest_execution)
    monkeypatch.setattr(measuring_all, "measure", measure)
    subjects = {name: Subject(name.lower(), _recipe(), CLASSES, SHAPE) for name in "ABCD"}
    machine = MachineSpec(accelerator="cpu")
    found = list(measure_all(subjects, machine, n_repeats=9, n_rounds=2))
    assert found == [
        ("D", "no such model"),
        ("A", _cost(1.0)),
        ("B", "OutOfMemoryError: too large"),
        ("C", _cost(2.0)),
        ("A", _cost(1.0, 3.0)),
        ("C", _cost(2.0, 4.0)),
    ]
    settled = machine.model_copy(update={"threads": torch.get_num_threads()})
    assert chosen == [(name, settled) for name in "abcd"]
    assert asked == [(name, settled, ways[name], 9) for name in "abcac"]


def test_the_process_is_another_one_each_time():
    ours = os.getpid()
    first, second = (measuring_all._in_fresh_process(os.getpid) for _ in range(2))
    assert len({ours, first, second}) == 3


def test_a_process_that_dies_is_reported():
    reason = measuring_all._in_fresh_process(os._exit, 1)
    assert "its process ended before it was measured: most likely the memory ran out" in reason


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process")
def test_peak_memory_is_that_of_weights_gradients_and_moments():
    subject = Subject("resnet18", _recipe(batch_size=2), CLASSES, SHAPE)
    machine = MachineSpec(accelerator="cpu", threads=1)
    ((name, cost),) = measure_all({"One": subject}, machine, n_repeats=2, n_rounds=1)
    assert name == "One"
    assert cost.training.n_repeats == 2
    weights = 4 * cost.n_parameters
    # AdamW keeps two moments of each weight. The libraries alone would take 400 MB.
    assert 4 * weights < cost.training_peak_bytes < 4 * weights + 100e6
    assert weights < cost.inference_peak_bytes < 2 * weights


@pytest.mark.usefixtures("short")
def test_it_is_said_how_training_was_computed():
    assert _measure(n_repeats=1).execution == "32-true, contiguous"
    way = Execution(precision="bf16-mixed", memory_format="channels-last")
    assert _measure(n_repeats=1, execution=way).execution == "bf16-mixed, channels-last"


def test_nobody_is_told_which_precision_is_tried(monkeypatch):
    told = []
    for name in ("lightning.fabric", "lightning.pytorch"):
        listener = logging.Handler()
        listener.emit = told.append
        monkeypatch.setattr(logging.getLogger(name), "handlers", [listener])
    open_fabric(MachineSpec(accelerator="cpu"), "bf16-mixed")
    assert told == []
