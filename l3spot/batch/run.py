"""Works on many scans in processes; each loads the models once."""

import dataclasses
import functools
import hashlib
import importlib.metadata
from collections.abc import Iterator, Sequence
from pathlib import Path

from l3spot.batch import ray_pool
from l3spot.localize import model
from l3spot.projections import process_pool
from l3spot.report import predict_scan
from l3spot.report.locating import Models
from l3spot.report.predict_scan import VERTEBRAE, Job, PredictOptions
from l3spot.report.result_json import MadeBy
from l3spot.report.results_file import ScanRows
from l3spot.vertebrae import model as vertebra_model
from mtl.host import errors, launch
from mtl.host.errors import DataError

# A process starts in seconds and finds L3 in a scan in about one; so few scans of each
# do not pay.
MIN_SCANS_PER_PROCESS = 8
PROCESSES, RAY = ENGINES = "processes", "ray"


@dataclasses.dataclass(frozen=True)
class ScanWorker:
    """Finds the vertebra in a scan, as `predict_scan` does; a process can receive it.

    Attributes:
      out: the folder for the results.
      checkpoint: the frontal model.
      vertebrae: the model of all vertebrae; None with the paper's method.
      options: what is read and written.
      models_hash: of the files of the models.
      about: describes the frontal model in one line.
      threads: that decode the slices of a scan.
    """

    out: Path
    checkpoint: Path
    vertebrae: Path | None
    options: PredictOptions
    models_hash: str
    about: str
    threads: int | None = None

    def __call__(self, job: Job) -> list[ScanRows]:
        """Returns the results of a scan."""
        models = load_models(self.checkpoint, self.vertebrae, self.models_hash)
        return predict_scan.predict_scan(
            job, self.out, models, self.options, self.threads
        )


def make_worker(
    out: Path,
    checkpoint: Path,
    options: PredictOptions,
    vertebrae: Path = vertebra_model.PACKAGED_FILE,
) -> ScanWorker:
    """Loads the models, and returns what works on a scan.

    Raises:
      DataError: a model is missing or broken.
    """
    used = vertebrae if options.method == VERTEBRAE else None
    try:
        content = b"".join(p.read_bytes() for p in (checkpoint, used) if p)
    except OSError as e:
        raise DataError(f"the model {e.filename} cannot be read ({e.strerror})") from e
    digest = hashlib.sha256(content).hexdigest()
    models = load_models(checkpoint, used, digest)
    return ScanWorker(out, checkpoint, used, options, digest, models.l3.about)


@functools.lru_cache(maxsize=1)
def load_models(checkpoint: Path, vertebrae: Path | None, models_hash: str) -> Models:
    """Loads the models once in a process; the hash says which."""
    del models_hash
    of_vertebrae = vertebra_model.load(vertebrae) if vertebrae else None
    return Models(model.load(checkpoint), of_vertebrae)


def made_by(worker: ScanWorker) -> MadeBy:
    """Returns what all results of a worker are made from."""
    return {
        "version": importlib.metadata.version("evolving-mtl"),
        "models": worker.models_hash,
        "about": worker.about,
        "options": worker.options._asdict(),
    }


def work_on(
    jobs: Sequence[Job],
    worker: ScanWorker,
    workers: int | None = None,
    engine: str = PROCESSES,
) -> Iterator[tuple[Job, list[ScanRows]]]:
    """Yields the results of each scan when they are written.

    If the process of a scan dies, its result says so; the other scans are not affected.

    Args:
      jobs: the scans.
      worker: works on one.
      workers: number of processes; None takes one per core, if there are many scans.
      engine: one of `ENGINES`.
    """
    count = _process_count(len(jobs), workers)
    threads = 1 if engine == RAY else max(1, launch.cores() // count)
    worker = dataclasses.replace(worker, threads=threads)
    if engine == RAY:
        results = ray_pool.map_unordered(worker, jobs, workers)
    else:
        results = process_pool.map_unordered(worker, jobs, count)
    for index, result in results:
        yield jobs[index], _or_failure(jobs[index], worker.out, result)


def _process_count(jobs: int, workers: int | None) -> int:
    most = workers or min(launch.cores(), jobs // MIN_SCANS_PER_PROCESS)
    return max(1, min(most, jobs))


def _or_failure(
    job: Job, out: Path, result: list[ScanRows] | Exception
) -> list[ScanRows]:
    """Returns the results; writes one with the reason if a process gave none.

    Raises:
      WorkdirError: the result cannot be written.
    """
    if not isinstance(result, Exception):
        return result
    if isinstance(result, errors.WorkdirError):
        raise result
    return predict_scan.write_failure(job, out, process_pool.reason(result))
