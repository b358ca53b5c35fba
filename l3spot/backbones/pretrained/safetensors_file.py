"""Reads and writes parameters as safetensors, with names joined by "/"."""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from mtl.engine.task import Params, flatten, unflatten
from mtl.host import workdir
from mtl.host.errors import DataError

# What a file of each kind holds, and what takes it.
CONTENTS = {
    "backbone": "a backbone (for --config.model.weights_file)",
    "l3spot model": "a model of the frontal projection (for --checkpoint)",
    "l3spot vertebrae": "a model of the vertebrae (for --vertebrae_checkpoint)",
}


def save(path: Path, kind: str, params: Params, metadata: dict[str, str]) -> None:
    """Writes a file atomically; `kind` is stored for `load`.

    Raises:
      WorkdirError: the file cannot be written.
    """
    # Safetensors ignores the strides of an array.
    flat = {k: np.asarray(v, order="C") for k, v in flatten(params).items()}
    content = to_bytes(flat, {**metadata, "kind": kind})
    workdir.write_bytes(path, _with_sorted_metadata(content))


def _with_sorted_metadata(content: bytes) -> bytes:
    """Sorts the metadata of a file, which safetensors writes in a random order."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # Arrays are aligned.
    return len(text).to_bytes(8, "little") + text + content[end:]


def load(path: Path, kind: str) -> tuple[Params, dict[str, str]]:
    """Returns parameters and metadata of a file of the given kind.

    Raises:
      DataError: the file is missing, broken or of another kind.
    """
    arrays, metadata = tensors(path)
    stored_kind = metadata.get("kind")
    if stored_kind != kind:
        content = CONTENTS.get(str(stored_kind), "something else")
        raise DataError(f"{path} holds {content}, not {CONTENTS[kind]}")
    try:
        flat: Params = {**arrays}
        return unflatten(flat), metadata
    except IndexError as e:
        raise DataError(f"{path} has one array name that is a prefix of another") from e


def tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns arrays and metadata of any safetensors file.

    Raises:
      DataError: the file is missing or broken.
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
