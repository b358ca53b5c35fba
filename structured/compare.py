"""Trains the variants of system 2 from the same initial weights, with several seeds.

python -m structured.compare --config configs/structured/digits.py --workdir runs/c

Each run has a folder of its own, such as runs/c/mlp_in-0; what has finished is not
trained again. Variants share their compiled programs: there is one for each set of
tasks that have a weight at the same time, four in all. Leaves table.md, results.csv,
figures and report.html in the workdir.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.fit import Training, compile_epoch
from mtl.host import launch, markdown, workdir
from mtl.host.errors import ConfigError
from structured import config as configs
from structured import data, experiment, tasks
from structured.data import Dataset
from structured.report import comparison
from structured.report.comparison import Group


def compare(
    config: ConfigDict,
    folder: str | Path,
    variants: Sequence[str] = tasks.VARIANTS,
    seeds: Sequence[int] = (0, 1, 2),
) -> dict[str, Group]:
    """The runs of some variants and seeds, trained or read, by variant.

    Args:
      config: of all the runs but for variant and seed.
      folder: gets a folder a run, and what all of them come to.
      variants: some of tasks.VARIANTS, in the order of the table.
      seeds: of each variant.

    Raises:
      mtl.host.errors.Error: something that the user can mend; the message says what.
    """
    for name, values in {"variants": variants, "seeds": seeds}.items():
        if not values or len(set(values)) < len(values):
            raise ConfigError(f"{name} must be one or more, each once, not {values}")
    folder, shared = Path(folder), share_programs()
    asked = [one_config(config, v, s) for v in variants for s in seeds]
    for each in asked:
        configs.check(each)
    groups = {v: Group([], []) for v in variants}
    datasets: dict[int, Dataset] = {}
    for each in asked:
        # The pairs that are left differ from seed to seed where some are hidden.
        drawn = each.seed if config.data.pairs >= 0 else 0
        if drawn not in datasets:
            datasets[drawn] = data.load(each)
        where = folder / f"{each.variant}-{each.seed}"
        print(f"{each.variant}, seed {each.seed}", flush=True)
        run = experiment.train_and_evaluate(each, where, datasets[drawn], shared)
        groups[each.variant].runs.append(run)
        groups[each.variant].rows.append(comparison.read_rows(run, where))
    write_results(folder / "results.csv", groups)
    workdir.write_text(
        folder / "table.md", markdown.table(*comparison.table(groups)) + "\n"
    )
    comparison.draw(folder, config, next(iter(datasets.values())), groups)
    return groups


def one_config(config: ConfigDict, variant: str, seed: int) -> ConfigDict:
    """The config of one of the runs."""
    c = ConfigDict(config.to_dict())
    c.variant, c.seed = variant, seed
    return c


def share_programs() -> Callable[[Training], CompiledEpoch]:
    """Gives the first training's programs to all that come after."""
    made: list[CompiledEpoch] = []

    def programs(training: Training) -> CompiledEpoch:
        if not made:
            made.append(compile_epoch(training))
        return made[0]

    return programs


def write_results(path: Path, groups: dict[str, Group]) -> None:
    """CSV, a row a run: variant, seed, errors of the best epoch, test metrics."""
    rows = []
    for run in (run for group in groups.values() for run in group.runs):
        s = run.summary
        row = {k: s[k] for k in ("variant", "seed", "pairs", "x_only", "y_only")}
        row |= {"best_epoch": s.get("best_epoch"), "seconds": s.get("seconds")}
        row |= s["best"] | {f"test/{k}": v for k, v in s["test"].items()}
        rows.append(row)
    workdir.write_csv(path, list(rows[0]), [[r[k] for k in rows[0]] for r in rows])


def launcher(arguments: Sequence[str]) -> str:
    """Compares as the flags say; returns the table."""
    launch.no_more(arguments)
    args = flags.FLAGS
    unknown = set(args.variants) - set(tasks.VARIANTS)
    if unknown:
        raise ConfigError(f"--variants must be some of {','.join(tasks.VARIANTS)}")
    try:
        seeds = [int(seed) for seed in args.seeds]
    except ValueError as e:
        raise ConfigError(f"--seeds must be whole numbers, not {args.seeds}") from e
    groups = compare(args.config, args.workdir, args.variants, seeds)
    head, lines = comparison.table(groups)
    where = Path(args.workdir) / "report.html"
    return f"{markdown.table(head, lines)}\n\nFigures and table: {where}"


if __name__ == "__main__":
    config_flags.DEFINE_config_file("config", None, "The config of all the runs.")
    flags.DEFINE_string("workdir", None, "Gets a folder a run; new, or to go on with.")
    flags.DEFINE_list("variants", list(tasks.VARIANTS), "Which variants.")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Which seeds.")
    launch.launch(launcher, "config", "workdir")
