"""Parameters as safetensors: names joined by "/", and what they are in the metadata."""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from mtl.engine.task import Params, flatten, unflatten
from mtl.host import workdir
from mtl.host.errors import DataError


def save(path: Path, kind: str, params: Params, metadata: dict[str, str]) -> None:
    """Writes aside, then renames. `kind` says what `load` must ask for.

    Raises:
      WorkdirError: the file cannot be written.
    """
    # Safetensors writes an array's memory as it lies.
    flat = {k: np.asarray(v, order="C") for k, v in flatten(params).items()}
    workdir.write_bytes(path, to_bytes(flat, {**metadata, "kind": kind}))


def load(path: Path, kind: str) -> tuple[Params, dict[str, str]]:
    """Parameters and metadata of a file of this kind.

    Raises:
      DataError: there is no such file, it is broken, or of another kind.
    """
    flat, metadata = tensors(path)
    found = metadata.get("kind")
    if found != kind:
        has = f"a {found}" if found else "something else"
        raise DataError(f"{path} holds {has}, not a {kind} of l3spot")
    try:
        return unflatten(flat), metadata
    except IndexError as e:
        raise DataError(f"{path} has names within names of arrays") from e


def tensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Arrays and metadata of any safetensors file.

    Raises:
      DataError: there is no such file, or it is broken.
    """
    try:
        with safe_open(path, framework="np") as stream:
            names = stream.keys()
            arrays = {name: stream.get_tensor(name) for name in names}
            return arrays, stream.metadata() or {}
    except FileNotFoundError as e:
        raise DataError(f"there is no file {path}") from e
    except (SafetensorError, TypeError, OSError) as e:
        raise DataError(f"{path} is no whole safetensors file ({e})") from e
