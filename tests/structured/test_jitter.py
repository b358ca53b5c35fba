import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from structured import config as configs
from structured import experiment
from structured.faces import augmentation
from structured.faces.augmentation import Moves
from structured.faces.crops import Crop
from structured.faces.points import MIRROR

CROPS = [
    Crop(24, context=12),
    Crop(30, margin=0.2, context=10),
    Crop(25, margin=-0.1, context=15),
]


def settings(rotation=0.0, scale=0.0, shift=0.0, mirror=False):
    return ConfigDict(
        {"rotation": rotation, "scale": scale, "shift": shift, "mirror": mirror}
    )


def frames(many, width=1.0, height=1.0):
    return jnp.tile(jnp.array([3.0, 5.0, width, height]), (many, 1))


def move(linear=((1.0, 0.0), (0.0, 1.0)), shift=(0.0, 0.0), mirrored=False):
    return Moves(
        jnp.array([linear], float), jnp.array([shift], float), jnp.array([mirrored])
    )


def noise(crop, many=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (many, crop.canvas, crop.canvas), np.uint8)


def blob(crop, point, width=1.2):
    """A canvas with a soft dot at (x, y) of the frame."""
    share = np.asarray(point) / (1 + 2 * crop.margin) + 0.5
    at = share * crop.size - 0.5 + crop.context
    y, x = np.indices((crop.canvas, crop.canvas))
    far = ((x - at[0]) ** 2 + (y - at[1]) ** 2) / width**2
    return np.round(255 * np.exp(-far / 2)).astype(np.uint8)[None]


def check_dots(images, due, crop):
    """The dots of images [B, S, S] are at (x, y) [B, 2] of the frame."""
    for image, expected in zip(images, due, strict=True):
        weight = np.asarray(image, float)
        y, x = np.indices(weight.shape)
        at = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
        pixel = (1 + 2 * crop.margin) / crop.size
        at = (at + 0.5) * pixel - (1 + 2 * crop.margin) / 2
        np.testing.assert_allclose(at, expected, atol=0.1 * pixel)


def coordinates(points):
    """[1, 2 P] of points [P, 2]."""
    return jnp.asarray(np.asarray(points).T.reshape(1, -1), jnp.float32)


def repeated(moves, many):
    return jax.tree.map(lambda a: jnp.repeat(a, many, 0), moves)


# Plain


def test_stretch():
    x = jnp.array([[[2.0, 4.0], [3.0, 6.0]], [[-1.0, -1.0], [-1.0, -1.0]]])
    assert augmentation.stretch(x).tolist() == [[[0, 0.5], [0.25, 1]], [[0, 0], [0, 0]]]


def test_plain_is_the_middle_of_the_canvas():
    crop = Crop(4, context=3)
    canvas = np.zeros((1, 10, 10), np.uint8)
    canvas[0, 3:7, 3:7] = 20 + np.arange(16).reshape(4, 4)
    canvas[0, 0, 0] = 255
    expected = np.arange(16).reshape(1, 4, 4) / 15
    np.testing.assert_allclose(augmentation.plain(canvas, crop), expected, rtol=1e-6)
    assert augmentation.plain(canvas, crop).dtype == jnp.float32


def test_plain_without_context():
    crop = Crop(5)
    assert augmentation.plain(noise(crop), crop).shape == (3, 5, 5)


@pytest.mark.parametrize("crop", [*CROPS, Crop(9)], ids=str)
def test_no_move_is_plain(crop):
    canvas = noise(crop)
    still = augmentation.draw(jax.random.key(0), frames(3, 40, 60), settings())
    np.testing.assert_array_equal(still.linear, np.tile(np.eye(2), (3, 1, 1)))
    moved = augmentation.move_images(still, canvas, crop)
    np.testing.assert_allclose(moved, augmentation.plain(canvas, crop), atol=1e-4)
    y = jnp.asarray(np.random.default_rng(0).normal(size=(3, 136)), jnp.float32)
    np.testing.assert_allclose(augmentation.move_points(still, y), y, rtol=1e-6)


@pytest.mark.parametrize("many", [1, 3])
def test_a_flat_image_becomes_0(many):
    crop = CROPS[0]
    canvas = np.full((many, crop.canvas, crop.canvas), 77, np.uint8)
    moves = augmentation.draw(jax.random.key(0), frames(many), configs.default().jitter)
    np.testing.assert_array_equal(augmentation.plain(canvas, crop), 0)
    assert np.isfinite(augmentation.move_images(moves, canvas, crop)).all()
    # As of a row that lacks x:
    moved = augmentation.move_images(moves, np.zeros_like(canvas), crop)
    np.testing.assert_array_equal(moved, 0)


def test_a_flat_image_that_moves_becomes_0():
    crop = CROPS[0]
    canvas = np.full((3, crop.canvas, crop.canvas), 77, np.uint8)
    moves = augmentation.draw(jax.random.key(0), frames(3), configs.default().jitter)
    moved = augmentation.move_images(moves, canvas, crop)
    np.testing.assert_allclose(moved, 0, atol=1e-3)


# Image and points move alike


