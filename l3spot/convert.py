"""Converts ImageNet parameters of other programs to a file that l3spot reads.

python -m l3spot.convert --backbone vgg16 --weights vgg16-397923af.pth \
    --out vgg16.safetensors

--weights is a .pth of torchvision, safetensors of timm, or a "notop" .h5 of Keras
(VGG16 and VGG19). The content decides the format; nothing in the file is executed.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import flags

from l3spot import backbones
from l3spot.backbones.pretrained import (
    converted,
    keras_file,
    name_maps,
    safetensors_file,
    torch_file,
)
from l3spot.backbones.pretrained.converted import Pretrained
from l3spot.backbones.pretrained.name_maps import WeightsFile
from mtl.host import launch, workdir
from mtl.host.errors import DataError

# A file name of torchvision ends with the first digits of the file's SHA-256.
HASH_IN_NAME = re.compile(r".*-([0-9a-f]{8,64})\.pth")
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
PICKLE_MAGIC = b"\x80"


def convert(
    backbone: str, path: str | Path, out: str | Path, classifier: bool = False
) -> Pretrained:
    """Converts a file of parameters.

    Args:
      backbone: one of `backbones.PRETRAINED`.
      path: the file to convert.
      out: the safetensors file to write.
      classifier: keep the dense layers.

    Returns:
      The backbone with its parameters, as written.

    Raises:
      DataError: the file is broken, truncated or of another network.
      WorkdirError: `out` cannot be written.
    """
    path, out = Path(path), Path(out)
    workdir.check_apart(out, path, "weights")
    digest = checksum(path)
    b, weights = backbones.make(backbone), read(path)
    params = name_maps.arrange(b, weights, classifier)
    pretrained = Pretrained(backbone, params, weights.normalisation(b))
    converted.save(out, pretrained, {"source": path.name, "sha256": digest})
    return pretrained


def checksum(path: Path) -> str:
    """Returns the SHA-256 of a file, and compares it with the file's name.

    Raises:
      DataError: the file is missing, or its name has another SHA-256.
    """
    try:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as e:
        raise DataError(f"cannot read {path}: {e.strerror}") from e
    in_name = HASH_IN_NAME.fullmatch(path.name)
    if in_name and not digest.startswith(in_name[1]):
        raise DataError(
            f"{path}: its SHA-256 starts with {digest[: len(in_name[1])]}, its name "
            "has another one; it is truncated or was changed: download it again"
        )
    return digest


def read(path: Path) -> WeightsFile:
    """Reads the arrays of a .pth, .safetensors or .h5 file.

    Raises:
      DataError: the file is broken or has another format.
    """
    with open(path, "rb") as stream:
        start = stream.read(9)
    if start.startswith(HDF5_MAGIC):
        return WeightsFile(path, keras_file.read(path), keras=True)
    if start.startswith((torch_file.ZIP_MAGIC, PICKLE_MAGIC)):
        return WeightsFile(path, torch_file.read(path), keras=False)
    if start.endswith(b"{"):
        return WeightsFile(path, safetensors_file.tensors(path)[0], keras=False)
    raise DataError(f"{path} is no .pth, no safetensors and no .h5")


def launcher(arguments: Sequence[str]) -> str:
    """Converts from command-line flags and returns a summary."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    converted_backbone = convert(args.backbone, args.weights, args.out, args.classifier)
    count = sum(x.size for x in jax.tree.leaves(converted_backbone.params))
    n = converted_backbone.normalisation
    return (
        f"{converted_backbone.backbone}, {count:,} parameters, in {args.out}\n"
        f"input: {n.channels}, white {n.white:g}, mean {n.mean}, deviation {n.std}"
    )


def define_flags() -> None:
    """Defines the flags of the launcher."""
    flags.DEFINE_enum(
        "backbone", None, backbones.PRETRAINED, "The backbone of the parameters."
    )
    flags.DEFINE_string("weights", None, "A .pth, .safetensors or .h5 file.")
    flags.DEFINE_string("out", None, "The safetensors file to write.")
    flags.DEFINE_bool("classifier", False, "Keep the dense layers.")


if __name__ == "__main__":
    define_flags()
    launch.launch(launcher, "backbone", "weights", "out")
