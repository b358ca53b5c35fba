"""The text of `l3spot.evaluate`, line by line."""

from l3spot.report import tables
from l3spot.report.metrics import Group

ROW = {"scans": 12.0, "compared": 9.0, "mean_slices": 1.5, "std_slices": 0.25,
       "mean_mm": 4.125, "std_mm": 12.0, "wrong_vertebra": 0.125}  # fmt: skip


def test_numbers_then_a_table_with_means_and_standard_deviations():
    average = {"scans": 9, "compared": 8, "mean_mm": 3, "std_mm": 1}
    errors = {"scans": 12.0, "mean_mm": 4.12345, "wrong_vertebra": 0.0625}
    folds = [Group("a", ROW), Group("average", average)]
    text = tables.text(errors, {"fold": folds, "reader": []})
    assert text.splitlines() == [
        "scans               12",
        "mean_mm          4.123",
        "wrong_vertebra  0.0625",
        "",
        "fold     scans  compared       slices            mm  wrong vertebra"
        "  inside the body",
        "a           12         9  1.50 ± 0.25  4.12 ± 12.00          12.5 %"
        "                -",
        "average      9         8            -   3.00 ± 1.00               -"
        "                -",
    ]
