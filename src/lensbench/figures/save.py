"""A figure -> a file that appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from lensbench.errors import ConfigError
from lensbench.figures.style import styled
from lensbench.whole_file import written_whole

_DPI = 160

# Without a date, the same figure gives the same bytes.
_UNDATED: dict[str, dict[str, str | None]] = {
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


@styled()
def save_figure(figure: Figure, path: Path, dpi: int = _DPI) -> Path:
    """Write a figure in the format of the path's suffix, .png if it has none.

    Returns:
        The path written.

    Raises:
        ConfigError: The suffix names no format that figures are written in.
    """
    if not path.suffix:
        path = path.with_name(path.name + ".png")
    suffix = path.suffix.lower()
    if suffix not in _UNDATED:
        raise ConfigError(f"{path}: figures are written as {', '.join(_UNDATED)}")
    with written_whole(path) as partial:
        figure.savefig(partial, format=suffix[1:], dpi=dpi, metadata=_UNDATED[suffix])
    return path
