import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from structured.faces.points import read_pts, write_pts
from tests.mtl.images import assert_refused, mutations, repeatable

THREE = "version: 1\nn_points: 3\n{\n1 1\n2.5 3\n-4 1e2\n}\n"
XY = [[0, 0], [1.5, 2], [-5, 99]]


def pts(tmp_path, content):
    path = tmp_path / "a.pts"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_points_count_from_0(tmp_path):
    points = read_pts(pts(tmp_path, THREE))
    assert points.dtype == np.float64
    assert points.tolist() == XY


@pytest.mark.parametrize(
    "content",
    [
        THREE.replace("\n", "\r\n"),
        "\ufeff" + THREE,
        THREE.replace("version: 1", "version: 1.0"),
        THREE.replace("n_points: 3", "n_points:  3 "),
        THREE.replace("2.5 3", "  2.5\t3  "),
        "# made by hand\n\n" + THREE.replace("{", "// here they are\n{\n\n") + "\n\n",
        THREE.rstrip(),
    ],
    ids=["CRLF", "BOM", "1.0", "spaces", "tab", "comments", "no last newline"],
)
def test_variants_of_the_format_are_read(tmp_path, content):
    assert read_pts(pts(tmp_path, content), 3).tolist() == XY


@repeatable
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.just(2)),
        elements=st.floats(-1e5, 1e5),
    )
)
def test_round_trip(tmp_path, points):
    path = tmp_path / "a.pts"
    write_pts(path, points)
    np.testing.assert_allclose(read_pts(path, len(points)), points, rtol=0, atol=1e-7)
    assert [p.name for p in tmp_path.iterdir()] == ["a.pts"]


def test_a_written_file_counts_from_1(tmp_path):
    write_pts(tmp_path / "a.pts", np.array([[0.0, 9.25]]))
    assert (tmp_path / "a.pts").read_text().split() == [
        "version:", "1", "n_points:", "1", "{", "1.00000000", "10.25000000", "}"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "points",
    [np.zeros((0, 2)), np.zeros(4), np.zeros((2, 3)), np.array([[0, np.nan]])],
    ids=["none", "flat", "three columns", "NaN"],
)
def test_bad_points_are_not_written(tmp_path, points):
    with pytest.raises(ValueError, match="finite"):
        write_pts(tmp_path / "a.pts", points)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not a whole .pts"),
        ("hello", "not a whole .pts"),
        (b"\xff\xd8\xff\xe0 a JPEG", "not text"),
        (THREE[:-2], "not a whole .pts"),
        (THREE.replace("{", ""), "not a whole .pts"),
        (THREE + "5 5\n", "not a whole .pts"),
        (THREE.replace("2.5 3\n", ""), "n_points says 3, but 2 follow"),
        (THREE.replace("2.5 3\n", "2.5 3\n" * 2), "n_points says 3, but 4 follow"),
        (THREE.replace("2.5 3", "2.5"), "x y"),
        (THREE.replace("2.5 3", "2.5 3 4"), "x y"),
        (THREE.replace("2.5 3\n-4 1e2", "2.5 3 -4\n1e2"), "x y"),
        (THREE.replace("2.5 3", "2.5 3 4 5"), "x y"),
        (THREE.replace("2.5", "2,5"), "2,5"),
        (THREE.replace("2.5", "nan"), "not finite"),
        (THREE.replace("2.5", "inf"), "not finite"),
        (THREE.replace("version: 1", "version: 2"), "version 2"),
        (THREE.replace("version: 1\n", ""), "starts with 'version: 1'"),
        (THREE.replace("n_points: 3\n", ""), "starts with 'version: 1'"),
        (THREE.replace("n_points: 3", "n_points: three"), "starts with 'version: 1'"),
        ("version: 1\nn_points: 0\n{\n}\n", "0 points"),
        ("version: 1\nn_points: -1\n{\n}\n", "-1 points"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path, content, problem):
    path = pts(tmp_path, content)
    assert_refused(lambda: read_pts(path), str(path), problem)


def test_another_number_of_points_is_refused(tmp_path):
    path = pts(tmp_path, THREE)
    assert_refused(lambda: read_pts(path, 68), str(path), "3 points", "68")


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "absent.pts"
    assert_refused(lambda: read_pts(path), str(path), "No such file")
    assert_refused(lambda: read_pts(tmp_path), str(tmp_path), "cannot be read")


@repeatable
@given(mutate=mutations(len(THREE)))
def test_a_mutated_file_is_read_or_refused(tmp_path, mutate):
    path = pts(tmp_path, mutate(THREE.encode()))
    try:
        points = read_pts(path)
    except Exception as e:
        assert type(e).__name__ == "DataError"  # noqa: PT017
        assert str(path) in str(e)  # noqa: PT017
    else:
        assert points.ndim == 2
        assert points.shape[1] == 2
        assert np.isfinite(points).all()


MISSING = THREE.replace("2.5 3", "nan NaN")


def test_a_line_of_nan_is_a_missing_point_if_that_is_allowed(tmp_path):
    points = read_pts(pts(tmp_path, MISSING), 3, partial=True)
    np.testing.assert_array_equal(points, [[0, 0], [np.nan, np.nan], [-5, 99]])
    path = tmp_path / "a.pts"
    assert_refused(
        lambda: read_pts(path), str(path), "point 2 is missing", "data.partial_y=True"
    )
    for bad, message in {
        THREE.replace("2.5 3", "nan 3"): "point 2 is not finite",
        THREE.replace("2.5 3", "inf nan"): "point 2 is not finite",
        "version: 1\nn_points: 1\n{\nnan nan\n}\n": "all points are missing",
    }.items():
        path = pts(tmp_path, bad)
        assert_refused(lambda p=path: read_pts(p, partial=True), str(path), message)
