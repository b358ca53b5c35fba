import numpy as np
import pytest

from configs.mtl import best, table1, weights
from mtl.study import grid, report
from mtl.study.cells import Cells
from mtl.study.claims import claims
from mtl.study.results import Row, read, write
from mtl.study.statistics import FAILS, HOLDS, UNKNOWN

TOTAL = 50_000


def rows(gain, seeds=4, noise=0.02):
    """The grid of the paper, where a run has 20 % less `gain(run)` points."""
    c = table1.get_config()
    c.study.seeds = seeds
    rng, found = np.random.default_rng(0), []
    for run in grid.runs(c, TOTAL):
        error = (20 + gain(run) + rng.normal(0, noise)) / 100
        hidden = "-".join(map(str, run.hidden))
        found.append(Row(hidden, *run[1:], "done", error, error, 50, error, error, 1.5))
    return c, found


def paper(run):
    """Gains as the paper has them, roughly."""
    if run.method in ("baseline", "baseline_matched"):
        return 0.0
    if run.method == "stairs":
        return -0.05
    best = {100: -2.4, 1000: -1.7, 10_000: -0.6}[run.labelled]
    most = min(1, run.unlabelled / 1e4)
    if run.method == "linear":
        return 1.25 * (1 - most) + 0.7 * best * most
    return best * most * (0.8 if run.method == "abridged" else 1)


def verdicts(gain, **settings):
    c, found = rows(gain, **settings)
    return [claim.verdict for claim in claims(Cells(c, found, TOTAL))]


