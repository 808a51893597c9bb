"""A name, or a file, -> the population that it means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from lensbench.errors import ConfigError
from lensbench.simulation.knobs import shifted
from lensbench.simulation.population import POPULATIONS, Population


def named_population(
    population: str | Path | Population, shift: Mapping[str, float] | None = None
) -> Population:
    """Return a population, with some of its knobs turned.

    Args:
        population: Its name, a JSON file that declares it, or itself.
        shift: Values of some `KNOBS`; see `shifted`.

    Raises:
        ConfigError: There is no such population, file or knob, or the file declares none.
    """
    if isinstance(population, Population):
        return shifted(population, shift or {})
    if str(population) in POPULATIONS:
        return shifted(POPULATIONS[str(population)], shift or {})
    file = Path(population)
    if file.suffix != ".json":
        raise ConfigError(
            f"no population {str(population)!r}; there are {', '.join(POPULATIONS)}, or name a "
            ".json file that declares one (`lensbench populations NAME` prints one to start from)"
        )
    try:
        declared = Population.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors()
        )
        raise ConfigError(f"{file} declares no population: {problems}") from error
    return shifted(declared, shift or {})
