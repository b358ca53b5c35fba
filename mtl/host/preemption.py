"""Ends a training in order when its machine is taken away.

Batch queues and clouds send a signal some time before they kill a job: SIGTERM, or what
the job asked for (`sbatch --signal=USR1@120`). The training saves after the epoch at
hand, and ends with a status of its own, so that the queue can start it again.
"""

import signal
import threading
from types import FrameType
from typing import Any

from mtl.host.errors import PreemptedError

SIGNALS = signal.SIGTERM, signal.SIGUSR1


class Preemption:
    """Within `with`, notes the signals that announce the end.

    Only the main thread can; another one leaves them as they are. The second signal of
    a kind has its former effect.
    """

    def __init__(self) -> None:
        self._noted: str | None = None
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Preemption":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._former):
            self._restore(number)

    def __bool__(self) -> bool:
        """Whether a signal came."""
        return self._noted is not None

    def stop(self, epoch: int, epochs: int) -> None:
        """Ends the training, which has saved this epoch.

        Raises:
          PreemptedError: always.
        """
        name = self._noted or "a signal to another process"
        raise PreemptedError(
            f"stopped by {name} and saved after epoch {epoch} of {epochs}; the "
            "same command continues from there"
        )

    def _note(self, number: int, _: FrameType | None) -> None:
        self._noted = signal.Signals(number).name
        self._restore(signal.Signals(number))

    def _restore(self, number: signal.Signals) -> None:
        former = self._former.pop(number, None)
        signal.signal(number, signal.SIG_DFL if former is None else former)
