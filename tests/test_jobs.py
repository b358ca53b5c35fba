"""The job files do what they say, without their queues."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mtl.host import shards
from tests import hosts
from tests.conftest import ROOT
from tests.l3spot import runs

JOBS = ROOT / "jobs"


@pytest.fixture
def scans(tmp_path):
    for name in "abc":
        runs.scan(tmp_path / "scans" / name)
    return tmp_path / "scans"


def environment(**own):
    python = str(Path(sys.executable).parent)
    path = f"{python}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)} | own


@pytest.mark.slow
def test_the_tasks_of_a_slurm_array_find_l3_in_all_scans(scans, tmp_path):
    out = tmp_path / "out"
    for task in ("1", "2"):
        queue = dict(zip(shards.SLURM, (task, "1", "2"), strict=True))
        own = environment(SCANS=str(scans), RESULTS=str(out), **queue)
        script = ["bash", JOBS / "l3spot_slurm.sh"]
        subprocess.run(script, env=own, cwd=ROOT, check=True, timeout=600)
    assert list(runs.rows(out / "results.csv")) == ["a", "b", "c"]


@pytest.mark.slow
def test_the_tasks_of_a_slurm_array_train_a_study(tmp_path):
    for task in ("0", "1"):
        queue = dict(zip(shards.SLURM, (task, "0", "2"), strict=True))
        own = environment(CONFIG="table1:smoke", WORKDIR=str(tmp_path), **queue)
        script = ["bash", JOBS / "mtl_study_slurm.sh", "--config.epochs=20"]
        script += ["--config.study.labelled=(50,)", "--config.study.unlabelled=(200,)"]
        done = subprocess.run(
            script, env=own, cwd=ROOT, check=True, timeout=600, capture_output=True
        )
    total = 2 * (6 + 2)  # Seeds; the methods of both parts of the table.
    assert f"{total} of {total} runs are there" in done.stdout.decode()


@pytest.mark.parametrize("module", ["mtl.study", "structured.sweep"])
def test_a_slurm_array_trains_a_study_or_a_sweep(tmp_path, module):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    own = environment(CONFIG="digits", WORKDIR="runs/w")
    own |= {"PATH": f"{tmp_path}:{own['PATH']}"}
    own |= {"MODULE": module} if module != "mtl.study" else {}
    grid = ["--grid", "optim.learning_rate=0.01,0.1"]
    script = ["bash", str(JOBS / "mtl_study_slurm.sh"), *grid]
    said = subprocess.run(script, env=own, capture_output=True, text=True, check=True)
    flags = ["--config", "digits", "--workdir", "runs/w", "--shard", "auto", *grid]
    assert said.stdout.split() == ["-m", module, *flags]


@pytest.mark.parametrize(
    ("job", "variable", "message"),
    [
        ("l3spot_slurm.sh", "SCANS", "give the folder or the list of scans"),
        ("mtl_study_slurm.sh", "CONFIG", "give the config of the runs"),
    ],
)
def test_a_slurm_job_without_its_input_says_so(job, variable, message):
    own = environment()
    own.pop(variable, None)
    script = ["bash", str(JOBS / job)]
    done = subprocess.run(script, env=own, capture_output=True, text=True)
    assert done.returncode != 0
    assert message in done.stderr


@pytest.mark.slow
def test_a_pod_of_kubernetes_finds_l3_in_its_part(scans, tmp_path):
    spec = yaml.safe_load((JOBS / "l3spot_kubernetes.yaml").read_text())["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    mounts = {m["mountPath"] for m in container["volumeMounts"]}
    places = {"/scans": str(scans), "/results": str(tmp_path / "out")}
    assert mounts == set(places)
    assert f"--shard=auto/{spec['completions']}" in container["args"]
    command = container["command"] + container["args"]
    for mount, place in places.items():
        command = [part.replace(f"={mount}", f"={place}") for part in command]
    own = environment(**{shards.KUBERNETES: "1"})
    subprocess.run(command, env=own, cwd=ROOT, check=True, timeout=600)
    assert list(runs.rows(tmp_path / "out" / "results.csv")) == ["b"]


# Stand-ins for the queues' programs. Each writes its arguments into calls.txt.
SRUN = """
echo srun "$@" >> calls.txt
shift  # --kill-on-bad-exit
for node in 0 1; do
    export SLURM_STEP_NODELIST=localhost SLURM_NTASKS=2 SLURM_PROCID=$node
    export SLURM_LOCALID=0 SLURM_NODEID=$node SLURM_STEP_TASKS_PER_NODE="1(x2)"
    "$@" &
    tasks+=($!)
