"""Tests that the figures show their data."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from mtl import figures as base
from structured.report import figures


def rows(values, part="valid"):
    return [{"epoch": t, f"{part}/mse": v} for t, v in values.items()]


def test_mse_curves_are_means_over_seeds_with_a_band():
    # Some rows lack a key, and the seeds have different numbers of epochs.
    seeds = [
        rows({1: 0.4, 2: 0.2}) + rows({2: 1, 3: 0.1}, "train"),
        rows({1: 0.2, 2: 0.1}) + rows({2: 3, 3: 0.3, 4: 0.5}, "train"),
    ]
    train, validation = figures.mse_curves({"MLP": seeds}).axes
    assert (train.get_yscale(), validation.get_yscale()) == ("log", "log")
    assert train.lines[0].get_xdata().tolist() == [2, 3]
    assert train.lines[0].get_ydata() == pytest.approx([2, 0.2])
    assert validation.lines[0].get_xdata().tolist() == [1, 2]
    assert validation.lines[0].get_ydata() == pytest.approx([0.3, 0.15])
    (band,) = validation.collections
    corners = {tuple(v) for v in band.get_paths()[0].vertices.round(6)}
    assert corners == {(1, 0.2), (1, 0.4), (2, 0.1), (2, 0.2)}


def test_a_variant_has_one_colour_and_one_line_in_the_legend():
    both = [rows({1: 0.4, 2: 0.3}) + rows({1: 0.3, 2: 0.2}, "train")]
    runs = {"valid alone": [rows({1: 0.5, 2: 0.4})], "both": both}
    figure = figures.mse_curves(runs)
    train, validation = figure.axes
    assert [line.get_label() for line in train.lines] == ["both"]
    assert train.lines[0].get_color() == validation.lines[1].get_color()
    assert validation.lines[0].get_color() != validation.lines[1].get_color()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["valid alone", "both"]


def test_only_values_with_a_unit_name_it():
    """The box is that of a face; digits and arrays have none."""
    curves = {"MLP": [rows({1: 0.4, 2: 0.3})]}
    assert figures.mse_curves(curves).axes[0].get_ylabel() == "MSE"
    of_faces = figures.mse_curves(curves, "box units")
    assert of_faces.axes[0].get_ylabel() == "MSE, box units"


def test_a_single_value_is_a_dashed_line_across():
    runs = {"mean": [rows({0: 0.0080}), rows({0: 0.0082})]}
    _, validation = figures.mse_curves(runs).axes
    (line,) = validation.lines
    assert line.get_linestyle() == "--"
    assert line.get_xdata() == [0, 1]
    assert line.get_ydata() == pytest.approx([0.0081, 0.0081])


def test_cdf_curves_are_means_over_seeds_with_their_scores():
    errors = {"MLP": np.array([[0.0504, 0.2504], [0.1504, 0.4984]])}
    (ax,) = figures.cdf_curves(errors).axes
    mark, line = ax.lines
    assert mark.get_xdata() == [0.1, 0.1]
    x, y = line.get_data()
    assert (x[0], x[-1]) == (0, 0.5)
    steps = {0.04: 0, 0.1: 25, 0.2: 50, 0.3: 75, 0.5: 100}
    assert np.interp(list(steps), x, y) == pytest.approx(list(steps.values()))
    # Each error counts from the next threshold on, and half of the interval before:
    # (0.4485 + 0.2485 + 0.3485 + 0.0005) / 4 / 0.5.
    (text,) = ax.get_legend().get_texts()
    assert text.get_text() == "MLP: AUC 52.30 %, CDF$_{0.1}$ 25.00 %"
    (band,) = ax.collections
    edges = band.get_paths()[0].vertices
    assert set(edges[edges[:, 0] == x[300], 1]) == {50, 100}


def test_best_median_and_worst_faces_are_picked():
    errors = np.array([5, 0, 9, 3, 7, 1, 8, 2, 6, 4]) / 10
    np.testing.assert_allclose(
        errors[figures.pick_faces(errors, 2)] * 10, [0, 1, 4, 5, 8, 9]
    )
    assert figures.pick_faces(errors[:9], 1).tolist() == [1, 0, 2]
    odd = np.append(errors, np.nan)
    assert figures.pick_faces(odd, 1).tolist() == [1, 0, 10]


def test_no_face_is_picked_twice():
    for n in range(9, 14):
        picked = figures.pick_faces(np.zeros(n), 3)
        assert len(set(picked.tolist())) == 9
    with pytest.raises(ValueError, match="8 faces are too few"):
        figures.pick_faces(np.zeros(8), 3)


def test_faces_have_segments_from_prediction_to_truth():
    rng = np.random.default_rng(0)
    images = rng.random((6, 10, 12))
    predicted, truth = rng.uniform(0, 10, (2, 6, 5, 2))
    figure = figures.faces(images, predicted, truth, list("abcdef"))
    assert [ax.get_title() for ax in figure.axes] == list("abcdef")
    rows = [ax.get_ylabel() for ax in figure.axes]
    assert rows == ["best", "", "median", "", "worst", ""]
    for i, ax in enumerate(figure.axes):
        np.testing.assert_array_equal(ax.images[0].get_array(), images[i])
        (segments,) = ax.collections
        ends = np.array(segments.get_segments())
        np.testing.assert_array_equal(ends[:, 0], predicted[i])
        np.testing.assert_array_equal(ends[:, 1], truth[i])
        assert segments.get_colors().tolist() == [list(to_rgba("red"))]
        dots = {line.get_label(): line.get_xydata() for line in ax.lines}
        np.testing.assert_array_equal(dots["prediction"], predicted[i])
        np.testing.assert_array_equal(dots["truth"], truth[i])
        # The image is upright and wholly visible.
        left, right = ax.get_xlim()
        bottom, top = ax.get_ylim()
        assert left < -0.5 < 11.5 < right
        assert top < -0.5 < 9.5 < bottom


def test_faces_that_do_not_fill_the_rows_are_refused():
    points = np.zeros((4, 5, 2))
    with pytest.raises(ValueError, match="4 faces"):
        figures.faces(np.zeros((4, 9, 9)), points, points, list("abcd"))


def test_completions_join_the_halves():
    rng = np.random.default_rng(0)
    given, truth = rng.random((3, 4, 6)), rng.random((3, 2, 6))
    guess = rng.normal(size=truth.shape)
    figure = figures.completions(given, truth, {"MLP": guess})
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["truth", "MLP"]
    grid = np.asarray(ax.images[0].get_array())
    lines = iter(ax.collections[0].get_segments())
    for row, lower in enumerate([truth, np.clip(guess, 0, 1)]):
        for column in range(3):
            image = grid[7 * row :, 7 * column :][:6, :6]
            np.testing.assert_array_equal(image[:4], given[column])
            np.testing.assert_array_equal(image[4:], lower[column])
            # The line is between the given rows and the others.
            left, y = 7 * column - 0.5, 7 * row + 3.5
            np.testing.assert_allclose(next(lines), [[left, y], [left + 6, y]])


def test_figures_can_be_saved(tmp_path):
    """Layouts are computed when a figure is drawn, and could warn."""
    points, half = np.ones((3, 5, 2)), np.zeros((1, 4, 6))
    for figure in (
        figures.mse_curves({"MLP": [rows({1: 0.4, 2: 0.3})]}),
        figures.cdf_curves({"MLP": np.full((1, 3), 0.2)}),
        figures.faces(np.zeros((3, 9, 9)), points, points, list("abc")),
        figures.completions(half, half, {"MLP": half}),
    ):
        base.save(figure, tmp_path / "a.png")
        assert (tmp_path / "a.png").stat().st_size > 1000
