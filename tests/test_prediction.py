"""A trained classifier on other images."""

import csv
import json
import os
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest

import lensbench
from lensbench import cli, prediction
from lensbench.config import DataSpec, MachineSpec
from lensbench.data.sources.open import open_source
from lensbench.errors import ConfigError, DatasetError, RecordError, WeightsError
from lensbench.evaluation.ensemble import mean_prediction
from lensbench.outcome import Predictions
from lensbench.prediction import classify, load_members

AS_USUAL = {"test_time_augmentation": "auto", "batch_size": 64}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs on images of 32 pixels, and their ensemble; `tiny` was tested from eight sides."""
    root = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    for partition, n_images in {"train": 60, "val": 8}.items():
        for power, name in enumerate(("no", "sphere", "vort"), start=1):
            (root / "data" / partition / name).mkdir(parents=True)
            for i in range(n_images):
                # Classes overlap, so that something can be learnt, and not all of it.
                image = rng.random((1, 32, 32)) ** max(0.2, rng.normal(power, 0.5))
                np.save(root / f"data/{partition}/{name}/{i}.npy", image)
    for name, changes in {
        "tiny": {"test_time_augmentation": "d4"},
        "unturned": {"symmetry": "flips"},
    }.items():
        lensbench.run(
            DataSpec(path=root / "data", cache=root / "cache"),
            f"{name}=timm/test_resnet",
            recipe="quick",
            epochs=4,
            pretrained=False,
            out=root / "runs",
            say=lambda _: None,
            **changes,
        )
    lensbench.ensemble([root / "runs"], root / "elsewhere", select="all")
    return root


def read(path) -> dict[str, list[float]]:
    with path.open(newline="") as file:
        first, *rows = csv.reader(file)
    assert first == ["id", "no", "sphere", "vort"]
    assert [name for name, *_ in rows] == sorted(name for name, *_ in rows)
    return {name: [float(one) for one in row] for name, *row in rows}


@pytest.mark.parametrize(
    ("views", "kept"),
    [
        ("none", "predictions_test_single_view"),
        ("d4", "predictions_test"),
        ("auto", "predictions_test"),
    ],
)
def test_it_says_of_the_test_images_what_the_run_said(trained, tmp_path, views, kept):
    found = lensbench.predict(
        trained / "runs/tiny/weights.safetensors",
        trained / "data",
        tmp_path / "new" / "out.csv",
        test_time_augmentation=views,
        batch_size=7,
    )
    rows = read(tmp_path / "new" / "out.csv")
    assert len(rows) == 204
    assert not found.faults
    assert not found.notes
    expected = Predictions.load(trained / "runs/tiny" / f"{kept}.npz")
    for name, probabilities in zip(expected.ids.tolist(), expected.probabilities, strict=True):
        np.testing.assert_allclose(rows[name], probabilities, atol=1e-6)


def test_a_notebook_gets_probabilities_and_no_file(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = trained / "data/val"
    found = lensbench.predict(trained / "runs/tiny", images)
    assert list(tmp_path.iterdir()) == []
    lensbench.predict(trained / "runs/tiny", images, "out.csv")
    rows = read(tmp_path / "out.csv")
    assert rows.keys() == found.probabilities.keys()
    for name, row in rows.items():
        np.testing.assert_allclose(row, found.probabilities[name], atol=1e-12)


@pytest.mark.parametrize("run", ["runs/tiny", "elsewhere/Ensemble"])
def test_labelled_images_are_another_test(trained, tmp_path, capsys, run):
    """On the images of the test it says what the test said."""
    out = tmp_path / "predicted.csv"
    given = (trained / run, trained / "data/val", "--labelled", "--out", out)
    with pytest.raises(SystemExit, match="0"):
        cli.main(["predict", *map(str, given)])
    assert "24 images classified" in capsys.readouterr().out
    (entry,) = lensbench.evaluate(f"again={out}").entries
    (first,) = lensbench.compare(trained / run)[0].entries
    assert entry.auc == first.auc
    assert entry.accuracy == first.accuracy


def test_labels_that_the_classifier_does_not_know_are_refused(trained, tmp_path, make_dataset):
    classes = ("no", "strange", "vort")
    data = make_dataset(partitions={"val": 2}, classes=classes, shape=(1, 32, 32))
    with pytest.raises(DatasetError, match="does not know strange: it knows no, sphere, vort"):
        lensbench.predict(trained / "runs/tiny", data, tmp_path / "out.csv", labelled=True)
    for path in (data / "val").rglob("*.npy"):
        path.rename(data / f"{path.parent.name}-{path.name}")
    with pytest.raises(DatasetError, match="in no class folder"):
        lensbench.predict(trained / "runs/tiny", data, tmp_path / "out.csv", labelled=True)
    assert not (tmp_path / "out.csv").exists()


def test_labels_of_another_test_may_come_from_a_file(trained, tmp_path, make_dataset):
    data = make_dataset(partitions={"val": 2}, shape=(1, 32, 32))
    lensbench.predict(trained / "runs/tiny", data, tmp_path / "folders.csv", labelled=True)
    lines = ["id,label"]
    for path in sorted((data / "val").rglob("*.npy")):
        lines.append(f"{path.parent.name}-{path.name},{path.parent.name}")
        path.rename(data / lines[-1].partition(",")[0])
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(lines))
    lensbench.predict(trained / "runs/tiny", data, tmp_path / "file.csv", labels=labels)
    by_folders, by_file = (
        sorted(line.split(",", 1)[1] for line in (tmp_path / name).read_text().splitlines())
        for name in ("folders.csv", "file.csv")
    )
    assert by_folders == by_file
    labels.write_text("\n".join(lines[:-1]))
    with pytest.raises(DatasetError, match=r"no class for 1 images .* the first vort-2.npy"):
        lensbench.predict(trained / "runs/tiny", data, tmp_path / "part.csv", labels=labels)
    assert not (tmp_path / "part.csv").exists()


@pytest.mark.parametrize("setting", [{"precision": "bf16-mixed"}, {"compile": "yes"}])
def test_what_is_of_training_alone_is_refused(trained, tmp_path, setting):
    with pytest.raises(ConfigError, match="are of training: predictions are in float32"):
        lensbench.predict(
            trained / "runs/tiny",
            trained / "data",
            tmp_path / "out.csv",
            machine=MachineSpec(**setting),
        )


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("run", ["runs/unturned", "elsewhere/Ensemble"])
def test_records_of_runs_and_ensembles_will_do(trained, tmp_path, run, part):
    lensbench.predict(trained / run / "record.json", trained / "data", tmp_path / "out.csv")
    rows = read(tmp_path / "out.csv")
    expected = Predictions.load(trained / run / f"predictions_{part}.npz")
    for name, probabilities in zip(expected.ids.tolist(), expected.probabilities, strict=True):
        np.testing.assert_allclose(rows[name], probabilities, atol=1e-6)


def test_members_have_their_weights_and_temperatures(trained, tmp_path):
    members = load_members(trained / "elsewhere/Ensemble")
    weighted = [replace(member, weight=w) for member, w in zip(members, (0.2, 0.8), strict=True)]
    found = classify(weighted, open_source(trained / "data/val"), MachineSpec(), **AS_USUAL)
    kept = [
        Predictions.load(trained / "runs" / member.name / "predictions_test.npz")
        for member in members
    ]
    temperatures = [member.temperature for member in members]
    assert len(set(temperatures)) == 2
    expected = mean_prediction(kept, temperatures, [0.2, 0.8])
    for name, probabilities in zip(expected.ids.tolist(), expected.probabilities, strict=True):
        of_image = found.probabilities[name.removeprefix("val/")]
        np.testing.assert_allclose(of_image, probabilities, atol=1e-6)


def test_members_of_other_images_make_no_ensemble(trained):
    first, second = load_members(trained / "elsewhere/Ensemble")
    second.classifier.classes = ("no", "sphere", "others")
    with pytest.raises(RecordError, match=r"tiny and unturned are of different classes"):
        classify([first, second], open_source(trained / "data/val"), MachineSpec(), **AS_USUAL)


def test_what_nothing_was_trained_for_classifies_nothing(trained, tmp_path):
    predictions = trained / "runs/tiny/predictions_test.npz"
    lensbench.evaluate([f"elsewhere={predictions}"], tmp_path)
    with pytest.raises(RecordError, match=r"record\.json has no weights"):
        load_members(tmp_path / "elsewhere")


@pytest.mark.parametrize("name", ["runs/Ensmble", "weights.safetensors", "record.json"])
def test_what_is_not_there_is_said_to_be_missing(tmp_path, name):
    with pytest.raises(WeightsError, match=f"{name} does not exist"):
        load_members(tmp_path / name)


def test_an_ensemble_that_does_not_say_where_its_members_lie_is_refused(trained, tmp_path):
    fields = json.loads((trained / "elsewhere/Ensemble/record.json").read_text())
    for candidate in fields["lensbench"]["ensemble"]["candidates"]:
        del candidate["record"]
    (tmp_path / "record.json").write_text(json.dumps(fields))
    with pytest.raises(RecordError, match="does not say where its members lie"):
        load_members(tmp_path)


def test_turned_images_are_not_shown_to_who_never_saw_any(trained, tmp_path, capsys):
    weights, images = trained / "runs/unturned/weights.safetensors", trained / "data/val"
    lensbench.predict(weights, images, tmp_path / "once.csv")
    asked = ["--test-time-augmentation", "d4", "--out", str(tmp_path / "d4.csv")]
    with pytest.raises(SystemExit) as ended:
        cli.main(["predict", str(weights), str(images), *asked])
    assert ended.value.code == 0
    assert "weights.safetensors: test-time augmentation is left out" in capsys.readouterr().out
    assert (tmp_path / "d4.csv").read_bytes() == (tmp_path / "once.csv").read_bytes()


def test_an_ensemble_of_runs_that_were_made_anew_is_refused(trained, tmp_path):
    for part in ("runs", "elsewhere"):
        shutil.copytree(trained / part, tmp_path / part)
    record = tmp_path / "elsewhere/Ensemble/record.json"
    validation = tmp_path / "runs/tiny/predictions_validation.npz"
    known = Predictions.load(validation)
    replace(known, logits=2 * known.logits).save(validation)
    with pytest.raises(lensbench.LensbenchError, match=r"is not the run that .* was made of"):
        lensbench.predict(record, trained / "data", tmp_path / "out.csv")
    shutil.rmtree(tmp_path / "runs/tiny")
    with pytest.raises(lensbench.LensbenchError, match=r"tiny/record\.json"):
        lensbench.predict(record, trained / "data", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_what_cannot_be_classified_is_named_and_costs_nothing_else(trained, tmp_path, capsys):
    survey = tmp_path / "survey.zip"
    shutil.copy(trained / "data/val/no/0.npy", tmp_path / "good.npy")
    np.save(tmp_path / "large.npy", np.zeros((1, 64, 64)))
    np.save(tmp_path / "blank.npy", np.full((1, 32, 32), np.nan))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:-8])
    with zipfile.ZipFile(survey, "w") as archive:
        for name in ("good", "large", "blank", "cut"):
            archive.write(tmp_path / f"{name}.npy", f"tile/{name}.npy")
    with pytest.raises(SystemExit) as ended:
        cli.main(
            [
                "predict",
                str(trained / "runs/tiny/weights.safetensors"),
                str(survey),
                "--out",
                str(tmp_path / "out.csv"),
            ]
        )
    assert ended.value.code == 1
    assert set(read(tmp_path / "out.csv")) == {"tile/good.npy"}
    said = capsys.readouterr().out
    assert "left out: tile/large.npy: shape (1, 64, 64); the classifier takes (1, 32, 32)" in said
    assert "left out: tile/blank.npy: 1024 pixels are NaN" in said
    assert "left out: tile/cut.npy" in said


def test_no_images_at_a_time_are_refused(trained, tmp_path):
    with pytest.raises(lensbench.LensbenchError, match="1 image or more at a time, not 0"):
        lensbench.predict(
            trained / "runs/tiny/weights.safetensors",
            trained / "data",
            tmp_path / "out.csv",
            batch_size=0,
        )
    assert not (tmp_path / "out.csv").exists()


def test_a_stack_needs_no_labels(trained, tmp_path):
    images = np.stack([np.load(trained / f"data/val/no/{i}.npy") for i in range(8)])
    np.savez(tmp_path / "new.npz", images=images, ids=[f"field{i}" for i in range(8)])
    weights = trained / "runs/tiny/weights.safetensors"
    found = lensbench.predict(weights, tmp_path / "new.npz", tmp_path / "out.csv")
    lensbench.predict(weights, trained / "data/val/no", tmp_path / "files.csv")
    expected = read(tmp_path / "files.csv")
    assert not found.faults
    assert {name.replace("field", ""): row for name, row in read(tmp_path / "out.csv").items()} == (
        expected
    )
    with pytest.raises(lensbench.LensbenchError, match="no images with labels"):
        lensbench.predict(weights, tmp_path / "new.npz", tmp_path / "out.csv", labelled=True)


def test_a_name_that_no_table_can_hold_is_refused_before_the_work(trained, tmp_path, monkeypatch):
    (tmp_path / "survey").mkdir()
    shutil.copy(trained / "data/val/no/0.npy", os.fsencode(tmp_path / "survey") + b"/caf\xe9.npy")
    monkeypatch.setattr(prediction, "views", lambda *_: pytest.fail("classified"))
    with pytest.raises(lensbench.LensbenchError, match="is no UTF-8"):
        lensbench.predict(
            trained / "runs/tiny/weights.safetensors", tmp_path / "survey", tmp_path / "out.csv"
        )


def test_nothing_to_classify_is_an_error(trained, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(lensbench.LensbenchError, match="no images found"):
        lensbench.predict(
            trained / "runs/tiny/weights.safetensors", tmp_path / "empty", tmp_path / "out.csv"
        )
    assert not (tmp_path / "out.csv").exists()


def test_what_cannot_be_done_is_said_before_anything_is_classified(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction, "classify", lambda *_, **__: pytest.fail("classified"))
    (tmp_path / "file").touch()
    given = trained / "runs/tiny", trained / "data"
    for out, in_the_way in (
        (tmp_path, tmp_path),
        (tmp_path / "file" / "out.csv", tmp_path / "file"),
    ):
        with pytest.raises(ConfigError, match=f"cannot be written: {in_the_way} is in the way"):
            lensbench.predict(*given, out)
    for wrong in (False, None, "flips"):
        with pytest.raises(ConfigError, match=f"is {wrong!r}; there are auto, none, d4"):
            lensbench.predict(*given, tmp_path / "out.csv", test_time_augmentation=wrong)
