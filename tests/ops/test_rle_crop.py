"""Cut-outs of run lengths against pycocotools, which decodes whole masks."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.ops.rle_crop import crop_rle, run_lengths


def scenes():
    rng = np.random.default_rng(0)
    for share in (0, 0.02, 0.5, 0.97, 1):
        for _ in range(20):
            yield rng.random(rng.integers(1, 60, 2)) < share
    large = np.zeros((700, 900), bool)
    large[100:650, 50:400] = True
    large[200:230, 60:90] = rng.random((30, 30)) < 0.5
    yield large
    yield np.ones((3000, 2000), bool)


def test_cut_outs_are_those_of_pycocotools():
    for mask in scenes():
        rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
        top, left, cut = crop_rle(rle)
        assert [left, top, *cut.shape[::-1]] == coco_mask.toBbox(rle).tolist()
        whole = np.zeros(mask.shape, bool)
        whole[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
        np.testing.assert_array_equal(whole, mask)


def test_text_and_lists_are_read_like_bytes():
    # Columns 0 1 1 | 1 1 0: one pixel of background, four of object, one of background.
    mask = np.array([[0, 1], [1, 1], [1, 0]], np.uint8)
    rle = coco_mask.encode(np.asfortranarray(mask))
    forms = [rle["counts"], rle["counts"].decode(), [1, 4, 1]]
    for counts in forms:
        assert run_lengths({"size": [3, 2], "counts": counts}).tolist() == [1, 4, 1]
        top, left, cut = crop_rle({"size": [3, 2], "counts": counts})
        assert (top, left, cut.astype(int).tolist()) == (0, 0, mask.tolist())


@pytest.mark.parametrize("counts", [[1, 4], [-1, 7], b"", b"P", b"\xff\x00", b"1" * 50, "é"])
def test_counts_that_do_not_add_up_are_refused(counts):
    with pytest.raises(ValueError, match="counts of an RLE do not add up to its size, 3 x 2"):
        crop_rle({"size": [3, 2], "counts": counts})
