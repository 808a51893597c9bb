"""Who is best, who ties, and what must not be compared."""

import json
import shutil
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from scipy.special import softmax

from lensbench.comparison.compare import compare
from lensbench.config import DataSpec, JudgeSpec, ModelSpec, RunConfig
from lensbench.cost import Cost
from lensbench.errors import ComparisonError, ConfigError
from lensbench.evaluation.auc import one_vs_rest
from lensbench.evaluation.estimate import undefined_silenced
from lensbench.evaluation.evaluate import evaluate
from lensbench.evaluation.proportions import wilson_interval
from lensbench.outcome import Epoch, History, Predictions, Timing
from lensbench.recipes import CONTRACT
from lensbench.runs.compose import completed_record, failed_record
from lensbench.runs.environment import describe_environment
from lensbench.runs.record import SplitSummary
from lensbench.runs.store import RunStore

CLASSES = ("no", "sphere", "vort")
N = 600


def logits(separation: float, seed: int, shared_noise: float = 0.0) -> np.ndarray:
    labels = np.arange(N) % 3
    noise = np.random.default_rng(seed).normal(size=(N, 3))
    common = np.random.default_rng(99).normal(size=(N, 3))
    scores = np.sqrt(1 - shared_noise) * noise + np.sqrt(shared_noise) * common
    scores[np.arange(N), labels] += separation
    return scores


def config(name: str, seed: int = 42, group: str | None = None) -> RunConfig:
    return RunConfig(
        name=name,
        group=group,
        seed=seed,
        data=DataSpec(path=Path("data")),
        model=ModelSpec(identifier="torchvision/resnet18"),
        recipe=CONTRACT,
    )


def store(root: Path, name: str, scores: np.ndarray, **changes) -> Path:
    """Write the record of a finished run and its predictions."""
    made = {
        "ids": [f"val/{CLASSES[i % 3]}/{i}.npy" for i in range(N)],
        "labels": np.arange(N) % 3,
        "classes": CLASSES,
        "contents": "0" * 16,
        "seed": 42,
        "group": None,
        "recipe": CONTRACT,
    } | changes
    predictions = Predictions.of(made["ids"], made["labels"], scores, made["classes"])
    runs = RunStore(root, name)
    predictions.save(runs.predictions("test"))
    epoch = Epoch(train_loss=1, validation_loss=1, validation_auc=0.8, learning_rate=1e-3)
    runs.finish(
        completed_record(
            config(name, made["seed"], made["group"]).model_copy(update={"recipe": made["recipe"]}),
            describe_environment("cpu", None, "32-true", 2),
            image_size=224,
            data_fingerprint="0" * 16,
            split=SplitSummary(
                convention="halved",
                fingerprint="0" * 16,
                n_train=9,
                n_validation=9,
                n_test=N,
                test_fingerprint=made["contents"],
            ),
            warnings=(),
            weights_used="none",
            image_shape=(1, 150, 150),
            cost=Cost(
                model="torchvision/resnet18",
                image_size=(224, 224),
                channels=3,
                n_parameters=11_000_000,
                multiply_adds=1_800_000_000,
            ),
            history=History(epochs=(epoch,), kept_epoch=1),
            timing=Timing(fit_seconds=60, n_train_images_per_second=1),
            evaluation=evaluate(predictions, JudgeSpec(n_resamples=100)),
            files={"test": "predictions_test.npz"},
        )
    )
    return runs.record


def test_models_are_ranked_and_a_real_difference_is_called_one(tmp_path):
    paths = [
        store(tmp_path, "weak", logits(0.5, 1)),
        store(tmp_path, "strong", logits(3.0, 2)),
    ]
    comparison = compare(paths)
    assert [entry.name for entry in comparison.entries] == ["strong", "weak"]
    assert [entry.tied for entry in comparison.entries] == [True, False]
    assert comparison.entries[1].p_value < 1e-6
    assert "better than every other model" in comparison.verdict
    assert comparison.n_test == N


def test_a_difference_within_the_noise_is_a_tie(tmp_path):
    paths = [store(tmp_path, name, logits(1.0, seed)) for seed, name in enumerate("ab")]
    comparison = compare(paths)
    assert [entry.tied for entry in comparison.entries] == [True, True]
    assert "cannot be told apart from" in comparison.verdict
    assert "within the noise" in comparison.verdict


