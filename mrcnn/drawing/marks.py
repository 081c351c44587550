"""Boxes, outlines and captions on Matplotlib axes that show an image.

imshow puts the centre of pixel (0, 0) at the point (0, 0). A box with exclusive y2, x2 is therefore
drawn half a pixel up and left, where it encloses its pixels exactly and meets the outline of a mask
that fills it.
"""

import numpy as np

from mrcnn.drawing.text import line_of_text


def show_image(ax, image: np.ndarray, title: str = "") -> None:
    """Show a [height, width, 3] uint8 image with a title and without ticks, filling the axes."""
    scale = ax.bbox.width / image.shape[1]
    # At its own size an image keeps its very pixels; those of a small one may be seen.
    is_whole = round(scale) >= 1 and abs(scale - round(scale)) < 1e-4
    is_small = max(image.shape[:2]) < 256
    ax.imshow(image, interpolation="nearest" if is_whole or is_small else None)
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=1.25 * text_size(ax))


def text_size(ax) -> float:
    """Return the font size of captions in points: 6 on small axes, up to 12 on large ones."""
    inches = ax.get_position().width * ax.figure.get_figwidth()
    return float(np.clip(5 + 0.5 * inches, 6, 12))


def rectangle(ax, box, color, style="-") -> None:
    """Draw a box (y1, x1, y2, x2) in pixels, two points thick on large axes, thinner on small ones.

    `style` is a line style of Matplotlib: "-", "--" or ":".
    """
    from matplotlib.patches import Rectangle

    y1, x1, y2, x2 = box
    line = {"linewidth": min(text_size(ax) / 5, 2), "linestyle": style, "edgecolor": color}
    place = (x1 - 0.5, y1 - 0.5), x2 - x1, y2 - y1
    ax.add_patch(Rectangle(*place, **line, facecolor="none"))


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Trace a mask [height, width], holes included, between its nonzero pixels and the background.

    Returns:
        List of closed [points, (x, y)] arrays in the coordinates of imshow; empty for an empty
        mask.
    """
    from skimage.measure import find_contours

    inside = np.asarray(mask) != 0
    rows, columns = np.nonzero(inside.any(axis=1))[0], np.nonzero(inside.any(axis=0))[0]
    if not len(rows):
        return []
    top, left = rows[0], columns[0]
    cut = inside[top : rows[-1] + 1, left : columns[-1] + 1]
    # The frame of zeros closes the outlines of objects that touch the edge of the image.
    contours = find_contours(np.pad(cut, 1).astype(np.float32), 0.5)
    return [contour[:, ::-1] + (left - 1, top - 1) for contour in contours]


def outline(ax, mask: np.ndarray, color) -> None:
    """Draw the outlines of a mask [height, width]."""
    from matplotlib.patches import Polygon

    for points in outlines(mask):
        # `add_patch` would walk through all points to find the limits, which the image sets.
        ax.add_artist(Polygon(points, facecolor="none", edgecolor=color, linewidth=1.2))


def caption(ax, box, text: str, color, image_shape) -> None:
    """Write white text on a dark translucent plate at a box, inside the image.

    The plate stands on the top edge of the box, or hangs from it where there is no room above. At
    boxes on the right of the image it ends at the right edge of the box.

    Args:
        ax: Matplotlib axes.
        box: (y1, x1, y2, x2) pixels.
        text: nothing is drawn for an empty one.
        color: of the plate's rim.
        image_shape: (height, width, ...) pixels.
    """
    if not text:
        return
    height, width = image_shape[:2]
    y1, x1, _, x2 = box
    size = text_size(ax)
    # Height of a line of text in pixels of the image, from points and inches.
    line = 2.2 * size / 72 * height / max(ax.get_position().height * ax.figure.get_figheight(), 1)
    at_right, pad = x1 > 0.6 * width, 0.2 * size
    ax.annotate(
        text,
        xy=(min(x2, width) - 0.5 if at_right else max(x1, 0) - 0.5, max(y1, 0) - 0.5),
        xytext=(-pad if at_right else pad, pad + 1 if y1 > line else -pad - 1),
        ha="right" if at_right else "left",
        va="bottom" if y1 > line else "top",
        **_plate_style(size, color),
    )


def plate(ax, corner, text: str, color) -> None:
    """Write white text on a dark translucent plate, as `caption`, at a place of its own.

    Args:
        corner: (row, column) of the upper left corner in pixels of the image.
        The others: see `caption`.
    """
    if not text:
        return
    size, (y, x) = text_size(ax), corner
    pad = 0.2 * size + 1
    style = _plate_style(size, color)
    ax.annotate(text, xy=(x - 0.5, y - 0.5), xytext=(pad, -pad), ha="left", va="top", **style)


def _plate_style(size, color):
    style = {"textcoords": "offset points", "fontsize": size, "color": "white"}
    rim = {"boxstyle": "square,pad=0.2", "fc": (0, 0, 0, 0.6), "ec": color, "lw": 0.8}
    return style | {"bbox": rim}


def caption_size(ax, text: str, image_shape) -> tuple[float, float]:
    """Return the (height, width) of the plate of a caption in pixels of the image on the axes."""
    height, width = image_shape[:2]
    scale = max(height / ax.bbox.height, width / ax.bbox.width)
    points = ax.figure.dpi / 72
    rows, columns = line_of_text(text, max(1, round(text_size(ax) * points))).shape
    return scale * (rows + 2 * points), scale * (columns + 2 * points)
