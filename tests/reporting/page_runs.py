"""Made-up finished runs whose models err on the same images, as real ones do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lensbench.config import DataSpec, JudgeSpec, ModelSpec, RunConfig
from lensbench.cost import Cost
from lensbench.evaluation.estimate import undefined_silenced
from lensbench.evaluation.evaluate import evaluate
from lensbench.outcome import Epoch, History, Predictions, Timing
from lensbench.recipes import CONTRACT
from lensbench.runs.compose import completed_record
from lensbench.runs.record import Environment, SplitSummary
from lensbench.runs.store import RunStore

CLASSES = ("no", "sphere", "vort")
QUICK_JUDGE = JudgeSpec(n_resamples=100)

ENVIRONMENT = Environment(
    device="A processor (16 cores)",
    accelerator="cpu",
    precision="32-true",
    threads=8,
    platform="Linux",
    python="3.11.2",
    libraries={"numpy": "2.0", "torch": "2.5"},
)


def image_ids(n: int, classes: Sequence[str]) -> list[str]:
    """Return n names, sorted, the classes in turn in the order of the labels of `correlated`."""
    return sorted(f"val/{classes[i % len(classes)]}/{i:05d}.npy" for i in range(n))


def correlated(
    n: int, separation: float, seed: int, classes: Sequence[str] = CLASSES, part: str = "test"
) -> Predictions:
    """Predict n images; images differ in how hard they are, and models agree on that.

    The larger `separation`, the better the model, and the more it overstates how sure it is.
    """
    ids = image_ids(n, classes)
    labels = np.array([classes.index(name.split("/")[1]) for name in ids])
    of_images = np.random.default_rng(0 if part == "test" else 1)
    hardness = of_images.gamma(2.0, 0.6, n)
    common = of_images.normal(size=(n, len(classes)))
    own = np.random.default_rng([seed, part == "test"]).normal(size=common.shape)
    logits = 0.8 * common + 0.6 * own
    logits[np.arange(n), labels] += separation / np.maximum(hardness, 0.15)
    if part != "test":
        ids = [name.replace("val/", "val/v-") for name in ids]
    return Predictions.of(ids, labels, 1.6 * logits, classes)


def store_run(
    root: Path,
    name: str,
    separation: float,
    *,
    seed: int = 1,
    n: int = 120,
    n_validation: int | None = None,
    classes: Sequence[str] = CLASSES,
    data: Path = Path("data"),
    test_fingerprint: str = "0" * 16,
    with_validation: bool = True,
    group: str | None = None,
    minutes: float = 12.0,
    warnings: tuple[str, ...] = (),
    judge: JudgeSpec = QUICK_JUDGE,
    untested: str | None = None,
) -> Path:
    """Write a finished run, with no test image of the class `untested`; returns its record.

    It has as many validation images as test images, `n`, unless `n_validation` says otherwise.
    """
    store = RunStore(root, name)
    test = correlated(n, separation, seed, classes)
    tested = [one != untested for one in np.array(classes)[test.labels]]
    test = Predictions(test.ids[tested], test.labels[tested], test.logits[tested], classes)
    test.save(store.predictions("test"))
    files = {"test": "predictions_test.npz"}
    if with_validation:
        validation = correlated(n_validation or n, separation, seed, classes, "validation")
        validation.save(store.predictions("validation"))
        files["validation"] = "predictions_validation.npz"
    epochs = tuple(
        Epoch(
            train_loss=float(np.exp(-i / 5) + 0.05),
            validation_loss=float(np.exp(-i / 4) + 0.15 + 0.01 * i),
            validation_auc=float(0.99 - 0.3 * np.exp(-i / 3)),
            learning_rate=1e-3,
        )
        for i in range(15)
    )
    with undefined_silenced():
        evaluation = evaluate(test, judge)
    store.finish(
        completed_record(
            RunConfig(
                name=name,
                group=group,
                data=DataSpec(path=data),
                model=ModelSpec(identifier="torchvision/resnet18"),
                recipe=CONTRACT,
                judge=judge,
                seed=seed,
            ),
            ENVIRONMENT,
            image_size=224,
            data_fingerprint="0" * 16,
            split=SplitSummary(
                convention="halved",
                fingerprint="0" * 16,
                n_train=8 * n,
                n_validation=n_validation or n,
                n_test=len(test.ids),
                test_fingerprint=test_fingerprint,
            ),
            warnings=warnings,
            weights_used="ImageNet",
            image_shape=(1, 150, 150),
            cost=Cost(
                model="torchvision/resnet18",
                image_size=(224, 224),
                channels=3,
                n_parameters=11_000_000,
                multiply_adds=int(1e8 * separation**3),
            ),
            history=History(epochs=epochs, kept_epoch=12),
            timing=Timing(fit_seconds=60 * minutes, n_train_images_per_second=100),
            evaluation=evaluation,
            files=files,
        )
    )
    return store.record
