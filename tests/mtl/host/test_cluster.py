"""The place of a process among the others, from flags and variables.

Slurm, Open MPI and Kubernetes are their variables here. JAX's own detection runs.
"""

import os

import jax
import pytest
from absl import flags
from jax._src.clusters import ClusterEnv

from mtl.host import cluster
from mtl.host.cluster import Local
from mtl.host.errors import ConfigError

SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_NODELIST": "node[07-08]",
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
}
SLURM_PORT = 4711 % 2**12 + 2**16 - 2**12  # JAX makes it of the job's number.
ONE_TASK_A_NODE = SLURM | {
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
}
OPEN_MPI_5 = {  # It lacks OMPI_MCA_orte_hnp_uri, which JAX looks for.
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}
OPEN_MPI_4 = OPEN_MPI_5 | {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.0.0.1:349"}
KUBERNETES = {
    "JAX_COORDINATOR_ADDRESS": "train-0.train:8476",
    "JAX_NUM_PROCESSES": "3",
    "JOB_COMPLETION_INDEX": "2",
}
VARIABLES = ("SLURM_", "OMPI_", "JAX_", "JOB_", "CUDA_", "KUBERNETES_")


@pytest.fixture
def place(monkeypatch):
    """`(variables, *flags) -> (address, processes, number, GPUs)`; None if alone."""
    found = []

    def initialize(coordinator_address, num_processes, process_id, local_device_ids):
        given = coordinator_address, num_processes, process_id, local_device_ids
        given = ClusterEnv.auto_detect_unset_distributed_params(*given, None, 1)
        if given[0] is None:
            raise ValueError("coordinator_address should be defined.")
        if None in given[:3]:
            raise ValueError("Number of processes must be defined.")
        found.append(given)

    def connect(variables, *arguments):
        for name in list(os.environ):
            if name.startswith(VARIABLES):
                monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        own = flags.FlagValues()
        cluster.define_flags(own)
        own(["program", *arguments])
        cluster.connect(own)
        return found.pop() if found else None

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    return connect


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (SLURM, (f"node07:{SLURM_PORT}", 8, 5, [1])),
        (ONE_TASK_A_NODE, (f"node07:{SLURM_PORT}", 2, 1, [])),
        (OPEN_MPI_4, ("10.0.0.1:62624", 4, 3, [1])),
        (KUBERNETES, ("train-0.train:8476", 3, 2, None)),
        (
            KUBERNETES | {"JAX_PROCESS_ID": "1", "JAX_LOCAL_DEVICE_IDS": "3"},
            ("train-0.train:8476", 3, 1, None),
        ),
        ({}, None),
    ],
)
def test_auto_takes_the_place_that_the_queue_gives(place, variables, expected):
    assert place(variables, "--hosts=auto") == expected


def test_without_flags_a_queue_is_not_asked(place):
    assert place(SLURM) is None


def test_flags_say_it_without_a_queue(place):
    said = "--coordinator=host:99", "--num_processes=2", "--process_id=1"
    assert place({}, *said) == ("host:99", 2, 1, None)
    assert place({}, *said, "--local_devices=2,3") == ("host:99", 2, 1, [2, 3])
    assert place(SLURM, *said, "--local_devices=all") == ("host:99", 2, 1, [])


def test_open_mpi_5_needs_the_coordinator_alone(place):
    assert place(OPEN_MPI_5, "--coordinator=a:9") == ("a:9", 4, 3, [1])


@pytest.mark.parametrize(
    ("variables", "arguments", "said"),
    [
        ({}, ["--coordinator=a:9"], "give --num_processes, --process_id, or"),
        (OPEN_MPI_5, ["--hosts=auto"], "give --coordinator, or the variables"),
        ({"JOB_COMPLETION_INDEX": "1"}, ["--hosts=auto"], "give --coordinator, --num_"),
        ({}, ["--coordinator=a"], "--coordinator=a must be HOST:PORT"),
        (KUBERNETES, ["--process_id=3"], "--process_id=3 must be from 0 to 2"),
        (
            KUBERNETES | {"JAX_NUM_PROCESSES": "two"},
            ["--hosts=auto"],
            "variable JAX_NUM_PROCESSES='two' must be a number",
        ),
        (KUBERNETES, ["--hosts=auto", "--local_devices=a"], "--local_devices=a must"),
        (
            {k: v for k, v in SLURM.items() if k != "SLURM_STEP_NODELIST"},
            ["--hosts=auto"],
            "8 tasks, but SLURM_STEP_NODELIST is not set; start the program with srun",
        ),
        (
            SLURM | {"CUDA_VISIBLE_DEVICES": "0,1,2", "SLURM_GPUS_ON_NODE": "3"},
            ["--hosts=auto"],
            "4 processes of this host see 3 GPUs, which they cannot share",
        ),
    ],
)
def test_what_is_half_or_wrong_is_refused(place, variables, arguments, said):
    with pytest.raises(ConfigError, match=said):
        place(variables, *arguments)


@pytest.mark.parametrize(
    ("local", "seen", "environ", "expected"),
    [
        (Local(1, 0), "0,1,2,3", {}, []),  # A task that drives all GPUs of a node.
        (Local(1, 0), None, {}, []),
        (Local(4, 3), "0,1,2,3", {"SLURM_GPUS_ON_NODE": "4"}, [3]),
        (Local(2, 1), "4,5,6,7", {"SLURM_GPUS_ON_NODE": "4"}, [2, 3]),
        # With --gpus-per-task each task sees its own, and counts from 0.
        (Local(4, 3), "3", {"SLURM_GPUS_ON_NODE": "4"}, []),
        (Local(2, 1), "0,1", {"SLURM_GPUS_ON_NODE": "4"}, []),
        (Local(2, 1), "0,1", {"SLURM_GPUS_PER_TASK": "2"}, []),
        (Local(4, 3), None, {}, [3]),
        (None, "0,1", {}, None),
    ],
)
def test_processes_of_a_host_share_its_gpus(local, seen, environ, expected):
    own = environ | ({"CUDA_VISIBLE_DEVICES": seen} if seen else {})
    assert cluster.gpus(own, local) == expected


def test_slurm_counts_the_tasks_of_each_node():
    counts = SLURM | {"SLURM_STEP_TASKS_PER_NODE": "4(x2),3,1(x2)"}
    found = [
        cluster.local_processes(counts | {"SLURM_NODEID": str(node)}).total
        for node in range(5)
    ]
    assert found == [4, 4, 3, 1, 1]
    assert cluster.local_processes({}) is None