def test_pairing_sees_what_separate_intervals_do_not(tmp_path):
    """Two models that err on the same images differ by more than their intervals tell."""
    paths = [
        store(tmp_path, "a", logits(1.0, 1, shared_noise=0.98)),
        store(tmp_path, "b", logits(1.1, 2, shared_noise=0.98)),
    ]
    best, other = compare(paths).entries
    assert best.auc.low < other.auc.high
    assert not other.tied


def test_the_paired_p_value_is_that_of_a_bootstrap(tmp_path):
    one, other = logits(1.0, 1, 0.8), logits(1.1, 2, 0.8)
    comparison = compare([store(tmp_path, "a", one), store(tmp_path, "b", other)])
    difference = comparison.entries[0].auc.value - comparison.entries[1].auc.value
    z = NormalDist().inv_cdf(1 - comparison.entries[1].p_value / 2)

    labels, rng = np.arange(N) % 3, np.random.default_rng(0)
    mine, theirs = softmax(one, axis=1), softmax(other, axis=1)
    differences = [
        one_vs_rest(labels[rows], theirs[rows]).macro - one_vs_rest(labels[rows], mine[rows]).macro
        for rows in rng.integers(0, N, (2000, N))
    ]
    assert difference / z == pytest.approx(np.std(differences), rel=0.07)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": [f"{i}.npy" for i in range(N)]}, "only 0 of 600 and 600 test images are the same"),
        ({"labels": np.roll(np.arange(N) % 3, 1)}, "600 test images have different labels"),
        ({"classes": ("a", "b", "c")}, "their classes are"),
        ({"contents": "1" * 16}, "the same names but not the same contents"),
    ],
)
def test_runs_on_different_tests_are_refused(tmp_path, changes, message):
    one = store(tmp_path, "one", logits(1.0, 1))
    other = store(tmp_path, "other", logits(1.0, 2), **changes)
    with pytest.raises(ComparisonError, match=message) as caught:
        compare([one, other])
    assert str(one) in str(caught.value)
    assert str(other) in str(caught.value)


def test_a_published_record_is_never_ranked_beside_another_test_set(tmp_path, shared):
    ours = store(tmp_path, "ours", logits(1.0, 1))
    published = shared / "reference/seed_results/results_ResNet18.json"
    with pytest.raises(ComparisonError, match="images per class"):
        compare([ours, published])


def test_failed_runs_and_damaged_files_are_told_apart_from_the_others(tmp_path):
    good = store(tmp_path, "good", logits(1.0, 1))
    failed = RunStore(tmp_path, "failed")
    failed.finish(
        failed_record(config("failed"), describe_environment("cpu", None, "32-true", None), "boom")
    )
    (tmp_path / "not.json").write_text("{")
    lacking = json.loads(good.read_text())
    del lacking["test_results"]["accuracy"]
    (tmp_path / "lacking.json").write_text(json.dumps(lacking))
    orphan = shutil.copy(good, tmp_path / "orphan.json")
    comparison = compare(
        [good, failed.record, tmp_path / "not.json", tmp_path / "lacking.json", Path(orphan)]
    )
    assert [entry.name for entry in comparison.entries] == ["good"]
    assert [record.error for record, _ in comparison.unfinished] == ["boom"]
    assert len(comparison.problems) == 3
    assert "not.json: not a result record" in comparison.problems[0]
    assert "test_results.accuracy: Field required" in comparison.problems[1]
    assert "predictions_test.npz" in comparison.problems[2]


def test_two_runs_of_one_name_are_refused(tmp_path):
    paths = [store(tmp_path / folder, "same", logits(1.0, 1)) for folder in "ab"]
    with pytest.raises(ComparisonError, match="2 runs are called 'same'"):
        compare(paths)


def test_nothing_to_compare_is_said():
    assert compare([]).verdict == "No finished runs to compare."


def test_the_published_headline_is_a_tie(shared):
    comparison = compare(sorted((shared / "reference/seed_results").glob("*.json")))
    names = [entry.name for entry in comparison.entries]
    assert names[:2] == ["ResNet34", "EfficientNet-B1"]
    assert len(names) == 13
    tied = {entry.name for entry in comparison.entries if entry.tied}
    assert {"ResNet34", "EfficientNet-B1", "ResNet101", "ResNet152"} <= tied
    assert "MobileNetV3-Large" not in tied
    assert comparison.n_test == 3750
    assert comparison.entries[0].auc.method.startswith("Hanley-McNeil")


