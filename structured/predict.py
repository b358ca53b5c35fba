"""Predicts y for new arrays, or landmarks of new faces, with a trained run of system 2.

python -m structured.predict --workdir runs/own --data new.npz --out predictions
python -m structured.predict --workdir runs/helen --images DIR --out landmarks

new.npz holds `x` [N, ...], of the type and shape of the run's `x_train`; the run's
scaling is applied. --out gets predictions.npz with `y` [N, D], and predictions.csv with
a row for each x: its number, from 0, and y1 ... yD.

DIR holds .jpg, .jpeg and .png files, in folders of any depth. Hidden files are ignored,
and so are folders that are links. The box of a face has one of three sources:

    csv     the file --boxes with the columns name,left,top,width,height in pixels from
            0. The name is a path from DIR, or a file name that only one image has.
    pts     without --boxes, the tight box of the .pts beside the image.
    image   without both, the whole image.

The folder --out gets, in the same sub-folders as in DIR:

    NAME.pts        the points, in pixels of the image as it is stored; EXIF orientation
                    is ignored.
    NAME.png        the face with its points in green. If the image has a .pts, its
                    points are blue, and red segments show the errors.
    landmarks.csv   a row for each image: name, status ("predicted" or "failed"), box
                    (its source), left, top, width, height, x1 ... xP, y1 ... yP,
                    nme_inter_ocular (if the image has a .pts), problem. If the points
                    have no corners of eyes, it is nme_inter_pupil or nme_box_size.

In landmarks.csv, x1 ... yP are pixels from 1 as in .pts files; left and top are pixels
from 0 as in --boxes. If an image fails, the others are still predicted, and the exit
status is 1.
"""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from absl import flags

from mtl.data import readers
from mtl.host import launch, remote, remote_flags, workdir
from mtl.host.errors import ConfigError, DataError, WorkdirError
from structured import data, trained
from structured.faces import augmentation, face_files, landmarks, sources
from structured.faces.face_files import FaceFiles
from structured.faces.landmarks import Model

TABLE_FILE = "landmarks.csv"


def load_model(folder: str | Path) -> Model:
    """Loads the best parameters and the crop of a finished run on faces.

    Raises:
      WorkdirError: the folder holds no such run.
    """
    run = trained.load(folder, data.FACE_SOURCES, "landmarks need")
    crop, c = data.crop_from_config(run.config), run.config.data

    def predict(canvas: np.ndarray) -> np.ndarray:
        return run.predict(augmentation.network_input(jnp.asarray(canvas), crop))

    return Model(crop, sources.scheme(c), c.partial_y, predict)


def find_images(images: Path, boxes: str = "") -> list[FaceFiles]:
    """Lists the images of a folder by name, with their .pts files and boxes.

    Args:
      images: the folder.
      boxes: a CSV file, or "".

    Raises:
      DataError: the folder is missing or has no image, or the file of boxes is bad.
    """
    if not images.is_dir():
        raise DataError(f"--images={str(images)!r} is no folder")
    if boxes and not Path(boxes).is_file():
        raise DataError(f"--boxes={boxes!r} is no file")
    files = [p for p in sorted(images.rglob("*")) if _is_visible_file(p, images)]
    image_files = [p for p in files if p.suffix.lower() in face_files.IMAGE_SUFFIXES]
    if not image_files:
        suffixes = ", ".join(face_files.IMAGE_SUFFIXES)
        raise DataError(
            f"{images} holds no image, at any depth, that ends with {suffixes}"
        )
    pts_files = {p.with_suffix(""): p for p in files if p.suffix.lower() == ".pts"}
    count = Counter(p.with_suffix("") for p in image_files)
    faces = []
    for image in image_files:
        stem = image.with_suffix("")
        name = image.relative_to(images).as_posix()
        problem = ""
        if count[stem] > 1:
            problem = "another image differs only in its ending; move one away"
        faces.append(FaceFiles(name, image, pts_files.get(stem), problem=problem))
    return face_files.add_boxes(faces, images, Path(boxes)) if boxes else faces