done
for task in "${tasks[@]}"; do wait "$task"; done
"""
GCLOUD = """
echo gcloud "$@" >> calls.txt
for argument in "$@"; do
    case "$argument" in
    --command=*) bash -c "${argument#--command=}" ;;
    esac
done
"""
MTL = ("mtl.main", "--config=digits:smoke")


def stand_in(folder, name, script):
    """Makes an executable; returns the folder, for PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/usr/bin/env bash\nset -euo pipefail\n{script}\n")
    (folder / name).chmod(0o755)
    return folder


def calls(folder):
    return (folder / "calls.txt").read_text().splitlines()


def submit(folder, script, *arguments, **own):
    """Runs a job file in a folder with the stand-ins in bin/; returns the process."""
    (folder / "configs").symlink_to(ROOT / "configs")
    place = environment(**own) | {"JAX_PLATFORMS": "cpu"}
    place["PATH"] = f"{folder / 'bin'}{os.pathsep}{place['PATH']}"
    return subprocess.run(
        ["bash", JOBS / script, *map(str, arguments)],
        **dict(env=place, cwd=folder, capture_output=True, text=True, timeout=600),
    )


@pytest.mark.slow
def test_the_tasks_of_a_slurm_job_train_one_run(tmp_path):
    stand_in(tmp_path / "bin", "srun", SRUN)
    # JAX makes a port of the job's number.
    job = {"SLURM_JOB_ID": str(os.getpid())}
    run = tmp_path / "run"
    done = submit(tmp_path, "train_slurm.sh", *MTL, f"--workdir={run}", **job)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test error") == 1
    used = json.loads((run / "environment.json").read_text())
    assert used["devices_used"] == 2


@pytest.mark.parametrize(("status", "requeued"), [(75, True), (1, False), (0, False)])
def test_a_slurm_job_that_was_stopped_queues_itself_again(tmp_path, status, requeued):
    stand_in(tmp_path / "bin", "srun", f"exit {status}")
    stand_in(tmp_path / "bin", "scontrol", 'echo scontrol "$@" > calls.txt')
    done = submit(tmp_path, "train_slurm.sh", *MTL, SLURM_JOB_ID="7")
    assert done.returncode == status
    assert (tmp_path / "calls.txt").exists() == requeued
    if requeued:
        assert calls(tmp_path) == ["scontrol requeue 7"]


@pytest.mark.parametrize("script", ["train_slurm.sh", "train_tpu_vm.sh"])
def test_a_training_job_without_a_launcher_says_so(tmp_path, script):
    arguments = ["run"] if "tpu" in script else []
    done = submit(tmp_path, script, *arguments, NAME="vm", ZONE="zone")
    assert done.returncode != 0
    assert "give a launcher and its flags" in done.stderr


@pytest.mark.slow
def test_a_tpu_vm_is_made_and_trains_on_all_workers(tmp_path):
    stand_in(tmp_path / "bin", "gcloud", GCLOUD)
    # What `create` would leave in the home of a worker.
    python = f'exec {sys.executable} "$@"'
    stand_in(tmp_path / "mtl" / ".venv" / "bin", "python", python)
    (tmp_path / "mtl" / "configs").symlink_to(ROOT / "configs")
    vm = dict(NAME="vm", ZONE="zone")
    script, run = "train_tpu_vm.sh", tmp_path / "a run"
    done = submit(tmp_path, script, "run", *MTL, f"--workdir={run}", **vm)
    assert done.returncode == 0, done.stderr
    assert (run / "summary.json").exists()
    (call,) = calls(tmp_path)
    assert call.startswith("gcloud compute tpus tpu-vm ssh vm --zone=zone --worker=all")


