"""Where files lie, what state a run is in, and which runs are the same."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from lensbench.config import DataSpec, JudgeSpec, MachineSpec, ModelSpec, RunConfig, SplitSpec
from lensbench.errors import RecordError
from lensbench.recipes import CONTRACT
from lensbench.runs.compose import failed_record
from lensbench.runs.environment import describe_environment
from lensbench.runs.identity import Fingerprints, differ_in_seed_alone
from lensbench.runs.layout import NATIVE, contract_layout, find_records
from lensbench.runs.record import RunRecord, SplitSummary, TestResults
from lensbench.runs.store import RunStore
from lensbench.training.execution import Execution, keep_execution
from lensbench.version import __version__
from lensbench.whole_file import write_whole

KNOWN = Fingerprints(data="data", split="split")
CONTRACTS = contract_layout(results="results", weights="weights", split="split", csv="table.csv")


def config(**changes) -> RunConfig:
    settings = {
        "name": "ResNet18",
        "data": DataSpec(path=Path("data")),
        "model": ModelSpec(identifier="torchvision/resnet18"),
        "recipe": CONTRACT,
    }
    return RunConfig(**(settings | changes))


def failed(made: RunConfig):
    return failed_record(made, describe_environment("cpu", None, "32-true", None), "boom")


@pytest.mark.parametrize("layout", [NATIVE, CONTRACTS])
def test_no_two_files_of_two_runs_share_a_place(tmp_path, layout):
    places = [
        place
        for name in ("a", "b")
        for store in [RunStore(tmp_path, name, layout)]
        for place in (
            store.record,
            store.weights,
            store.work,
            store.lock,
            store.predictions("test"),
            store.predictions("validation"),
        )
    ]
    assert len(set(places)) == 12


@pytest.mark.parametrize("layout", [NATIVE, CONTRACTS])
def test_a_run_goes_through_its_states(tmp_path, layout):
    store = RunStore(tmp_path, "ResNet18", layout)
    assert store.state(config()) == "new"
    store.begin(config(), KNOWN)
    assert store.state(config()) == store.state(config(), KNOWN) == "interrupted"
    assert store.state(config(seed=1)) == "changed"
    assert store.state(config(), KNOWN._replace(data="other")) == "changed"
    assert store.state(config(), KNOWN._replace(split="other")) == "changed"
    store.finish(failed(config()))
    assert store.state(config()) == "failed"
    assert store.state(config(seed=1)) == "changed"
    assert find_records(tmp_path, layout) == [store.record]


@pytest.mark.parametrize(
    "changes",
    [
        {"data": DataSpec(path=Path("elsewhere"), cache=Path("cache"))},
        {"judge": JudgeSpec(level=0.9)},
        {"machine": MachineSpec(threads=1)},
        {"machine": MachineSpec(accelerator="gpu")},
        # As the command that the report prints has them.
        {"recipe": CONTRACT.model_copy(update={"name": "mine", "expected": "much"})},
        {
            "recipe": CONTRACT.model_copy(update={"split": "sealed"}),
            "split": SplitSpec(convention="halved"),
        },
    ],
)
def test_what_does_not_change_the_weights_makes_no_other_run(tmp_path, changes):
    store = RunStore(tmp_path, "ResNet18")
    store.begin(config(), KNOWN)
    assert store.state(config(**changes), KNOWN) == "interrupted"


def test_weights_from_a_file_leave_nothing_to_pretrained_ones(tmp_path):
    store, file = RunStore(tmp_path, "ResNet18"), Path("a.safetensors")

    def start(**how):
        return config(model=ModelSpec(identifier="torchvision/resnet18", **how))

    store.begin(start(weights=file), KNOWN)
    assert store.state(start(weights=file, pretrained=False), KNOWN) == "interrupted"
    assert store.state(start(pretrained=False), KNOWN) == "changed"


def test_records_are_found_below_a_folder_of_any_name(tmp_path):
    """Folders of the contract may be absolute, and then stand in the pattern."""
    folder = tmp_path / "[old] runs?"
    layout = contract_layout(str(folder / "results"), str(folder), str(folder), "table.csv")
    store = RunStore(tmp_path, "ResNet18", layout)
    store.finish(failed(config()))
    assert find_records(tmp_path, layout) == [store.record]


def test_the_same_parts_asked_for_in_other_words_make_no_other_run(tmp_path):
    """A table of parts is known by what it says, wherever it lies."""
    store = RunStore(tmp_path, "ResNet18")
    store.begin(config(split=SplitSpec(file=Path("parts.csv"))), KNOWN)
    for split in (SplitSpec(file=Path("moved/parts.csv")), SplitSpec(convention="sealed")):
        assert store.state(config(split=split), KNOWN) == "interrupted"
        assert store.state(config(split=split), KNOWN._replace(split="other")) == "changed"
    store.finish(failed(config()))
    given = config(split=SplitSpec(convention="given"))
    assert store.state(given) == "changed"  # of parts that were not read, nothing else is known
    assert store.state(given, KNOWN) == "failed"


def test_of_images_that_are_gone_a_recipe_of_another_split_is_another_run(tmp_path):
    store = RunStore(tmp_path, "ResNet18")
    store.finish(failed(config()))
    by_recipe = config(recipe=CONTRACT.model_copy(update={"split": "given"}))
    assert (store.state(config()), store.state(by_recipe)) == ("failed", "changed")


def test_a_precision_that_was_chosen_may_be_asked_for_when_the_run_goes_on(tmp_path):
    store = RunStore(tmp_path, "ResNet18")
    store.begin(config(), KNOWN)
    chosen, other = (config(machine=MachineSpec(precision=p)) for p in ("bf16-mixed", "32-true"))
    assert store.state(chosen, KNOWN) == store.state(other, KNOWN) == "changed"
    keep_execution(Execution(precision="bf16-mixed"), store.work)
    assert store.state(chosen, KNOWN) == store.state(config(), KNOWN) == "interrupted"
    assert store.state(other, KNOWN) == "changed"


def test_a_precision_that_was_chosen_may_be_asked_for_when_a_run_has_failed(tmp_path):
    """Its record does not say which it was, but the folder of its checkpoints does."""
    store = RunStore(tmp_path, "ResNet18")
    store.begin(config(), KNOWN)
    keep_execution(Execution(precision="bf16-mixed"), store.work)
    environment = describe_environment("cpu", None, "auto", None)
    store.finish(failed_record(config(), environment, "no room"))
    chosen, other = (config(machine=MachineSpec(precision=p)) for p in ("bf16-mixed", "32-true"))
    assert store.state(chosen, KNOWN) == "failed"
    assert store.state(other, KNOWN) == "changed"


def test_a_note_that_cannot_be_read_costs_no_checkpoint(tmp_path):
    store = RunStore(tmp_path, "ResNet18")
    store.begin(config(), KNOWN)
    unreadable_note = store.work / "execution.json"
    unreadable_note.mkdir()
    with pytest.raises(RecordError, match=r"execution\.json: cannot be read"):
        store.state(config(machine=MachineSpec(precision="bf16-mixed")), KNOWN)


def of_a_later_schema(path: Path) -> None:
    fields = json.loads(path.read_text())
    fields["lensbench"]["schema_version"] = 99
    path.write_text(json.dumps(fields))


def with_a_later_setting(path: Path) -> None:
    fields = json.loads(path.read_text())
    fields.get("lensbench", fields)["run"]["recipe"]["mixup"] = 0.2
    path.write_text(json.dumps(fields))


def unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        ("record.json", of_a_later_schema, r"later version of lensbench \(schema 99\): update it"),
        ("record.json", with_a_later_setting, r"recipe\.mixup: .* does not know: update it"),
        ("record.json", unreadable, r"record\.json: cannot be read \(Is a directory\)"),
        (
            "unfinished/start.json",
            with_a_later_setting,
            r"mixup: .* update it; .* move .*unfinished",
        ),
        ("unfinished/start.json", unreadable, r"start\.json: cannot be read"),
    ],
)
def test_what_cannot_be_understood_is_no_changed_run(tmp_path, file, spoil, message):
    """A changed run is moved away."""
    store = RunStore(tmp_path, "ResNet18")
    store.begin(config(), KNOWN)
    store.finish(failed(config()))
    spoil(tmp_path / "ResNet18" / file)
    with pytest.raises(RecordError, match=message):
        store.state(config())


@pytest.mark.parametrize("file", ["record.json", "unfinished/start.json"])
def test_what_breaks_off_is_a_changed_run(tmp_path, file):
    store = RunStore(tmp_path, "ResNet18")
    store.begin(config(), KNOWN)
    store.finish(failed(config()))
    path = tmp_path / "ResNet18" / file
    path.write_text(path.read_text()[:-2])
    assert store.state(config()) == "changed"


def test_an_interrupted_run_goes_on_from_the_weights_that_it_started_from(tmp_path):
    def starts_from(file: str | None) -> RunConfig:
        model = ModelSpec(identifier="torchvision/resnet18", weights=file and Path(file))
        return config(model=model)

    store = RunStore(tmp_path, "ResNet18")
    known = KNOWN._replace(weights="0123456789ab")
    store.begin(starts_from("a.safetensors"), known)
    assert store.state(starts_from("/elsewhere/b.safetensors"), known) == "interrupted"
    assert store.state(starts_from("a.safetensors"), known._replace(weights="other")) == "changed"
    assert store.state(starts_from(None), KNOWN) == store.state(starts_from(None)) == "changed"


def test_a_run_from_before_weights_were_noted_goes_on(tmp_path):
    store = RunStore(tmp_path, "ResNet18")
    store.begin(config(), KNOWN)
    start = store.work / "start.json"
    fields = json.loads(start.read_text())
    assert fields["fingerprints"] == ["data", "split", None]
    start.write_text(json.dumps(fields | {"fingerprints": ["data", "split"]}))
    assert store.state(config(), KNOWN) == "interrupted"


def test_a_run_that_is_set_aside_is_new_again_and_whole_elsewhere(tmp_path):
    store = RunStore(tmp_path, "ResNet18", CONTRACTS)
    store.begin(config(), KNOWN)
    write_whole(store.weights, "weights")
    write_whole(store.figures / "roc_curve_ResNet18.png", "picture")
    store.finish(failed(config()))
    aside = store.set_aside()
    assert store.state(config()) == "new"
    assert {path.name for path in aside.iterdir()} == {
        "results_ResNet18.json",
        "best_model_ResNet18.safetensors",
        "roc_curve_ResNet18.png",
        "unfinished_ResNet18",
    }


def test_figures_of_a_run_that_is_set_aside_go_with_it(tmp_path):
    store = RunStore(tmp_path, "ResNet18")
    store.begin(config(), KNOWN)
    figures = ("training_history_ResNet18.png", "recall_against_perturber_mass_solar_ResNet18.png")
    for name in figures:
        write_whole(store.figures / name, "picture")
    store.finish(failed(config()))
    aside = store.set_aside()
    assert set(figures) < {path.name for path in aside.iterdir()}
    assert not list(store.figures.glob("*.png"))


def elsewhere(store: RunStore, then: str) -> subprocess.CompletedProcess[str]:
    """Do something in another process that asks for the same run."""
    code = f"""
