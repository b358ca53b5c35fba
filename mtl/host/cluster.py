"""The place of this process among those of one training, from flags or a queue.

JAX finds Slurm, TPUs, Open MPI 4, and Kubernetes with the package `kubernetes`. Added
here are an indexed Job of Kubernetes without that package, Open MPI 5, and the GPUs of
a process: left to itself, JAX gives each process of Slurm and Open MPI one GPU.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from absl import flags

from mtl.host import launch, processes
from mtl.host.errors import ConfigError

NONE, AUTO = "none", "auto"
# For each argument of `jax.distributed.initialize`: its flag, and the variables that
# stand in for the flag. The first that is set counts.
SOURCES = {
    "coordinator_address": ("coordinator", ("JAX_COORDINATOR_ADDRESS",)),
    "num_processes": ("num_processes", ("JAX_NUM_PROCESSES", "OMPI_COMM_WORLD_SIZE")),
    "process_id": (
        "process_id",
        ("JAX_PROCESS_ID", "JOB_COMPLETION_INDEX", "OMPI_COMM_WORLD_RANK"),
    ),
}
SLURM = (  # What JAX needs, and srun sets.
    *("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID"),
    "SLURM_LOCALID",
)


class Local(NamedTuple):
    """The processes of this host: their number, and which one this is."""

    total: int
    number: int


def on_hosts(work: Callable[[Sequence[str]], str]) -> Callable[[Sequence[str]], str]:
    """The work of `launch.launch`, done by several processes if flags or queue say so.

    It defines the flags. Only process 0 returns a text to print.
    """
    define_flags(flags.FLAGS)

    def together(arguments: Sequence[str]) -> str:
        connect(flags.FLAGS)
        with processes.ending_together(launch.ending):
            text = work(arguments)
        return text if processes.is_first() else ""

    return together


def define_flags(into: flags.FlagValues) -> None:
    """Defines the flags that `connect` reads."""
    flags.DEFINE_enum(
        "hosts",
        NONE,
        [NONE, AUTO],
        "auto: this is one of the processes of a training, started by Slurm, Open MPI, "
        "Kubernetes or on a TPU; where there is no such queue, it is the only one.",
        flag_values=into,
    )
    for define, name, about in (
        (flags.DEFINE_string, "coordinator", "HOST:PORT of process 0."),
        (flags.DEFINE_integer, "num_processes", "The number of processes."),
        (flags.DEFINE_integer, "process_id", "Which of them this is, from 0."),
    ):
        about += " Needed where no queue says so; sets --hosts=auto."
        define(name, None, about, flag_values=into)
    flags.DEFINE_list(
        "local_devices",
        None,
        "GPUs of this process, such as 0,1, among those that it sees; or all. The "
        "default shares them evenly among the processes of a host.",
        flag_values=into,
    )


def connect(args: flags.FlagValues) -> None:
    """Connects this process with the others, if flags or queue name any.

    Args:
      args: the flags of `define_flags`.

    Raises:
      ConfigError: a flag or variable is missing or wrong, or the others do not answer.
    """
    given = {name: _given(name, args, os.environ) for name in SOURCES}
    by_flag = any(args[flag].value is not None for flag, _ in SOURCES.values())
    if args.hosts == NONE and not by_flag:
        return
    _check(given, os.environ)
    devices = _local_devices(args.local_devices, os.environ)
    # Its handler of SIGTERM would replace that of `preemption`.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(**given, local_device_ids=devices)
    except (ValueError, KeyError, RuntimeError) as e:
        missing = [name for name, value in given.items() if value is None]
        if len(missing) == len(SOURCES) and "coordinator_address" in str(e):
            return  # There is no queue: this is the only process.
        names = ", ".join(f"--{SOURCES[name][0]}" for name in missing)
        fix = f"give {names}, or the variables in docs/scaling.md" if names else ""
        raise ConfigError(
            f"the processes of this training do not find each other ({e}); "
            + (fix or f"does process 0 run at {given['coordinator_address']}?")
        ) from e


def gpus(environ: Mapping[str, str], local: Local | None) -> list[int] | None:
    """The GPUs of this process, counted among those that it sees.

    Slurm shows all GPUs of a node to each of its tasks, or, with --gpus-per-task or
    --gpu-bind, each task its own. The first are shared evenly here. Where no variable
    names them, each process has one, as JAX has it.

    Args:
      environ: the environment.
      local: the processes of this host; None where no queue says.

    Returns:
      Their numbers. An empty list is all GPUs, and None is JAX's choice.

    Raises:
      ConfigError: the processes do not divide the GPUs.
    """
    if local is None:
        return None
    seen = [x for x in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if x]
    if local.total == 1:
        return []
    if not seen:
        return [local.number]
    own = len(seen) < int(environ.get("SLURM_GPUS_ON_NODE", len(seen)))
    if own or "SLURM_GPUS_PER_TASK" in environ:
        return []
    share, rest = divmod(len(seen), local.total)
    if rest:
        raise ConfigError(
            f"{local.total} processes of this host see {len(seen)} GPUs, which they "
            "cannot share evenly; start another number, or give --local_devices"
        )
    return list(range(local.number * share, (local.number + 1) * share))


def local_processes(environ: Mapping[str, str]) -> Local | None:
    """The processes on this host, as Slurm or Open MPI counts them; None without."""
    if "OMPI_COMM_WORLD_LOCAL_RANK" in environ:
        names = "OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"
        return Local(*(_integer(name, environ[name]) for name in names))
    slurm = "SLURM_STEP_TASKS_PER_NODE", "SLURM_NODEID", "SLURM_LOCALID"
    if not all(name in environ for name in slurm):
        return None
    counts: list[int] = []
    for count, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", environ[slurm[0]]):
        counts += [int(count)] * int(times or 1)  # Such as "4(x2),3".
    node, local = (_integer(name, environ[name]) for name in slurm[1:])
    return Local(counts[node], local)


def _given(name: str, args: flags.FlagValues, environ: Mapping[str, str]) -> Any:
    """The value of a flag, or of the first variable that is set; None without."""
    flag, variables = SOURCES[name]
    value = args[flag].value
    for variable in variables:
        if value is None and variable in environ:
            value = environ[variable]
            if name != "coordinator_address":
                value = _integer(variable, value)
    return value


def _integer(name: str, value: str) -> int:
    if not value.isdigit():
        raise ConfigError(f"the variable {name}={value!r} must be a number from 0")
    return int(value)


def _check(given: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    address, count, number = given.values()
    if address is not None and not re.fullmatch(r".+:\d+", address):
        raise ConfigError(f"--coordinator={address} must be HOST:PORT of process 0")
    if count is not None and number is not None and not 0 <= number < count:
        raise ConfigError(
            f"--process_id={number} must be from 0 to {count - 1}, for "
            f"--num_processes={count}"
        )
    missing = [name for name in SLURM if name not in environ]
    if None in given.values() and missing and environ.get("SLURM_NTASKS", "1") != "1":
        raise ConfigError(
            f"Slurm has {environ['SLURM_NTASKS']} tasks, but {', '.join(missing)} is "
            "not set; start the program with srun, and a container with all SLURM_*"
        )


def _local_devices(
    flag: list[str] | None, environ: Mapping[str, str]
) -> list[int] | None:
    if flag == ["all"]:
        return []
    if flag is not None:
        if not all(number.isdigit() for number in flag):
            raise ConfigError(f"--local_devices={','.join(flag)} must be as in 0,1")
        return [int(number) for number in flag]
    # JAX reads this variable itself, but only if the argument is None.
    if "JAX_LOCAL_DEVICE_IDS" in environ or environ.get("JAX_PLATFORMS") == "cpu":
        return None
    return gpus(environ, local_processes(environ))