def predict(
    folder: str | Path,
    images: str | Path,
    out: str | Path,
    boxes: str = "",
    pictures: bool = True,
) -> tuple[int, int]:
    """Predicts the landmarks of all images of a folder.

    Args:
      folder: the folder of a finished run, or its address.
      images: the folder of the images.
      out: gets the files of the module's docstring; files of the same names are
        replaced.
      boxes: a CSV file, or "".
      pictures: False writes no pictures, and keeps those of an earlier run.

    Returns:
      The number of images, and the number of failed images.

    Raises:
      DataError: there is no image, or the file of boxes is bad.
      WorkdirError: the run is missing or unsuitable, or `out` cannot be written.
    """
    model, out = load_model(folder), Path(out)
    files = find_images(Path(images), boxes)
    _prepare_output(out, Path(images), files, boxes)
    rows, failed = [], 0
    for face in landmarks.locate_landmarks(model, files, out, pictures):
        rows.append(landmarks.table_row(face, model.scheme))
        failed += bool(face.problem)
    workdir.write_csv(out / TABLE_FILE, landmarks.table_header(model.scheme), rows)
    return len(files), failed


def launcher(arguments: Sequence[str]) -> str:
    """Predicts from command-line flags and returns a summary.

    Raises:
      DataError: some images failed; the others are predicted.
    """
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    if bool(args.data) == bool(args.images):
        raise ConfigError("give --data=FILE.npz for arrays, or --images=DIR for faces")
    if args.data:
        return _predict_arrays(args.workdir, args.data, args.out)
    with remote.output(args.out) as out:
        count, failed = predict(
            args.workdir, args.images, out, args.boxes, args.pictures
        )
    table = os.path.join(args.out, TABLE_FILE)
    if failed:
        raise DataError(
            f"{failed} of {count} images failed; {table} says why. The others are in "
            f"{args.out}"
        )
    return f"{count} images with their landmarks in {args.out}; all of them in {table}"


def _predict_arrays(folder: str, path: str, out: str) -> str:
    """Predicts y for the x of an .npz file and returns a summary."""
    with remote.local_copy(path) as local:
        x = readers.load_npz(local, ("x",))["x"]
    y = trained.predict_arrays(folder, x, f"{path}: x")
    if not np.isfinite(y).all():
        raise DataError(f"{path}: the predicted y are not finite; train {folder} again")
    target = Path(out) / "predictions.npz"
    if target.resolve() == Path(path).resolve():
        raise WorkdirError(f"--out={out} would replace {path}; take another")
    with remote.output(out) as target:
        trained.write(target, y)
    return f"{len(y)} predictions in {out}: predictions.npz and predictions.csv"


def _is_visible_file(path: Path, root: Path) -> bool:
    """Whether a path is no folder, and neither it nor a folder above it is hidden.

    A broken link counts as a file: its image then fails with a message.
    """
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return not hidden and not path.is_dir()


def _prepare_output(
    out: Path, images: Path, files: list[FaceFiles], boxes: str
) -> None:
    """Makes the output folders.

    Raises:
      WorkdirError: they cannot be made, or an output would replace an input file.
    """
    workdir.check_apart(out, images, "images")
    inputs = {p.resolve() for f in files for p in (f.image, f.pts) if p}
    inputs |= {Path(boxes).resolve()} if boxes else set()
    targets = [p for f in files for p in landmarks.output_paths(f, out)]
    targets.append(out / TABLE_FILE)
    for target in targets:
        if target.resolve() in inputs:
            raise WorkdirError(f"--out={out} would replace {target}; take another")
    for folder in {target.parent for target in targets}:
        workdir.make(folder, f"{folder}, a folder of --out={out}")


if __name__ == "__main__":
    remote_flags.define_workdir("The folder of a finished run.")
    remote_flags.define("data", "", "An .npz file with `x`, for a run on arrays.")
    flags.DEFINE_string("images", "", "The folder of the images, for a run on faces.")
    remote_flags.define("out", None, "The folder for all results.")
    flags.DEFINE_string("boxes", "", "A CSV file: name,left,top,width,height.")
    flags.DEFINE_bool("pictures", True, "Whether to draw the faces.")
    launch.launch(launcher, "workdir", "out")
