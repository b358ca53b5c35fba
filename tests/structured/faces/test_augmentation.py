import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from structured import assemble
from structured import config as configs
from structured.faces import augmentation
from structured.faces.augmentation import FaceTransforms
from structured.faces.crops import Crop
from structured.faces.schemes import FIVE_POINTS, IBUG_68, Scheme

CROPS = [
    Crop(24, context=12),
    Crop(30, margin=0.2, context=10),
    Crop(25, margin=-0.1, context=15),
]


def transform_points(transforms, y):
    """Transforms points of the scheme of 68, or of one that is unknown."""
    count = y.shape[1] // 2
    scheme = IBUG_68 if count == 68 else Scheme(count)
    return augmentation.transform_points(transforms, y, scheme)


def settings(rotation=0.0, scale=0.0, shift=0.0, mirror=False):
    return ConfigDict(
        {"rotation": rotation, "scale": scale, "shift": shift, "mirror": mirror}
    )


def frames(count, width=1.0, height=1.0):
    return jnp.tile(jnp.array([3.0, 5.0, width, height]), (count, 1))


def transform(linear=((1.0, 0.0), (0.0, 1.0)), shift=(0.0, 0.0), mirrored=False):
    return FaceTransforms(
        jnp.array([linear], float), jnp.array([shift], float), jnp.array([mirrored])
    )


def noise(crop, count=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, crop.canvas, crop.canvas), np.uint8)


def blob(crop, point, width=1.2):
    """Makes a canvas with a soft dot at (x, y) of the frame."""
    share = np.asarray(point) / (1 + 2 * crop.margin) + 0.5
    at = share * crop.size - 0.5 + crop.context
    y, x = np.indices((crop.canvas, crop.canvas))
    far = ((x - at[0]) ** 2 + (y - at[1]) ** 2) / width**2
    return np.round(255 * np.exp(-far / 2)).astype(np.uint8)[None]


def check_dots(images, expected_points, crop):
    """Checks that the dots of images [B, S, S] are at (x, y) [B, 2] of the frame."""
    for image, expected in zip(images, expected_points, strict=True):
        weight = np.asarray(image, float)
        y, x = np.indices(weight.shape)
        at = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
        pixel = (1 + 2 * crop.margin) / crop.size
        at = (at + 0.5) * pixel - (1 + 2 * crop.margin) / 2
        np.testing.assert_allclose(at, expected, atol=0.1 * pixel)


def coordinates(points):
    """Converts points [P, 2] to coordinates [1, 2 P]."""
    return jnp.asarray(np.asarray(points).T.reshape(1, -1), jnp.float32)


def repeated(transforms, count):
    return jax.tree.map(lambda a: jnp.repeat(a, count, 0), transforms)


# Without augmentation


def test_stretch():
    x = jnp.array([[[2.0, 4.0], [3.0, 6.0]], [[-1.0, -1.0], [-1.0, -1.0]]])
    assert augmentation.stretch_contrast(x).tolist() == [
        [[0, 0.5], [0.25, 1]],
        [[0, 0], [0, 0]],
    ]


def test_the_input_is_the_middle_of_the_canvas():
    crop = Crop(4, context=3)
    canvas = np.zeros((1, 10, 10), np.uint8)
    canvas[0, 3:7, 3:7] = 20 + np.arange(16).reshape(4, 4)
    canvas[0, 0, 0] = 255
    expected = np.arange(16).reshape(1, 4, 4) / 15
    np.testing.assert_allclose(
        augmentation.network_input(canvas, crop), expected, rtol=1e-6
    )
    assert augmentation.network_input(canvas, crop).dtype == jnp.float32


def test_the_input_without_context():
    crop = Crop(5)
    assert augmentation.network_input(noise(crop), crop).shape == (3, 5, 5)


@pytest.mark.parametrize("crop", [*CROPS, Crop(9)], ids=str)
def test_the_identity_changes_nothing(crop):
    canvas = noise(crop)
    unchanged = augmentation.draw_transforms(
        jax.random.key(0), frames(3, 40, 60), settings()
    )
    np.testing.assert_array_equal(unchanged.linear, np.tile(np.eye(2), (3, 1, 1)))
    transformed = augmentation.transform_images(unchanged, canvas, crop)
    np.testing.assert_allclose(
        transformed, augmentation.network_input(canvas, crop), atol=1e-4
    )
    y = jnp.asarray(np.random.default_rng(0).normal(size=(3, 136)), jnp.float32)
    np.testing.assert_allclose(transform_points(unchanged, y), y, rtol=1e-6)


