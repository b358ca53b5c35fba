"""environment.json of a run, and what another environment means for its resume."""

import json
import os

import jax
import pytest
from absl import logging
from ml_collections import ConfigDict

from mtl.host import workdir
from mtl.host.errors import WorkdirError
from mtl.study import __main__ as study

CONFIG = ConfigDict({"seed": 0})


def read(folder):
    return json.loads((folder / "environment.json").read_text())


def test_it_has_number_types_and_devices(tmp_path):
    workdir.prepare(tmp_path, CONFIG, {}, devices=1)
    found = read(tmp_path)
    assert found["x64"] is False
    assert (found["devices"], found["devices_used"]) == (jax.device_count(), 1)


def test_other_number_types_are_refused(tmp_path):
    workdir.prepare(tmp_path, CONFIG, {})
    with (
        jax.enable_x64(True),
        pytest.raises(WorkdirError, match="set JAX_ENABLE_X64=False"),
    ):
        workdir.prepare(tmp_path, CONFIG, {})
    assert read(tmp_path)["x64"] is False


def test_other_devices_continue_with_a_warning(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        logging, "warning", lambda text, *args: said.append(text % args)
    )
    workdir.prepare(tmp_path, CONFIG, {}, devices=4)
    workdir.prepare(tmp_path, CONFIG, {}, devices=4)
    assert said == []
    workdir.prepare(tmp_path, CONFIG, {}, devices=2)
    (text,) = said
    assert "on 4 device(s), and continues on 2" in text
    assert read(tmp_path)["devices_used"] == 2


def test_a_run_of_an_earlier_version_continues(tmp_path, monkeypatch):
    monkeypatch.setattr(logging, "warning", pytest.fail)
    (tmp_path / "environment.json").write_text('{"jax": "0.9.0", "devices": 1}')
    workdir.prepare(tmp_path, CONFIG, {}, devices=2)
    assert read(tmp_path)["devices_used"] == 2


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("XLA_FLAGS", "--xla_force_host_platform_device_count=3", True),
        ("XLA_FLAGS", "--xla_dump_to=here", False),
        ("JAX_NUM_CPU_DEVICES", "3", True),
    ],
)
def test_a_study_respects_the_users_number_of_devices(
    monkeypatch, name, value, expected
):
    monkeypatch.setattr(os, "environ", {name: value})
    assert study.user_sets_devices() == expected
