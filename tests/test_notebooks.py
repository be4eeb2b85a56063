"""The notebooks run from top to bottom, and each .ipynb says what its .py pair says."""

import os
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.py"))


def cells(path: Path) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS][:2] == ["01_quickstart", "02_your_data"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_pair_is_in_step(path: Path) -> None:
    assert cells(path) == cells(path.with_suffix(".ipynb")), f"run: jupytext --sync notebooks/{path.name}"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "MPLBACKEND": "agg", "IPYTHONDIR": str(tmp_path)}
    code = (
        "import sys, jupytext, nbclient\n"
        "notebook = jupytext.read(sys.argv[1])\n"
        "nbclient.NotebookClient(notebook, timeout=600, resources={'metadata': {'path': sys.argv[2]}}).execute()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path), str(FOLDER)], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
