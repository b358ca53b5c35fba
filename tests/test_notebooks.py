"""Each notebook runs alone, from the wheel, without the repository and a network."""

import json
import re

import pytest

from tests import installed
from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    cells = json.loads(path.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return installed.build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.mark.slow  # It runs the notebook.
@by_name
def test_notebook(path, wheel, tmp_path):
    python = installed.make_environment(tmp_path)
    runner = [python, "-P", ROOT / "tests" / "run_notebook.py"]
    bare = {"MPLBACKEND": "agg", "PIP_NO_INDEX": "1", "TMPDIR": str(tmp_path)}
    done = installed.run_any([*runner, path, ""], tmp_path, **bare)
    assert done.returncode == 1
    assert "RuntimeError: set REPOSITORY in this cell" in done.stderr
    done = installed.run([*runner, path, wheel], tmp_path, **bare)
    # The first picture is drawn from data, before anything is trained.
    cell, _ = re.findall(r"FIGURE cell (\d+) after ([\d.]+) s", done.stdout)[0]
    assert cell == "1"
    assert "error" in done.stdout
    assert "END" in done.stdout
    if path.stem == "l3spot":  # What a reader sees first must not be a wrong answer.
        assert re.search(r"within_5_mm +1\n", done.stdout)


@by_name
def test_notebooks_have_no_outputs_and_no_flags(path):
    assert [cell["outputs"] for cell in code_cells(path)] == [[]] * len(
        code_cells(path)
    ), "clear a notebook's outputs before a commit"
    assert "absl" not in path.read_text()


@by_name
def test_notebooks_begin_with_the_same_cell(path):
    """It has the only address, which is not set."""
    first = "".join(code_cells(path)[0]["source"])
    assert first == "".join(code_cells(NOTEBOOKS[0])[0]["source"])
    assert first.count('REPOSITORY = ""') == 1


def test_there_are_four_notebooks():
    assert len(NOTEBOOKS) == 4
