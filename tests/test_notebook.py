"""The notebook of the documentation, as it would be run."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "docs" / "simulation.ipynb"
MOST_CELLS = 10


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_has_as_many_cells_as_it_says(notebook):
    nbformat.validate(notebook)
    assert 0 < len(code_cells(notebook)) <= MOST_CELLS
    assert "in ten cells" in notebook.cells[0].source


def test_it_keeps_nothing_of_the_machine_it_was_written_on(notebook):
    for cell in code_cells(notebook):
        assert (cell.outputs, cell.execution_count, cell.metadata) == ([], None, {})
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    text = NOTEBOOK.read_text(encoding="utf-8")
    for trace in ("/home/", "/Users/", "/tmp/", "C:\\\\", "image/png"):  # noqa: S108
        assert trace not in text


@pytest.mark.slow
def test_it_runs_and_leaves_nothing_behind(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    started = tmp_path / "here"
    started.mkdir()
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": started}}
    ).execute()
    assert not list(started.iterdir())
    for number, cell in enumerate(code_cells(notebook), start=1):
        assert cell.execution_count == number
        assert cell.outputs
        said = [output.text for output in cell.outputs if output.get("name") == "stderr"]
        # Without ipywidgets, which a notebook needs for nothing else here.
        assert not [text for text in said if "TqdmWarning" not in text]
    pictures = [
        output
        for cell in code_cells(notebook)
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 8
