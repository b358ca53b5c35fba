"""The figures in the text of result pages are those of the CSV files beside them."""

import csv

import numpy as np
import pytest

from configs.mtl import table1, weights
from experiments import pages
from mtl.study.cells import Cells, less
from mtl.study.results import Row
from mtl.study.statistics import Interval, interval

HIDDEN = (50,)


def span(i: Interval) -> str:
    """The mean and its 95 % interval, as the pages have it."""
    return f"{i.mean:+.2f} ({i.low:+.2f} to {i.high:+.2f})"


def last(row: Row) -> float:
    """The test error after the last epoch, in %."""
    return 100 * row.test_error


def test_weights(text):
    cells = Cells(weights.get_config(), pages.rows("weights"), pages.TOTAL)

    def errors(method, labelled):
        return cells.each(HIDDEN, labelled, 0, method, last)

    def difference(method, other, labelled):
        return interval(
            less(errors(method, labelled), errors(other, labelled)).values()
        )

    def seconds(method, labelled):
        (one,) = set(
            cells.each(HIDDEN, labelled, 0, method, lambda r: r.seconds).values()
        )
        return one

    many, few = (difference("famo", "exponential", n) for n in (1000, 100))
    behind = [difference("plateau", "exponential", n).mean for n in (1000, 100)]
    over = [seconds("famo", n) / seconds("exponential", n) for n in (100, 1000)]
    alone = difference("exponential", "baseline_matched", 100)
    ahead = [difference("plateau", "baseline_matched", n) for n in (1000, 100)]
    page = text("weights")
    for sentence in [
        f"in {over[0]:.0f} to {over[1]:.0f} times the seconds",
        f"{span(many)} points where l = 1,000, {span(few)} where l = 100",
        f"`stairs` is there too: {span(difference('stairs', 'exponential', 100))}",
        f"`plateau` is {behind[0]:+.2f} and {behind[1]:+.2f} points behind",
        f"ahead of `baseline_matched`, {span(ahead[0])}; where l = 100 it is not, "
        f"{span(ahead[1])}",
        f"`baseline_matched`: {span(alone)}",
        f"{len(pages.rows('weights'))} runs",
    ]:
        assert sentence in page
    for method in ("dwa", "ratio", "gradnorm"):
        for labelled in (100, 1000):
            assert difference(method, "baseline", labelled).mean > 0


def test_two_programs_on_two_devices_have_the_same_errors(text):
    """weights.csv comes from a GPU and another order of updates than table1.csv."""
    table = {row.run: row for row in pages.rows("table1")}
    same = [
        (row.test_error, table[row.run].test_error)
        for row in pages.rows("weights")
        if row.method in ("baseline", "baseline_matched", "stairs") and row.seed < 4
    ]
    assert len(same) == 24
    assert all(one == other for one, other in same)
    assert "each of the 24 to the last image" in text("weights")


def test_ladders_of_two_seeds(text):
    own = {n: pages.rows(f"best_ladder{n}") for n in (100, 1000)}
    other = {n: pages.rows(f"best_ladder{n}_other") for n in (100, 1000)}
    seeds = {row.seed for rows in other.values() for row in rows}
    assert seeds == {0, 1}
    means = [np.mean([last(r) for r in own[n] if r.seed in seeds]) for n in own]
    same = f"same two seeds have {means[0]:.2f} and {means[1]:.2f} % with their own"
    assert same in text("best")


