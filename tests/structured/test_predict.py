import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs.structured import helen
from mtl.host.errors import WorkdirError
from structured import assemble, data, experiment, predict
from structured.faces import crops, landmarks, overlays
from structured.faces.points import read_pts, write_pts
from tests import program
from tests.mtl.images import assert_refused

TEST = "helen/testset"
NUM_TEST_FACES = 7


def write_face(place, seed, ending=".jpg"):
    """Writes an image of 64 x 48 pixels and its 68 points."""
    place.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    grey = Image.fromarray(rng.integers(0, 256, (12, 16), np.uint8)).resize((64, 48))
    grey.save(place.with_suffix(ending))
    write_pts(place.with_suffix(".pts"), rng.uniform([8, 6], [50, 40], (68, 2)))


def small(root):
    """Returns a config that uses every field of a crop."""
    c = helen.get_config("smoke")
    c.data.path, c.data.size = str(root), 12
    c.data.margin, c.data.context, c.data.square = 0.1, 3, True
    c.augmentation.on = True
    c.model.input, c.model.link, c.model.output = (16,), (8,), (8,)
    c.variant, c.epochs, c.eval_every, c.save_every = "mlp", 2, 2, 2
    c.schedule.input, c.schedule.output = (1.0, 2.0), (1.0, 2.0)
    return c


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("300w")
    for i in range(12):
        write_face(folder / "helen/trainset" / f"a_{i}", i)
    for i in range(NUM_TEST_FACES):
        write_face(folder / TEST / f"b_{i}", 50 + i, ".png" if i == 3 else ".jpg")
    return folder


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    """Trains a run and returns its folder, which tests do not change."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    experiment.train_and_evaluate(small(root), folder)
    return folder


@pytest.fixture(scope="module")
def expected(run, root):
    """Returns the run's own predictions, [68, 2] in pixels from 0, by name."""
    faces = data.load(small(root)).faces
    y = np.load(run / "predictions.npz")["predicted"]
    names = [Path(name).name for name in faces.name]
    return dict(zip(names, crops.from_frame(y, faces.frame), strict=True))


@pytest.fixture
def images(root, tmp_path):
    """Copies the test faces, so that tests may change them."""
    return Path(shutil.copytree(root / TEST, tmp_path / "images"))


