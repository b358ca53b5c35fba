import numpy as np
import pytest
from PIL import Image

from structured.faces import overlays


def colours(png, tmp_path):
    (tmp_path / "picture.png").write_bytes(png)
    with Image.open(tmp_path / "picture.png") as picture:
        return np.asarray(picture).astype(int)


def test_a_picture_shows_points_at_their_places(tmp_path):
    """The image is black with a white square about the pixel (30, 20)."""
    grey = np.zeros((50, 80), np.uint8)
    grey[18:23, 28:33] = 255
    box = np.array([10, 5, 50, 30])
    view = overlays.crop_view(grey, box)
    assert view.shape == (overlays.PICTURE_SIZE_PX, overlays.PICTURE_SIZE_PX)
    truth = np.array([[30.0, 20.0], [50.0, 30.0]])
    rgb = colours(overlays.draw_points(view, box, truth, None), tmp_path)
    green = (rgb[..., 1] == 255) & (rgb[..., 0] == 0)
    white = view > 127
    middle = [np.argwhere(part[:, :240]).mean(axis=0) for part in (green, white)]
    np.testing.assert_allclose(*middle, atol=0.6)
    above = truth - np.array([0.0, 5.0])
    both = colours(overlays.draw_points(view, box, above, truth), tmp_path)
    red = np.argwhere((both[..., 0] == 255) & (both[..., 1] == 0))
    # 5 pixels up, each 480 / (50 * 1.4) of the picture, less the dots.
    assert np.ptp(red[red[:, 1] < 240][:, 0]) == pytest.approx(34, abs=8)


def test_a_picture_is_grey_outside_of_the_image():
    grey = np.full((50, 80), 200, np.uint8)
    view = overlays.crop_view(grey, np.array([-0.5, -0.5, 80, 50]))
    inside = view == 200
    assert set(np.unique(view)) == {overlays.OUTSIDE_GREY, 200}
    share = inside.mean() * (80 * 1.4) ** 2
    assert share == pytest.approx(80 * 50, rel=0.02)
    np.testing.assert_array_equal(inside, inside[::-1, ::-1])
