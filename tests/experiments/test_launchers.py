"""Experiments and benchmarks parse their arguments as the packages' launchers do."""

import ast
import subprocess
import sys

import pytest

from tests import program
from tests.conftest import ROOT

LAUNCHERS = [
    path
    for folder in ("experiments", "benchmarks")
    for path in sorted((ROOT / folder).glob("*.py"))
    if "__main__" in path.read_text()
]

OPTIONAL = {"torch", "SimpleITK", "h5py", "highdicom", "tensorflow_datasets"}


def launched(*arguments):
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.stem)
def test_a_launcher_defines_flags_and_calls_launch(path):
    """`launch` gives --help, refuses unknown flags and prints errors in one line."""
    *_, main = ast.parse(path.read_text()).body
    calls = [ast.unparse(statement.value.func) for statement in main.body]
    assert calls.pop() == "launch.launch"
    assert all(".DEFINE_" in call or call == "measure.define_out" for call in calls)


@pytest.mark.parametrize("folder", ["experiments", "benchmarks"])
def test_no_module_imports_an_optional_package_at_its_top(folder):
    """So that `measure.need` can say how to install it."""
    for path in (ROOT / folder).glob("*.py"):
        names = set()
        for statement in ast.parse(path.read_text()).body:
            if isinstance(statement, ast.Import):
                names |= {alias.name.split(".")[0] for alias in statement.names}
            elif isinstance(statement, ast.ImportFrom):
                names.add(statement.module.split(".")[0])
        assert not names & OPTIONAL, path.name


@pytest.mark.slow
def test_unknown_flags_and_arguments_are_refused():
    done = launched("experiments.pages", "--nope")
    assert done.returncode == 1
    assert "unknown flag --nope" in done.stderr
    done = launched("experiments.draw_schedules", "nope")
    assert done.returncode == 1
    assert "unknown arguments: nope" in done.stdout + done.stderr


def test_a_missing_file_is_named_without_a_traceback():
    done = launched("experiments.held_out", "none.safetensors")
    assert done.returncode == 1
    assert done.stderr.strip() == "error: there is no file none.safetensors"


def test_a_folder_of_idx_files_that_is_missing_is_named_by_its_flag():
    done = program.call("benchmarks.semi_supervised", "--idx=none")
    assert done.returncode == 1
    assert "--idx='none' is no folder" in done.stderr


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--slices=300", "--slices=300 must be the lowest number and the highest"),
        ("--slices=600,120", "--slices=600,120 must be the lowest number"),
        ("--slices=120,many", "--slices=120,many must be whole numbers from"),
        ("--slices=1,120", "--slices=1,120 must be whole numbers from"),
        ("--workers=0", "--workers=0 must be whole numbers from 1 on"),
        ("--results=1e3", "--results=1e3 must be whole numbers from 1 on"),
    ],
)
def test_numbers_of_the_archive_are_checked_before_work(flag, message):
    done = program.call("benchmarks.archive", flag)
    assert done.returncode == 1
    assert message in done.stderr
