"""Writes the digits as a folder of shards, and as one .npz file."""

import numpy as np
import sklearn.datasets

SIZES = (300, 41, 500, 359)  # Rows of the shards; the third is an .npy file.


def digits():
    """Digits as bytes [N, 8, 8] and labels [N], in random order."""
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(4).permutation(len(y))
    return (x[order] * 15).astype(np.uint8).reshape(-1, 8, 8), y[order].astype(np.int64)


def write(folder, shards_of=lambda x: x):
    """Writes folder/train/*, folder/valid.npz, folder/test.npz and folder/all.npz.

    `shards_of` changes the images of the shards alone.
    """
    x, y = digits()
    parts = {"valid": slice(1200, 1400), "test": slice(1400, 1797)}
    for name, rows in parts.items():
        np.savez(folder / f"{name}.npz", x=x[rows], y=y[rows])
    y[341:841] = -1
    (folder / "train").mkdir()
    start = 0
    for i, size in enumerate(SIZES):
        own, path = slice(start, start + size), folder / "train" / f"{i}"
        if i == 2:
            np.save(path, shards_of(x[own]))
        else:
            np.savez(path, x=shards_of(x[own]), y=y[own])
        start += size
    arrays = {"x_train": x[:1200], "y_train": y[:1200]}
    for name, rows in parts.items():
        arrays |= {f"x_{name}": x[rows], f"y_{name}": y[rows]}
    np.savez(folder / "all.npz", **arrays)
    return x[:1200], y[:1200]
