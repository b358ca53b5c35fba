"""The tests lie in the folders of the packages, and named paths exist."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

FOLDERS = sorted({p.parent for p in (ROOT / "tests").rglob("*/test_*.py")})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_folder_of_tests_has_the_path_of_a_package(folder):
    assert (ROOT / folder.relative_to(ROOT / "tests")).is_dir()


def test_the_folders_in_the_readme_exist():
    """A row with a space before its name is a folder of the last row without one."""
    table = (ROOT / "README.md").read_text().split("## Packages")[1]
    rows = re.findall(r"^\| (&nbsp; )?`(\w+)` \|", table, re.M)
    package, paths = Path(), []
    for inner, name in rows:
        package = package if inner else Path(name)
        paths.append(package / name if inner else package)
    assert len(paths) > 20
    assert [str(p) for p in paths if not (ROOT / p).is_dir()] == []
