"""One run, from files to record."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from lensbench.config import ModelSpec, RunConfig
from lensbench.data.finding import Finding, require_sound
from lensbench.data.pack import Pack, cache_folder, fingerprint, open_or_build_pack
from lensbench.data.split import Split, make_split, straddling
from lensbench.evaluation.ensemble import mean_prediction
from lensbench.evaluation.estimate import undefined_silenced
from lensbench.evaluation.evaluate import evaluate, require_class_names
from lensbench.outcome import Predictions
from lensbench.runs.compose import completed_record
from lensbench.runs.environment import describe_environment
from lensbench.runs.identity import Fingerprints
from lensbench.runs.record import RunRecord, SplitSummary
from lensbench.runs.store import RunStore
from lensbench.training.fit import fit, predict
from lensbench.training.views import refusal
from lensbench.zoo.build import build
from lensbench.zoo.classifier import Classifier, Symmetry
from lensbench.zoo.count import cost_of
from lensbench.zoo.weights import fingerprint as fingerprint_of_file
from lensbench.zoo.weights import save_weights


@dataclass(frozen=True)
class Prepared:
    """The images of a run, audited, packed and divided."""

    pack: Pack
    split: Split
    warnings: tuple[str, ...]
    """What was found and does not stop training."""

    def fingerprints(self, model: ModelSpec) -> Fingerprints:
        """Return those of the images, of the split, and of the file that a model starts from.

        Raises:
            OSError: The file cannot be read.
        """
        weights = fingerprint_of_file(model.weights) if model.weights else None
        return Fingerprints(self.pack.fingerprint, self.split.fingerprint, weights)


def prepare(config: RunConfig) -> Prepared:
    """Find, audit, pack and divide the images of a run; quick where that was done before.

    Raises:
        DatasetError: The images cannot be used as they are.
        RecordError: A class has a name that means something else in records.
    """
    pack = open_or_build_pack(config.data)
    require_class_names(pack.classes)
    split = make_split(pack.catalogue, config.split, config.recipe.split, pack.groups)
    findings = _that_matter(pack.findings, split)
    require_sound(config.data.path, findings, config.data.accept)
    leaks = _leaks(pack, split)
    require_sound(config.data.path, leaks, config.data.accept)
    return Prepared(pack, split, tuple(map(str, (*findings, *leaks))))


def _that_matter(findings: tuple[Finding, ...], split: Split) -> tuple[Finding, ...]:
    """Leave out copies in different partitions if the split does not go by partitions."""
    if split.convention not in ("kfold", "csv"):
        return findings
    return tuple(finding for finding in findings if finding.code not in ("leak", "near-leak"))


def _leaks(pack: Pack, split: Split) -> tuple[Finding, ...]:
    """Find copies in different parts; where the parts are partitions, the audit found them too."""
    exact = straddling(split, pack.catalogue, pack.exact_groups)
    near = tuple(i for i in straddling(split, pack.catalogue, pack.groups) if i not in set(exact))
    return tuple(
        Finding(
            code=code,
            severity="error",
            message=f"{len(ids)} images have copies in another part of the split",
            ids=ids,
        )
        for code, ids in (("leak", exact), ("near-leak", near))
        if ids
    )


def run_one(config: RunConfig, data: Prepared, store: RunStore, label: str) -> RunRecord:
    """Train one classifier and judge it on the test images, once.

    Args:
        config: Every setting of the run.
        data: What `prepare` made of its images. All runs of a sweep get the same, whatever becomes
            of the files meanwhile.
        store: Where its files go. An interrupted run of the same settings is resumed.
        label: Names the run in the progress bar.

    Returns:
        The record, which is also written, after everything else.

    Raises:
        LensbenchError: What a user can mend.
    """
    store.begin(config, data.fingerprints(config.model))
    data.split.write(store.split)
    catalogue = data.pack.catalogue
    classifier = build(
        config.model, config.recipe, catalogue.classes, data.pack.image_shape, config.seed
    )
    cost = cost_of(classifier)  # before the fit, which a model that cannot be counted would waste
    fitted = fit(
        classifier,
        data.pack,
        catalogue.rows_of(data.split.train),
        catalogue.rows_of(data.split.validation),
        config.recipe,
        machine=config.machine,
        seed=config.seed,
        folder=store.work,
        cache=cache_folder(config.data) / "executions.json",
        label=label,
    )
    save_weights(classifier, store.weights)
    predictions = {
        **_predict(classifier, data, config, "validation"),
        **_predict(classifier, data, config, "test"),
    }
    for name, one in predictions.items():
        one.save(store.predictions(name))
    with undefined_silenced():
        evaluation = evaluate(predictions["test"], config.judge)
    files = {"weights": store.weights} | {name: store.predictions(name) for name in predictions}
    record = completed_record(
        config,
        describe_environment(
            fitted.hardware.accelerator,
            fitted.hardware.device,
            fitted.execution.precision,
            fitted.hardware.threads,
            memory_format=fitted.execution.memory_format,
            compiled=fitted.execution.compiled,
        ),
        image_size=classifier.preprocess.resized[-1],
        data_fingerprint=data.pack.fingerprint,
        split=_summary(data),
        warnings=(*data.warnings, *classifier.notes, *degraded(config, data), *fitted.notes),
        weights_used=classifier.weights_used,
        image_shape=data.pack.image_shape,
        cost=cost,
        history=fitted.history,
        timing=fitted.timing,
        evaluation=evaluation,
        files={name: os.path.relpath(path, store.record.parent) for name, path in files.items()},
    )
    store.finish(record)
    return record


def degraded(config: RunConfig, data: Prepared) -> tuple[str, ...]:
    """Return a line for each wish of the recipe that cannot be met with these images."""
    reason = refusal(Symmetry.of(config.recipe), data.pack.image_shape)
    return () if reason is None else (reason,)


def _predict(
    classifier: Classifier, data: Prepared, config: RunConfig, part: Literal["validation", "test"]
) -> dict[str, Predictions]:
    """Return the mean prediction over the views of each image, by the name of the part.

    Where there are several views, that from the image alone is beside it, as `*_single_view`.
    """
    ids: tuple[str, ...] = getattr(data.split, part)
    rows = data.pack.catalogue.rows_of(ids)
    logits = predict(classifier, data.pack, rows, config.recipe, config.machine)
    views = [Predictions.of(ids, data.pack.labels[rows], one, data.pack.classes) for one in logits]
    if len(views) == 1:
        return {part: views[0]}
    mean = mean_prediction(views, [1.0] * len(views), [1 / len(views)] * len(views))
    return {part: mean, f"{part}_single_view": views[0]}


def _summary(data: Prepared) -> SplitSummary:
    split = data.split
    test = data.pack.catalogue.rows_of(split.test)
    return SplitSummary(
        convention=split.convention,
        fingerprint=split.fingerprint,
        n_train=len(split.train),
        n_validation=len(split.validation),
        n_test=len(split.test),
        test_fingerprint=fingerprint(
            split.test,
            (data.pack.classes[k] for k in data.pack.labels[test]),
            data.pack.digests[test].tolist(),
        ),
    )
