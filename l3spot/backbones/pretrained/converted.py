"""Reads and writes the files of `l3spot.convert`: backbones with parameters."""

from pathlib import Path
from typing import NamedTuple

from l3spot import backbones
from l3spot.backbones import normalisation
from l3spot.backbones.normalisation import Normalisation
from l3spot.backbones.pretrained import safetensors_file
from mtl.engine.task import Params, flatten
from mtl.host.errors import DataError

KIND = "backbone"


class Pretrained(NamedTuple):
    """A backbone with parameters.

    Attributes:
      backbone: its name.
      params: float32; those of the dense layers can be among them.
      normalisation: of the input.
    """

    backbone: str
    params: Params
    normalisation: Normalisation


def save(path: Path, pretrained: Pretrained, source: dict[str, str]) -> None:
    """Writes a file atomically; `source` is added to its metadata.

    Raises:
      WorkdirError: the file cannot be written.
    """
    metadata = {
        "backbone": pretrained.backbone,
        "normalisation": pretrained.normalisation.to_json(),
        **source,
    }
    safetensors_file.save(path, KIND, pretrained.params, metadata)


def load(path: str | Path) -> Pretrained:
    """Reads a file of `save`.

    Raises:
      DataError: the file is missing, broken or of another kind.
    """
    params, metadata = safetensors_file.load(Path(path), KIND)
    name = metadata.get("backbone", "")
    if name not in backbones.PRETRAINED:
        raise DataError(f"{path} is for {name!r}, which is no known backbone")
    try:
        input_normalisation = normalisation.from_json(metadata.get("normalisation", ""))
    except ValueError as e:
        raise DataError(f"{path} has no valid normalisation; convert again") from e
    shapes = {k: v.shape for k, v in flatten(params).items()}
    b = backbones.make(name)
    if not any(
        shapes == {k: v.shape for k, v in b.shapes(classifier).items()}
        for classifier in (False, True)
    ):
        raise DataError(f"{path} does not have the layers of {name}; convert again")
    return Pretrained(name, params, input_normalisation)
