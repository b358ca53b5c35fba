"""Writes and reads folders of the 300-W layout, for several test files."""

import numpy as np
from PIL import Image

from structured.faces import face_dataset, face_files
from structured.faces.crops import Crop
from structured.faces.points import write_pts

CROP = Crop(10, margin=0.1, context=2)
NAMES = ("a_1.jpg", "b_1.png", "c_1.JPG", "d_1.jpeg")
HELEN = ("helen/trainset",)


def write_face(folder, name, seed=0, points=None):
    """Writes an image of 60 x 40 pixels and its 68 points."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    grey = rng.integers(0, 256, (40, 60), np.uint8)
    kind = "png" if name.endswith("png") else "jpeg"
    Image.fromarray(grey).convert("RGB").save(folder / name, kind)
    points = rng.uniform([5, 5], [50, 35], (68, 2)) if points is None else points
    write_pts((folder / name).with_suffix(".pts"), points)


def read(root, folders=HELEN, crop=CROP, num_points=68, boxes="", **options):
    files = face_files.list_faces(root, folders, boxes)
    return face_dataset.read(str(root), files, crop, num_points, **options)


def write_boxes(root, rows, header="name,left,top,width,height"):
    path = root.parent / "boxes.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


def box_rows(names=NAMES):
    return [f"{name},{i},2.5,40,30" for i, name in enumerate(names)]
