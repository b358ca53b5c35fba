"""The figures in the text on Table 1 are those of its CSV files."""

from configs.mtl import table1
from experiments import pages
from mtl.study.cells import Cells
from mtl.study.claims import claims
from mtl.study.statistics import interval
from tests.experiments.test_prose import HIDDEN, span

METHODS = ("baseline_matched", "stairs", "abridged", "linear", "exponential")


def test_table1(text):
    config = table1.get_config("cpu")
    slow, fast = (
        Cells(config, pages.rows(name), pages.TOTAL)
        for name in ("table1", "table1_rate_0.1")
    )
    page = text("table1")

    def gain(labelled, column, method="exponential", hidden=HIDDEN):
        return -interval(slow.gain(hidden, labelled, column, method).values()).mean

    last = {n: slow.columns(n)[-1] for n in (100, 1000, 10_000)}
    at = {u: config.study.unlabelled.index(u) for u in (5000, 10_000, 20_000)}
    few, some, most = (f"{gain(n, last[n]):.1f}" for n in last)
    lost = [-gain(n, 0, "linear") for n in last]
    depth = {
        n: [
            f"{gain(n, last[n], hidden=tuple(h)):.1f}"
            for h in config.study.parts.b.hidden
        ]
        for n in last
    }
    base = [
        interval(c.error(HIDDEN, 1000, 0, "baseline").values()).mean
        for c in (slow, fast)
    ]
    ends = Cells(pages.table_1_ends(), pages.rows("table1_full"), pages.TOTAL)
    full = interval(ends.error(HIDDEN, 1000, 0, "baseline").values()).mean
    found = [claims(cells) for cells in (slow, fast)]
    matched = [-c[5].findings[1].value.mean for c in found]
    behind = found[0][0].findings[2].value.mean
    for sentence in [
        f"`exponential` gains {few}, {some} and {most} points at the largest u",
        f"u = 20,000 it is {gain(1000, at[20_000]):.1f} (paper: 1.8)",
        f"it is {gain(10_000, at[10_000]):.1f} and {gain(10_000, at[20_000]):.1f}",
        f"unlabelled images {matched[1]:.2f} points, at 0.03 {matched[0]:.2f}",
        f"here at 0.03 {gain(100, last[100], 'stairs'):.1f}, and over all cells with "
        f"unlabelled images it beats `exponential` by {behind:.2f}",
        f"loses {lost[0]:.2f}, {lost[1]:.2f} and {lost[2]:.2f} points at u = 0",
        f"1,000 labels has {base[0]:.2f}, {base[1]:.2f} and {full:.2f} %",
        *(f"{a}, {b} and {c}" for a, b, c in depth.values()),
        f"{len(pages.rows('table1'))} runs",
    ]:
        assert sentence in page
    for j in slow.columns(10_000):
        if slow.u(10_000, j) >= 5000:
            share = gain(10_000, j, "baseline_matched") / gain(10_000, j)
            assert 0.5 < share < 1
    # The third claim's second part: whether the gain still grows.
    assert found[0][2].findings[1].verdict == "does not hold"
    assert found[1][2].findings[1].value.mean > 0


def test_table1_at_the_papers_size(text):
    rows, page = pages.rows("table1_full"), text("table1")
    assert page.count(f"{len(rows)} of 1,960 runs") == 2
    cells = Cells(pages.table_1_ends(), rows, pages.TOTAL)

    def gain(labelled, method, other="baseline", column=1):
        found = cells.gain(HIDDEN, labelled, column, method, other)
        assert sorted(found) == list(range(6))
        return interval(found.values())

    def two(method, other="baseline"):
        return [gain(labelled, method, other) for labelled in (100, 1000)]

    few, many = two("exponential")
    assert f"gains {-few.mean:.1f} points at l = 100 and {-many.mean:.1f} at" in page
    few, many = two("stairs")
    assert f"here it gains {-few.mean:.1f} and {-many.mean:.1f}" in page
    few, many = two("linear")
    assert f"{few.mean:.1f} and {many.mean:.1f} points worse than the base" in page
    few, many = two("exponential", "abridged")
    assert f"is {few.mean:+.2f} points at l = 100 and {many.mean:+.2f} at l" in page
    assert all(i.low < 0 < i.high for i in two("baseline_matched"))
    less = {m: two(m, "stairs") for m in ("exponential", "abridged")}
    for method, (_, many) in less.items():
        seen = f"`{method}`; {many.low:+.2f} to {many.high:+.2f}"
        assert f"{-many.mean:.2f} points ({seen})" in page
        assert many.high < 0
    few = [span(less[m][0]) for m in less]
    assert f"With 100 labels six seeds cannot tell: {few[0]} and {few[1]}." in page
    assert all(less[m][0].high > 0 for m in less)
    best = gain(1000, "linear", column=0)
    assert best.mean == min(gain(1000, m, column=0).mean for m in METHODS)
    assert best.low < 0 < best.high


def test_stairs_with_its_own_rate(text):
    """Validation errors of two seeds choose the scale; six seeds compare it."""
    usual, page = pages.rows("table1_full"), text("table1")
    scales = {
        s: pages.rows(f"table1_stairs_{s}") for s in ("0.01", "0.03", "0.3", "1.0")
    }
    scales["0.1"] = usual

    def errors(rows, labelled, method, unlabelled, name="test_error"):
        cell = HIDDEN, labelled, unlabelled, method
        return {r.seed: 100 * getattr(r, name) for r in rows if r.run[:4] == cell}

    gains, behind = [], []
    for labelled in (100, 1000):
        most = pages.TOTAL - labelled
        cell = labelled, "stairs", most
        means = {}
        for scale, rows in scales.items():
            by_seed = errors(rows, *cell, "valid_error")
            means[scale] = by_seed[0] + by_seed[1]
        assert min(means, key=means.__getitem__) == "0.03"
        own = errors(scales["0.03"], *cell)
        assert sorted(own) == list(range(6))
        base = errors(usual, labelled, "baseline", 0)
        other = errors(usual, labelled, "exponential", most)
        gains.append(interval(own[s] - base[s] for s in own))
        behind.append(interval(other[s] - own[s] for s in own))
    assert f"gains {-gains[0].mean:.1f} and {-gains[1].mean:.1f} points" in page
    assert f"is {span(behind[0])} points at l = 100" in page
    assert f"and {span(behind[1])} at l = 1,000" in page
    assert behind[0].low < 0 < behind[0].high
    assert behind[1].high < 0
    assert f"`exponential` leads by {-behind[1].mean:.2f}." in page
    usual_stairs = errors(usual, 1000, "stairs", 49_000)
    lead = interval(other[s] - usual_stairs[s] for s in own)
    assert "more than half of the lead of `exponential` with 1,000 labels" in page
    assert behind[1].mean / lead.mean < 0.5
