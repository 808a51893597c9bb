"""Many runs: what is skipped, resumed, retried and kept."""

import json
import re
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from lensbench import api, cli, sweep
from lensbench.config import DataSpec, MachineSpec, SplitSpec
from lensbench.errors import ConfigError, DatasetError, RecordError, WeightsError
from lensbench.outcome import Predictions
from lensbench.runs.record import RunRecord
from lensbench.runs.store import RunStore
from lensbench.training import measure_all
from lensbench.training.module import Training

TINY = "timm/test_resnet"
OTHER = "timm/test_efficientnet"

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def go(make_dataset, tmp_path):
    """Run some tiny models with a tiny recipe; returns the outcomes by name and what was said."""
    data = make_dataset(partitions={"train": 12, "val": 8}, shape=(1, 32, 32))

    def run(models=(f"one={TINY}", f"two={OTHER}"), **changes):
        said: list[str] = []
        settings = {
            "recipe": "quick",
            "out": tmp_path / "runs",
            "pretrained": False,
            "epochs": 2,
            "batch_size": 8,
            "say": said.append,
        }
        spec = DataSpec(path=data, cache=tmp_path / "cache")
        try:
            result = api.run(spec, list(models), **(settings | changes))
        except api.Interrupted as interrupted:
            result = interrupted.result
        return {o.job.config.name: o.what for o in result.outcomes}, said, result

    run.data = data
    run.out = tmp_path / "runs"
    return run


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_a_sweep_leaves_exactly_these_files(go):
    fates, _, result = go()
    assert fates == {"one": "trained", "two": "trained"}
    each = [
        "record.json",
        "weights.safetensors",
        "predictions_test.npz",
        "predictions_validation.npz",
        "split/train.txt",
        "split/validation.txt",
        "split/test.txt",
    ]
    pictures = ["confusion_matrix", "roc_curve", "training_history"]
    expected = {f"{name}/{file}" for name in ("one", "two") for file in each}
    expected |= {f"{name}/{kind}_{name}.png" for name in ("one", "two") for kind in pictures}
    expected |= {
        f"comparison_plot_{kind}.png"
        for kind in ("test_auc", "test_accuracy", "training_time", "auc_vs_time")
    }
    expected |= {"comparison.csv", "comparison_intervals.csv", "comparison.md"}
    assert files(go.out) == expected
    assert result.comparison.n_test == 24


def test_the_record_agrees_with_the_predictions_and_tells_the_whole_story(go):
    go([f"one={TINY}"])
    record = RunRecord.read(go.out / "one/record.json")
    assert record.model_identifier == TINY
    assert len(record.train_losses) == len(record.val_losses) == len(record.val_aucs) == 2
    ours = record.lensbench
    assert ours.split.convention == "sealed"
    assert (ours.split.n_train, ours.split.n_validation, ours.split.n_test) == (33, 3, 24)
    assert ours.weights_used == "none (random, seed 42)"
    assert set(ours.environment.libraries) >= {"torch", "timm", "lightning", "lensbench"}
    test = Predictions.load(go.out / "one" / ours.files["test"])
    assert sorted(test.ids) == (go.out / "one/split/test.txt").read_text().split()
    assert all(name.startswith("val/") for name in test.ids)
    called = test.logits.argmax(axis=1)
    assert record.test_results.accuracy == pytest.approx(np.mean(called == test.labels))
    assert ours.estimates["accuracy"].value == record.test_results.accuracy
    assert ours.timing.fit_seconds == record.training_time_s


