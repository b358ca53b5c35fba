"""Makes a folder of results for reviews, with handmade vertebrae and DICOM slices."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from l3spot.ct.slices import ScanFile
from l3spot.projections import names
from l3spot.report import (
    files,
    html_page,
    result,
    result_json,
    review_files,
    review_page,
)
from l3spot.report.results_file import LevelRow, ResultRow, ScanRows
from mtl.host import claims, workdir
from tests.l3spot import series as write
from tests.l3spot.stub_model import stub_model
from tests.l3spot.vertebrae.stub import (
    PITCH_MM,
    TOP_MM,
    StubVertebrae,
    chain,
    projection,
)

STEP_MM = 3.0
SLICES_MM = TOP_MM - 0.4 - STEP_MM * np.arange(80)[::-1]
L3_MM = TOP_MM + 0.5 - 120.0
FIVE_MM = L3_MM + PITCH_MM * np.array([2, 1, 0, -1, -2])  # L1 to L5.
SUFFIXES = (".json", ".png", ".mrk.json", ".dcm", ".sr.dcm", *review_files.SUFFIXES)
TABLES = ("results.csv", "levels.csv", "review.html", "index.html")


def volume(folder=Path("/nowhere")):
    slices = [
        SimpleNamespace(
            file=ScanFile(folder / f"IM{n:04d}"), sop_instance_uid=f"1.2.{n}"
        )
        for n in range(len(SLICES_MM))
    ]
    return SimpleNamespace(z=SLICES_MM, slices=slices)


def write_slices(folder):
    """Writes the DICOM files of the volume."""
    pixels = np.zeros((8, 8), np.int16)
    made = [
        write.image(pixels, (0, 0, z), n, SOPInstanceUID=f"1.2.{n}")
        for n, z in enumerate(SLICES_MM)
    ]
    write.write(folder, made)


def find(confidence=0.9, coarse_mm=120.0, level="L3", s1=False):
    """Returns the result of a spine with L1 to L5; or S1 in place of L5."""
    stub = StubVertebrae(chain(FIVE_MM, s1), [])
    coarse = stub_model([coarse_mm], confidence)
    return result.find_l3(coarse, projection(), volume(), stub, level)


def make(out, answers, folder=Path("/nowhere"), failed=(), dicom=False):
    """Writes the results of scans as l3spot.predict does; the pictures are blank.

    Args:
      out: the folder.
      answers: results by the scan's name.
      folder: of the slices of all scans.
      failed: names of scans without an answer.
      dicom: whether the slice is copied and DICOM reports are made.
    """
    out.mkdir(exist_ok=True)
    stems = [names.file_stem(name) for name in answers]
    claims.claim(out, [*TABLES, *(s + end for s in stems for end in SUFFIXES)])
    scan, about, p = volume(folder), "made by hand", projection()
    rows, levels = [ResultRow(n, "failed", why="no") for n in failed], []
    for name, got in answers.items():
        stem = names.file_stem(name)
        row = ResultRow(name, series="1.2.3", slice_mm=STEP_MM, low_mm=SLICES_MM[0])
        row = result.add_result(row, got, scan)
        review_files.write(
            out, stem, p, got, scan, about, copy_slice=dicom, dicom=dicom
        )
        files.write(out, stem, p, got, b"")
        rows.append(row)
        own = files.level_rows(name, got)
        levels += own
        result_json.write(out, name, [ScanRows(row, own)], {"version": "0"})
    workdir.write_csv(out / "results.csv", ResultRow._fields, rows)
    workdir.write_csv(out / "levels.csv", LevelRow._fields, levels)
    workdir.write_text(out / "index.html", html_page.render(rows, about))
    workdir.write_text(out / "review.html", review_page.render(rows, out))
    return rows
