"""Flags of a launcher that take an address such as gs://bucket/run."""

from collections.abc import Callable, Iterator, Sequence

from absl import flags
from ml_collections import ConfigDict

from mtl.host import fields, remote, remote_store, shards
from mtl.host.errors import ConfigError

flags.disclaim_key_flags()  # They are flags of the launcher that defines them.

# Fields that take an address, of all configs that have them.
FIELDS = ("config.init_from", "config.data.path")


class _Parser(flags.ArgumentParser):
    """Marks the flags that take an address."""


def define(name: str, default: str | None, about: str) -> None:
    """Defines a flag of a file or folder, which may be an address."""
    text = f"{about} An address such as gs://bucket/NAME is possible."
    flags.DEFINE(_Parser(), name, default, text)


def define_workdir(about: str) -> None:
    """Defines --workdir; `about` is what the folder holds."""
    define("workdir", None, about)


def check() -> None:
    """Checks all addresses among the flags, before any work.

    Raises:
      ConfigError: a flag or a field of the config takes local files alone.
      WorkdirError: an address cannot be opened; says what to install.
    """
    for name, value, allowed in _given():
        if not remote_store.is_address(value):
            continue
        if not allowed:
            raise ConfigError(
                f"--{name}={value} must be a file or folder of this machine, not an "
                "address; copy it, or mount the bucket (docs/scaling.md)"
            )
        remote_store.open_store(value)


def in_workdir(work: Callable[[Sequence[str]], str]) -> Callable[[Sequence[str]], str]:
    """The work of `launch.launch`, in a local copy of --workdir if it is an address.

    --shard and --report, where the launcher has them, say which part of the folder is
    worked on, and whether anything is.
    """

    def in_local_folder(arguments: Sequence[str]) -> str:
        args = flags.FLAGS
        address, shard = args.workdir, shards.parse(getattr(args, "shard", ""))
        reads = getattr(args, "report", False) or getattr(args, "merge", False)
        with remote.local_folder(address, None if reads else shard) as folder:
            args["workdir"].value = str(folder)
            return work(arguments).replace(str(folder), address)

    return in_local_folder


def _given() -> Iterator[tuple[str, str, bool]]:
    """The name and value of each text, and whether it may be an address."""
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        values = {name: flag.value}
        if isinstance(flag.value, ConfigDict):
            values = {f"{name}.{k}": v for k, v in fields.leaves(flag.value)}
        for full_name, value in values.items():
            allowed = isinstance(flag.parser, _Parser) or full_name in FIELDS
            for text in value if isinstance(value, list | tuple) else [value]:
                if isinstance(text, str):
                    yield full_name, text, allowed