def rows(out):
    with (out / "landmarks.csv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def points_of(row):
    """Reads the points of a row, [68, 2] in pixels from 1."""
    return np.array([[float(row[f"{a}{k}"]) for a in "xy"] for k in range(1, 69)])


def box_of(row):
    return [float(row[c]) for c in ("left", "top", "width", "height")]


def files(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def contents(folder):
    return {name: (folder / name).read_bytes() for name in files(folder)}


def write_boxes(path, lines):
    path.write_text("\n".join(["name,left,top,width,height", *lines]) + "\n")
    return str(path)


# The launcher


def test_the_launcher_predicts_despite_a_bad_image(run, images, expected, tmp_path):
    (images / "deep/er").mkdir(parents=True)
    for ending in (".jpg", ".pts"):
        (images / "b_1").with_suffix(ending).rename(images / f"deep/er/b_1{ending}")
    (images / "b_2.pts").unlink()
    (images / "broken.jpg").write_text("no image")
    before, out = contents(images), tmp_path / "new" / "out"
    p = program.run(
        "structured.predict", f"--workdir={run}", f"--images={images}", f"--out={out}"
    )
    assert p.returncode == 1
    table = out / "landmarks.csv"
    assert p.stderr.splitlines()[-1] == (
        f"error: 1 of 8 images failed; {table} says why. The others are in {out}"
    )
    assert "Traceback" not in p.stderr
    assert contents(images) == before
    names = {"b_0", "deep/er/b_1", "b_2", "b_3", "b_4", "b_5", "b_6"}
    drawn = {f"{n}{end}" for n in names for end in (".pts", ".png")}
    assert files(out) == drawn | {"landmarks.csv"}

    table = rows(out)
    assert set(table) == {"b_3.png", "broken.jpg"} | {
        f"{n}.jpg" for n in names - {"b_3"}
    }
    failed = table.pop("broken.jpg")
    assert failed["status"] == "failed"
    assert "broken.jpg: not a whole JPEG or PNG" in failed["problem"]
    assert {failed[c] for c in ("box", "left", "x1", "y68", "nme_inter_ocular")} == {""}
    for name, row in table.items():
        place = (out / name).with_suffix("")
        assert (row["status"], row["problem"]) == ("predicted", "")
        assert row["box"] == ("image" if name == "b_2.jpg" else "pts")
        written = read_pts(place.with_suffix(".pts"), 68)
        np.testing.assert_array_equal(written + 1, points_of(row))
        with Image.open(place.with_suffix(".png")) as picture:
            assert picture.size == (overlays.PICTURE_SIZE_PX, overlays.PICTURE_SIZE_PX)
        if row["box"] == "pts":
            np.testing.assert_allclose(written, expected[place.name], atol=1e-3)


def test_the_launcher_with_boxes_and_without_pictures(run, images, expected, tmp_path):
    lines = []
    for path in sorted(images.glob("*.pts")):
        box = crops.tight_box(read_pts(path))
        image = next(p for p in images.glob(f"{path.stem}.*") if p != path)
        lines.append(f"{image.name},{','.join(map(str, box.tolist()))}")
        path.unlink()
    boxes, out = write_boxes(tmp_path / "boxes.csv", lines), tmp_path / "out"
    p = program.call(
        "structured.predict",
        f"--workdir={run}",
        f"--images={images}",
        f"--out={out}",
        f"--boxes={boxes}",
        "--nopictures",
    )
    assert p.returncode == 0, p.stderr
    assert p.stdout.startswith(
        f"{NUM_TEST_FACES} images with their landmarks in {out}; "
    )
    assert files(out) == {f"b_{i}.pts" for i in range(NUM_TEST_FACES)} | {
        "landmarks.csv"
    }
    for name, row in rows(out).items():
        assert (row["box"], row["nme_inter_ocular"]) == ("csv", "")
        expected_points = expected[Path(name).stem] + 1
        np.testing.assert_allclose(points_of(row), expected_points, atol=1e-3)


# Predictions


def test_predictions_and_errors_equal_those_of_the_run(run, images, expected, tmp_path):
    assert predict.predict(run, images, tmp_path / "out") == (NUM_TEST_FACES, 0)
    table = rows(tmp_path / "out")
    assert list(table) == sorted(table)
    for name, row in table.items():
        expected_points = expected[Path(name).stem]
        np.testing.assert_allclose(points_of(row), expected_points + 1, atol=1e-3)
        truth = read_pts((images / name).with_suffix(".pts"))
        np.testing.assert_array_equal(box_of(row), crops.tight_box(truth))
        distance = np.linalg.norm(expected_points - truth, axis=1).mean()
        nme = distance / np.linalg.norm(truth[36] - truth[45])
        assert float(row["nme_inter_ocular"]) == pytest.approx(nme, rel=1e-4)
    summary = json.loads((run / "summary.json").read_text())
    mean = np.mean([float(row["nme_inter_ocular"]) for row in table.values()])
    assert mean == pytest.approx(summary["test"]["nme_inter_ocular"], rel=1e-4)


def test_many_chunks_share_one_program(run, images, tmp_path, monkeypatch):
    predict.predict(run, images, tmp_path / "one", pictures=False)
    shapes, make = [], assemble.make_predict

    def remember(net):
        predict = make(net)
        return lambda params, x: shapes.append(x.shape) or predict(params, x)

    monkeypatch.setattr(assemble, "make_predict", remember)
    monkeypatch.setattr(landmarks, "IMAGES_PER_CHUNK", 3)
    (images / "b_1.jpg").write_text("")
    assert predict.predict(run, images, tmp_path / "many", pictures=False) == (
        NUM_TEST_FACES,
        1,
    )
    assert len(shapes) > 1
    assert len(set(shapes)) == 1
    one, many = rows(tmp_path / "one"), rows(tmp_path / "many")
    assert list(one) == list(many)
    for name in set(one) - {"b_1.jpg"}:
        np.testing.assert_allclose(
            points_of(many[name]), points_of(one[name]), atol=1e-3
        )


def test_without_box_or_points_the_face_is_the_whole_image(run, images, tmp_path):
    (images / "b_0.pts").unlink()
    predict.predict(run, images, tmp_path / "out")
    row = rows(tmp_path / "out")["b_0.jpg"]
    assert (row["box"], row["nme_inter_ocular"]) == ("image", "")
    assert box_of(row) == [-0.5, -0.5, 64, 48]
    boxes = write_boxes(tmp_path / "boxes.csv", ["b_0.jpg,-0.5,-0.5,64,48"])
    predict.predict(run, images, tmp_path / "again", boxes)
    again = rows(tmp_path / "again")["b_0.jpg"]
    np.testing.assert_array_equal(points_of(again), points_of(row))


def test_boxes_take_precedence_and_a_missing_box_fails(run, images, expected, tmp_path):
    (images / "b_2.JPEG").symlink_to("nowhere")
    (images / "sub").mkdir()
    for name in ("b_1.jpg", "b_0.pts"):
        (images / name).rename(images / "sub" / name)
    lines = ["b_0.jpg,5,6,50,40", "sub/b_1.jpg,5,6,50,40", "b_4.jpg,500,6,50,40"]
    boxes = write_boxes(tmp_path / "boxes.csv", lines)
    count, failed = predict.predict(run, images, tmp_path / "out", boxes)
    assert (count, failed) == (NUM_TEST_FACES + 1, NUM_TEST_FACES - 1)
    table = rows(tmp_path / "out")
    for name in ("b_0.jpg", "sub/b_1.jpg"):
        assert table[name]["box"] == "csv"
        assert box_of(table[name]) == [5, 6, 50, 40]
    assert "boxes.csv has no box for" in table["b_5.jpg"]["problem"]
    assert "outside of the image" in table["b_4.jpg"]["problem"]
    assert files(tmp_path / "out") == {
        *("b_0.pts", "b_0.png", "sub/b_1.pts", "sub/b_1.png", "landmarks.csv")
    }


def test_the_table_is_itself_a_file_of_boxes(run, images, tmp_path):
    predict.predict(run, images, tmp_path / "out")
    table = str(tmp_path / "out" / "landmarks.csv")
    predict.predict(run, images, tmp_path / "again", table)
    one, two = rows(tmp_path / "out"), rows(tmp_path / "again")
    for name, row in one.items():
        assert two[name] == row | {"box": "csv"}


def test_files_of_an_earlier_run_are_removed_for_bad_faces(run, images, tmp_path):
    out = tmp_path / "out"
    predict.predict(run, images, out)
    before = contents(out)
    predict.predict(run, images, out)
    assert contents(out) == before
    shutil.copy(images / "b_0.jpg", images / "b_0.jpeg")
    write_pts(images / "b_1.pts", np.ones((5, 2)) * [[3], [4], [5], [6], [7]])
    (images / "b_2.pts").write_text("version: 1")
    (images / "b_4.jpg").write_bytes((images / "b_4.jpg").read_bytes()[:300])
    write_pts(images / "b_5.pts", read_pts(images / "b_5.pts") + 1000)
    assert predict.predict(run, images, out) == (NUM_TEST_FACES + 1, 6)
    problems = {
        "b_0.jpeg": "another image differs only in its ending",
        "b_0.jpg": "another image differs only in its ending",
        "b_1.jpg": "b_1.pts: it has 5 points, where 68 are needed",
        "b_2.jpg": "b_2.pts: not a whole .pts file",
        "b_4.jpg": "b_4.jpg: not a whole JPEG or PNG",
        "b_5.jpg": "lies outside of the image",
    }
    table = rows(out)
    for name, row in table.items():
        assert problems.get(name, "") in row["problem"]
        assert row["status"] == ("failed" if name in problems else "predicted")
    good = {f"{n}{end}" for n in ("b_3", "b_6") for end in (".pts", ".png")}
    assert files(out) == good | {"landmarks.csv"}


def test_points_that_are_not_finite_fail(run, images, tmp_path, monkeypatch):
    def bad(net):
        return lambda params, x: np.full((len(x), 136), np.nan, np.float32)

    monkeypatch.setattr(assemble, "make_predict", bad)
    assert predict.predict(run, images, tmp_path / "out") == (
        NUM_TEST_FACES,
        NUM_TEST_FACES,
    )
    assert "not finite" in rows(tmp_path / "out")["b_0.jpg"]["problem"]


def test_hidden_files_are_ignored_and_any_name_is_kept(run, images, tmp_path):
    shutil.copytree(images, images / ".hidden")
    (images / "._b_0.jpg").write_text("Finder leaves such files")
    odd = 'a,"b"\n\udcff.v2'
    for ending in (".jpg", ".pts"):
        (images / f"b_0{ending}").rename(images / f"{odd}{ending}")
    out = tmp_path / "out"
    assert predict.predict(run, images, out) == (NUM_TEST_FACES, 0)
    assert (out / f"{odd}.pts").is_file()
    text = (out / "landmarks.csv").read_bytes().decode(errors="surrogateescape")
    names = [row[0] for row in csv.reader(text.splitlines(keepends=True))]
    assert f"{odd}.jpg" in names


# Errors before any work


def changed(run, folder, **changes):
    """Copies the run with another config."""
    shutil.copytree(run, folder)
    config = json.loads((run / "config.json").read_text())
    config["data"] |= {k: v for k, v in changes.items() if k in config["data"]}
    config |= {k: v for k, v in changes.items() if k in config}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def assert_no_run(folder, images, tmp_path, *parts):
    with pytest.raises(WorkdirError) as e:
        predict.predict(folder, images, tmp_path / "out")
    for part in (str(folder), *parts):
        assert part in str(e.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "digits"}, "holds a run on digits; landmarks need"),
        ({"source": "npz"}, "on 300w or wflw or the300w_lp"),
        ({"variant": "mean"}, "predicts the mean y for every x"),
    ],
)
def test_other_runs_are_refused(run, images, tmp_path, changes, message):
    assert_no_run(changed(run, tmp_path / "run", **changes), images, tmp_path, message)


