"""Errors in mm and slices, by fold and by reader, against Python's own statistics."""

import functools
import json
import random
import statistics

import pytest

from l3spot import evaluate
from l3spot.report import metrics, tables
from mtl.host.errors import DataError
from tests import program

N = 24


@pytest.fixture
def scans(tmp_path):
    """Writes files of random numbers; returns z, spacing, lowest slice and fold."""
    draw = random.Random(0)
    given = {}
    for i in range(N):
        given[f"s{i}"] = {
            "predicted": round(draw.uniform(-60, 60), 2),
            "step": draw.choice([0.75, 3.0]),
            "low": round(draw.uniform(-200, -100), 1), "fold": str(i % 3),
            "a": draw.randrange(100, 140), "b": draw.randrange(100, 140),
            "c": draw.randrange(100, 140),
        }  # fmt: skip
    results = ["scan,status,z_mm,slice_mm,low_mm,fold"]
    results += [
        f"{n},found,{g['predicted']},{g['step']},{g['low']},{g['fold']}"
        for n, g in given.items()
    ]
    results.append("broken,failed,,,,0")
    (tmp_path / "results.csv").write_text("\n".join(results))
    for reader in "abc":
        rows = [f"{n},{g[reader]}" for n, g in given.items()]
        (tmp_path / f"{reader}.csv").write_text("scan,slice_index\n" + "\n".join(rows))
    return tmp_path, given


def errors_of(given, one, other):
    """Returns the errors of all scans in slices and in mm."""

    def z(g, who):
        return g["predicted"] if who == "predicted" else g["low"] + g[who] * g["step"]

    mm = [abs(z(g, one) - z(g, other)) for g in given]
    return [e / g["step"] for e, g in zip(mm, given, strict=True)], mm


def test_errors_in_slices_are_those_in_mm_over_the_spacing(scans):
    folder, given = scans
    summary = evaluate.evaluate(folder / "results.csv", folder / "a.csv").errors
    for unit, values in zip(
        ("slices", "mm"), errors_of(given.values(), "predicted", "a"), strict=True
    ):
        cut = statistics.quantiles(values, n=20, method="inclusive")
        assert summary[f"mean_{unit}"] == pytest.approx(statistics.fmean(values))
        assert summary[f"std_{unit}"] == pytest.approx(statistics.pstdev(values))
        assert summary[f"median_{unit}"] == pytest.approx(statistics.median(values))
        assert summary[f"p95_{unit}"] == pytest.approx(cut[-1])
        assert summary[f"max_{unit}"] == pytest.approx(max(values))
    assert (summary["scans"], summary["compared"]) == (N, N)


def test_folds_and_their_average(scans):
    folder, given = scans
    evaluation = evaluate.evaluate(folder / "results.csv", folder / "a.csv")
    *folds, average = evaluation.folds
    means, stds = {}, {}
    for fold in "012":
        own = [g for g in given.values() if g["fold"] == fold]
        means[fold], stds[fold] = zip(
            *(
                (statistics.fmean(v), statistics.pstdev(v))
                for v in errors_of(own, "predicted", "a")
            ),
            strict=True,
        )
    for fold, errors in folds:
        assert errors["mean_slices"] == pytest.approx(means[fold][0])
        assert errors["std_mm"] == pytest.approx(stds[fold][1])
        assert errors["scans"] == N / 3
    assert average.name == "average"
    for i, unit in enumerate(("slices", "mm")):
        mean = sum(m[i] for m in means.values()) / 3
        std = sum(s[i] for s in stds.values()) / 3
        assert average.errors[f"mean_{unit}"] == pytest.approx(mean)
        assert average.errors[f"std_{unit}"] == pytest.approx(std)


def test_the_average_row_equals_the_papers():
    """VGG16 in its table of folds."""
    vgg = [(2.06, 4.39), (1.78, 2.09), (1.54, 1.54), (1.96, 1.62), (1.74, 1.96)]
    rows = [
        {"scans": 1, "compared": 1, "mean_slices": m, "std_slices": s} for m, s in vgg
    ]
    summary = metrics.average(rows)
    assert (round(summary["mean_slices"], 2), round(summary["std_slices"], 2)) == (
        1.82,
        2.32,
    )
    assert "mean_mm" not in summary


