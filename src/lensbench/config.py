"""Every setting once, with its help text; a contradiction dies when the object is made."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

DefaultSplit = Literal["halved", "sealed", "stratified", "given"]
"""The conventions that say everything by their name, so that a recipe can have one."""

SplitConvention = Literal[DefaultSplit, "kfold", "csv"]
"""How the images are divided; `data.split.make_split` says what each name means."""

AcceptableFinding = Literal[
    "contradiction", "leak", "near-contradiction", "near-leak", "folder-without-images"
]
"""Errors of a data set with which a model could be trained; whether its test is honest then, who
accepts them has to know."""

Selection = Literal["all", "greedy"]
"""Who is a member of an ensemble: every candidate, or whom `evaluation.ensemble` selects."""

PerImage = Literal["none", "min-max", "standardise"]
Stretch = Literal["none", "sqrt", "asinh", "log"]
Normalisation = Literal["none", "imagenet"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
MemoryFormat = Literal["contiguous", "channels-last"]
Views = Literal["none", "d4"]
AskedViews = Literal["auto"] | Views

DATASET_URL = "https://drive.google.com/file/d/1ZEyNMEO43u3qhJAwJeBZxFBEYc_pVYZQ/view"
"""Where DeepLense publishes the archive of Common Test I."""

UNFINISHED = "manifest.partial.json"
"""A file that lies in the folder of a simulated data set until all of its images are there."""

EXECUTION_NOTE = "execution.json"
"""A file in the folder of an unfinished fit that says how its steps are computed."""


def is_text(name: str) -> bool:
    """Whether a name is UTF-8; a Linux file system takes any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class Spec(BaseModel):
    """A group of settings: immutable, strict about names, its docstrings are its help."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,  # which no JSON could hold
    )

    @field_validator("*")
    @classmethod
    def _can_be_written_down(cls, value: Any) -> Any:
        if isinstance(value, Path) and not is_text(str(value)):
            raise ValueError(f"the name {str(value)!r} is no UTF-8, which no record could hold")
        return value


class DataSpec(Spec):
    """Which images."""

    path: Path
    """Folder or archive (.zip, .tar, .tar.gz) of images in {class}/ or {train,val}/{class}/
    folders, or one .npz or HDF5 file with arrays images and labels."""

    labels: Path | None = None
    """CSV file with columns id,label, for images whose folders do not say their class."""

    value_range: tuple[float, float] = (0, 1)
    """Lowest and highest value that a pixel is meant to have; the audit warns of others."""

    accept: tuple[AcceptableFinding, ...] = ()
    """Findings of the audit that shall not stop training; the record keeps them."""

    cache: Path | None = None
    """Where packed images are kept between runs; None is the user's cache folder."""

    @field_validator("value_range")
    @classmethod
    def _is_a_range(cls, value_range: tuple[float, float]) -> tuple[float, float]:
        low, high = value_range
        if not low < high:
            raise ValueError(f"{low} to {high} is no range: the lower value comes first")
        return value_range


_TEST_FRACTION = 0.125


class SplitSpec(Spec):
    """How the images are divided into training, validation and test."""

    convention: SplitConvention | None = None
    """halved, sealed, given, stratified, kfold or csv; None is the recipe's, or what fits."""

    file: Path | None = None
    """CSV with the columns id and part: train, validation, test or unused for every image."""

    folds: int = Field(default=5, ge=2)
    """Parts into which kfold divides all images, whatever partitions they have."""

    fold: int | None = Field(default=None, ge=0)
    """Which of them is the test, from 0. Each needs a folder of its own for its runs; `lensbench
    evaluate` judges the predictions of all together."""

    validation_fraction: float | None = Field(default=None, gt=0, lt=1)
    """Share that becomes validation; None is 1/2 of val, 1/10 of train, 1/8 of anything else."""

    test_fraction: float = Field(default=_TEST_FRACTION, gt=0, lt=1)
    """Share of everything that becomes the test set, where the data have none of their own."""

    train_fraction: float = Field(default=1, gt=0, le=1)
    """Share of each class to train on, for learning curves; a smaller one is part of a larger."""

    seed: int = Field(default=42, ge=0)
    """Seed of the draw."""

    @model_validator(mode="after")
    def _is_one_convention(self) -> Self:
        details = {"csv": self.file, "kfold": self.fold}
        implied = {name for name, detail in details.items() if detail is not None}
        if self.convention in details and not implied:
            raise ValueError("the split csv needs a file, kfold the number of a fold")
        if len(implied | {self.convention} - {None}) > 1:
            raise ValueError("file means the split csv, fold means kfold: choose one split")
        return self

    @model_validator(mode="after")
    def _fold_exists(self) -> Self:
        if self.fold is None and self.folds != 5:
            raise ValueError("folds are of the split kfold: say which fold is the test")
        if self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"there is no fold {self.fold}: they go from 0 to {self.folds - 1}")
        return self

    @model_validator(mode="after")
    def _fractions_leave_training_images(self) -> Self:
        share = (self.validation_fraction or 0.125) + self.test_fraction
        # Of the conventions that data and recipe choose among, this alone takes a test fraction.
        is_open = self.convention is None and self.file is None and self.fold is None
        is_asked_for = is_open and self.test_fraction != _TEST_FRACTION
        is_stratified = self.convention == "stratified" or is_asked_for
        if is_stratified and share >= 1:
            raise ValueError(f"validation and test take {share:.0%}: nothing is left to train on")
        return self


