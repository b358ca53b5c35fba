"""Writes small CT series, valid and invalid."""

import io

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
ROWS, COLUMNS, SLICES, STEP = 6, 8, 20, 2.5


def values(slices=SLICES):
    """Returns stored values int16 [slices, rows, columns], all different."""
    count = slices * ROWS * COLUMNS
    return np.arange(count, dtype=np.int16).reshape(slices, ROWS, COLUMNS)


def image(pixels, position, number=1, **fields):
    """Returns a CT image with these elements; None removes an element."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID = meta.MediaStorageSOPClassUID = CTImageStorage
    ds.Modality, ds.PatientID, ds.PatientName = "CT", "secret", "Doe^Jane"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    ds.InstanceNumber = number
    ds.ImagePositionPatient = [float(v) for v in position]
    ds.ImageOrientationPatient, ds.PixelSpacing = list(AXIAL), [0.7, 0.9]
    ds.RescaleSlope, ds.RescaleIntercept = 2.0, -1000.0
    _put_pixels(ds, pixels)
    for name, value in fields.items():
        if value is None:
            del ds[name]
        else:
            setattr(ds, name, value)
    if "SOPInstanceUID" not in ds:
        where = "".join(
            f".{abs(round(100 * v))}" for v in ds.get("ImagePositionPatient", ())
        )
        ds.SOPInstanceUID = f"{ds.SeriesInstanceUID}.{number}{where}"
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def _put_pixels(ds, pixels):
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelData = pixels.tobytes()


def stored(ds):
    """Returns a copy of the stored values of an image, flat."""
    return np.frombuffer(ds.PixelData, np.int16).copy()


def series(slices=SLICES, step=STEP, **fields):
    """Returns a clean series, from the feet to the head; the first z is 100 mm."""
    return [
        image(pixels, (-30, -20, 100 + step * i), i + 1, **fields)
        for i, pixels in enumerate(values(slices))
    ]


def enhanced(slopes, shared=False, slices=SLICES):
    """Returns a file of several frames, with a slope per frame, or one if shared."""
    each = [slopes] * slices if shared else slopes
    return merged(
        [
            image(pixels, (-30, -20, 100 + STEP * i), RescaleSlope=slope)
            for i, (pixels, slope) in enumerate(zip(values(slices), each, strict=True))
        ],
        shared,
    )


def merged(images, shared):
    """Merges images to one file of frames; if shared, all have the first rescale."""
    first = images[0]
    pixels = [np.frombuffer(ds.PixelData, np.int16) for ds in images]
    stack = np.reshape(pixels, (len(images), first.Rows, first.Columns))
    ds = image(stack, (0, 0, 0), ImagePositionPatient=None, RescaleSlope=None,
               ImageOrientationPatient=None, PixelSpacing=None, RescaleIntercept=None,
               NumberOfFrames=len(images))  # fmt: skip
    ds.SOPClassUID = EnhancedCTImageStorage
    common = Dataset()
    common.PixelMeasuresSequence = [_part(first, "PixelSpacing")]
    common.PlaneOrientationSequence = [_part(first, "ImageOrientationPatient")]
    rescale = "RescaleSlope", "RescaleIntercept"
    if shared:
        common.PixelValueTransformationSequence = [_part(first, *rescale)]
    ds.SharedFunctionalGroupsSequence = [common]
    frames = []
    for one in images:
        own = Dataset()
        own.PlanePositionSequence = [_part(one, "ImagePositionPatient")]
        if not shared:
            own.PixelValueTransformationSequence = [_part(one, *rescale)]
        frames.append(own)
    ds.PerFrameFunctionalGroupsSequence = frames
    return ds


def _part(ds, *names):
    """Returns a sequence item with some elements of an image."""
    item = Dataset()
    for name in names:
        setattr(item, name, ds[name].value)
    return item


def content(ds):
    """Returns the bytes of the image's file."""
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


def write(folder, datasets, name="IM{:04d}"):
    """Writes the images to files, numbered in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, ds in enumerate(datasets):
        (folder / name.format(i)).write_bytes(content(ds))
    return folder
