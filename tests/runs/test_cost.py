"""The file of costs, and the numbers in it."""

from __future__ import annotations

import datetime as dt
import json
import statistics

import pytest

from lensbench.cost import SPEEDS, Cost, MeasuredCost, Throughput, amount, throughput
from lensbench.errors import RecordError
from lensbench.runs.cost import COSTS, Costs
from lensbench.runs.record import Environment

PLAIN = Cost(
    model="timm/one", image_size=(224, 200), channels=3, n_parameters=1000, multiply_adds=50_000
)


def _measured(training=(10.0, 30.0, 20.0, 50.0, 40.0), peak=7_000):
    return MeasuredCost(
        **dict(PLAIN),
        training=Throughput(repeats=training, batch_size=32),
        inference=Throughput(repeats=tuple(3 * rate for rate in training), batch_size=32),
        training_peak_bytes=peak,
        inference_peak_bytes=None,
    )


@pytest.fixture
def costs():
    environment = Environment(
        device="A GPU",
        accelerator="cuda",
        precision="bf16-mixed",
        threads=8,
        platform="Linux",
        python="3.11",
        libraries={"torch": "2.5"},
    )
    return Costs(
        environment=environment,
        date=dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC),
        runs={"One": _measured(), "Two": _measured((1.0, 2.0))},
    )


def test_what_is_written_is_read(costs, tmp_path):
    path = tmp_path / "runs" / COSTS
    costs.write(path)
    assert Costs.read(path) == costs
    assert costs.machine == "A GPU"
    written = json.loads(path.read_text())
    assert written["date"] == "2026-03-01T12:00:00Z"
    assert written["schema_version"] == 1
    assert written["runs"]["Two"]["training"] == {"repeats": [1.0, 2.0], "batch_size": 32}
    assert [file.name for file in path.parent.iterdir()] == ["costs.json"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda costs: costs["runs"].clear(), "runs: "),
        (lambda costs: costs.update(schema_version=2), "schema_version: "),
        (lambda costs: costs.update(more=1), "more: "),
        (lambda costs: costs.update(date="2026-03-01T12:00:00"), "date: .*timezone"),
        (lambda costs: costs["runs"]["One"].update(multiply_adds=0), "runs.One.multiply_adds: "),
        (lambda costs: costs["runs"]["One"].pop("channels"), "runs.One.channels: Field required"),
        (lambda costs: costs["runs"]["One"]["training"].update(repeats=[]), "training.repeats: "),
        (lambda costs: costs["runs"]["One"]["training"].update(repeats=[-1]), "repeats.0: "),
    ],
)
def test_a_wrong_file_is_named_with_its_fault(costs, tmp_path, spoil, message):
    path = tmp_path / COSTS
    damaged = json.loads(costs.model_dump_json())
    spoil(damaged)
    path.write_text(json.dumps(damaged))
    with pytest.raises(RecordError, match=message) as caught:
        Costs.read(path)
    assert str(path) in str(caught.value)
    assert "lensbench time" in str(caught.value)


def test_a_damaged_or_missing_file_is_named(costs, tmp_path):
    path = tmp_path / COSTS
    with pytest.raises(RecordError, match=r"costs\.json: cannot be read"):
        Costs.read(path)
    path.write_text(costs.model_dump_json()[:-20])
    with pytest.raises(RecordError, match=r"costs\.json: not a file .* Invalid JSON"):
        Costs.read(path)


@pytest.mark.parametrize("n", [2, 3, 8, 11])
def test_median_and_quartiles_are_those_of_the_standard_library(n):
    repeats = tuple(float((7 * i) % 11 + 1) for i in range(n))
    speed = Throughput(repeats=repeats, batch_size=4)
    quartiles = statistics.quantiles(repeats, n=4, method="inclusive")
    assert [speed.low, speed.median, speed.high] == pytest.approx(quartiles)
    assert speed.n_repeats == n


def test_a_single_repeat_has_no_spread():
    speed = Throughput(repeats=(5.0,), batch_size=4)
    assert (speed.low, speed.median, speed.high) == (5, 5, 5)


def test_rounds_are_joined():
    both = _measured((1.0, 2.0), peak=5).joined(_measured((4.0,), peak=3))
    assert both.training.repeats == (1, 2, 4)
    assert both.inference.repeats == (3, 6, 12)
    assert both.training_peak_bytes == 5
    assert both.inference_peak_bytes is None
    assert both.n_parameters == 1000


def test_amounts():
    measured = _measured()
    assert amount(measured, "multiply-adds") == amount(PLAIN, "multiply-adds") == 50_000
    assert amount(measured, "parameters") == amount(PLAIN, "parameters") == 1000
    assert amount(measured, "training images/s") == 30
    assert amount(measured, "inference images/s") == 90
    for speed in SPEEDS:
        assert amount(PLAIN, speed) is None
        assert throughput(PLAIN, speed) is None
    assert throughput(measured, "training images/s") == measured.training
    assert throughput(measured, "inference images/s") == measured.inference
    assert throughput(measured, "parameters") is None
