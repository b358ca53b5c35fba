"""The part of a list of scans or runs that one of several machines works on."""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from absl import flags

from mtl.host import workdir
from mtl.host.errors import ConfigError

flags.disclaim_key_flags()  # --shard is a flag of the launcher that defines it.

T = TypeVar("T")

# Variables that a queue sets for the tasks of an array: this task's number, the first
# task's number, and how many tasks there are. Kubernetes does not give the last.
SLURM = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT")
KUBERNETES = "JOB_COMPLETION_INDEX"
AUTO = "auto"
LOCK = ".lock-{}-of-{}"  # The file that a shard's process locks.


class Shard(NamedTuple):
    """A part of a list.

    Attributes:
      number: of the part, from 1.
      total: the number of parts.
    """

    number: int = 1
    total: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def select(self, items: Sequence[T]) -> list[T]:
        """Returns this part of a sorted list: each `total`-th item."""
        return list(items[self.number - 1 :: self.total])


WHOLE = Shard()


def define_flag(items: str) -> None:
    """Defines --shard of a launcher that works on a list of these items."""
    flags.DEFINE_string(
        "shard",
        "",
        f"The part of the {items}, such as 2/8; auto asks the queue (Slurm array), as "
        "auto/8 does (indexed job of Kubernetes, or Slurm array of 8 tasks).",
    )


def parse(text: str) -> Shard:
    """Reads a shard, such as 2/8; "" is the whole, "auto" asks the queue.

    With "auto/8", the queue gives the number alone: of an indexed job of Kubernetes, or
    of a Slurm array of 8 tasks.

    Raises:
      ConfigError: it is none, or no queue says which; or the Slurm array has another
        number of tasks.
    """
    if not text:
        return WHOLE
    number, _, count = text.partition("/")
    if number == AUTO:
        return _from_queue(count)
    if not re.fullmatch(r"[0-9]+/[0-9]+", text) or not 1 <= int(number) <= int(count):
        raise ConfigError(
            f"--shard={text} must be a part of a whole, such as 1/8 to 8/8, or auto"
        )
    return Shard(int(number), int(count))


@contextlib.contextmanager
def lock(out: Path, shard: Shard, doing: str) -> Iterator[None]:
    """Keeps other processes from the items of a shard.

    Shards of another whole, such as 1/2 and 1/3, have items in common.

    Args:
      out: the folder of the results.
      shard: of this process.
      doing: what a process does, for the message, such as "finding vertebrae".

    Raises:
      WorkdirError: another process works on this shard, or on one of another whole.
    """
    with contextlib.ExitStack() as held:
        with workdir.lock(out, wait=True):  # One process at a time tries these locks.
            own = LOCK.format(*shard)
            held.enter_context(_locked(out, own, doing))
            for path in out.glob(LOCK.format("*", "*")):
                if not path.name.endswith(f"-of-{shard.total}"):
                    with _locked(out, path.name, doing):
                        pass
        yield


def _locked(
    out: Path, name: str, doing: str
) -> contextlib.AbstractContextManager[None]:
    number, total = re.findall("[0-9]+", name)
    return workdir.lock(out, name, f"{doing} of the part {number}/{total} in")


def _from_queue(count: str) -> Shard:
    task, first, total = (os.environ.get(name, "") for name in SLURM)
    if not task:
        task, first, total = os.environ.get(KUBERNETES, ""), "0", count
    if not all(part.isdecimal() for part in (task, first, total)):
        raise ConfigError(
            f"--shard=auto needs {SLURM[0]} and {SLURM[2]}, or {KUBERNETES} and the "
            "number of shards, such as --shard=auto/8; or give the shard, such as 1/8"
        )
    if count and count != total:
        # The first task of a part of an array, such as --array=5,9, is not part 1.
        raise ConfigError(
            f"--shard=auto/{count} needs a Slurm array of {count} tasks, and this one "
            f"has {total}; submit the whole array, or name the part, such as "
            f"--shard=1/{count}"
        )
    shard = Shard(int(task) - int(first) + 1, int(total))
    if not 1 <= shard.number <= shard.total:
        raise ConfigError(f"the queue's task {task} is not one of {total} shards")
    return shard