class ModelSpec(Spec):
    """Which classifier."""

    identifier: str
    """library/model, or one of the contract's bare names; `lensbench models` lists them."""

    pretrained: bool = True
    """Start from the library's pretrained weights."""

    weights: Path | None = None
    """A local .safetensors file to start from instead of the library's download."""

    @property
    def starts_trained(self) -> bool:
        """Whether training starts from weights of another fit rather than from random ones."""
        return self.pretrained or self.weights is not None


class Recipe(Spec):
    """How a classifier is trained."""

    name: str
    """Name under which it is reported."""

    image_size: Annotated[int, Field(ge=16)] | Literal["native"] = "native"
    """Side in pixels to which images are resized; native keeps them as they are on disk."""

    channels: Literal[1, 3] = 1
    """Channels that the network sees; a single-channel image is repeated for 3."""

    per_image: PerImage = "none"
    """Rescale each image to values of 0 to 1, or to mean 0 and deviation 1, before all else."""

    stretch: Stretch = "none"
    """Brightness curve: sqrt(x), asinh(x / 0.1) or log(1000 x + 1), scaled to be 1 at 1."""

    normalise: Normalisation = "none"
    """imagenet subtracts ImageNet's mean and divides by its deviation."""

    symmetry: Literal["none", "flips", "d4"] = "d4"
    """Exact flips, or flips and quarter turns, drawn for every training image."""

    rotation_degrees: float = Field(default=0, ge=0, le=180)
    """Training images are turned by an angle drawn from +- this."""

    shift: float = Field(default=0, ge=0, lt=1)
    """Training images are moved by up to this fraction of their side, on each axis."""

    scale: float = Field(default=0, ge=0, lt=1)
    """Training images are scaled by a factor drawn from 1 +- this."""

    affine_share: float = Field(default=1, gt=0, le=1)
    """Share of the training images that are turned, moved and scaled, which interpolates; the
    others see exact symmetries alone, as test images do."""

    epochs: int = Field(ge=1)
    """Passes over the training images."""

    batch_size: int = Field(ge=2)
    """Images per training step."""

    learning_rate: float = Field(gt=0)
    """Of AdamW; the highest one where the schedule changes it."""

    reference_batch_size: Annotated[int, Field(ge=1)] | Literal["none"] = "none"
    """Batch size that learning_rate is meant for; for another one the rate is scaled by the square
    root of their ratio (Malladi et al. 2022, arXiv:2205.10287)."""

    layer_decay: float = Field(default=1, gt=0, le=1)
    """Factor on the learning rate from each layer to the one before it; 1 is one rate for all."""

    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW."""

    decayed: Literal["all", "matrices"] = "all"
    """matrices keeps the weight decay away from biases and from scales of normalisation."""

    gradient_clip: Annotated[float, Field(gt=0)] | Literal["none"] = "none"
    """Largest norm of the gradient of all weights together."""

    label_smoothing: float = Field(default=0, ge=0, lt=1)
    """Share of the target that the training loss spreads evenly over all classes."""

    average: float = Field(default=0, ge=0, lt=1)
    """Length of the exponential moving average of the weights, as a share of all steps; 0 is none.
    The averaged weights are validated, kept and tested. It is updated at each step, or 64 times
    within its length if that has more steps. The n-th update keeps at most 1 - n^(-2/3) of the old
    average, so that the initial weights are forgotten."""

    schedule: Literal["constant", "one-cycle", "cosine", "plateau"] = "one-cycle"
    """cosine falls to zero; plateau lowers the rate when the validation AUC stalls."""

    warm_up: float = Field(default=0, ge=0, lt=1)
    """Share of all steps in which the rate of the schedule cosine rises, evenly."""

    plateau_factor: float = Field(default=0.2, gt=0, lt=1)
    """What the plateau schedule multiplies the rate with."""

    plateau_patience: int = Field(default=3, ge=0)
    """Epochs without a better validation AUC that the plateau schedule waits for."""

    patience: Annotated[int, Field(ge=1)] | Literal["none"] = "none"
    """Stop after so many epochs without a better validation AUC; the record says so."""

    keep: Literal["best", "last"] = "last"
    """Keep the weights of the epoch of the best validation AUC, or of the last one."""

    mixed_precision: bool = True
    """Whether a machine may train in bfloat16 where that is faster; it predicts in float32."""

    test_time_augmentation: Views = "none"
    """d4 predicts by the mean probability over the eight flips and quarter turns of an image."""

    split: DefaultSplit = "sealed"
    """The split convention unless another is asked for."""

    expected: str = ""
    """What it costs and what it reaches, with the conditions."""

    @property
    def step_learning_rate(self) -> float:
        """The learning rate for batches of `batch_size`."""
        if self.reference_batch_size == "none":
            return self.learning_rate
        return self.learning_rate * math.sqrt(self.batch_size / self.reference_batch_size)

    @property
    def knows_d4(self) -> bool:
        """Whether a classifier is trained on all flips and quarter turns of its images."""
        return self.symmetry == "d4" or (self.symmetry == "flips" and self.rotation_degrees == 180)

    @model_validator(mode="after")
    def _warm_up_is_of_cosine(self) -> Self:
        if self.warm_up and self.schedule != "cosine":
            raise ValueError(f"the schedule {self.schedule} takes no warm-up: choose cosine")
        return self

    @model_validator(mode="after")
    def _stretch_takes_the_values(self) -> Self:
        if self.per_image == "standardise" and self.stretch in ("sqrt", "log"):
            raise ValueError(
                f"{self.stretch} makes zero of values below zero, and standardised images are full "
                "of them: choose the stretch asinh or none, or min-max for each image"
            )
        return self


class JudgeSpec(Spec):
    """How predictions are turned into numbers with intervals."""

    level: float = Field(default=0.95, gt=0.5, lt=1)
    """Confidence level of every interval."""

    n_resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples, where an interval has no closed form."""


