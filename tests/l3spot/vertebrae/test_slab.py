import numpy as np

from l3spot.projections.band import Band
from l3spot.vertebrae import slab


def bent_spine(bend_mm=25.0, spacing=2.0):
    """A column of bone that bends in x and in y, in soft tissue."""
    z = np.arange(0, 301, spacing)
    x, y = np.arange(-60.0, 61, 2), np.arange(0.0, 200, 1)
    at_x = bend_mm * np.sin(z / 60)
    at_y = 120 + bend_mm * np.cos(z / 80)
    near_x = np.abs(x - at_x[:, None]) < 20
    near_y = np.abs(y - at_y[:, None]) < 15
    bone = near_y[:, :, None] & near_x[:, None, :]
    return Band(np.where(bone, 400, 40).astype(np.int16), z, y, x), at_x, at_y


def test_the_slab_follows_the_spine():
    band, at_x, at_y = bent_spine()
    picture = slab.make(band)
    inside = slice(30, -30)  # The ends are smoothed with fewer rows.
    wanted_x, wanted_y = (
        np.interp(picture.z, band.z, line)[inside] for line in (at_x, at_y)
    )
    np.testing.assert_allclose(picture.spine_x[inside], wanted_x, atol=4)
    np.testing.assert_allclose(picture.spine_y[inside], wanted_y, atol=4)
    # Its whole thickness is within the bone.
    middle = np.abs(picture.y - wanted_y[:, None]) < 8
    np.testing.assert_allclose(picture.hu[inside][middle], 400, atol=1e-3)


def test_the_slab_stays_between_the_thighs():
    """Thighs hold more bone than a child's spine, and one is nearer to it."""
    band, *_ = bent_spine(bend_mm=0.0)
    for side_mm in (-44, 50):
        thigh = np.abs(band.x - side_mm) < 12
        band.hu[:60, :, thigh] = 1200  # Up to z = 120 mm.
    band.hu[:50, :, np.abs(band.x) < 20] = 40
    first, picture = slab.make_all(band)
    spine = picture.z > 100
    np.testing.assert_allclose(picture.spine_x[spine], 0, atol=4)
    np.testing.assert_array_equal(first.hu, slab.make(band).hu)


def test_one_slab_is_enough_where_nothing_is_beside_the_spine():
    (picture,) = slab.make_all(bent_spine()[0])
    np.testing.assert_array_equal(picture.hu, slab.make(bent_spine()[0]).hu)


def test_rows_run_from_the_head_and_are_interpolated():
    z = np.array([0.0, 4.0, 10.0])
    hu = np.array([0, 400, 1000])[:, None, None] * np.ones((3, 5, 30))
    x, y = np.arange(30) * 2.0, np.arange(5.0)
    picture = slab.make(Band(hu.astype(np.int16), z, y, x))
    np.testing.assert_allclose(picture.z, np.arange(10.0, -1, -1))
    np.testing.assert_allclose(picture.hu[:, 0], 100 * picture.z, atol=1e-3)


def test_a_slab_is_the_mean_over_14_mm():
    x = np.arange(-40.0, 41, 2)
    weights = slab._slab_weights(x, np.array([3.3]))[0]
    fine = np.arange(-40.995, 41, 0.01)
    inside = np.abs(fine - 3.3) <= 7
    share = np.array([inside[np.abs(fine - c) <= 1].mean() for c in x])
    np.testing.assert_allclose(weights, share / share.sum(), atol=2e-3)


def test_a_tile_keeps_positions():
    """A bright point is where its y and z say, for both sizes of a pixel."""
    z, y = np.arange(300.0, 0, -1), np.arange(0.0, 250, 0.8)
    hu = np.full((300, len(y)), 40.0, np.float32)
    hu[150 - 3 : 150 + 4, 100 - 3 : 100 + 4] = 400
    spine = np.full(300, 95.0)
    picture = slab.Slab(hu, z, y, spine, spine)
    for pixel_mm in (0.9, 1.5):
        tile = slab.cut_tile(picture, 160.0, pixel_mm)
        assert tile.grey.shape == (slab.ROWS, slab.COLUMNS)
        weight = tile.grey - tile.grey[90, 40].min()
        bright = tile.grey > slab.grey(np.array(200.0))
        i, j = np.nonzero(bright)
        assert weight.max() > 0
        at_z, at_y = tile.z_mm - pixel_mm * i.mean(), tile.y_mm + pixel_mm * j.mean()
        np.testing.assert_allclose([at_z, at_y], [z[150], y[100]], atol=0.6)


def test_outside_the_slab_a_tile_is_black():
    z, y = np.arange(50.0, 0, -1), np.arange(0.0, 100, 1.0)
    picture = slab.Slab(np.full((50, 100), 100.0), z, y, z * 0 + 50, z * 0 + 50)
    tile = slab.cut_tile(picture, 25.0, 1.5)
    assert tile.grey[0].max() == 0
    assert tile.grey[-1].max() == 0
    assert tile.grey[96].max() > 0.4


def test_a_picture_without_bone_has_a_line_in_its_middle():
    line = slab.follow(np.zeros((20, 31)), np.arange(31.0))
    np.testing.assert_allclose(line, 15.0, atol=1e-6)
