import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mtl.host.errors import ConfigError
from structured.faces import crops
from structured.faces.crops import Crop
from tests.mtl.images import assert_refused, mutations, repeatable


def ramp(height=20, width=30):
    """Makes an image with a gradient along rows and columns."""
    return (np.arange(width) * 8 + np.arange(height)[:, None]).astype(np.uint8)


def saved(tmp_path, image, name="a.png", **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def test_a_grey_png_is_read_exactly(tmp_path):
    grey = crops.open_grey(saved(tmp_path, Image.fromarray(ramp())))
    assert grey.dtype == np.uint8
    np.testing.assert_array_equal(grey, ramp())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "L"])
def test_modes_of_png(tmp_path, mode):
    path = saved(tmp_path, Image.fromarray(ramp()).convert(mode))
    np.testing.assert_allclose(crops.open_grey(path), ramp(), atol=1)


def test_black_and_white(tmp_path):
    path = saved(tmp_path, Image.fromarray(ramp() > 99))
    np.testing.assert_array_equal(crops.open_grey(path), (ramp() > 99) * 255)


def test_palette_with_transparency(tmp_path):
    """Pillow warns at the conversion to grey, and tests turn warnings into errors."""
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image = image.convert("P")
    image.putpalette([10, 10, 10, 200, 200, 200])
    path = saved(tmp_path, image, transparency=b"\x00\x80")
    assert crops.open_grey(path).tolist() == [[10, 200]]


def test_16_bits_keep_the_upper_8(tmp_path):
    deep = np.array([[0, 255, 256, 40_000, 65_535]], np.uint16)
    grey = crops.open_grey(saved(tmp_path, Image.fromarray(deep)))
    assert grey.tolist() == [[0, 0, 1, 156, 255]]


def colours():
    x = np.linspace(40, 200, 32 * 48).reshape(32, 48)
    return np.stack([x, x[::-1], x[:, ::-1]], -1).astype(np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
def test_modes_of_jpeg(tmp_path, mode):
    image = Image.fromarray(colours()).convert(mode)
    path = saved(tmp_path, image, "a.jpg", quality=98)
    grey = crops.open_grey(path)
    assert grey.shape == (32, 48)
    np.testing.assert_allclose(
        grey.astype(int), np.asarray(image.convert("RGB").convert("L")), atol=4
    )


def test_exif_orientation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # Rotate by 90 degrees.
    path = saved(tmp_path, Image.fromarray(ramp()), "a.jpg", exif=exif, quality=98)
    with Image.open(path) as image:
        assert image.getexif()[0x0112] == 6
    grey = crops.open_grey(path)
    assert grey.shape == (20, 30)
    np.testing.assert_allclose(grey.astype(int), ramp(), atol=6)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c[: len(c) // 2],
        lambda c: c[:20],
        lambda c: b"",
        lambda c: b"<html>no such page</html>",
    ],
    ids=["half", "head", "empty", "html"],
)
def test_a_broken_image_is_refused(tmp_path, name, damage):
    noise = np.random.default_rng(0).integers(0, 256, (99, 99), np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), name)
    path.write_bytes(damage(path.read_bytes()))
    assert_refused(lambda: crops.open_grey(path), str(path), "get it again")


def test_another_image_format_is_refused(tmp_path):
    path = saved(tmp_path, Image.fromarray(ramp()), "a.png", format="GIF")
    assert_refused(lambda: crops.open_grey(path), str(path), "JPEG or PNG")


def test_a_missing_image_is_named(tmp_path):
    path = tmp_path / "absent.png"
    assert_refused(lambda: crops.open_grey(path), str(path), "no such file")
    assert_refused(lambda: crops.open_grey(tmp_path), str(tmp_path))


def test_an_image_without_pixels_is_refused(tmp_path):
    path = saved(tmp_path, Image.fromarray(ramp()))
    content = path.read_bytes()
    assert content[16:24] == bytes([0, 0, 0, 30, 0, 0, 0, 20])
    path.write_bytes(content[:16] + bytes([0, 0, 0, 0]) + content[20:])
    assert_refused(lambda: crops.open_grey(path), str(path))


