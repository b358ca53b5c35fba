"""Starts one launcher in several processes on this machine, as on several hosts."""

import os
import re
import socket
import subprocess
import sys

from tests.conftest import ROOT

# Gloo reports each connection on standard output, as the launchers do theirs: "[Gloo]
# Rank 0 is connected to 3 peer ranks. Expected number of connected peer ranks is : 3".
# Several threads write at the same time, so the parts of some sentences are mixed.
GLOO = (
    *("[Gloo] Rank ", " is connected to ", " peer ranks. "),
    *("Expected number of connected peer ranks is : ", "\n"),
)
GLOO_DIGITS = 3  # Of a sentence; ranks are below 10.
GLOO_PART = re.compile("|".join((*map(re.escape, GLOO), r"\d")))


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
    """Waits for the processes; returns their exit statuses and outputs.

    Outputs are without Gloo's sentences.
    """
    try:
        texts = [p.communicate(timeout=timeout_s)[0] for p in processes]
        return [p.returncode for p in processes], list(map(without_gloo, texts))
    finally:
        for p in processes:
            p.kill()


def without_gloo(text):
    """The text without Gloo's sentences; all that is not exactly theirs stays."""
    kept, start = "", text.find(GLOO[0])
    while start >= 0:
        kept += text[:start]
        end = _end_of_gloo(text, start)
        kept += "" if end else text[start : start + 1]
        text = text[end or start + 1 :]
        start = text.find(GLOO[0])
    return kept + text


def _end_of_gloo(text, start):
    """The place where as many whole sentences end as began; 0 if they do not."""
    counts, end = dict.fromkeys(GLOO, 0), start
    digits = 0
    while part := GLOO_PART.match(text, end):
        end = part.end()
        if part[0] in counts:
            counts[part[0]] += 1
        else:
            digits += 1
        begun = counts[GLOO[0]]
        if set(counts.values()) == {begun} and digits == GLOO_DIGITS * begun:
            return end
    return 0


def free_port():
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]