def structured_column(name):
    """Returns `(variant, column) -> numbers` of a comparison's CSV file."""
    with (pages.RESULTS / f"{name}.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))

    def column(variant, name):
        return [float(row[name]) for row in rows if row["variant"] == variant]

    return column


STRUCTURED_LINES = [  # Start of the line, CSV file, variant.
    ("mean", "structured_helen", "mean"),
    *((v, "structured_helen", v) for v in ("mlp", "mlp_in", "mlp_out", "mlp_in_out")),
    ("with AFW: mean", "structured_helen_afw", "mean"),
    ("mlp, same batches", "structured_helen_afw", "mlp"),
    *((v, "structured_helen_afw", v) for v in ("mlp_in", "mlp_out", "mlp_in_out")),
    ("mlp", "structured_rate_0.3", "mlp"),
    ("mlp_out", "structured_rate_0.3", "mlp_out"),
]


@pytest.mark.parametrize(("start", "name", "variant"), STRUCTURED_LINES)
def test_structured_tables(text, start, name, variant):
    column = structured_column(name)
    parts = ("train", "valid", "test")
    mse = [1e3 * np.mean(column(variant, f"{part}/mse")) for part in parts]
    names = ("auc_0.5", "cdf_0.1", "nme_inter_ocular")
    found = [interval(100 * x for x in column(variant, f"test/{n}")) for n in names]
    spread = "mean" not in variant  # The mean shape has no seed.
    cells = [f"{i.mean:.2f}" + f" ± {i.std:.2f}" * spread for i in found]
    line = " | ".join([start, " / ".join(f"{x:.2f}" for x in mse), *cells])
    assert len(column(variant, "seed")) == 3
    assert f"| {line} |" in text("structured")


def test_structured_prose(text):
    page = text("structured")
    plain, afw, fast = (
        structured_column(f"structured_{name}")
        for name in ("helen", "helen_afw", "rate_0.3")
    )
    auc = "test/auc_0.5"
    gain = 100 * (np.mean(afw("mlp_in", auc)) - np.mean(plain("mlp_in", auc)))
    more = 100 * (np.mean(afw("mlp_in", auc)) - np.mean(afw("mlp", auc)))
    assert f"gains {gain:.1f} points of AUC from AFW; it has {more:.1f} more" in page
    small = 100 * (np.mean(fast("mlp_out", auc)) - np.mean(fast("mlp", auc)))
    large = 100 * (np.mean(plain("mlp_out", auc)) - np.mean(plain("mlp", auc)))
    assert f"{small:.2f} points of AUC instead of {large:.1f}" in page
    each = [
        ", ".join(f"{100 * x:.2f}" for x in fast(v, auc)) for v in ("mlp", "mlp_out")
    ]
    assert f"(AUC {each[0]} against {each[1]})" in page
    epochs = sorted(int(e) for e in plain("mlp", "best_epoch"))
    assert f"(best epochs {epochs[0]} to {epochs[-1]} of 200)" in page
    below = 80.40 - 100 * np.mean(fast("mlp", auc))
    below_cdf = 66.66 - 100 * np.mean(fast("mlp", "test/cdf_0.1"))
    assert f"{below:.2f} points of AUC and {below_cdf:.1f} of CDF_0.1 below it" in page


def test_structured_at_the_papers_size(text):
    page, auc = text("structured"), "test/auc_0.5"
    full, quick = (
        structured_column(f"structured_{name}") for name in ("full", "helen")
    )
    variants = ("mlp", "mlp_in", "mlp_out", "mlp_in_out")
    most = max(abs(np.mean(full(v, auc)) - np.mean(quick(v, auc))) for v in variants)
    assert f"by at most {100 * most:.2f} points" in page
    epochs = sorted({int(e) for e in full("mlp", "best_epoch")})
    assert f"(best epochs {epochs[0]} and {epochs[1]})" in page
    seconds = sorted(s for v in variants for s in full(v, "seconds"))
    assert f"{seconds[0]:.0f} to {seconds[-1]:.0f} s a run" in page


def test_structured_with_few_pairs(text):
    page, auc = text("structured"), "test/auc_0.5"
    studies = [structured_column(f"structured_few_{n}") for n in (50, 100, 200, 400)]

    def gains(one, other):
        each = [zip(few(one, auc), few(other, auc), strict=True) for few in studies]
        return [interval(100 * (a - b) for a, b in pairs) for pairs in each]

    def listed(found, style):
        values = [format(v, style) for v in found]
        return f"{', '.join(values[:-1])} and {values[-1]}"

    out = gains("mlp_out", "mlp")
    assert f"brings {listed([g.mean for g in out], '.1f')} points of AUC" in page
    assert out[0].p < 1e-6
    lowest, *_, highest = sorted(g.p for g in out[1:])
    assert f"{lowest:.3f} to {highest:.3f} with three" in page
    inside = gains("mlp_in", "mlp")
    assert f"brings {listed([g.mean for g in inside], '.1f')} points to `mlp`" in page
    p = [f"{inside[0].p:.3f}", *(f"{g.p:.2f}" for g in inside[1:])]
    assert f"(p = {', '.join(p[:-1])} and {p[-1]})" in page
    both = gains("mlp_in_out", "mlp_out")
    p = sorted(g.p for g in both)
    means = listed([abs(g.mean) for g in both], ".1f")
    assert f"({means} points, p from {p[0]:.2f} to {p[-1]:.2f})" in page

    quick = structured_column("structured_helen")
    alone, most = 100 * np.mean(quick("mlp", auc)), studies[-1]
    assert 100 * np.mean(studies[0]("mlp_out", auc)) > alone
    assert f"({alone:.2f} in the first table)" in page
    all_pairs = 100 * np.mean(quick("mlp_in_out", auc))
    assert 100 * np.mean(most("mlp_in_out", auc)) == pytest.approx(all_pairs, abs=0.05)
    gain = 100 * np.mean(quick("mlp_out", auc)) - alone
    assert f"with all pairs it is {gain:.1f} points" in page
    assert gain > max(g.mean for g in out)
    assert 100 * np.mean(most("mlp", auc)) > alone


def test_structured_with_convolutions(text):
    column = structured_column("structured_cnn")

    page = text("structured")
    for variant in ("mlp", "mlp_out"):
        names = ("auc_0.5", "cdf_0.1", "nme_inter_ocular", "fr_0.10_inter_ocular")
        means = [interval(100 * x for x in column(variant, f"test/{n}")) for n in names]
        line = " | ".join(f"{i.mean:.2f} ± {i.std:.2f}" for i in means)
        assert f"| {variant} | {line} |" in page
    nme = [column(v, "test/nme_inter_ocular") for v in ("mlp", "mlp_out")]
    lower = [100 * (a - b) for a, b in zip(*nme, strict=True)]
    gain = interval(lower)
    three = f"{lower[0]:.2f}, {lower[1]:.2f} and {lower[2]:.2f} in the three seeds"
    assert f"by {gain.mean:.2f} points: {three}" in page
    assert f"p = {gain.p:.2f}" in page
    train, valid = (
        1e3 * sum(column("mlp_out", f"{part}/mse")) / 3 for part in ("train", "valid")
    )
    assert f"MSE are close ({train:.2f} and {valid:.2f}, ×1e-3)" in page
    seconds = sorted(column("mlp", "seconds") + column("mlp_out", "seconds"))
    assert f"{seconds[0]:.0f} to {seconds[-1]:.0f} seconds per run" in page


def test_results_overview(text):
    page, cells = (
        text("README"),
        Cells(table1.get_config("cpu"), pages.rows("table1"), pages.TOTAL),
    )
    gains = [
        -interval(
            cells.gain(HIDDEN, n, cells.columns(n)[-1], "exponential").values()
        ).mean
        for n in (100, 1000, 10_000)
    ]
    assert "`exponential` gains {:.1f}, {:.1f} and {:.1f} points".format(*gains) in page
    ends = Cells(pages.table_1_ends(), pages.rows("table1_full"), pages.TOTAL)
    full = [
        -interval(ends.gain(HIDDEN, n, 1, "exponential").values()).mean
        for n in (100, 1000)
    ]
    assert "with six seeds, {:.1f} and {:.1f} points".format(*full) in page
    for labelled in (100, 1000):
        error = interval(last(row) for row in pages.rows(f"best_ladder{labelled}"))
        assert f"{error.mean:.2f} ± {error.std:.2f} % with {labelled}" in page
