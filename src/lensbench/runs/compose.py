"""The outcome of a run -> its record: the contract's fields are derived here and nowhere else."""

from __future__ import annotations

from importlib import metadata

from lensbench.config import RunConfig
from lensbench.cost import Cost
from lensbench.evaluation.estimate import Evaluation
from lensbench.outcome import History, Timing
from lensbench.runs.record import (
    ContractConfig,
    Environment,
    Provenance,
    RunRecord,
    SplitSummary,
    TestResults,
)


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
    timing: Timing,
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
        timing: Without the test pass.
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
        training_time_s=timing.fit_seconds,
        lensbench=Provenance(
            lensbench_version=metadata.version("lensbench"),
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
    return RunRecord(
        model_desc=name,
        model_identifier=source,
        status="Completed",
        config=None,
        test_results=_test_results(evaluation),
        lensbench=Provenance(
            lensbench_version=metadata.version("lensbench"),
            run=None,
            environment=None,
            classes=evaluation.classes,
            warnings=evaluation.undefined,
            estimates=evaluation.estimates,
            files={"test": file},
        ),
    )


def failed_record(config: RunConfig, environment: Environment, error: str) -> RunRecord:
    """Compose the record of a run that ended with an error."""
    return RunRecord(
        model_desc=config.name,
        model_identifier=config.model.identifier,
        status="Failed",
        error=error,
        config=_contract_config(config, environment, None),
        lensbench=Provenance(
            lensbench_version=metadata.version("lensbench"), run=config, environment=environment
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
        learning_rate=config.recipe.learning_rate,
        weight_decay=config.recipe.weight_decay,
        img_size=image_size,
        seed=config.seed,
        device=environment.accelerator,
    )
