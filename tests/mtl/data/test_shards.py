"""Shards: any rows of many files, the chunks of a stream, and bad files."""

import itertools
import tracemalloc

import numpy as np
import pytest

from mtl import config as configs
from mtl.data import datasets, shard_stream, shards
from mtl.data.shard_stream import ShardStream
from mtl.engine.streams import Stream
from mtl.host.errors import ConfigError, DataError
from tests.mtl import shard_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("shards")
    shard_folder.write(made)
    return made


@pytest.fixture
def blocks_of_64(monkeypatch):
    monkeypatch.setattr(shard_stream, "BLOCK_ROWS", 64)


def stream(folder, rows=130, labelled=10, seed=3, lazy=False):
    """A stream of 10 labelled rows and all others, in an order of its own."""
    x = shards.read(str(folder)).train.x
    chosen = np.random.default_rng(0).permutation(1200)
    y = np.where(np.arange(1200) < labelled, 7, -1).astype(np.int32)
    return ShardStream(x, chosen, y, rows, seed, lazy), chosen


def test_any_rows_are_read_in_any_order(folder):
    x, y = shard_folder.digits()
    train = shards.read(str(folder)).train
    assert train.x.shape == (1200, 8, 8)
    rows = np.random.default_rng(1).permutation(1200)[:700]
    np.testing.assert_array_equal(train.x[rows], x[rows])
    assert train.x[rows].dtype == np.uint8
    np.testing.assert_array_equal(train.y[:341], y[:341])
    assert (train.y[341:841] == -1).all()


