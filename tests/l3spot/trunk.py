"""A small trunk on a table, its DICOM files, and its projections by NumPy."""

import numpy as np
from scipy import ndimage

from l3spot.ct import dicom, slices, volumes
from tests.l3spot import series as write

MM, SIZE, SLICES, STEP = 2.0, 80, 24, 3.0
X0, Y0, Z0 = -60.0, -90.0, 40.0


def trunk():
    """Returns HU [slices, rows, columns]: soft tissue, a slanting bone and a table."""
    hu = np.full((SLICES, SIZE, SIZE), -1000.0)
    hu[:, 20:60, 10:70] = 40
    rng = np.random.default_rng(0)
    for i in range(SLICES):
        hu[i, 40:48, 20 + i : 32 + i] = 300 + 10 * i + rng.integers(0, 50, (8, 12))
    hu[:, 70, 5:75] = 900  # A thin, bright table.
    hu[:, 2:4, 2:4] = 700  # A tube.
    return hu


def images(hu, axes=(1, 0, 0, 0, 1, 0), origin=(X0, Y0), **fields):
    made = []
    for i, ct_slice in enumerate(hu):
        stored = np.ascontiguousarray(ct_slice).astype(np.int16)
        made.append(
            write.image(
                stored,
                (*origin, Z0 + STEP * i),
                i,
                ImageOrientationPatient=[float(a) for a in axes],
                PixelSpacing=[MM, MM],
                RescaleSlope=1.0,
                RescaleIntercept=0.0,
                **fields,
            )
        )
    return made


def volume_of(folder, datasets):
    write.write(folder, datasets)
    read = [p for f in slices.iter_files(folder) for p in dicom.read(f)]
    (volume,), rejected = volumes.assemble(read)
    assert rejected == []
    return volume


def naive(hu):
    """Returns the frontal and lateral projection of the body, with the head up."""
    own = hu.copy()
    own[:, :20], own[:, 60:] = -1024, -1024
    own[:, :, :10], own[:, :, 70:] = -1024, -1024
    return own.max(axis=1)[::-1], own.max(axis=2)[::-1]


def mask_of(hu, spacing):
    """Returns the body mask of a slice, from scipy's morphology."""
    skip = [max(1, round(2 / mm)) for mm in spacing]
    reach = [round(5 / (mm * n)) - 1 for mm, n in zip(spacing, skip, strict=True)]
    tissue = hu[:: skip[0], :: skip[1]] > -300
    tissue = ndimage.binary_opening(tissue, np.ones([2 * r + 1 for r in reach]))
    pieces, count = ndimage.label(tissue)
    sizes = np.array([0, *ndimage.sum_labels(tissue, pieces, range(1, count + 1))])
    large = ndimage.binary_dilation((sizes >= 0.05 * sizes.max())[pieces] & tissue)
    return np.kron(large, np.ones(skip, bool))[: hu.shape[0], : hu.shape[1]]
