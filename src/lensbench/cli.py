"""The command line: each verb is a function of `lensbench.api`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, Union, get_args, get_origin

import tyro
from pydantic import BaseModel, Field, create_model
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lensbench import api
from lensbench.choices import checked
from lensbench.config import (
    AcceptableFinding,
    AskedViews,
    DataSpec,
    JudgeSpec,
    MachineSpec,
    ModelSpec,
    Recipe,
    RunConfig,
    Selection,
    SplitSpec,
)
from lensbench.errors import ConfigError, LensbenchError
from lensbench.evaluation.estimate import MACRO_AUC
from lensbench.recipes import RECIPES
from lensbench.runs.foreign import Scores
from lensbench.simulation import CLASSES, KNOBS, POPULATIONS, named_population
from lensbench.version import __version__
from lensbench.whole_file import require_room, write_whole
from lensbench.zoo.names import CONTRACT_MODELS, list_models

if TYPE_CHECKING:
    from lensbench.comparison.compare import Comparison
    from lensbench.reporting.comparison_files import ComparisonFiles

_ERROR = 2
_INTERRUPTED = 130


def _setting(spec: type[BaseModel], field: str) -> Any:
    """Return the help text of a setting, so that it is written once."""
    return tyro.conf.arg(help=_help(spec, field))


def _help(spec: type[BaseModel], field: str) -> str:
    return " ".join((spec.model_fields[field].description or "").split())


def _called(name: str) -> Any:
    """Return how a positional argument is called in help, where its type alone says too little."""
    return tyro.conf.arg(metavar=name)


def _or_none(annotation: Any) -> Any:
    return annotation | None


def _unbounded(annotation: Any) -> Any:
    """Return a type without bounds: `checked` minds them, and tyro would end in a traceback."""
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[0]
    if get_origin(annotation) is Union:
        return reduce(or_, map(_unbounded, get_args(annotation)))
    return annotation


def _values(annotation: Any) -> str:
    """Return what may be typed for a setting; None, for `as the recipe has it`, is left out."""
    if get_origin(annotation) is Literal:
        return "|".join(map(str, get_args(annotation)))
    if get_args(annotation):
        return "|".join(map(_values, get_args(annotation)))
    return str(annotation.__name__).upper()


_CHANGES: Any = {
    name: (
        Annotated[
            _or_none(_unbounded(setting.annotation)),
            tyro.conf.arg(metavar=_values(_unbounded(setting.annotation)), help_behavior_hint=""),
        ],
        Field(None, description=setting.description),
    )
    for name, setting in Recipe.model_fields.items()
    if name not in ("name", "split", "expected")
}
Changes = create_model("Changes", **_CHANGES)
"""Every setting of a recipe, to be changed for one run."""

_PLAIN_NAME = tyro.conf.arg(prefix_name=False, help=_help(SplitSpec, "train_fraction"))
Split = create_model(
    "Split",
    __base__=SplitSpec,
    train_fraction=(Annotated[float, _PLAIN_NAME], SplitSpec.model_fields["train_fraction"]),
)
"""How the images are divided: `--train-fraction`, and the rest as `--split.…`."""

_Path = Annotated[Path, _setting(DataSpec, "path")]
_Weights = Annotated[tyro.conf.Positional[Path], _called("WEIGHTS")]
_RECIPES = " ".join(f"{name}: {recipe.expected}" for name, recipe in RECIPES.items())


@dataclass(frozen=True)
class Which:
    """Which images, beside their path: what `verify`, `run` and `train` have in common."""

    labels: Annotated[Path | None, _setting(DataSpec, "labels")] = None
    value_range: Annotated[tuple[float, float], _setting(DataSpec, "value_range")] = (0, 1)
    cache: Annotated[Path | None, _setting(DataSpec, "cache")] = None

    def of(self, path: Path, **settings: Any) -> DataSpec:
        """Return the settings of the data at a path."""
        return checked(DataSpec, {"path": path} | vars(self) | settings)


_Which = Annotated[Which, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class How:
    """How models are trained: what `run` and `train` have in common."""

    recipe: Annotated[str, tyro.conf.arg(help=f"How to train. {_RECIPES}")] = "contract"
    out: Path = Path("runs")
    """Folder for records, weights, predictions, plots and the comparison, outside the data."""
    pretrained: Annotated[bool, _setting(ModelSpec, "pretrained")] = True
    weights: Annotated[Path | None, _setting(ModelSpec, "weights")] = None
    seed: Annotated[int, _setting(RunConfig, "seed")] = 42
    seeds: int = 1
    """Runs of each model, with seeds from `seed` on; their mean is ranked. A larger number adds to
    those that are finished."""
    judge: JudgeSpec = JudgeSpec()
    which: _Which = Which()
    accept: Annotated[tuple[AcceptableFinding, ...], _setting(DataSpec, "accept")] = ()
    split: Split = field(default_factory=Split)
    machine: MachineSpec = MachineSpec()
    changes: Annotated[Changes, tyro.conf.arg(name="")] = field(default_factory=Changes)

    def run(self, data: Path, models: Sequence[str] | None, group: str | None = None) -> int:
        """Run some models; return the exit status."""
        settings = {one.name: getattr(self, one.name) for one in fields(self)}
        changes = settings.pop("changes").model_dump()
        which: Which = settings.pop("which")
        spec = which.of(data, accept=settings.pop("accept"))
        # Not the class that the command line made of it, which is equal to no other one.
        settings["split"] = checked(SplitSpec, self.split.model_dump())
        return show(api.run(spec, models, group=group, say=_say, **settings, **changes))


_How = Annotated[How, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Judging:
    """How results are judged: what the verbs that rank have in common."""

    metric: str = MACRO_AUC
    """What to rank by: auc_ovr_macro, accuracy, log_loss, recall/vort, ..."""
    judge: JudgeSpec = JudgeSpec()


_Judging = Annotated[Judging, tyro.conf.arg(name="")]


def simulate(
    out: tyro.conf.Positional[Path],
    population: str = "common-test-1",
    n_train: int = 10_000,
    n_val: int = 2_500,
    seed: int = 42,
    shift: tuple[str, ...] = (),
    processes: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    preview: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> int:
    """Simulate a data set in the format of Common Test I.

    Args:
        out: Folder to write to, or a file whose name ends with .h5, which is a tenth as large. An
            interrupted data set there is completed.
        population: common-test-1 (like the published images), physical (as the literature has
            lenses), demo (easier, learnt in minutes), or a .json file; `lensbench populations`
            shows them.
        n_train: Images of each class in train.
        n_val: Images of each class in val.
        seed: The same seed gives the same images.
        shift: Knobs to turn, as KNOB=VALUE; `lensbench populations` lists them.
        processes: How many work at once; None is as many as there are cores and enough to do.
        device: Where to compute; auto takes a GPU if there is one.
        preview: Make no data set, but draw pictures into the folder: the first images of each
            class with their parameters, and two lenses taken apart.
    """
    chosen = named_population(population, _knobs(shift))
    if preview:
        return show_plots(api.preview(out, population=chosen, seed=seed), [])
    folder = api.simulate(
        out,
        population=chosen,
        n_train=n_train,
        n_val=n_val,
        seed=seed,
        processes=processes,
        device=device,
    )
    _say(f"{len(CLASSES) * (n_train + n_val):,} images are in {folder}")
    _say(f"population {chosen.name!r}: {chosen.about}")
    return 0


def _knobs(shift: Sequence[str]) -> dict[str, float]:
    """Read KNOB=VALUE."""
    values: dict[str, float] = {}
    for text in shift:
        name, _, value = text.partition("=")
        if name in values:
            raise ConfigError(f"--shift names {name!r} twice")
        try:
            values[name] = float(value)
        except ValueError as error:
            raise ConfigError(
                f"--shift takes KNOB=VALUE, such as psf=1.41, not {text!r}"
            ) from error
    return values


def populations(
    name: Annotated[tyro.conf.Positional[str | None], _called("[NAME]")] = None,
) -> int:
    """List the populations that can be simulated, and the knobs to shift them with.

    Args:
        name: One of them, to be printed as JSON; a file of such JSON can be simulated.
    """
    if name is not None:
        _say(named_population(name).model_dump_json(indent=2))
        return 0
    table = Table("population", "what to know of it")
    for population in POPULATIONS.values():
        table.add_row(population.name, population.about)
    _console().print(table)
    table = Table("knob", "its value", "levels to test at", "nominal")
    for knob_name, knob in KNOBS.items():
        levels = " ".join(f"{level:g}" for level in knob.levels)
        table.add_row(knob_name, knob.about, levels, f"{knob.nominal:g}")
    _console().print(table)
    return 0


def verify(data: tyro.conf.Positional[_Path], which: _Which, json: Path | None = None) -> int:
    """Audit a data set; exit status 1 means that it is not fit for training.

    Args:
        json: File for all findings with all their images.
    """
    if json is not None:
        require_room(json)
    audit = api.verify(which.of(data))
    table = Table(title=escape(str(data)))
    for column in ("severity", "code", "finding", "first files"):
        table.add_column(column)
    for finding in audit.findings:
        first = "\n".join(map(escape, finding.ids[:3]))
        table.add_row(finding.severity, finding.code, escape(finding.message), first)
    counts = ", ".join(f"{n:,} {name}" for name, n in audit.classes.items())
    size = f" of {' x '.join(map(str, audit.image_shape))}" if audit.image_shape else ""
    if audit.findings:
        _console().print(table)
    n_errors = sum(finding.severity == "error" for finding in audit.findings)
    _say(
        f"{audit.n_images:,} images ({counts}){size}: {n_errors} errors, "
        f"{len(audit.findings) - n_errors} warnings; "
        + ("fit for training" if audit.is_sound else "not fit for training")
    )
    if json is not None:
        write_whole(json, audit.model_dump_json(indent=1))
        _say(f"all findings: {json}")
    return int(not audit.is_sound)


def run(data: _Path, how: _How, models: tuple[str, ...] = ()) -> int:
    """Train, test and compare many models, one after another.

    Finished runs are skipped, interrupted ones resumed, failed ones tried again, and those that
    another process is training are left to it. The exit status is 1 if a model failed.

    Args:
        models: Models by name (`lensbench models` lists them), or name=model to name the run
            yourself; all 23 of the contract if none is given.
    """
    return how.run(data, models or None)


def train(
    data: _Path,
    model: str,
    how: _How,
    name: str | None = None,
    group: Annotated[str | None, _setting(RunConfig, "group")] = None,
) -> int:
    """Train and test one model.

    Args:
        model: Its name; `lensbench models` lists them.
        name: Name of the run in files and tables; None is the model's.
    """
    return how.run(data, [f"{name}={model}" if name else model], group)


def compare(
    paths: tyro.conf.Positional[tuple[Path, ...]],
    judging: _Judging,
    out: Path | None = None,
) -> int:
    """Rank finished runs and say which differences are within the noise.

    Args:
        paths: Result records, or folders that hold some.
        out: Folder for the tables and the plots; None only prints.
    """
    return show_comparison(*api.compare(paths, out, metric=judging.metric, judge=judging.judge))


def report(
    paths: tyro.conf.Positional[tuple[Path, ...]],
    judging: _Judging,
    out: Path = Path("report"),
    table: Path | None = None,
    by: tuple[str, ...] = (),
    figures: bool = True,
) -> int:
    """Write one HTML page of finished runs, and the tables and figures of a paper.

    Args:
        paths: Result records, or folders that hold some; a costs.json of `lensbench time` in one
            of them says what the models cost.
        out: Folder for all of it.
        table: CSV file with a column id and numbers of each image, such as the parameters.csv of a
            simulated data set.
        by: Its columns against which recall is shown.
        figures: Write every figure as PNG and SVG too, which takes longer than the page.
    """
    comparison, made = api.report(
        paths,
        out,
        metric=judging.metric,
        judge=judging.judge,
        table=table,
        by=by,
        figures=figures,
    )
    problems = show_comparison(comparison, None)
    for note in made.notes:
        _say(note)
    for path in made.tables:
        _say(f"table:   {path}")
    if made.figures:
        _say(f"figures: {len(made.figures)} in {made.figures[0].parent}")
    _say(f"report:  {made.page}")
    return problems


def evaluate(
    predictions: tyro.conf.Positional[tuple[str, ...]],
    judging: _Judging,
    out: Path | None = None,
    labels: Path | None = None,
    scores: Scores = "auto",
) -> int:
    """Judge predictions that any other program has made, and compare several.

    Args:
        predictions: Files, or NAME=FILE: .npz with labels and scores (and ids, classes), .npy of
            scores, or .csv with the columns id, label and one for each class. All files of one NAME
            are judged as one, such as those of the folds of a cross-validation.
        out: Folder for a record of each, so that `compare` and `report` take them together with
            runs.
        labels: The labels of .npy files.
        scores: What the scores are; auto takes rows that add up to 1 for probabilities.
    """
    from lensbench.reporting.terminal import estimates_table

    comparison = api.evaluate(
        predictions,
        out,
        labels=labels,
        scores=scores,
        metric=judging.metric,
        judge=judging.judge,
    )
    for entry in comparison.entries:
        _console().print(estimates_table(entry))
    status = show_comparison(comparison, None)
    if out is not None:
        _say(f"records: {out}")
    return status


def ensemble(
    paths: tyro.conf.Positional[tuple[Path, ...]],
    judging: _Judging,
    members: tuple[str, ...] = (),
    select: Selection = "greedy",
    name: str = "Ensemble",
    out: Path | None = None,
) -> int:
    """Make one classifier of finished runs: the mean of their calibrated probabilities.

    Everything is fitted to the validation images; those of the test are met once, at the end.

    Args:
        paths: Result records, or folders that hold some.
        members: Names of the runs to take (default: all that keep their predictions).
        select: all weights them equally; greedy takes, with replacement, whatever lowers the log
            loss on the validation images most.
        name: Name of the ensemble in files and tables.
        out: Folder that gets the folder of the ensemble; None is the first of the runs.
    """
    from lensbench.reporting.terminal import members_table

    made = api.ensemble(
        paths,
        out,
        members=members,
        select=select,
        name=name,
        metric=judging.metric,
        judge=judging.judge,
    )
    _console().print(members_table(made.summary))
    status = show_comparison(made.comparison, None)
    for line in made.summary.left_out:
        _say(f"left out: {line}")
    _say(f"{name}: {made.summary.text}")
    _say(f"record: {made.record}")
    folder = made.record.parent.parent
    _say(f"`lensbench compare {folder} --out {folder}` brings the tables there up to date.")
    return status


def time(
    runs: tyro.conf.Positional[Path],
    machine: MachineSpec = MachineSpec(),
    batch_size: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
    n_repeats: int = 5,
    n_rounds: int = 2,
) -> int:
    """Measure how fast the models of some runs train and predict on this machine.

    No test image is read and nothing is downloaded: weights and images are random.

    Args:
        runs: Folder of runs; the result is kept there as costs.json, where `report` finds it.
        batch_size: Images per step, of all models; None is that of each run.
        n_repeats: How often each speed is measured in each round.
        n_rounds: How often each model has its turn.
    """
    from lensbench.reporting.terminal import costs_table

    costs = api.time(
        runs,
        machine=machine,
        batch_size=batch_size,
        n_repeats=n_repeats,
        n_rounds=n_rounds,
        say=_say,
    )
    _console().print(costs_table(costs))
    return 0


def plots(root: tyro.conf.Positional[Path] = Path("runs")) -> int:
    """Draw the plots that are missing, of finished runs and of their comparison.

    Args:
        root: Folder of runs.
    """
    return show_plots(*api.plots(root))


def explain(
    root: tyro.conf.Positional[Path],
    table: Path,
    by: str = "perturber_mass_solar",
    judge: JudgeSpec = JudgeSpec(),
) -> int:
    """Draw how often the test images of each run are recognised against a number known of them.

    Args:
        root: Folder of runs, or a record.
        table: CSV file with a column id and numbers of each image, such as the parameters.csv of a
            simulated data set.
        by: Column of the number.
    """
    return show_plots(*api.explain(root, table, by, judge=judge))


def export(weights: _Weights, out: Annotated[tyro.conf.Positional[Path], _called("OUT")]) -> int:
    """Write a trained classifier as one file that other programs run, preprocessing included.

    Args:
        weights: The .safetensors file of a run.
        out: A name that ends in .onnx, or in .pt2 for what torch.export.load reads.
    """
    api.export(weights, out)
    _say(f"exported: {out}")
    return 0


def predict(
    weights: _Weights,
    images: Annotated[tyro.conf.Positional[Path], _called("IMAGES")],
    out: Path = Path("predictions.csv"),
    labelled: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    labels: Annotated[Path | None, _setting(DataSpec, "labels")] = None,
    test_time_augmentation: AskedViews = "auto",
    machine: MachineSpec = MachineSpec(),
    batch_size: int = 64,
) -> int:
    """Classify new images. The exit status is 1 if some cannot be.

    Args:
        weights: The .safetensors file of a run, or the folder of a run or an ensemble.
        images: Folder, archive or stack of images of the shape that it was trained on.
        out: CSV file for the probability of each class, a row an image.
        labelled: Write the class of each image too, as its folder says it, for `evaluate`.
        test_time_augmentation: d4 takes the mean over the eight flips and quarter turns of an
            image, unless the classifier was not trained on them; auto does so if its test did.
        batch_size: Images at a time.
    """
    found = api.predict(
        weights,
        images,
        out,
        labelled=labelled,
        labels=labels,
        test_time_augmentation=test_time_augmentation,
        machine=machine,
        batch_size=batch_size,
    )
    for note in found.notes:
        _say(note)
    for name, fault in found.faults.items():
        _say(f"left out: {name}: {fault}")
    _say(f"{len(found.probabilities):,} images classified: {out}")
    return int(bool(found.faults))


def models(
    pattern: Annotated[tyro.conf.Positional[str | None], _called("[PATTERN]")] = None,
) -> int:
    """List the models of the contract, or search all libraries.

    Args:
        pattern: Part of a name, or shell wildcards such as 'timm/vit*'.
    """
    if pattern is None:
        table = Table("name", "model")
        for row in CONTRACT_MODELS:
            table.add_row(row.desc, str(row.model))
        _console().print(table)
        _say("`lensbench models PATTERN` searches torchvision, timm, transformers and our own.")
        return 0
    names = list_models(pattern)
    for name in names:
        _say(name)
    if not names:
        _say(f"no model matches {pattern!r}")
    return int(not names)


def show(result: api.SweepResult) -> int:
    """Print what became of each model and the comparison; return the exit status."""
    table = Table("model", "what happened", "error")
    for outcome in result.outcomes:
        error = outcome.record.error if outcome.record else None
        table.add_row(escape(outcome.job.config.name), outcome.what, escape(error or ""))
    _console().print(table)
    problems = show_comparison(result.comparison, result.files)
    if result.files is not None:
        _say(f"`lensbench report {result.records}` makes one page of all of it.")
    fates = {outcome.what for outcome in result.outcomes}
    if "interrupted" in fates:
        _say("The same command goes on where this one was interrupted.")
        return _INTERRUPTED
    return int("failed" in fates) or problems


def show_comparison(comparison: Comparison, files: ComparisonFiles | None) -> int:
    """Print the ranking, the verdict and where the files are; return the exit status."""
    from lensbench.reporting.terminal import ranking_table

    if comparison.entries:
        _console().print(ranking_table(comparison))
        _say(comparison.verdict)
    for problem in comparison.problems:
        _say(f"left out: {problem}")
    if files is not None:
        for note in files.notes:
            _say(note)
        _say(f"table:  {files.csv}")
        for path in files.comparison_plots.paths.values():
            _say(f"plot:   {path}")
        _say(f"page:   {files.markdown}")
    return int(bool(comparison.problems))


def show_plots(drawn: Sequence[Path], notes: Sequence[str]) -> int:
    """Print which plots were drawn and which could not be; return the exit status."""
    for line in (*map(str, drawn), *notes):
        _say(line)
    _say(f"plots drawn: {len(drawn)}")
    return 0


VERBS: dict[str, Callable[..., int]] = {
    verb.__name__: verb
    for verb in (
        simulate,
        populations,
        verify,
        run,
        train,
        compare,
        report,
        evaluate,
        ensemble,
        time,
        plots,
        explain,
        export,
        predict,
        models,
    )
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a verb, and end the process with its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if list(arguments) == ["--version"]:
        _say(f"lensbench {__version__}")
        sys.exit()
    finish(
        lambda: tyro.extras.subcommand_cli_from_dict(
            VERBS,
            prog="lensbench",
            description="Classify strong gravitational lenses by their dark-matter substructure, "
            "and compare classifiers honestly. `lensbench --version` says which release this is.",
            args=arguments,
        )
    )


def finish(verb: Callable[[], int]) -> NoReturn:
    """Do something and end the process: 0 to 1 as it says, 2 for an error, 130 if interrupted."""
    try:
        status = verb()
    except (LensbenchError, OSError) as error:
        sys.stderr.write(f"lensbench: {error}\n")
        status = _ERROR
    except api.Interrupted as interrupted:
        status = show(interrupted.result)
    except KeyboardInterrupt:
        sys.stderr.write("\nlensbench: interrupted; the same command starts it again\n")
        status = _INTERRUPTED
    sys.exit(status)


def _say(line: str) -> None:
    _console().print(line, highlight=False, soft_wrap=True, markup=False)


def _console() -> Console:
    return Console(emoji=False)  # names of files may hold what looks like the code of one
