"""Predictions of other programs, in each format, give the numbers that scikit-learn gives."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from lensbench.config import JudgeSpec
from lensbench.errors import RecordError
from lensbench.evaluation.estimate import undefined_silenced
from lensbench.evaluation.evaluate import evaluate
from lensbench.outcome import Predictions
from lensbench.runs.foreign import read_predictions

CLASSES = ("no", "sphere", "vort")
SPEC = JudgeSpec(n_resamples=100)
RNG = np.random.default_rng(0)
LABELS = np.arange(90) % 3
LOGITS = RNG.normal(size=(90, 3)) + np.eye(3)[LABELS]
SHARES = softmax(LOGITS, axis=1)
COARSE = np.array([(6, 3, 1), (6, 1, 3), (1, 6, 3), (3, 1, 6)])[RNG.integers(0, 4, 90)] / 10


def write_csv(path: Path, scores, columns=CLASSES, labels=None, ids=None) -> Path:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "label", *columns])
        for i, row in enumerate(np.atleast_2d(scores)):
            label = CLASSES[LABELS[i]] if labels is None else labels[i]
            table.writerow([f"{i}.npy" if ids is None else ids[i], label, *map(repr, row.tolist())])
    return path


def write_npz(path: Path, **arrays) -> Path:
    np.savez(path, **({"labels": LABELS} | arrays))
    return path


def write_npy(path: Path, scores) -> tuple[Path, Path]:
    np.save(path, scores)
    labels = path.with_name("labels.npy")
    np.save(labels, LABELS)
    return path, labels


def test_a_column_may_be_called_as_its_class_whatever_that_is(tmp_path):
    """As our own table of probabilities has it, whose classes may begin as other columns do."""
    classes = ("no", "p_wave", "prob_density")
    labels = [classes[k] for k in LABELS]
    found = read_predictions(write_csv(tmp_path / "a.csv", SHARES, classes, labels))
    assert found.classes == classes
    assert found.probabilities == pytest.approx(SHARES, abs=1e-12)
    prefixed = [f"p_{name}" for name in classes]
    found = read_predictions(write_csv(tmp_path / "b.csv", SHARES, prefixed, labels))
    assert found.classes == classes
    one_class = ["no"] * len(labels)
    found = read_predictions(write_csv(tmp_path / "c.csv", SHARES, classes, one_class))
    assert found.classes == classes
    twice = ["p_no", "p_p_no", "p_x"]  # of the classes no, p_no and x
    found = read_predictions(write_csv(tmp_path / "d.csv", SHARES, twice, ["p_no"] * len(labels)))
    assert found.classes == ("no", "p_no", "x")
    of_two = [classes[k] for k in LABELS % 2]
    found = read_predictions(write_csv(tmp_path / "e.csv", SHARES[:, :1], ["p_wave"], of_two))
    assert found.classes == ("no", "p_wave")
    stray = write_csv(tmp_path / "f.csv", SHARES[:, :2], classes[:2], ["other", *of_two[1:]])
    with pytest.raises(RecordError, match="label 'other' is none of the classes no, p_wave"):
        read_predictions(stray)


@pytest.mark.parametrize("scores", [LOGITS, SHARES], ids=["logits", "probabilities"])
def test_every_format_gives_the_same_probabilities(tmp_path, scores):
    read = [
        read_predictions(write_csv(tmp_path / "a.csv", scores)),
        read_predictions(write_npz(tmp_path / "a.npz", scores=scores)),
        read_predictions(*write_npy(tmp_path / "a.npy", scores)),
    ]
    for one in read:
        assert one.probabilities == pytest.approx(SHARES, abs=1e-12)
        assert one.labels.tolist() == LABELS.tolist()
    assert read[0].classes == CLASSES
    assert read[1].classes == ("0", "1", "2")
    assert read[0].ids[:2].tolist() == ["0.npy", "1.npy"]


def test_texts_may_be_bytes_as_hdf5_gives_them(tmp_path):
    texts = {"ids": [f"{i}.npy" for i in range(90)], "classes": CLASSES}
    texts["labels"] = [CLASSES[k] for k in LABELS]
    as_bytes = {name: np.array(of, dtype=np.bytes_) for name, of in texts.items()}
    found = read_predictions(write_npz(tmp_path / "a.npz", scores=LOGITS, **as_bytes))
    assert (found.classes, found.ids[0]) == (CLASSES, "0.npy")
    assert found.labels.tolist() == LABELS.tolist()


def test_what_this_program_writes_is_read_again(tmp_path):
    ours = Predictions.of([f"{i}.npy" for i in range(90)], LABELS, LOGITS, CLASSES)
    ours.save(tmp_path / "predictions.npz")
    again = read_predictions(tmp_path / "predictions.npz")
    assert np.array_equal(again.logits, LOGITS)
    assert again.classes == CLASSES


@pytest.mark.parametrize("shares", [SHARES, COARSE], ids=["fine", "with ties"])
def test_the_numbers_are_those_of_scikit_learn(tmp_path, shares):
    """Ties of coarse probabilities stay ties, although they pass through logarithms."""
    made = evaluate(read_predictions(write_csv(tmp_path / "a.csv", shares)), SPEC).estimates
    wanted = roc_auc_score(LABELS, shares, multi_class="ovr")
    assert made["auc_ovr_macro"].value == pytest.approx(wanted, abs=1e-12)
    assert made["log_loss"].value == pytest.approx(log_loss(LABELS, shares), abs=1e-9)
    assert made["brier"].value == pytest.approx(
        brier_score_loss(LABELS, shares, labels=[0, 1, 2], scale_by_half=False), abs=1e-9
    )


def test_one_column_is_the_second_of_two_classes(tmp_path):
    labels = LABELS % 2
    for scores in (SHARES[:, 0], LOGITS[:, 0]):
        read = read_predictions(write_npz(tmp_path / "b.npz", labels=labels, scores=scores))
        assert read.probabilities.shape == (90, 2)
        assert evaluate(read, SPEC).estimates["auc_ovr/1"].value == pytest.approx(
            roc_auc_score(labels, scores)
        )


@pytest.mark.parametrize("prefix", ["score_", "prob_", "probability_", "p_", ""])
def test_columns_may_say_what_they_are(tmp_path, prefix):
    path = write_csv(tmp_path / "a.csv", SHARES, [f"{prefix}{name}" for name in CLASSES])
    assert read_predictions(path).classes == CLASSES


def test_logits_that_look_like_shares_can_be_named(tmp_path):
    small = np.clip(SHARES + RNG.uniform(0, 0.2, SHARES.shape), 0, 1)
    plain = write_csv(tmp_path / "a.csv", small)
    with pytest.raises(RecordError, match=r"add up to .*--scores probabilities\|logits"):
        read_predictions(plain)
    for read in (
        read_predictions(plain, scores="logits"),
        read_predictions(write_csv(tmp_path / "b.csv", small, [f"logit_{c}" for c in CLASSES])),
    ):
        assert np.array_equal(read.logits, small)
    with pytest.raises(RecordError, match="calls its scores logits, but they are asked for as"):
        read_predictions(tmp_path / "b.csv", scores="probabilities")
    shares = read_predictions(plain, scores="probabilities").probabilities
    assert shares == pytest.approx(small / small.sum(axis=1, keepdims=True))


def test_rounded_probabilities_are_ranked_as_they_were_written(tmp_path):
    """Two decimals give ties that dividing by the sums of the rows would break."""
    for shares in (SHARES.round(2), SHARES.astype(np.float32)):
        read = read_predictions(write_npz(tmp_path / "a.npz", scores=shares))
        made = evaluate(read, SPEC).estimates
        for k in range(3):
            assert made[f"auc_ovr/{k}"].value == pytest.approx(
                roc_auc_score(k == LABELS, shares[:, k]), abs=1e-12
            )


def test_rounding_below_zero_makes_no_logits_of_probabilities(tmp_path):
    shifted = SHARES.copy()
    shifted[0] = 0.6 + 1e-7, 0.4, -1e-7
    read = read_predictions(write_csv(tmp_path / "a.csv", shifted))
    assert read.probabilities[1:] == pytest.approx(SHARES[1:])
    assert read.probabilities[0] == pytest.approx([0.6, 0.4, 0], abs=1e-6)


def test_a_single_column_named_after_a_class_is_its_score(tmp_path):
    """Whichever class comes first in the alphabet."""
    for name, other in (("lens", "other"), ("other", "lens")):
        labels = [name if label else other for label in LABELS % 2]
        scores = (LABELS % 2 + RNG.normal(size=90) / 2)[:, None]
        read = read_predictions(write_csv(tmp_path / "a.csv", scores, [f"score_{name}"], labels))
        assert read.classes == (other, name)
        assert evaluate(read, SPEC).estimates[f"auc_ovr/{name}"].value > 0.8


def test_the_columns_of_named_classes_may_have_any_order(tmp_path):
    turned = ("vort", "no", "sphere")
    shares = SHARES[:, [2, 0, 1]]
    read = read_predictions(write_csv(tmp_path / "a.csv", shares, turned))
    assert read.classes == turned
    back = read.in_order_of_classes(CLASSES)
    assert back.probabilities == pytest.approx(SHARES)
    assert back.labels.tolist() == LABELS.tolist()


def test_a_byte_order_mark_and_spaces_are_no_part_of_a_name(tmp_path):
    path = write_csv(tmp_path / "a.csv", SHARES, [" no", "sphere ", "vort"])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_predictions(path).classes == CLASSES


def test_a_probability_of_zero_is_last_and_has_a_log_loss_only_where_it_is_no_labels(tmp_path):
    """A file of few digits says nothing of how sure its model was; 1e-324 would be a guess."""
    hard = np.eye(3)[(LABELS + (np.arange(90) % 7 == 0)) % 3]
    read = read_predictions(write_npz(tmp_path / "a.npz", probabilities=hard))
    assert np.isfinite(read.logits).all()
    with undefined_silenced():
        estimates = evaluate(read, SPEC).estimates
    assert estimates["auc_ovr_macro"].value == pytest.approx(
        roc_auc_score(LABELS, hard, multi_class="ovr")
    )
    assert estimates["brier"].value == pytest.approx(
        ((hard - np.eye(3)[LABELS]) ** 2).sum(axis=1).mean()
    )
    assert np.isnan(estimates["log_loss"].value)
    assert "a probability above 0 for each label" in estimates["log_loss"].method

    lowest = (SHARES.min(axis=1, keepdims=True) == SHARES) & (np.eye(3)[LABELS] == 0)
    read = read_predictions(
        write_npz(tmp_path / "b.npz", probabilities=np.where(lowest, 0, SHARES))
    )
    assert np.isfinite(evaluate(read, SPEC).estimates["log_loss"].value)


def test_labels_may_be_numbers_of_named_classes(tmp_path):
    path = write_csv(tmp_path / "a.csv", SHARES, labels=LABELS.tolist())
    assert read_predictions(path).labels.tolist() == LABELS.tolist()
    path = write_npz(tmp_path / "b.npz", labels=LABELS.astype(float), scores=SHARES)
    assert read_predictions(path).labels.tolist() == LABELS.tolist()
    path = write_npz(tmp_path / "c.npz", labels=LABELS % 2 == 1, scores=SHARES[:, 0])
    assert read_predictions(path).labels.tolist() == (LABELS % 2).tolist()


def broken(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    twice = write_csv(tmp_path / "twice.csv", SHARES, ids=["same"] * 90)
    text = tmp_path / "text.csv"
    text.write_text("id,label,no,sphere\na,no,0.5,0.5\nb,no,half,0.5\n")
    ragged = tmp_path / "ragged.csv"
    ragged.write_text("id,label,no,sphere\na,no,0.5\n")
    header = tmp_path / "header.csv"
    header.write_text("name,truth,no\na,no,1\n")
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    only_header = tmp_path / "only_header.csv"
    only_header.write_text("id,label,no,sphere\n")
    unknown = write_csv(tmp_path / "unknown.csv", SHARES, labels=["spiral"] * 90)
    other = tmp_path / "predictions.parquet"
    other.write_bytes(b"")
    truncated = tmp_path / "truncated.npz"
    truncated.write_bytes(write_npz(tmp_path / "whole.npz", scores=SHARES).read_bytes()[:200])
    nothing = tmp_path / "nothing.npz"
    nothing.write_bytes(b"")
    renamed = tmp_path / "renamed.npz"
    renamed.write_bytes(write_npy(tmp_path / "a.npy", SHARES)[0].read_bytes())
    names = np.array(CLASSES)[LABELS]
    holes = SHARES.copy()
    holes[5, 1] = np.nan
    return {
        "twice": (twice, "some ids occur twice"),
        "text": (text, "row 3: no is 'half', no number"),
        "ragged": (ragged, "row 2 has 3 columns, the header has 4"),
        "header": (header, "the columns must be id, label"),
        "empty": (empty, "the columns must be id, label"),
        "only header": (only_header, "are not"),
        "unknown": (unknown, "'spiral' is none of the classes no, sphere, vort"),
        "other": (other, "are read from .npz, .npy, .csv"),
        "missing": (tmp_path / "nowhere.npz", "No such file"),
        "nan": (write_npz(tmp_path / "nan.npz", scores=holes), "example 5 are not finite"),
        "shape": (write_npz(tmp_path / "shape.npz", scores=SHARES[:5]), "are not"),
        "none": (write_npz(tmp_path / "none.npz"), "it needs labels and one of"),
        "both": (write_npz(tmp_path / "both.npz", logits=LOGITS, scores=SHARES), "one of scores"),
        "negative": (write_npz(tmp_path / "neg.npz", probabilities=LOGITS), "between 0 and 1"),
        "names": (
            write_npz(tmp_path / "names.npz", scores=SHARES, classes=np.array(["a", "b"])),
            "2 class names, but scores of 3 classes",
        ),
        "label": (
            write_npz(tmp_path / "label.npz", labels=LABELS + 1, scores=SHARES),
            "label '3' is none of the classes",
        ),
        "truncated": (truncated, "not predictions"),
        "nothing": (nothing, "not predictions"),
        "renamed": (renamed, "not predictions"),
        "flat": (
            write_npz(tmp_path / "f.npz", scores=SHARES, ids=np.array("a")),
            "not predictions",
        ),
        "unnamed": (
            write_npz(tmp_path / "unnamed.npz", labels=names, scores=SHARES),
            "nothing says which score is whose",
        ),
        "unnamed column": (
            write_csv(tmp_path / "c.csv", SHARES[:, :1], ["score"], ["a", "b"] * 45),
            "nothing says which score is whose",
        ),
        "same column": (
            write_csv(tmp_path / "same.csv", SHARES, ["no", "no", "vort"]),
            "more than one column",
        ),
        "percent": (
            write_csv(tmp_path / "percent.csv", 100 * SHARES, [f"prob_{c}" for c in CLASSES]),
            "between 0 and 1",
        ),
        "infinite": (
            write_npz(tmp_path / "i.npz", labels=np.where(LABELS, LABELS, np.inf), scores=SHARES),
            "nothing says which score is whose",
        ),
        "percent unnamed": (
            write_csv(tmp_path / "percents.csv", 100 * SHARES),
            r"add up to 100, but they lie between .*: say what they are \(--scores",
        ),
        "percent of one": (
            write_npz(tmp_path / "one.npz", labels=LABELS % 2, scores=100 * SHARES[:, 0]),
            r"the scores lie between \d.* percent.*: say what they are \(--scores",
        ),
        "far below zero": (
            write_npz(tmp_path / "below.npz", scores=SHARES + np.array([-0.5, 0.5, 0])),
            "add up to 1, but they lie between -0.4",
        ),
        "column missing": (
            write_csv(tmp_path / "m.csv", SHARES[:, :2], CLASSES[:2]),
            "label 'vort' is none of the classes no, sphere",
        ),
        "complex": (write_npz(tmp_path / "z.npz", scores=SHARES * 1j), "numbers, not complex128"),
        "pickle": (
            write_npz(tmp_path / "p.npz", labels=LABELS.astype(object), scores=SHARES),
            "allow_pickle=False",
        ),
    }


FAULTS = (
    *("twice", "text", "ragged", "header", "empty", "only header", "unknown", "other", "missing"),
    *("nan", "shape", "none", "both", "negative", "names", "label", "pickle", "truncated"),
    *("nothing", "renamed", "flat", "unnamed", "unnamed column", "same column", "percent"),
    *("infinite", "complex", "percent unnamed", "percent of one"),
    *("far below zero", "column missing"),
)


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_judged_is_refused_with_its_place(tmp_path, fault):
    path, message = broken(tmp_path)[fault]
    with pytest.raises(RecordError, match=message) as caught:
        read_predictions(path)
    assert str(path) in str(caught.value)


def test_labels_are_asked_for_with_npy_alone(tmp_path):
    scores, labels = write_npy(tmp_path / "a.npy", SHARES)
    with pytest.raises(RecordError, match=r"needs an \.npy of labels"):
        read_predictions(scores)
    with pytest.raises(RecordError, match="nothing else does"):
        read_predictions(write_npz(tmp_path / "a.npz", scores=SHARES), labels)