def table_rows(text):
    """The cells of each row of the Markdown tables in a text."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def test_claims_hold_on_what_the_paper_has():
    assert verdicts(paper) == [HOLDS] * 6


@pytest.mark.parametrize(
    ("n", "changed"),
    [
        (0, lambda r: paper(r) - 3 * (r.method == "stairs")),
        (1, lambda r: paper(r) - (r.method == "linear" and r.unlabelled == 0)),
        (1, lambda r: paper(r) - (r.method == "stairs" and r.unlabelled == 0)),
        (2, lambda r: paper(r) * (r.unlabelled < 5e3)),
        (3, lambda r: paper(r) * r.labelled / 100),
        (4, lambda r: paper(r) - (r.method == "abridged")),
        (5, lambda r: paper(r) - 4 * (r.method == "baseline_matched")),
    ],
)
def test_a_claim_fails_where_it_is_not_so(n, changed):
    assert verdicts(changed)[n] == FAILS


def test_noise_or_one_seed_tell_nothing():
    assert verdicts(paper, seeds=1) == [UNKNOWN] * 6
    assert UNKNOWN in verdicts(paper, seeds=2, noise=3.0)


def test_the_table_tells_gains_of_the_same_seed(tmp_path):
    c, found = rows(lambda r: -1.0 * (r.method == "linear") + r.seed, noise=0.0)
    text = report.write(c, tmp_path, Cells(c, found, TOTAL))
    assert "### (a) l = 100; baseline 21.50 ± 1.29 %" in text
    first = next(row for row in table_rows(text) if row[0] == "49,900")
    assert first[1:5] == ["+0.00 ± 0.00"] * 3 + ["-1.00 ± 0.00"]
    # The three networks of (b), each against its own baseline.
    networks = [f"{n}, exponential" for n in ("60-50", "70-60-50", "80-70-60-50")]
    assert ["u", *networks] in table_rows(text)
    assert text.index("### Claims") < text.index("**5. exponential is the best")
    names = ("table.md", "error_against_u.png", "gain_against_l.png")
    assert all((tmp_path / name).stat().st_size > 0 for name in names)


def test_runs_that_diverged_are_told():
    c, found = rows(paper)
    lost = {("stairs", seed) for seed in range(4)} | {("linear", 0)}
    found = [
        r._replace(status="diverged") if (r.method, r.seed) in lost else r
        for r in found
    ]
    text = "\n".join(report.by_unlabelled(c, Cells(c, found, TOTAL)))
    row = next(row for row in table_rows(text) if row[0] == "49,900")
    _, _, stairs, _, linear, _ = row
    assert stairs == "(4 diverged)"
    assert linear.endswith("* (1 diverged)")


def test_one_u_cannot_show_growth(tmp_path):
    c, found = rows(paper)
    c.study.unlabelled = (0, -1)
    claim = claims(Cells(c, found, TOTAL))[2]
    assert (claim.findings, claim.verdict) == ([], UNKNOWN)
    report.write(c, tmp_path, Cells(c, found, TOTAL))


def test_growth_is_up_to_the_middle_u_and_saturation_over_the_last_three():
    c, found = rows(paper)
    assert [f.what for f in claims(Cells(c, found, TOTAL))[2].findings] == [
        "exponential, u = 10,000 less u = 1,000",
        "exponential, u = 49,900 less u = 20,000",
    ]


def test_the_order_of_a_grid_does_not_matter():
    c, found = rows(paper)
    expected = claims(Cells(c, found, TOTAL))
    c.study.labelled, c.study.unlabelled = c.study.labelled[::-1], (
        *c.study.unlabelled[::-1], 40_000,
    )  # fmt: skip
    assert claims(Cells(c, found, TOTAL)) == expected


def test_a_star_is_a_paired_test():
    c, found = rows(paper)
    text = "\n".join(report.by_unlabelled(c, Cells(c, found, TOTAL)))
    row = next(row for row in table_rows(text) if row[0] == "49,900")
    _, matched, stairs, abridged, *_ = row
    assert "*" not in matched
    assert stairs.startswith("-0.0")
    assert abridged.endswith("*")


def test_two_stars_are_a_test_that_many_others_do_not_explain():
    """Of 184 cells, three are the baseline itself and have no test."""
    c, found = rows(lambda r: -5.0 * (r.method == "linear"), noise=1.0)
    same = {"baseline": 0, "baseline_matched": 0}  # Their only u with the same steps.
    found = [
        r._replace(test_error=0.2) if same.get(r.method) == r.unlabelled else r
        for r in found
    ]
    legend, *text = report.by_unlabelled(c, Cells(c, found, TOTAL))
    assert "with 3 degrees of freedom" in legend
    assert "for the 181 tests" in legend
    assert "by chance alone, about 9 would have one" in legend
    cells = [cell for t in text for row in table_rows(t) for cell in row]
    two = sum(x.endswith("**") for x in cells)
    one = sum("*" in x for x in cells)
    assert f"{one} cells have a star, {two} have two" in legend
    linear = [row[4] for t in text if "linear" in t for row in table_rows(t)[2:]]
    assert len(linear) == 23
    true = sum(x.endswith("**") for x in linear)
    assert true > 15, "linear differs, and nothing else"
    assert two - true <= 0.1 * two, "5 % are expected"
    assert one > two


def test_what_is_not_there_is_said(tmp_path):
    c, found = rows(paper)
    some = [r for r in found if r.method in ("baseline", "stairs") and r.seed < 2]
    text = report.write(c, tmp_path, Cells(c, some, TOTAL))
    row = next(row for row in table_rows(text) if row[0] == "49,900")
    assert row[1] == "-"
    assert row[2] != "-"


def test_a_grid_of_one_u_has_a_line_a_method(tmp_path):
    c = weights.get_config()
    c.study.seeds = 2
    found = []
    for run in grid.runs(c, TOTAL):
        last = 0.2 if run.method == "baseline" else 0.1 + run.seed / 100
        row = Row("50", *run[1:], "done", last, 1.0, 50, last / 2, last / 4, 7.5)
        found.append(row)
    text = report.write(c, tmp_path, Cells(c, found[:-1], TOTAL))
    assert "### (a) hidden 50, l = 1,000, u = 49,000" in text
    row = ["famo", "10.50 ± 0.71", "5.25 ± 0.35", "2.62 ± 0.18", "7.5"]
    assert table_rows(text).count([*row, "-9.50 ± 0.71**"]) == 2
    one_seed = ["ratio", "10.00", "5.00", "2.50", "7.5", "-10.00"]
    assert one_seed in table_rows(text)
    assert [path.name for path in tmp_path.iterdir()] == ["table.md"]


def test_without_a_baseline_there_is_no_gain():
    c = best.get_config("vat100")
    row = Row("500-250", 100, 49_900, "constant", 0, "done", *(0.25, 0.2), 8,
              *(0.125, 0.1), 3.0)  # fmt: skip
    *_, heading, table = report.by_method(c, Cells(c, [row], TOTAL))
    assert heading == "### (a) hidden 500-250, l = 100, u = 49,900"
    heads = ["", "test, last", "test, best", "validation, best", "seconds a run"]
    only = ["constant", "25.00", "12.50", "10.00", "3"]
    first, _, *others = table_rows(table)
    assert [first, *others] == [heads, only]


def test_rows_come_back_as_they_were(tmp_path):
    row = Row("9-8", 7, 6, "stairs", 5, "done", 0.125, 0.25, 4, 0.5, 0.0625, 1.5)
    write(tmp_path / "results.csv", [row])
    assert read(tmp_path / "results.csv") == [row]
    assert row.run == grid.Run((9, 8), 7, 6, "stairs", 5)
