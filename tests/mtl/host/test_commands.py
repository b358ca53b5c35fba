"""The commands of the three programs are the launchers."""

import gc
import importlib
import importlib.metadata
import runpy
import sys
import tomllib
from pathlib import Path

import pytest

from mtl.host import commands
from tests.conftest import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROGRAMS = PYPROJECT["project"]["scripts"]


@pytest.fixture(autouse=True)
def threshold():
    """Keeps the threshold of this process."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def call(monkeypatch, capsys, program, *arguments):
    """The exit status and output of a program, run by its entry point."""
    module, function = PROGRAMS[program].split(":")
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    try:
        getattr(importlib.import_module(module), function)()
        status = 0
    except SystemExit as e:
        status = e.code
    return status, capsys.readouterr()


def launchers():
    """The modules that the import contract protects, except the programs."""
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    (protected,) = [c for c in contracts if c["type"] == "protected"]
    systems = [entry.split(":")[0] for entry in PROGRAMS.values()]
    return set(protected["protected_modules"]) - set(systems)


def test_each_launcher_is_a_command():
    modules = [
        module
        for entry in PROGRAMS.values()
        for module in importlib.import_module(entry.split(":")[0]).COMMANDS.values()
    ]
    assert sorted(modules) == sorted(launchers())


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_has_a_line_for_each_command(program, monkeypatch, capsys):
    module = importlib.import_module(PROGRAMS[program].split(":")[0])
    status, said = call(monkeypatch, capsys, program, "--help")
    assert status == 0
    for name, launcher in module.COMMANDS.items():
        spec = importlib.util.find_spec(launcher)
        first = Path(spec.origin).read_text().splitlines()[0].strip('"')
        assert f"  {name} " in said.out
        assert first in said.out
    assert call(monkeypatch, capsys, program)[0] == 2


def test_a_command_runs_its_module_with_the_other_arguments(monkeypatch, capsys):
    seen = []

    def run_module(*args, **kwargs):
        seen.append((args, kwargs, sys.argv, gc.get_threshold()[0]))

    monkeypatch.setattr(runpy, "run_module", run_module)
    call(monkeypatch, capsys, "l3spot", "phantom", "--n", "3")
    (args, kwargs, argv, threshold) = seen[0]
    assert args == ("l3spot.phantom.__main__",)
    assert kwargs == {"run_name": "__main__", "alter_sys": True}
    assert argv == ["l3spot phantom", "--n", "3"]
    assert threshold == commands.GC_THRESHOLD > 700


def test_an_unknown_command_names_the_nearest(monkeypatch, capsys):
    status, said = call(monkeypatch, capsys, "evolving-mtl", "trainn")
    assert status == 2
    assert (
        said.err == "error: evolving-mtl has no command 'trainn'; did you mean train?\n"
    )


def test_the_version_is_that_of_the_package(monkeypatch, capsys):
    _, said = call(monkeypatch, capsys, "evolving-mtl", "--version")
    assert said.out == f"evolving-mtl {PYPROJECT['project']['version']}\n"