def seeded(root: Path, model: str, separations: list[float], first: int) -> list[Path]:
    """Write runs of one model with seeds 42, 43, ..., as `--seeds` does."""
    return [
        store(
            root,
            f"{model}-seed{42 + i}" if i else model,
            logits(separation, first + i, 0.9),
            seed=42 + i,
            group=model if i else None,
        )
        for i, separation in enumerate(separations)
    ]


def test_seeds_of_a_model_are_one_entry_with_both_parts_of_its_error(tmp_path):
    paths = [
        *seeded(tmp_path, "steady", [1.5, 1.5, 1.5], 10),
        *seeded(tmp_path, "moody", [0.6, 1.4, 1.0], 20),
        store(tmp_path, "once", logits(0.9, 30, 0.9)),
    ]
    comparison = compare(paths)
    steady, *_ = comparison.entries
    moody = next(entry for entry in comparison.entries if entry.name == "moody")
    once = next(entry for entry in comparison.entries if entry.name == "once")
    assert [len(entry.runs) for entry in (steady, moody, once)] == [3, 3, 1]
    single = [compare([path]).entries[0].auc.value for path in paths[3:6]]
    assert moody.auc.value == pytest.approx(np.mean(single))
    assert moody.training_deviation > 3 * moody.test_deviation
    assert steady.training_deviation < steady.test_deviation
    assert once.training_deviation is None
    assert moody.auc.high - moody.auc.low > 3 * (steady.auc.high - steady.auc.low)
    assert len(comparison.pairs) == 3
    assert "within the noise of this test set and of training" in compare(paths[:6]).verdict


def test_seeds_that_differ_more_than_models_ask_for_more_seeds(tmp_path):
    paths = [
        *seeded(tmp_path, "moody", [0.6, 1.4], 10),
        *seeded(tmp_path, "fickle", [1.5, 0.6], 20),
    ]
    assert compare(paths).verdict.endswith("more seeds may.")


def test_what_differs_in_more_than_its_seed_is_no_replicate(tmp_path):
    one = store(tmp_path, "a", logits(1.0, 1))
    more = CONTRACT.model_copy(update={"epochs": 99})
    other = store(tmp_path, "a-seed43", logits(1.0, 2), seed=43, group="a", recipe=more)
    with pytest.raises(ComparisonError, match="differ in other settings"):
        compare([one, other])
    same = store(tmp_path, "a-again", logits(1.0, 2), group="a")
    with pytest.raises(ComparisonError, match="not in their seed"):
        compare([one, same])


def test_the_ranking_goes_by_any_metric(tmp_path):
    """A model with the better order but overconfident probabilities loses by its log loss."""
    paths = [
        store(tmp_path, "order", 30 * logits(1.6, 1)),
        store(tmp_path, "calibrated", 1.3 * logits(1.3, 2)),
    ]
    assert compare(paths).entries[0].name == "order"
    by_loss = compare(paths, metric="log_loss")
    assert [entry.name for entry in by_loss.entries] == ["calibrated", "order"]
    assert not by_loss.entries[1].tied
    assert by_loss.verdict.startswith("calibrated is better")
    assert "log loss" in by_loss.verdict
    by_tpr = compare(paths, metric="tpr_at_fpr_0.01/vort")
    assert "TPR at FPR 1.0% of vort" in by_tpr.verdict


def test_the_method_of_the_test_is_said(tmp_path):
    paths = [store(tmp_path, name, logits(1.0, seed)) for seed, name in enumerate("abc")]
    assert compare(paths).test.startswith("paired test with DeLong's influences")
    assert "3 pairs, Holm-corrected" in compare(paths).test
    assert compare(paths, metric="accuracy").test.startswith("McNemar's exact test")


def test_an_unknown_metric_or_class_is_refused(tmp_path):
    paths = [store(tmp_path, "a", logits(1.0, 1))]
    with pytest.raises(ConfigError, match="no metric is called 'auc'"):
        compare(paths, metric="auc")
    with pytest.raises(ConfigError, match="names no class"):
        compare(paths, metric="recall/spiral")