def test_runs_on_the300w_lp_are_accepted(run, images, tmp_path):
    folder = changed(run, tmp_path / "run", source="the300w_lp")
    assert predict.predict(folder, images, tmp_path / "out") == (NUM_TEST_FACES, 0)


def test_a_missing_run_and_one_of_another_system_are_refused(images, tmp_path):
    assert_no_run(tmp_path / "run", images, tmp_path, "there is no config.json")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_text('{"method": "baseline"}')
    assert_no_run(tmp_path / "run", images, tmp_path, "landmarks need")


@pytest.mark.parametrize("missing", ["summary.json", "checkpoints/best"])
def test_an_unfinished_run_is_refused(run, images, tmp_path, missing):
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    (folder / missing).rename(tmp_path / "away")
    assert_no_run(folder, images, tmp_path, "not finished; train it to its end")


def test_folders_without_images_are_refused(run, images, tmp_path):
    out = tmp_path / "out"
    absent = tmp_path / "absent"
    assert_refused(lambda: predict.predict(run, absent, out), str(absent), "no folder")
    absent.mkdir()
    (absent / "a.gif").write_text("")
    (absent / "folder.jpg").mkdir()
    assert_refused(lambda: predict.predict(run, absent, out), str(absent), "no image")
    boxes = str(tmp_path / "no.csv")
    assert_refused(lambda: predict.predict(run, images, out, boxes), boxes, "no file")
    boxes = write_boxes(tmp_path / "bad.csv", ["b_0.jpg,1,2,x,4"])
    assert_refused(lambda: predict.predict(run, images, out, boxes), boxes, "'x'")
    assert not out.exists()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("images", "is, or lies in, --images"),
        ("images/out", "is, or lies in, --images"),
        ("link", "is, or lies in, --images"),
        ("away", "would replace"),
        ("images/../images/b_0.jpg", "is, or lies in, --images"),
        ("file", "cannot make"),
        ("boxed", "would replace"),
    ],
)
def test_no_input_file_is_replaced(run, images, tmp_path, out, message):
    """`away` has the target of a link among the images."""
    (tmp_path / "link").symlink_to(images)
    (tmp_path / "file").write_text("a file, no folder")
    (tmp_path / "away").mkdir()
    (images / "b_0.pts").rename(tmp_path / "away" / "b_0.pts")
    (images / "b_0.pts").symlink_to(tmp_path / "away" / "b_0.pts")
    (tmp_path / "boxed").mkdir()
    lines = [f"{p.name},5,5,40,30" for p in images.iterdir()]
    boxes = write_boxes(tmp_path / "boxed" / "landmarks.csv", lines)
    before = contents(tmp_path)
    with pytest.raises(WorkdirError, match=message):
        predict.predict(run, images, tmp_path / out, boxes)
    assert contents(tmp_path) == before


def test_a_file_with_the_name_of_a_folder_is_refused(run, images, tmp_path):
    (images / "sub").mkdir()
    (images / "b_0.jpg").rename(images / "sub" / "b_0.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").write_text("")
    with pytest.raises(WorkdirError, match=r"cannot make .* a folder of --out"):
        predict.predict(run, images, tmp_path / "out")
    assert files(tmp_path / "out") == {"sub"}
