"""One run, from files to record."""

from __future__ import annotations

import os
from dataclasses import dataclass

from lensbench.config import RunConfig
from lensbench.data.catalogue import Catalogue, read_catalogue
from lensbench.data.pack import Pack, fingerprint, open_or_build_pack
from lensbench.data.split import Split, make_split
from lensbench.evaluation.evaluate import evaluate
from lensbench.outcome import Predictions
from lensbench.runs.compose import completed_record
from lensbench.runs.environment import describe_environment
from lensbench.runs.record import RunRecord, SplitSummary
from lensbench.runs.store import RunStore
from lensbench.training.fit import fit, predict
from lensbench.zoo.build import build
from lensbench.zoo.classifier import Classifier
from lensbench.zoo.weights import save_weights


@dataclass(frozen=True)
class Prepared:
    """The images of a run, audited, packed and divided."""

    catalogue: Catalogue
    pack: Pack
    split: Split


def prepare(config: RunConfig) -> Prepared:
    """Find, audit, pack and divide the images of a run; quick where that was done before.

    Raises:
        DatasetError: The images cannot be used as they are.
    """
    catalogue = read_catalogue(config.data)
    pack = open_or_build_pack(catalogue, config.data)
    return Prepared(catalogue, pack, make_split(catalogue, config.split, config.recipe.split))


def run_one(config: RunConfig, store: RunStore, label: str) -> RunRecord:
    """Train one classifier and judge it on the test images, once.

    Args:
        config: Every setting of the run.
        store: Where its files go. An interrupted run of the same settings is resumed.
        label: Names the run in the progress bar.

    Returns:
        The record, which is also written, after everything else.

    Raises:
        LensbenchError: What a user can mend.
    """
    data = prepare(config)
    store.begin(config, data.pack.fingerprint)
    classifier = build(
        config.model, config.recipe, data.catalogue.classes, data.pack.image_shape, config.seed
    )
    fitted = fit(
        classifier,
        data.pack,
        data.catalogue.rows_of(data.split.train),
        data.catalogue.rows_of(data.split.validation),
        config.recipe,
        machine=config.machine,
        seed=config.seed,
        folder=store.work,
        label=label,
    )
    save_weights(classifier, store.weights)
    validation = _predict(classifier, data, data.split.validation, config)
    test = _predict(classifier, data, data.split.test, config)
    validation.save(store.predictions("validation"))
    test.save(store.predictions("test"))
    data.split.write(store.split)
    record = completed_record(
        config,
        describe_environment(
            fitted.accelerator, fitted.device, config.machine.precision, fitted.threads
        ),
        image_size=classifier.preprocess.resized[-1],
        data_fingerprint=data.pack.fingerprint,
        split=_summary(data),
        warnings=(*(str(finding) for finding in data.pack.findings), *classifier.notes),
        weights_used=classifier.weights_used,
        n_parameters=classifier.n_parameters,
        history=fitted.history,
        timing=fitted.timing,
        evaluation=evaluate(test, config.judge),
        files={
            name: os.path.relpath(path, store.record.parent)
            for name, path in {
                "weights": store.weights,
                "validation": store.predictions("validation"),
                "test": store.predictions("test"),
            }.items()
        },
    )
    store.finish(record)
    return record


def _predict(
    classifier: Classifier, data: Prepared, ids: tuple[str, ...], config: RunConfig
) -> Predictions:
    rows = data.catalogue.rows_of(ids)
    logits = predict(classifier, data.pack, rows, config.recipe, config.machine)
    return Predictions.of(ids, data.pack.labels[rows], logits, data.catalogue.classes)


def _summary(data: Prepared) -> SplitSummary:
    split = data.split
    return SplitSummary(
        convention=split.convention,
        fingerprint=split.fingerprint,
        n_train=len(split.train),
        n_validation=len(split.validation),
        n_test=len(split.test),
        test_fingerprint=fingerprint(
            split.test, data.pack.digests[data.catalogue.rows_of(split.test)]
        ),
    )
