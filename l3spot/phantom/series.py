"""Phantoms as DICOM series, as a scanner would leave them."""

import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from l3spot.phantom import body, solid
from l3spot.phantom.draw import Ranges
from mtl.host.errors import WorkdirError

INTERCEPT = -1024  # HU of the stored value 0.


def write(folder: Path, seed: int, number: int, ranges: Ranges, size: int) -> float:
    """Writes one phantom as a folder of DICOM files, aside, then renames.

    Args:
      folder: what the series will be; left alone if it is there already.
      seed: of all of them.
      number: of this one.
      ranges: that it is drawn from.
      size: pixels a side of a plane.

    Returns:
      z of the middle of L3's body, mm, LPS; NaN if that is not in view.

    Raises:
      WorkdirError: it cannot be written.
    """
    key = jax.random.fold_in(jax.random.key(seed), number)
    who, what, where = jax.random.split(key, 3)
    person, scan = _draw(who, ranges)
    # A scanner counts from where its table stood.
    origin = round(float(jax.random.uniform(where, minval=-900, maxval=300)), 1)
    last = scan.low + scan.step * np.floor((scan.high - scan.low) / scan.step)
    if not folder.exists():
        aside = folder.with_name(f".{folder.name}.{os.getpid()}")
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            common = _common(f"{seed}.{number}.{size}", number, scan, size)
            planes = solid.planes(what, person, scan, size)
            for i, (z, hu) in enumerate(planes):
                _save(aside / f"IM{i:05d}.dcm", common, i, z + origin, scan, hu)
            aside.rename(folder)
        except OSError as e:
            raise WorkdirError(f"cannot write {folder}: {e.strerror}") from e
    return origin if scan.low <= 0 <= last else float("nan")


_draw = jax.jit(body.draw, static_argnums=1)


def _common(source: str, number: int, scan: body.Scan, size: int) -> Dataset:
    """What all the images of a series share."""
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
    pixel = float(scan.pixel) * 512 / size
    ds.PixelSpacing = [f"{pixel:.6f}"] * 2
    ds.SliceThickness = f"{float(scan.step):.4f}"
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.Rows = ds.Columns = size
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelRepresentation = 0
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, INTERCEPT, "HU"
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
    corner = float(scan.x) - half, float(scan.y) - half, z
    ds.ImagePositionPatient = [f"{v:.4f}" for v in corner]
    ds.PixelData = (hu - INTERCEPT).clip(0, 4095).astype("<u2").tobytes()
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
