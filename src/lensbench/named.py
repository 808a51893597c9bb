"""What a user names -> the folders, records and predictions that are meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, get_args

from lensbench.choices import require_apart
from lensbench.config import run_name
from lensbench.errors import ConfigError, RecordError
from lensbench.outcome import Predictions
from lensbench.runs.layout import NATIVE, Layout, find_records

_Name = TypeVar("_Name", bound=str | Path)

Paths: TypeAlias = str | Path | Iterable[str | Path]
"""One file or folder, or several."""


def each(named: _Name | Iterable[_Name]) -> list[_Name]:
    """Return several names as they are, and one alone not as its letters."""
    return [named] if isinstance(named, str | Path) else list(named)


def named_paths(paths: Paths) -> list[Path]:
    """Return the paths of runs, one or more.

    Raises:
        ConfigError: There are none.
    """
    named = [Path(path) for path in each(paths)]
    if not named:
        raise ConfigError("no runs are named: say which records, or folders of runs")
    return named


def records_in(paths: Paths, layout: Layout = NATIVE) -> list[Path]:
    """Return the files of all records that are named, or lie in a folder that is.

    Raises:
        ConfigError: Nothing is named.
        RecordError: One of the paths holds no record.
    """
    found: list[Path] = []
    for path in named_paths(paths):
        here = find_records(path, layout) if path.is_dir() else [path] if path.exists() else []
        if not here:
            raise RecordError(f"no result records in {path}; `lensbench run` makes some")
        found += here
    return found


def require_folder(runs: Path) -> None:
    """Refuse a record where the folder of runs is wanted.

    Raises:
        ConfigError: It is one.
    """
    if not runs.is_dir():
        raise ConfigError(f"{runs} is one record: name the folder that it lies in")


def require_outside(out: Path, data: Path) -> None:
    """Refuse to put runs among images: their pictures and predictions would be images too.

    Raises:
        ConfigError: `out` lies inside the data.
    """
    if out.resolve().is_relative_to(data.resolve()):
        raise ConfigError(f"{out} lies inside the data {data}: name a folder outside (out)")


def require_one_of(value: object, literals: Any, what: str) -> None:
    """Refuse what is none of the values of a Literal, or of a union of such.

    Raises:
        ConfigError: It is none.
    """
    known = [one for part in get_args(literals) for one in get_args(part) or (part,)]
    if value not in known:
        raise ConfigError(f"{what} is {value!r}; there are {', '.join(known)}")


def require_predictions(models: Mapping[Any, Any]) -> None:
    """Refuse all but `Predictions` by names that runs may have.

    Raises:
        ConfigError: A key is no such name, or a value something else.
    """
    for name, one in models.items():
        if not (isinstance(name, str) and isinstance(one, Predictions)):
            raise ConfigError(
                f"{name!r}: give Predictions by the names of models, or files as 'name=file'"
            )
    _require_run_names(models, "give it another key")


def files_by_name(predictions: Paths) -> dict[str, list[Path]]:
    """Return the files of each name, which `name=file` says, or else the file's own.

    Raises:
        ConfigError: Something is no file, two files have the same name that was not given, or a run
            cannot have a name.
    """
    if isinstance(predictions, Predictions):
        raise ConfigError("these Predictions need the name of a model: {'name': predictions}")
    given = [_named_file(one) for one in each(predictions)]
    unnamed = {name for name, _, is_named in given if not is_named}
    require_apart(name for name, *_ in given if name in unnamed)
    files: dict[str, list[Path]] = {}
    for name, file, _ in given:
        files.setdefault(name, []).append(file)
    _require_run_names(files, "say name=file")
    return files


def _named_file(file_or_both: str | Path) -> tuple[str, Path, bool]:
    """Return name, file, and whether the name was given; folders may be called `lr=0.1` as well."""
    if not isinstance(file_or_both, str | Path):
        raise ConfigError(
            f"{type(file_or_both).__name__} is no file: give Predictions by the names of models"
        )
    text = str(file_or_both)
    name, equals, file = text.partition("=")
    is_named = bool(equals) and not Path(text).is_file()
    return (name, Path(file), True) if is_named else (Path(text).stem, Path(text), False)


def _require_run_names(names: Iterable[str], remedy: str) -> None:
    try:
        for name in names:
            run_name(name)
    except ValueError as error:
        raise ConfigError(f"{error}; {remedy}") from error