def test_published_numbers_can_be_ranked_by_what_they_tell_alone(shared):
    paths = sorted((shared / "reference/seed_results").glob("*.json"))
    assert compare(paths, metric="accuracy").entries[0].name == "EfficientNet-B1"
    with pytest.raises(ComparisonError, match="has no predictions, only numbers"):
        compare(paths, metric="log_loss")


def test_a_tie_says_how_many_images_would_part_it(shared):
    comparison = compare(sorted((shared / "reference/seed_results").glob("*.json")))
    best, second = comparison.entries[:2]
    variance = best.test_deviation**2 + second.test_deviation**2
    reach = -NormalDist().inv_cdf(0.025 / 78) + NormalDist().inv_cdf(0.8)
    needed = 3750 * variance * (reach / (best.auc.value - second.auc.value)) ** 2
    assert comparison.n_to_separate == pytest.approx(needed, rel=1e-3)
    assert "test images would tell the top two apart (with a power of 80%)" in comparison.verdict
    assert "ResNet34 and 10 others are best" in comparison.verdict


def test_the_order_of_files_and_of_examples_changes_nothing(tmp_path):
    scores = {name: logits(1.0 + i / 10, i, 0.5) for i, name in enumerate("abc")}
    here = [store(tmp_path / "here", name, one) for name, one in scores.items()]
    turned = np.random.default_rng(0).permutation(N)
    there = [
        store(
            tmp_path / "there",
            name,
            one[turned],
            ids=[f"val/{CLASSES[i % 3]}/{i}.npy" for i in turned],
            labels=(np.arange(N) % 3)[turned],
        )
        for name, one in scores.items()
    ]
    first, second = compare(here), compare(there[::-1])
    assert [e.auc for e in first.entries] == [e.auc for e in second.entries]
    assert [p.p_value for p in first.pairs] == pytest.approx([p.p_value for p in second.pairs])


def test_runs_of_different_contents_are_refused_whoever_stands_between_them(tmp_path):
    """Predictions of another program know no contents; they must not join what is apart."""
    paths = [
        store(tmp_path, "a", logits(1.0, 1)),
        store(tmp_path, "m", logits(1.0, 2)),
        store(tmp_path, "z", logits(1.0, 3), contents="1" * 16),
    ]
    between = json.loads(paths[1].read_text())
    between["lensbench"]["split"] = None
    paths[1].write_text(json.dumps(between))
    with pytest.raises(ComparisonError, match=r"a and z .* same names but not the same contents"):
        compare(paths)
    assert len(compare(paths[:2]).entries) == 2


def test_classes_in_another_order_are_the_same_classes(tmp_path):
    scores = logits(1.2, 1)
    plain = store(tmp_path, "plain", scores)
    turned = store(
        tmp_path,
        "turned",
        scores[:, [2, 0, 1]],
        classes=("vort", "no", "sphere"),
        labels=np.array([1, 2, 0])[np.arange(N) % 3],
    )
    one, other = compare([plain, turned]).entries
    assert one.auc.value == other.auc.value
    assert one.runs[0].supports == other.runs[0].supports == (200, 200, 200)


def test_a_stricter_level_ties_what_a_looser_one_parts(tmp_path):
    paths = [
        store(tmp_path, name, logits(separation, seed, 0.5))
        for seed, (name, separation) in enumerate({"a": 1.15, "b": 1.0, "c": 0.97}.items())
    ]
    strict, loose = (compare(paths, JudgeSpec(level=level)) for level in (0.999999, 0.6))
    assert [entry.tied for entry in strict.entries] == [True, True, True]
    assert [entry.tied for entry in loose.entries][1:] == [False, False]
    assert {entry.letters for entry in strict.entries} == {"a"}
    assert strict.pairs[0].difference.low < loose.pairs[0].difference.low


def test_p_values_against_the_best_are_the_corrected_ones(tmp_path):
    paths = [
        store(tmp_path, name, logits(separation, seed, 0.9))
        for seed, (name, separation) in enumerate({"a": 1.1, "b": 1.0, "c": 1.0}.items())
    ]
    comparison = compare(paths)
    by_name = {pair.second: pair for pair in comparison.pairs if pair.first == "a"}
    for entry in comparison.entries[1:]:
        assert entry.p_value == by_name[entry.name].p_holm
        assert entry.p_value > by_name[entry.name].p_value