class MachineSpec(Spec):
    """On what, and how, the work is done."""

    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """Where to train; auto takes a GPU if there is one."""

    precision: Literal["auto", Precision] = "auto"
    """Arithmetic of training; auto measures what is fastest here, as far as the recipe lets it.
    Predictions are made in float32."""

    memory_format: Literal["auto", MemoryFormat] = "auto"
    """Order of pixels and channels in memory; auto measures which is faster here."""

    compile: Literal["auto", "yes", "no"] = "auto"
    """Whether torch.compile makes the training step; auto tries it on a GPU in fits of ten minutes
    and more, and keeps it where the fit wins that time back."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads; None is torch's own choice."""


SUPERSEDED = "superseded"
"""Folder, among runs, of those whose names others have now."""


_LONGEST_NAME = 100

_NAMES_OF_FILES = (".csv", ".html", ".json", ".md", ".png")


def run_name(name: str) -> str:
    """Return a name of a run, if it can be part of file names.

    Raises:
        ValueError: It cannot, or it is the name of the folder for older runs, or like those of the
            files beside the runs.
    """
    if name == SUPERSEDED:
        raise ValueError(f"{name!r} is where older runs move to: name it otherwise")
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"{name!r} has {len(name)} characters: use {_LONGEST_NAME} at most")
    if not re.fullmatch(r"\w[\w .+()-]*", name) or name.endswith("."):
        raise ValueError(
            f"{name!r} becomes part of file names: use letters, digits, spaces and . _ + ( ) -"
        )
    if name.lower().endswith(_NAMES_OF_FILES):
        raise ValueError(f"{name!r} would be a folder among files of such names: name it otherwise")
    return name


class RunConfig(Spec):
    """Everything that defines one run: one classifier, trained once, tested once."""

    name: str
    """The name of the run in files, tables and plots; the contract calls it model_desc."""

    group: str | None = None
    """Name under which runs that differ in their seed alone are ranked as one model; None is the
    run's own."""

    data: DataSpec
    model: ModelSpec
    recipe: Recipe
    split: SplitSpec = SplitSpec()
    judge: JudgeSpec = JudgeSpec()
    machine: MachineSpec = MachineSpec()

    seed: int = Field(default=42, ge=0)
    """Of the initial weights, the order of the images and their augmentation."""

    @field_validator("name")
    @classmethod
    def _is_a_file_name(cls, name: str) -> str:
        return run_name(name)
