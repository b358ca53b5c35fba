"""Runs launchers as a user does, and reads the tables that they write."""

import csv
import functools
import tempfile
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from l3spot.localize import network
from l3spot.localize.model import FEATURE_COUNT, Calibration, Model, save
from tests import program
from tests.l3spot import series as write
from tests.l3spot.trunk import images, trunk


class Run(NamedTuple):
    """A finished run: its process, and the rows of its table by scan."""

    done: object
    rows: dict


@functools.cache
def _models():
    """Writes untrained models: one finds L3 in every scan, the other in none."""
    folder = Path(tempfile.mkdtemp(prefix="models-"))
    params = jax.tree.map(np.asarray, network.CNN4.init(jax.random.key(0)))
    for name, bias in (("found", 5.0), ("not in view", -5.0)):
        calibration = Calibration((0.0,) * FEATURE_COUNT, bias)
        save(folder / name, Model(params, 0.0, 900.0, calibration, "untrained"))
    return folder


def model(answer):
    """Returns the file of a model that gives this answer for every scan."""
    return _models() / answer


def predict(scans, out, *flags, answer="found", run=program.call):
    """Runs l3spot.predict with a model that gives this answer for every scan."""
    done = run(
        "l3spot.predict", "--scans", scans, "--out", out,
        "--checkpoint", model(answer), "--method", "paper",
        "--workers", "1", *flags,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return Run(done, rows(out / "results.csv"))


def project(scans, out, *flags):
    """Runs l3spot.project; the rows are those of the scans."""
    done = program.call(
        "l3spot.project", "--scans", scans, "--out", out, "--workers", "1", *flags
    )
    assert "Traceback" not in done.stderr
    return Run(done, rows(out / "report.csv", {"left out"}))


def rows(table, without=()):
    if not table.exists():
        return {}
    text = table.read_text(encoding="utf-8", errors="surrogateescape")
    found = list(csv.DictReader(text.splitlines()))
    return {row["scan"]: row for row in found if row["status"] not in without}


def scan(folder, hu=None, name="IM{:04d}", **fields):
    """Writes a scan of a trunk, and returns its folder."""
    return write.write(folder, images(trunk() if hu is None else hu, **fields), name)


def long_trunk(repeats):
    """Returns HU of the trunk, several times above itself."""
    return np.concatenate([trunk()] * repeats)
