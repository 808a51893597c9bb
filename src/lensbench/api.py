"""The verbs of `lensbench` as functions: what the command line and a notebook both call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lensbench.choices import Models, choose_runs, data_spec
from lensbench.config import (
    AskedViews,
    DataSpec,
    JudgeSpec,
    MachineSpec,
    Recipe,
    Selection,
    SplitSpec,
    run_name,
)
from lensbench.errors import ComparisonError, ConfigError, RecordError
from lensbench.evaluation.estimate import MACRO_AUC
from lensbench.named import (
    Paths,
    each,
    files_by_name,
    named_paths,
    records_in,
    require_folder,
    require_one_of,
    require_outside,
    require_predictions,
)
from lensbench.outcome import Predictions
from lensbench.runs.layout import NATIVE, RECORD, Layout, find_records
from lensbench.runs.record import read_records
from lensbench.runs.store import RunStore, load_predictions
from lensbench.whole_file import require_room

if TYPE_CHECKING:
    from lensbench.comparison.compare import Comparison
    from lensbench.data.finding import Audit
    from lensbench.prediction import Classified
    from lensbench.reporting.comparison_files import ComparisonFiles
    from lensbench.reporting.plots import Plots
    from lensbench.reporting.report import Report
    from lensbench.runs.cost import Costs
    from lensbench.runs.foreign import Scores
    from lensbench.runs.record import EnsembleSummary
    from lensbench.simulation.population import Population
    from lensbench.sweep import JobOutcome


@dataclass(frozen=True)
class SweepResult:
    """What `run` leaves: an outcome for each model, and the comparison of all finished runs."""

    outcomes: tuple[JobOutcome, ...]
    comparison: Comparison
    files: ComparisonFiles | None
    """None if no run is finished, or if those below the folder cannot all be compared."""
    records: Path
    """The folder that `compare` and `report` take for all runs."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM ended `run`, which has compared in `result` what was finished."""

    def __init__(self, result: SweepResult) -> None:
        """Keep the result."""
        super().__init__("interrupted; the same call goes on from the last checkpoint")
        self.result = result


@dataclass(frozen=True)
class EnsembleResult:
    """An ensemble, where its record lies, and the comparison of it with all candidates."""

    summary: EnsembleSummary
    record: Path
    comparison: Comparison


def simulate(
    out: str | Path,
    *,
    population: str | Path | Population = "common-test-1",
    n_train: int = 10_000,
    n_val: int = 2_500,
    seed: int = 42,
    shift: Mapping[str, float] | None = None,
    processes: int | None = None,
    device: str = "auto",
) -> Path:
    """Simulate a data set, in the archive's folder format or as one HDF5 file of photon counts.

    The images depend on population, shift, seed and their own number alone, not on the format, the
    processes or the device (but for rounding, in one of some 10^12 pixels). Two tables beside them
    hold the parameters of every image and of every perturber.

    Args:
        out: Folder to write to, or a file whose name ends with `.h5`. A finished data set of the
            same settings is left as it is, an interrupted one completed.
        population: What the lenses are like: `common-test-1`, `physical`, `demo`, a JSON file that
            declares another, or a `lensbench.simulation.Population`.
        n_train: Images of each class in `train`.
        n_val: Images of each class in `val`.
        seed: The same seed gives the same images.
        shift: Values of knobs, such as `{"psf": 1.41}`; `lensbench.simulation.KNOBS` lists them.
        processes: How many work at once (default: as many as there are cores and enough to do).
        device: `cpu`, `cuda`, or `auto` for a GPU if there is one.

    Raises:
        ConfigError: There is no such population, knob or device, or a number makes no sense.
        DatasetError: `out` holds something else, cannot be written, or another process writes it.
    """
    from lensbench.simulation import named_population
    from lensbench.simulation import simulate as simulate_population

    return simulate_population(
        named_population(population, shift),
        Path(out),
        n_train=n_train,
        n_val=n_val,
        seed=seed,
        processes=processes,
        device=device,
    )