import os
from pathlib import Path
from lensbench.runs.layout import Layout
from lensbench.runs.store import RunStore
with RunStore(Path({str(store.root)!r}), {store.name!r}, {store.layout!r}).alone() as is_alone:
    {then}
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("layout", [NATIVE, CONTRACTS])
def test_one_process_at_a_time_has_a_run(tmp_path, layout):
    store, other = RunStore(tmp_path, "a", layout), RunStore(tmp_path, "b", layout)
    with store.alone() as mine, other.alone() as not_the_same_run:
        assert mine
        assert not_the_same_run
        assert elsewhere(store, "print(is_alone)").stdout == "False\n"
        assert store.lock.exists()
        assert find_records(tmp_path, layout) == []
        assert store.state(config(name="a")) == "new"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_run_of_a_process_that_was_killed_is_free(tmp_path):
    store = RunStore(tmp_path, "a")
    assert elsewhere(store, "os._exit(7 if is_alone else 1)").returncode == 7
    assert store.lock.exists()
    with store.alone() as mine:
        assert mine


def test_a_failure_never_replaces_results(tmp_path):
    store = RunStore(tmp_path, "ResNet18")
    results = {"accuracy": 1.0, "auc_ovr_macro": 1.0, "report": "", "roc_curve_data": {}}
    finished = failed(config()).model_copy(
        update={"status": "Completed", "test_results": TestResults(**results)}
    )
    store.finish(finished)
    with pytest.raises(RecordError, match=r"record\.json holds results, which are kept"):
        store.finish(failed(config()))
    assert RunRecord.read(store.record) == finished


