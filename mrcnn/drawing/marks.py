"""Boxes, outlines and captions on Matplotlib axes that show an image.

imshow puts the middle of pixel (0, 0) at the point (0, 0). A box whose y2, x2 are exclusive is
therefore drawn half a pixel up and left, where it encloses its pixels exactly, and meets the
outline of a mask that fills it.
"""

import numpy as np


def show_image(ax, image: np.ndarray, title: str = "") -> None:
    """Show a [height, width, 3] uint8 image without ticks, filling the axes.

    Args:
        ax: Matplotlib axes.
        image: [height, width, 3] uint8.
        title: line of text above the image.
    """
    ax.imshow(image, interpolation="nearest" if max(image.shape[:2]) < 256 else None)
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=1.25 * text_size(ax))


def text_size(ax) -> float:
    """Points of a caption: small on small axes, 12 on those that fill a large figure."""
    inches = ax.get_position().width * ax.figure.get_figwidth()
    return float(np.clip(5 + 0.5 * inches, 6, 12))


def rectangle(ax, box, color, *, style="-", alpha=0.9) -> None:
    """Outline a box, two points thick on large axes and thinner on small ones.

    Args:
        ax: Matplotlib axes.
        box: (y1, x1, y2, x2) pixels.
        color: any Matplotlib colour.
        style: "-", "--" or ":".
        alpha: opacity.
    """
    from matplotlib.patches import Rectangle

    y1, x1, y2, x2 = box
    ax.add_patch(
        Rectangle(
            (x1 - 0.5, y1 - 0.5),
            x2 - x1,
            y2 - y1,
            linewidth=min(text_size(ax) / 5, 2),
            linestyle=style,
            edgecolor=color,
            facecolor="none",
            alpha=alpha,
        )
    )


def corner_line(ax, start_box, end_box, color) -> None:
    """Join the top left corners of a box and of its refined version.

    Args:
        ax: Matplotlib axes.
        start_box: (y1, x1, y2, x2) pixels.
        end_box: (y1, x1, y2, x2) pixels.
        color: any Matplotlib colour.
    """
    xs, ys = [start_box[1] - 0.5, end_box[1] - 0.5], [start_box[0] - 0.5, end_box[0] - 0.5]
    ax.plot(xs, ys, color=color, linewidth=1, scalex=False, scaley=False)


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Closed outlines of a mask, holes included, between its pixels and those around them.

    Args:
        mask: [height, width]; pixels other than zero belong to the object.

    Returns:
        List of [points, (x, y)] arrays in the coordinates of imshow; empty for an empty mask.
    """
    from skimage.measure import find_contours

    inside = np.asarray(mask) != 0
    rows, columns = np.nonzero(inside.any(axis=1))[0], np.nonzero(inside.any(axis=0))[0]
    if not len(rows):
        return []
    top, left = rows[0], columns[0]
    cut = inside[top : rows[-1] + 1, left : columns[-1] + 1]
    # A frame of zeros closes the outlines of objects that touch the image's edge.
    contours = find_contours(np.pad(cut, 1).astype(np.float32), 0.5)
    return [contour[:, ::-1] + (left - 1, top - 1) for contour in contours]


def outline(ax, contours: list[np.ndarray], color) -> None:
    """Draw the outlines of a mask.

    Args:
        ax: Matplotlib axes.
        contours: list of [points, (x, y)], as `outlines` returns.
        color: any Matplotlib colour.
    """
    from matplotlib.patches import Polygon

    for points in contours:
        ax.add_patch(Polygon(points, facecolor="none", edgecolor=color, linewidth=1.2))


def caption(ax, box, text: str, color, image_shape) -> None:
    """Write white text on a dark translucent plate at a box, inside the image.

    The plate stands on the box's top edge, or hangs from it where there is no room above. In the
    right half of the image it ends at the box's right edge where that keeps it in sight.

    Args:
        ax: Matplotlib axes.
        box: (y1, x1, y2, x2) pixels.
        text: the caption; nothing is drawn when it is empty.
        color: colour of the plate's rim.
        image_shape: (height, width, ...) pixels.
    """
    if not text:
        return
    height, width = image_shape[:2]
    y1, x1, _, x2 = box
    size = text_size(ax)
    # Pixels of the image a line of text takes: points to inches to pixels.
    line = 2.2 * size / 72 * height / max(ax.get_position().height * ax.figure.get_figheight(), 1)
    at_right, pad = x1 > 0.6 * width, 0.2 * size
    ax.annotate(
        text,
        xy=(min(x2, width) - 0.5 if at_right else max(x1, 0) - 0.5, max(y1, 0) - 0.5),
        xytext=(-pad if at_right else pad, pad + 1 if y1 > line else -pad - 1),
        textcoords="offset points",
        ha="right" if at_right else "left",
        va="bottom" if y1 > line else "top",
        fontsize=size,
        color="white",
        bbox={
            "boxstyle": "square,pad=0.2",
            "facecolor": (0, 0, 0, 0.6),
            "edgecolor": color,
            "linewidth": 0.8,
        },
    )
