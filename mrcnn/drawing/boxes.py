"""Proposals, anchors and RoIs over their image, before and after refinement."""

import numpy as np

from mrcnn.drawing.checks import check_counts, class_name, mask_list
from mrcnn.drawing.figures import image_canvas
from mrcnn.drawing.instances import draw_instances
from mrcnn.drawing.pixels import as_rgb, random_colors
from mrcnn.ops.masks import unmold_mask

# How draw_boxes draws a box of visibility 0, 1 and 2; 0 is gray besides.
_STYLES = (":", ":", "-")


def draw_boxes(
    image,
    boxes=None,
    refined_boxes=None,
    masks=None,
    captions=None,
    visibilities=None,
    title="",
    ax=None,
    *,
    save_to=None,
) -> None:
    """Draw boxes, their refined versions, or both joined at the top left corner.

    Args:
        refined_boxes: [N, (y1, x1, y2, x2)] pixels, drawn solid.
        captions: [N] texts, or None.
        visibilities: [N] of 0 (gray, dotted), 1 (coloured, dotted) or 2 (coloured, solid) for
            boxes; None draws them as 1.
        The others: see `mrcnn.drawing`.

    Raises:
        ValueError: if there are no boxes of either kind, the arguments have different numbers of
            boxes, or the masks do not have the size of the image.
    """
    if boxes is None and refined_boxes is None:
        raise ValueError("draw_boxes needs boxes, refined_boxes or both, but both are None")
    image = as_rgb(image)
    count = len(refined_boxes if boxes is None else boxes)
    masks = mask_list(masks, image.shape, count)
    visibilities = [1] * count if visibilities is None else visibilities
    captions = [""] * count if captions is None else captions
    lists = {"masks": masks, "captions": captions, "visibilities": visibilities}
    check_counts(boxes=boxes, refined_boxes=refined_boxes, **lists)
    colors = zip(random_colors(count), visibilities, strict=True)
    colors = [color if visible else (0.5, 0.5, 0.5) for color, visible in colors]
    boxes = np.zeros((count, 4)) if boxes is None else boxes
    place = {"title": bool(title), "ax": ax, "save_to": save_to}
    with image_canvas((12, 12), image.shape, **place) as (panel,):
        styles = [_STYLES[visibility] for visibility in visibilities]
        options = {"refined": refined_boxes, "styles": styles, "title": title}
        draw_instances(panel, image, boxes, colors, captions, masks, **options)


def draw_rois(
    image, rois, refined_rois, mask, class_ids, class_names, limit=10, *, save_to=None
) -> None:
    """Draw RoIs as the heads see them: dashed before, solid after refinement, with their masks.

    Background RoIs are gray. The title counts both kinds among all RoIs.

    Args:
        rois, refined_rois: [N, (y1, x1, y2, x2)] pixels.
        mask: [N, mask height, mask width] floats, each within its RoI.
        limit: number of RoIs to draw at most; the choice is random, but always the same.
        The others: see `mrcnn.drawing`.

    Raises:
        ValueError: if the arguments have different numbers of RoIs.
    """
    rois, refined_rois, class_ids = map(np.asarray, (rois, refined_rois, class_ids))
    check_counts(rois=rois, refined_rois=refined_rois, masks=mask, class_ids=class_ids)
    image = as_rgb(image)
    chosen = np.random.default_rng(0).permutation(len(rois))[:limit]
    positive = np.count_nonzero(class_ids)
    title = (
        f"{len(chosen)} of {len(rois)} RoIs ({positive} positive, "
        f"{len(rois) - positive} background)"
    )
    palette = iter(random_colors(len(chosen)))
    boxes, colors, captions, masks, refined = rois[chosen, :4], [], [], [], []
    for i in chosen:
        found = bool(class_ids[i])
        colors.append(next(palette) if found else "gray")
        captions.append(class_name(class_names, class_ids[i]) if found else "")
        box = rois[i, :4].astype(np.int32)
        masks.append(unmold_mask(mask[i], box, image.shape) if found else None)
        refined.append(refined_rois[i, :4] if found else np.zeros(4))
    with image_canvas((12, 12), image.shape, title=True, save_to=save_to) as (ax,):
        draw_instances(ax, image, boxes, colors, captions, masks, refined=refined, title=title)
