"""Configs by name, from any folder, and the note on a smoke config."""

import sys

import pytest

from mtl.host import launch, named_configs
from mtl.host.errors import ConfigError
from tests import program
from tests.conftest import ROOT

SYSTEMS = ("mtl", "structured", "l3spot")


@pytest.mark.parametrize("package", SYSTEMS)
def test_each_config_has_its_file_name(package):
    files = (ROOT / "configs" / package).glob("[!_]*.py")
    assert named_configs.names(package) == sorted(file.stem for file in files)


@pytest.mark.parametrize("package", SYSTEMS)
def test_all_names_load_in_a_folder_with_configs_of_its_own(
    package, tmp_path, monkeypatch
):
    """And without the package `configs`, which a wheel does not have."""
    for name in ("configs", *(f"configs.{system}" for system in SYSTEMS)):
        monkeypatch.setitem(sys.modules, name, None)
    own = tmp_path / "configs" / package
    own.mkdir(parents=True)
    for name in named_configs.names(package):
        (own / f"{name}.py").write_text("raise RuntimeError('of somebody else')")
    monkeypatch.chdir(tmp_path)
    for name in named_configs.names(package):
        assert named_configs.load(package, name).epochs > 0


def test_a_name_has_a_variant():
    assert named_configs.load("structured", "helen:quick").epochs == 200
    with pytest.raises(ConfigError, match="no variant 'quik'; there is smoke, quick"):
        named_configs.load("structured", "helen:quik")


def test_a_path_is_a_file_of_ones_own(tmp_path, monkeypatch):
    text = "from ml_collections import ConfigDict\n"
    text += "def get_config(variant=''):\n    return ConfigDict({'v': variant})\n"
    (tmp_path / "digits.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert named_configs.load("mtl", "digits.py:fast").v == "fast"
    assert named_configs.load("mtl", "./digits.py").v == ""
    assert named_configs.load("mtl", "digits").epochs == 1000


@pytest.mark.parametrize("config", ["digts", "configs/mtl/digts.py", "digts:smoke"])
def test_an_unknown_config_names_the_nearest(config, tmp_path):
    done = program.call("mtl.main", "--config", config, "--workdir", tmp_path / "run")
    assert done.returncode == 1
    said = f"error: --config={config} is neither a file nor the name of a config; "
    assert done.stderr.startswith(f"{said}did you mean digits? The names are best, ")


STUB = """
from mtl.host import launch, named_configs

if __name__ == "__main__":
    named_configs.define_flag("mtl", "A config.")
    launch.launch(lambda arguments: "the error is 90 %", "config")
"""


@pytest.mark.parametrize(
    ("config", "notes"), [("digits:smoke", [launch.SMOKE_NOTE]), ("digits", [])]
)
def test_a_smoke_config_says_that_its_error_means_nothing(
    config, notes, tmp_path, monkeypatch
):
    (tmp_path / "stub_launcher.py").write_text(STUB)
    monkeypatch.syspath_prepend(tmp_path)
    done = program.call("stub_launcher", "--config", config)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["the error is 90 %", *notes]


def test_help_lists_the_names_and_both_stages():
    done = program.call("l3spot.main", "--help")
    assert "one of phantom, study, vertebrae; a variant follows" in " ".join(
        done.stdout.split()
    )
    for config in ("phantom", "vertebrae"):
        for name in named_configs.load("l3spot", config):
            assert f"--config.{name}" in done.stdout
    assert "Fields of the config of stage vertebrae" in done.stdout
