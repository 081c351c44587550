import tracemalloc

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.ops.masks import paste_masks
from mrcnn.ops.rle import decode_mask, encode_mask, paste_rles, rle_fault


def test_a_run_length_by_hand():
    # Column by column, from 0: three pixels off, two on, one off.
    mask = np.array([[False, True], [False, True], [False, False]])
    rle = encode_mask(mask)
    assert rle["size"] == [3, 2]
    # Each length is one character, 48 above it.
    assert rle["counts"] == bytes([48 + 3, 48 + 2, 48 + 1])


def test_back_from_a_run_length_by_hand():
    # Column by column: one pixel off, three on, two off.
    mask = decode_mask({"size": [2, 3], "counts": bytes([48 + 1, 48 + 3, 48 + 2])})
    assert mask.dtype == bool
    assert mask.tolist() == [[False, True, False], [True, True, False]]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pasting_equals_that_of_full_masks():
    rng = np.random.default_rng(0)
    corners = rng.integers(-5, 40, (12, 2))
    boxes = np.concatenate([corners, corners + rng.integers(1, 40, (12, 2))], axis=1)
    masks = rng.random((12, 14, 14), np.float32)
    rles = paste_rles(masks, boxes, (50, 60, 3))
    full = paste_masks(masks, boxes, (50, 60, 3))
    np.testing.assert_array_equal(coco_mask.decode(rles), full)
    assert full.any(axis=(0, 1)).all()
    assert paste_rles(masks[:0], boxes[:0], (50, 60)) == []


def test_one_full_mask_is_in_memory_at_a_time():
    boxes = np.tile([10, 10, 30, 30], (40, 1))
    masks = np.random.default_rng(0).random((40, 14, 14), np.float32)
    encode_mask(np.zeros((2, 2), bool))
    tracemalloc.start()
    paste_rles(masks, boxes, (1000, 1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The mask, its copy in the order of COCO, and little else; 40 would be 40 MB.
    assert peak < 4e6


def test_run_lengths_that_pycocotools_would_read_otherwise_have_a_fault():
    whole = {"size": [2, 3], "counts": [1, 3, 2]}
    assert rle_fault(whole, 2, 3) is None
    # 1, 3 and 2, as in the tests above.
    assert rle_fault({"size": [2, 3], "counts": "132"}, 2, 3) is None
    # The 1 with zeros behind it: 32 more than its five bits, to say that there are more.
    assert rle_fault({"size": [2, 3], "counts": "Q032"}, 2, 3) is None
    assert rle_fault({"size": [2, 3], "counts": "Q" + "P" * 5 + "032"}, 2, 3)
    for counts in ([1, 3, 2.0], [1, 3, "2"], [True, 3, 2], [7, -1], [1, [3], 2], [], "o" * 10**6):
        assert "do not add up" in rle_fault({"size": [2, 3], "counts": counts}, 2, 3)
    assert "do not add up" in rle_fault({"size": [2, 3], "counts": "\ud800"}, 2, 3)
    assert "without size or counts" in rle_fault({"size": {}, "counts": []}, 2, 3)
    assert "of another size" in rle_fault({"size": [[2], 3], "counts": []}, 2, 3)
