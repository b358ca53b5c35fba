"""Tensors at the ends of their storages, in handmade files without PyTorch."""

import itertools
import pickle
import zipfile

import numpy as np
import pytest

from l3spot.backbones.pretrained import torch_file
from mtl.host.errors import DataError

FLOATS = np.arange(6, dtype="<f4") + 10
KINDS = pytest.mark.parametrize("kind", ["zip", "stream"])


def tensor(place, array=FLOATS, kind="Float", key="0", view=b""):
    """Returns the pickle of a tensor: offset, size and stride in a storage."""
    offset, size, stride = place

    def numbers(values):
        return b"(" + b"".join(b"I%d\n" % v for v in values) + b"t"

    storage = b"(S'storage'\nctorch\n%sStorage\nS'%s'\nS'cpu'\nI%d\n%stQ" % (
        kind.encode(), key.encode(), array.size, view,
    )  # fmt: skip
    return b"ctorch._utils\n_rebuild_tensor_v2\n(%sI%d\n%s%sI00\nNtR" % (
        storage, offset, numbers(size), numbers(stride),
    )  # fmt: skip


def write(path, kind, tensors, storages, **more):
    """Writes a state dict; storages are bytes and count of each key."""
    items = b"".join(b"S'%s'\n%ss" % (n.encode(), t) for n, t in tensors.items())
    refs = b"(d" + items + b"."
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", refs)
            for key, (content, _) in storages.items():
                archive.writestr(f"a/data/{key}", content)
            for name, content in more.items():
                archive.writestr(f"a/{name}", content)
        return
    parts = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, **more}]
    parts = [more.get("magic", parts[0]), *parts[1:]]
    head = b"".join(pickle.dumps(p, 2) for p in parts)
    flat = [n.to_bytes(8, "little") + c for c, n in storages.values()]
    keys = pickle.dumps(list(storages), 2)
    path.write_bytes(head + refs + keys + b"".join(flat))


def read_one(path, kind, place):
    write(path, kind, {"a": tensor(place)}, {"0": (FLOATS.tobytes(), 6)})
    return torch_file.read(path)["a"]


@KINDS
@pytest.mark.parametrize(
    "place",
    [
        (0, (6,), (1,)),
        (5, (1,), (1,)),
        (0, (2, 3), (3, 1)),
        (0, (3, 2), (1, 3)),
        (0, (2, 2), (4, 1)),
        (1, (2, 2), (2, 2)),
        (1, (1, 5), (100, 1)),
        (3, (2, 3), (0, 1)),
        (5, (), ()),
        (6, (0,), (1,)),
        (0, (0, 9), (9, 1)),
        (5, (3, 0), (1, 1)),
    ],
)
def test_a_tensor_may_end_with_its_storage(tmp_path, kind, place):
    """Element i, j is the storage's at offset + i * stride_i + j * stride_j."""
    offset, size, stride = place
    actual = read_one(tmp_path / "a.pth", kind, place)
    assert (actual.shape, actual.dtype) == (size, np.float32)
    for index in itertools.product(*map(range, size)):
        at = offset + sum(i * s for i, s in zip(index, stride, strict=True))
        assert actual[index] == 10 + at


@KINDS
@pytest.mark.parametrize(
    ("place", "why"),
    [
        ((0, (7,), (1,)), "ends after"),
        ((1, (6,), (1,)), "ends after"),
        ((6, (1,), (1,)), "ends after"),
        ((6, (), ()), "ends after"),
        ((0, (2, 3), (4, 1)), "ends after"),
        ((2, (2, 2), (2, 2)), "ends after"),
        ((4, (2, 3), (0, 1)), "ends after"),
        ((-1, (2,), (1,)), "starts before"),
        ((5, (2,), (-1,)), "starts before"),
        ((0, (-1,), (1,)), "starts before"),
    ],
)
def test_a_tensor_may_not_reach_an_element_beyond_its_storage(
    tmp_path, kind, place, why
):
    with pytest.raises(DataError, match=why):
        read_one(tmp_path / "a.pth", kind, place)


@KINDS
@pytest.mark.parametrize(
    ("name", "dtype"),
    [("Float", "<f4"), ("Double", "<f8"), ("Half", "<f2"), ("Long", "<i8")],
)
def test_each_dtype_is_read(tmp_path, kind, name, dtype):
    given = np.array([-2, 0, 3], dtype)
    ref = tensor((0, (3,), (1,)), given, name)
    write(tmp_path / "a.pth", kind, {"a": ref}, {"0": (given.tobytes(), 3)})
    actual = torch_file.read(tmp_path / "a.pth")["a"]
    assert actual.dtype == dtype
    assert actual.tolist() == [-2, 0, 3]


@KINDS
def test_storages_are_found_by_key(tmp_path, kind):
    """The file has them in another order than the tensors."""
    whole = (0, (6,), (1,))
    tensors = {"a": tensor(whole, key="0"), "b": tensor(whole, key="1")}
    other = FLOATS + 100
    storages = {"1": (other.tobytes(), 6), "0": (FLOATS.tobytes(), 6)}
    write(tmp_path / "a.pth", kind, tensors, storages)
    actual = torch_file.read(tmp_path / "a.pth")
    assert actual["a"].tolist() == FLOATS.tolist()
    assert actual["b"].tolist() == other.tolist()


WHOLE = {"a": tensor((0, (6,), (1,)))}


@pytest.mark.parametrize(
    ("kind", "content", "count"),
    [
        ("zip", FLOATS.tobytes()[:-1], 6),
        ("zip", FLOATS.tobytes() + b"\0", 6),
        ("stream", FLOATS.tobytes()[:-1], 6),
        ("stream", FLOATS.tobytes(), 5),
        ("stream", FLOATS.tobytes(), 7),
    ],
    ids=["short", "long", "short", "count below", "count above"],
)
def test_a_storage_of_another_size_is_refused(tmp_path, kind, content, count):
    write(tmp_path / "a.pth", kind, WHOLE, {"0": (content, count)})
    with pytest.raises(DataError, match=r"a\.pth is no whole .* (bytes|truncated)"):
        torch_file.read(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("kind", "more", "why"),
    [
        ("zip", {"byteorder": b"big"}, "byte order"),
        ("stream", {"little_endian": False}, "byte order"),
        ("stream", {"magic": 7}, "does not start"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, kind, more, why):
    write(tmp_path / "a.pth", kind, WHOLE, {"0": (FLOATS.tobytes(), 6)}, **more)
    with pytest.raises(DataError, match=why):
        torch_file.read(tmp_path / "a.pth")


def test_a_little_endian_file_is_read(tmp_path):
    storages = {"0": (FLOATS.tobytes(), 6)}
    write(tmp_path / "a.pth", "zip", WHOLE, storages, byteorder=b"little")
    assert torch_file.read(tmp_path / "a.pth")["a"].tolist() == FLOATS.tolist()


@KINDS
def test_views_of_a_storage_and_other_names_are_refused(tmp_path, kind):
    view = tensor((0, (6,), (1,)), view=b"(S'v'\nI0\nI6\nt")
    other = WHOLE["a"].replace(b"_rebuild_tensor_v2", b"_load_global_deps")
    for ref, why in ((view, "it has the storage"), (other, "it asks for torch")):
        write(tmp_path / "a.pth", kind, {"a": ref}, {"0": (FLOATS.tobytes(), 6)})
        with pytest.raises(DataError, match=why):
            torch_file.read(tmp_path / "a.pth")