def test_the_version_is_that_of_the_installed_package():
    found = describe_environment("cpu", None, "32-true", 1).libraries["lensbench"]
    assert found == __version__ == metadata.version("lensbench")
    citation = Path(__file__).parents[2] / "CITATION.cff"
    assert f"version: {__version__}" in citation.read_text()


def test_how_steps_are_computed_makes_no_other_run_unless_a_precision_is_asked_for(tmp_path):
    """Runs that were made before it was chosen have 32-true, and are still known."""
    store = RunStore(tmp_path, "ResNet18")
    before = MachineSpec(precision="32-true")
    mixed = CONTRACT.model_copy(update={"mixed_precision": True})
    store.begin(config(machine=before, recipe=mixed), KNOWN)
    for asked in (MachineSpec(), MachineSpec(memory_format="channels-last", compile="no"), before):
        assert store.state(config(machine=asked), KNOWN) == "interrupted"
    other = MachineSpec(precision="bf16-mixed")
    assert store.state(config(machine=other), KNOWN) == "changed"


def test_who_asks_for_the_precision_that_was_chosen_asks_for_the_same_run(tmp_path):
    store = RunStore(tmp_path, "ResNet18")
    # Its environment has 32-true, its settings leave that open.
    store.finish(failed(config()))
    assert store.state(config(machine=MachineSpec(precision="32-true"))) == "failed"
    assert store.state(config(machine=MachineSpec(precision="bf16-mixed"))) == "changed"