def preview(
    out: str | Path,
    *,
    population: str | Path | Population = "common-test-1",
    seed: int = 42,
    shift: Mapping[str, float] | None = None,
) -> list[Path]:
    """Draw what `simulate` would make: a sheet of images, and two lenses taken apart.

    Args:
        out: Folder for the pictures.
        population: As `simulate` takes it.
        seed: The pictures are of the first images that this seed gives.
        shift: As `simulate` takes it.

    Returns:
        The pictures.

    Raises:
        ConfigError: There is no such population or knob, the seed makes no sense, or `out` is a
            data set, to which the pictures would be images of no class.
    """
    from lensbench.figures.lenses import draw_anatomy, draw_contact_sheet
    from lensbench.figures.save import save_figure
    from lensbench.simulation import named_population
    from lensbench.simulation.folder import is_data_set
    from lensbench.simulation.preview import contact_sheet, take_apart
    from lensbench.simulation.stack import SUFFIXES

    if Path(out).suffix.lower() in SUFFIXES:
        raise ConfigError(f"{out}: a preview is several pictures; name a folder for them")
    if is_data_set(Path(out)):
        raise ConfigError(f"{out} is a data set: name another folder for the pictures")
    chosen = named_population(population, shift)
    sheet = draw_contact_sheet(contact_sheet(chosen, seed), f"{chosen.name}, seed {seed}")
    paths = [save_figure(sheet, Path(out) / "lenses.png")]
    for label in ("sphere", "vort"):
        figure = draw_anatomy(take_apart(chosen, label, seed))
        paths.append(save_figure(figure, Path(out) / f"{label}_taken_apart.png"))
    return paths


def verify(data: str | Path | DataSpec) -> Audit:
    """Audit a data set: read every file once and return all findings, errors first.

    Raises:
        DatasetError: There are no images, or they are not labelled.
    """
    from lensbench.data import pack

    return pack.verify(data_spec(data))


def run(
    data: str | Path | DataSpec,
    models: Models = None,
    *,
    recipe: str | Recipe = "contract",
    out: str | Path = "runs",
    pretrained: bool = True,
    weights: Path | None = None,
    split: SplitSpec = SplitSpec(),
    machine: MachineSpec = MachineSpec(),
    judge: JudgeSpec = JudgeSpec(),
    seed: int = 42,
    seeds: int = 1,
    group: str | None = None,
    layout: Layout = NATIVE,
    say: Callable[[str], None] = print,
    **overrides: Any,
) -> SweepResult:
    """Train, test and compare classifiers one after another.

    The comparison holds every finished run below `out`, those of earlier calls as well, as long
    as they were tested on the same images.

    Args:
        data: Where the images are, or all settings of the data.
        models: Names of classifiers (`ResNet18`, `resnet18`, `timm/resnet10t`), `name=model` to
            name the run as well, or rows (name, model, batch size); None: the contract's table.
        recipe: How to train: the name of a recipe, which is adapted to the family of each model, or
            one of your own, which is taken as it is.
        out: Folder for records, weights, predictions, plots and the comparison, outside the data.
        pretrained: Start from the libraries' pretrained weights.
        weights: A local `.safetensors` file to start from, for a single model.
        split: How the images are divided.
        machine: On what the work is done.
        judge: How results are judged.
        seed: Of initial weights, order and augmentation.
        seeds: Runs of each model, with seeds from `seed` on. Their mean is ranked, with an interval
            for both the test set and the training. A larger number adds to those that are finished.
        group: The name in rankings of a single model, which other runs of it may share that differ
            in their seed alone.
        layout: File names below `out`.
        say: Takes each line of news.
        **overrides: Settings of the recipe to change, such as `epochs=3`.

    Raises:
        LensbenchError: Settings, weights or data that cannot be used, before anything is trained.
        Interrupted: Ctrl-C or SIGTERM; a KeyboardInterrupt with the result so far.
    """
    from lensbench.comparison.compare import compare as compare_records
    from lensbench.reporting.comparison_files import write_comparison
    from lensbench.sweep import Job, sweep

    configs = choose_runs(
        data,
        models,
        recipe,
        overrides,
        pretrained=pretrained,
        weights=weights,
        split=split,
        machine=machine,
        judge=judge,
        seed=seed,
        seeds=seeds,
        group=group,
    )
    require_outside(Path(out), configs[0].data.path)
    jobs = [Job(config, RunStore(Path(out), config.name, layout)) for config in configs]
    outcomes = sweep(jobs, say)
    try:
        comparison = compare_records(find_records(Path(out), layout), judge)
        is_whole = True
    except ComparisonError as error:
        say(f"not compared with the other runs in {out}, whose tables stay as they are: {error}")
        records = [outcome.job.store.record for outcome in outcomes if outcome.record is not None]
        comparison, is_whole = compare_records(records, judge), False
    files = None
    if comparison.entries and is_whole:
        files = write_comparison(
            comparison,
            Path(out),
            run_figures=_shared_figures(Path(out), layout),
            csv_name=layout.csv,
            only_missing=True,
        )
    result = SweepResult(tuple(outcomes), comparison, files, layout.records_of(Path(out)))
    if any(outcome.what == "interrupted" for outcome in outcomes):
        raise Interrupted(result)
    return result


