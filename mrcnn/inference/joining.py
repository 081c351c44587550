"""Joining of the instances that overlapping tiles have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mrcnn.ops.runs import cut_runs, runs_area, runs_box, shared_area, unite_runs

# IoU, in the pixels that both tiles see, from which two instances are one object.
_SAME = 0.5
# For two that are both cut, the share of the smaller one that they have in common there.
_WITHIN = 0.7
# Share of a cut instance that lies on a whole one of any class, from which it is a piece of that;
# and where the tile of the whole one shows all of the cut one, and so must know better.
_PIECE, _SEEN_PIECE = 0.6, 0.25


class Part(NamedTuple):
    """An instance as one tile shows it.

    Attributes:
        class_id, score: of the detection.
        box: `[(y1, x1, y2, x2)]` in pixels of the image.
        runs: column runs of the mask in the image, see `mrcnn.ops.runs`.
        is_cut: True if it reaches a border of the tile behind which the image goes on.
        clearance: distance from the nearest of these borders, in pixels.
        tile: box `(y1, x1, y2, x2)` of the tile in the image.
    """

    class_id: int
    score: float
    box: np.ndarray
    runs: np.ndarray
    is_cut: bool
    clearance: float
    tile: Sequence[int]


def join_parts(parts: Sequence[Sequence[Part]], tiles: Sequence[Sequence[int]]) -> list[Part]:
    """Return one `Part` per object.

    Only what two tiles both see decides whether their instances are one object. One that a tile
    shows whole is taken from the tile where it is farthest from the borders, unless pieces in other
    tiles lead out of that one. Any other becomes the union of its pieces. Scores are the best ones.

    Args:
        parts: of each tile.
        tiles: boxes `(y1, x1, y2, x2)` of the tiles, in pixels of the image.
    """
    everything = [part for found in parts for part in found]
    first = np.cumsum([0, *map(len, parts)])
    boxes = np.array([runs_box(part.runs) for part in everything]).reshape(-1, 4)
    joined, dropped = _Groups(len(everything)), set()
    for one, other in _neighbours(tiles):
        ours, theirs = (np.arange(first[tile], first[tile + 1]) for tile in (one, other))
        low = np.maximum(boxes[ours, None, :2], boxes[None, theirs, :2])
        high = np.minimum(boxes[ours, None, 2:], boxes[None, theirs, 2:])
        for i, j in np.argwhere((low < high).all(axis=2)):
            i, j = int(ours[i]), int(theirs[j])
            relation = _relation(everything[i], everything[j], tiles[one], tiles[other])
            if relation == "same":
                joined.join(i, j)
            elif relation:
                dropped.add(i if relation == "first" else j)
    groups = joined.groups(i for i in range(len(everything)) if i not in dropped)
    return [_merged([everything[i] for i in group]) for group in groups]


def _neighbours(tiles):
    """Yield the pairs of indices of tiles that overlap."""
    tiles = np.asarray(tiles)
    for index, (y1, x1, y2, x2) in enumerate(tiles):
        later = tiles[index + 1 :]
        over = (later[:, 0] < y2) & (later[:, 2] > y1) & (later[:, 1] < x2) & (later[:, 3] > x1)
        yield from ((index, index + 1 + int(other)) for other in np.flatnonzero(over))


def _relation(one, other, tile, other_tile):
    """Compare parts of two tiles.

    Returns:
        "same" for one object; "first" or "second" for the one that is a piece of the other, of
        another class; None.
    """
    seen, other_seen = cut_runs(one.runs, other_tile), cut_runs(other.runs, tile)
    shared = shared_area(seen, other_seen)
    if not shared:
        return None
    area, other_area = runs_area(seen), runs_area(other_seen)
    is_class = one.class_id == other.class_id
    if is_class and shared >= _SAME * (area + other_area - shared):
        return "same"
    if is_class and one.is_cut and other.is_cut and shared >= _WITHIN * min(area, other_area):
        return "same"
    if one.is_cut and not other.is_cut and _is_piece(one, shared, other_tile):
        return "same" if is_class else "first"
    if other.is_cut and not one.is_cut and _is_piece(other, shared, tile):
        return "same" if is_class else "second"
    return None


def _is_piece(part, shared, other_tile):
    """Return whether a cut part belongs to a whole one of another tile, given the shared pixels."""
    (top, left, bottom, right), (y1, x1, y2, x2) = runs_box(part.runs), other_tile
    is_seen = top > y1 and left > x1 and bottom < y2 and right < x2
    return shared >= (_SEEN_PIECE if is_seen else _PIECE) * runs_area(part.runs)


def _merged(group):
    """Return the `Part` of an object from those of its tiles."""
    if len(group) == 1:
        return group[0]
    score = max(part.score for part in group)
    union = unite_runs([part.runs for part in group])
    whole = [part for part in group if not part.is_cut]
    best = max(whole, key=lambda part: part.clearance, default=None)
    if best is not None and runs_area(cut_runs(union, best.tile)) == runs_area(union):
        return best._replace(score=score)
    boxes = np.array([part.box for part in group])
    box = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    return max(group, key=lambda part: part.score)._replace(box=box, runs=union)


class _Groups:
    """Sets of numbers that grow together."""

    def __init__(self, count):
        self._parent = list(range(count))

    def _root(self, index):
        while self._parent[index] != index:
            self._parent[index] = index = self._parent[self._parent[index]]
        return index

    def join(self, one, other):
        self._parent[self._root(other)] = self._root(one)

    def groups(self, indices):
        """Return the lists of the given indices that were joined."""
        found = {}
        for index in indices:
            found.setdefault(self._root(index), []).append(index)
        return list(found.values())
