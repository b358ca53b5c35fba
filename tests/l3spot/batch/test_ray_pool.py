"""Work on a local Ray cluster of two nodes; the test kills one."""

import sys
import time

import pytest

from l3spot import predict
from l3spot.batch import ray_pool, run
from l3spot.predict import BatchOptions
from l3spot.report.predict_scan import PAPER, PredictOptions
from mtl.host.errors import ConfigError
from tests.l3spot import runs
from tests.l3spot.batch.test_resume import table


def test_without_ray_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    batch = BatchOptions(engine=run.RAY)
    with pytest.raises(ConfigError, match=r"pip install 'ray>=2\.50'"):
        predict.predict(tmp_path, tmp_path / "out", batch=batch)


@pytest.fixture
def cluster():
    """Starts a cluster of a head without CPUs, and two nodes with one each."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster, nodes
    ray.shutdown()
    cluster.shutdown()


def square(x):
    time.sleep(0.5)
    if x == 3:
        raise ValueError("no three")
    return x * x


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_node_that_dies_loses_no_scan(cluster, tmp_path):
    cluster, nodes = cluster
    items = list(range(12))
    found = {}
    for index, result in ray_pool.map_unordered(square, items):
        found[index] = result
        if len(found) == 3:
            cluster.remove_node(nodes[0])
    assert sorted(found) == items
    assert isinstance(found.pop(3), ValueError)
    assert found == {x: x * x for x in items if x != 3}
    for name in "abc":
        runs.scan(tmp_path / "scans" / name)
    options, model = PredictOptions(method=PAPER), runs.model("found")
    for name, engine in (("one", run.PROCESSES), ("other", run.RAY)):
        batch = BatchOptions(engine=engine)
        out = tmp_path / name
        predict.predict(tmp_path / "scans", out, model, options=options, batch=batch)
    assert table(tmp_path / "one") == table(tmp_path / "other")
