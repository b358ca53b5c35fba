"""PyTorch files of all formats, and malicious pickles."""

import io
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from l3spot.backbones.pretrained import torch_file
from mtl.host.errors import DataError
from tests.harm import Harm

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

ZIP, STREAM = True, False
KINDS = pytest.mark.parametrize("kind", [ZIP, STREAM], ids=["zip", "stream"])


def save(content, path, kind):
    torch.save(content, path, _use_new_zipfile_serialization=kind)


def tensors():
    """Returns tensors that share a storage, have an offset, or are transposed."""
    torch.manual_seed(0)
    whole = torch.randn(6, 7)
    return OrderedDict(
        {
            "whole": whole,
            "part": whole[2:, 3:],
            "turned": torch.randn(2, 3, 4).permute(2, 0, 1),
            "double": torch.randn(3).double(),
            "half": torch.randn(3).half(),
            "count": torch.tensor(5),
            "empty": torch.zeros(0, 3),
        }
    )


@KINDS
def test_files_of_pytorch_are_read(tmp_path, kind):
    given = tensors()
    given._metadata = OrderedDict({"": {"version": 1}})  # As of a module.
    save(given, tmp_path / "a.pth", kind)
    actual = torch_file.read(tmp_path / "a.pth")
    assert list(actual) == list(given)
    for name, expected in given.items():
        assert actual[name].dtype == expected.numpy().dtype
        np.testing.assert_array_equal(actual[name], expected.numpy())


@KINDS
def test_parameters_are_read(tmp_path, kind):
    linear = torch.nn.Linear(3, 2)
    save(linear.state_dict(keep_vars=True), tmp_path / "a.pth", kind)
    actual = torch_file.read(tmp_path / "a.pth")
    np.testing.assert_array_equal(actual["weight"], linear.weight.detach().numpy())


class Global:
    """A class that is pickled as its name alone."""

    def __init__(self, module, name):
        self.names = module, name


class Made:
    """An object that is pickled as a call or a new object, and a state."""

    def __init__(self, called, args=(), state=None):
        self.called, self.args, self.state = called, args, state


class OldPickler(pickle._Pickler):
    """Writes the format of PyTorch 0.1 with stand-ins for its classes."""

    def save(self, item, save_persistent_id=True):
        if isinstance(item, Global):
            self.write(b"c" + "\n".join(item.names).encode() + b"\n")
        elif isinstance(item, Made):
            for part in (item.called, item.args):
                self.save(part)
            self.write(b"R" if item.called.names[1] == "Parameter" else b"\x81")
            if item.state is not None:
                self.save(item.state)
                self.write(b"b")
        elif isinstance(item, tuple) and item and item[0] == "storage":
            super().save(item, False)
            self.write(b"Q")
        else:
            super().save(item, save_persistent_id)


def old_file(path, tensor_of):
    """Writes two arrays; `tensor_of(storage, place)` returns each tensor."""
    arrays = {"a": np.arange(6, dtype=np.float32), "b": np.ones(2, np.float32)}
    shapes = {"a": ((2, 3), (3, 1)), "b": ((2,), (1,))}
    stream = io.BytesIO()
    for part in (torch_file.TORCH_MAGIC, 1001, {"little_endian": True}):
        pickle.dump(part, stream, 2)
    kind = Global("torch", "FloatStorage")
    state = OrderedDict()
    for key, array in arrays.items():
        storage = ("storage", kind, key, "cuda:0", array.size, None)
        state[key] = tensor_of((storage, 0, *shapes[key]))
    OldPickler(stream, 2).dump(state)
    pickle.dump(sorted(arrays), stream, 2)
    for array in arrays.values():
        stream.write(array.size.to_bytes(8, "little") + array.tobytes())
    path.write_bytes(stream.getvalue())
    return {k: v.reshape(shapes[k][0]) for k, v in arrays.items()}


TENSOR = Global("torch", "FloatTensor")
PARAMETER = Global("torch.nn.parameter", "Parameter")


