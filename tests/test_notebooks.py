"""Each notebook runs from top to bottom."""

import json

import matplotlib
import matplotlib.pyplot as plt
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow  # It runs notebooks.

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    matplotlib.use("agg")
    cells = [
        c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"
    ]
    names = {}
    for i, cell in enumerate(cells):
        assert not cell["outputs"], "clear a notebook's outputs before a commit"
        exec(compile("".join(cell["source"]), f"{path.name}[{i}]", "exec"), names)
    plt.close("all")
    assert "error" in capsys.readouterr().out


def test_there_are_notebooks():
    assert NOTEBOOKS
