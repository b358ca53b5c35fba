"""300W-LP as tensorflow-datasets prepares it: faces of 300-W, turned to large poses.

It holds many views of each photograph of AFW, HELEN, IBUG and LFPW; by their number
(16,556 of LFPW's 811 + 224 photographs) the test folders are in it. So never train on
it to be scored on the tests of 300-W, nor split it by `train[:80%]` for validation.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mtl.host.errors import DataError
from structured.faces.crops import Crop, decode_grey
from structured.faces.face_dataset import (
    Faces,
    Problem,
    Read,
    crop_face,
    gather,
    refuse,
)
from structured.faces.points import POINTS

# The builder divides the coordinates by this, the side of each image:
# tensorflow_datasets/datasets/the300w_lp/the300w_lp_dataset_builder.py,
# `pt2d = (ldm_mat["pts_2d"] / 450.0)`. No source says where they start: 1 is assumed,
# since they come from MATLAB, where the same authors' demo of AFLW2000-3D draws such
# points unshifted over imshow.
SIDE = 450


def read(
    folder: str,
    split: str,
    crop: Crop,
    *,
    skip_bad: bool = False,
    workers: int | None = None,
) -> tuple[Faces, list[Problem]]:
    """The faces of a prepared folder of array_record files, and what is wrong in it.

    The box is the tight one of `landmarks_2d`. Needs the extra `tf`, but not TensorFlow
    itself.

    Args:
      folder: the one with dataset_info.json (".../the300w_lp/1.0.0").
      split: such as "train" or "train[:1000]".
      crop: what to cut out.
      skip_bad: leaves out faces that cannot be used; without it they are an error.
      workers: threads; None lets Python choose.

    Raises:
      DataError: tensorflow-datasets is missing or cannot read the folder, faces that
        cannot be used without skip_bad, or none that can.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as e:
        raise DataError("data.source='the300w_lp' needs: pip install '.[tf]'") from e
    if not (Path(folder) / "dataset_info.json").is_file():
        raise DataError(
            f"{folder}: no dataset_info.json; give the prepared folder of one version, "
            "as made by tfds.builder('the300w_lp').download_and_prepare("
            "file_format='array_record')"
        )
    try:
        # Pillow decodes grey alone in a third of the time that all colours take.
        source = tfds.builder_from_directory(folder).as_data_source(
            split, decoders={"image": tfds.decode.SkipDecoding()}
        )
        names = [f"the300w_lp/{split}/{i:06d}" for i in range(len(source))]
        with ThreadPoolExecutor(workers) as pool:
            rows = pool.map(partial(_row, source, names, crop), range(len(names)))
            found = gather(names, rows, crop, POINTS)
    except Exception as e:  # Protocol buffers and array_record raise their own kinds.
        raise DataError(
            f"{folder}: tensorflow-datasets cannot read this ({e}); it must have the "
            f"split {split} with image and landmarks_2d, as array_record files"
        ) from e
    refuse(folder, *found, skip_bad)
    return found


def _row(source: Sequence[Any], names: list[str], crop: Crop, i: int) -> Read:
    row = source[i]
    points = row["landmarks_2d"].astype(np.float64) * SIDE - 1
    if points.shape != (POINTS, 2):
        raise ValueError(f"landmarks_2d are {list(points.shape)}, not {[POINTS, 2]}")
    try:
        grey = decode_grey(row["image"], names[i])
    except DataError as e:
        return None, [Problem(names[i], str(e), True)]
    if grey.shape != (SIDE, SIDE):
        raise ValueError(f"an image is {list(grey.shape)}, not {[SIDE, SIDE]}")
    return crop_face(names[i], grey, points, None, crop)
