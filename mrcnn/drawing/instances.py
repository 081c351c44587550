"""Instances drawn over their image; boxes and RoIs are drawn by the same function."""

import numpy as np

from mrcnn.drawing.checks import check_counts, mask_list
from mrcnn.drawing.figures import image_canvas, magnification
from mrcnn.drawing.labels import leader, place_labels
from mrcnn.drawing.marks import caption, caption_size, outline, plate, rectangle, show_image
from mrcnn.drawing.overlay import ALPHA, default_captions, instance_colors, rgb_colors
from mrcnn.drawing.paint import paint_instances
from mrcnn.drawing.parts import magnified, mask_parts
from mrcnn.drawing.pixels import apply_mask, as_rgb
from mrcnn.drawing.saving import is_raster, save_picture, with_title
from mrcnn.ops.rle import decode_mask

# Limits in inches within which saved pictures have the pixels of their images. The first is the
# size of the original's figures.
_DEFAULT_SIZE, _DEFAULT_PAIR = (16, 16), (16, 8.5)

# Up to this number of instances a figure has all captions, also where they hide each other.
_FEW = 20


def draw_instances(
    ax,
    image,
    boxes,
    colors,
    captions,
    masks=None,
    *,
    refined=None,
    styles=None,
    title="",
    show_mask=True,
    show_box=True,
    alpha=0.5,
    places=None,
) -> None:
    """Draw instances on axes: filled mask, outline, box, refined box and caption.

    Args:
        image: [height, width, 3] uint8; not changed.
        colors: [N] Matplotlib colours.
        captions: [N] texts.
        masks: [N] list of [height, width] arrays, COCO RLEs or None; or None.
        refined: [N, (y1, x1, y2, x2)] pixels, drawn solid and joined to `boxes`; or None.
        styles: [N] line styles of `boxes`; dashed by default.
        show_mask: fill the masks. Outlines are drawn anyway.
        show_box: draw the boxes.
        alpha: share of the colour in the fill.
        places: [N] upper left corner (row, column) and size (height, width) of the captions, in
            pixels of the image; None for a caption at its box.
        The others: see `mrcnn.drawing`.
    """
    from matplotlib.colors import to_rgb

    picture = image.copy()
    before = [np.any(box) for box in boxes]
    after = [False] * len(boxes) if refined is None else [np.any(box) for box in refined]
    shown = [i for i in range(len(boxes)) if before[i] or after[i]]
    for i in shown:
        mask = None if masks is None else masks[i]
        if mask is not None:
            # In memory, all masks of a pixel are neighbours: one copy saves many slow passes.
            mask = decode_mask(mask) if isinstance(mask, dict) else np.ascontiguousarray(mask)
            outline(ax, mask, colors[i])
            if show_mask:
                apply_mask(picture, mask, to_rgb(colors[i]), alpha)
        if show_box and before[i]:
            rectangle(ax, boxes[i], colors[i], styles[i] if styles else "--")
        if show_box and after[i]:
            rectangle(ax, refined[i], colors[i])
        if show_box and before[i] and after[i]:
            (y1, x1), (y2, x2) = boxes[i][:2], refined[i][:2]
            line = [x1 - 0.5, x2 - 0.5], [y1 - 0.5, y2 - 0.5]
            ax.plot(*line, color=colors[i], linewidth=1, scalex=False, scaley=False)
    # Whatever the order of the calls, Matplotlib draws the image first and texts last.
    show_image(ax, picture, title)
    # In reverse: the first captions, those of the best detections, belong on top.
    for i in reversed(shown):
        if places is not None and places[i] is not None:
            corner, size = places[i]
            ends = leader(boxes[i], corner, size)
            if ends is not None:
                y, x = np.transpose(ends) - 0.5
                ax.plot(x, y, color=colors[i], linewidth=1, scalex=False, scaley=False)
            plate(ax, corner, captions[i], colors[i])
        else:
            caption(ax, (refined if after[i] else boxes)[i], captions[i], colors[i], image.shape)


class Instances:
    """The checked instances of one image with colours and captions, see `display_instances`."""

    def __init__(
        self, image, boxes, masks, class_ids, class_names, scores=None, colors=None, captions=None
    ):
        self.image = as_rgb(image)
        self.boxes = np.asarray(boxes).reshape(-1, 4)
        self.masks = mask_list(masks, self.image.shape, len(self.boxes))
        class_ids = np.asarray(class_ids, np.int64).reshape(-1)
        if isinstance(colors, str):
            if colors != "class":
                raise ValueError(f'colors is {colors!r}; expected N colours, "class" or None')
            colors = instance_colors(class_ids, "class")
        optional = {"scores": scores, "colors": colors, "captions": captions}
        check_counts(boxes=self.boxes, masks=self.masks, class_ids=class_ids, **optional)
        if captions is None:
            captions = default_captions(class_ids, class_names, scores)
        self.captions, self.scores = captions, scores
        self.colors = instance_colors(class_ids) if colors is None else colors
        self.parts = mask_parts(masks, self.image.shape, len(self.boxes), self.boxes)

    def draw(self, ax, title="", **options) -> None:
        """Draw the image and its instances on axes; options as in `draw_instances`."""
        captions, places = self._places(ax)
        drawn = self.image, self.boxes, self.colors, captions, self.masks
        draw_instances(ax, *drawn, title=title, alpha=ALPHA, places=places, **options)

    def _places(self, ax):
        """Return the captions and their places; crowds lose the captions that have none."""
        sizes = [caption_size(ax, str(text), self.image.shape) for text in self.captions]
        order = [i for i in range(len(sizes)) if self.captions[i] and self.boxes[i].any()]
        boxes = self.boxes.clip(0, np.tile(self.image.shape[:2], 2))
        placed = place_labels([sizes], boxes, self.image.shape, self.parts, order)
        places = [place and (place[1:], size) for place, size in zip(placed, sizes, strict=True)]
        if len(places) <= _FEW:
            return self.captions, places
        return [c if p else "" for c, p in zip(self.captions, places, strict=True)], places

    def picture(self, title="", show_mask=True, show_box=True) -> np.ndarray:
        """Paint the image and its instances in pixels of the image; small ones are magnified."""
        factor = magnification(self.image.shape)
        picture = self.image.repeat(factor, axis=0).repeat(factor, axis=1)
        parts = self.parts and [magnified(part, factor) for part in self.parts]
        boxes = factor * self.boxes.astype(np.float64)
        drawn = boxes, parts, rgb_colors(self.colors), self.captions, self.scores
        paint_instances(picture, *drawn, alpha=ALPHA * show_mask, show_box=show_box)
        return with_title(picture, title)