def test_a_tpu_vm_gets_this_folder_on_all_workers(tmp_path):
    stand_in(tmp_path / "bin", "gcloud", 'echo "$@" >> calls.txt')
    vm = dict(NAME="vm", ZONE="zone", TYPE="v4-16", VERSION="base")
    assert submit(tmp_path, "train_tpu_vm.sh", "create", **vm).returncode == 0
    create, copy, install = calls(tmp_path)
    assert "create vm --zone=zone --accelerator-type=v4-16 --version=base" in create
    assert "vm:mtl.tar --zone=zone --worker=all" in copy
    assert "--worker=all" in install
    assert ".[tpu]" in install


@pytest.mark.slow
def test_the_pods_of_a_kubernetes_job_train_one_run(tmp_path):
    parts = yaml.safe_load_all((JOBS / "train_kubernetes.yaml").read_text())
    service, job = parts
    name, spec = job["metadata"]["name"], job["spec"]
    pod = spec["template"]["spec"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert service["metadata"]["name"] == pod["subdomain"]
    (container,) = pod["containers"]
    variables = {v["name"]: v["value"] for v in container["env"]}
    assert variables["JAX_NUM_PROCESSES"] == str(spec["completions"])
    assert spec["completions"] == spec["parallelism"]
    host, _ = variables["JAX_COORDINATOR_ADDRESS"].split(":")
    assert host == f"{name}-0.{pod['subdomain']}", "the name of pod 0"
    volumes = {v["name"] for v in pod["volumes"]}
    assert volumes == {m["name"] for m in container["volumeMounts"]}

    variables["JAX_COORDINATOR_ADDRESS"] = f"localhost:{hosts.free_port()}"
    small = {"--config=mnist": MTL[1], "/runs/": f"{tmp_path}/"}
    _, _, module = container["command"]
    arguments = container["args"]
    for old, new in small.items():
        arguments = [a.replace(old, new) for a in arguments]
    pods = []
    for index in map(str, range(spec["completions"])):
        own = variables | {shards.KUBERNETES: index}
        pods += hosts.start(module, 1, *arguments, environ=own)
    statuses, said = hosts.finish(pods)
    assert statuses == [0, 0], said
    used = json.loads((tmp_path / "mnist" / "environment.json").read_text())
    assert used["devices_used"] == 2


@pytest.mark.slow
def test_the_machines_of_a_skypilot_job_train_one_run(tmp_path):
    job = yaml.safe_load((JOBS / "train_skypilot.yaml").read_text())
    python = f'exec {sys.executable} "$@"'
    stand_in(tmp_path / ".venv" / "bin", "python", python)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    script = job["run"]
    # These digits need no data, and the bucket is a folder.
    for part, new in {
        ":8476": f":{hosts.free_port()}",
        '--config.data.path="$BUCKET/data" ': "",
    }.items():
        assert part in script
        script = script.replace(part, new)
    own = {"BUCKET": str(tmp_path), "FLAGS": MTL[1], "SKYPILOT_NUM_NODES": "2"}
    own |= {"LAUNCHER": job["envs"]["LAUNCHER"], "JAX_PLATFORMS": "cpu"}
    machines = [
        subprocess.Popen(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment(
                **own,
                SKYPILOT_NODE_IPS="localhost\notherhost",
                SKYPILOT_NODE_RANK=str(rank),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    statuses, said = hosts.finish(machines)
    assert statuses == [0, 0], said
    used = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert used["devices_used"] == 2