def compare(
    paths: Paths,
    out: str | Path | None = None,
    *,
    metric: str = MACRO_AUC,
    judge: JudgeSpec = JudgeSpec(),
    layout: Layout = NATIVE,
) -> tuple[Comparison, ComparisonFiles | None]:
    """Rank finished runs, and write tables and plots if `out` is given.

    Args:
        paths: Records, or folders that hold some.
        out: Folder for the tables and the plots.
        metric: What to rank by, as estimates are named: `accuracy`, `recall/vort`, ...
        judge: Level of the intervals and of the ties, and resamples of the bootstrap.
        layout: File names below those folders and below `out`.

    Raises:
        RecordError: There are no records at all.
        ConfigError: There is no such metric.
        ComparisonError: The runs were tested on different images.
    """
    from lensbench.comparison.compare import compare as compare_records

    comparison = compare_records(records_in(paths, layout), judge, metric)
    if out is None:
        return comparison, None
    from lensbench.reporting.comparison_files import write_comparison

    shared = _shared_figures(Path(out), layout)
    files = write_comparison(
        comparison,
        Path(out),
        run_figures=shared or Path(out),
        csv_name=layout.csv,
        only_missing=shared is not None,
    )
    return comparison, files


def report(
    paths: Paths,
    out: str | Path = "report",
    *,
    metric: str = MACRO_AUC,
    judge: JudgeSpec = JudgeSpec(),
    table: str | Path | None = None,
    by: str | Sequence[str] = (),
    figures: bool = True,
) -> tuple[Comparison, Report]:
    """Write one HTML page of finished runs, and the tables and figures of a paper.

    Args:
        paths: Records, or folders that hold some; the first of these with a `costs.json` of
            `time` says what the models cost.
        out: Folder for all of it.
        metric: What to rank by.
        judge: Level of the intervals and of the ties, and resamples of the bootstrap.
        table: CSV file with numbers of each image, as `explain` takes it.
        by: Its columns, or one of them, against which recall is shown.
        figures: Whether to write the static figures too, which takes longer than the page.

    Raises:
        RecordError: There are no records, or the table lacks an image or a number.
        ConfigError: There is no such metric, or only one of `table` and `by` is given.
        ComparisonError: The runs were tested on different images.
    """
    from lensbench.comparison.compare import compare as compare_records
    from lensbench.data.table import read_ids_and
    from lensbench.reporting.report import write_report
    from lensbench.runs.cost import COSTS, Costs

    if (table is None) != (not by):
        raise ConfigError("recall against a number needs both a table and its columns")
    recalls = {
        column: _numbers(read_ids_and(column, Path(table)), column, Path(table))
        for column in each(by)
        if table is not None
    }
    places = named_paths(paths)
    comparison = compare_records(records_in(places), judge, metric)
    measured = [place / COSTS for place in places if (place / COSTS).is_file()]
    made = write_report(
        comparison,
        Path(out),
        judge,
        costs=Costs.read(measured[0]) if measured else None,
        recalls=recalls,
        figures=figures,
    )
    unused = tuple(
        f"{path} is not used: speeds of two files are not mixed" for path in measured[1:]
    )
    return comparison, replace(made, notes=(*made.notes, *unused))


