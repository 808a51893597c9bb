"""The JSON of a run: the contract's fields under the contract's names, and ours beside them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lensbench.config import RunConfig, Selection
from lensbench.cost import Cost
from lensbench.errors import RecordError
from lensbench.evaluation.estimate import Estimate, Number, RocCurve
from lensbench.machine import machine_name
from lensbench.outcome import History, Timing

SCHEMA_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class ContractConfig(_Part):
    """The settings that the contract's records state."""

    batch_size: int
    epochs: int
    learning_rate: float
    weight_decay: float
    img_size: int | None
    """Side in pixels of what the network saw; unknown before the images were read."""
    seed: int
    device: str | None = None
    """`cpu`, `cuda` or `mps`; the published records leave it out for a CPU."""


class TestResults(_Part):
    """The contract's results on the test images.

    `roc_curve_data` is keyed by class index as a string, and in our records by `micro` and
    `macro` too. `confusion_matrix` is absent from the published records.
    """

    __test__ = False  # not a test class, whatever pytest makes of its name

    accuracy: Number
    auc_ovr_macro: Number
    report: str
    roc_curve_data: dict[str, RocCurve]
    confusion_matrix: tuple[tuple[int, ...], ...] | None = None

    @property
    def class_lines(self) -> tuple[tuple[str, int], ...]:
        """Name and number of test images of each class, as the text table has them.

        It has a line for each class, name and four numbers, down to the accuracy.
        """
        lines = [line.rsplit(maxsplit=4) for line in self.report.split("accuracy")[0].splitlines()]
        return tuple(
            (words[0].strip(), int(words[4]))
            for words in lines
            if len(words) == 5 and words[4].isdigit()
        )


class Environment(_Part):
    """Where a run was made: what must agree before two times may be compared."""

    device: str
    """Model name of the GPU or CPU that trained."""

    accelerator: str
    """`cpu`, `cuda` or `mps`; of a failed run what was asked for."""
    precision: str
    """Of training; `auto` of a run that failed before it was chosen."""
    memory_format: str | None = None
    """`contiguous` or `channels-last`; None in older records and if nothing was trained."""
    compiled: bool | None = None
    """Whether torch.compile made the training step; None likewise."""
    threads: int | None
    """Of torch; None if nothing was trained."""
    platform: str
    python: str
    libraries: dict[str, str]

    @property
    def arithmetic(self) -> str:
        """How training was computed, in words."""
        compiled = "compiled" if self.compiled else None
        return ", ".join(filter(None, (self.precision, self.memory_format, compiled)))

    @property
    def machine(self) -> str:
        """One line that is equal only for runs whose times may be compared.

        Each model is computed in the way that is fastest for it, so `arithmetic` is no part of it.
        """
        return machine_name(self.device, self.accelerator, self.threads)


class SplitSummary(_Part):
    """Which images were used for what."""

    convention: str
    fingerprint: str
    n_train: int
    n_validation: int
    n_test: int
    test_fingerprint: str
    """Of the names and contents of the test images."""


class EnsembleMember(_Part):
    """A run that could be part of an ensemble."""

    name: str
    weight: float
    """Of its probabilities in the mean; 0 if it was not selected."""
    temperature: float
    """By which its logits are divided first."""
    is_calibrated: bool = True
    """False if it calls all validation images right, so that its temperature is 1 for want of a
    best one."""
    validation_log_loss: float
    """Of it alone, in nats, after that."""
    record: str | None = None
    """Where its record lies, relative to the folder of that of the ensemble; None in older ones."""


class EnsembleSummary(_Part):
    """What an ensemble consists of. All of it was fitted to validation images, none to the test."""

    selection: Selection
    n_rounds: int | None
    """Of the greedy selection, those that were kept."""
    n_validation: int
    validation_log_loss: float
    """Of the mean, in nats: too good to be a result, since it was fitted to these images."""
    candidates: tuple[EnsembleMember, ...]
    left_out: tuple[str, ...] = ()
    """Why other records could be no candidates."""
    test_fingerprint: str | None = None
    """That of its members."""

    @property
    def members(self) -> tuple[EnsembleMember, ...]:
        """Those with a weight, the largest first."""
        chosen = [one for one in self.candidates if one.weight]
        return tuple(sorted(chosen, key=lambda one: (-one.weight, one.name)))

    @property
    def text(self) -> str:
        """All of it on one line."""
        members = ", ".join(f"{one.weight:.3g} {one.name}" for one in self.members)
        how = (
            f"selected among {len(self.candidates)} runs in {self.n_rounds} greedy rounds"
            if self.selection == "greedy"
            else "weighted equally"
        )
        as_they_are = "".join(
            f"; {one.name} calls all of them right, so that its probabilities are taken as they are"
            for one in self.members
            if not one.is_calibrated
        )
        alone = min(one.validation_log_loss for one in self.candidates)
        return (
            f"mean of the calibrated probabilities of {members}; {how}; log loss "
            f"{self.validation_log_loss:.4f} on the {self.n_validation:,} validation images that "
            f"it was fitted to, {alone:.4f} of the best run alone{as_they_are}"
        )


