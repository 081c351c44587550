"""Detections drawn into the pixels of a photo, fast, and without a Matplotlib figure."""

import numpy as np

from mrcnn.drawing.checks import check_counts, class_name
from mrcnn.drawing.paint import paint_instances
from mrcnn.drawing.palette import class_color
from mrcnn.drawing.parts import mask_parts, part_box
from mrcnn.drawing.pixels import as_rgb

# Share of the colour in a mask's fill.
ALPHA = 0.35


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
    alpha=ALPHA,
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
        thickness: of lines, in pixels; by default it follows the size of the photo, and in a crowd
            that of the instances.
        text_scale: factor on the size of text, which follows the same sizes.
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
    parts = mask_parts(masks, picture.shape, len(class_ids), boxes)
    given = {"scores": scores, "colors": colors, "captions": captions}
    check_counts(boxes=boxes, masks=parts, class_ids=class_ids, **given)
    if boxes is None:
        boxes = np.array([part_box(part) for part in parts], np.float64).reshape(-1, 4)
    if captions is None and show_label:
        captions = default_captions(class_ids, class_names, scores)
    show_mask = show_mask and parts is not None
    paint_instances(
        picture,
        boxes,
        parts if show_mask else None,
        instance_colors(class_ids, color_by) if colors is None else rgb_colors(colors),
        captions if show_label else None,
        scores,
        alpha=alpha,
        show_box=not show_mask if show_box is None else show_box,
        thickness=thickness,
        text_scale=text_scale,
    )
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


def rgb_colors(colors) -> list[tuple[float, float, float]]:
    """Return (red, green, blue) in [0, 1] of each of the given Matplotlib colours.

    Raises:
        ValueError: if one is no colour.
    """
    from matplotlib.colors import to_rgb

    return [to_rgb(color) for color in colors]
