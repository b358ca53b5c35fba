"""Puts landmarks on new faces with a trained run of system 2.

python -m structured.predict --workdir runs/helen --images DIR --out landmarks

DIR holds .jpg, .jpeg and .png files, in folders of any depth; hidden files, and folders
that are links, are let be. The face of an image is in the box that one of these gives:

    csv     the file --boxes: name,left,top,width,height, pixels from 0, the name being
            a path from DIR, or a file's name if only one has it;
    pts     without --boxes, the .pts beside the image: its points' tight box;
    image   without both, the whole image.

What --out gets, at the image's place in DIR:

    NAME.pts        the points, in pixels of the image as it is stored: a turn that EXIF
                    asks for is not made.
    NAME.png        the face with its points, green; where the image has a .pts, also
                    those, blue, and red segments from the ones to the others.
    landmarks.csv   a row an image: name, status ("predicted" or "failed"), box (which
                    of the three), left, top, width, height, x1 ... xP, y1 ... yP,
                    nme_inter_ocular (where there is a .pts of 68 points), problem.

In landmarks.csv, x1 ... yP count pixels from 1 as .pts files do, left and top from 0 as
--boxes does. An image that fails stops no other; the exit status is then 1.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from mtl.host import launch, workdir
from mtl.host.checkpoint import Checkpoints
from mtl.host.errors import DataError, WorkdirError
from structured import data, experiment, network
from structured.faces import augmentation, face_files, landmarks
from structured.faces.face_files import Entry
from structured.faces.landmarks import Model

TABLE = "landmarks.csv"


def load(folder: Path) -> Model:
    """The best parameters of a finished run on faces, and how it crops them.

    Raises:
      WorkdirError: the folder holds no such run.
    """
    config = workdir.load_config(folder)
    source = config.get("data", {}).get("source")
    if source not in data.FACES:
        raise WorkdirError(
            f"{folder} holds a run on {source}; landmarks need one of structured.main "
            f"on {' or '.join(data.FACES)}"
        )
    if config.variant == "mean":
        raise WorkdirError(
            f"{folder} holds the mean shape, which looks at no image; take a run of "
            "another variant"
        )
    saved = folder / "checkpoints" / "best"
    if not (folder / "summary.json").is_file() or not saved.is_dir():
        raise WorkdirError(
            f"{folder} holds a run that is not finished; train it to its end with "
            "structured.main"
        )
    about = workdir.read_json(folder / "data.json")
    net = network.make(config.model, about["shape"], about["outputs"])
    checkpoints = Checkpoints(saved, writes=False)
    params = checkpoints.restore(net.init(jax.random.key(0)))
    checkpoints.close()
    crop, main = data.crop_of(config), experiment.make_predict(net)

    def predict(canvas: np.ndarray) -> np.ndarray:
        with jax.default_matmul_precision(config.precision):
            return np.asarray(
                main(params, augmentation.plain(jnp.asarray(canvas), crop))
            )

    return Model(crop, about["outputs"] // 2, predict)


def find(images: Path, boxes: str = "") -> list[Entry]:
    """The images of a folder, by name, with their .pts and boxes where there are some.

    Raises:
      DataError: no such folder, no image in it, or a bad file of boxes.
    """
    if not images.is_dir():
        raise DataError(f"--images={str(images)!r} is no folder")
    if boxes and not Path(boxes).is_file():
        raise DataError(f"--boxes={boxes!r} is no file")
    files = [p for p in sorted(images.rglob("*")) if _is_file(p, images)]
    found = [p for p in files if p.suffix.lower() in face_files.ENDINGS]
    if not found:
        ends = ", ".join(face_files.ENDINGS)
        raise DataError(f"{images} holds no image, at any depth, that ends with {ends}")
    pts = {p.parent / p.stem: p for p in files if p.suffix.lower() == ".pts"}
    count = Counter(p.parent / p.stem for p in found)
    entries = []
    for image in found:
        place = image.parent / image.stem
        name = image.relative_to(images).as_posix()
        wrong = "another image has this name but for its ending; move one away"
        wrong = wrong if count[place] > 1 else ""
        entries.append(Entry(name, image, pts.get(place), wrong=wrong))
    return face_files.with_boxes(entries, images, Path(boxes)) if boxes else entries


def predict(
    folder: str | Path,
    images: str | Path,
    out: str | Path,
    boxes: str = "",
    pictures: bool = True,
) -> tuple[int, int]:
    """Puts landmarks on all the images of a folder.

    Args:
      folder: of a finished run.
      images: a folder.
      out: gets what the module's docstring says; files of the same names are replaced.
      boxes: a CSV file, or "".
      pictures: False leaves them out, and those of an earlier run as they are.

    Returns:
      How many images there were, and how many of them failed.

    Raises:
      DataError: there is nothing to work on, or a bad file of boxes.
      WorkdirError: no such run, or nothing can be written in `out`.
    """
    model, out = load(Path(folder)), Path(out)
    todo = find(Path(images), boxes)
    _prepare(out, Path(images), todo, boxes)
    rows, failed = [], 0
    for face in landmarks.mark(model, todo, out, pictures):
        rows.append(landmarks.row(face, model.points))
        failed += bool(face.wrong)
    workdir.write_csv(out / TABLE, landmarks.header(model.points), rows)
    return len(todo), failed


def mark(arguments: Sequence[str]) -> str:
    """Predicts as the flags say; returns what was left where, in words.

    Raises:
      DataError: some images failed; the others are done.
    """
    launch.no_more(arguments)
    args = flags.FLAGS
    count, failed = predict(
        args.workdir, args.images, args.out, args.boxes, args.pictures
    )
    table = Path(args.out) / TABLE
    if failed:
        raise DataError(
            f"{failed} of {count} images failed; {table} says why. The others are in "
            f"{args.out}"
        )
    return f"{count} images with their landmarks in {args.out}; all of them in {table}"


def _is_file(path: Path, root: Path) -> bool:
    """Not hidden, nor in a hidden folder; a link to nowhere is an image that fails."""
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return not hidden and not path.is_dir()


def _prepare(out: Path, images: Path, todo: list[Entry], boxes: str) -> None:
    """Makes the folders.

    Raises:
      WorkdirError: they cannot be made, or a file that is read would be replaced.
    """
    workdir.check_apart(out, images, "images")
    inputs = {p.resolve() for e in todo for p in (e.image, e.pts) if p}
    inputs |= {Path(boxes).resolve()} if boxes else set()
    targets = [p for e in todo for p in landmarks.targets(e, out)] + [out / TABLE]
    for target in targets:
        if target.resolve() in inputs:
            raise WorkdirError(f"--out={out} would replace {target}; take another")
    try:
        for folder in {target.parent for target in targets}:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise WorkdirError(f"cannot make the folders of --out={out}: {e}") from e


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "The folder of a finished run.")
    flags.DEFINE_string("images", None, "The folder of the images.")
    flags.DEFINE_string("out", None, "The folder that gets points, pictures and table.")
    flags.DEFINE_string("boxes", "", "A CSV file: name,left,top,width,height.")
    flags.DEFINE_bool("pictures", True, "Whether to draw the faces.")
    launch.launch(mark, "workdir", "images", "out")
