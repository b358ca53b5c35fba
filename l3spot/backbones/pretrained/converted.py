"""Backbones with weights, as `l3spot.convert` leaves them."""

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
    """A backbone by its name, its parameters, float32, and what its input must be.

    The parameters have the dense layers too where these were kept.
    """

    backbone: str
    params: Params
    normalisation: Normalisation


def save(path: Path, found: Pretrained, source: dict[str, str]) -> None:
    """Writes aside, then renames; `source` goes into the metadata.

    Raises:
      WorkdirError: the file cannot be written.
    """
    metadata = {
        "backbone": found.backbone,
        "normalisation": found.normalisation.to_json(),
        **source,
    }
    safetensors_file.save(path, KIND, found.params, metadata)


def load(path: str | Path) -> Pretrained:
    """What `save` wrote.

    Raises:
      DataError: there is no such file, it is broken, or of another kind.
    """
    params, metadata = safetensors_file.load(Path(path), KIND)
    name = metadata.get("backbone", "")
    if name not in backbones.PRETRAINED:
        raise DataError(f"{path} is for {name!r}, a backbone that is not known")
    try:
        given = normalisation.from_json(metadata.get("normalisation", ""))
    except ValueError as e:
        raise DataError(f"{path} says nothing of its input; convert again") from e
    found = {k: v.shape for k, v in flatten(params).items()}
    b = backbones.make(name)
    if not any(
        found == {k: v.shape for k, v in b.shapes(whole).items()}
        for whole in (False, True)
    ):
        raise DataError(f"{path} has not the layers of {name}; convert again")
    return Pretrained(name, params, given)
