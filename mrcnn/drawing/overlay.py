"""Detections drawn into the pixels of a photo, fast, and without a Matplotlib figure."""

import numpy as np

from mrcnn.drawing.instances import check_counts, class_name, mask_list
from mrcnn.drawing.labels import place_labels
from mrcnn.drawing.palette import class_color, ink
from mrcnn.drawing.pixels import as_rgb
from mrcnn.drawing.text import line_of_text
from mrcnn.ops.rle_crop import crop_rle

# Share of the colour of a label's plate; the photo shows through a little.
_PLATE = 0.85

# Labels are tried in these sizes.
_SIZES = (1, 0.8)


def draw_detections(
    image,
    boxes,
    masks,
    class_ids,
    class_names=None,
    scores=None,
    *,
    color_by=None,
    colors=None,
    captions=None,
    show_mask=True,
    show_box=None,
    show_label=True,
    alpha=0.35,
    thickness=None,
    text_scale=1.0,
) -> np.ndarray:
    """Draw instances into a copy of their photo: filled masks, outlines, boxes and labels.

    Labels never overlap each other. A label that would hide other instances becomes smaller, is
    moved aside with a line to its instance, or is left out, in this order. Where labels compete,
    the better score has the first choice, without scores the larger instance.

    Args:
        boxes: [N, (y1, x1, y2, x2)] pixels; zeros are padding, not drawn. None for those of the
            masks.
        masks: [height, width, N], a list of N COCO RLEs, or None.
        class_names: names by class id; None shows the ids.
        scores: [N] shown in the labels with two decimals, or None.
        color_by: "class", "instance", or None for "class" where several classes occur.
        colors: [N] Matplotlib colours instead.
        captions: [N] texts instead of class and score.
        show_mask: fill the masks and draw their outlines.
        show_box: draw the boxes; by default where there are no masks, or none are shown.
        show_label: write the labels.
        alpha: share of the colour in the fill, from 0 to 1.
        thickness: of lines, in pixels; by default as the size of the photo.
        text_scale: factor on the size of text, which follows the size of the photo.
        The others: see `mrcnn.drawing`.

    Returns:
        `[height, width, 3]` uint8, the size of the photo.

    Raises:
        ValueError: if the arguments have different numbers of instances, the masks do not have
            the size of the image, a class id has no name, or an option is out of its range.
    """
    _check_options(color_by, alpha, thickness, text_scale)
    picture = np.ascontiguousarray(as_rgb(image))
    class_ids = np.asarray(class_ids, np.int64).reshape(-1)
    if boxes is None and masks is None:
        raise ValueError("draw_detections needs boxes, masks or both, but both are None")
    if boxes is not None:
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        if not np.isfinite(boxes).all():
            raise ValueError("a box has a coordinate that is NaN or infinite")
    listed = mask_list(masks, picture.shape, len(class_ids))
    given = {"scores": scores, "colors": colors, "captions": captions}
    check_counts(boxes=boxes, masks=listed, class_ids=class_ids, **given)
    parts = None
    if listed is not None:
        has_array = len(listed) and not isinstance(listed[0], dict)
        parts = _mask_parts(np.asarray(masks) if has_array else listed, boxes, picture.shape)
    if boxes is None:
        boxes = np.array([_part_box(part) for part in parts]).reshape(-1, 4)
    paints = instance_colors(class_ids, color_by) if colors is None else _rgb(colors)
    side = np.sqrt(picture.shape[0] * picture.shape[1])
    thickness = max(1, round(side / 450)) if thickness is None else thickness
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    shown = np.flatnonzero(boxes.any(axis=1))
    # The largest first: small instances stay visible on top of them.
    shown = shown[np.argsort(-areas[shown], kind="stable")]
    if show_mask and parts is not None:
        for i in shown:
            _fill(picture, parts[i], paints[i], alpha)
        for i in shown:
            _outline(picture, parts[i], paints[i], thickness)
    if (not show_mask or parts is None) if show_box is None else show_box:
        for i in shown:
            _rectangle(picture, boxes[i], paints[i], thickness)
    if show_label:
        if captions is None:
            captions = default_captions(class_ids, class_names, scores)
        first = shown if scores is None else shown[np.argsort(-np.asarray(scores)[shown])]
        pixels = text_scale * max(0.018 * side, 10)
        _labels(picture, boxes, parts if show_mask else None, captions, paints, first, pixels)
    return picture


def _check_options(color_by, alpha, thickness, text_scale):
    if color_by not in ("class", "instance", None):
        raise ValueError(f'color_by is {color_by!r}; accepted are "class", "instance" and None')
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; expected a number from 0 to 1")
    if thickness is not None and (thickness < 1 or thickness != int(thickness)):
        raise ValueError(f"thickness is {thickness}; expected a whole number of pixels from 1 on")
    if not 0 < text_scale <= 100:
        raise ValueError(f"text_scale is {text_scale}; expected a number above 0, up to 100")