def test_folds_can_come_from_the_labels(scans):
    folder, given = scans
    text = (folder / "results.csv").read_text().replace(",fold", ",other")
    (folder / "results.csv").write_text(text)
    rows = [f"{n};{g['a']}; {int(n[1:]) % 2}" for n, g in given.items()]
    (folder / "a.csv").write_text("scan; slice_index; fold\n" + "\n".join(rows))
    folds = evaluate.evaluate(folder / "results.csv", folder / "a.csv").folds
    assert [fold.name for fold in folds] == ["0", "1", "average"]
    odd = [g for n, g in given.items() if int(n[1:]) % 2]
    assert folds[1].errors["mean_mm"] == pytest.approx(
        statistics.fmean(errors_of(odd, "predicted", "a")[1])
    )


def test_readers_are_compared_with_the_first(scans):
    folder, given = scans
    with (folder / "c.csv").open("a") as stream:
        stream.write("\nother,7\n")
    files = [folder / f"{r}.csv" for r in "abc"]
    readers = evaluate.compare_readers(folder / "results.csv", files)
    assert [reader.name for reader in readers] == [*map(str, files[1:]), "l3spot"]
    for (_, row), who in zip(readers, ("b", "c", "predicted"), strict=True):
        slices, mm = errors_of(given.values(), who, "a")
        assert row["mean_slices"] == pytest.approx(statistics.fmean(slices))
        assert row["std_slices"] == pytest.approx(statistics.pstdev(slices))
        assert row["mean_mm"] == pytest.approx(statistics.fmean(mm))
        assert row["std_mm"] == pytest.approx(statistics.pstdev(mm))
        assert row["scans"] == N
    # Of two readers the distance in slices is a whole number.
    assert readers[0].errors["max_slices"] == pytest.approx(
        max(abs(g["a"] - g["b"]) for g in given.values())
    )


def test_unknown_spacings_leave_out_slices(scans):
    folder, _ = scans
    (folder / "z.csv").write_text("scan,z_mm\ns0,1\ns1,2\n")
    text = (folder / "results.csv").read_text()
    (folder / "old.csv").write_text(text.replace("slice_mm", "other"))
    evaluation = evaluate.evaluate(folder / "old.csv", folder / "z.csv")
    assert "mean_mm" in evaluation.errors
    assert "mean_slices" not in evaluation.errors
    text = tables.text(evaluation.errors, {"fold": evaluation.folds})
    assert "-" in text.split("\n\n")[1]
    with pytest.raises(DataError, match="has slice_mm"):
        evaluate.evaluate(folder / "old.csv", folder / "a.csv")
    (folder / "zero.csv").write_text("scan,status,z_mm,slice_mm\ns0,found,1,0\n")
    with pytest.raises(DataError, match=r"zero\.csv, row 2: slice_mm=0"):
        evaluate.evaluate(folder / "zero.csv", folder / "z.csv")


def test_the_launcher_prints_aligned_tables_and_writes_json(scans, monkeypatch):
    folder, _ = scans
    monkeypatch.chdir(folder)
    run = functools.partial(program.call, "l3spot.evaluate", "--results", "results.csv")
    done = run("--readers", "a.csv,b.csv,c.csv", "--out", "out.json")
    assert done.returncode == 0, done.stderr
    numbers, folds, readers = done.stdout.strip().split("\n\n")
    assert "mean_slices" in numbers
    for table in (folds, readers):
        assert len({len(line) for line in table.splitlines()}) == 1
    summary = json.loads((folder / "out.json").read_text())
    average = folds.splitlines()[-1].split()
    assert average[0] == "average"
    assert f"{summary['folds'][-1]['mean_slices']:.2f}" == average[3]
    last = readers.splitlines()[-1].split()
    assert last[0] == "l3spot"
    assert f"{summary['readers'][-1]['mean_slices']:.2f}" == last[3]
    wrong = run("--labels", "a.csv", "--readers", "b.csv,c.csv")
    assert wrong.returncode == 1
    assert "give --labels, or" in wrong.stderr
