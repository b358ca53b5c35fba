"""Projecting small datasets of each layout, and reading them back."""

import csv
import itertools
import json
import os

import nibabel
import numpy as np
import pytest

from l3spot import project
from l3spot.labels import centroids
from l3spot.projections import dataset_layouts, projection_files
from mtl.host.errors import DataError
from tests.l3spot import vertebra
from tests.l3spot.vertebra import MIDDLE, affine_of

MM = (3.0, 3.0, 3.0)
SHAPE = (53, 60, 47)
AFFINE = affine_of(MM, [80, 70, 60])


def ct():
    """Returns HU int16 [i, j, k]: tissue around an L3 with its middle at z = 130 mm."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[6:-6, 6:-6] = 40
    hu[vertebra.mask(AFFINE, SHAPE, MIDDLE)] = 500
    return hu


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), path)


def mask(value=1):
    return (value * vertebra.mask(AFFINE, SHAPE, MIDDLE)).astype(np.uint8)


def totalsegmentator(root):
    for name in ("s0001", "s0002", "s0003"):
        save(root / name / "ct.nii.gz", ct())
        save(root / name / "segmentations" / "liver.nii.gz", mask())
    save(root / "s0001" / "segmentations" / "vertebrae_L3.nii.gz", mask())
    save(root / "s0002" / "segmentations" / "vertebrae_L3.nii.gz", mask(0))
    (root / "meta.csv").write_text("image_id;age\ns0001;50\n")
    return {"s0001": "in view", "s0002": "not in view", "s0003": ""}


def verse(root):
    """Writes two splits with centres, a mask, and a scan without a label."""
    expected = {}
    for split, name, has in (
        ("training", "sub-verse500_dir-ax", "json"),
        ("training", "sub-verse501", "json without"),
        ("test", "sub-verse502_split-verse253", "mask"),
        ("test", "sub-verse503", ""),
    ):
        base, sub = root / f"dataset-verse20{split}", name.split("_")[0]
        save(base / "rawdata" / sub / f"{name}_ct.nii.gz", ct())
        beside = base / "derivatives" / sub
        beside.mkdir(parents=True)
        if has.startswith("json"):
            label = 22 if has == "json" else 24
            i, j, k = np.linalg.inv(AFFINE)[:3] @ [*(MIDDLE * [-1, -1, 1]), 1]
            content = [
                {"direction": ["R", "A", "S"]},
                {"label": 21, "X": 1.0, "Y": 2.0, "Z": 3.0},
                {"label": label, "X": i, "Y": j, "Z": k},
            ]
            path = beside / f"{name}_seg-subreg_ctd.json"
            path.write_text(json.dumps(content))
        elif has:
            save(beside / f"{name}_seg-vert_msk.nii.gz", mask(22))
        expected[name] = {"json": "in view", "json without": "not in view"}.get(
            has, "in view" if has else ""
        )
    return expected


def ctspine1k(root):
    base = root / "rawdata"
    save(base / "volumes" / "COLONOG" / "1.3.6.nii.gz", ct())
    save(base / "labels" / "COLONOG" / "1.3.6_seg.nii.gz", mask(22))
    save(base / "volumes" / "MSD-T10" / "liver_1.nii.gz", ct())
    save(base / "labels" / "MSD-T10" / "liver_1_seg.nii.gz", mask(23))
    return {"1.3.6": "in view", "liver_1": "not in view"}


def folders(root):
    save(root / "a.nii.gz", ct())
    save(root / "b.nii", ct())
    save(root / "c" / "ct.nii", ct())
    return {"a.nii.gz": "", "b.nii": "", "c": ""}


MADE = {f.__name__: f for f in (totalsegmentator, verse, ctspine1k, folders)}


@pytest.mark.parametrize("layout", MADE)
def test_scans_and_labels_of_a_dataset_are_found(tmp_path, layout):
    root, out = tmp_path / "scans", tmp_path / "out"
    expected = MADE[layout](root)
    assert dataset_layouts.detect(root) == layout
    report = project.project(root, out, workers=1)
    assert {row.scan: row.label for row in report} == expected
    loaded = projection_files.load(out)
    assert {e.id: e.label for e in loaded} == expected
    for example in loaded:
        if example.label == "in view":
            assert abs(example.l3_z - MIDDLE[2]) < 1.5
            # The vertebra is at the label's position, and has its HU.
            row = int(np.abs(example.z - example.l3_z).argmin())
            column = int(np.abs(example.x - MIDDLE[0]).argmin())
            assert example.frontal[row, column] == 500
        else:
            assert np.isnan(example.l3_z)
        assert example.frontal.shape == (len(example.z), len(example.x))
    rows = list(csv.DictReader((out / "report.csv").read_text().splitlines()))
    marked = [r for r in rows if r["label"] == "in view"]
    assert all(abs(float(r["l3_mm"]) - MIDDLE[2]) < 1.5 for r in marked)


def test_equal_names_get_their_folders_as_prefix(tmp_path):
    for source in "ab":
        save(tmp_path / "volumes" / source / "1.nii.gz", ct())
        save(tmp_path / "labels" / source / "1_seg.nii.gz", mask(22))
    result = dataset_layouts.find(tmp_path, dataset_layouts.detect(tmp_path))
    assert [c.name for c in result] == ["volumes_a_1.nii.gz", "volumes_b_1.nii.gz"]
    assert all(c.label for c in result)


def test_a_layout_can_be_forced(tmp_path):
    totalsegmentator(tmp_path)
    assert [c.name for c in dataset_layouts.find(tmp_path, "folders")] == [
        "s0001", "s0002", "s0003",
    ]  # fmt: skip
    with pytest.raises(DataError, match="holds no scan in the layout verse"):
        dataset_layouts.find(tmp_path, "verse")


def test_unreadable_folders_do_not_end_the_run(tmp_path, monkeypatch):
    """Scans with an unreadable folder of images or masks are rejected."""
    root = tmp_path / "scans"
    totalsegmentator(root)
    whole = os.stat

    def stat(path, *args, **kwargs):
        if any(f"{name}/" in str(path) for name in ("s0000", "s0001/segmentations")):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path, *args, **kwargs)

    save(root / "s0000" / "ct.nii.gz", ct())
    monkeypatch.setattr(os, "stat", stat)
    assert dataset_layouts.detect(root) == "totalsegmentator"
    assert dataset_layouts.detect(root / "s0002") == "folders"
    report = project.project(root, tmp_path / "out", workers=1)
    assert [(r.scan, r.status) for r in report] == [
        ("s0000", "rejected"), ("s0001", "rejected"),
        ("s0002", "projected"), ("s0003", "projected"),
    ]  # fmt: skip
    assert all("Permission denied" in r.why for r in report[:2])


def test_a_mask_of_another_scan_is_refused(tmp_path):
    save(tmp_path / "scans" / "s1" / "ct.nii.gz", ct())
    path = tmp_path / "scans" / "s1" / "segmentations" / "vertebrae_L3.nii.gz"
    path.parent.mkdir()
    far = AFFINE.copy()
    far[2, 3] += 500
    nibabel.save(nibabel.Nifti1Image(mask(), far), path)
    (row,) = project.project(tmp_path / "scans", tmp_path / "out", workers=1)
    assert row.status == "rejected"
    assert "L3 at z = 630" in row.why


def test_a_changed_label_file_is_read_again(tmp_path):
    out = tmp_path / "out"
    MADE["totalsegmentator"](tmp_path / "seg")
    MADE["verse"](tmp_path / "verse")
    masks = tmp_path / "seg" / "s0001" / "segmentations" / "vertebrae_L3.nii.gz"
    project.project(tmp_path / "seg", out, workers=1)
    save(masks, mask(0))
    report = project.project(tmp_path / "seg", out, workers=1)
    assert [r.label for r in report] == ["not in view", "not in view", ""]
    assert [e.label for e in projection_files.load(out)] == [
        "not in view",
        "not in view",
        "",
    ]
    (centres,) = tmp_path.rglob("*verse500*_ctd.json")
    project.project(tmp_path / "verse", out, workers=1)
    centres.write_text('[{"direction": ["R", "A", "S"]}]')
    labels = {
        r.scan: r.label for r in project.project(tmp_path / "verse", out, workers=1)
    }
    assert labels["sub-verse500_dir-ax"] == "not in view"


# VerSe's centres


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1), (1, -1, 1), (-1, -1, -1)])
def test_centres_follow_the_axes_of_their_directions(tmp_path, order, flips):
    """The directions are the image's own, or those of a reoriented image."""
    image = nibabel.Nifti1Image(ct(), AFFINE)
    moved = image.as_reoriented(np.stack([order, flips], axis=1))
    nibabel.save(moved, tmp_path / "ct.nii")
    for given in (image, moved):
        voxel = np.linalg.inv(given.affine)[:3] @ [*(MIDDLE * [-1, -1, 1]), 1]
        entry = dict(zip("XYZ", map(float, voxel), strict=True)) | {"label": 22}
        codes = {"direction": nibabel.aff2axcodes(given.affine)}
        (tmp_path / "a.json").write_text(json.dumps([codes, entry]))
        result = centroids.read(tmp_path / "a.json", tmp_path / "ct.nii", 22)
        assert result.z == pytest.approx(MIDDLE[2], abs=1e-3)


@pytest.mark.parametrize(
    "content",
    ["no json", "{}", "[]", '[{"direction": ["R"]}, {"label": 22, "X": 1}]', "[1]"],
)
def test_invalid_files_of_centres_are_refused(tmp_path, content):
    save(tmp_path / "ct.nii", ct())
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=r"a\.json is no file of VerSe"):
        centroids.read(tmp_path / "a.json", tmp_path / "ct.nii", 22)
