"""The wheel holds all that the commands need, and they work from any folder."""

import re
import textwrap
import zipfile

import numpy as np
import pytest

from tests import installed
from tests.conftest import ROOT

pytestmark = pytest.mark.slow  # It builds a wheel, and trains with it.

SYSTEMS = ("mtl", "structured", "l3spot")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return installed.build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bin_folder(wheel, tmp_path_factory):
    python = installed.make_environment(tmp_path_factory.mktemp("environment"))
    installed.install(python, wheel)
    return python.parent


@pytest.fixture
def elsewhere(tmp_path):
    """A user's folder, with packages and configs that have the names of ours."""
    for name in ("digits", "__init__"):
        for folder in ("configs", "configs/mtl", "configs/structured"):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{name}.py").write_text("raise RuntimeError('mine')")
    return tmp_path


def test_the_wheel_holds_each_file_and_nothing_else(wheel):
    expected = set()
    for system in SYSTEMS:
        for source, place in (
            (system, system),
            (f"configs/{system}", f"{system}/configs"),
        ):
            files = [p for p in (ROOT / source).rglob("*") if p.is_file()]
            expected |= {
                f"{place}/{p.relative_to(ROOT / source)}"
                for p in files
                if "__pycache__" not in p.parts
            }
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    assert names == expected


def test_modules_are_the_same_programs(bin_folder, tmp_path):
    """In a folder without names of ours; `python -m` looks there first."""
    for module, program in (("mtl", "evolving-mtl"), ("l3spot", "l3spot")):
        by_module = installed.run([bin_folder / "python", "-m", module, "-h"], tmp_path)
        by_name = installed.run([bin_folder / program, "--help"], tmp_path)
        assert by_module.stdout == by_name.stdout
    said = installed.run([bin_folder / "evolving-mtl", "--version"], tmp_path).stdout
    assert said == "evolving-mtl 0.1.0\n"


def test_the_commands_of_the_start_page(bin_folder, elsewhere):
    """Code blocks run in their order; the first one installs, which is done."""
    page = (ROOT / "docs" / "start.md").read_text()
    blocks = re.findall(r"```python\n([\s\S]*?)```|((?:^    .*\n)+)", page, re.M)
    assert len(blocks) == 10
    assert "pip install PATH" in blocks[0][1]
    for code, commands in blocks[1:]:
        if code:
            installed.run([bin_folder / "python", "-P", "-c", code], elsewhere)
            continue
        text = textwrap.dedent(commands).replace("YOUR_SCANS", "scans")
        installed.run(
            ["bash", "-e", "-c", f"PATH={bin_folder}:$PATH\n{text}"], elsewhere
        )
    for name in ("runs/halves/report.html", "results/index.html", "labels.csv"):
        assert (elsewhere / name).is_file()
    with np.load(elsewhere / "wines.npz") as data:
        assert "x_train" in data, "a command replaced the data of the page"
