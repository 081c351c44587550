"""Instances painted into an array: fills, outlines, boxes and labels, by OpenCV and NumPy."""

import numpy as np

from mrcnn.drawing.labels import leader, place_labels
from mrcnn.drawing.palette import ink
from mrcnn.drawing.text import line_of_text

# Share of the colour of a label's plate; the photo shows through a little.
_PLATE = 0.85

# Labels are tried in these sizes.
_SIZES = (1, 0.8)


# Above this number of instances, text and lines follow their sizes where these are small.
_CROWD = 40


def text_pixels(image_shape) -> float:
    """Return the size of text in pixels that suits an image (height, width, ...)."""
    return max(0.018 * np.sqrt(image_shape[0] * image_shape[1]), 10)


def _scale(image_shape, areas):
    """Return the scale of text and lines: 1, or less for a crowd of small instances."""
    if len(areas) <= _CROWD:
        return 1
    return min(1, max(0.4 * np.sqrt(np.median(areas)), 10) / text_pixels(image_shape))


def paint_instances(
    picture,
    boxes,
    parts,
    colors,
    captions,
    scores=None,
    *,
    alpha,
    show_box,
    thickness=None,
    text_scale=1.0,
) -> None:
    """Paint instances into a picture; the smallest are on top.

    Args:
        picture: [height, width, 3] uint8, contiguous; changed in place.
        boxes: [N, (y1, x1, y2, x2)] pixels, float64; zeros are padding, not drawn.
        parts: [N] masks as in `mrcnn.drawing.parts`, filled and outlined; or None.
        colors: [N] (red, green, blue) in [0, 1].
        captions: [N] texts; or None.
        scores: [N], by which labels choose their places; by default the largest come first.
        alpha, show_box, thickness, text_scale: see `mrcnn.drawing.overlay.draw_detections`.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    shown = np.flatnonzero(boxes.any(axis=1))
    scale = _scale(picture.shape, np.maximum(areas[shown], 0))
    if thickness is None:
        side = np.sqrt(picture.shape[0] * picture.shape[1])
        thickness = max(1, round(scale * side / 450))
    shown = shown[np.argsort(-areas[shown], kind="stable")]
    if parts is not None:
        for i in shown:
            _fill(picture, parts[i], colors[i], alpha)
        for i in shown:
            _outline(picture, parts[i], colors[i], thickness)
    if show_box:
        for i in shown:
            _rectangle(picture, boxes[i], colors[i], thickness)
    if captions is not None:
        first = shown
        if scores is not None:
            first = shown[np.argsort(-np.asarray(scores)[shown], kind="stable")]
        order = [i for i in first if captions[i]]
        pixels = text_scale * scale * text_pixels(picture.shape)
        _labels(picture, boxes, parts, captions, colors, order, pixels)


def _bytes(color):
    return tuple(round(255 * value) for value in color)


def _fill(picture, part, color, alpha):
    top, left, mask = part
    region = picture[top : top + mask.shape[0], left : left + mask.shape[1]]
    # A table of the 256 values of each channel is faster than arithmetic on pixels.
    table = np.arange(256)[:, np.newaxis] * (1 - alpha) + 255 * alpha * np.asarray(color)
    table = np.rint(table).astype(np.uint8)
    for channel in range(3):
        region[..., channel][mask] = table[:, channel][region[..., channel][mask]]


def _outline(picture, part, color, thickness):
    import cv2

    top, left, mask = part
    if not mask.size:
        return
    found = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(left, top)
    )[0]
    lines = []
    for points in found:
        points = points[:, 0].astype(np.float64)
        if len(points) > 8:
            # The mean of neighbours rounds the stairs of pixels off.
            points = (np.roll(points, 1, 0) + 2 * points + np.roll(points, -1, 0)) / 4
            # Long outlines need fewer points, which are drawn faster.
            points = points[:: 1 + (len(points) > 40) + (len(points) > 200)]
        lines.append(np.rint(16 * points).astype(np.int32))
    cv2.polylines(picture, lines, True, _bytes(color), thickness, cv2.LINE_AA, shift=4)


def _rectangle(picture, box, color, thickness):
    import cv2

    limit = np.array(picture.shape[:2] * 2)
    y1, x1, y2, x2 = (int(v) for v in np.rint(box).clip(-limit, 2 * limit))
    cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), _bytes(color), thickness)


def _labels(picture, boxes, parts, captions, colors, order, pixels):
    import cv2

    texts = [
        [line_of_text(str(caption), max(6, round(factor * pixels))) for caption in captions]
        for factor in _SIZES
    ]
    sizes = [[text.shape for text in line] for line in texts]
    sizes = np.reshape(sizes, (len(_SIZES), len(captions), 2))
    limit = np.array(picture.shape[:2] * 2)
    places = place_labels(sizes, boxes.clip(0, limit), picture.shape, parts, order)
    placed = [i for i in order if places[i] is not None]
    for i in placed:
        number, *corner = places[i]
        ends = leader(boxes[i], corner, texts[number][i].shape)
        if ends is not None:
            ends = [tuple(int(v) for v in end[::-1]) for end in ends]
            cv2.line(picture, *ends, _bytes(colors[i]), max(1, round(pixels / 12)), cv2.LINE_AA)
    for i in placed:
        number, y, x = places[i]
        _write(picture, texts[number][i], y, x, colors[i])


def _write(picture, text, y, x, color):
    region = picture[y : y + text.shape[0], x : x + text.shape[1]]
    plate = region * (1 - _PLATE) + 255 * _PLATE * np.asarray(color)
    share = text[..., np.newaxis] / 255
    region[:] = np.rint(plate * (1 - share) + ink(color) * share).astype(np.uint8)
