"""Phantoms: maxima of solids along y, both renderers, and DICOM series."""

import csv
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pydicom
import pytest

from l3spot import project
from l3spot.phantom import __main__ as launcher
from l3spot.phantom import body, series, shadow, shapes, solid, spine
from l3spot.phantom.draw import PhantomRanges
from l3spot.phantom.shapes import ABSENT_HU, Blocks, Capsules, Ellipsoids, Matter
from l3spot.projections import projection_files
from mtl.host.errors import ConfigError, WorkdirError

SHORT = dataclasses.replace(
    PhantomRanges(), length_mm=(60.0, 61.0), slice_mm=(2.5, 2.6), without_l3=0.0,
    streaks_hu=(0.0, 0.0), sharpness_mm=(1.2, 1.3), implant=0.0, arms_up=1.0,
    pixel_mm=(1.0, 1.0),
)  # fmt: skip
W = 1.0  # mm, the sharpness of single solids.
noisy = jax.jit(shadow.noisy)  # Compiled once for all tests.


def draw_short(key):
    """Draws a body and a scan by the program of `series.write`, which compiles long."""
    return series._draw(key, SHORT)


def matter(**fields):
    plain = {
        "rim_hu": 900.0, "core_hu": 200.0, "cortex_mm": 2.0, "side_loss": 0.3,
        "grain": 0.0,
    }  # fmt: skip
    return Matter(*(jnp.float32(v) for v in (plain | fields).values()))


def frame(rng):
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return jnp.asarray(q, jnp.float32)


def capsule(rng):
    ends = rng.uniform(-12, 12, (2, 3))
    radius = np.repeat(rng.uniform(3, 8), 2)
    return Capsules(*map(jnp.asarray, (*ends, radius, rng.uniform(0.8, 2))), matter())


def block(rng):
    lean, tilt = jnp.asarray(rng.uniform(-0.5, 0.5, 2))
    half = jnp.asarray(rng.uniform(9, 20, 3))
    return Blocks(
        jnp.zeros(3), spine.rotation(lean, tilt), half, jnp.float32(0.15),
        jnp.float32(0.4), matter(),
    )  # fmt: skip


def ellipsoid(rng):
    half = jnp.asarray(rng.uniform(6, 20, 3))
    return Ellipsoids(jnp.zeros(3), frame(rng), half, matter())