def test_images_and_points_are_float32_with_x64(x64):
    def augment(key, frame, canvas, y):
        drawn = augmentation.draw_transforms(key, frame, settings(10.0, 0.1, 0.1, True))
        x = augmentation.transform_images(drawn, canvas, CROPS[0])
        return x, transform_points(drawn, y)

    given = np.zeros((3, 4), np.float32), noise(CROPS[0]), np.zeros((3, 136), "f4")
    x, y = jax.eval_shape(augment, jax.random.key(0), *given)
    assert x.dtype == y.dtype == np.float32


@pytest.mark.parametrize("count", [1, 3])
def test_a_flat_image_becomes_0(count):
    crop = CROPS[0]
    canvas = np.full((count, crop.canvas, crop.canvas), 77, np.uint8)
    transforms = augmentation.draw_transforms(
        jax.random.key(0), frames(count), configs.default().augmentation
    )
    np.testing.assert_array_equal(augmentation.network_input(canvas, crop), 0)
    assert np.isfinite(augmentation.transform_images(transforms, canvas, crop)).all()
    # A missing row of x is 0:
    transformed = augmentation.transform_images(transforms, np.zeros_like(canvas), crop)
    np.testing.assert_array_equal(transformed, 0)


def test_a_flat_image_that_is_transformed_becomes_0():
    crop = CROPS[0]
    canvas = np.full((3, crop.canvas, crop.canvas), 77, np.uint8)
    transforms = augmentation.draw_transforms(
        jax.random.key(0), frames(3), configs.default().augmentation
    )
    transformed = augmentation.transform_images(transforms, canvas, crop)
    np.testing.assert_allclose(transformed, 0, atol=1e-3)


# Images and points are transformed alike


TURN = ((0.8, -0.6), (0.6, 0.8))
TRANSFORMS = {
    "turned": {"linear": TURN},
    "larger": {"linear": ((1.2, 0.0), (0.0, 1.2))},
    "smaller": {"linear": ((0.8, 0.0), (0.0, 0.8))},
    "shifted right": {"shift": (0.12, 0.0)},
    "shifted down": {"shift": (0.0, 0.12)},
    "mirrored": {"linear": ((-1.0, 0.0), (0.0, 1.0)), "mirrored": True},
    "turned in a wide frame": {"linear": ((0.8, -0.3), (1.2, 0.8))},
    "all": {
        "linear": ((-0.8, -0.4), (-0.7, 0.9)),
        "shift": (-0.1, 0.05),
        "mirrored": True,
    },
}


@pytest.mark.parametrize("crop", CROPS, ids=str)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_dot_is_at_its_transformed_coordinates(crop, name):
    points = (0.12, -0.1), (-0.1, 0.15)
    transforms = repeated(transform(**TRANSFORMS[name]), 2)
    canvas = np.concatenate([blob(crop, p) for p in points])
    images = augmentation.transform_images(transforms, canvas, crop)
    expected_points = transform_points(transforms, jnp.array(points))
    check_dots(images, expected_points, crop)


def test_transforms_by_hand():
    point = coordinates([(0.2, -0.1)])
    expected_points = {
        "turned": (0.22, 0.04),
        "larger": (0.24, -0.12),
        "shifted right": (0.32, -0.1),
        "mirrored": (-0.2, -0.1),
        "all": (-0.22, -0.18),
    }
    for name, expected in expected_points.items():
        transformed = transform_points(transform(**TRANSFORMS[name]), point)
        np.testing.assert_allclose(transformed[0], expected, atol=1e-6)


@pytest.mark.parametrize(("width", "height"), [(40, 40), (30, 60), (70, 35)])
@pytest.mark.parametrize("crop", CROPS, ids=str)
def test_random_transforms_of_images_and_points_agree(width, height, crop):
    s = settings(rotation=15.0, scale=0.1, shift=0.05, mirror=True)
    point = (0.1, -0.12)
    transforms = augmentation.draw_transforms(
        jax.random.key(0), frames(8, width, height), s
    )
    assert set(transforms.mirrored.tolist()) == {True, False}
    images = augmentation.transform_images(
        transforms, blob(crop, point).repeat(8, 0), crop
    )
    expected_points = transform_points(transforms, coordinates([point]).repeat(8, 0))
    check_dots(images, expected_points, crop)
    assert np.asarray(expected_points).std(axis=0).min() > 0.01


