"""A run's folder: its config, its environment, and atomic writes of files.

config.json         the whole config; a run with another config is refused
data.json           shape, classes, sizes and checksum of the data; others are refused
environment.json    versions and device
metrics.jsonl       a line an evaluation (`logs`); tensorboard/ has the same
checkpoints/        last (all the state) and best (the parameters)
summary.json        final metrics
.lock               keeps other processes from training here at the same time
"""

import contextlib
import csv
import io
import json
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import filelock
import numpy as np
from ml_collections import ConfigDict

from mtl.host import csv_text, environment, nested, processes, remote
from mtl.host.errors import WorkdirError

MOST_DIFFERENCES = 12  # In a message.
SHARED_S = 60.0  # Network file systems show a new file sooner than this.

Description: TypeAlias = Mapping[str, object]  # Of data, or of how files were made.


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically: a temporary file, then a rename.

    Of the processes of a training, only the first one writes.

    Raises:
      WorkdirError: the file cannot be written.
    """
    if not processes.is_first():
        return
    temporary = temporary_beside(path)
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as e:
        raise WorkdirError(f"cannot write {path}: {e.strerror}") from e
    finally:  # Also if the process is asked to end.
        with contextlib.suppress(OSError):
            temporary.unlink()


def temporary_beside(path: Path) -> Path:
    """Returns a hidden path beside another one, which no other process has."""
    # Processes in different containers may have the same process number.
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def write_text(path: Path, text: str) -> None:
    """Writes text atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: object) -> None:
    """Writes what `json` can encode atomically."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def write_npz(path: Path, **arrays: Any) -> None:
    """Writes named arrays as an .npz file atomically."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Writes CSV atomically; texts are no formulas in a spreadsheet.

    Names that are not UTF-8 keep their bytes.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([csv_text.protect(cell) for cell in row] for row in rows)
    write_bytes(path, stream.getvalue().encode(errors="surrogateescape"))


def cells(row: NamedTuple) -> dict[str, object]:
    """Returns the values of a row by column; "" instead of None, as in a CSV file."""
    return {k: "" if v is None else v for k, v in row._asdict().items()}


def make(folder: Path, name: str) -> None:
    """Makes a folder, unless it is there; `name` is what a message calls it.

    Of the processes of a training, only the first one does.

    Raises:
      WorkdirError: it cannot be made, or is an address such as gs://bucket/run.
    """
    if re.fullmatch(r"[a-z][a-z0-9+]+:", folder.parts[0] if folder.parts else ""):
        address = re.sub(r"(\w:)/", r"\1//", name, count=1)  # Path made one of two.
        raise WorkdirError(
            f"{address} is no folder of this machine; use a local copy "
            "(mtl.host.remote.local_folder), or mount the bucket (docs/scaling.md)"
        )
    if not processes.is_first():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as e:
        raise WorkdirError(f"cannot make {name}: it is a file; take another") from e
    except OSError as e:
        raise WorkdirError(f"cannot make {name}: {e.strerror}") from e


def check_apart(out: Path, source: Path, flag: str) -> None:
    """Refuses an --out within what is read.

    Raises:
      WorkdirError: it is, or lies in, the source, which `flag` gave.
    """
    root, there = source.resolve(), out.resolve()
    if root in (there, *there.parents):
        raise WorkdirError(
            f"--out={out} is, or lies in, --{flag}={source}; take another, so that "
            "nothing there is replaced"
        )


@processes.first_before_others()
def prepare(
    workdir: Path,
    config: ConfigDict,
    data: Description,
    free: Sequence[str] = (),
    default: ConfigDict | None = None,
    devices: int = 1,
) -> None:
    """Makes the folder and leaves config, description of the data, environment in it.

    With several processes, the first one does, and the others compare theirs with it.

    Args:
      workdir: the folder.
      config: of the run.
      data: describes the data, such as by a checksum.
      free: fields of the config that change no result, and so may differ.
      default: has the fields that a run of an earlier version lacks.
      devices: the number of devices that share the rows of a mini-batch.

    Raises:
      WorkdirError: the folder holds a run with another config, other data (the
        difference is in the message) or another JAX_ENABLE_X64, cannot be made, or is
        not the folder that process 0 sees.
    """
    make(workdir, f"the workdir {workdir}")
    if not processes.is_first():
        remote.bring(workdir)
        _wait_for(workdir / "environment.json")
    check_same(workdir, "config", config, free, default)
    check_same(workdir, "data", data)
    path, now = workdir / "environment.json", environment.describe(devices)
    if path.exists():
        environment.check(workdir, read_json(path), now)
    for name, new in {"config": _plain(config), "data": data}.items():
        file = workdir / f"{name}.json"
        if not file.exists() or read_json(file) != new:
            write_json(file, new)
    write_json(path, now)
    remote.push(workdir)


