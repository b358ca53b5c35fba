"""Weights that others trained on ImageNet, to a file that l3spot reads.

python -m l3spot.convert --backbone vgg16 --weights vgg16-397923af.pth \
    --out vgg16.safetensors

--weights is a .pth of torchvision, safetensors of timm, or a "notop" .h5 of Keras
(VGG16 and VGG19). The file itself says which; nothing in it is executed.
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
from l3spot.backbones.pretrained.name_maps import Weights
from mtl.host import launch, workdir
from mtl.host.errors import DataError

# torchvision's: the name ends with how the file's SHA-256 starts.
NAMED = re.compile(r".*-([0-9a-f]{8,64})\.pth")
HDF5 = b"\x89HDF\r\n\x1a\n"
PICKLE = b"\x80"


def convert(
    backbone: str, path: str | Path, out: str | Path, classifier: bool = False
) -> Pretrained:
    """Reads weights, writes them to `out` and returns them.

    Args:
      backbone: one of `backbones.PRETRAINED`.
      path: the weights.
      out: the safetensors file that is made.
      classifier: keep the dense layers too.

    Raises:
      DataError: the file is broken, cut off, or of another network.
      WorkdirError: `out` cannot be written.
    """
    path, out = Path(path), Path(out)
    workdir.check_apart(out, path, "weights")
    digest = checksum(path)
    b, source = backbones.make(backbone), read(path)
    params = name_maps.arrange(b, source, classifier)
    made = Pretrained(backbone, params, source.normalisation(b))
    converted.save(out, made, {"source": path.name, "sha256": digest})
    return made


def checksum(path: Path) -> str:
    """The SHA-256 of a file, which its name may start to tell.

    Raises:
      DataError: there is no such file, or the name tells another one.
    """
    try:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as e:
        raise DataError(f"cannot read {path}: {e.strerror}") from e
    named = NAMED.fullmatch(path.name)
    if named and not digest.startswith(named[1]):
        raise DataError(
            f"{path}: its SHA-256 starts with {digest[: len(named[1])]}, not with what "
            "its name says; it is cut off or was changed: download it again"
        )
    return digest


def read(path: Path) -> Weights:
    """The arrays of a file, of whatever kind it is.

    Raises:
      DataError: it is of none that is known, or broken.
    """
    with open(path, "rb") as stream:
        start = stream.read(9)
    if start.startswith(HDF5):
        return Weights(path, keras_file.read(path), keras=True)
    if start.startswith((torch_file.ZIP, PICKLE)):
        return Weights(path, torch_file.read(path), keras=False)
    if start.endswith(b"{"):
        return Weights(path, safetensors_file.tensors(path)[0], keras=False)
    raise DataError(f"{path} is no .pth, no safetensors and no .h5")


def launcher(arguments: Sequence[str]) -> str:
    """Converts as the flags say; returns what was left where, in words."""
    launch.no_more(arguments)
    args = flags.FLAGS
    made = convert(args.backbone, args.weights, args.out, args.classifier)
    count = sum(x.size for x in jax.tree.leaves(made.params))
    n = made.normalisation
    return (
        f"{made.backbone}, {count:,} parameters, in {args.out}\n"
        f"input: {n.channels}, white {n.white:g}, mean {n.mean}, deviation {n.std}"
    )


def define_flags() -> None:
    """The flags of the launcher."""
    flags.DEFINE_enum("backbone", None, backbones.PRETRAINED, "Whose weights they are.")
    flags.DEFINE_string("weights", None, "A .pth, .safetensors or .h5 file.")
    flags.DEFINE_string("out", None, "The safetensors file that is made.")
    flags.DEFINE_bool("classifier", False, "Keep the dense layers too.")


if __name__ == "__main__":
    define_flags()
    launch.launch(launcher, "backbone", "weights", "out")