TURN = ((0.8, -0.6), (0.6, 0.8))
MOVES = {
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
@pytest.mark.parametrize("name", MOVES)
def test_a_dot_goes_where_its_coordinates_go(crop, name):
    points = (0.12, -0.1), (-0.1, 0.15)
    moves = repeated(move(**MOVES[name]), 2)
    canvas = np.concatenate([blob(crop, p) for p in points])
    images = augmentation.move_images(moves, canvas, crop)
    due = augmentation.move_points(moves, jnp.array(points))
    check_dots(images, due, crop)


def test_moves_by_hand():
    point = coordinates([(0.2, -0.1)])
    due = {
        "turned": (0.22, 0.04),
        "larger": (0.24, -0.12),
        "shifted right": (0.32, -0.1),
        "mirrored": (-0.2, -0.1),
        "all": (-0.22, -0.18),
    }
    for name, expected in due.items():
        moved = augmentation.move_points(move(**MOVES[name]), point)
        np.testing.assert_allclose(moved[0], expected, atol=1e-6)


@pytest.mark.parametrize(("width", "height"), [(40, 40), (30, 60), (70, 35)])
@pytest.mark.parametrize("crop", CROPS, ids=str)
def test_drawn_moves_take_image_and_points_alike(width, height, crop):
    s = settings(rotation=15.0, scale=0.1, shift=0.05, mirror=True)
    point = (0.1, -0.12)
    moves = augmentation.draw(jax.random.key(0), frames(8, width, height), s)
    assert set(moves.mirrored.tolist()) == {True, False}
    images = augmentation.move_images(moves, blob(crop, point).repeat(8, 0), crop)
    due = augmentation.move_points(moves, coordinates([point]).repeat(8, 0))
    check_dots(images, due, crop)
    assert np.asarray(due).std(axis=0).min() > 0.01


def test_what_a_step_takes_is_moved_alike():
    """Through the config: x and y of the rows that a task gets."""
    c = configs.default()
    c.jitter.on, c.data.size, c.data.context, c.data.margin = True, 30, 10, 0.1
    crop, rng = Crop(30, margin=0.1, context=10), np.random.default_rng(0)
    points = rng.uniform(-0.1, 0.1, (2, 68, 2))
    # Point 31 of the nose is on the axis: it is itself in a mirror, too.
    canvas = np.concatenate([blob(crop, p[30]) for p in points])
    rows = {
        "x": jnp.asarray(canvas),
        "y": jnp.concatenate([coordinates(p) for p in points]),
        "frame": frames(2, 50, 70),
        "valid": jnp.ones(2, bool),
    }
    look = experiment.augment(c)
    for seed in range(4):
        seen = look(rows, jax.random.key(seed))
        assert seen["x"].shape == (2, 30, 30)
        assert seen["y"].shape == (2, 136)
        assert seen["valid"] is rows["valid"]
        check_dots(seen["x"], seen["y"][:, jnp.array([30, 98])], crop)
        assert np.abs(seen["y"] - rows["y"]).max() > 1e-3


def test_there_is_no_jitter_by_default():
    assert experiment.augment(configs.default()) is None


@pytest.mark.parametrize("crop", CROPS, ids=str)
def test_a_mirrored_image_is_flipped(crop):
    canvas = noise(crop)
    moves = repeated(move(**MOVES["mirrored"]), 3)
    moved = augmentation.move_images(moves, canvas, crop)
    expected = augmentation.plain(canvas, crop)[:, :, ::-1]
    np.testing.assert_allclose(moved, expected, atol=1e-4)
    twice = augmentation.move_images(moves, np.asarray(canvas)[:, :, ::-1], crop)
    np.testing.assert_allclose(twice, augmentation.plain(canvas, crop), atol=1e-4)


def test_a_mirrored_face_changes_sides():
    y = jnp.asarray(np.random.default_rng(0).normal(size=(2, 136)), jnp.float32)
    one = move(**MOVES["mirrored"])
    moves = jax.tree.map(lambda *a: jnp.concatenate(a), one, move())
    moved = np.asarray(augmentation.move_points(moves, y))
    x_due, y_due = -np.asarray(y)[0, :68][MIRROR], np.asarray(y)[0, 68:][MIRROR]
    np.testing.assert_array_equal(moved[0], np.concatenate([x_due, y_due]))
    np.testing.assert_array_equal(moved[1], y[1])
    # The corner of the one eye is now that of the other.
    assert moved[0, 36] == -y[0, 45]
    assert moved[0, 68 + 36] == y[0, 68 + 45]
    np.testing.assert_array_equal(
        augmentation.move_points(moves, jnp.asarray(moved)), y
    )


def test_points_of_other_counts_do_not_change_places():
    y = jnp.arange(10.0)[None]
    moved = augmentation.move_points(move(**MOVES["mirrored"]), y)
    np.testing.assert_array_equal(moved, jnp.concatenate([-y[:, :5], y[:, 5:]], 1))


def test_beyond_the_canvas_its_edge_goes_on():
    crop = Crop(10)
    canvas = np.tile(np.arange(10, dtype=np.uint8) * 20, (10, 1))[None]
    moved = augmentation.move_images(move(shift=(0.5, 0.0)), canvas, crop)[0]
    # Columns 0 ... 4 come from beyond the left edge, the others from columns 0 ... 4.
    expected = np.tile([0.0] * 5 + [0, 0.25, 0.5, 0.75, 1], (10, 1))
    np.testing.assert_allclose(moved, expected, atol=1e-5)


# Draws


MANY = 20_000


def drawn(s, width=30.0, height=60.0):
    """Scale, angle in degrees, shift and mirrored of many moves, in real pixels."""
    moves = augmentation.draw(jax.random.key(1), frames(MANY, width, height), s)
    sides = np.array([width, height])
    real = np.asarray(moves.linear, float) * sides[:, None] / sides
    real[:, :, 0] *= np.where(moves.mirrored, -1, 1)[:, None]
    scale = np.sqrt(np.linalg.det(real))
    turn = real / scale[:, None, None]
    np.testing.assert_allclose(
        turn @ turn.swapaxes(1, 2), np.tile(np.eye(2), (MANY, 1, 1)), atol=1e-5
    )
    angle = np.rad2deg(np.arctan2(turn[:, 1, 0], turn[:, 0, 0]))
    return scale, angle, np.asarray(moves.shift), np.asarray(moves.mirrored)


def test_draws_have_the_deviations_of_the_config():
    s = settings(rotation=12.0, scale=0.07, shift=0.04, mirror=True)
    scale, angle, shift, mirrored = drawn(s)
    columns = np.stack([np.log(scale), angle, *shift.T, mirrored])
    deviation = np.array([0.07, 12, 0.04, 0.04, 0.5])
    # The standard error of a deviation is 0.5 % of it, that of a mean 0.7 %.
    np.testing.assert_allclose(columns.std(axis=1), deviation, rtol=0.025)
    mean = np.array([0, 0, 0, 0, 0.5])
    assert (np.abs(columns.mean(axis=1) - mean) < 0.035 * deviation).all()
    assert np.abs(np.corrcoef(columns) - np.eye(5)).max() < 0.035


@pytest.mark.parametrize("name", ["rotation", "scale", "shift"])
def test_one_kind_of_move_alone(name):
    scale, angle, shift, mirrored = drawn(settings(**{name: 0.1}))
    still = {
        "rotation": np.abs(angle).max() < 1e-3,
        "scale": np.abs(scale - 1).max() < 1e-5,
        "shift": np.abs(shift).max() == 0,
    }
    assert still == {kind: kind != name for kind in still}
    assert not mirrored.any()


@pytest.mark.parametrize(("width", "height"), [(40, 40), (30, 60), (70, 35)])
@pytest.mark.parametrize("mirror", [False, True])
def test_real_distances_change_by_one_scale(width, height, mirror):
    """A face turns in the image and not in its frame: nothing is sheared."""
    s = settings(rotation=40.0, scale=0.3, shift=0.1, mirror=mirror)
    moves = augmentation.draw(jax.random.key(2), frames(50, width, height), s)
    y = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 10)).astype(np.float32)
    apart = []
    for each in (y, augmentation.move_points(moves, jnp.asarray(y))):
        xy = np.asarray(each).reshape(50, 2, 5) * [[width], [height]]
        apart.append(np.linalg.norm(xy[..., None] - xy[..., None, :], axis=1))
    off = ~np.eye(5, dtype=bool)
    ratio = apart[1][:, off] / apart[0][:, off]
    np.testing.assert_allclose(ratio, np.tile(ratio[:, :1], 20), rtol=1e-3)
    assert np.log(ratio[:, 0]).std() == pytest.approx(0.3, rel=0.4)


