import numpy as np
import pytest

from structured.faces.points import read_pts
from structured.faces.schemes import FIVE_POINTS, IBUG_68, SCHEMES, WFLW_98


def line(x0, x1, y, count, bend=0.0):
    """Points from x0 to x1 at height y; the middle is raised."""
    t = np.linspace(0, 1, count)
    return np.stack([x0 + t * (x1 - x0), y - bend * 4 * t * (1 - t)], axis=1)


def ring(x0, x1, y, above, below, bend):
    """A closed curve: a corner, points above, the other corner, points below."""
    upper = line(x0, x1, y, above + 2, bend)
    lower = line(x1, x0, y, below + 2, -bend)[1:-1]
    return np.concatenate([upper, lower])


def drawn_68():
    """A symmetric face, in the order of the figure of 300-W."""
    return np.concatenate(
        [
            line(-1, 1, 0, 17, -1.0),  # The jaw.
            line(-0.8, -0.2, -0.6, 5, 0.1),
            line(0.2, 0.8, -0.6, 5, 0.1),
            [[0, y] for y in (-0.4, -0.3, -0.2, -0.1)],
            line(-0.2, 0.2, 0, 5, -0.1),
            ring(-0.7, -0.3, -0.3, 2, 2, 0.08),
            ring(0.3, 0.7, -0.3, 2, 2, 0.08),
            ring(-0.4, 0.4, 0.5, 5, 5, 0.2),
            ring(-0.3, 0.3, 0.5, 3, 3, 0.1),
        ]
    )


def drawn_98():
    """A symmetric face, in the order of the figure of WFLW."""
    return np.concatenate(
        [
            line(-1, 1, 0, 33, -1.0),
            line(-0.8, -0.2, -0.6, 5, 0.1),
            line(-0.2, -0.65, -0.5, 4, 0.05),
            line(0.2, 0.8, -0.6, 5, 0.1),
            line(0.65, 0.2, -0.5, 4, 0.05),
            [[0, y] for y in (-0.4, -0.3, -0.2, -0.1)],
            line(-0.2, 0.2, 0, 5, -0.1),
            ring(-0.7, -0.3, -0.3, 3, 3, 0.08),
            ring(0.3, 0.7, -0.3, 3, 3, 0.08),
            ring(-0.4, 0.4, 0.5, 5, 5, 0.2),
            ring(-0.3, 0.3, 0.5, 3, 3, 0.1),
            [[-0.5, -0.3], [0.5, -0.3]],
        ]
    )


DRAWN = {
    5: np.array([[-0.5, -0.3], [0.5, -0.3], [0, 0], [-0.4, 0.5], [0.4, 0.5]]),
    68: drawn_68(),
    98: drawn_98(),
}


@pytest.mark.parametrize("count", SCHEMES)
def test_the_mirror_image_of_a_symmetric_face_is_the_face(count):
    face, scheme = DRAWN[count], SCHEMES[count]
    assert face.shape == (scheme.count, 2) == (count, 2)
    mirrored = (face * [-1, 1])[scheme.mirror_order]
    np.testing.assert_allclose(mirrored, face, atol=1e-12)


@pytest.mark.parametrize("count", SCHEMES)
def test_the_eyes_are_where_they_are_drawn(count):
    face, scheme = DRAWN[count], SCHEMES[count]
    middles = [face[list(eye)].mean(axis=0) for eye in scheme.eyes]
    np.testing.assert_allclose(middles, [[-0.5, -0.3], [0.5, -0.3]], atol=1e-12)
    if scheme.eye_corners:
        corners = face[list(scheme.eye_corners)]
        np.testing.assert_allclose(corners, [[-0.7, -0.3], [0.7, -0.3]], atol=1e-12)
    else:
        assert scheme is FIVE_POINTS


def test_points_on_the_axis_of_the_face_stay():
    axis = np.flatnonzero(np.arange(68) == IBUG_68.mirror_order)
    assert axis.tolist() == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]
    axis = np.flatnonzero(np.arange(98) == WFLW_98.mirror_order)
    assert axis.tolist() == [16, 51, 52, 53, 54, 57, 79, 85, 90, 94]


def test_the_mean_face_is_nearly_its_own_mirror_image(real_data):
    folder = real_data / "300w" / "helen" / "trainset"
    if not folder.is_dir():
        pytest.skip(f"there is no 300w/helen/ in {real_data.name}/")
    faces = np.stack([read_pts(p, 68) for p in sorted(folder.glob("*.pts"))])
    low, high = faces.min(1, keepdims=True), faces.max(1, keepdims=True)
    mean = ((faces - low) / (high - low)).mean(0)
    mean -= mean.mean(0)
    mirrored = (mean * [-1, 1])[IBUG_68.mirror_order]
    distances = np.linalg.norm(mirrored[:, None] - mean, axis=-1)
    assert distances.argmin(1).tolist() == list(range(68))
    left, right = (mirrored[list(eye)].mean(0)[0] for eye in IBUG_68.eyes)
    assert left < 0 < right