def seeded(
    seed: int, *, data: str = "data", split: str = "split", weights: str = "f" * 12, **changes
) -> RunRecord:
    """A record of a run on some images from a file of weights."""
    model = ModelSpec(identifier="torchvision/resnet18", weights=Path("a.safetensors"))
    made = failed(config(name=f"ResNet18-seed{seed}", seed=seed, model=model, **changes))
    summary = SplitSummary(
        convention="halved",
        fingerprint=split,
        n_train=8,
        n_validation=1,
        n_test=1,
        test_fingerprint="test",
    )
    started = f"file: a.safetensors sha256:{weights}"
    known = {"data_fingerprint": data, "split": summary, "weights_used": started}
    return made.model_copy(update={"lensbench": made.lensbench.model_copy(update=known)})


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        ({"data": "corrected"}, False),
        ({"split": "other"}, False),
        ({"weights": "0" * 12}, False),
        ({"recipe": CONTRACT.model_copy(update={"epochs": 3})}, False),
        ({"recipe": CONTRACT.model_copy(update={"name": "mine"})}, True),
        ({"machine": MachineSpec(precision="32-true", accelerator="cpu")}, True),
    ],
)
def test_seeds_of_a_model_have_equal_settings_and_images(changes, counts):
    """Whichever of the two comes first."""
    one, other = seeded(42), seeded(43, **changes)
    assert differ_in_seed_alone(one, other) == differ_in_seed_alone(other, one) == counts


def test_a_run_is_no_other_seed_of_itself():
    assert not differ_in_seed_alone(seeded(42), seeded(42))
