"""Ensembles of finished runs: what is chosen, what is left, what is refused."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import lensbench
from lensbench import cli
from lensbench.config import JudgeSpec
from lensbench.errors import ComparisonError, ConfigError, RecordError
from lensbench.evaluation.calibration import fit_temperature, with_temperature
from lensbench.outcome import Predictions
from lensbench.runs.record import RunRecord
from lensbench.runs.store import RunStore, load_predictions
from reporting.page_runs import store_run

FEW = JudgeSpec(n_resamples=100)
NEWS = {"predictions_test.npz", "predictions_validation.npz", "record.json"}


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    for seed, (name, separation) in enumerate((("good", 1.6), ("other", 1.5), ("poor", 0.5))):
        store_run(root, name, separation, seed=seed + 1)
    return root


@pytest.fixture
def runs(made_once: Path, tmp_path: Path) -> Path:
    """Three runs, the last one much worse than the others."""
    return shutil.copytree(made_once, tmp_path / "runs")


def status(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def files_of(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_an_ensemble_is_ranked_with_its_members_like_any_run(runs):
    before = files_of(runs)
    made = lensbench.ensemble([runs], select="all", judge=FEW)
    assert made.record == runs / "Ensemble" / "record.json"
    assert {path.name for path in made.record.parent.iterdir()} == NEWS
    assert before.items() <= files_of(runs).items()
    comparison, _ = lensbench.compare([runs], judge=FEW)
    assert {entry.name for entry in comparison.entries} == {"good", "other", "poor", "Ensemble"}
    assert comparison.problems == ()
    assert [(e.name, e.auc, e.letters) for e in comparison.entries] == [
        (e.name, e.auc, e.letters) for e in made.comparison.entries
    ]
    assert comparison.pairs == made.comparison.pairs


def test_the_record_says_what_it_consists_of(runs):
    made = lensbench.ensemble([runs], judge=FEW)
    record = RunRecord.read(made.record)
    assert record.ensemble == made.summary
    assert not record.is_foreign
    assert [one.name for one in made.summary.candidates] == ["good", "other", "poor"]
    for part in ("test", "validation"):
        mean = load_predictions(record, made.record, part)
        assert mean is not None
        expected = 0
        for one in made.summary.members:
            path = runs / one.name / f"predictions_{part}.npz"
            member = Predictions.load(path)
            expected = (
                expected + one.weight * with_temperature(member, one.temperature).probabilities
            )
        np.testing.assert_allclose(mean.probabilities, expected, rtol=1e-12)
    for one in made.summary.candidates:
        validation = Predictions.load(runs / one.name / "predictions_validation.npz")
        assert one.temperature == fit_temperature(validation)
    member = RunRecord.read(runs / "good" / "record.json")
    assert record.lensbench is not None
    assert member.lensbench is not None
    assert record.lensbench.split == member.lensbench.split
    assert record.lensbench.data_fingerprint == member.lensbench.data_fingerprint


def test_the_test_images_choose_nothing(runs):
    """Whatever the test predictions are, members and weights are the same."""
    first = lensbench.ensemble([runs], judge=FEW)
    swapped = runs / "poor" / "predictions_test.npz", runs / "good" / "predictions_test.npz"
    poor, good = (Predictions.load(path) for path in swapped)
    good.save(swapped[0])
    poor.save(swapped[1])
    assert lensbench.ensemble([runs], judge=FEW).summary == first.summary


def test_a_run_without_a_mistake_is_taken_as_it_is(runs):
    path = RunStore(runs, "good").predictions("validation")
    kept = Predictions.load(path)
    right = 8 * np.eye(3)[kept.labels]
    Predictions(kept.ids, kept.labels, right, kept.classes).save(path)
    made = lensbench.ensemble([runs], select="all", judge=FEW)
    assert {one.name: one.is_calibrated for one in made.summary.candidates} == {
        "good": False,
        "other": True,
        "poor": True,
    }
    assert next(one for one in made.summary.members if one.name == "good").temperature == 1
    assert "good calls all of them right" in made.summary.text
    assert RunRecord.read(made.record).ensemble == made.summary


def test_folders_of_runs_and_one_name_stand_for_themselves(runs):
    folders = [runs / "good", runs / "poor"]
    made = lensbench.ensemble(folders, select="all", judge=FEW)
    assert made.record == runs.resolve() / "Ensemble" / "record.json"
    comparison, _ = lensbench.compare(folders, judge=FEW)
    assert [entry.name for entry in comparison.entries] == ["good", "poor"]
    with pytest.raises(RecordError, match="two runs or more"):
        lensbench.ensemble([runs], name="mean", members="good", judge=FEW)
    with pytest.raises(ConfigError, match="select is 'Greedy'; there are all, greedy"):
        lensbench.ensemble([runs], name="mean", select="Greedy", judge=FEW)
    with pytest.raises(ConfigError, match="where older runs move to"):
        lensbench.ensemble([runs], name="superseded", judge=FEW)


def test_members_can_be_named_and_the_rest_is_not_asked_for(runs):
    store_run(runs, "bare", 1.0, with_validation=False)
    made = lensbench.ensemble([runs], members=["poor", "good"], select="all", judge=FEW)
    assert [(one.name, one.weight) for one in made.summary.members] == [
        ("good", 0.5),
        ("poor", 0.5),
    ]
    assert made.summary.left_out == ()
    record = RunRecord.read(made.record)
    assert record.model_identifier == "ensemble of 2 runs"
    assert {entry.name for entry in made.comparison.entries} == {"good", "poor", "Ensemble"}


def test_what_can_be_no_member_is_left_out_with_its_reason(runs):
    store_run(runs, "bare", 1.0, with_validation=False)
    clueless = RunStore(runs, "clueless").predictions("validation")
    store_run(runs, "clueless", 1.0, seed=7)
    kept = Predictions.load(clueless)
    Predictions(kept.ids, kept.labels, -kept.logits, kept.classes).save(clueless)
    (runs / "damaged").mkdir()
    (runs / "damaged" / "record.json").write_text("{")
    failed = json.loads((runs / "good" / "record.json").read_text())
    failed |= {"model_desc": "failed", "status": "Failed"}
    (runs / "failed").mkdir()
    (runs / "failed" / "record.json").write_text(json.dumps(failed))
    lensbench.evaluate([f"judged={runs / 'good' / 'predictions_test.npz'}"], runs, judge=FEW)
    lensbench.ensemble([runs], name="older", judge=FEW)
    made = lensbench.ensemble([runs], judge=FEW)
    assert [one.name for one in made.summary.candidates] == ["good", "other", "poor"]
    reasons = dict(line.removeprefix(f"{runs}/").split("/", 1) for line in made.summary.left_out)
    for name, reason in {
        "bare": "no predictions for validation and test",
        "clueless": "cannot be calibrated: .* has learnt nothing",
        "damaged": "not a result record",
        "failed": r"not a finished run \(Failed\)",
        "judged": "no predictions for validation and test",
        "older": "an ensemble, which is no member of another",
    }.items():
        assert re.search(reason, reasons.pop(name))
        error = ConfigError if name == "damaged" else RecordError
        with pytest.raises(error, match=f"{name}/record.json: {reason}"):
            lensbench.ensemble([runs], name="mean", members=["good", name], judge=FEW)
    assert reasons == {}
    assert not (runs / "mean").exists()


def test_seeds_are_members_each(runs):
    store_run(runs, "good-seed2", 1.6, seed=20, group="good")
    made = lensbench.ensemble([runs], select="all", judge=FEW)
    assert [one.name for one in made.summary.candidates] == ["good", "good-seed2", "other", "poor"]
    (good,) = [entry for entry in made.comparison.entries if entry.name == "good"]
    assert [run.name for run in good.runs] == ["good", "good-seed2"]
    comparison, _ = lensbench.compare([runs], judge=FEW)
    assert comparison.pairs == made.comparison.pairs


def test_runs_of_several_folders_and_an_ensemble_elsewhere(runs, tmp_path):
    more = tmp_path / "more"
    store_run(more, "fourth", 1.2, seed=30)
    made = lensbench.ensemble([runs, more / "fourth" / "record.json"], tmp_path / "mean", judge=FEW)
    assert len(made.summary.candidates) == 4
    assert made.record == tmp_path / "mean" / "Ensemble" / "record.json"
    comparison, _ = lensbench.compare([runs, more, tmp_path / "mean"], judge=FEW)
    assert len(comparison.entries) == 5
    with pytest.raises(ConfigError, match="is no folder: say where the ensemble goes"):
        lensbench.ensemble([more / "fourth" / "record.json", runs], judge=FEW)


@pytest.mark.parametrize("name", ["good", "judged", "busy", "mine"])
def test_nothing_but_an_ensemble_is_ever_replaced(runs, name):
    lensbench.evaluate([f"judged={runs / 'good' / 'predictions_test.npz'}"], runs, judge=FEW)
    (runs / "busy" / "unfinished").mkdir(parents=True)
    (runs / "mine").mkdir()
    (runs / "mine" / "notes.txt").write_text("kept")
    before = files_of(runs)
    with pytest.raises(RecordError, match=f"{name} holds no ensemble: choose another name"):
        lensbench.ensemble([runs], name=name, judge=FEW)
    assert files_of(runs) == before


def test_predictions_of_other_programs_never_replace_an_ensemble(runs):
    lensbench.ensemble([runs], judge=FEW)
    before = files_of(runs)
    with pytest.raises(RecordError, match="holds a run: choose another name"):
        lensbench.evaluate([f"Ensemble={runs / 'good' / 'predictions_test.npz'}"], runs, judge=FEW)
    assert files_of(runs) == before


def test_an_older_ensemble_moves_aside_whole_with_its_figures(runs):
    first = lensbench.ensemble([runs], judge=FEW)
    lensbench.plots(runs)
    old = {path.name: data for path, data in files_of(first.record.parent).items()}
    assert len(old) > len(NEWS)
    lensbench.ensemble([runs], select="all", judge=FEW)
    assert {path.name for path in first.record.parent.iterdir()} == NEWS
    (aside,) = (runs / "superseded").iterdir()
    assert {path.name: data for path, data in files_of(aside).items()} == old
    assert not list(runs.glob("unfinished-*"))
    comparison, _ = lensbench.compare([runs], judge=FEW)
    assert len(comparison.entries) == 4


@pytest.mark.parametrize("there_is_an_older_one", [True, False])
@pytest.mark.parametrize("interrupted_at", range(1, 6))
def test_an_interrupted_ensemble_leaves_no_half_of_one(
    runs, monkeypatch, there_is_an_older_one, interrupted_at
):
    if there_is_an_older_one:
        lensbench.ensemble([runs], judge=FEW)
    before = files_of(runs)
    n_moves, replace = 0, Path.replace

    def fails_once(path: Path, target: Path) -> Path:
        nonlocal n_moves
        n_moves += 1
        if n_moves == interrupted_at:
            raise OSError("disk full")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fails_once)
    # Two predictions, the record, the older folder if there is one, the new folder.
    if interrupted_at > 4 + there_is_an_older_one:
        lensbench.ensemble([runs], select="all", judge=FEW)
        return
    with pytest.raises(OSError, match="disk full"):
        lensbench.ensemble([runs], select="all", judge=FEW)
    assert files_of(runs) == before


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"members": ["good"]}, RecordError, "needs two runs or more .*, not 1"),
        ({"members": ["good", "god"]}, ConfigError, "'god'; there are good, other, poor"),
        ({"members": ["good", "good"]}, ConfigError, "'good' is named as a member 2 times"),
        ({"name": "a/b"}, ConfigError, "becomes part of file names"),
        ({"metric": "auk"}, ConfigError, "no metric is called 'auk'"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(runs, settings, error, message):
    before = files_of(runs)
    with pytest.raises(error, match=message):
        lensbench.ensemble([runs], judge=FEW, **settings)
    assert files_of(runs) == before


def test_a_name_that_a_run_elsewhere_has_is_refused(runs, tmp_path):
    with pytest.raises(ConfigError, match="is called 'good' too: name the ensemble otherwise"):
        lensbench.ensemble([runs], tmp_path / "out", name="good", judge=FEW)
    shutil.copytree(runs / "good", tmp_path / "more" / "good")
    with pytest.raises(ComparisonError, match="2 runs are called 'good'"):
        lensbench.ensemble([runs, tmp_path / "more"], tmp_path / "out", judge=FEW)
    assert not (tmp_path / "out").exists()


def test_members_of_other_images_are_refused(runs):
    store_run(runs, "fewer", 1.0, n=90)
    with pytest.raises(ComparisonError, match=r"fewer and good .* validation images are the same"):
        lensbench.ensemble([runs], judge=FEW)
    shutil.rmtree(runs / "fewer")
    store_run(runs, "repainted", 1.0, test_fingerprint="1" * 16)
    with pytest.raises(ComparisonError, match="same names but not the same contents"):
        lensbench.ensemble([runs], judge=FEW)
    assert not (runs / "Ensemble").exists()


def test_an_ensemble_knows_the_contents_of_its_test_images(runs, tmp_path):
    made = lensbench.ensemble([runs], tmp_path / "mean", judge=FEW)
    store_run(tmp_path / "more", "repainted", 1.0, test_fingerprint="1" * 16)
    with pytest.raises(ComparisonError, match="same names but not the same contents"):
        lensbench.compare([made.record, tmp_path / "more"], judge=FEW)


def test_records_from_before_ensembles_are_read(runs):
    path = runs / "good" / "record.json"
    fields = json.loads(path.read_text())
    del fields["lensbench"]["ensemble"]
    path.write_text(json.dumps(fields))
    record = RunRecord.read(path)
    assert record.ensemble is None
    assert record.lensbench is not None
    assert record.lensbench.run is not None


def test_an_ensemble_is_no_finished_run_of_its_name(runs):
    lensbench.ensemble([runs], judge=FEW)
    ours = RunRecord.read(runs / "good" / "record.json").lensbench
    assert ours is not None
    assert ours.run is not None
    config = ours.run.model_copy(update={"name": "Ensemble"})
    assert RunStore(runs, "Ensemble").state(config) == "changed"


def test_the_command_says_what_was_chosen_and_how_it_compares(runs, capsys):
    store_run(runs, "bare", 1.0, with_validation=False)
    few = ("--judge.n-resamples", 100)
    assert status("ensemble", runs, "--members", "good", "other", "--select", "all", *few) == 0
    out = capsys.readouterr().out
    assert re.search(r"good +│ +0\.500 │ +1\.\d{3} │ +0\.\d{4}", out)
    assert "Ensemble: mean of the calibrated probabilities of 0.5 good, 0.5 other" in out
    assert re.search("best|better than every other", out)
    assert f"record: {runs / 'Ensemble' / 'record.json'}" in out
    assert f"`lensbench compare {runs} --out {runs}` brings the tables there up to date" in out
    assert status("ensemble", runs, "--name", "Chosen", *few) == 0
    out = capsys.readouterr().out
    assert "left out: " + str(runs / "bare" / "record.json") in out
    assert re.search(r"among 3 runs in \d+ greedy rounds", out)
    assert status("ensemble", runs, "--members", "good", "bare", *few) == 2
    assert "bare/record.json: no predictions for validation" in capsys.readouterr().err
    assert status("compare", runs, *few) == 0
    assert "Chosen" in capsys.readouterr().out


def test_reports_say_what_an_ensemble_consists_of(runs, tmp_path):
    made = lensbench.ensemble([runs], select="all", judge=FEW)
    _, report = lensbench.compare([runs], tmp_path / "tables", judge=FEW)
    assert report is not None
    text = report.markdown.read_text()
    assert "- Ensemble: mean of the calibrated probabilities of 0.333 good, 0.333 other" in text
    assert "trained elsewhere" not in text
    assert "not be compared" not in text  # all that was trained, was so on one machine
    assert "Published records" not in text
    _, full = lensbench.report([runs], tmp_path / "report", judge=FEW, figures=False)
    page = full.page.read_text()
    assert page.count(f"An ensemble: {made.summary.text}.") == 1
    assert "All were trained on A processor (16 cores)" in page
    assert "no temperature scaling" not in page
    assert "no validation predictions" not in page
    assert "trained elsewhere" not in page
    assert "The record does not tell the command" not in page
    _, alone = lensbench.report([made.record], tmp_path / "alone", judge=FEW, figures=False)
    assert "trained on" not in re.sub("<script.*?</script>", "", alone.page.read_text(), flags=re.S)


def test_speeds_of_an_ensemble_are_not_measured(runs):
    made = lensbench.ensemble([runs], judge=FEW)
    for name in ("good", "other", "poor"):
        shutil.rmtree(runs / name)
    said: list[str] = []
    with pytest.raises(RecordError, match="no model could be measured"):
        lensbench.time(made.record.parents[1], say=said.append)
    assert said == ["Ensemble: nothing to measure, it costs what its members cost together"]
