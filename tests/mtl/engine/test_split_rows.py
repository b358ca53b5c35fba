"""Split data give the run of replicated ones, and take 1/n of the memory."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from mtl.engine import split_rows
from mtl.engine.fit import fit
from mtl.engine.streams import Indexed
from tests.conftest import ROOT
from tests.mtl import tiny
from tests.mtl.engine import test_engine
from tests.mtl.engine.split_on_devices import BATCH, DEVICES, ROWS, rows


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Results, collectives and bytes on 1, 2 and 4 devices."""
    folder = tmp_path_factory.mktemp("split")
    command = [sys.executable, "-m", "tests.mtl.engine.split_on_devices", str(folder)]
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(max(DEVICES))}
    subprocess.run(command, cwd=ROOT, check=True, env=environment)
    with np.load(folder / "found.npz") as stored:
        results = dict(stored)
    texts = ((folder / f"{n}.json").read_text() for n in ("collectives", "bytes"))
    return results, *map(json.loads, texts)


@pytest.mark.slow  # It trains in another program.
def test_results_are_those_of_replicated_data_to_the_last_bit(found):
    results, _, _ = found
    split = {k: v for k, v in results.items() if "/split/" in k}
    assert len(split) == len(results) / 2
    for name, value in split.items():
        whole = results[name.replace("/split/", "/whole/")]
        np.testing.assert_array_equal(value, whole, err_msg=name)


@pytest.mark.slow
def test_a_device_is_sent_mini_batches_and_no_more(found):
    """Besides these, a task that needs x or y has its mask, a bit an example."""
    _, collectives, _ = found
    mask = f"pred[{test_engine.ROWS + 1}]"  # 2 and 4 divide so many.
    for case, operations in collectives.items():
        gathered = [kind for kind, name in operations if name != "all-reduce"]
        assert all(kind.startswith(mask) for kind in gathered), case
        several, split, order = case.split("/")
        masked = several != "1" and split == "split" and order in ("alternate", "joint")
        assert len(gathered) == (3 if masked else 0), case
        matrices = re.findall(r"\[(\d+),\d+\]", str(operations))
        assert max(map(int, matrices), default=0) <= BATCH < ROWS // 4, case


@pytest.mark.slow
@pytest.mark.parametrize("devices", DEVICES)
def test_a_device_holds_its_part_of_the_rows(found, devices):
    sizes = found[2][str(devices)]
    assert sizes["x"] == [-(-ROWS // devices) * 6 * 4] * devices
    assert sizes["y"] == [ROWS * 4] * devices, "one number an example stays whole"


def test_one_device_holds_all_and_trains_as_without(tmp_path):
    given = dict(data=rows(), shard_data=True)
    split = fit(tiny.training(2, **given), tmp_path / "split")
    stream = dict(data=Indexed([rows()] * 2), shard_data=True)
    streamed = fit(tiny.training(2, **stream), tmp_path / "stream")
    whole = fit(tiny.training(2, data=rows()), tmp_path / "whole")
    for name, value in tiny.arrays(whole.state).items():
        for other in (split, streamed):
            np.testing.assert_array_equal(tiny.arrays(other.state)[name], value)


def test_arrays_stay_on_the_host_until_they_are_split():
    x = np.ones((2, 3), np.uint8)
    assert split_rows.arrays({"x": x}, on_host=True)["x"] is x
    assert split_rows.arrays({"x": x}, on_host=False)["x"].devices()
