"""Starts one launcher in several processes on this machine, as on several hosts."""

import os
import re
import socket
import subprocess
import sys

from tests.conftest import ROOT


def start(module, count, *arguments, devices=1, environ=None, own=None):
    """Starts `python -m module` in `count` processes, with some CPU devices each.

    Args:
      module: the launcher.
      count: of the processes.
      arguments: of all processes.
      devices: of each process.
      environ: variables of all processes.
      own: `number -> arguments`, of one process.

    Returns:
      The processes; standard output and error are in one pipe.
    """
    place = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
    }
    place |= environ or {}
    shared = ()
    if count > 1:
        shared = f"--coordinator=localhost:{free_port()}", f"--num_processes={count}"
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-u", "-m", module, *map(str, arguments), *shared),
                *([f"--process_id={number}"] if count > 1 else []),
                *(own(number) if own else []),
            ],
            cwd=ROOT,
            env=place,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(count)
    ]


def finish(processes, timeout_s=600):
    """Waits for the processes; returns their exit statuses and outputs."""
    try:
        texts = [p.communicate(timeout=timeout_s)[0] for p in processes]
        # Gloo reports each connection.
        said = [re.sub(r"(?m)^\[Gloo\].*\n", "", text) for text in texts]
        return [p.returncode for p in processes], said
    finally:
        for p in processes:
            p.kill()


def free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]
