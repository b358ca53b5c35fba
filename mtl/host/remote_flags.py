"""--workdir of a launcher: a folder, or an address such as gs://bucket/run."""

from collections.abc import Callable, Sequence

from absl import flags

from mtl.host import remote, shards

flags.disclaim_key_flags()  # --workdir is a flag of the launcher that defines it.


def define_workdir(about: str) -> None:
    """Defines --workdir; `about` is what the folder holds."""
    flags.DEFINE_string(
        "workdir", None, f"{about} A folder, or an address such as gs://bucket/run."
    )


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