def test_the_data_are_those_of_one_npz(folder):
    def load(source, path):
        c = configs.default().data
        c.source, c.path = source, str(path)
        return datasets.load(c)

    ours, one = load("shards", folder), load("npz", folder / "all.npz")
    for name in ("validation", "test"):
        for a, b in zip(getattr(ours, name), getattr(one, name), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(ours.train.y, one.train.y)
    assert (ours.shape, ours.classes, ours.names) == (one.shape, one.classes, one.names)


@pytest.mark.usefixtures("blocks_of_64")
def test_a_pass_has_each_row_once_in_an_order_of_its_own(folder):
    """Seven chunks of 340 unlabelled rows are two passes; chunk 3 has rows of both."""
    made, chosen = stream(folder, rows=350)
    assert isinstance(made, Stream)
    x, _ = shard_folder.digits()
    chunks = [np.asarray(made.chunk(n)["image"]) for n in range(8)]
    for image in chunks:
        np.testing.assert_array_equal(image[:10], as_rows(x[chosen[:10]]))
    seen = [list(map(bytes, image[10:])) for image in chunks]
    each = sorted(map(bytes, as_rows(x[chosen[10:]])))
    assert sorted(itertools.chain(*seen[:7])) == sorted(2 * each)
    assert len({*seen[0], *seen[1], *seen[2]}) == 3 * 340
    assert set(seen[0]) != set(seen[7])
    assert made.passes(7) == 2


def as_rows(x):
    """Images as the arrays of other sources have them."""
    return x.reshape(len(x), -1).astype(np.float32) / 255


@pytest.mark.usefixtures("blocks_of_64")
def test_a_chunk_depends_on_its_number_and_the_seed_alone(folder):
    made, again = stream(folder)[0], stream(folder)[0]
    for n in (11, 2, 11):
        for name, field in made.chunk(n).items():
            np.testing.assert_array_equal(field, again.chunk(n)[name])
    other = stream(folder, seed=4)[0].chunk(2)["image"]
    assert (np.asarray(other) != np.asarray(made.chunk(2)["image"])).any()


@pytest.mark.usefixtures("blocks_of_64")
def test_blocks_come_from_all_over_the_files(folder):
    """With files in their order, a chunk of 120 rows would come from one or two."""
    made, chosen = stream(folder)
    starts = made._shards.starts
    rows = chosen[10:][made._places(0)]
    assert len(set(np.searchsorted(starts, rows, "right"))) >= 2
    blocks = {(int(r) - starts[starts <= r][-1]) // 64 for r in rows}
    assert len(blocks) >= 2
    assert len(rows) == len(set(rows)) == 120


def test_a_chunk_that_holds_all_is_an_array_in_the_order_of_the_choice(folder):
    x, _ = shard_folder.digits()
    own = shards.read(str(folder)).train.x
    chosen, y = np.arange(1200)[::-1], np.full(1200, -1, np.int32)
    y[:5] = 1
    data = shard_stream.make(own, chosen, y, 1200, 0)
    np.testing.assert_array_equal(data["image"], as_rows(x[:1200][::-1]))
    np.testing.assert_array_equal(data["label"], y)
    assert isinstance(shard_stream.make(own, chosen, y, 1199, 0), ShardStream)
    with pytest.raises(ConfigError, match=r"chunk_rows=5 must be above 5"):
        shard_stream.make(own, chosen, y, 5, 0)


def test_bytes_divided_on_the_device_are_those_divided_on_the_host():
    x = np.arange(256, dtype=np.uint8).reshape(16, 16)
    made = np.asarray(shard_stream.as_unit(x))
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, x.astype(np.float32) / 255)


def test_floats_stay_as_they_are_and_bad_ones_are_refused(tmp_path):
    x, _ = shard_folder.write(tmp_path, lambda x: x / 255)
    made = stream(tmp_path)[0]._shards
    np.testing.assert_array_equal(made[np.arange(1200)], x.astype(np.float32) / 255)
    np.save(tmp_path / "train" / "2", np.full((500, 8, 8), np.nan))
    with pytest.raises(DataError, match=r"train/2\.npy: x must be finite"):
        shards.read(str(tmp_path)).train.x[np.arange(400)]


def test_rows_are_read_without_the_rest_of_their_file(tmp_path):
    for name in ("valid", "test"):
        np.savez(tmp_path / f"{name}.npz", x=np.zeros((2, 800), np.uint8), y=[0, 1])
    (tmp_path / "train").mkdir()
    x = np.zeros((10_000, 800), np.uint8)
    np.savez(tmp_path / "train" / "0.npz", x=x)
    tracemalloc.start()
    own = shards.read(str(tmp_path)).train.x
    assert own[np.arange(0, 10_000, 10)].shape == (1000, 800)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < x.nbytes / 3


def npz(**arrays):
    return lambda path: np.savez(path, **arrays)


IMAGES = np.zeros((3, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("a.npz", npz(images=IMAGES), "a.npz has no x; it has images"),
        (
            "a.npz",
            lambda p: np.savez_compressed(p, x=IMAGES),
            "a.npz is compressed.*not numpy.savez_compressed",
        ),
        ("a.npz", lambda p: p.write_bytes(b"PK"), "a.npz: not a whole .npz"),
        ("a.npy", lambda p: p.write_bytes(b"\x93NUM"), "a.npy: not a whole .npy"),
        (
            "a.npz",
            npz(x=IMAGES[:, :7]),
            r"a.npz: x has rows uint8\[7, 8\], but .*0.npz",
        ),
        ("a.npz", npz(x=IMAGES / 255), "a.npz: x has rows float64"),
        ("a.npz", npz(x=IMAGES.astype(int)), "a.npz: x must be uint8, bool or floats"),
        ("a.npz", npz(x=np.uint8(3)), "a.npz: x must be uint8"),
        ("a.npz", npz(x=IMAGES, y=[1, 2]), "a.npz: y must hold 3 whole numbers"),
        ("a.npz", npz(x=IMAGES, y=[1, 2, -2]), "a.npz: y has labels from -2 to 2; "),
        ("a.npz", npz(x=IMAGES, y=["a", "", "b"]), "some labels are strings"),
        ("a.npz", npz(x=np.array([[{}]])), "a.npz: not a whole .npz"),
        ("a.npz", npz(x=np.asfortranarray(np.ones((3, 8, 8)))), "C order"),
        ("../valid.npz", npz(x=IMAGES[:, :7], y=[1, 2, 3]), "valid.npz: x has rows of"),
        ("../test.npz", npz(x=IMAGES, y=[1, -1, 3]), "test.npz: y has labels from -1 "),
        ("../test.npz", npz(x=IMAGES), "test.npz has no y"),
    ],
)
def test_a_bad_file_is_named(tmp_path, name, write, said):
    shard_folder.write(tmp_path)
    write(tmp_path / "train" / name)
    with pytest.raises(DataError, match=f"(?s){said}"):
        shards.read(str(tmp_path))


def test_a_file_cut_short_is_named(tmp_path):
    shard_folder.write(tmp_path)
    for name in ("2.npy", "3.npz"):
        path = tmp_path / "train" / name
        content = path.read_bytes()
        path.write_bytes(content[:-1000])
        with pytest.raises(DataError, match=f"train/{name}: not a whole"):
            shards.read(str(tmp_path))
        path.write_bytes(content)


def test_a_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"train has no \.npz or \.npy file"):
        shards.read(str(tmp_path))
    with pytest.raises(DataError, match=r"data\.path='.*absent' is no folder"):
        shards.read(str(tmp_path / "absent"))
    shard_folder.write(tmp_path)
    (tmp_path / "valid.npz").unlink()
    with pytest.raises(DataError, match=r"valid\.npz: no such file"):
        shards.read(str(tmp_path))


def test_a_lazy_chunk_is_the_same_and_reads_no_other_rows(folder, blocks_of_64):
    whole, lazy = stream(folder)[0].chunk(4), stream(folder, lazy=True)[0].chunk(4)
    image = lazy["image"]
    assert (image.shape, image.dtype) == ((130, 64), np.float32)
    np.testing.assert_array_equal(lazy["label"], whole["label"])
    asked = []

    class Recorded:
        shape = image._shards.shape

        def __getitem__(self, rows):
            asked.append(len(rows))
            return shards_there[rows]

    shards_there, image._shards = image._shards, Recorded()
    for part, read in [(slice(0, 5), 0), (slice(7, 40), 30), (slice(100, 150), 30)]:
        np.testing.assert_array_equal(image[part], whole["image"][part])
        assert asked.pop() == read  # The first ten have a label, and are in memory.
    assert image[130:140].shape == (0, 64)
