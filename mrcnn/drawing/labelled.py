"""Small pictures of instances as arrays, with captions, without Matplotlib."""

import numpy as np

from mrcnn.drawing.instances import class_name
from mrcnn.drawing.pixels import apply_mask, as_rgb, draw_box, random_colors

_GAP = 8


def label_instances(
    image, boxes, masks, class_ids, class_names, scores=None, side: int = 512
) -> np.ndarray:
    """Paint masks, boxes and captions, in one colour a class, into a copy of an image.

    Args:
        image: [height, width] or [height, width, channels], as `as_rgb` takes it.
        boxes: [N, (y1, x1, y2, x2)] pixels; boxes of zeros are not drawn.
        masks: iterable of N [height, width] arrays, which are asked for one after the other.
        class_ids: [N] int, negative for a crowd of that class.
        class_names: names by class id.
        scores: [N], for the captions, or None.
        side: the longer side of the result in pixels; the image is made larger or smaller.

    Returns:
        [height, width, 3] uint8. Later instances lie on top.

    Raises:
        ValueError: there are not equally many of all, a mask has not the size of the image, or a
            class id has no name.
    """
    from PIL import Image, ImageDraw

    image = as_rgb(image)
    size = np.array(image.shape[:2])
    height, width = np.maximum(np.rint(size * (side / size.max())), 1).astype(int).tolist()
    picture = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    picture = np.array(picture)
    # The original pixel in whose area the centre of each new one lies.
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip((height, width), size, strict=True)
    )
    scale = np.tile((height, width) / size, 2)
    palette = random_colors(len(class_names))
    captions = []
    scores = [None] * len(class_ids) if scores is None else scores
    for box, mask, class_id, score in zip(boxes, masks, class_ids, scores, strict=True):
        text, color = class_name(class_names, class_id), palette[abs(class_id)]
        if not np.any(box):
            continue
        if np.shape(mask) != image.shape[:2]:
            raise ValueError(f"a mask has shape {np.shape(mask)} but the image {image.shape[:2]}")
        apply_mask(picture, np.asarray(mask)[np.ix_(rows, columns)], color)
        box = np.rint(box * scale).astype(int)
        rgb = tuple(round(255 * part) for part in color)
        draw_box(picture, box, rgb)
        captions.append((box, text if score is None else f"{text} {score:.2f}", rgb))
    picture = Image.fromarray(picture)
    draw = ImageDraw.Draw(picture)
    # Last, so that no mask covers them.
    for box, text, color in captions:
        _caption(draw, box, text, color, width)
    return np.array(picture)


def _caption(draw, box, text, color, width):
    """White text on black, rimmed, above the box's top left corner or within the image."""
    left, top, right, bottom = draw.textbbox((0, 0), text)
    x = min(box[1], width - right - 4)
    y = box[0] - bottom - 3
    x, y = max(int(x), 0), int(y if y >= 0 else box[0] + 2)
    draw.rectangle((x, y, x + right + 3, y + bottom + 3), fill="black", outline=color)
    draw.text((x + 2, y + 1), text, fill="white")


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two [height, width, 3] uint8 pictures of one height in one, white between them."""
    white = np.full((len(left), _GAP, 3), 255, np.uint8)
    return np.concatenate([left, white, right], axis=1)
