"""The outcome of a run -> its record: the contract's fields are derived here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, TypeVar

from lensbench.config import RunConfig, Selection
from lensbench.cost import Cost
from lensbench.evaluation.estimate import Evaluation
from lensbench.outcome import History, Timing
from lensbench.runs.record import (
    ContractConfig,
    EnsembleMember,
    EnsembleSummary,
    Environment,
    Provenance,
    RunRecord,
    SplitSummary,
    TestResults,
)
from lensbench.version import __version__

if TYPE_CHECKING:  # it takes scipy, which training does without
    from lensbench.evaluation.ensemble import Ensemble

_T = TypeVar("_T")


def completed_record(
    config: RunConfig,
    environment: Environment,
    *,
    image_size: int,
    data_fingerprint: str,
    split: SplitSummary,
    warnings: tuple[str, ...],
    weights_used: str,
    image_shape: tuple[int, int, int],
    cost: Cost,
    history: History,
    timing: Timing | None,
    evaluation: Evaluation,
    files: dict[str, str],
) -> RunRecord:
    """Compose the record of a run that was tested.

    Args:
        config: Its settings.
        environment: Where it ran.
        image_size: Side in pixels of the images that the network saw.
        data_fingerprint: Of the names and contents of all images.
        split: Which images were used for what.
        warnings: What the data's audit found, and everything that was degraded.
        weights_used: From which weights training started.
        image_shape: (C, H, W) of the images on disk.
        cost: Of the classifier.
        history: All epochs.
        timing: Without the test pass; None if it is not known.
        evaluation: Of the test predictions.
        files: Weights and predictions, relative to the record.
    """
    return RunRecord(
        model_desc=config.name,
        model_identifier=config.model.identifier,
        status="Completed",
        config=_contract_config(config, environment, image_size),
        best_epoch=history.kept_epoch,
        best_val_auc=history.kept.validation_auc,
        train_losses=tuple(epoch.train_loss for epoch in history.epochs),
        val_losses=tuple(epoch.validation_loss for epoch in history.epochs),
        val_aucs=tuple(epoch.validation_auc for epoch in history.epochs),
        test_results=_test_results(evaluation),
        training_time_s=timing.fit_seconds if timing else None,
        lensbench=Provenance(
            lensbench_version=__version__,
            run=config,
            environment=environment,
            classes=evaluation.classes,
            data_fingerprint=data_fingerprint,
            split=split,
            warnings=(*warnings, *evaluation.undefined),
            weights_used=weights_used,
            image_shape=image_shape,
            cost=cost,
            history=history,
            timing=timing,
            estimates=evaluation.estimates,
            files=files,
        ),
    )


def foreign_record(name: str, source: str, evaluation: Evaluation, file: str) -> RunRecord:
    """Compose the record of predictions that another program made.

    Args:
        name: Of the model in rankings.
        source: Where the predictions came from.
        evaluation: Of the predictions.
        file: The predictions, relative to the record.
    """
    return _judged_record(name, source, evaluation, {"test": file}, warnings=evaluation.undefined)


def ensemble_summary(
    ensemble: Ensemble,
    selection: Selection,
    records: Mapping[str, str],
    uncalibrated: Set[str],
    left_out: tuple[str, ...],
    test_fingerprints: Set[str],
) -> EnsembleSummary:
    """Summarise the members and weights of an ensemble for its record.

    Args:
        ensemble: Fitted.
        selection: How its members were selected.
        records: Where the record of each candidate lies, relative to that of the ensemble.
        uncalibrated: Candidates that call all validation images right.
        left_out: A line for each record that could be no candidate.
        test_fingerprints: All that its members know.
    """
    return EnsembleSummary(
        selection=selection,
        n_rounds=ensemble.n_rounds,
        n_validation=ensemble.n_validation,
        validation_log_loss=ensemble.loss,
        candidates=tuple(
            EnsembleMember(
                name=name,
                weight=weight,
                temperature=ensemble.temperatures[name],
                is_calibrated=name not in uncalibrated,
                validation_log_loss=ensemble.losses[name],
                record=records[name],
            )
            for name, weight in ensemble.weights.items()
        ),
        left_out=left_out,
        test_fingerprint=_the_only(test_fingerprints),
    )


def ensemble_record(
    name: str,
    summary: EnsembleSummary,
    members: Sequence[RunRecord],
    evaluation: Evaluation,
    files: dict[str, str],
) -> RunRecord:
    """Compose the record of an ensemble.

    What is the same for all members is so for it, and each of their warnings holds for it.

    Args:
        name: Of the ensemble in rankings.
        summary: What it consists of.
        members: Their records.
        evaluation: Of its test predictions.
        files: Its predictions, relative to the record.
    """
    ours = [member.lensbench for member in members if member.lensbench is not None]
    warnings = [text for one in ours for text in one.warnings]
    n_members = f"{len(members)} run{'s' if len(members) > 1 else ''}"
    return _judged_record(
        name,
        f"ensemble of {n_members}",
        evaluation,
        files,
        ensemble=summary,
        data_fingerprint=_the_only({one.data_fingerprint for one in ours}),
        split=_the_only({one.split for one in ours}),
        warnings=tuple(dict.fromkeys((*warnings, *evaluation.undefined))),
        image_shape=_the_only({one.image_shape for one in ours}),
    )


def _the_only(values: Set[_T]) -> _T | None:
    """Return the value of a set of one; None if there are more, or none."""
    return next(iter(values)) if len(values) == 1 else None


def failed_record(config: RunConfig, environment: Environment, error: str) -> RunRecord:
    """Compose the record of a run that ended with an error."""
    return RunRecord(
        model_desc=config.name,
        model_identifier=config.model.identifier,
        status="Failed",
        error=error,
        config=_contract_config(config, environment, None),
        lensbench=Provenance(lensbench_version=__version__, run=config, environment=environment),
    )


def _judged_record(
    name: str, identifier: str, evaluation: Evaluation, files: dict[str, str], **known: Any
) -> RunRecord:
    """Compose the record of predictions that no training of ours made, and what is known of it."""
    return RunRecord(
        model_desc=name,
        model_identifier=identifier,
        status="Completed",
        config=None,
        test_results=_test_results(evaluation),
        lensbench=Provenance(
            lensbench_version=__version__,
            run=None,
            environment=None,
            classes=evaluation.classes,
            estimates=evaluation.estimates,
            files=files,
            **known,
        ),
    )


def _test_results(evaluation: Evaluation) -> TestResults:
    names = [*evaluation.classes, "micro", "macro"]
    keys = [*(str(k) for k in range(len(evaluation.classes))), "micro", "macro"]
    return TestResults(
        accuracy=evaluation.estimates["accuracy"].value,
        auc_ovr_macro=evaluation.estimates["auc_ovr_macro"].value,
        report=evaluation.report,
        roc_curve_data={
            key: evaluation.roc_curves[name]
            for key, name in zip(keys, names, strict=True)
            if name in evaluation.roc_curves
        },
        confusion_matrix=evaluation.confusion_matrix,
    )


def _contract_config(
    config: RunConfig, environment: Environment, image_size: int | None
) -> ContractConfig:
    return ContractConfig(
        batch_size=config.recipe.batch_size,
        epochs=config.recipe.epochs,
        learning_rate=config.recipe.step_learning_rate,
        weight_decay=config.recipe.weight_decay,
        img_size=image_size,
        seed=config.seed,
        device=environment.accelerator,
    )
