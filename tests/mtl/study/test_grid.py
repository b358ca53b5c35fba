from collections import Counter

import pytest

from configs.mtl import best, mnist, table1, weights
from mtl.host.errors import ConfigError
from mtl.study import grid


def test_the_grid_is_table_1():
    c = table1.get_config()
    found = grid.runs(c, 50_000)
    assert len(found) == len(set(found))
    # NN1 with four schedules and the matched baseline, three networks with one; l =
    # 10,000 leaves 40,000, which is a column already.
    cells = 23 * (5 + 3) + 4 * 3
    assert Counter(r.seed for r in found) == dict.fromkeys(range(10), cells)
    assert {r.unlabelled for r in found if r.labelled == 10_000} == {
        *(0, 1000, 2000, 5000, 10_000, 20_000, 40_000)
    }
    assert {r.unlabelled for r in found if r.method == "baseline"} == {0}
    assert {r.unlabelled for r in found if r.labelled == 100} >= {49_900}


@pytest.mark.parametrize("vmapped", [False, True])
def test_a_bundle_shares_all_but_what_is_data(vmapped):
    c = table1.get_config()
    wanted = grid.runs(c, 50_000)
    found = grid.run_groups(c, wanted, vmapped)
    assert sorted(wanted) == sorted(run for b in found for run in b.runs)
    for b in found:
        assert len({(r.hidden, r.labelled + r.unlabelled) for r in b.runs}) == 1
        assert vmapped or len({run._replace(seed=0) for run in b.runs}) == 1
    # On an accelerator, only `linear` is apart; the baseline has u = 0; l and u of the
    # same sum go together, 1,000 and 10,000, and all of the last column.
    widths = {len(b.runs) for b in found}
    assert widths == ({10, 20, 30, 40, 50, 80, 120} if vmapped else {10})


@pytest.mark.parametrize(("share", "together"), [(0.4, True), (0.6, False)])
def test_runs_that_reconstruct_for_most_epochs_have_a_program(share, together):
    c = table1.get_config("smoke")
    c.study.parts.a.methods = ("stairs", "baseline_matched")
    del c.study.parts.b
    c.schedule.t1 = round(share * c.epochs)
    groups = grid.run_groups(c, grid.runs(c, 1000), vmapped=True)
    methods = {frozenset(run.method for run in group.runs) for group in groups}
    assert (frozenset(["stairs", "baseline_matched"]) in methods) == together


def test_seeds_come_in_blocks():
    c = table1.get_config("cpu")
    c.study.seeds_per_program = 2
    found = grid.run_groups(c, grid.runs(c, 50_000), vmapped=False)
    seeds = [tuple(run.seed for run in b.runs) for b in found]
    assert seeds == [(0, 1)] * (len(seeds) // 2) + [(2, 3)] * (len(seeds) // 2)


@pytest.mark.parametrize(
    ("c", "cells"),
    [(weights.get_config(), 22), (weights.get_config("full"), 22)]
    + [(best.get_config(v), 1) for v in best.VARIANTS],
)
def test_other_grids_have_one_u(c, cells):
    c.data.path = "somewhere"
    grid.check(c)
    found = grid.runs(c, 50_000)
    assert Counter(r.seed for r in found) == dict.fromkeys(range(c.study.seeds), cells)
    assert {r.labelled + r.unlabelled for r in found if r.unlabelled} == {50_000}


def test_a_run_is_one_of_the_launcher_of_one_run():
    c = grid.one_config(table1.get_config(), grid.Run((9, 8), 7, 6, "stairs", 5))
    assert (c.model.hidden, c.data.labelled, c.data.unlabelled) == ((9, 8), 7, 6)
    assert (c.method, c.seed) == ("stairs", 5)
    assert sorted(c.keys()) == sorted(mnist.get_config().keys())


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("seeds", 0, "config.study.seeds=0 must be at least 1"),
        ("unlabelled", (0, -2), "config.study.unlabelled"),
        ("unlabelled", (), r"config.study.unlabelled=\(\) must be one number or more"),
        ("labelled", (), "config.study.labelled"),
        ("labelled", ("a",), r"config.study.labelled=\('a',\) must be like"),
        ("parts.a.hidden", (50,), "config.study.parts.a.hidden=.* a tuple for each"),
        ("parts", {}, "config.study.parts"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(field, value, said):
    c = table1.get_config()
    c.update_from_flattened_dict({f"study.{field}": value})
    with pytest.raises(ConfigError, match=said):
        grid.check(c)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("patience", 101, "config.patience=101 must be 0 in a study"),
        (
            "model.hidden",
            (9,),
            r"config.model.hidden=\(9,\) must be one of config.study",
        ),
        ("method", "famo", "config.method='famo'"),
        ("data.labelled", 7, "config.data.labelled=7"),
        ("data.unlabelled", 7, "config.data.unlabelled=7"),
        ("seed", 10, "config.seed=10"),
    ],
)
def test_what_a_study_would_ignore_is_refused(field, value, said):
    c = table1.get_config()
    c.update_from_flattened_dict({field: value})
    with pytest.raises(ConfigError, match=said):
        grid.check(c)


def test_a_grid_may_be_narrowed_to_what_is_no_default():
    c = table1.get_config("smoke")
    c.study.labelled, c.study.unlabelled = (60,), (300,)
    assert c.data.labelled not in c.study.labelled
    grid.check(c)


def test_an_unknown_method_is_named():
    c = table1.get_config()
    c.study.parts.b.methods = ("stares",)
    with pytest.raises(ConfigError, match=r"parts\.b\.methods.*stares.*stairs"):
        grid.check(c)


def test_cells_are_checked_before_any_is_trained():
    c = table1.get_config()
    c.data.path, c.schedule.t1 = "somewhere", 5000
    with pytest.raises(ConfigError, match=r"schedule\.t1=5000"):
        grid.check(c)


def test_a_config_without_a_grid_is_refused():
    with pytest.raises(ConfigError, match="`--config table1` has a study"):
        grid.check(mnist.get_config())


def test_too_many_images_are_refused():
    c = table1.get_config()
    with pytest.raises(ConfigError, match="10000 labelled and 40000 unlabelled"):
        grid.runs(c, 45_000)