def _known_version(version: int) -> int:
    if version > SCHEMA_VERSION:
        raise ValueError(f"written by a later version of lensbench (schema {version}): update it")
    return version


class Provenance(_Part):
    """What a record of ours holds beyond the contract's fields."""

    schema_version: Annotated[int, AfterValidator(_known_version)] = SCHEMA_VERSION
    lensbench_version: str
    run: RunConfig | None
    """Its settings; None where nothing was trained: predictions that another program has made, or
    an ensemble."""
    environment: Environment | None
    """None likewise."""
    ensemble: EnsembleSummary | None = None
    classes: tuple[str, ...] = ()
    data_fingerprint: str | None = None
    """Of the names and contents of all images."""
    split: SplitSummary | None = None
    warnings: tuple[str, ...] = ()
    """What the audit of the data had to say, and everything that was degraded."""
    weights_used: str | None = None
    image_shape: tuple[int, int, int] | None = None
    """(C, H, W) of the images on disk."""
    cost: Cost | None = None
    """Parameters and multiply-adds of the classifier."""
    history: History | None = None
    timing: Timing | None = None
    estimates: dict[str, Estimate] = Field(default_factory=dict)
    """Every result on the test images with its interval, keyed by name."""
    files: dict[str, str] = Field(default_factory=dict)
    """Weights and predictions, as paths relative to the record."""


class RunRecord(_Part):
    """One run. The published records of the contract are read as they are: `lensbench` is None."""

    model_desc: str
    model_identifier: str
    status: str
    """`Completed`, or else why there are no results: `Failed` in our records."""
    error: str | None = None
    config: ContractConfig | None
    """None where nothing was trained."""
    best_epoch: int | None = None
    best_val_auc: float | None = None
    train_losses: tuple[float, ...] = ()
    val_losses: tuple[float, ...] = ()
    val_aucs: tuple[float, ...] = ()
    test_results: TestResults | None = None
    training_time_s: float | None = None
    lensbench: Provenance | None = None

    @property
    def model_name(self) -> str:
        """The name that runs share which differ in their seed alone."""
        run = self.lensbench.run if self.lensbench else None
        return (run.group if run else None) or self.model_desc

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, or their indices where the record does not tell; none before the test.

        The published records have the names in their text table only.
        """
        if self.lensbench is not None and self.lensbench.classes:
            return self.lensbench.classes
        if self.test_results is None:
            return ()
        names = tuple(name for name, _ in self.test_results.class_lines)
        indices = tuple(key for key in self.test_results.roc_curve_data if key.isdecimal())
        return names if len(names) == len(indices) else indices

    @property
    def machine(self) -> str:
        """Where it was trained; times are comparable between equal machines only."""
        if self.lensbench is None:
            return f"{(self.config.device if self.config else None) or 'cpu'} (as published)"
        if self.ensemble is not None:
            return "none (an ensemble)"
        environment = self.lensbench.environment
        return environment.machine if environment else "unknown (trained elsewhere)"

    @property
    def is_foreign(self) -> bool:
        """Whether predictions of another program were judged."""
        ours = self.lensbench
        return ours is not None and ours.run is None and ours.ensemble is None

    @property
    def ensemble(self) -> EnsembleSummary | None:
        """What it consists of, if it is an ensemble of other runs."""
        return self.lensbench.ensemble if self.lensbench else None

    @property
    def is_completed(self) -> bool:
        """Whether there are results."""
        return self.status == "Completed"

    @classmethod
    def read(cls, path: Path) -> RunRecord:
        """Read a record of ours or one of the contract's.

        Raises:
            RecordError: The file cannot be read, is not JSON, or lacks a field; names the file.
        """
        try:
            record = cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            raise RecordError(f"{path}: not a result record: {faults(error)}") from error
        if record.is_completed and record.test_results is None:
            raise RecordError(f"{path}: not a result record: completed, but without test_results")
        return record


def read_records(paths: Iterable[Path]) -> tuple[list[tuple[Path, RunRecord]], list[str]]:
    """Return the records that can be read, each with its path, and why others cannot."""
    records, problems = [], []
    for path in paths:
        try:
            records.append((path, RunRecord.read(path)))
        except RecordError as error:
            problems.append(str(error))
    return records, problems


def faults(error: ValidationError) -> str:
    """Return in a line what is wrong with a file that was read: its first three faults."""
    return "; ".join(_fault(detail) for detail in error.errors()[:3])


def _fault(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{where}: a setting that this version of lensbench does not know: update it"
    return f"{where}: {detail['msg']}" if where else str(detail["msg"])
