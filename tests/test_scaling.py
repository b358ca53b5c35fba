"""The three systems on several devices; the counts of `benchmarks.scaling`."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import scaling
from tests.conftest import ROOT


@pytest.mark.slow  # It compiles the three systems thrice, in another program.
def test_each_system_gives_on_four_devices_what_it_gives_on_one(tmp_path):
    path = tmp_path / "found.npz"
    command = [sys.executable, "-m", "tests.systems_on_devices", str(path)]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "4"}
    subprocess.run(command, cwd=ROOT, check=True, env=environment)
    with np.load(path) as stored:
        found = dict(stored)
    one = {k: v for k, v in found.items() if k.startswith("1/")}
    for name, expected in one.items():
        value = found["4" + name[1:]]
        if name.endswith("/collectives"):
            assert expected.tolist() == [], name
            assert value.tolist() == ["all-reduce"], name
            assert found["split" + name[1:]].tolist() == ["all-reduce"], name
        else:
            np.testing.assert_array_equal(found["split" + name[1:]], value, name)
            np.testing.assert_allclose(value, expected, 1e-3, 1e-4, err_msg=name)


def test_operations_between_devices_are_counted_by_kind():
    text = """
    %all-reduce.1 = (f32[4], f32[]) all-reduce(%a, %b), channel_id=1
    %x = f32[2] all-gather-start(%all-reduce.1), channel_id=2
    %y = f32[2] add(%all-reduce.1, %x)
    ROOT %z = f32[4] all-reduce(%y), channel_id=3
    """
    program = SimpleNamespace(as_text=lambda: text)
    assert scaling.collectives(program) == {"all-reduce": 2, "all-gather": 1}
