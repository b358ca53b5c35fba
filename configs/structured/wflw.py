"""Finds the 98 points of WFLW with convolutions and augmentation, unlike the paper.

    python -m structured.main --config configs/structured/wflw.py \
        --workdir runs/wflw --config.data.path=DIR

DIR holds WFLW's folders WFLW_images and WFLW_annotations. The network and the training
are those of helen_cnn.py; nothing was tuned on WFLW.
"""

from ml_collections import ConfigDict

from structured import config

LISTS = "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{}.txt"


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; the variant "smoke" trains in seconds."""
    c = config.named(f"helen_cnn:{variant}")
    c.data.source, c.data.points = "wflw", 98
    c.data.train, c.data.test = (LISTS.format("train"),), (LISTS.format("test"),)
    return c
