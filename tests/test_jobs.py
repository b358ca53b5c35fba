"""The job files do what they say, without their queues."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mtl.host import shards
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
        own = environment(
            CONFIG="configs/mtl/table1.py:smoke", WORKDIR=str(tmp_path), **queue
        )
        script = ["bash", JOBS / "mtl_study_slurm.sh", "--config.epochs=20"]
        script += ["--config.study.labelled=(50,)", "--config.study.unlabelled=(200,)"]
        done = subprocess.run(
            script, env=own, cwd=ROOT, check=True, timeout=600, capture_output=True
        )
    total = 2 * (6 + 2)  # Seeds; the methods of both parts of the table.
    assert f"{total} of {total} runs are there" in done.stdout.decode()


@pytest.mark.parametrize(
    ("job", "variable", "message"),
    [
        ("l3spot_slurm.sh", "SCANS", "give the folder or the list of scans"),
        ("mtl_study_slurm.sh", "CONFIG", "give the config of the study"),
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
