"""Peak memory of two processes that train on one large .npz, whole and split.

    python -m benchmarks.one_file [--rows 320000] [--kinds split]

Writes random images of MNIST's size, float32, into one .npz in a temporary folder (3136
bytes a row, so 1.0 GB), and removes it at the end. Then `mtl.main` trains NN1 of system
1 on it for two epochs in two processes with one CPU device each, with gloo. "whole" has
all rows on each device, "split" has `config.shard_data`. "compressed" is split data of
an .npz that `numpy.savez_compressed` wrote. The peak is `ru_maxrss` of each process.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks import measure
from mtl.host import launch
from mtl.host.errors import Error

PIXELS = 784
LABELLED = 1000
PROCESSES = 2
KINDS = {"whole": (np.savez, False), "split": (np.savez, True)} | {
    "compressed": (np.savez_compressed, True)
}


def write_npz(path: Path, rows: int, save: Callable[..., None]) -> None:
    """Writes random images in [0, 1]; the first rows have labels."""
    rng = np.random.default_rng(0)
    x = rng.random((rows, PIXELS), np.float32)
    y = np.where(np.arange(rows) < LABELLED, np.arange(rows) % 10, -1)
    few = {"x_test": x[:100], "y_test": y[:100]}
    save(path, x_train=x, y_train=y, x_valid=x[:100], y_valid=y[:100], **few)


def peaks_mib(path: Path, folder: Path, shard_data: bool) -> list[int]:
    """Trains in two processes; returns the peak memory of each."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    command = [
        *(sys.executable, "-m", "mtl.main", "--config=digits:smoke"),
        *(f"--workdir={folder}", "--config.data.source=npz", "--config.epochs=2"),
        *("--config.optim.decay_epochs=2", "--config.eval_every=2"),
        *(f"--config.data.path={path}", f"--config.shard_data={shard_data}"),
        *(f"--coordinator=localhost:{port}", f"--num_processes={PROCESSES}"),
    ]
    environ = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
    }
    processes = [
        subprocess.Popen(
            [*command, f"--process_id={i}"], env=environ, stdout=subprocess.DEVNULL
        )
        for i in range(PROCESSES)
    ]
    found = []
    for p in processes:
        _, status, usage = os.wait4(p.pid, 0)
        if status:
            code = os.waitstatus_to_exitcode(status)
            raise Error(f"a training ended with status {code}; see its error above")
        found.append(usage.ru_maxrss // 1024)
    return found


def work(arguments: Sequence[str]) -> str:
    """Measures from command-line flags; returns the figures as JSON."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    found: dict[str, object] = {"machine": measure.machine(None, ("jax", "numpy"))}
    found["MiB of the images"] = args.rows * PIXELS * 4 // 2**20
    written = None
    with tempfile.TemporaryDirectory(prefix="one-file-", dir=args.folder) as folder:
        path = Path(folder) / "images.npz"
        for name in args.kinds:
            save, shard_data = KINDS[name]
            if save is not written:
                write_npz(path, args.rows, save)
                written = save
            found[name] = peaks_mib(path, Path(folder) / name, shard_data)
    measure.write(found)
    return json.dumps(found, indent=2)


if __name__ == "__main__":
    flags.DEFINE_integer("rows", 320_000, "The number of images.", LABELLED)
    flags.DEFINE_multi_enum("kinds", list(KINDS), list(KINDS), "What is measured.")
    flags.DEFINE_string("folder", tempfile.gettempdir(), "Gets the temporary folder.")
    measure.define_out()
    launch.launch(work)