def test_a_too_large_image_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.fromarray(ramp()))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 299)  # Pillow refuses twice as many.
    assert_refused(lambda: crops.open_grey(path), str(path), "600 pixels")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 599)  # Pillow warns of more.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_refused(lambda: crops.open_grey(path), str(path), "600 pixels")
        warnings.simplefilter("ignore")
        assert crops.open_grey(path).shape == (20, 30)


@repeatable
@given(mutate=mutations(300), name=st.sampled_from(["a.png", "a.jpg"]))
def test_a_mutated_image_is_read_or_refused(tmp_path, mutate, name):
    path = saved(tmp_path, Image.fromarray(ramp()), name)
    path.write_bytes(mutate(path.read_bytes()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # About unimportant damaged parts.
        try:
            grey = crops.open_grey(path)
        except Exception as e:
            assert type(e).__name__ == "DataError"  # noqa: PT017
            assert str(path) in str(e)  # noqa: PT017
        else:
            assert grey.dtype == np.uint8
            assert grey.ndim == 2
            assert grey.size


def test_tight_box_rounds_corners_down():
    points = np.array([[3.9, 10.2], [20.99, 12.0], [5, 31.5]])
    assert crops.tight_box(points).tolist() == [3, 10, 17, 21]
    assert crops.tight_box(points - [10, 0]).tolist() == [-7, 10, 17, 21]
    assert crops.tight_box(points).dtype == np.float32


@pytest.mark.parametrize(
    "points",
    [[[1, 1], [1.9, 9]], [[1, 1], [9, 1.9]], [[1, 1], [np.nan, 9]]],
    ids=["no width", "no height", "NaN"],
)
def test_an_empty_box_is_refused(points):
    with pytest.raises(ValueError, match="must be finite, with a width and a height"):
        crops.tight_box(np.array(points))


def test_a_frame_is_the_box_or_its_square():
    box = np.array([10, 20, 30, 50])
    assert crops.frame(box, Crop(margin=0.5)).tolist() == [10, 20, 30, 50]
    assert crops.frame(box, Crop(square=True)).tolist() == [0, 20, 50, 50]
    assert crops.frame(box, Crop(square=True)).dtype == np.float32


@pytest.mark.parametrize("box", [[0, 0, 0, 5], [0, 0, 5, -1], [np.inf, 0, 1, 1]])
@pytest.mark.parametrize("square", [False, True])
def test_an_empty_frame_is_refused(box, square):
    with pytest.raises(ValueError, match="must be finite, with a width and a height"):
        crops.frame(np.array(box), Crop(square=square))


@pytest.mark.parametrize(
    "fields",
    [{"size": 0}, {"context": -1}, {"margin": -0.5}, {"margin": float("nan")}],
    ids=str,
)
def test_bad_crops_are_refused(fields):
    with pytest.raises(ConfigError, match="margin above"):
        Crop(**fields)


def centre(image):
    """Returns the centre of brightness (x, y); 0 is the first pixel's outer edge."""
    weight = image.astype(float)
    y, x = np.indices(image.shape) + 0.5
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize(
    "crop",
    [
        Crop(20),
        Crop(80),
        Crop(20, margin=0.25),
        Crop(20, context=5),
        Crop(40, margin=0.25, context=8),
        Crop(20, margin=-0.1),
        Crop(30, square=True, context=3),
    ],
    ids=str,
)
@pytest.mark.parametrize("dot", [(50, 60), (41, 73), (57, 48)])
def test_a_dot_is_at_its_coordinates(crop, dot):
    """The dot is one pixel, smaller or larger than a pixel of the canvas."""
    grey = np.zeros((120, 110), np.uint8)
    grey[dot[1], dot[0]] = 255
    frame = crops.frame(np.array([30, 40, 40, 48]), crop)
    x, y = crops.to_frame(np.array([dot]), frame)
    share = 0.5 + np.array([x, y]) / (1 + 2 * crop.margin)
    canvas = crops.cut(grey, frame, crop)
    assert canvas.shape == (crop.canvas, crop.canvas)
    assert canvas.dtype == np.uint8
    # The filter's tails round to 0, so the centre is not exact.
    expected = share * crop.size + crop.context
    np.testing.assert_allclose(centre(canvas), expected, atol=0.15)


def test_context_surrounds_the_crop_without_context():
    grey = np.random.default_rng(0).integers(0, 256, (120, 110), np.uint8)
    frame = np.array([30.0, 40, 40, 48])
    bare = crops.cut(grey, frame, Crop(20, margin=0.1))
    more = crops.cut(grey, frame, Crop(20, margin=0.1, context=7))
    np.testing.assert_allclose(more[7:-7, 7:-7].astype(int), bare, atol=1)


@pytest.mark.parametrize("size", [3, 11, 40])
def test_pixels_outside_of_the_frame_count_as_in_the_whole_image(size):
    """The filter reaches beyond the frame, whether it shrinks or enlarges."""
    grey = np.random.default_rng(0).integers(0, 256, (30, 30), np.uint8)
    canvas = crops.cut(grey, np.array([8.5, 9.5, 11, 11]), Crop(size))
    box = (9, 10, 20, 21)
    whole = Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR, box)
    np.testing.assert_array_equal(canvas, whole)


def test_shrinking_does_not_alias():
    """A chessboard of single pixels becomes grey."""
    board = (np.indices((160, 160)).sum(0) % 2 * 255).astype(np.uint8)
    canvas = crops.cut(board, np.array([20.0, 20, 110, 110]), Crop(11))
    assert np.abs(canvas.astype(int) - 127).max() < 10


def test_outside_of_the_image_its_edge_is_repeated():
    grey = np.full((10, 10), 100, np.uint8)
    grey[:, 0], grey[:, -1] = 7, 9
    canvas = crops.cut(grey, np.array([-10.0, -10, 30, 30]), Crop(30, context=5))
    assert canvas.shape == (40, 40)
    assert (canvas[:, :14] == 7).all()
    assert (canvas[:, -14:] == 9).all()
    assert (canvas[:, 20] == 100).all()


@pytest.mark.parametrize(
    "frame",
    [[11, 0, 5, 5], [-9, 0, 5, 5], [0, 11, 5, 5], [0, -9, 5, 5]],
    ids=["right", "left", "below", "above"],
)
def test_a_frame_outside_of_the_image_is_refused(frame):
    with pytest.raises(ValueError, match="outside of the image"):
        crops.cut(ramp(10, 10), np.array(frame, np.float32), Crop(5))


def test_a_too_large_frame_is_refused(monkeypatch):
    crops.cut(ramp(), np.array([0, 0, 30, 20], np.float32), Crop(5))
    monkeypatch.setattr(crops, "MAX_PIXELS_PER_CROP", 600)
    with pytest.raises(ValueError, match="of an image of 30 x 20"):
        crops.cut(ramp(), np.array([0, 0, 30, 20], np.float32), Crop(5))


def test_coordinates_in_a_frame():
    points = np.array([[10.0, 20], [40, 45], [25, 70]])
    frame = np.array([10.0, 20, 30, 50])
    y = crops.to_frame(points, frame)
    assert y.tolist() == [-0.5, 0.5, 0, -0.5, 0, 0.5]
    assert crops.from_frame(y, frame).tolist() == points.tolist()


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_each_face_has_its_own_frame(lead):
    rng = np.random.default_rng(0)
    points = rng.normal(0, 50, (*lead, 68, 2))
    frame = rng.uniform(10, 90, (*lead, 4))
    y = crops.to_frame(points, frame)
    assert y.shape == (*lead, 136)
    assert y.dtype == np.float64
    np.testing.assert_allclose(crops.from_frame(y, frame), points, atol=1e-9)
    with jax.numpy_rank_promotion("raise"):
        on_device = jax.jit(crops.to_frame)(jnp.array(points), jnp.array(frame))
        back = jax.jit(crops.from_frame)(on_device, jnp.array(frame))
    np.testing.assert_allclose(on_device, y, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(back, points, rtol=1e-4, atol=1e-3)
