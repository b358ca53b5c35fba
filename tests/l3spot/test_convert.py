"""Conversion of files of torchvision, timm and Keras; refused files."""

import hashlib
import io
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from l3spot import backbones, convert
from l3spot.backbones import normalisation
from l3spot.backbones.pretrained import (
    converted,
    name_maps,
    safetensors_file,
    torch_file,
)
from l3spot.backbones.pretrained.name_maps import WeightsFile
from mtl.engine.task import flatten
from mtl.host.errors import DataError, WorkdirError
from tests import program


def torchvision(name="alexnet", seed=0):
    """Returns random tensors of the trunk by torchvision's names."""
    b, rng = backbones.make(name), np.random.default_rng(seed)
    names, made = name_maps._names(b, keras=False), {}
    for ours, like in b.shapes().items():
        shape = like.shape
        if len(shape) == 4:
            shape = (shape[3], shape[2], *shape[:2])
        made[names[ours]] = rng.random(shape, np.float32)
    return made


def refused(tmp_path, arrays, message, name="alexnet"):
    save_file(arrays, tmp_path / "a.safetensors")
    with pytest.raises(DataError, match=r"a\.safetensors") as e:
        convert.convert(name, tmp_path / "a.safetensors", tmp_path / "out")
    assert message in str(e.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", backbones.PRETRAINED)
def test_both_formats_of_pth_are_converted(tmp_path, name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    given = torchvision(name)
    state = {k: torch.tensor(v) for k, v in given.items()}
    if name == "googlenet":  # Arrays for training alone are dropped.
        state["aux1.fc1.bias"] = state["conv1.bn.num_batches_tracked"] = torch.ones(1)
    for zipped in (True, False):
        torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        convert.convert(name, tmp_path / "a.pth", tmp_path / "out")
        loaded = converted.load(tmp_path / "out")
        assert loaded.backbone == name
        assert loaded.normalisation == backbones.make(name).normalisation
        for ours, value in flatten(loaded.params).items():
            expected = given[name_maps._names(backbones.make(name), False)[ours]]
            expected = (
                expected.transpose(2, 3, 1, 0) if expected.ndim == 4 else expected
            )
            np.testing.assert_array_equal(value, expected)
        (tmp_path / "out").unlink()


def test_safetensors_of_timm_are_converted(tmp_path):
    """timm stores the dense layers of VGG16 as convolutions."""
    given = torchvision("vgg16")
    for name, shape in {
        "pre_logits.fc1": (4096, 512, 7, 7),
        "pre_logits.fc2": (4096, 4096, 1, 1),
        "head.fc": (1000, 4096),
    }.items():
        given[f"{name}.weight"] = np.zeros(shape, np.float32)
        given[f"{name}.bias"] = np.zeros(shape[0], np.float32)
    given["pre_logits.fc1.weight"][3, 5, 2, 6] = 1
    given["pre_logits.fc2.weight"][7, 8] = 1
    b, source = backbones.make("vgg16"), WeightsFile(tmp_path, given, keras=False)
    params = name_maps.arrange(b, source, classifier=True)
    # Channel 5 of row 2, column 6, goes to unit 3.
    assert params["dense1"]["kernel"][(2 * 7 + 6) * 512 + 5, 3] == 1
    assert params["dense2"]["kernel"][8, 7] == 1
    assert {k: v.shape for k, v in flatten(params).items()} == {
        k: v.shape for k, v in b.shapes(classifier=True).items()
    }
    assert "dense1" not in name_maps.arrange(b, source)


def test_dense_layers_are_kept_on_request(tmp_path):
    given = torchvision("googlenet")
    given |= {"fc.weight": np.eye(1000, 1024), "fc.bias": np.ones(1000)}
    save_file(given, tmp_path / "a.safetensors")
    out = tmp_path / "out"
    for classifier in (False, True):
        convert.convert("googlenet", tmp_path / "a.safetensors", out, classifier)
        loaded = converted.load(out).params
        assert ("dense" in loaded) == classifier
    np.testing.assert_array_equal(loaded["dense"]["kernel"], np.eye(1024, 1000))


def test_metadata_name_the_source(tmp_path):
    save_file(torchvision(), tmp_path / "a.safetensors")
    convert.convert("alexnet", tmp_path / "a.safetensors", tmp_path / "out")
    _, metadata = safetensors_file.tensors(tmp_path / "out")
    content = (tmp_path / "a.safetensors").read_bytes()
    assert metadata == {
        "kind": "backbone",
        "backbone": "alexnet",
        "normalisation": normalisation.IMAGENET.to_json(),
        "source": "a.safetensors",
        "sha256": hashlib.sha256(content).hexdigest(),
    }


# Keras


def keras(h5py, path, names=("kernel:0", "bias:0"), change=None):
    """Writes VGG16 without its dense layers, `block1_conv1/.../kernel:0`."""
    rng, given = np.random.default_rng(0), {}
    with h5py.File(path, "w") as file:
        for ours, like in backbones.make("vgg16").shapes().items():
            layer, leaf = ours.split("/")
            layer = f"block{layer[4]}_conv{layer[6]}"
            name = names[leaf == "bias"]
            given[ours] = rng.random(like.shape, np.float32)
            file[f"{layer}/{layer}/{name}"] = given[ours]
        file.create_group("block1_pool")
        if change:
            change(file)
    return given


@pytest.mark.parametrize("names", [("kernel:0", "bias:0"), ("W_1:0", "b_1:0")])
def test_files_of_keras_are_converted(tmp_path, names):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    given = keras(h5py, tmp_path / "a.h5", names)
    convert.convert("vgg16", tmp_path / "a.h5", tmp_path / "out")
    loaded = converted.load(tmp_path / "out")
    assert loaded.normalisation == normalisation.CAFFE
    for name, value in flatten(loaded.params).items():
        np.testing.assert_array_equal(value, given[name])


def test_other_files_of_keras_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")

    def refused(name, message, change=None, size=None):
        keras(h5py, tmp_path / "a.h5", change=change)
        if size:
            (tmp_path / "a.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:size])
        with pytest.raises(DataError, match=r"a\.h5") as e:
            convert.convert(name, tmp_path / "a.h5", tmp_path / "out")
        assert message in str(e.value)

    refused("alexnet", "is a file of Keras")
    refused("vgg19", "lacks block3_conv4/bias")
    refused("vgg19", "it has the layers of vgg16")
    refused("vgg16", "no whole .h5", size=10**6)
    more = {"block1_conv1/x": np.ones((2, 2))}
    refused("vgg16", "more than a kernel", change=lambda file: file.update(more))


def test_h5_files_need_h5py(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "a.h5").write_bytes(convert.HDF5_MAGIC + b"rest")
    with pytest.raises(DataError, match=r"pip install h5py"):
        convert.convert("vgg16", tmp_path / "a.h5", tmp_path / "out")


# Refused files


def test_missing_extra_and_wrong_tensors_are_refused(tmp_path):
    given = torchvision()
    fewer = {k: v for k, v in given.items() if "8" not in k}
    refused(tmp_path, fewer, "lacks features.8.bias, features.8.weight")
    refused(tmp_path, given | {"features.9.bias": np.ones(2)}, "also features.9.bias")
    many = given | {f"more.{k}": np.ones(2) for k in range(6)}
    refused(tmp_path, many, "more.3 and 2 more")
    square = {"features.0.weight": np.zeros((64, 3, 7, 7), np.float32)}
    refused(
        tmp_path, given | square, "(64, 3, 7, 7); that of alexnet is (64, 3, 11, 11)"
    )
    flat = {"features.0.weight": np.zeros(5, np.float32)}
    refused(tmp_path, given | flat, "has the shape (5,)")
    nan = {"features.0.bias": np.full(64, np.nan, np.float32)}
    refused(tmp_path, given | nan, "features.0.bias has values that are not finite")
    save_file(given, tmp_path / "a.safetensors")
    with pytest.raises(DataError, match=r"lacks classifier\.1\.bias"):
        convert.convert("alexnet", tmp_path / "a.safetensors", tmp_path / "out", True)


@pytest.mark.parametrize("name", [n for n in backbones.PRETRAINED if n != "alexnet"])
def test_the_message_names_the_right_backbone(tmp_path, name):
    refused(tmp_path, torchvision(), "it has the layers of alexnet", name)


def test_files_of_another_format_are_refused(tmp_path):
    archive = io.BytesIO()
    np.savez(archive, x=np.zeros(3))
    for content, message in (
        (b"", "no .pth, no safetensors"),
        (b"<html>not found</html>", "no .pth, no safetensors"),
        (torch_file.ZIP_MAGIC + b"rest", "no whole .pth"),
        (archive.getvalue(), "no whole .pth .*it has 0 files data.pkl"),
        (b"\x80\x02rest", "no whole .pth"),
        (b"\x10\0\0\0\0\0\0\0{}", "no whole safetensors"),
    ):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(DataError, match=message):
            convert.convert("vgg16", tmp_path / "a", tmp_path / "out")
    with pytest.raises(DataError, match="cannot read"):
        convert.convert("vgg16", tmp_path / "none", tmp_path / "out")
    with pytest.raises(WorkdirError, match="--weights"):
        convert.convert("vgg16", tmp_path / "a", tmp_path / "a")


def test_the_checksum_must_match_the_name(tmp_path):
    digest = hashlib.sha256(b"x").hexdigest()
    for name in (f"vgg16-{digest[:8]}.pth", f"a-b-{digest}.pth", "a-1.pth", "a.pth"):
        (tmp_path / name).write_bytes(b"x")
        assert convert.checksum(tmp_path / name) == digest
    (tmp_path / "vgg16-397923af.pth").write_bytes(b"x")
    with pytest.raises(
        DataError, match=rf"starts with {digest[:8]}.*download it again"
    ):
        convert.convert("vgg16", tmp_path / "vgg16-397923af.pth", tmp_path / "out")


def test_load_refuses_broken_files(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(torchvision(), path)
    with pytest.raises(DataError, match="something else, not a backbone"):
        converted.load(path)
    params = convert.convert("alexnet", path, tmp_path / "out").params
    good = {"backbone": "alexnet", "normalisation": normalisation.IMAGENET.to_json()}
    for kind, metadata, message in (
        ("mine", good, "something else, not a backbone"),
        ("l3spot model", good, "of the frontal projection (for --checkpoint), not a b"),
        ("backbone", good | {"backbone": "resnet"}, "'resnet'"),
        ("backbone", {"backbone": "alexnet"}, "no valid normalisation"),
        ("backbone", good | {"backbone": "vgg16"}, "not have the layers of vgg16"),
    ):
        safetensors_file.save(path, kind, params, metadata)
        with pytest.raises(DataError, match=r"a\.safetensors") as e:
            converted.load(path)
        assert message in str(e.value)
    (tmp_path / "b").write_bytes((tmp_path / "out").read_bytes()[:-1])
    with pytest.raises(DataError, match="no whole safetensors file"):
        converted.load(tmp_path / "b")
    with pytest.raises(DataError, match="there is no file"):
        converted.load(tmp_path / "none")


def test_any_parameters_can_be_saved(tmp_path):
    params = {"a": {"b": np.arange(6.0).reshape(2, 3).T}, "c": np.float32(1)}
    safetensors_file.save(tmp_path / "a", "mine", params, {"note": "text"})
    loaded, metadata = safetensors_file.load(tmp_path / "a", "mine")
    assert metadata == {"kind": "mine", "note": "text"}
    assert jax.tree.structure(loaded) == jax.tree.structure(params)
    np.testing.assert_array_equal(loaded["a"]["b"], params["a"]["b"])
    assert loaded["c"].dtype == np.float32
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    save_file({"a": np.ones(1), "a/b": np.ones(1)}, tmp_path / "a", {"kind": "mine"})
    with pytest.raises(DataError, match="prefix of another"):
        safetensors_file.load(tmp_path / "a", "mine")


def test_the_launcher_converts(tmp_path):
    save_file(torchvision(), tmp_path / "a.safetensors")

    flags = ["--weights", tmp_path / "a.safetensors", "--out", tmp_path / "out"]
    done = program.call("l3spot.convert", "--backbone", "alexnet", *flags)
    assert done.returncode == 0, done.stderr
    assert "alexnet, 2,469,696 parameters, in " in done.stdout
    wrong = program.call("l3spot.convert", "--backbone", "vgg16", *flags)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: ")
    assert len(wrong.stderr.splitlines()) == 1


# ImageNet's VGG16


@pytest.fixture(scope="module")
def vgg16(real_data, tmp_path_factory):
    path = real_data / "weights" / "vgg16_imagenet_notop.h5"
    if not path.exists():
        pytest.skip(f"there is no weights/{path.name} in {real_data.name}/")
    pytest.importorskip("h5py", reason="h5py is not installed")
    out = tmp_path_factory.mktemp("vgg16") / "vgg16.safetensors"
    convert.convert("vgg16", path, out)
    return converted.load(out)


def test_imagenet_filters_are_smooth(vgg16):
    """Neighbours are similar in most filters of the first layer."""
    kernel = vgg16.params["conv1_1"]["kernel"]
    assert vgg16.normalisation == normalisation.CAFFE
    a = kernel[:, 1:].reshape(-1, 64), kernel[:, :-1].reshape(-1, 64)
    alike = [np.corrcoef(x, y)[0, 1] for x, y in zip(*(v.T for v in a), strict=True)]
    assert np.median(np.abs(alike)) > 0.4
    assert np.abs(kernel).max() < 2


def test_features_of_a_photograph(vgg16, real_data):
    """The features of a photograph resemble those of its mirror image, not of shuffled
    pixels."""
    photographs = sorted((real_data / "300w" / "helen" / "testset").glob("*.jpg"))
    if not photographs:
        pytest.skip(f"there is no 300w/helen in {real_data.name}/")
    with Image.open(photographs[0]) as picture:
        x = np.asarray(picture.convert("RGB").resize((160, 160)), np.float32) / 255
    noise = np.random.default_rng(0).permutation(x.reshape(-1, 3)).reshape(x.shape)
    b = backbones.make("vgg16")
    seen = vgg16.normalisation(np.stack([x, x[:, ::-1], noise]))
    y = np.asarray(jax.jit(b.features)(vgg16.params, seen))
    assert y.shape == (3, 5, 5, 512)
    means = y.mean((1, 2))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    alike = means @ means[0]
    assert alike[1] > 0.9
    assert alike[2] < 0.5
