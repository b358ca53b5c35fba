"""Tests the launcher on faces in the layout of 300-W."""

import json

import numpy as np
import pytest

from structured.faces.crops import Crop
from structured.report import comparison
from tests import program
from tests.structured.face_folders import write_face


@pytest.mark.slow
def test_faces_are_trained_once_and_all_figures_are_written(tmp_path):
    for part, count in (("trainset", 20), ("testset", 12)):
        for i in range(count):
            write_face(tmp_path / "data" / "helen" / part, f"{part}_{i}.png", i)
    flags = ["--config", "configs/structured/helen.py:smoke", "--config.variant=mlp"]
    flags += [f"--config.data.path={tmp_path / 'data'}", "--config.data.margin=0.1"]
    flags += ["--workdir", str(tmp_path / "run")]
    done = program.run("structured.main", *flags)
    assert done.returncode == 0, done.stderr
    summary_line, _, note = done.stdout.splitlines()[-3:]
    assert summary_line.startswith("mlp, 18 pairs, 0 x alone")
    assert note.startswith("A smoke config")
    for name in ("mse.png", "cdf.png", "faces.png"):
        assert (tmp_path / "run" / name).read_bytes()[:4] == b"\x89PNG"
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 0 < summary["test"]["nme_inter_ocular"] < 10

    again = program.call("structured.main", *flags)
    assert again.stdout.splitlines()[-3:] == done.stdout.splitlines()[-3:]
    assert "epoch" not in again.stdout


@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_pixels_of_corners_and_centre_of_the_frame(margin):
    """The 40 pixels show the frame and its margin on each side."""
    y = np.array([[-0.5, 0.0, 0.5, -0.5, 0.0, 0.5]])
    edge = 40 * margin / (1 + 2 * margin)
    expected = np.array([edge, 20, 40 - edge]) - 0.5
    pixels = comparison._to_pixels(y, Crop(40, margin=margin))
    np.testing.assert_allclose(pixels, np.stack([expected, expected], -1)[None])
