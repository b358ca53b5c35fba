"""Writes series of DICOM files and assembles their volumes."""

from l3spot.ct import dicom, slices, volumes
from tests.l3spot import series as write
from tests.l3spot.series import STEP

HU = 2.0 * write.values() - 1000


def write_series(folder, uid, count, step):
    images = write.series(count, step, SeriesInstanceUID=f"1.2.3.{uid}")
    write.write(folder / str(uid), images)


def acquisition(number, count, low, **fields):
    """Returns the slices of an acquisition, from the z `low` upwards."""
    images = write.series(count, AcquisitionNumber=number, **fields)
    for i, ds in enumerate(images):
        ds.ImagePositionPatient[2] = low + STEP * i
        ds.SOPInstanceUID = f"1.9.{number}.{i}"
    return images


def assemble(folder):
    read = [
        p for f in slices.iter_files(folder) if dicom.is_dicom(f) for p in dicom.read(f)
    ]
    return volumes.assemble(read)


def only_volume(folder):
    made, rejected = assemble(folder)
    assert (len(made), rejected) == (1, [])
    return made[0]


def rejection_reason(folder):
    made, rejected = assemble(folder)
    assert made == []
    (one,) = rejected
    return one.reason


def series_uids(result):
    return [v.slices[0].series.series_uid for v in result]
