"""Saves a checkpoint in the background, with several processes, for the tests.

    python -m tests.mtl.host.saving_on_hosts --workdir X [--dies]

The save is held back until all processes have computed together, or one has died.
"""

import os
import signal
import threading
from pathlib import Path

import numpy as np
from absl import flags

from mtl.host import cluster, launch, processes
from mtl.host.checkpoint import Checkpoints


def held_back(saved):
    """The event that lets the save of a process end."""
    event, manager = threading.Event(), saved._manager
    wait = manager._wait_for_checkpointers
    manager._wait_for_checkpointers = lambda: (event.wait(60), wait())
    return event


def work(_):
    folder = Path(flags.FLAGS.workdir) / "last"
    with Checkpoints(folder) as saved:
        event = held_back(saved)
        saved.save(1, {"a": np.arange(3.0)})
        busy = saved._manager.is_saving_in_progress()
        assert busy == processes.is_first()
        assert processes.any_of_all(busy) == (True,)
        if flags.FLAGS.dies and not processes.is_first():
            os.kill(os.getpid(), signal.SIGKILL)
        event.set()
        if not flags.FLAGS.dies:
            saved.wait()
            assert (folder / "1").is_dir()
            restored = saved.restore({"a": np.zeros(3)})
            np.testing.assert_array_equal(restored["a"], np.arange(3.0))
    processes.any_of_all(True)  # Fails at once if process 1 has died.
    return "saved"


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "The folder.")
    flags.DEFINE_bool("dies", False, "Whether process 1 dies during the save.")
    launch.launch(cluster.on_hosts(work), "workdir")
