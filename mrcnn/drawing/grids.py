"""Images side by side."""

import numpy as np

from mrcnn.drawing.checks import check_counts, class_name, mask_list
from mrcnn.drawing.figures import grid_canvas
from mrcnn.drawing.pixels import as_rgb


def display_images(
    images, titles=None, cols=4, cmap=None, norm=None, interpolation=None, *, save_to=None
) -> None:
    """Show images in a grid.

    Args:
        images: list of [height, width] or [height, width, channels]. Images of one channel are
            drawn with the colour map, over their own range of values; bools over False and True.
        titles: one text per image, or None.
        cols: images per row.
        cmap, norm: Matplotlib colour map and normalization of images of one channel.
        interpolation: of Matplotlib's `imshow`.

    Raises:
        ValueError: if the number of titles is not that of the images.
    """
    images = [np.asarray(image) for image in images]
    titles = list(titles) if titles is not None else [""] * len(images)
    check_counts(images=images, titles=titles)
    tallest = max((image.shape[0] / image.shape[1] for image in images), default=1)
    cell = (14 / cols, min(tallest, 2) * 14 / cols + 0.3)
    with grid_canvas(len(images), cols, cell, save_to=save_to, show=True) as axes:
        for ax, image, title in zip(axes, images, titles, strict=True):
            flat = image.ndim == 2 or image.shape[-1] == 1
            picture = image.reshape(image.shape[:2]) if flat else as_rgb(image)
            limits = {"vmin": 0, "vmax": 1} if image.dtype == bool and norm is None else {}
            ax.imshow(picture, cmap=cmap, norm=norm, interpolation=interpolation, **limits)
            ax.set_axis_off()
            ax.set_title(title, fontsize=9)


def display_top_masks(image, mask, class_ids, class_names, limit=4, *, save_to=None) -> None:
    """Show an image and, beside it, the masks of the classes that cover most of it.

    Args:
        limit: number of classes; places without a class stay empty.
        The others: see `mrcnn.drawing`; `mask` is its `masks`.

    Raises:
        ValueError: if the masks do not have the size of the image, or one class id each.
    """
    class_ids, image = np.asarray(class_ids), as_rgb(image)
    masks = mask_list(mask, image.shape, len(class_ids))
    check_counts(masks=masks, class_ids=class_ids)
    areas, shades = {}, {}
    for class_id in sorted(set(class_ids.tolist())):
        own = [mask != 0 for mask, c in zip(masks, class_ids, strict=True) if c == class_id]
        areas[class_id] = sum(map(np.count_nonzero, own))
        shades[class_id] = np.zeros(image.shape[:2], np.uint16)
        # Every instance of the class has its own shade: 1, 2, 3...
        for shade, covered in enumerate(own, start=1):
            shades[class_id][covered] = shade
    shown = [c for c in sorted(areas, key=lambda c: -areas[c]) if areas[c]][:limit]
    blank = [np.zeros(image.shape[:2], int)] * (limit - len(shown))
    titles = [f"H x W = {image.shape[0]} x {image.shape[1]}"]
    titles += [class_name(class_names, c) for c in shown] + ["-"] * len(blank)
    pictures = [image, *(shades[c] for c in shown), *blank]
    display_images(pictures, titles, cols=limit + 1, cmap="Blues_r", save_to=save_to)
