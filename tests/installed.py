"""A wheel of the repository, and an environment with all packages but ours."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.conftest import ROOT

FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
FOLDERS = ("mtl", "structured", "l3spot", "configs")
TIMEOUT_S = 600  # Many times what it takes, for a computer that is busy.


def build_wheel(folder):
    """Builds the wheel from a copy of the sources, and returns its path."""
    source = folder / "source"
    source.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, source)
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir"]
    run([sys.executable, "-m", "pip", "wheel", *options, folder, source], folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def make_environment(folder):
    """Makes a virtual environment that has this one's packages, except ours.

    Returns the path of its Python.
    """
    packages = folder / "packages"
    packages.mkdir()
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(place).iterdir():
            if "evolving_mtl" not in path.name and path.suffix != ".pth":
                (packages / path.name).symlink_to(path)
    run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder)
    (site,) = folder.glob("venv/lib/python*/site-packages")
    (site / "packages.pth").write_text(f"{packages}\n")
    return folder / "venv" / "bin" / "python"


def install(python, wheel):
    """Installs the wheel, without a package index."""
    run([python, "-m", "pip", "install", "--no-index", wheel], wheel.parent)


def run(command, folder, **environment):
    """Runs a program in a folder; returns the finished process, which succeeded."""
    done = run_any(command, folder, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def run_any(command, folder, **environment):
    """Runs a program in a folder, without this repository on its path."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    places = {"JAX_PLATFORMS": "cpu", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=kept | places | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
