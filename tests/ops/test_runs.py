"""Column runs, against masks of pixels and pycocotools."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.ops import runs as r


def encode(mask):
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


@pytest.fixture(params=range(60))
def masks(request):
    """Two masks of one small size, from empty to full."""
    rng = np.random.default_rng(request.param)
    size = rng.integers(1, 12, 2)
    return [rng.random(size) < rng.choice([0, 0.1, 0.5, 0.9, 1]) for _ in range(2)]


def test_runs_by_hand():
    """Two columns of three: the lower two pixels, then all."""
    runs = r.rle_to_runs({"size": [3, 4], "counts": [4, 5, 3]})
    assert runs.tolist() == [[1, 1, 3], [2, 0, 3]]
    assert r.runs_area(runs) == 5 and r.runs_box(runs) == (0, 1, 3, 3)
    assert r.move_runs(runs, 10, 20).tolist() == [[21, 11, 13], [22, 10, 13]]
    assert r.cut_runs(runs, (0, 1, 2, 2)).tolist() == [[1, 1, 2]]
    assert r.runs_box(runs[:0]) == (0, 0, 0, 0)


def test_masks_survive_the_way_there_and_back(masks):
    height, width = map(int, masks[0].shape)
    for mask in masks:
        runs = r.rle_to_runs(encode(mask))
        assert r.runs_to_rle(runs, height, width) == encode(mask)
        assert r.runs_area(runs) == mask.sum()


def test_unions_and_shared_pixels(masks):
    rles = [encode(mask) for mask in masks]
    one, other = map(r.rle_to_runs, rles)
    height, width = map(int, masks[0].shape)
    assert r.runs_to_rle(r.unite_runs([one, other]), height, width) == coco_mask.merge(rles)
    assert r.shared_area(one, other) == (masks[0] & masks[1]).sum()


def test_moved_and_cut(masks):
    mask, (height, width) = masks[0], masks[0].shape
    runs = r.rle_to_runs(encode(mask))
    large, part = np.zeros((30, 40), bool), np.zeros_like(mask)
    large[7 : 7 + height, 9 : 9 + width] = mask
    assert r.runs_to_rle(r.move_runs(runs, 7, 9), 30, 40) == encode(large)
    part[1:5, 2:4] = mask[1:5, 2:4]
    assert r.runs_to_rle(r.cut_runs(runs, (1, 2, 5, 4)), height, width) == encode(part)


def test_images_of_more_pixels_than_31_bits():
    """One pixel in the last column of 60,000 x 60,000."""
    runs = np.array([[59_999, 5, 6]])
    rle = r.runs_to_rle(runs, 60_000, 60_000)
    assert coco_mask.area(rle) == 1
    assert coco_mask.toBbox(rle).tolist() == [59_999, 5, 1, 1]
    assert r.rle_to_runs(rle).tolist() == runs.tolist()