def check_same(
    workdir: Path,
    name: str,
    new: ConfigDict | Description,
    free: Sequence[str] = (),
    default: ConfigDict | None = None,
) -> None:
    """Compares with the folder's NAME.json, if there is one, without the free fields.

    What is absent there has the value of `default`, if one is given.

    Raises:
      WorkdirError: it is another one; the difference is in the message.
    """
    path = workdir / f"{name}.json"
    if path.exists():
        old = read_json(path)
        if default is not None:
            old = nested.filled(old, _plain(default))
        lines = nested.differences(old, _plain(new))
        others = [line for line in lines if line.split(":")[0] not in free]
        if others:
            more = len(others) - MOST_DIFFERENCES
            raise WorkdirError(
                f"{workdir} holds a run with another {name}; take another --workdir, "
                "or remove it to start afresh. The difference (there -> here):\n  "
                + "\n  ".join(others[:MOST_DIFFERENCES])
                + (f"\n  and {more} more" if more > 0 else "")
            )


def same(path: Path, how: Description, what: str) -> None:
    """Writes to a file how a folder is made; refuses a folder made in another way.

    Raises:
      WorkdirError: the file says otherwise; `what` is the folder in the message.
    """
    if path.exists():
        was = read_json(path)
        if was != how:
            raise WorkdirError(f"{what} was made with {was}, not {how}; take another")
    write_json(path, how)


@contextlib.contextmanager
def lock(
    folder: Path, name: str = ".lock", doing: str = "training in", wait: bool = False
) -> Iterator[None]:
    """Keeps other processes from a folder; a killed process holds no lock.

    Args:
      folder: the folder.
      name: of the lock's file.
      doing: what another process is doing, for the message.
      wait: whether to wait for the other process.

    Raises:
      WorkdirError: another process holds the lock.

    Of the processes of a training, only the first one takes the lock.
    """
    if not processes.is_first():
        yield
        return
    held = filelock.FileLock(folder / name)
    try:
        held.acquire(timeout=-1 if wait else 0)
    except filelock.Timeout as e:
        raise WorkdirError(f"another process is {doing} {folder}") from e
    except (OSError, NotImplementedError):
        pass  # Some network file systems have no locks.
    try:
        yield
    finally:
        held.release()


def load_config(workdir: Path) -> ConfigDict:
    """The config that a run was trained with.

    Raises:
      WorkdirError: there is none, or it is no JSON.
    """
    return ConfigDict(read_json(workdir / "config.json"))


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON file of a run.

    Raises:
      WorkdirError: there is no such file, or it is no JSON object.
    """
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError) as e:
        raise WorkdirError(
            f"{path.parent} holds no such run: there is no {path.name}"
        ) from e
    except (ValueError, RecursionError) as e:
        raise WorkdirError(f"{path} is not JSON: {e}") from e
    if not isinstance(content, dict):
        raise WorkdirError(f"{path} is damaged: it must hold fields, as {{...}}")
    return content


@contextlib.contextmanager
def damaged(path: Path) -> Iterator[None]:
    """Names the file if its fields are missing or of another type.

    Raises:
      WorkdirError: the work inside looks up a field that is missing, or converts one
        of another type.
    """
    try:
        yield
    except KeyError as e:
        raise WorkdirError(f"{path} is damaged: it lacks the field {e}") from e
    except (TypeError, ValueError) as e:
        raise WorkdirError(f"{path} is damaged: {e}") from e


def _wait_for(path: Path) -> None:
    """Waits for a file of process 0, which a network file system may show late."""
    end = time.monotonic() + SHARED_S
    while not path.exists():
        if time.monotonic() > end:
            raise WorkdirError(
                f"this process does not see {path}, which process 0 has written; the "
                "--workdir must be on a file system that all hosts share"
            )
        time.sleep(0.5)


def _plain(new: ConfigDict | Description) -> Description:
    return json.loads(new.to_json()) if isinstance(new, ConfigDict) else new
