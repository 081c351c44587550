"""Instances can be drawn again and again, and check their arguments."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mrcnn.drawing.checks import check_counts, class_name
from mrcnn.drawing.instances import Instances


def test_instances_can_be_drawn_twice():
    image, masks = np.full((6, 6), 100, np.uint8), np.ones((6, 6, 1), bool)
    instances = Instances(image, [[0, 0, 6, 6]], masks, [1], ["BG", "cat"], colors=["blue"])
    _, axes = plt.subplots(1, 2)
    for ax in axes:
        instances.draw(ax)
        # 0.65 * 100 = 65, and 65 + 0.35 * 255 = 154.25; drawn over itself it would be 42 and 189.
        assert np.unique(ax.images[0].get_array().reshape(-1, 3), axis=0).tolist() == [
            [65, 65, 154]
        ]


def test_class_names():
    names = ["BG", "cat", "dog"]
    assert [class_name(names, i) for i in (0, 2, -1)] == ["BG", "dog", "cat (crowd)"]
    for wrong in (3, -3):
        with pytest.raises(ValueError, match=f"class id {wrong} has no name"):
            class_name(names, wrong)


def test_lists_of_one_length_pass():
    assert check_counts(boxes=[1, 2], masks=None, scores=(3, 4)) is None
    with pytest.raises(ValueError, match="got 2 boxes, 1 scores; expected equally many of each"):
        check_counts(boxes=[1, 2], masks=None, scores=[3])