@pytest.mark.parametrize(
    "tensor_of",
    [
        lambda place: Made(TENSOR, (), place),
        lambda place: Made(
            PARAMETER, (Made(TENSOR, (), place),), (True, False, OrderedDict())
        ),
        lambda place: Made(
            PARAMETER, (), (Made(TENSOR, (), place), None, OrderedDict(), True, False)
        ),
    ],
    ids=["tensor", "parameter", "variable"],
)
def test_tensors_with_a_later_state_are_read(tmp_path, tensor_of):
    """vgg13-c768596a.pth and other files of 2017 have such tensors."""
    expected = old_file(tmp_path / "old.pth", tensor_of)
    actual = torch_file.read(tmp_path / "old.pth")
    theirs = torch.load(tmp_path / "old.pth", "cpu", weights_only=False)
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array)
        np.testing.assert_array_equal(theirs[name].detach().numpy(), array)


@KINDS
def test_a_malicious_pickle_runs_no_code(tmp_path, kind):
    harm = tmp_path / "harm"
    save({"weight": torch.ones(2), "more": Harm(harm)}, tmp_path / "a.pth", kind)
    torch.load(tmp_path / "a.pth", weights_only=False)
    assert harm.is_dir()  # A trusting unpickler runs the code.
    harm.rmdir()
    with pytest.raises(DataError, match=r"a\.pth .*it asks for .*mkdir"):
        torch_file.read(tmp_path / "a.pth")
    assert not harm.exists()


def in_zip(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", content)


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"ctorch\nload\n.",
        b"ctorch._utils\n_rebuild_tensor_v2.__func__\n.",
        b"ccollections\nOrderedDict.fromkeys\n.",
        # A pickle cannot change allowed objects: state for a class, and for a function.
        b"ctorch\nFloatTensor\n(N(dS'at'\nI1\nstb.",
        b"ctorch._utils\n_rebuild_tensor\n(N(dS'__defaults__'\nNstb.",
        b"ctorch\nFloatTensor\n)\x81(I1\nI2\nI3\nI4\ntb.",
        b"(lp0\n.",
        b"\x80\x02}X\x01\x00\x00\x00aK\x01s.",
        b"not a pickle",
        b"",
    ],
)
def test_other_pickles_are_refused(tmp_path, content):
    in_zip(tmp_path / "a.pth", content)
    before = dict(vars(torch_file._TensorRef))
    with pytest.raises(DataError, match=r"a\.pth is no whole \.pth"):
        torch_file.read(tmp_path / "a.pth")
    assert dict(vars(torch_file._TensorRef)) == before
    assert torch_file._TensorRef.at.__func__.__defaults__ is None


def test_a_pickled_model_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pth")
    with pytest.raises(DataError, match=r"torch\.nn\.modules.*a state dict is needed"):
        torch_file.read(tmp_path / "a.pth")


@KINDS
def test_truncated_files_are_refused(tmp_path, kind):
    save({"a": torch.randn(50)}, tmp_path / "a.pth", kind)
    whole = (tmp_path / "a.pth").read_bytes()
    for size in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "b.pth").write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"b\.pth is no whole"):
            torch_file.read(tmp_path / "b.pth")


def test_a_tensor_must_lie_within_its_storage(tmp_path):
    for offset, size, stride in (
        (1, (6,), (1,)),
        (-1, (2,), (1,)),
        (0, (2, 3), (4, 1)),
        (0, (-1,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
    ):
        place = (offset, size, stride)
        old_file(
            tmp_path / "a.pth",
            lambda whole, place=place: Made(TENSOR, (), (whole[0], *place)),
        )
        with pytest.raises(DataError, match=r"a\.pth is no whole"):
            torch_file.read(tmp_path / "a.pth")


def test_other_storages_are_refused(tmp_path):
    torch.save({"a": torch.ones(2, dtype=torch.complex64)}, tmp_path / "a.pth")
    with pytest.raises(DataError, match="ComplexFloatStorage"):
        torch_file.read(tmp_path / "a.pth")
    with pytest.raises(DataError, match="there is no file"):
        torch_file.read(tmp_path / "none.pth")