KINDS = {
    "capsule": (capsule, shapes.capsule_depth),
    "block": (block, shapes.block_depth),
    "ellipsoid": (ellipsoid, shapes.ellipsoid_depth),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_the_projection_of_a_solid_is_its_maximum_along_y(kind, seed):
    make, depth = KINDS[kind]
    item = make(np.random.default_rng(seed))
    x, z = jnp.meshgrid(jnp.arange(-30, 30, 1.7), jnp.arange(-30, 30, 1.3))
    y = jnp.arange(-45, 45, 0.1)[:, None, None]
    through = shapes.value(item.matter, depth(item, x, y, z), W)
    seen = shapes.max_along_ray(item.matter, depth(item, x, None, z), W)
    assert seen.max() > 890  # The solid is in the image.
    # The samples along y can miss the maximum, but cannot exceed it.
    error_hu = np.asarray(seen - through.max(0))
    assert error_hu.min() > -2
    assert np.percentile(error_hu, 99) < 25


def test_hu_rise_from_air_to_the_rim_and_fall_to_the_core():
    s = jnp.array([-5.0, -W, W, 1.5 * W, 20.0])
    hu = shapes.value(matter(), s, W)
    np.testing.assert_allclose(hu[jnp.array([0, 1, 2, 4])], [-1000, -1000, 900, 200])
    assert 200 < hu[3] < 900
    assert (shapes.max_along_ray(matter(rim_hu=ABSENT_HU), s, W) <= shapes.AIR_HU).all()


@pytest.fixture(scope="module")
def scanned():
    """Returns a body and a scan of it around L3."""
    person, scan = draw_short(jax.random.key(5))
    scan = scan._replace(low_mm=jnp.float32(-20.0), high_mm=jnp.float32(41.0))
    return person, scan


def both_renderings(person, scan, key):
    """Returns the direct projection and the volume's, at its slices and columns."""
    side = (np.arange(512) - 255.5) * float(scan.pixel_mm)
    slices = list(solid.slices(key, person, scan, 512))
    z = jnp.array([p[0] for p in slices])
    canvas = shadow.Canvas(scan.x_mm + jnp.asarray(side, jnp.float32), z)
    direct = noisy(key, person, scan, canvas)
    # The table lies below the body's lowest point less its bend.
    low = (person.trunk.middle[:, 1] + person.trunk.skin[:, 1]).max()
    rows = float(scan.y_mm) + side < float(low) - 25
    middle = slice(100, 412)  # Within the field of view.
    seen = np.stack([p[1][rows].max(0) for p in slices])
    return np.asarray(direct)[:, middle], seen[:, middle]


@pytest.mark.slow
@pytest.mark.parametrize("level", [spine.L3, 0], ids=["L3", "head"])
def test_both_renderers_show_the_same_body(scanned, level):
    person, scan = scanned
    z = person.blocks.centre[level, 2]
    scan = scan._replace(
        noise_hu=jnp.float32(0.0), low_mm=scan.low_mm + z, high_mm=scan.high_mm + z
    )
    direct, volume = both_renderings(person, scan, jax.random.key(1))
    error_hu = np.abs(direct - volume)
    assert volume.std() > 200  # The image is not empty.
    assert np.median(error_hu) < 2
    assert np.percentile(error_hu, 95) < 30
    assert abs((direct - volume).mean()) < 5


@pytest.mark.slow
def test_the_projection_has_the_noise_of_the_volume(scanned):
    person, scan = scanned
    scan = scan._replace(noise_hu=jnp.float32(25.0), max_hu=jnp.float32(3071.0))
    clean = both_renderings(
        person, scan._replace(noise_hu=jnp.float32(0.0)), jax.random.key(1)
    )[1]
    direct, volume = both_renderings(person, scan, jax.random.key(1))
    flesh = (clean > 0) & (clean < 150)
    mean_rise = (volume - clean)[flesh].mean()
    assert mean_rise > 25  # A maximum of noise is above its mean.
    assert abs((direct - clean)[flesh].mean() - mean_rise) < 12
    assert 0.6 < (direct - clean)[flesh].std() / (volume - clean)[flesh].std() < 1.6


@pytest.mark.slow
@pytest.mark.slow  # It compiles bodies with other ranges, and draws 200.
def test_bodies_vary_as_their_ranges_say():
    one = functools.partial(body.draw, ranges=PhantomRanges())
    many = jax.jit(functools.partial(jax.lax.map, one))
    people, scans = many(jax.random.split(jax.random.key(0), 200))
    blocks = people.blocks
    np.testing.assert_allclose(blocks.centre[:, spine.L3], 0, atol=1e-4)
    present = np.asarray(blocks.matter.rim_hu) > ABSENT_HU
    assert present[:, 1 : spine.L6].all()
    assert 1 <= present[:, spine.L6].sum() <= 25  # 4 % have six lumbar vertebrae.
    # From the feet to the head; no vertebra within another.
    z = np.asarray(blocks.centre[..., 2])
    gap = z[:, 1:24] - z[:, 2:25]
    assert (gap[present[:, 2:]] > 8).all()
    # The vault of the skull, all that is wide and not flesh, stands on the neck.
    vault = np.asarray(people.wide.matter.rim_hu) > 500
    assert (vault.sum(1) == 1).all()
    above = np.asarray(people.wide.start)[vault] - np.asarray(blocks.centre[:, 0])
    assert (np.abs(above[:, 0]) < 10).all()
    assert ((above[:, 2] > 60) & (above[:, 2] < 95)).all()
    length_mm = np.asarray(scans.high_mm - scans.low_mm)
    assert length_mm.min() >= PhantomRanges().length_mm[0] - 1
    inside = np.asarray((scans.low_mm <= 0) & (scans.high_mm >= 0))
    assert 0.75 < inside.mean() < 0.95
    assert np.isfinite(
        np.concatenate([np.ravel(a) for a in jax.tree.leaves(people)])
    ).all()


@pytest.mark.slow
def test_a_key_determines_the_projection():
    project = jax.jit(shadow.project, static_argnums=(3, 4))

    def render(key):
        return project(key, *draw_short(key), 120, 200)

    first, row = render(jax.random.key(3))
    again, _ = render(jax.random.key(3))
    other, _ = render(jax.random.key(4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 100
    assert first.shape == (120, 200)
    # Nothing is below the scan, and L3 is in it.
    assert (first[62:] == shapes.AIR_HU - 24).all()
    assert 0 <= row <= 61


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantoms")
    rows = [[f"p{i}", series.write(out / f"p{i}", 1, i, SHORT, 64)] for i in range(2)]
    return out, rows


def test_phantom_series_are_read_with_their_labels(written, tmp_path):
    out, rows = written
    labels = tmp_path / "labels.csv"
    labels.write_text("scan,z_mm\n" + "".join(f"{n},{z}\n" for n, z in rows))
    project.project(out, tmp_path / "mips", labels_csv=labels)
    examples = projection_files.load(tmp_path / "mips")
    assert [(e.id, e.label) for e in examples] == [("p0", "in view"), ("p1", "in view")]
    for example, (_, z) in zip(examples, rows, strict=True):
        assert example.l3_z == pytest.approx(z)
        assert example.frontal.max() > 400  # Bone.
        assert example.z[-1] - 2.6 < z < example.z[0] + 2.6


def test_the_labels_of_a_phantom_hold_its_end_plates_and_neighbours(scanned):
    person, scan = scanned
    truth = series.truth(series.Phantom(person, scan, None, 100.0))
    assert truth.z_mm == 100.0
    assert truth.l4_mm < truth.lower_mm < 100 < truth.upper_mm < truth.l2_mm
    height = truth.upper_mm - truth.lower_mm
    assert height == pytest.approx(2 * float(person.blocks.half[21, 2]), rel=0.05)
    away = scan._replace(low_mm=20.0, high_mm=80.0)
    gone = series.truth(series.Phantom(person, away, None, 100.0))
    assert np.isnan(gone).all()


def test_an_interrupted_phantom_leaves_no_folder(written, tmp_path, monkeypatch):
    def stop(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(series, "_save", stop)
    with pytest.raises(WorkdirError, match="No space left"):
        series.write(tmp_path / "p0", 1, 0, SHORT, 64)
    assert list(tmp_path.iterdir()) == []
    out, rows = written
    # Not written again.
    assert series.write(out / "p0", 1, 0, SHORT, 64) == rows[0][1]


def test_headers_name_the_program_and_the_geometry(written):
    ds = pydicom.dcmread(next((written[0] / "p0").iterdir()))
    assert ds.Manufacturer == "l3spot"
    assert ds.Rows == ds.Columns == 64
    assert float(ds.PixelSpacing[0]) == pytest.approx(512 / 64)


def test_the_launcher_writes_labels_and_refuses_another_seed(tmp_path, monkeypatch):
    z = iter([series.Truth(12.5, 45.0, 26.0, -1.0, -22.5), series.Truth()])
    monkeypatch.setattr(series, "draw", lambda *_: None)
    monkeypatch.setattr(series, "write_drawn", lambda *_: None)
    monkeypatch.setattr(series, "truth", lambda _: next(z))
    launcher.write(tmp_path, 2, seed=3)
    with (tmp_path / "labels.csv").open() as stream:
        assert list(csv.reader(stream)) == [
            ["scan", "z_mm", "l2_mm", "upper_mm", "lower_mm", "l4_mm"],
            ["phantom-0000", "12.5", "45.0", "26.0", "-1.0", "-22.5"],
            ["phantom-0001", "", "", "", "", ""],
        ]  # fmt: skip
    with pytest.raises(WorkdirError, match="take another"):
        launcher.write(tmp_path, 2, seed=4)
    with pytest.raises(ConfigError, match="at least 1"):
        launcher.write(tmp_path / "none", 0)


def test_the_launcher_keeps_existing_files(tmp_path, monkeypatch):
    (tmp_path / "labels.csv").write_text("mine")
    with pytest.raises(WorkdirError, match="other files"):
        launcher.write(tmp_path, 1)
    assert (tmp_path / "labels.csv").read_text() == "mine"
    # Fewer than there are keep the labels of the others.
    out = tmp_path / "out"
    monkeypatch.setattr(series, "draw", lambda *_: None)
    monkeypatch.setattr(series, "truth", lambda _: series.Truth(1.0))
    monkeypatch.setattr(
        series, "write_drawn", lambda folder, *_: folder.mkdir(exist_ok=True)
    )
    launcher.write(out, 3)
    assert len(launcher.write(out, 1)) == 3
