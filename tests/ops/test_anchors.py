"""Anchors: one cell by hand, the original's pyramids."""

from pathlib import Path

import numpy as np
import pytest
from keras import ops

from mrcnn.config import Config
from mrcnn.legacy.formulas import (
    compute_backbone_shapes,
    generate_anchors,
    generate_pyramid_anchors,
)
from mrcnn.ops.anchors import AnchorGenerator

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "matterport_utils.npz")
STRIDES = [4, 8, 16, 32, 64]
SCALES = (32, 64, 128, 256, 512)
RATIOS = [0.5, 1, 2]


def test_anchors_by_hand():
    # Ratio 4 is a box twice as wide and half as high as its scale. Anchors on every second cell of
    # a row of three, 8 pixels per cell: centres (0, 0) and (0, 16).
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
    shapes = AnchorGenerator((), (), STRIDES).shapes((256, width))
    anchors = generate_pyramid_anchors(SCALES, RATIOS, shapes, STRIDES, 1)
    assert len(anchors) == 3 * shapes.prod(axis=1).sum()
    # The file keeps every 17th anchor.
    np.testing.assert_array_equal(anchors[::17], GOLDEN[key])


def test_levels_must_agree():
    with pytest.raises(ValueError, match="3 scales, 2 shapes and 2 strides"):
        generate_pyramid_anchors((8, 16, 32), [1], [(2, 2), (1, 1)], [4, 8], 1)


def test_backbone_shapes_equal_the_original():
    shapes = compute_backbone_shapes(Config(), (256, 320, 3))
    np.testing.assert_array_equal(shapes, GOLDEN["backbone_shapes"])


def test_backbone_shapes_round_up():
    shapes = AnchorGenerator((), (), (32, 64)).shapes((65, 64, 3))
    assert shapes.tolist() == [[3, 2], [2, 1]]


def test_custom_backbone_gives_its_shapes():
    class Own(Config):
        BACKBONE = staticmethod(lambda image: image)
        COMPUTE_BACKBONE_SHAPE = staticmethod(lambda shape: [(shape[0] // 2, 7)])

    assert compute_backbone_shapes(Own(), (20, 40, 3)).tolist() == [[10, 7]]


@pytest.mark.parametrize("xp", [np, ops])
def test_offset_and_several_sizes_by_hand(xp):
    # Centres in the middle of cells of 8 pixels: (4, 4) and (4, 12). Sizes of 4 and 8.
    generator = AnchorGenerator(((4, 8),), ((1,),), (8,), offset=0.5)
    anchors = generator.pyramid([(1, 2)], xp)
    expected = [[2, 2, 6, 6], [0, 0, 8, 8], [2, 10, 6, 14], [0, 8, 8, 16]]
    assert generator.per_cell == 2
    assert np.asarray(anchors).tolist() == expected
    assert np.asarray(anchors).dtype == (np.float64 if xp is np else np.float32)


def test_anchors_of_an_image_are_made_once():
    generator = AnchorGenerator(((4,), (8,)), ((1,), (1,)), (8, 16))
    anchors = generator.of_image((16, 17, 3))
    # Two by three cells, and one by two of twice the size.
    assert len(anchors) == 2 * 3 + 1 * 2
    assert anchors[-1].tolist() == [-4, 12, 4, 20]
    assert generator.of_image(np.array([16, 17])) is anchors
    assert not anchors.flags.writeable


@pytest.mark.parametrize("xp", [np, ops])
def test_rounded_anchors_and_fitted_strides_by_hand(xp):
    """Torchvision's rules: 32 at 1:2 is 45.25 x 22.63, with halves 23 and 11; 800 // 13 = 61."""
    generator = AnchorGenerator(((32.0,),), ((2.0, 0.5),), (64,), rounded=True, fitted_strides=True)
    anchors = np.asarray(generator.level(0, (13, 17), xp, (800, 1088)))
    np.testing.assert_array_equal(anchors[:2], [[-11, -23, 11, 23], [-23, -11, 23, 11]])
    # The second row of positions starts after 17 of two anchors; 1088 / 17 is 64.
    np.testing.assert_array_equal(anchors[34] - anchors[0], [61, 0, 61, 0])
    np.testing.assert_array_equal(anchors[2] - anchors[0], [0, 64, 0, 64])
