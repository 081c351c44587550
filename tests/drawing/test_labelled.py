"""Pictures with captions, pixel by pixel where it can be said what a pixel is."""

import numpy as np
import pytest

from mrcnn.drawing.labelled import label_instances, side_by_side

NAMES = ["BG", "cat", "dog"]
# Multiples of the golden ratio are the hues of the classes: 0.618034 and 0.236068.
CAT, DOG = (0, 74, 255), (149, 255, 0)


def test_mask_and_box_of_an_enlarged_image():
    image = np.full((4, 8), 100, np.uint8)
    mask = np.zeros((4, 8), bool)
    mask[2:4, 4:6] = True
    picture = label_instances(image, [[2, 4, 4, 8]], [mask], [1], ["BG", ""], side=160)
    # Twenty times as large. Without a name, the caption is a small plate.
    assert picture.shape == (80, 160, 3)
    assert picture[5, 5].tolist() == [100] * 3
    # Half of the ground, half of the colour: 50 + (0, 37.2, 127.5).
    assert picture[70, 100].tolist() == [50, 87, 177]
    # Within the box, outside the mask.
    assert picture[70, 140].tolist() == [100] * 3
    # The left edge, two pixels thick.
    assert picture[70, 80].tolist() == picture[70, 81].tolist() == list(CAT)
    assert picture[70, 79].tolist() == [100] * 3
    assert image.max() == 100


def test_mask_of_a_smaller_picture():
    image = np.zeros((400, 200, 3), np.uint8)
    mask = np.zeros((400, 200), bool)
    mask[200:, 100:] = True
    picture = label_instances(image, [[200, 100, 400, 200]], [mask], [-2], NAMES, side=100)
    assert picture.shape == (100, 50, 3)
    # The box begins at row 50 and column 25; of the mask, all is painted but the box's edges and
    # the caption.
    assert picture[52:, 27:][40:].reshape(-1, 3).min(axis=0).tolist() == [74, 127, 0]
    assert picture[:30].max() == 0
    assert picture[60, 25].tolist() == list(DOG)


def painted(score=None, box=(60, 20, 90, 60), names=NAMES):
    """Rows and columns of the picture that a caption has made black, on a gray ground."""
    image = np.full((100, 100, 3), 100, np.uint8)
    scores = None if score is None else [score]
    masks = [np.zeros((100, 100), bool)]
    picture = label_instances(image, [box], masks, [1], names, scores, side=100)
    return np.nonzero((picture == 0).all(axis=-1))


def test_caption_stands_above_the_box():
    rows, columns = painted()
    assert len(rows) > 50
    assert 40 < rows.min() < rows.max() < 60
    assert 20 <= columns.min() < columns.max() < 60
    # With its score, it is wider.
    assert np.ptp(painted(0.5)[1]) > np.ptp(columns)


def test_caption_stays_in_the_picture():
    rows, columns = painted(box=(0, 70, 30, 100), names=["BG", "cathedral"])
    assert 0 < rows.min() < rows.max() < 25
    assert columns.min() < 60
    assert columns.max() < 100


def test_later_instances_lie_on_top_and_padding_is_not_drawn():
    image, mask = np.zeros((50, 50, 3), np.uint8), np.ones((50, 50), bool)
    boxes = [[0, 0, 50, 50], [0, 0, 50, 50], [0, 0, 0, 0]]
    picture = label_instances(image, boxes, iter([mask] * 3), [1, 2, 1], NAMES, side=50)
    assert picture[40, 0].tolist() == list(DOG)


def test_image_without_instances():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    picture = label_instances(image, np.zeros((0, 4)), np.zeros((0, 0, 0)), [], NAMES, side=2)
    np.testing.assert_array_equal(picture, image)


def test_masks_of_another_size():
    image, mask = np.zeros((50, 50, 3), np.uint8), np.ones((28, 28), bool)
    with pytest.raises(ValueError, match=r"a mask has shape \(28, 28\) but the image \(50, 50\)"):
        label_instances(image, [[0, 0, 9, 9]], [mask], [1], NAMES)


def test_class_without_a_name():
    image, mask = np.zeros((50, 50, 3), np.uint8), np.ones((50, 50), bool)
    with pytest.raises(ValueError, match="class id 3 has no name"):
        label_instances(image, [[0, 0, 9, 9]], [mask], [3], NAMES)


def test_side_by_side():
    left, right = np.zeros((2, 3, 3), np.uint8), np.full((2, 4, 3), 7, np.uint8)
    picture = side_by_side(left, right)
    assert picture.dtype == np.uint8
    assert picture[:, :, 0].tolist() == [[0] * 3 + [255] * 8 + [7] * 4] * 2
