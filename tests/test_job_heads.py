"""The heads of the job files say which times were measured."""

import json
import re

import pytest

from tests.conftest import ROOT

JOBS = ROOT / "jobs"


def expected(job):
    """What the head of a job says of times."""
    head = re.split(r"^[^#]", job.read_text(), maxsplit=1, flags=re.M)[0]
    return head[head.index("# Expected") :].replace("\n# ", " ")


def figures(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


@pytest.mark.parametrize("job", sorted(JOBS.glob("l3spot*")), ids=lambda p: p.name)
def test_the_head_of_a_prediction_job_says_the_measured_time(job):
    archive = figures("archive_cpu")
    two = archive["workers"]["2"]
    a_scan = two["seconds"] / archive["scans"]
    said = expected(job)
    assert f"x {a_scan:.1f} s" in said
    assert f"such as {10_000 / 16 * a_scan / 60:.0f} minutes" in said
    assert f"{archive['scans']} drawn scans" in said
    assert f"in {two['seconds']:.0f} s, {two['results']['found']} of them" in said


@pytest.mark.parametrize("job", sorted(JOBS.glob("*train*")), ids=lambda p: p.name)
def test_the_head_of_a_training_job_says_what_was_measured_and_what_was_not(job):
    said = expected(job)
    assert "none has been measured" in said
    if "tpu" in job.name:
        return
    system_2 = figures("structured_gpu")["one run"]["ours"]["seconds"]
    system_1 = figures("mtl_gpu")["contenders"]["ours"]["seconds"]
    assert (
        f"takes {1000 * system_2:.0f} ms, its 1,000 epochs {1000 * system_2:.0f} s"
        in said
    )
    assert f"50,000 images takes {1000 * system_1:.0f} ms" in said


def test_the_head_of_a_study_s_job_says_what_was_measured_and_what_was_not():
    said = expected(JOBS / "mtl_study_slurm.sh")
    gpu, cpu = (
        figures(name)["contenders"]["ours"]["runs_an_hour"]
        for name in ("study_gpu", "study_cpu")
    )
    assert f"{gpu:.0f} an hour on one NVIDIA H200" in said
    assert f"{cpu:.0f} on two cores" in said
    assert "As an array of Slurm, none has been measured" in said