def test_each_face_has_its_own_frame():
    """A quarter turn of a wide and of a high face, about the middle of each."""
    two = jnp.array([[0.0, 0.0, 20.0, 10.0], [0.0, 0.0, 10.0, 20.0]])
    moves = augmentation.draw(jax.random.key(3), two, settings(rotation=30.0))
    linear = np.asarray(moves.linear)
    aspect = -linear[:, 1, 0] / linear[:, 0, 1]
    np.testing.assert_allclose(aspect, [4, 0.25], rtol=1e-4)


def test_under_jit_and_vmap():
    crop, s = Crop(8, context=3), settings(10.0, 0.1, 0.05, True)
    canvas, frame = noise(crop), frames(3, 20, 30)

    def whole(key):
        moves = augmentation.draw(key, frame, s)
        y = augmentation.move_points(moves, jnp.ones((3, 136)))
        return augmentation.move_images(moves, jnp.asarray(canvas), crop), y

    keys = jax.random.split(jax.random.key(0), 2)
    images, points = jax.jit(jax.vmap(whole))(keys)
    for i, key in enumerate(keys):
        image, y = whole(key)
        np.testing.assert_allclose(images[i], image, atol=1e-4)
        np.testing.assert_allclose(points[i], y, rtol=1e-5, atol=1e-6)
    assert np.abs(images[0] - images[1]).max() > 0.1
