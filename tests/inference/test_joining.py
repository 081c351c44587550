"""Rules by which parts of two tiles are one object, with rectangles."""

import numpy as np
import pytest

from mrcnn.inference.joining import Part, join_parts
from mrcnn.ops.runs import runs_box

# Both see the columns 80 to 100.
TILES = [(0, 0, 100, 100), (0, 80, 100, 180)]


def part(tile, box, class_id=1, score=0.5):
    """A rectangle `(y1, x1, y2, x2)`; it is cut where it touches the border between the tiles."""
    y1, x1, y2, x2 = box
    runs = np.array([[x, y1, y2] for x in range(x1, x2)])
    clearance = 100 - x2 if tile == 0 else x1 - 80
    return Part(class_id, score, np.array(box), runs, clearance < 2, clearance, TILES[tile])


def joined(*parts):
    """The boxes of the masks of what is left of parts, and their scores."""
    by_tile = [[p for p in parts if p.tile == tile] for tile in TILES]
    found = join_parts(by_tile, TILES)
    for instance in found:
        assert tuple(instance.box.tolist()) == runs_box(instance.runs)
    return [(*map(int, p.box), p.score) for p in found]


def test_two_cut_parts_become_their_union():
    first, second = part(0, (10, 50, 30, 100)), part(1, (10, 80, 30, 140), score=0.8)
    assert joined(first, second) == [(10, 50, 30, 140, 0.8)]


@pytest.mark.parametrize(("top", "count"), [(16, 1), (17, 2)])
def test_agreement_where_both_see(top, count):
    """Of 20 rows, 14 in common: an IoU of 14/26, and 0.7 of the smaller one; then 13."""
    first, second = part(0, (10, 50, 30, 100)), part(1, (top, 80, top + 20, 140))
    assert len(joined(first, second)) == count


def test_other_classes_stay_apart():
    first, second = part(0, (10, 50, 30, 100)), part(1, (10, 80, 30, 140), class_id=2)
    assert len(joined(first, second)) == 2


def test_a_whole_instance_replaces_its_piece():
    """The piece, four rows too tall, is no part of the result; its better score is."""
    whole, piece = part(0, (10, 70, 30, 95)), part(1, (8, 80, 32, 95), score=0.9)
    assert joined(whole, piece) == [(10, 70, 30, 95, 0.9)]


def test_a_piece_of_another_class_is_dropped():
    whole, piece = part(0, (10, 70, 30, 95)), part(1, (10, 80, 30, 95), class_id=2, score=0.9)
    assert joined(whole, piece) == [(10, 70, 30, 95, 0.5)]


def test_a_whole_instance_that_goes_on_is_not_whole():
    """It ends 5 pixels before the border, but the other tile shows that it does not."""
    short, rest = part(0, (10, 50, 30, 95)), part(1, (10, 80, 30, 140))
    assert joined(short, rest) == [(10, 50, 30, 140, 0.5)]


def test_the_instance_farther_from_borders_is_taken():
    near, far = part(0, (10, 84, 30, 97)), part(1, (11, 84, 30, 97), score=0.4)
    assert joined(near, far) == [(11, 84, 30, 97, 0.5)]


def test_neighbours_that_touch_stay_apart():
    first, second = part(0, (10, 70, 30, 95)), part(1, (30, 80, 50, 95))
    assert len(joined(first, second)) == 2