def test_perfect_seeds_are_no_more_certain_than_a_perfect_run(tmp_path):
    perfect = 50 * np.eye(3)[np.arange(N) % 3]
    paths = [
        store(tmp_path, name, perfect, seed=seed, group=group)
        for name, seed, group in (("a", 42, None), ("a-seed43", 43, "a"), ("b", 42, None))
    ]
    seeds, once = compare(paths).entries
    assert len(seeds.runs) == 2
    assert (seeds.auc.low, seeds.auc.high) == (once.auc.low, once.auc.high)
    assert once.auc.low < 0.99


def test_a_perfect_published_number_has_an_interval(shared, tmp_path):
    record = json.loads((shared / "reference/seed_results/results_ResNet18.json").read_text())
    record["test_results"]["auc_ovr_macro"] = 1.0
    for curve in record["test_results"]["roc_curve_data"].values():
        curve["auc"] = 1.0
    (tmp_path / "results_X.json").write_text(json.dumps(record))
    auc = compare([tmp_path / "results_X.json"]).entries[0].auc
    assert auc.low < auc.value == auc.high == 1.0


def test_a_damaged_predictions_file_is_a_problem_of_its_own(tmp_path):
    good = store(tmp_path, "good", logits(1.0, 1))
    bad = store(tmp_path, "bad", logits(1.0, 2))
    file = bad.parent / "predictions_test.npz"
    file.write_bytes(file.read_bytes()[:300])
    comparison = compare([good, bad])
    assert [entry.name for entry in comparison.entries] == ["good"]
    assert "predictions_test.npz: not a predictions file" in comparison.problems[0]


def test_a_record_of_the_first_schema_is_still_read(tmp_path):
    """Its parameters were a number of their own, and it knew neither cost nor group."""
    path = store(tmp_path, "old", logits(1.0, 1))
    old = json.loads(path.read_text())
    ours = old["lensbench"]
    ours["n_parameters"] = 11_000_000
    del ours["cost"], ours["image_shape"], ours["run"]["group"]
    ours["estimates"] = {k: v for k, v in ours["estimates"].items() if k in ("accuracy", "f1/no")}
    path.write_text(json.dumps(old))
    assert compare([path]).entries[0].name == "old"


def test_single_runs_beside_seeds_are_said_to_hide_their_training(tmp_path):
    paths = [*seeded(tmp_path, "a", [1.1, 1.2], 5), store(tmp_path, "b", logits(1.0, 9))]
    assert "of that model alone which has several seeds" in compare(paths).test


def test_the_verdict_speaks_of_seeds_where_they_keep_the_first_two_apart(tmp_path):
    """Being tied with the best is not transitive: the second may differ where a third does not."""
    recipes = {"A": [1.60, 1.602], "B": [1.40], "C": [0.9, 1.5]}
    paths = [
        store(tmp_path, f"{name}{i}", logits(separation, 0), seed=i, group=name)
        for name, separations in recipes.items()
        for i, separation in enumerate(separations)
    ]
    comparison = compare(paths)
    first, second, third = comparison.entries
    assert [first.name, second.name, third.name] == ["A", "B", "C"]
    assert not second.tied
    assert third.tied
    assert "more seeds may" not in comparison.verdict


def test_two_collapsed_seeds_have_the_interval_of_one(tmp_path):
    constant = np.tile([5.0, 0.0, 0.0], (N, 1))
    with undefined_silenced():
        paths = [store(tmp_path, f"A{i}", constant, seed=i, group="A") for i in range(2)]
    (entry,) = compare(paths, metric="accuracy").entries
    low, high = wilson_interval(N // 3, N, 0.95)
    assert (entry.estimate.low, entry.estimate.high) == pytest.approx((low, high))


def test_of_a_single_run_it_is_said_that_seeds_are_not_known(tmp_path):
    paths = [store(tmp_path, "A", logits(2.0, 0)), store(tmp_path, "B", logits(0.5, 1))]
    for some in (paths, paths[:1]):
        assert "Only one run of each model is known" in compare(some).verdict
    seeds = [store(tmp_path, f"C{i}", logits(1, i), seed=i, group="C") for i in range(2)]
    assert "Only one run" not in compare([*paths, *seeds]).verdict
