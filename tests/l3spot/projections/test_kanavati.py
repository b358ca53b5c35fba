"""Reading the file of Kanavati et al., and refusing malicious pickles."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from l3spot import project
from l3spot.projections import kanavati, projection_files
from mtl.host.errors import DataError
from tests.harm import Harm

SPACING = np.array([[0.8, 0.7, 2.0], [1.0, 1.0, 5.0], [1.0, 1.0, 1.0]])


def objects(values):
    made = np.empty(len(values), object)
    for i, v in enumerate(values):
        made[i] = v
    return made


def arrays():
    rng = np.random.default_rng(0)
    frontal = [
        rng.integers(-900, 900, s).astype(np.int16)
        for s in ((50, 40), (30, 45), (60, 50))
    ]
    lateral = [v[:, ::-1].copy() for v in frontal]
    rows = np.array([20.0, 12.0, -1.0])
    return {
        "images_f": objects(frontal),
        "images_s": objects(lateral),
        "spacings": SPACING,
        "names": np.array(["b/one", "two", "two"], object),
        "num_images": 3,
        "ydata": np.array({"A": rows, "B": rows + np.array([3, 0, 0])}, object),
    }


@pytest.fixture
def file(tmp_path):
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "l3_dataset.npz", **arrays())
    return tmp_path / "data" / "l3_dataset.npz"


def test_projections_labels_and_spacings_are_read(file):
    first, second, third = kanavati.read(file)
    p = first.projection
    # Rows of 2 mm become rows of 1 mm: every second one is in the file.
    sure = arrays()["images_f"][0]
    np.testing.assert_allclose(p.frontal[::2, 0], sure[:, 0], atol=1e-3)
    np.testing.assert_allclose(p.lateral[::2, 0], sure[:, -1], atol=1e-3)
    expected = (sure[20, 0] + sure[21, 0]) / 2
    np.testing.assert_allclose(p.frontal[41, 0], expected, atol=1e-3)
    # With columns of 0.8 mm, x = 5 mm lies at column 6.25.
    expected = 0.75 * sure[20, 6] + 0.25 * sure[20, 7]
    np.testing.assert_allclose(p.frontal[40, 5], expected, atol=1e-2)
    assert p.z.tolist() == [-float(i) for i in range(99)]
    assert p.x[-1] == 31.0
    assert p.y[-1] == 27.0
    # The mean of rows 20 and 23 is 21.5, at 2 mm per row.
    assert first.label == ("in view", -43.0, ())
    assert second.label.z == -60.0
    assert third.label.state == ""
    assert [f.name for f in (first, second, third)] == ["b_one", "two", "two_2"]
    for z, number in zip(p.z, p.nearest, strict=True):
        assert abs(first.slice_z[number] - z) == np.abs(first.slice_z - z).min()


@pytest.mark.parametrize(
    ("rows", "z_mm"),
    [
        ((20.0, 21.0, 25.0), -44.0),  # Their mean is row 22, at 2 mm per row.
        ((49.0, 49.0, 49.0), -98.0),  # The lowest of 50 rows.
        ((0.0, 0.0, 0.0), 0.0),
        ((50.0, 50.0, 50.0), None),
        ((20.0, np.nan, 20.0), None),
        ((-1.0, -1.0, -1.0), None),
    ],
)
def test_the_label_is_the_mean_of_all_readers_if_it_lies_in_the_scan(
    tmp_path, rows, z_mm
):
    readers = {f"R{i}": np.array([row, 1.0, 1.0]) for i, row in enumerate(rows)}
    given = arrays() | {"ydata": np.array(readers, object)}
    np.savez(tmp_path / "a.npz", **given)
    label = next(kanavati.read(tmp_path / "a.npz")).label
    if z_mm is None:
        assert label.state == ""
        assert np.isnan(label.z)
    else:
        assert label == ("in view", z_mm, ())


def test_arrays_may_be_stored_column_by_column(file, tmp_path):
    given = arrays() | {"spacings": np.asfortranarray(SPACING)}
    assert not np.array_equal(SPACING, SPACING.T)
    np.savez(tmp_path / "a.npz", **given)
    expected = [scan.projection.z for scan in kanavati.read(file)]
    for scan, z in zip(kanavati.read(tmp_path / "a.npz"), expected, strict=True):
        np.testing.assert_array_equal(scan.projection.z, z)


def test_the_launcher_writes_what_the_reader_loads(file, tmp_path):
    out = tmp_path / "out"
    report = project.project(file.parent, out)
    assert [r.status for r in report] == ["projected"] * 3
    result = {e.id: e for e in projection_files.load(out)}
    assert sorted(result) == ["b_one", "two", "two_2"]
    assert (result["b_one"].label, result["b_one"].l3_z) == ("in view", -43.0)
    assert result["b_one"].z[report[0].l3_row] == -43.0
    assert (result["two_2"].label, np.isnan(result["two_2"].l3_z)) == ("", True)
    assert (out / "montage.png").exists()
    with pytest.raises(DataError, match="has labels of its own"):
        project.project(file, out, labels_csv="labels.csv")


def test_views_that_give_one_row_are_rejected(file, tmp_path):
    """The views are 98, 145 and 59 mm high."""
    report = project.project(file, tmp_path / "out", row=100)
    assert [r.status for r in report] == ["rejected", "projected", "rejected"]
    assert [e.id for e in projection_files.load(tmp_path / "out")] == ["two"]


def with_pickle(path, member, content):
    """Replaces the pickle of one array of the file."""
    with zipfile.ZipFile(path) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    stream = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(stream, header)
    members[member] = stream.getvalue() + content
    with zipfile.ZipFile(path, "w") as archive:
        for name, inside in members.items():
            archive.writestr(name, inside)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_runs_no_code(file, tmp_path, protocol):
    harm = tmp_path / "harm"
    content = pickle.dumps(Harm(harm), protocol)
    pickle.loads(content)
    assert harm.is_dir()  # The pickle works if it is trusted.
    harm.rmdir()
    with_pickle(file, "ydata.npy", content)
    with pytest.raises(DataError, match=r"it asks for .*mkdir"):
        list(kanavati.read(file))
    assert not harm.exists()


HARMLESS = [
    b"cnumpy\nload\n.",
    b"cbuiltins\neval\n(S'1'\ntR.",
    b"cnumpy.core.multiarray\nfromfile\n.",
    b"cnumpy\ndtype.__class__\n.",
    b"c__main__\nx\n.",
    b"not a pickle",
    b"",
]


@pytest.mark.parametrize("content", HARMLESS)
def test_other_globals_and_broken_pickles_are_refused(file, content):
    with_pickle(file, "names.npy", content)
    with pytest.raises(DataError, match="l3_dataset"):
        list(kanavati.read(file))


@pytest.mark.parametrize("core", [b"core", b"_core"])
def test_files_of_old_and_new_numpy_are_read(file, core):
    """NumPy 2 has another module for `_reconstruct`."""
    content = pickle.dumps(arrays()["ydata"], 3)
    assert b"cnumpy._core.multiarray" in content
    other = content.replace(b"cnumpy._core.", b"cnumpy." + core + b".")
    with_pickle(file, "ydata.npy", other)
    assert next(kanavati.read(file)).label.z == -43.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ydata": np.zeros(3)}, "ydata is no dict"),
        ({"ydata": np.array({"A": np.zeros(2)}, object)}, "not 3 rows"),
        ({"spacings": SPACING[:2]}, "spacings has not 3"),
        ({"spacings": -SPACING}, "has the spacing"),
        ({"images_s": objects([np.zeros(3)] * 3)}, "views of the shapes"),
    ],
)
def test_invalid_arrays_are_refused(tmp_path, change, message):
    np.savez(tmp_path / "a.npz", **(arrays() | change))
    with pytest.raises(DataError, match=r"a\.npz") as e:
        list(kanavati.read(tmp_path / "a.npz"))
    assert message in str(e.value)


def test_files_that_are_no_npz_are_refused(tmp_path):
    (tmp_path / "a.npz").write_text("no zip")
    with pytest.raises(DataError, match=r"a\.npz is no \.npz"):
        list(kanavati.read(tmp_path / "a.npz"))
    np.savez(tmp_path / "b.npz", names=np.zeros(3))
    with pytest.raises(DataError, match="has no images_f, images_s, spacings, ydata"):
        list(kanavati.read(tmp_path / "b.npz"))
