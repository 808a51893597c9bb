"""The file of `lensbench time`: what the models of some runs cost on one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from lensbench.cost import MeasuredCost
from lensbench.errors import RecordError
from lensbench.runs.record import Environment, faults
from lensbench.whole_file import write_whole

COSTS = "costs.json"
"""Name of the file beside the runs."""


class Costs(BaseModel):
    """The costs of several models, all measured on one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    environment: Environment
    """Where the speeds and the memory were measured."""

    date: AwareDatetime
    """When; UTC."""

    runs: dict[str, MeasuredCost] = Field(min_length=1)
    """By the name of the run."""

    @property
    def machine(self) -> str:
        """One line that is equal only for speeds that may be compared."""
        return self.environment.machine

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            RecordError: The file cannot be read or is no such file; names it.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
        except ValidationError as error:
            raise RecordError(
                f"{path}: not a file of `lensbench time`: {faults(error)}; measure again"
            ) from error

    def write(self, path: Path) -> None:
        """Write JSON that appears whole or not at all."""
        write_whole(path, self.model_dump_json(indent=1))