def display_instances(
    image,
    boxes,
    masks,
    class_ids,
    class_names,
    scores=None,
    title="",
    figsize=_DEFAULT_SIZE,
    ax=None,
    show_mask=True,
    show_bbox=True,
    colors=None,
    captions=None,
    *,
    empty="no instances",
    save_to=None,
) -> None:
    """Draw instances over their image: filled mask, outline, box and caption.

    Captions do not collide: they stand inside large instances, beside small ones, and are moved
    aside or left out in crowds.

    Args:
        boxes: [N, (y1, x1, y2, x2)] pixels; boxes of zeros are padding and not drawn.
        masks: [height, width, N], the size of the image; a list of N COCO RLEs, as `detect` returns
            with mask_format="rle"; or None to draw boxes only.
        scores: [N] shown in the captions with two decimals, or None.
        title: line of text above the image.
        figsize: (width, height) in inches, 100 pixels each. With the default a saved picture has
            the pixels of the image, and a small image is magnified by a whole number.
        show_mask: fill the masks. Their outlines are drawn anyway, as in the original.
        show_bbox: draw the boxes.
        colors: [N] colours, or "class" for one per class, the same in every picture. By default
            "class" where several classes occur; else every instance has its own.
        captions: [N] texts instead of class and score.
        empty: what the title says where there are no instances.
        The others: see `mrcnn.drawing`.

    Raises:
        ValueError: if the arguments have different numbers of instances, the masks do not have the
            size of the image (mini-masks), or a class id has no name.
    """
    instances = Instances(image, boxes, masks, class_ids, class_names, scores, colors, captions)
    if not len(instances.boxes):
        title = f"{title}: {empty}" if title else empty
    own = tuple(figsize) == _DEFAULT_SIZE
    if own and ax is None and save_to is not None and is_raster(save_to):
        save_picture(instances.picture(title, show_mask, show_bbox), save_to)
        return
    place = {"title": bool(title), "ax": ax, "save_to": save_to, "show": True, "own": own}
    with image_canvas(figsize, instances.image.shape, **place) as (panel,):
        instances.draw(panel, title, show_mask=show_mask, show_box=show_bbox)


def display_detections(image, result, class_names, title="", *, save_to=None, **options) -> None:
    """Draw one result of `MaskRCNN.detect` over its image.

    Where nothing was detected, the title says how high the best score was.

    Args:
        result: dict with rois, masks, class_ids and scores.
        options: further arguments of `display_instances`.
        The others, and errors: see `display_instances`.
    """
    found = result["rois"], result["masks"], result["class_ids"]
    options = {"empty": nothing_found(result), "title": title, "save_to": save_to} | options
    display_instances(image, *found, class_names, result["scores"], **options)


def nothing_found(result) -> str:
    """Return "no instances above 0.7 (best score 0.41)", as far as a result has these numbers."""
    if "best_score" not in result:
        return "no instances"
    limit, best = result["min_confidence"], result["best_score"]
    return f"no instances above {limit:g} (best score {best:.2f})"


def display_comparison(
    image, gt, pred, class_names, *, title="", figsize=_DEFAULT_PAIR, save_to=None
) -> None:
    """Draw the ground truth and the detections of an image side by side, one colour per class.

    Args:
        gt: (boxes [G, (y1, x1, y2, x2)] pixels, masks [height, width, G], class_ids [G]).
        pred: one result of `MaskRCNN.detect`: dict with rois [P, (y1, x1, y2, x2)] pixels,
            masks [height, width, P] or a list of P COCO RLEs, class_ids [P] and scores [P].
        title: text before the headings of both halves.
        The others: see `mrcnn.drawing`.

    Raises:
        ValueError: as `display_instances`.
    """
    found = pred["rois"], pred["masks"], pred["class_ids"]
    halves = {
        "ground truth": Instances(image, *gt, class_names, colors="class"),
        "detections": Instances(image, *found, class_names, pred["scores"], colors="class"),
    }
    shape = halves["detections"].image.shape
    options = {"title": True, "panels": 2, "save_to": save_to, "show": True}
    options["own"] = tuple(figsize) == _DEFAULT_PAIR
    with image_canvas(figsize, shape, **options) as panels:
        for ax, (name, half) in zip(panels, halves.items(), strict=True):
            count = len(half.boxes)
            nothing = nothing_found(pred) if name == "detections" else "no instances"
            heading = f"{name} ({count})" if count else f"{name}: {nothing}"
            half.draw(ax, f"{title}: {heading}" if title else heading)
