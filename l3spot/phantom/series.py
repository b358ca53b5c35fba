"""Writes phantoms as DICOM series."""

import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from l3spot.phantom import body, solid
from l3spot.phantom.draw import PhantomRanges
from mtl.host.errors import WorkdirError

INTERCEPT_HU = -1024  # HU of the stored value 0.


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
    key = jax.random.fold_in(jax.random.key(seed), number)
    body_key, image_key, table_key = jax.random.split(key, 3)
    person, scan = _draw(body_key, ranges)
    # A scanner's z is relative to a position of its table.
    origin_mm = round(float(jax.random.uniform(table_key, minval=-900, maxval=300)), 1)
    last_mm = scan.low_mm + scan.slice_mm * np.floor(
        (scan.high_mm - scan.low_mm) / scan.slice_mm
    )
    if not folder.exists():
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            common = _common(f"{seed}.{number}.{size}", number, scan, size)
            slices = solid.slices(image_key, person, scan, size)
            for i, (z, hu) in enumerate(slices):
                _save(temporary / f"IM{i:05d}.dcm", common, i, z + origin_mm, scan, hu)
            temporary.rename(folder)
        except OSError as e:
            raise WorkdirError(f"cannot write {folder}: {e.strerror}") from e
    return origin_mm if scan.low_mm <= 0 <= last_mm else float("nan")


_draw = jax.jit(body.draw, static_argnums=1)


def _common(source: str, number: int, scan: body.Scan, size: int) -> Dataset:
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
    path: Path, common: Dataset, i: int, z: float, scan: body.Scan, hu: np.ndarray
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