def test_x_and_y_of_a_batch_are_transformed_alike():
    """Uses the augmentation of the config on a batch."""
    c = configs.default()
    c.augmentation.on, c.data.size, c.data.context, c.data.margin = True, 30, 10, 0.1
    crop, rng = Crop(30, margin=0.1, context=10), np.random.default_rng(0)
    points = rng.uniform(-0.1, 0.1, (2, 68, 2))
    # Point 31, on the nose, is its own mirror image.
    canvas = np.concatenate([blob(crop, p[30]) for p in points])
    rows = {
        "x": jnp.asarray(canvas),
        "y": jnp.concatenate([coordinates(p) for p in points]),
        "frame": frames(2, 50, 70),
        "valid": jnp.ones(2, bool),
    }
    augment = assemble.augment(c)
    for seed in range(4):
        augmented = augment(rows, jax.random.key(seed))
        assert augmented["x"].shape == (2, 30, 30)
        assert augmented["y"].shape == (2, 136)
        assert augmented["valid"] is rows["valid"]
        check_dots(augmented["x"], augmented["y"][:, jnp.array([30, 98])], crop)
        assert np.abs(augmented["y"] - rows["y"]).max() > 1e-3


def test_augmentation_is_off_by_default():
    assert assemble.augment(configs.default()) is None


@pytest.mark.parametrize("crop", CROPS, ids=str)
def test_a_mirrored_image_is_flipped(crop):
    canvas = noise(crop)
    transforms = repeated(transform(**TRANSFORMS["mirrored"]), 3)
    transformed = augmentation.transform_images(transforms, canvas, crop)
    expected = augmentation.network_input(canvas, crop)[:, :, ::-1]
    np.testing.assert_allclose(transformed, expected, atol=1e-4)
    back = augmentation.transform_images(
        transforms, np.asarray(canvas)[:, :, ::-1], crop
    )
    np.testing.assert_allclose(
        back, augmentation.network_input(canvas, crop), atol=1e-4
    )


def test_a_mirrored_face_changes_sides():
    y = jnp.asarray(np.random.default_rng(0).normal(size=(2, 136)), jnp.float32)
    one = transform(**TRANSFORMS["mirrored"])
    transforms = jax.tree.map(lambda *a: jnp.concatenate(a), one, transform())
    transformed = np.asarray(transform_points(transforms, y))
    x_due, y_due = (
        -np.asarray(y)[0, :68][IBUG_68.mirror_order],
        np.asarray(y)[0, 68:][IBUG_68.mirror_order],
    )
    np.testing.assert_array_equal(transformed[0], np.concatenate([x_due, y_due]))
    np.testing.assert_array_equal(transformed[1], y[1])
    # The corner of the one eye is now that of the other.
    assert transformed[0, 36] == -y[0, 45]
    assert transformed[0, 68 + 36] == y[0, 68 + 45]
    np.testing.assert_array_equal(
        transform_points(transforms, jnp.asarray(transformed)), y
    )


def test_points_are_swapped_by_their_scheme():
    y = jnp.arange(10.0)[None]
    mirror = transform(**TRANSFORMS["mirrored"])
    unknown = augmentation.transform_points(mirror, y, Scheme(5))
    np.testing.assert_array_equal(unknown, jnp.concatenate([-y[:, :5], y[:, 5:]], 1))
    five = augmentation.transform_points(mirror, y, FIVE_POINTS)
    assert five.tolist() == [[-1, 0, -2, -4, -3, 6, 5, 7, 9, 8]]


def test_a_missing_point_stays_missing_and_changes_no_other():
    y = np.random.default_rng(0).normal(size=(1, 136)).astype(np.float32)
    partial = y.copy()
    partial[:, [36, 36 + 68]] = np.nan
    for name, missing in (("mirrored", 45), ("turned", 36)):
        one = transform(**TRANSFORMS[name])
        whole, holed = (transform_points(one, jnp.asarray(a)) for a in (y, partial))
        expected = np.array(whole)
        expected[:, [missing, missing + 68]] = np.nan
        np.testing.assert_array_equal(holed, expected)


def test_outside_of_the_canvas_its_edge_is_repeated():
    crop = Crop(10)
    canvas = np.tile(np.arange(10, dtype=np.uint8) * 20, (10, 1))[None]
    transformed = augmentation.transform_images(
        transform(shift=(0.5, 0.0)), canvas, crop
    )[0]
    # Columns 0 ... 4 repeat the left edge; the others are the canvas's columns 0 ... 4.
    expected = np.tile([0.0] * 5 + [0, 0.25, 0.5, 0.75, 1], (10, 1))
    np.testing.assert_allclose(transformed, expected, atol=1e-5)


# Random transforms


NUM_DRAWS = 20_000


