"""Writes phantoms as DICOM series."""

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from l3spot.phantom import body, solid
from l3spot.phantom.body import Body, Scan
from l3spot.phantom.draw import PhantomRanges
from l3spot.phantom.spine import L3
from mtl.host import workdir
from mtl.host.errors import WorkdirError

INTERCEPT_HU = -1024  # HU of the stored value 0.


class Phantom(NamedTuple):
    """A body and how it is scanned.

    Attributes:
      person: the body.
      scan: the scan.
      image_key: of texture and noise.
      origin_mm: z of the middle of L3's body, LPS.
    """

    person: Body
    scan: Scan
    image_key: jax.Array
    origin_mm: float


class Truth(NamedTuple):
    """z of L3 and its neighbours, mm, LPS; NaN if L3 is not in view.

    Attributes:
      z_mm: of the middle of L3's body.
      l2_mm: of the middle of L2's body.
      upper_mm: of the middle of L3's upper end plate.
      lower_mm: of the middle of L3's lower end plate.
      l4_mm: of the middle of L4's body.
    """

    z_mm: float = math.nan
    l2_mm: float = math.nan
    upper_mm: float = math.nan
    lower_mm: float = math.nan
    l4_mm: float = math.nan


def draw(seed: int, number: int, ranges: PhantomRanges) -> Phantom:
    """Draws phantom `number` of a seed."""
    key = jax.random.fold_in(jax.random.key(seed), number)
    body_key, image_key, table_key = jax.random.split(key, 3)
    person, scan = _draw(body_key, ranges)
    # A scanner's z is relative to a position of its table.
    origin_mm = round(float(jax.random.uniform(table_key, minval=-900, maxval=300)), 1)
    return Phantom(person, scan, image_key, origin_mm)


def truth(phantom: Phantom) -> Truth:
    """Returns the labels of a phantom."""
    scan, blocks = phantom.scan, phantom.person.blocks
    count = np.floor((scan.high_mm - scan.low_mm) / scan.slice_mm)
    if not scan.low_mm <= 0 <= scan.low_mm + scan.slice_mm * count:
        return Truth()
    half = float(blocks.half[L3, 2] * blocks.axes[L3, 2, 2])
    l2, l4 = (float(blocks.centre[i, 2]) for i in (L3 - 1, L3 + 1))
    above_l3 = (0.0, l2, half, -half, l4)
    return Truth(*(round(phantom.origin_mm + z, 2) for z in above_l3))


def write(
    folder: Path, seed: int, number: int, ranges: PhantomRanges, size: int
) -> float:
    """Writes one phantom as a folder of DICOM files, atomically.

    Args:
      folder: of the series; if it exists, nothing is written.
      seed: of all phantoms.
      number: of this phantom.
      ranges: of the random numbers.
      size: pixels a side of a slice.

    Returns:
      z of the middle of L3's body, mm, LPS; NaN if L3 is not in view.

    Raises:
      WorkdirError: a file cannot be written.
    """
    phantom = draw(seed, number, ranges)
    write_drawn(folder, phantom, f"{seed}.{number}.{size}", number, size)
    return truth(phantom).z_mm


def write_drawn(
    folder: Path, phantom: Phantom, source: str, number: int, size: int
) -> None:
    """Writes a drawn phantom as a folder of DICOM files, atomically.

    Args:
      folder: of the series; if it exists, nothing is written.
      phantom: the phantom.
      source: makes the UIDs; other phantoms need another one.
      number: of the phantom, in the header.
      size: pixels a side of a slice.

    Raises:
      WorkdirError: a file cannot be written.
    """
    if folder.exists():
        return
    scan, origin_mm = phantom.scan, phantom.origin_mm
    temporary = workdir.temporary_beside(folder)
    try:
        temporary.mkdir(parents=True)
        common = _common(source, number, scan, size)
        slices = solid.slices(phantom.image_key, phantom.person, scan, size)
        for i, (z, hu) in enumerate(slices):
            _save(temporary / f"IM{i:05d}.dcm", common, i, z + origin_mm, scan, hu)
        temporary.rename(folder)
    except OSError as e:
        raise WorkdirError(f"cannot write {folder}: {e.strerror}") from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _draw(key: jax.Array, ranges: PhantomRanges) -> tuple[Body, Scan]:
    """Draws a body and a scan; all ranges share one program."""
    return _draw_fields(key, dataclasses.asdict(ranges))


@jax.jit
def _draw_fields(key: jax.Array, fields: dict[str, Any]) -> tuple[Body, Scan]:
    return body.draw(key, PhantomRanges(**fields))


def _common(source: str, number: int, scan: Scan, size: int) -> Dataset:
    """Returns the attributes that all slices of a series share."""
    ds = Dataset()
    ds.SOPClassUID, ds.Modality = CTImageStorage, "CT"
    ds.PatientName, ds.PatientID = f"Phantom^{number}", f"phantom-{number}"
    ds.PatientBirthDate = ds.PatientSex = ds.StudyDate = ds.StudyTime = ""
    ds.AccessionNumber = ds.StudyID = ds.ReferringPhysicianName = ""
    ds.Manufacturer, ds.SeriesDescription = "l3spot", "Parametric phantom"
    ds.ImageType, ds.PatientPosition = ["DERIVED", "PRIMARY", "AXIAL"], "HFS"
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[source, "study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[source, "series"])
    ds.FrameOfReferenceUID = generate_uid(entropy_srcs=[source, "frame"])
    ds.SeriesNumber, ds.AcquisitionNumber, ds.KVP = 1, 1, "120"
    pixel = float(scan.pixel_mm) * 512 / size
    ds.PixelSpacing = [f"{pixel:.6f}"] * 2
    ds.SliceThickness = f"{float(scan.slice_mm):.4f}"
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.Rows = ds.Columns = size
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelRepresentation = 0
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, INTERCEPT_HU, "HU"
    return ds


def _save(
    path: Path, common: Dataset, i: int, z: float, scan: Scan, hu: np.ndarray
) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.update(common)
    ds.SOPInstanceUID = generate_uid(entropy_srcs=[common.SeriesInstanceUID, str(i)])
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.InstanceNumber = i + 1
    half = (ds.Rows - 1) / 2 * float(ds.PixelSpacing[0])
    corner = float(scan.x_mm) - half, float(scan.y_mm) - half, z
    ds.ImagePositionPatient = [f"{v:.4f}" for v in corner]
    ds.PixelData = (hu - INTERCEPT_HU).clip(0, 4095).astype("<u2").tobytes()
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