def evaluate(
    predictions: Paths | Mapping[str, Predictions],
    out: str | Path | None = None,
    *,
    labels: str | Path | None = None,
    scores: Scores = "auto",
    metric: str = MACRO_AUC,
    judge: JudgeSpec = JudgeSpec(),
) -> Comparison:
    """Judge predictions that any other program has made, as those of a run are judged.

    Args:
        predictions: Files as `lensbench.runs.foreign.read_predictions` takes them, or `name=file`
            to name the model. One that is named several times has its predictions in several files,
            such as those of the folds of a cross-validation, and is judged on all of them; these
            need ids. Or `Predictions` by the names of the models.
        out: Folder for a record of each, so that `compare` and `report` can take them together
            with runs.
        labels: The labels of `.npy` files.
        scores: What the scores are.
        metric: What to rank by.
        judge: Level of the intervals and of the ties, and resamples of the bootstrap.

    Raises:
        RecordError: A file does not hold predictions, those of one model have examples in common,
            or `out` holds another run of its name.
        ConfigError: Two files without names would give them the same one, or there is no such
            metric.
        ComparisonError: The models are of different examples.
    """
    from lensbench.judging import Given, judge_given, read_given
    from lensbench.runs.foreign import Scores

    if isinstance(predictions, Mapping):
        if labels is not None or scores != "auto":
            raise ConfigError("labels and scores are for files: these predictions have theirs")
        require_predictions(predictions)
        given = [Given(name, one, "Python", Path(name)) for name, one in predictions.items()]
    else:
        require_one_of(scores, Scores, "scores")
        files = files_by_name(predictions)
        given = read_given(files, labels=Path(labels) if labels else None, scores=scores)
    if not given:
        raise ConfigError("there are no predictions to judge")
    return judge_given(given, Path(out) if out is not None else None, metric=metric, judge=judge)


def ensemble(
    paths: Paths,
    out: str | Path | None = None,
    *,
    members: str | Sequence[str] = (),
    select: Selection = "greedy",
    name: str = "Ensemble",
    metric: str = MACRO_AUC,
    judge: JudgeSpec = JudgeSpec(),
) -> EnsembleResult:
    """Make one classifier of several finished runs: the mean of their calibrated probabilities.

    Temperatures, members and weights are fitted to the validation predictions that the runs keep.
    The test predictions are put together once, after that. The ensemble gets a record of its own,
    so that `compare` and `report` take it like a run; an older one of its name moves to
    `superseded/`.

    Args:
        paths: Records, or folders that hold some.
        out: Folder that gets the ensemble's own (default: the first of `paths`, or what the folder
            of a run lies in).
        members: Names of runs, or one of them, each of which must be fit for it (default: all runs
            that are).
        select: `all` weights them equally; `greedy` selects from them (Caruana et al. 2004).
        name: Of the ensemble in files and rankings.
        metric: What to rank by.
        judge: Level of the intervals and of the ties, and resamples of the bootstrap.

    Raises:
        RecordError: Fewer than two runs may be members, one that was named may not, or something
            else lies where the ensemble would.
        ConfigError: There is no such run, metric or way to select, or the name is taken or cannot
            be one.
        ComparisonError: Members are of different validation or test images.
    """
    from lensbench.judging import make_ensemble

    require_one_of(select, Selection, "select")
    places = named_paths(paths)
    if out is None and not places[0].is_dir():
        raise ConfigError(f"{places[0]} is no folder: say where the ensemble goes (out)")
    beside = places[0].resolve().parent if (places[0] / RECORD).is_file() else places[0]
    try:
        store = RunStore(Path(out) if out is not None else beside, run_name(name))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    summary, comparison = make_ensemble(
        records_in(places),
        store,
        members=each(members),
        select=select,
        metric=metric,
        judge=judge,
    )
    return EnsembleResult(summary, store.record, comparison)


