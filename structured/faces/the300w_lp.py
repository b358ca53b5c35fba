"""Reads 300W-LP as tensorflow-datasets prepares it: faces of 300-W in large poses.

It holds many views of each photograph of AFW, HELEN, IBUG and LFPW. Their number
(16,556 of LFPW's 811 + 224 photographs) shows that the test folders are among them. So
never train on it for a score on the tests of 300-W, and never split it by
`train[:80%]` for validation.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypedDict

import numpy as np

from mtl.data import readers
from mtl.host.errors import DataError
from structured.faces.crops import Crop, decode_grey
from structured.faces.face_dataset import (
    FaceResult,
    Faces,
    Problem,
    check_usable,
    collect_faces,
    crop_face,
)
from structured.faces.points import POINTS

# The side of each image. The builder divides the coordinates by it:
# tensorflow_datasets/datasets/the300w_lp/the300w_lp_dataset_builder.py,
# `pt2d = (ldm_mat["pts_2d"] / 450.0)`. No source gives the first pixel's coordinate. We
# assume 1: the points come from MATLAB, and the same authors' demo of AFLW2000-3D draws
# such points unshifted over imshow.
IMAGE_SIZE_PX = 450


def read(
    folder: str, split: str, crop: Crop, *, skip_bad: bool = False
) -> tuple[Faces, list[Problem]]:
    """Reads a prepared folder of array_record files; returns faces and problems.

    The box is the tight box of `landmarks_2d`. The extra `tf` must be installed;
    TensorFlow itself is not needed.

    Args:
      folder: the folder with dataset_info.json (".../the300w_lp/1.0.0").
      split: such as "train" or "train[:1000]".
      crop: how to cut the canvases.
      skip_bad: leaves out faces that cannot be used; False raises an error.

    Raises:
      DataError: tensorflow-datasets is missing or cannot read the folder, faces
        cannot be used and skip_bad is False, or no face can be used.
    """
    tfds = readers.import_tfds(folder, "the300w_lp")
    try:
        # Pillow decodes only the grey levels, in a third of the time of all colours.
        source = tfds.builder_from_directory(folder).as_data_source(
            split, decoders={"image": tfds.decode.SkipDecoding()}
        )
        names = [f"the300w_lp/{split}/{i:06d}" for i in range(len(source))]
        with ThreadPoolExecutor() as pool:
            read_one = partial(_read_face, source, names, crop)
            results = pool.map(read_one, range(len(names)))
            faces, problems = collect_faces(names, results, crop, POINTS)
    except Exception as e:  # Protocol buffers and array_record raise own exceptions.
        raise DataError(
            f"{folder}: tensorflow-datasets cannot read this ({e}); it must have the "
            f"split {split} with image and landmarks_2d, as array_record files"
        ) from e
    check_usable(folder, faces, problems, skip_bad)
    return faces, problems


class _Row(TypedDict):
    """A face: an encoded image, and points [P, 2] over the image's side."""

    image: bytes
    landmarks_2d: np.ndarray


def _read_face(
    source: Sequence[_Row], names: list[str], crop: Crop, i: int
) -> FaceResult:
    row = source[i]
    points = row["landmarks_2d"].astype(np.float64) * IMAGE_SIZE_PX - 1
    if points.shape != (POINTS, 2):
        raise ValueError(f"landmarks_2d are {list(points.shape)}, not {[POINTS, 2]}")
    try:
        grey = decode_grey(row["image"], names[i])
    except DataError as e:
        return None, [Problem(names[i], str(e), True)]
    shape = (IMAGE_SIZE_PX, IMAGE_SIZE_PX)
    if grey.shape != shape:
        raise ValueError(f"an image is {list(grey.shape)}, not {list(shape)}")
    return crop_face(names[i], grey, points, None, crop)
