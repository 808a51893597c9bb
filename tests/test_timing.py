"""Which models are measured, and to whom the measurements are given."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

import lensbench
from lensbench import timing
from lensbench.comparison.costs import known_costs
from lensbench.config import DataSpec, MachineSpec, ModelSpec, RunConfig
from lensbench.cost import Cost, MeasuredCost, Throughput
from lensbench.errors import ConfigError
from lensbench.recipes import CONTRACT
from lensbench.runs.cost import COSTS, Costs
from lensbench.runs.record import Environment, RunRecord
from lensbench.timing import time_runs
from reporting.page_runs import store_run

SPEED = Throughput(repeats=(10.0, 12.0), batch_size=8)


def measured(model: str) -> MeasuredCost:
    return MeasuredCost(
        model=model,
        image_size=(150, 150),
        channels=1,
        n_parameters=5,
        multiply_adds=7,
        training=SPEED,
        inference=SPEED,
        training_peak_bytes=None,
        inference_peak_bytes=None,
    )


@pytest.fixture
def subjects(monkeypatch) -> dict:
    """What was asked to be measured; nothing is."""
    asked: dict = {}

    def measure_all(wanted, machine, **_):
        asked.update(wanted)
        return ((name, measured(subject.identifier)) for name, subject in wanted.items())

    monkeypatch.setattr(timing, "measure_all", measure_all)
    return asked


def record(name: str, group: str | None = None, seed: int = 42) -> RunRecord:
    run = RunConfig(
        name=name,
        group=group,
        seed=seed,
        data=DataSpec(path=Path("data")),
        model=ModelSpec(identifier="torchvision/resnet18"),
        recipe=CONTRACT,
    )
    return RunRecord.model_validate(
        {
            "model_desc": name,
            "model_identifier": "torchvision/resnet18",
            "status": "Completed",
            "config": None,
            "lensbench": {
                "lensbench_version": "0",
                "run": run,
                "environment": None,
                "classes": ("no", "sphere", "vort"),
                "image_shape": (1, 64, 64),
            },
        }
    )


def run(records: list[RunRecord], batch_size: int | None = None) -> Costs:
    return time_runs(
        records,
        MachineSpec(accelerator="cpu"),
        batch_size=batch_size,
        n_repeats=1,
        n_rounds=1,
        say=lambda _: None,
    )


def test_seeds_of_a_model_are_measured_once_under_its_name(subjects):
    """Whichever of them have finished."""
    run([record("A", None, 42), record("A-seed43", "A", 43), record("B-seed43", "B", 43)])
    assert set(subjects) == {"A", "B"}
    assert subjects["B"].image_shape == (1, 64, 64)


def test_what_cannot_be_kept_or_read_is_said_before_anything_is_measured(subjects, tmp_path):
    said: list[str] = []
    for name in ("A", "B"):
        store_run(tmp_path, name, separation=1)
    with pytest.raises(ConfigError, match=r"A/record\.json is one record: name the folder"):
        lensbench.time(tmp_path / "A" / "record.json")
    (tmp_path / COSTS).mkdir()
    with pytest.raises(ConfigError, match=f"{COSTS} cannot be written: .* is in the way"):
        lensbench.time(tmp_path)
    assert not subjects
    (tmp_path / COSTS).rmdir()
    (tmp_path / "B" / "record.json").write_text("{")
    lensbench.time(tmp_path, say=said.append)
    assert set(subjects) == set(Costs.read(tmp_path / COSTS).runs) == {"A"}
    assert said[0].startswith(f"left out: {tmp_path / 'B' / 'record.json'}: ")


def test_published_models_are_measured_by_their_protocol(subjects, shared):
    published = RunRecord.read(shared / "reference/seed_results/results_ResNet18.json")
    costs = run([published])
    assert subjects["ResNet18"].recipe.image_size == 224
    assert subjects["ResNet18"].recipe.batch_size == published.config.batch_size
    assert subjects["ResNet18"].image_shape == (1, 150, 150)
    assert subjects["ResNet18"].classes == ("no", "sphere", "vort")
    assert costs.date.tzinfo is not None


def test_a_batch_size_that_is_asked_for_is_that_of_all(subjects):
    run([record("A")])
    assert subjects["A"].recipe == CONTRACT
    run([record("A"), record("B")], batch_size=6)
    expected = CONTRACT.model_copy(update={"batch_size": 6})
    assert [subject.recipe for subject in subjects.values()] == [expected, expected]


def test_costs_of_another_model_of_the_same_name_are_not_taken(shared):
    from lensbench.comparison.compare import compare

    paths = [shared / "reference/seed_results/results_ResNet18.json"]
    comparison = compare(paths)
    environment = Environment(
        device="cpu",
        accelerator="cpu",
        precision="32-true",
        threads=1,
        platform="Linux",
        python="3.11",
        libraries={},
    )
    costs = Costs(
        environment=environment,
        date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        runs={"ResNet18": measured("torchvision/resnet18")},
    )
    assert known_costs(comparison.entries, costs)["ResNet18"].multiply_adds == 7
    (entry,) = comparison.entries
    ours = record("ResNet18")
    recorded = Cost(
        model="timm/other", image_size=(9, 9), channels=1, n_parameters=1, multiply_adds=2
    )
    provenance = ours.lensbench.model_copy(update={"cost": recorded})
    other = replace(
        entry,
        runs=(replace(entry.runs[0], record=ours.model_copy(update={"lensbench": provenance})),),
    )
    assert known_costs([other], costs) == {"ResNet18": recorded}
    assert known_costs(comparison.entries, None) == {}