def draw_many(s, width=30.0, height=60.0):
    """Draws transforms; returns scale, angle in degrees, shift, mirrored in pixels."""
    transforms = augmentation.draw_transforms(
        jax.random.key(1), frames(NUM_DRAWS, width, height), s
    )
    sides = np.array([width, height])
    real = np.asarray(transforms.linear, float) * sides[:, None] / sides
    real[:, :, 0] *= np.where(transforms.mirrored, -1, 1)[:, None]
    scale = np.sqrt(np.linalg.det(real))
    turn = real / scale[:, None, None]
    np.testing.assert_allclose(
        turn @ turn.swapaxes(1, 2), np.tile(np.eye(2), (NUM_DRAWS, 1, 1)), atol=1e-5
    )
    angle = np.rad2deg(np.arctan2(turn[:, 1, 0], turn[:, 0, 0]))
    return scale, angle, np.asarray(transforms.shift), np.asarray(transforms.mirrored)


def test_random_transforms_have_the_standard_deviations_of_the_config():
    s = settings(rotation=12.0, scale=0.07, shift=0.04, mirror=True)
    scale, angle, shift, mirrored = draw_many(s)
    columns = np.stack([np.log(scale), angle, *shift.T, mirrored])
    deviation = np.array([0.07, 12, 0.04, 0.04, 0.5])
    # The standard error of a deviation is 0.5 % of it, that of a mean 0.7 %.
    np.testing.assert_allclose(columns.std(axis=1), deviation, rtol=0.025)
    mean = np.array([0, 0, 0, 0, 0.5])
    assert (np.abs(columns.mean(axis=1) - mean) < 0.035 * deviation).all()
    assert np.abs(np.corrcoef(columns) - np.eye(5)).max() < 0.035


@pytest.mark.parametrize("name", ["rotation", "scale", "shift"])
def test_each_kind_of_transform_alone(name):
    scale, angle, shift, mirrored = draw_many(settings(**{name: 0.1}))
    unchanged = {
        "rotation": np.abs(angle).max() < 1e-3,
        "scale": np.abs(scale - 1).max() < 1e-5,
        "shift": np.abs(shift).max() == 0,
    }
    assert unchanged == {kind: kind != name for kind in unchanged}
    assert not mirrored.any()


@pytest.mark.parametrize(("width", "height"), [(40, 40), (30, 60), (70, 35)])
@pytest.mark.parametrize("mirror", [False, True])
def test_distances_in_pixels_change_by_one_scale(width, height, mirror):
    """A face rotates in the image, not in its frame, so nothing is sheared."""
    s = settings(rotation=40.0, scale=0.3, shift=0.1, mirror=mirror)
    transforms = augmentation.draw_transforms(
        jax.random.key(2), frames(50, width, height), s
    )
    y = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 10)).astype(np.float32)
    distances = []
    for each in (y, transform_points(transforms, jnp.asarray(y))):
        xy = np.asarray(each).reshape(50, 2, 5) * [[width], [height]]
        distances.append(np.linalg.norm(xy[..., None] - xy[..., None, :], axis=1))
    off = ~np.eye(5, dtype=bool)
    ratio = distances[1][:, off] / distances[0][:, off]
    np.testing.assert_allclose(ratio, np.tile(ratio[:, :1], 20), rtol=1e-3)
    assert np.log(ratio[:, 0]).std() == pytest.approx(0.3, rel=0.4)


def test_each_face_has_its_own_frame():
    """Rotates a wide and a high face about their centres."""
    two = jnp.array([[0.0, 0.0, 20.0, 10.0], [0.0, 0.0, 10.0, 20.0]])
    transforms = augmentation.draw_transforms(
        jax.random.key(3), two, settings(rotation=30.0)
    )
    linear = np.asarray(transforms.linear)
    aspect = -linear[:, 1, 0] / linear[:, 0, 1]
    np.testing.assert_allclose(aspect, [4, 0.25], rtol=1e-4)


def test_under_jit_and_vmap():
    crop, s = Crop(8, context=3), settings(10.0, 0.1, 0.05, True)
    canvas, frame = noise(crop), frames(3, 20, 30)

    def whole(key):
        transforms = augmentation.draw_transforms(key, frame, s)
        y = transform_points(transforms, jnp.ones((3, 136)))
        return augmentation.transform_images(transforms, jnp.asarray(canvas), crop), y

    keys = jax.random.split(jax.random.key(0), 2)
    images, points = jax.jit(jax.vmap(whole))(keys)
    for i, key in enumerate(keys):
        image, y = whole(key)
        np.testing.assert_allclose(images[i], image, atol=1e-4)
        np.testing.assert_allclose(points[i], y, rtol=1e-5, atol=1e-6)
    assert np.abs(images[0] - images[1]).max() > 0.1