def time(
    runs: str | Path,
    *,
    machine: MachineSpec = MachineSpec(),
    batch_size: int | None = None,
    n_repeats: int = 5,
    n_rounds: int = 2,
    say: Callable[[str], None] = print,
) -> Costs:
    """Measure how fast every model of some runs trains and predicts on this machine.

    Random weights, random images: no download, and no test image is read. The result is kept in
    `costs.json` in the folder of the runs, where `report` finds it.

    Args:
        runs: Folder of runs. Published records are measured with the contract's recipe on images
            of 150 pixels and one band.
        machine: On what, and how.
        batch_size: Images per step, of all models (default: that of each run).
        n_repeats: How often each speed is measured in each round.
        n_rounds: How often each model has its turn.
        say: Takes each line of news.

    Raises:
        RecordError: There are no finished runs, or no model of theirs could be measured.
        ConfigError: `runs` is no folder, or the machine lacks the accelerator that was asked for.
    """
    from lensbench.runs.cost import COSTS
    from lensbench.timing import time_runs

    if min(n_repeats, n_rounds) < 1 or (batch_size is not None and batch_size < 2):
        raise ConfigError("measure in one round and one repeat at least, with two images a batch")
    found, notes = read_records(records_in([runs]))
    require_folder(Path(runs))
    require_room(Path(runs) / COSTS)
    for note in notes:
        say(f"left out: {note}")
    costs = time_runs(
        [record for _, record in found if record.is_completed],
        machine,
        batch_size=batch_size,
        n_repeats=n_repeats,
        n_rounds=n_rounds,
        say=say,
    )
    costs.write(Path(runs) / COSTS)
    return costs


def plots(root: str | Path, *, layout: Layout = NATIVE) -> tuple[list[Path], list[str]]:
    """Draw the plots that are missing: those of finished runs, and those of their comparison.

    Those of a comparison are also missing if a record is newer.

    Args:
        root: Folder of runs.
        layout: File names below it.

    Returns:
        The files that were drawn, and a line for each plot that could not be.

    Raises:
        RecordError: There are no records at all.
        ConfigError: `root` is no folder.
    """
    from lensbench.comparison.compare import compare as compare_records
    from lensbench.reporting.plots import plot_comparison, plot_run

    records = records_in([root], layout)
    require_folder(Path(root))
    found, notes = read_records(records)
    made: list[Plots] = []
    for path, record in found:
        if record.is_completed:
            folder = _shared_figures(Path(root), layout) or path.parent
            made.append(plot_run(record, folder, only_missing=True))
    try:
        comparison = compare_records(records)
        if comparison.entries:
            newest = max(path.stat().st_mtime for path in records)
            made.append(plot_comparison(comparison, Path(root), outdated_at=newest))
    except ComparisonError as error:
        notes.append(str(error))
    drawn = [path for figures in made for path in figures.drawn]
    return drawn, [*notes, *(note for figures in made for note in figures.notes)]


def explain(
    root: str | Path,
    table: str | Path,
    by: str,
    *,
    judge: JudgeSpec = JudgeSpec(),
) -> tuple[list[Path], list[str]]:
    """Draw how often the test images of each run are recognised against a number known of them.

    Args:
        root: Folder of runs, or a record.
        table: CSV file with a column `id` and numbers of each image, such as the `parameters.csv`
            of a simulated data set.
        by: Column of the number.
        judge: Level of the intervals.

    Returns:
        The figures, one a run beside its record, and a line for each run whose record or
        predictions are missing or cannot be read.

    Raises:
        RecordError: There are no records that can be read, or the table lacks an image or its
            number.
        DatasetError: The table cannot be read.
    """
    from lensbench.data.table import read_ids_and
    from lensbench.reporting.plots import plot_recall_against

    numbers = _numbers(read_ids_and(by, Path(table)), by, Path(table))
    found, notes = read_records(records_in([root]))
    if not found:
        raise RecordError("; ".join(notes))
    drawn = []
    for path, record in found:
        try:
            predictions = load_predictions(record, path, "test")
        except RecordError as error:
            notes.append(str(error))
            continue
        if predictions is None:
            notes.append(f"{path} holds no predictions")
            continue
        drawn.append(plot_recall_against(record, predictions, numbers, by, path.parent, judge))
    return drawn, notes