def instance_colors(class_ids, color_by=None) -> list[tuple[float, float, float]]:
    """Return a colour (red, green, blue) in [0, 1] for each instance.

    Args:
        class_ids: [N] int.
        color_by: "class", "instance", or None for "class" where several classes occur.
    """
    several = len(set(np.abs(class_ids).tolist())) > 1
    if color_by == "class" or (color_by is None and several):
        return [class_color(class_id) for class_id in class_ids]
    return [class_color(number) for number in range(1, len(class_ids) + 1)]


def default_captions(class_ids, class_names=None, scores=None) -> list[str]:
    """Return "<class name> <score with two decimals>" for each instance.

    Raises:
        ValueError: if a class id has no name.
    """
    if class_names is None:
        captions = [f"class {class_id}" for class_id in class_ids]
    else:
        captions = [class_name(class_names, class_id) for class_id in class_ids]
    if scores is None:
        return captions
    return [f"{c} {s:.2f}" for c, s in zip(captions, scores, strict=True)]


def _rgb(colors):
    from matplotlib.colors import to_rgb

    return [to_rgb(color) for color in colors]


def _mask_parts(masks, boxes, image_shape):
    """Cut masks out: (row, column, [h, w] bool) of each, without decoding whole RLEs."""
    if isinstance(masks, list):
        for number, mask in enumerate(masks):
            if list(mask["size"]) != list(image_shape[:2]):
                size = " x ".join(map(str, mask["size"]))
                height, width = image_shape[:2]
                raise ValueError(f"mask {number} is {size} but the image is {height} x {width}")
        return [crop_rle(mask) for mask in masks]
    if boxes is not None:
        near = np.hstack([np.floor(boxes[:, :2]) - 1, np.ceil(boxes[:, 2:]) + 1])
        parts = _cut(masks, near.clip(0, np.tile(image_shape[:2], 2)).astype(int))
        # Finding the boxes of all masks takes ten times as long, and is needed only where masks
        # reach out of the given boxes.
        if sum(np.count_nonzero(mask) for *_, mask in parts) == np.count_nonzero(masks):
            return parts
    windows = np.zeros((masks.shape[-1], 4), int)
    for side, other in ((0, 1), (1, 0)):
        covered = masks.any(axis=other)
        windows[:, side] = covered.argmax(axis=0)
        windows[:, side + 2] = (len(covered) - covered[::-1].argmax(axis=0)) * covered.any(axis=0)
    return _cut(masks, windows)


def _cut(masks, windows):
    """Return the masks [h, w, N] inside their windows [N, (y1, x1, y2, x2)] as tight parts."""
    parts = []
    for i, (y1, x1, y2, x2) in enumerate(windows.tolist()):
        cut = np.ascontiguousarray(masks[y1:y2, x1:x2, i]) != 0
        rows, columns = np.flatnonzero(cut.any(axis=1)), np.flatnonzero(cut.any(axis=0))
        if len(rows):
            y1, x1 = y1 + int(rows[0]), x1 + int(columns[0])
            cut = cut[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        parts.append((y1, x1, cut if len(rows) else cut[:0, :0]))
    return parts


def _part_box(part):
    top, left, mask = part
    return top, left, top + mask.shape[0], left + mask.shape[1]


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
    cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), _bytes(color), thickness, cv2.LINE_AA)


def _labels(picture, boxes, parts, captions, paints, order, pixels):
    import cv2

    order = [i for i in order if captions[i]]
    texts = [
        [line_of_text(str(caption), max(6, round(factor * pixels))) for caption in captions]
        for factor in _SIZES
    ]
    sizes = [[text.shape for text in line] for line in texts]
    sizes = np.reshape(sizes, (len(_SIZES), len(captions), 2))
    limit = np.array(picture.shape[:2] * 2)
    places = place_labels(sizes, boxes.clip(0, limit), picture.shape, parts, order)
    for i in order:
        if places[i] is None:
            continue
        number, y, x = places[i]
        text = texts[number][i]
        y2, x2 = y + text.shape[0], x + text.shape[1]
        middle = (boxes[i, :2] + boxes[i, 2:]) / 2
        nearest = middle.clip((y, x), (y2 - 1, x2 - 1))
        gap = np.maximum(boxes[i, :2] - (y2, x2), (y, x) - boxes[i, 2:]).max()
        if gap > 1:
            ends = [tuple(int(v) for v in point[::-1]) for point in (nearest, middle)]
            cv2.line(picture, *ends, _bytes(paints[i]), max(1, round(pixels / 12)), cv2.LINE_AA)
    for i in order:
        if places[i] is not None:
            number, y, x = places[i]
            _write(picture, texts[number][i], y, x, paints[i])


def _write(picture, text, y, x, color):
    region = picture[y : y + text.shape[0], x : x + text.shape[1]]
    plate = region * (1 - _PLATE) + 255 * _PLATE * np.asarray(color)
    share = text[..., np.newaxis] / 255
    region[:] = np.rint(plate * (1 - share) + ink(color) * share).astype(np.uint8)
