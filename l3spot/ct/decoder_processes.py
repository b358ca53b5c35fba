"""Decodes frames in separate processes, which may crash, hang or run out of memory.

Not pebble 5.2: its processes import the caller's main module. In `l3spot.predict`, the
first slice took 15 s instead of 0.5 s; in a script without a main guard, none decoded.
"""

import atexit
import contextlib
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, SimpleQueue

from l3spot.ct import decoders
from l3spot.ct.decoders import CompressedFrame, DecodedFrame
from mtl.host import launch

DECODER_PROGRAM = Path(decoders.__file__)
TIMEOUT_S = 60.0  # The decoder of a frame is killed after this time.

_idle_processes: "SimpleQueue[subprocess.Popen]" = SimpleQueue()
_process_slots = threading.Semaphore(launch.cores())


def decode(frame: CompressedFrame) -> DecodedFrame:
    """Decodes a frame in another process; safe to call from any thread.

    Processes are reused for later frames.

    Raises:
      ValueError: the frame cannot be decoded, or its decoder crashed or took too long.
    """
    with _process_slots:
        try:
            process = _idle_processes.get_nowait()
        except Empty:
            process = _start_process()
        try:
            answer = _request(process, frame)
        except BaseException:
            _stop_process(process)
            raise
        _idle_processes.put(process)
    if isinstance(answer, str):
        raise ValueError(answer)
    return DecodedFrame(*answer)


def _start_process() -> subprocess.Popen:
    pipe = subprocess.PIPE
    # -P keeps modules of this folder from replacing modules of Python.
    return subprocess.Popen(
        [sys.executable, "-P", DECODER_PROGRAM], stdin=pipe, stdout=pipe
    )


def _request(
    process: subprocess.Popen, frame: CompressedFrame
) -> str | tuple[bytes, int]:
    """Returns the fields of a DecodedFrame, or an error message."""
    assert process.stdin is not None
    assert process.stdout is not None
    timer = threading.Timer(TIMEOUT_S, process.kill)
    timer.start()
    try:
        pickle.dump(tuple(frame), process.stdin)
        process.stdin.flush()
        return pickle.load(process.stdout)
    except (EOFError, OSError, pickle.UnpicklingError) as e:
        raise ValueError("the decoder crashed on it, or took too long") from e
    finally:
        timer.cancel()


def _stop_process(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):  # Unsent data can no longer be sent.
                stream.close()


@atexit.register
def close() -> None:
    """Stops the idle processes."""
    while not _idle_processes.empty():
        _stop_process(_idle_processes.get())


def _reset_after_fork() -> None:
    """Drops the decoder processes in a forked process: they belong to its parent."""
    global _idle_processes, _process_slots
    _idle_processes = SimpleQueue()
    _process_slots = threading.Semaphore(launch.cores())


os.register_at_fork(after_in_child=_reset_after_fork)
