"""Shares of scans on either side of each limit, counted by hand."""

import numpy as np
import pytest

from l3spot import evaluate
from l3spot.report import metrics

L3_MM = 100.0


def shares(errors_mm):
    error_mm = np.array(errors_mm)
    signs = np.where(np.arange(len(error_mm)) % 2, 1, -1)
    return metrics.errors(L3_MM + signs * error_mm, np.full(len(error_mm), L3_MM))


@pytest.mark.parametrize(("error_mm", "wrong"), [(17.9, 0), (18.1, 1), (19.9, 1)])
def test_another_vertebra_begins_at_18_mm(error_mm, wrong):
    assert shares([error_mm])["wrong_vertebra"] == wrong
    assert shares([0.0, error_mm, 0.0, error_mm])["wrong_vertebra"] == wrong / 2


def test_within_5_and_10_mm_have_their_ends():
    errors = shares([4.9, 5.0, 5.1, 9.9, 10.0, 10.1, 17.0, 30.0])
    assert errors["within_5_mm"] == 2 / 8
    assert errors["within_10_mm"] == 5 / 8
    assert errors["wrong_vertebra"] == 1 / 8


def test_another_vertebra_of_files(tmp_path):
    predicted_mm = {"a": 117.9, "b": 118.1, "c": 81.9, "d": 82.1, "e": 119.5}
    lines = [f"{name},found,{z_mm}" for name, z_mm in predicted_mm.items()]
    (tmp_path / "results.csv").write_text("\n".join(["scan,status,z_mm", *lines]))
    rows = [f"{name},{L3_MM}" for name in predicted_mm]
    (tmp_path / "labels.csv").write_text("\n".join(["scan,z_mm", *rows]))
    results, labels = tmp_path / "results.csv", tmp_path / "labels.csv"
    errors = evaluate.evaluate(results, labels).errors
    assert errors["wrong_vertebra"] == pytest.approx(3 / 5)


def table(path, head, rows):
    path.write_text("\n".join([head, *rows]))
    return path


def test_ten_folds_and_more_come_in_the_order_of_their_numbers(tmp_path):
    lines = [f"s{n},found,100,{n}" for n in range(12)]
    results = table(tmp_path / "r.csv", "scan,status,z_mm,fold", lines)
    marked = table(tmp_path / "l.csv", "scan,z_mm", [f"s{n},99" for n in range(12)])
    *folds, average = evaluate.evaluate(results, marked).folds
    assert [fold.name for fold in folds] == [str(n) for n in range(12)]
    assert average.errors["scans"] == 12


def test_readers_are_compared_over_the_scans_that_all_have(tmp_path):
    results = table(
        tmp_path / "r.csv", "scan,status,z_mm", [f"{s},found,100" for s in "abc"]
    )
    readers = [
        table(tmp_path / f"{scans}.csv", "scan,z_mm", [f"{s},{z_mm}" for s in scans])
        for scans, z_mm in (("abc", 90), ("ab", 94))
    ]
    reader, program = evaluate.compare_readers(results, readers)
    assert (reader.errors["scans"], reader.errors["mean_mm"]) == (2, 4)
    assert (program.errors["scans"], program.errors["mean_mm"]) == (2, 10)
