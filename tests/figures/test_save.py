import subprocess
import sys

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from lensbench.errors import ConfigError
from lensbench.figures import draw_confusion_matrix, save_figure

STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


def _draw() -> Figure:
    return draw_confusion_matrix([[3, 1], [0, 4]], ("a", "b")).figure


@pytest.fixture
def figure() -> Figure:
    return _draw()


@pytest.mark.parametrize("suffix", STARTS)
def test_the_suffix_decides_and_the_same_figure_gives_the_same_file(tmp_path, suffix):
    first = save_figure(_draw(), tmp_path / f"new/folder/first{suffix}")
    second = save_figure(_draw(), tmp_path / f"second{suffix}")
    assert first.read_bytes().startswith(STARTS[suffix])
    assert first.read_bytes() == second.read_bytes()


def test_png_is_the_default(figure, tmp_path):
    assert save_figure(figure, tmp_path / "plot") == tmp_path / "plot.png"
    assert [file.name for file in tmp_path.iterdir()] == ["plot.png"]


def test_an_unknown_format_is_refused(figure, tmp_path):
    with pytest.raises(ConfigError, match=r"written as \.png, \.svg, \.pdf"):
        save_figure(figure, tmp_path / "plot.docx")


def test_a_failure_leaves_the_old_file_and_no_debris(figure, tmp_path, monkeypatch):
    path = tmp_path / "plot.png"
    path.write_text("old")

    def fail(partial, **options):
        partial.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_drawing_and_saving_leave_the_settings_of_matplotlib_alone(tmp_path):
    before = dict(mpl.rcParams)
    save_figure(draw_confusion_matrix([[1]], ("a",)).figure, tmp_path / "plot.png")
    assert dict(mpl.rcParams) == before


def test_importing_the_package_loads_neither_pyplot_nor_torch():
    code = (
        "import sys, lensbench; assert 'matplotlib' not in sys.modules\n"
        "import lensbench.figures, lensbench.reporting\n"
        "heavy = {'torch', 'matplotlib.pyplot', 'pandas', 'seaborn'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