def export(weights: str | Path, out: str | Path) -> None:
    """Write a trained classifier as a file that other programs run, its preprocessing included.

    Args:
        weights: What `run` keeps of a classifier, such as `runs/ResNet18/weights.safetensors`.
        out: A name that ends in `.onnx`, or in `.pt2` for what `torch.export.load` reads.

    Raises:
        WeightsError: The weights are missing, damaged or of somebody else.
        ConfigError: The name ends differently, or packages are missing.
        ModelError: torch cannot export this network.
    """
    from lensbench.zoo.build import load_classifier
    from lensbench.zoo.export import export as export_classifier

    require_room(Path(out))
    export_classifier(load_classifier(Path(weights)), Path(out))


def predict(
    weights: str | Path,
    images: str | Path,
    out: str | Path | None = None,
    *,
    labelled: bool = False,
    labels: str | Path | None = None,
    test_time_augmentation: AskedViews = "auto",
    machine: MachineSpec = MachineSpec(),
    batch_size: int = 64,
) -> Classified:
    """Classify new images with a trained classifier, or an ensemble.

    Args:
        weights: What `run` keeps of a classifier, such as `runs/ResNet18/weights.safetensors`, or
            the folder or record of a run or an ensemble, such as `runs/Ensemble`.
        images: Folder, archive or stack of images of the shape that it was trained on; folders in
            it mean nothing unless it is labelled.
        out: CSV file with a row for each image that could be classified, by name: its id, its label
            if it is labelled, and the probability of each class (default: none is written).
        labelled: Whether the classes of the images are known, as in data to train on, and shall be
            written too, for `evaluate`.
        labels: CSV file with columns id,label, for labelled images whose folders do not say their
            class; it names all of them.
        test_time_augmentation: `d4` takes the mean over the eight flips and quarter turns of an
            image, unless the classifier was not trained on them; `auto` does so if its test did,
            `none` looks at each image once. Take `auto` for ensembles: their temperatures are made
            for the views of the test.
        machine: Where to compute.
        batch_size: Images at a time.

    Raises:
        WeightsError: The weights are missing, damaged or of somebody else.
        RecordError: Nothing was trained for the record, or a member of the ensemble is no longer
            the run that it was made of.
        DatasetError: There are no images, or their classes are not told, or others.
        ConfigError: There is less than one image at a time, no such way of augmentation, no room
            for the file, or the machine lacks what was asked for, or it was of training.
    """
    if (machine.precision, machine.memory_format, machine.compile) != ("auto",) * 3:
        raise ConfigError(
            "precision, order in memory and compiling are of training: predictions are in float32"
        )
    require_one_of(test_time_augmentation, AskedViews, "test_time_augmentation")
    from lensbench.data.sources.open import open_source
    from lensbench.prediction import classify, labels_of, load_members
    from lensbench.reporting.csv_table import write_probabilities_csv

    if out is not None:
        require_room(Path(out))
    members = load_members(Path(weights))
    source = open_source(Path(images), labelled=labelled)
    known = (
        labels_of(source, members[0].classifier.classes, Path(labels) if labels else None)
        if labelled or labels
        else None
    )
    found = classify(
        members,
        source,
        machine,
        test_time_augmentation=test_time_augmentation,
        batch_size=batch_size,
    )
    if out is not None:
        write_probabilities_csv(found.classes, found.probabilities, known, Path(out))
    return found


def _numbers(rows: Sequence[tuple[str, str]], column: str, table: Path) -> dict[str, float]:
    numbers = {}
    for name, text in rows:
        try:
            numbers[name] = float(text or "nan")
        except ValueError as error:
            raise RecordError(f"{table}: {column} of {name} is {text!r}, no number") from error
    return numbers


def _shared_figures(root: Path, layout: Layout) -> Path | None:
    """Return the folder of all runs' figures, or None where each run has its own."""
    return None if "{name}" in layout.run_figures else root / layout.run_figures
