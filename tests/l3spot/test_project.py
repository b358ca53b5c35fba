"""The launcher of projections, on folders as users have them."""

import csv
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from l3spot import project
from mtl.errors import DataError, WorkdirError
from tests.conftest import ROOT
from tests.l3spot import series as write
from tests.l3spot.test_projection import MM, PLANES, STEP, Z0, images, naive, trunk


@pytest.fixture
def scans(tmp_path):
    """A folder, a zip file, one with too few planes, one with no DICOM file."""
    root = tmp_path / "scans"
    write.write(root / "a" / "deep", images(trunk()))
    with zipfile.ZipFile(root / "b.zip", "w") as archive:
        for i, ds in enumerate(images(trunk())):
            archive.writestr(str(i), write.content(ds))
    write.write(root / "few", images(trunk())[:3])
    (root / "none").mkdir()
    return root


def rows(out):
    return list(csv.DictReader((out / "report.csv").read_text().splitlines()))


def test_each_scan_is_projected_or_says_why_not(scans, tmp_path):
    out = tmp_path / "out"
    project.project(scans, out, row=STEP, column=MM)
    found = {r["scan"]: r for r in rows(out)}
    assert {k: r["status"] for k, r in found.items()} == {
        "a": "projected", "b.zip": "projected", "few": "rejected", "none": "rejected",
    }  # fmt: skip
    assert "3 planes are too few" in found["few"]["why"]
    assert "holds no DICOM file" in found["none"]["why"]
    assert found["a"]["planes"] == str(PLANES)
    assert (float(found["a"]["low_mm"]), float(found["a"]["step_mm"])) == (Z0, STEP)
    for name, first in (("a", "deep/IM0000"), ("b.zip", "0")):
        with np.load(out / f"{name}.npz") as a:
            frontal, _ = naive(trunk())
            np.testing.assert_array_equal(a["frontal"][:, 12:68], frontal[:, 12:68])
            # From a row to the file that it came from.
            plane = a["nearest"][len(a["z"]) - 1]
            assert a["plane_z"][plane] == Z0
            assert a["plane_file"][plane] == first
            assert a["plane_sop"][plane].startswith("1.2.3.4.")
    assert (out / "montage.png").read_bytes()[:4] == b"\x89PNG"


def test_nothing_of_the_patient_is_written(scans, tmp_path):
    """Names, birth dates and ids are in the headers, and in none of the files."""
    out = tmp_path / "out"
    project.project(scans, out)
    for path in out.rglob("*"):
        content = path.read_bytes()
        for secret in (b"Doe", b"secret", "secret".encode("utf-32-le")):
            assert secret not in content, path


def test_what_is_there_is_not_read_again(scans, tmp_path, monkeypatch):
    out, read = tmp_path / "out", []
    first = project.project(scans, out)
    whole = project.scan.read
    monkeypatch.setattr(project.scan, "read", lambda p: read.append(p.name) or whole(p))
    again = project.project(scans, out)
    assert read == ["few", "none"]  # What was rejected may have been mended.
    assert again[:2] == first[:2]


def test_another_way_needs_another_folder(scans, tmp_path):
    project.project(scans, tmp_path / "out")
    with pytest.raises(WorkdirError, match="was made with"):
        project.project(scans, tmp_path / "out", row=2.0)
    with pytest.raises(WorkdirError, match="lies in"):
        project.project(scans, scans / "out")


def test_a_folder_of_dicom_files_is_one_scan(tmp_path):
    write.write(tmp_path / "scan", images(trunk()))
    assert list(project.find(tmp_path / "scan")) == ["scan"]


def test_folders_that_are_no_use(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        project.find(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no folder"):
        project.find(tmp_path)


def test_the_launcher_tells_what_failed(scans, tmp_path):
    command = [sys.executable, "-m", "l3spot.project", "--scans", str(scans)]
    command += ["--out", str(tmp_path / "out")]
    env = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)
    assert done.returncode == 1
    assert "2 of 4 scans were rejected" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(rows(tmp_path / "out")) == 4