def test_the_weights_give_the_stored_predictions(go):
    from lensbench.zoo.build import load_classifier

    go([f"one={TINY}"])
    test = Predictions.load(go.out / "one/predictions_test.npz")
    images = np.stack([np.load(go.data / name) for name in test.ids]).astype(np.float32)
    classifier = load_classifier(go.out / "one/weights.safetensors").eval()
    with torch.inference_mode():
        logits = classifier(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(logits, test.logits, atol=1e-5)


def test_a_run_of_another_process_is_left_to_it_and_the_next_model_goes_on(go, capsys):
    with RunStore(go.out, "one").alone():
        fates, said, result = go()
    assert fates == {"one": "busy", "two": "trained"}
    assert "[1/2] one: another process is training it, left to that one" in said
    assert files(go.out / "one") == set()
    assert cli.show(result) == 0
    assert re.search("one.*busy", capsys.readouterr().out)
    fates, _, _ = go()
    assert fates == {"one": "trained", "two": "skipped"}


def test_a_run_that_another_process_has_just_finished_is_skipped(go, monkeypatch):
    """It was unfinished when it was looked at, and is finished once this process may have it."""
    go([f"one={TINY}"])
    finished = go.out.rename(go.out.with_name("finished"))
    alone = RunStore.alone

    @contextmanager
    def after_the_other(store):
        shutil.copytree(finished, go.out, dirs_exist_ok=True)
        with alone(store) as is_alone:
            yield is_alone

    monkeypatch.setattr(RunStore, "alone", after_the_other)
    monkeypatch.setattr(sweep, "run_one", lambda *_: pytest.fail("trained again"))
    fates, _, _ = go([f"one={TINY}"])
    assert fates == {"one": "skipped"}


def test_a_failure_beside_results_is_told_and_the_results_stay(go, monkeypatch):
    run_one = sweep.run_one

    def fails_when_all_is_done(*asked):
        run_one(*asked)
        raise RuntimeError("out of luck")

    monkeypatch.setattr(sweep, "run_one", fails_when_all_is_done)
    fates, said, _ = go([f"one={TINY}"])
    assert fates == {"one": "failed"}
    assert any("the failure itself could not be recorded" in line for line in said)
    assert RunRecord.read(go.out / "one/record.json").is_completed


def test_the_same_command_again_trains_nothing(go, monkeypatch):
    go()
    before = (go.out / "one/record.json").read_bytes()
    monkeypatch.setattr(sweep, "run_one", lambda *_: pytest.fail("trained again"))
    fates, said, _ = go()
    assert fates == {"one": "skipped", "two": "skipped"}
    assert "[1/2] one: finished before, skipped" in said
    assert (go.out / "one/record.json").read_bytes() == before


def test_other_settings_run_again_and_lose_nothing(go):
    go([f"one={TINY}"])
    before = (go.out / "one/record.json").read_bytes()
    fates, said, _ = go([f"one={TINY}"], epochs=1)
    assert fates == {"one": "trained"}
    assert any("other settings, images or weights to start from" in line for line in said)
    (aside,) = (go.out / "superseded").iterdir()
    assert (aside / "record.json").read_bytes() == before
    assert (aside / "split/test.txt").exists()
    assert len(RunRecord.read(go.out / "one/record.json").train_losses) == 1


def test_other_images_under_the_same_name_run_again(go):
    go([f"one={TINY}"])
    image = np.load(go.data / "train/no/1.npy")
    np.save(go.data / "train/no/1.npy", image**2)
    fates, said, _ = go([f"one={TINY}"])
    assert fates == {"one": "trained"}
    assert any("other settings, images or weights to start from" in line for line in said)


def test_weights_to_start_from_are_known_by_what_they_are_not_where(go, tmp_path, monkeypatch):
    go([f"one={TINY}"], out=tmp_path / "before")
    file = shutil.copy(tmp_path / "before/one/weights.safetensors", tmp_path / "start.safetensors")
    fates, _, _ = go([f"one={TINY}"], weights=file)
    assert fates == {"one": "trained"}
    first = RunRecord.read(go.out / "one/record.json").lensbench

    elsewhere = shutil.copy(file, tmp_path / "elsewhere.safetensors")
    monkeypatch.chdir(tmp_path)
    for place in (elsewhere, Path("start.safetensors")):
        fates, _, _ = go([f"one={TINY}"], weights=place)
        assert fates == {"one": "skipped"}

    file.unlink()
    with pytest.raises(WeightsError, match=r"start\.safetensors does not exist"):
        go([f"one={TINY}"], weights=file)
    assert not (go.out / "superseded").exists()

    shutil.copy(go.out / "one/weights.safetensors", file)
    fates, said, _ = go([f"one={TINY}"], weights=file)
    assert fates == {"one": "trained"}
    assert any("weights to start from was moved to" in line for line in said)
    assert RunRecord.read(go.out / "one/record.json").lensbench.weights_used != first.weights_used


def test_finished_runs_stay_when_their_images_are_gone(go):
    go([f"one={TINY}"])
    shutil.rmtree(go.data)
    fates, said, _ = go([f"one={TINY}"])
    assert fates == {"one": "skipped"}
    assert any("is gone" in line for line in said)


def test_a_failure_is_recorded_and_the_next_model_goes_on(go, monkeypatch):
    run_one = sweep.run_one

    def fails_for_one(config, *rest):
        if config.name == "one":
            raise RuntimeError("out of luck")
        return run_one(config, *rest)

    monkeypatch.setattr(sweep, "run_one", fails_for_one)
    fates, _, result = go()
    assert fates == {"one": "failed", "two": "trained"}
    record = RunRecord.read(go.out / "one/record.json")
    assert (record.status, record.error) == ("Failed", "RuntimeError: out of luck")
    assert "out of luck" in (go.out / "one/unfinished/traceback.txt").read_text()
    assert [record.model_desc for record, _ in result.comparison.unfinished] == ["one"]

    monkeypatch.setattr(sweep, "run_one", run_one)
    fates, _, _ = go()
    assert fates == {"one": "trained", "two": "skipped"}
    assert not (go.out / "one/unfinished").exists()


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(go, monkeypatch, tmp_path):
    monkeypatch.setattr("lensbench.training.checkpoints.SECONDS_BETWEEN_EPOCHS", 0)
    _, _, whole = go(out=tmp_path / "whole")
    step = Training.training_step

    def interrupted(self, batch, index):
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(Training, "training_step", interrupted)
    fates, said, result = go()
    assert fates == {"one": "interrupted", "two": "not started"}
    assert any("goes on from the last checkpoint" in line for line in said)
    assert result.files is None
    assert not (go.out / "one/record.json").exists()

    monkeypatch.setattr(Training, "training_step", step)
    fates, _, _ = go()
    assert fates == {"one": "resumed", "two": "trained"}
    for name in ("one", "two"):
        mine, theirs = (
            Predictions.load(root / name / "predictions_test.npz")
            for root in (go.out, tmp_path / "whole")
        )
        np.testing.assert_array_equal(mine.logits, theirs.logits)
    assert whole.comparison.n_test == 24


def test_a_damaged_record_is_set_aside_and_made_again(go):
    go([f"one={TINY}"])
    (go.out / "one/record.json").write_text("{")
    fates, _, _ = go([f"one={TINY}"])
    assert fates == {"one": "trained"}
    assert (next((go.out / "superseded").iterdir()) / "record.json").read_text() == "{"


def test_a_record_of_a_later_version_stops_the_sweep_and_stays(go):
    go([f"one={TINY}"])
    path = go.out / "one/record.json"
    later = path.read_text().replace('"schema_version": 1', '"schema_version": 99')
    path.write_text(later)
    with pytest.raises(RecordError, match="written by a later version of lensbench"):
        go()
    assert path.read_text() == later
    assert not (go.out / "superseded").exists()
    assert not (go.out / "two").exists()


def test_a_later_run_joins_the_comparison(go):
    go([f"one={TINY}"])
    _, _, result = go([f"two={OTHER}"])
    assert {entry.name for entry in result.comparison.entries} == {"one", "two"}
    assert (go.out / "comparison.csv").read_text().count("Completed") == 2


def test_runs_on_other_test_images_are_kept_apart_and_that_is_said(go):
    go([f"one={TINY}"])
    halved = SplitSpec(convention="halved")
    _, said, result = go([f"two={OTHER}"], split=halved)
    assert [entry.name for entry in result.comparison.entries] == ["two"]
    assert any("not compared with the other runs" in line for line in said)
    assert result.files is None
    table = (go.out / "comparison.csv").read_text()
    assert "one" in table
    assert "two" not in table


def test_unsound_data_stop_the_sweep_before_anything_is_trained(go):
    (go.data / "train/no/1.npy").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"train/no/1\.npy"):
        go()
    assert not go.out.exists()


