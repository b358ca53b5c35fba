"""A vertebra of simple shapes; the middle of its body is known."""

import nibabel
import numpy as np

MIDDLE = np.array([5.0, -20.0, 130.0])  # mm, LPS; of the bodies in the tests.


def inside(points, size=1.0):
    """Returns whether points [..., 3] are in a vertebra with its body's middle at 0.

    mm, LPS: x to the left, y to the back, z up. The body is 48 x 34 x 28 mm; the
    pedicles are in its upper half; the spinous process hangs lower than the body.
    """
    x, y, z = np.moveaxis(points / size, -1, 0)
    side = np.abs(x)
    body = (x / 24) ** 2 + (y / 17) ** 2 <= 1
    body &= np.abs(z) <= 14
    pedicles = (np.abs(side - 13) <= 4.5) & (y > 8) & (y <= 28) & (np.abs(z - 5) <= 7)
    lamina = (side <= 18) & (np.abs(y - 31) <= 3.5) & (np.abs(z + 5) <= 11)
    facets = (np.abs(side - 17) <= 5) & (np.abs(y - 30) <= 6) & (np.abs(z + 2) <= 22)
    transverse = (side <= 45) & (side > 15) & (np.abs(y - 24) <= 4) & (np.abs(z) <= 5)
    spine = (side <= 4) & (y > 30) & (y <= 62) & (np.abs(z + 14) <= 11)
    return body | pedicles | lamina | facets | transverse | spine


def turn(x=0.0, y=0.0):
    """Returns a rotation matrix [3, 3], by degrees about x, then y."""
    a, b = np.radians([x, y])
    about_x = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    about_y = [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
    return np.array(about_y) @ np.array(about_x)


def mask(affine, shape, middle, rotation=None, size=1.0):
    """Returns a vertebra, bool [i, j, k]; the affine is RAS, the middle LPS."""
    grid = np.moveaxis(np.indices(shape), 0, -1)
    places = (grid @ affine[:3, :3].T + affine[:3, 3]) * [-1, -1, 1] - middle
    return inside(places @ (np.eye(3) if rotation is None else rotation), size)


def affine_of(mm, first):
    """Returns an affine, RAS, with the first voxel at `first`, LPS."""
    affine = np.diag([*mm, 1.0])
    affine[:3, 3] = np.array(first) * [-1, -1, 1]
    return affine


def image(marked, affine, path):
    nibabel.save(nibabel.Nifti1Image(marked.astype(np.uint8), affine), path)
    return path
