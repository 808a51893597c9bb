"""The published records are read as they are, and ours hold all of their fields."""

import json

import pytest

from lensbench.errors import RecordError
from lensbench.runs.record import RunRecord


def leaves(value, prefix=""):
    """Name every field of a JSON value; the elements of lists are one."""
    if isinstance(value, dict):
        return {name for key, item in value.items() for name in leaves(item, f"{prefix}.{key}")}
    return {prefix}


def test_the_published_records_lose_nothing(shared):
    paths = sorted((shared / "reference/seed_results").glob("results_*.json"))
    assert len(paths) == 13
    for path in paths:
        published = json.loads(path.read_text())
        read = json.loads(RunRecord.read(path).model_dump_json())
        assert leaves(published) - leaves(read) == set()
        assert read["test_results"]["roc_curve_data"] == published["test_results"]["roc_curve_data"]
        for name in ("best_val_auc", "val_aucs", "training_time_s", "status", "model_identifier"):
            assert read[name] == published[name]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[:-40], "Invalid JSON"),
        (lambda _: "", "Invalid JSON"),
        (lambda text: text.replace('"model_desc"', '"model"'), "model_desc: Field required"),
        (lambda text: text.replace('"accuracy": 0.', '"accuracy": "x0.'), "Invalid JSON"),
        (
            lambda text: json.dumps(json.loads(text) | {"test_results": None}),
            "without test_results",
        ),
        (lambda text: json.dumps(json.loads(text) | {"val_aucs": "high"}), "val_aucs: "),
    ],
)
def test_a_damaged_record_is_named_with_its_fault(shared, tmp_path, spoil, message):
    text = (shared / "reference/seed_results/results_ResNet18.json").read_text()
    path = tmp_path / "results_X.json"
    path.write_text(spoil(text))
    with pytest.raises(RecordError, match=message) as caught:
        RunRecord.read(path)
    assert str(path) in str(caught.value)


def test_a_missing_record_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"gone\.json: cannot be read"):
        RunRecord.read(tmp_path / "gone.json")


def test_classes_are_named_as_far_as_the_record_tells(shared):
    published = json.loads((shared / "reference/seed_results/results_ResNet18.json").read_text())
    assert RunRecord.model_validate(published).classes == ("no", "sphere", "vort")
    published["test_results"]["report"] = "lost"
    assert RunRecord.model_validate(published).classes == ("0", "1", "2")
    published["lensbench"] = {
        "lensbench_version": "1",
        "run": None,
        "environment": None,
        "classes": ["a", "b", "c"],
    }
    assert RunRecord.model_validate(published).classes == ("a", "b", "c")
    failed = {**published, "lensbench": None, "test_results": None, "status": "Failed"}
    assert RunRecord.model_validate(failed).classes == ()