def test_missing_weights_stop_the_sweep_before_anything_is_read(go, monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("lensbench.zoo.fetching.fetch_from_hub", offline)
    monkeypatch.setattr("socket.create_connection", offline)
    monkeypatch.setattr("socket.getaddrinfo", offline)
    monkeypatch.setattr(sweep, "prepare", lambda *_: pytest.fail("read the data"))
    with pytest.raises(WeightsError, match=r"--no-pretrained") as caught:
        go(["ResNet18", "EfficientNet-B0"], pretrained=True)
    assert "torchvision/resnet18" in str(caught.value)
    assert "timm/efficientnet_b0" in str(caught.value)
    assert "--weights" in str(caught.value)


def test_a_wrong_setting_is_named_before_anything_starts(go):
    with pytest.raises(ConfigError, match="epochs"):
        go(epochs=0)
    with pytest.raises(ConfigError, match="epoch_number"):
        go(epoch_number=3)
    with pytest.raises(ConfigError, match="no recipe 'slow'; there are contract, quick"):
        go(recipe="slow")
    with pytest.raises(ConfigError, match="2 models would be called 'ResNet18'"):
        go(["resnet18", "ResNet18"])
    with pytest.raises(ConfigError, match="file names"):
        go([f"a/b={TINY}"])
    with pytest.raises(ConfigError, match="to name a run, name its model: mine=model"):
        go([TINY], name="mine")
    with pytest.raises(ConfigError, match=r"\('a',\) is no model: give its name, or \(name, model"):
        go([("a",)])
    with pytest.raises(ConfigError, match="pretrained: Input should be a valid boolean"):
        go([TINY], pretrained="maybe")


def test_no_models_is_an_error(go):
    with pytest.raises(ConfigError, match="no models"):
        go([])


def test_a_row_of_ones_own_keeps_its_batch_size(go):
    go([("one", TINY, 6), ("two", OTHER)], batch_size=None)
    sizes = [
        RunRecord.read(go.out / name / "record.json").config.batch_size for name in ("one", "two")
    ]
    assert sizes == [6, 32]


def test_a_plot_that_fails_does_not_undo_a_run(go, monkeypatch):
    monkeypatch.setattr(sweep, "plot_run", lambda *_: 1 / 0)
    fates, said, _ = go([f"one={TINY}"])
    assert fates == {"one": "trained"}
    assert RunRecord.read(go.out / "one/record.json").is_completed
    assert any("plots could not be drawn" in line for line in said)


def test_who_stops_a_sweep_stops_the_script_that_made_it(go, monkeypatch, capsys):
    """With the exit status of an interrupted process, the table so far, and a checkpoint."""
    step = Training.training_step

    def terminated(self, batch, index):
        signal.raise_signal(signal.SIGTERM)
        return step(self, batch, index)

    monkeypatch.setattr(Training, "training_step", terminated)
    # Steps that are only measured would be the first ones.
    machine = MachineSpec(precision="32-true", memory_format="contiguous", compile="no")
    settings = {"recipe": "quick", "out": go.out, "pretrained": False, "machine": machine}
    spec = DataSpec(path=go.data, cache=go.out.parent / "cache")
    models = [f"one={TINY}", f"two={OTHER}"]
    with pytest.raises(SystemExit) as ended:
        cli.finish(lambda: cli.show(api.run(spec, models, **settings)))
    assert ended.value.code == 130
    shown = capsys.readouterr().out
    assert re.search("one.*interrupted", shown)
    assert re.search("two.*not started", shown)
    assert (go.out / "one/unfinished/last.ckpt").exists()
    assert issubclass(api.Interrupted, KeyboardInterrupt)


def test_what_was_finished_is_compared_though_older_runs_do_not_fit(go, monkeypatch):
    go([f"one={TINY}"], seeds=3, epochs=1)
    step = Training.training_step

    def interrupted(self, batch, index):
        if self._seed == 43:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(Training, "training_step", interrupted)
    fates, said, result = go([f"one={TINY}"], seeds=3, epochs=2)
    assert fates == {"one": "trained", "one-seed43": "interrupted", "one-seed44": "not started"}
    assert any("they differ in other settings" in line for line in said)
    assert [len(entry.runs) for entry in result.comparison.entries] == [1]


def test_an_interrupted_run_does_not_go_on_with_other_images(go, monkeypatch):
    step = Training.training_step

    def interrupted(self, batch, index):
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(Training, "training_step", interrupted)
    go([f"one={TINY}"])
    monkeypatch.setattr(Training, "training_step", step)
    np.save(go.data / "train/no/1.npy", np.load(go.data / "train/no/1.npy") ** 2)
    fates, said, _ = go([f"one={TINY}"])
    assert fates == {"one": "trained"}
    assert any("was moved to" in line for line in said)


def test_all_models_of_a_sweep_are_of_the_images_that_it_began_with(go, monkeypatch):
    run_one = sweep.run_one

    def loses_an_image(*asked):
        record = run_one(*asked)
        (go.data / "val/no/1.npy").unlink(missing_ok=True)
        return record

    monkeypatch.setattr(sweep, "run_one", loses_an_image)
    fates, _, result = go()
    assert fates == {"one": "trained", "two": "trained"}
    assert {entry.name for entry in result.comparison.entries} == {"one", "two"}
    fates, said, _ = go()
    assert fates == {"one": "trained", "two": "trained"}
    assert sum("was moved to" in line for line in said) == 2


def test_runs_are_not_put_among_the_images(go, monkeypatch):
    with pytest.raises(ConfigError, match="lies inside the data"):
        go(out=go.data / "runs")
    monkeypatch.chdir(go.data)
    with pytest.raises(ConfigError, match="lies inside the data"):
        go(out=Path())
    assert not (go.data / "runs").exists()


def test_a_finished_run_joins_the_seeds_that_it_is_asked_for_with(go):
    first = [f"one-seed43={TINY}"]
    go(first, seed=43)
    fates, said, result = go([f"one={TINY}"], seeds=2)
    assert fates == {"one": "trained", "one-seed43": "skipped"}
    assert any("from now on it is a run of one" in line for line in said)
    assert {entry.name: len(entry.runs) for entry in result.comparison.entries} == {"one": 2}
    _, said, result = go(first, seed=43)  # asks for no group
    assert not any("from now on" in line for line in said)
    assert {entry.name: len(entry.runs) for entry in result.comparison.entries} == {"one": 2}


def test_a_finished_run_whose_predictions_are_gone_says_how_to_get_them(go):
    go([f"one={TINY}"])
    (go.out / "one/predictions_test.npz").unlink()
    fates, _, result = go([f"one={TINY}"])
    assert fates == {"one": "skipped"}
    (problem,) = result.comparison.problems
    assert "predictions_test.npz is gone: to make it anew, move" in problem


def test_the_same_data_elsewhere_are_the_same_run(go, tmp_path, monkeypatch):
    go([f"one={TINY}"])
    shutil.copytree(go.data, tmp_path / "copy")
    monkeypatch.setattr(sweep, "run_one", lambda *_: pytest.fail("trained again"))
    result = api.run(
        DataSpec(path=tmp_path / "copy", cache=tmp_path / "cache"),
        [f"one={TINY}"],
        recipe="quick",
        out=go.out,
        pretrained=False,
        epochs=2,
        batch_size=8,
        say=lambda _: None,
    )
    assert result.outcomes[0].what == "skipped"


def test_the_records_of_a_sweep_are_plain_json(go):
    go([f"one={TINY}"])
    record = json.loads((go.out / "one/record.json").read_text())
    assert record["lensbench"]["schema_version"] == 1
    assert record["lensbench"]["run"]["recipe"]["epochs"] == 2


def test_seeds_are_runs_of_their_own_and_one_line_of_the_ranking(go):
    fates, _, _ = go([f"one={TINY}"])
    fates, _, result = go([f"one={TINY}", f"two={OTHER}"], seeds=2)
    assert fates == {
        "one": "skipped",
        "two": "trained",
        "one-seed43": "trained",
        "two-seed43": "trained",
    }
    assert {entry.name: len(entry.runs) for entry in result.comparison.entries} == {
        "one": 2,
        "two": 2,
    }
    one = next(entry for entry in result.comparison.entries if entry.name == "one")
    aucs = [run.record.test_results.auc_ovr_macro for run in one.runs]
    assert one.auc.value == pytest.approx(np.mean(aucs))
    assert one.training_deviation is not None
    page = (go.out / "comparison.md").read_text()
    assert "Error from training" in page
    assert "seeds 42, 43" in page
    with pytest.raises(ConfigError, match="one seed or more"):
        go(seeds=0)
    with pytest.raises(ConfigError, match="2 models would be called 'one-seed43'"):
        go([f"one={TINY}", f"one-seed43={OTHER}"], seeds=2)


def test_seeds_on_other_training_images_are_not_averaged(go):
    go([f"one={TINY}"], seeds=2)
    np.save(go.data / "train/no/1.npy", np.load(go.data / "train/no/1.npy") ** 2)
    fates, said, result = go([f"one={TINY}"])
    assert fates == {"one": "trained"}
    assert [len(entry.runs) for entry in result.comparison.entries] == [1]
    assert any("not compared with the other runs" in line for line in said)


@pytest.mark.slow
def test_costs_are_measured_for_all_models_and_found_by_the_report(go, tmp_path, monkeypatch):
    # A process of its own would first have to load all libraries.
    monkeypatch.setattr(measure_all, "_in_fresh_process", lambda work, *given: work(*given))
    go([f"one={TINY}"], seeds=2)
    costs = api.time(go.out, n_repeats=1, n_rounds=1, say=lambda _: None)
    assert set(costs.runs) == {"one"}
    record = RunRecord.read(go.out / "one/record.json")
    assert costs.runs["one"].n_parameters == record.lensbench.cost.n_parameters
    assert costs.runs["one"].multiply_adds == record.lensbench.cost.multiply_adds
    api.report([go.out], tmp_path / "report")
    figures = {path.name for path in (tmp_path / "report/figures").iterdir()}
    assert {
        f"comparison_plot_auc_vs_{kind}.svg"
        for kind in ("multiply-adds", "parameters", "training_images_per_s")
    } <= figures
    assert r"Multiply-adds (G) \\" in (tmp_path / "report/table.tex").read_text()
    assert "lensbench train --data" in (tmp_path / "report/report.html").read_text()


def test_views_of_test_images_are_averaged_and_the_image_alone_is_kept_beside(go):
    """The mean is over eight probabilities; the weight file gives the same."""
    from lensbench.zoo.build import load_classifier

    go([f"one={TINY}"], test_time_augmentation="d4")
    record = RunRecord.read(go.out / "one/record.json")
    parts = {"weights", "validation", "test", "validation_single_view", "test_single_view"}
    assert set(record.lensbench.files) == parts
    test, single = (
        Predictions.load(go.out / "one" / record.lensbench.files[part])
        for part in ("test", "test_single_view")
    )
    assert list(test.ids) == list(single.ids)
    images = np.stack([np.load(go.data / name) for name in test.ids]).astype(np.float32)
    classifier = load_classifier(go.out / "one/weights.safetensors").eval()
    with torch.inference_mode():
        logits = [
            classifier(torch.from_numpy(np.rot90(one, turns, (-2, -1)).copy()))
            for one in (images, images[..., ::-1])
            for turns in range(4)
        ]
    mean = torch.stack(logits).double().softmax(dim=-1).mean(dim=0).numpy()
    np.testing.assert_allclose(np.exp(test.logits), mean, atol=1e-6)
    np.testing.assert_allclose(single.logits, logits[0], atol=1e-5)
    assert record.test_results.accuracy == np.mean(test.logits.argmax(axis=1) == test.labels)


def test_views_that_would_harm_are_refused_and_it_is_said(go):
    _, said, _ = go([f"one={TINY}"], test_time_augmentation="d4", symmetry="flips")
    (line,) = [line for line in said if "test-time augmentation is left out" in line]
    assert line.startswith("[1/1] one: ")
    record = RunRecord.read(go.out / "one/record.json").lensbench
    assert any("test-time augmentation is left out" in warning for warning in record.warnings)
    assert set(record.files) == {"weights", "validation", "test"}


def test_a_run_that_stopped_early_says_so(go, monkeypatch):
    monkeypatch.setattr(
        "lensbench.training.module.one_vs_rest", lambda *_: type("Areas", (), {"macro": 0.5})
    )
    _, said, _ = go([f"one={TINY}"], patience=1, epochs=5)
    assert any("one: training was stopped after 2 of 5 epochs" in line for line in said)
    record = RunRecord.read(go.out / "one/record.json")
    assert len(record.val_aucs) == 2
    assert any("stopped after 2 of 5 epochs" in line for line in record.lensbench.warnings)


def test_the_record_says_how_training_was_computed(go):
    go([f"one={TINY}"], machine=MachineSpec(accelerator="cpu", memory_format="channels-last"))
    environment = RunRecord.read(go.out / "one/record.json").lensbench.environment
    assert environment.arithmetic == "32-true, channels-last"


def test_families_have_settings_of_their_own_and_a_user_the_last_word(go, monkeypatch):
    def plans(**changes) -> dict:
        jobs = []
        monkeypatch.setattr("lensbench.sweep.sweep", lambda asked, _: jobs.extend(asked) or [])
        go([f"resnet={TINY}", "vit=timm/vit_tiny_patch16_224"], recipe="lensbench", **changes)
        return {job.config.name: job.config.recipe for job in jobs}

    plain, mine = plans(), plans(warm_up=0.02)
    assert plain["vit"].learning_rate < plain["resnet"].learning_rate
    assert plain["vit"].warm_up > plain["resnet"].warm_up > 0.02
    assert mine["vit"].warm_up == 0.02
    assert mine["vit"].learning_rate == plain["vit"].learning_rate
    # These start from random weights.
    assert plain["vit"].layer_decay == 1
