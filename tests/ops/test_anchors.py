"""Anchors: one cell by hand, the original's pyramids."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mrcnn.ops.anchors import (
    backbone_shapes,
    compute_backbone_shapes,
    generate_anchors,
    generate_pyramid_anchors,
)

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "matterport_utils.npz")
STRIDES = [4, 8, 16, 32, 64]
SCALES = (32, 64, 128, 256, 512)
RATIOS = [0.5, 1, 2]


def test_anchors_by_hand():
    # Ratio 4 is a box twice as wide and half as high as its scale. Anchors on every second cell of
    # a row of three, 8 pixels a cell: centres (0, 0) and (0, 16).
    anchors = generate_anchors((10, 20), [1, 4], (1, 3), 8, 2)
    around_origin = [[-5, -5, 5, 5], [-10, -10, 10, 10], [-2.5, -10, 2.5, 10], [-5, -20, 5, 20]]
    assert anchors.dtype == np.float64
    np.testing.assert_allclose(anchors[:4], around_origin)
    np.testing.assert_allclose(anchors[4:], np.array(around_origin) + [0, 16, 0, 16])


def test_anchors_run_along_rows_first():
    centers = generate_anchors(2, 1, (2, 3), 10, 1)[:, :2] + 1
    assert centers.tolist() == [[0, 0], [0, 10], [0, 20], [10, 0], [10, 10], [10, 20]]


@pytest.mark.parametrize(("key", "width"), [("anchors_256", 256), ("anchors_rect", 320)])
def test_pyramids_equal_the_original(key, width):
    shapes = backbone_shapes((256, width), STRIDES)
    anchors = generate_pyramid_anchors(SCALES, RATIOS, shapes, STRIDES, 1)
    assert len(anchors) == 3 * shapes.prod(axis=1).sum()
    # The file keeps every 17th anchor.
    np.testing.assert_array_equal(anchors[::17], GOLDEN[key])


def test_levels_must_agree():
    with pytest.raises(ValueError, match="3 scales, 2 shapes and 2 strides"):
        generate_pyramid_anchors((8, 16, 32), [1], [(2, 2), (1, 1)], [4, 8], 1)


def test_backbone_shapes_equal_the_original():
    config = SimpleNamespace(BACKBONE="resnet50", BACKBONE_STRIDES=STRIDES)
    shapes = compute_backbone_shapes(config, (256, 320, 3))
    np.testing.assert_array_equal(shapes, GOLDEN["backbone_shapes"])


def test_backbone_shapes_round_up():
    assert backbone_shapes((65, 64, 3), [32, 64]).tolist() == [[3, 2], [2, 1]]


def test_own_backbone_says_its_shapes():
    config = SimpleNamespace(
        BACKBONE=lambda image: image, COMPUTE_BACKBONE_SHAPE=lambda shape: [(shape[0] // 2, 7)]
    )
    assert compute_backbone_shapes(config, (20, 40, 3)).tolist() == [[10, 7]]
