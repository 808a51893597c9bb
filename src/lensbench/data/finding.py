"""What is wrong with a data set, and whether training may go on all the same."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from lensbench.config import AcceptableFinding
from lensbench.errors import DatasetError

Severity = Literal["error", "warning"]

_N_SHOWN = 3


class Finding(BaseModel):
    """Something that is wrong, or may be wrong, with a data set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    severity: Severity
    message: str
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the finding in one line, with its first files."""
        shown = ", ".join(self.ids[:_N_SHOWN])
        more = f" and {len(self.ids) - _N_SHOWN} more" if len(self.ids) > _N_SHOWN else ""
        return f"{self.severity} {self.code}: {self.message}{f' ({shown}{more})' if shown else ''}"


class Audit(BaseModel):
    """The findings of a whole data set, errors first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    n_images: int
    classes: dict[str, int]
    """Images of each class."""
    image_shape: tuple[int, ...] | None
    """Channels, height and width of most images; none if no image could be read."""
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether training may go on."""
        return all(finding.severity != "error" for finding in self.findings)


def require_sound(
    path: Path, findings: Iterable[Finding], accept: Iterable[AcceptableFinding] = ()
) -> None:
    """Let training go on, unless there is an error among the findings that is not accepted.

    Raises:
        DatasetError: Names every finding that is an error.
    """
    accepted = set(accept)
    errors = [f for f in findings if f.severity == "error" and f.code not in accepted]
    if errors:
        acceptable = [f.code for f in errors if f.code in get_args(AcceptableFinding)]
        way_out = (
            f", or train on them as they are with --accept {' '.join(acceptable)}"
            if len(acceptable) == len(errors)
            else ""
        )
        raise DatasetError(
            f"{path}: the data set is not fit for training:\n  "
            + "\n  ".join(map(str, errors))
            + f"\nMend or remove these files{way_out}; `lensbench verify {path}` lists all of them."
        )
