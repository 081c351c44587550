"""Pictures of images, instances and results.

Every function that makes a figure takes `save_to=path`: the picture is then drawn without a
display or pyplot, the file appears whole or not at all, and nothing stays open. Without it the
pyplot figure is the current one after the call, and the `display_` functions show it, as ever.

Images may be [height, width] or [height, width, channels] of any numeric type; see
`mrcnn.drawing.pixels.as_rgb`. Boxes are (y1, x1, y2, x2) in pixels, y2 and x2 exclusive.
"""

import numpy as np

from mrcnn.drawing.charts import (
    display_table,
    display_weight_stats,
    plot_losses,
    plot_overlaps,
    plot_precision_recall,
    plot_weight_histograms,
)
from mrcnn.drawing.figures import canvas, fitted_size, image_axes, image_canvas
from mrcnn.drawing.instances import Instances, check_counts, check_masks, class_name
from mrcnn.drawing.marks import caption, corner_line, outline, outlines, rectangle, show_image
from mrcnn.drawing.metrics import plot_confusion_matrix, plot_f1, plot_precision_recall_curves
from mrcnn.drawing.pixels import apply_mask, as_rgb, draw_box, random_colors
from mrcnn.evaluation.ap import compute_matches
from mrcnn.ops.masks import unmold_mask

__all__ = [
    "apply_mask",
    "display_comparison",
    "display_differences",
    "display_images",
    "display_instances",
    "display_table",
    "display_top_masks",
    "display_weight_stats",
    "draw_box",
    "draw_boxes",
    "draw_rois",
    "plot_confusion_matrix",
    "plot_f1",
    "plot_losses",
    "plot_overlaps",
    "plot_precision_recall",
    "plot_precision_recall_curves",
    "plot_weight_histograms",
    "random_colors",
]

# How draw_boxes draws a box of visibility 0, 1 and 2; 0 is gray besides.
BOX_STYLES = (
    {"style": ":", "alpha": 0.5},
    {"style": ":", "alpha": 1.0},
    {"style": "-", "alpha": 1.0},
)


def display_images(
    images, titles=None, cols=4, cmap=None, norm=None, interpolation=None, *, save_to=None
) -> None:
    """Show images in a grid.

    Args:
        images: list of [height, width] or [height, width, channels]. Images of one channel are
            drawn with the colour map, over their own range of values; bools over False and True.
        titles: one text an image, or None.
        cols: images a row.
        cmap: Matplotlib colour map of images of one channel.
        norm: Matplotlib normalization of the same.
        interpolation: Matplotlib interpolation.
        save_to: path of the picture to write instead of showing it.

    Raises:
        ValueError: the number of titles is not that of the images.
    """
    images = [np.asarray(image) for image in images]
    titles = list(titles) if titles is not None else [""] * len(images)
    check_counts(images=images, titles=titles)
    rows = max(1, -(-len(images) // cols))
    tallest = max((image.shape[0] / image.shape[1] for image in images), default=1)
    cell = 14 / cols
    size = (14, rows * (min(tallest, 2) * cell + 0.3))
    with canvas(size, save_to=save_to, show=True, layout="constrained") as figure:
        axes = figure.subplots(rows, cols, squeeze=False).ravel()
        for ax in axes:
            ax.set_axis_off()
        for ax, image, title in zip(axes, images, titles, strict=False):
            flat = image.ndim == 2 or image.shape[-1] == 1
            picture = image.reshape(image.shape[:2]) if flat else as_rgb(image)
            limits = {"vmin": 0, "vmax": 1} if image.dtype == bool and norm is None else {}
            ax.imshow(picture, cmap=cmap, norm=norm, interpolation=interpolation, **limits)
            ax.set_title(title, fontsize=9)


def display_top_masks(image, mask, class_ids, class_names, limit=4, *, save_to=None) -> None:
    """Show an image and, beside it, the masks of the classes that cover most of it.

    Args:
        image: [height, width] or [height, width, channels].
        mask: [height, width, N], the size of the image.
        class_ids: [N] int.
        class_names: names by class id.
        limit: number of classes; places without a class stay empty.
        save_to: path of the picture to write instead of showing it.

    Raises:
        ValueError: the masks have not the size of the image, or not one class id each.
    """
    class_ids = np.asarray(class_ids)
    image = as_rgb(image)
    labels = np.zeros((len(class_ids), *image.shape[:2]), np.uint16)
    if len(class_ids):
        labels = np.moveaxis(check_masks(mask, image.shape), -1, 0) != 0
        check_counts(masks=labels, class_ids=class_ids)
    areas = labels.sum(axis=(1, 2))
    ranked = sorted(set(class_ids.tolist()), key=lambda c: -areas[class_ids == c].sum())
    shown = [c for c in ranked if areas[class_ids == c].sum()][:limit]
    pictures = [image]
    for class_id in shown:
        # Every instance of the class has a shade of its own: 1, 2, 3...
        own = labels[class_ids == class_id]
        pictures.append(np.max(own * np.arange(1, len(own) + 1)[:, None, None], axis=0))
    pictures += [np.zeros(image.shape[:2], int)] * (limit - len(shown))
    titles = [f"H x W = {image.shape[0]} x {image.shape[1]}"]
    titles += [class_name(class_names, c) for c in shown] + ["-"] * (limit - len(shown))
    display_images(pictures, titles, cols=limit + 1, cmap="Blues_r", save_to=save_to)


def display_instances(
    image,
    boxes,
    masks,
    class_ids,
    class_names,
    scores=None,
    title="",
    figsize=(16, 16),
    ax=None,
    show_mask=True,
    show_bbox=True,
    colors=None,
    captions=None,
    *,
    save_to=None,
) -> None:
    """Draw instances over their image: filled mask, outline, dashed box and caption.

    Args:
        image: [height, width] or [height, width, channels].
        boxes: [N, (y1, x1, y2, x2)] pixels; boxes of zeros are padding and left out.
        masks: [height, width, N], the size of the image; None draws boxes only.
        class_ids: [N] int.
        class_names: names by class id.
        scores: [N] shown in the captions, or None.
        title: line of text above the image. Without instances it says so.
        figsize: (width, height) in inches; a saved picture has 100 pixels an inch and is no
            larger than its image needs.
        ax: Matplotlib axes to draw on; their figure is neither shown nor closed.
        show_mask: fill the masks. Their outlines are drawn anyway, as ever.
        show_bbox: draw the boxes.
        colors: [N] colours, or "class" for one a class, the same in every picture. By default
            every instance has its own.
        captions: [N] texts instead of class and score.
        save_to: path of the picture to write instead of showing it.

    Raises:
        ValueError: the arguments speak of different numbers of instances, the masks have not the
            size of the image (mini-masks), or a class id has no name.
    """
    instances = Instances(image, boxes, masks, class_ids, class_names, scores, colors, captions)
    if not len(instances):
        title = f"{title}: no instances" if title else "no instances"
    shape = instances.image.shape
    with image_canvas(figsize, shape, title, ax=ax, save_to=save_to, show=True) as panel:
        instances.draw(panel, title, show_mask, show_bbox)


def display_comparison(
    image, gt, pred, class_names, *, title="", figsize=(16, 8.5), save_to=None
) -> None:
    """Draw the ground truth and the detections of an image side by side, one colour a class.

    Args:
        image: [height, width] or [height, width, channels].
        gt: (boxes [G, (y1, x1, y2, x2)] pixels, masks [height, width, G], class_ids [G]).
        pred: one result of `MaskRCNN.detect`: dict with rois [P, (y1, x1, y2, x2)] pixels,
            masks [height, width, P], class_ids [P] and scores [P].
        class_names: names by class id.
        title: text before the headings of both halves.
        figsize: limits of (width, height) in inches.
        save_to: path of the picture to write instead of showing it.

    Raises:
        ValueError: as `display_instances`.
    """
    found = pred["rois"], pred["masks"], pred["class_ids"]
    halves = {
        "ground truth": Instances(image, *gt, class_names, colors="class"),
        "detections": Instances(image, *found, class_names, pred["scores"], colors="class"),
    }
    shape = halves["detections"].image.shape
    with canvas(fitted_size(figsize, shape, 2, True), save_to=save_to, show=True) as figure:
        for ax, (name, half) in zip(image_axes(figure, 2, True), halves.items(), strict=True):
            heading = f"{name} ({len(half)})" if len(half) else f"{name}: no instances"
            half.draw(ax, f"{title}: {heading}" if title else heading)


def display_differences(
    image,
    gt_box,
    gt_class_id,
    gt_mask,
    pred_box,
    pred_class_id,
    pred_score,
    pred_mask,
    class_names,
    title="",
    ax=None,
    show_mask=True,
    show_box=True,
    iou_threshold=0.5,
    score_threshold=0.5,
    *,
    save_to=None,
) -> None:
    """Draw ground truth (green) and detections (red) over each other.

    A detection's caption is its score and the IoU of its mask with the object that it matches, or
    with the nearest one when it matches none.

    Args:
        image: [height, width] or [height, width, channels].
        gt_box, gt_class_id, gt_mask: [G, (y1, x1, y2, x2)] pixels, [G], [height, width, G].
        pred_box, pred_class_id, pred_score, pred_mask: the same of P detections, with [P] scores.
        class_names: names by class id.
        title: line of text above the image; None or "" explains the colours.
        ax: Matplotlib axes to draw on.
        show_mask: fill the masks.
        show_box: draw the boxes.
        iou_threshold: mask IoU of a match.
        score_threshold: detections below it take no part in the matching.
        save_to: path of the picture to write instead of showing it.

    Raises:
        ValueError: as `display_instances`.
    """
    # The matching drops boxes of zeros and ranks by score: done here, so that its indices hold.
    real = np.any(gt_box, axis=-1)
    best = np.argsort(-np.asarray(pred_score), kind="stable")
    best = best[np.any(np.asarray(pred_box)[best], axis=-1)]
    gt = [np.asarray(gt_box)[real], np.asarray(gt_class_id)[real], np.asarray(gt_mask)[..., real]]
    found = [np.asarray(values)[best] for values in (pred_box, pred_class_id, pred_score)]
    found.append(np.asarray(pred_mask)[..., best])
    _, pred_match, overlaps = compute_matches(
        *gt, *found, iou_threshold=iou_threshold, score_threshold=score_threshold
    )
    captions = [""] * len(gt[0])
    for score, match, ious in zip(found[2], pred_match, overlaps, strict=True):
        iou = ious[int(match)] if match > -1 else ious.max(initial=0)
        captions.append(f"{score:.2f} / {iou:.2f}")
    display_instances(
        image,
        np.concatenate([gt[0], found[0]]),
        np.concatenate([gt[2], found[3]], axis=-1),
        np.concatenate([gt[1], found[1]]),
        class_names,
        title=title or "ground truth: green, detections: red with score / IoU",
        ax=ax,
        show_mask=show_mask,
        show_bbox=show_box,
        colors=[(0, 1, 0)] * len(gt[0]) + [(1, 0, 0)] * len(found[0]),
        captions=captions,
        save_to=save_to,
    )


def draw_rois(
    image, rois, refined_rois, mask, class_ids, class_names, limit=10, *, save_to=None
) -> None:
    """Draw RoIs as the heads see them: dashed before, solid after refinement, with their masks.

    Background RoIs are gray. The title counts both kinds among all RoIs.

    Args:
        image: [height, width] or [height, width, channels].
        rois: [N, (y1, x1, y2, x2)] pixels.
        refined_rois: [N, (y1, x1, y2, x2)] pixels.
        mask: [N, mask height, mask width] floats, each within its RoI.
        class_ids: [N], 0 for background.
        class_names: names by class id.
        limit: most RoIs to draw; which ones is a fixed random choice.
        save_to: path of the picture to write; None draws a pyplot figure.

    Raises:
        ValueError: the arguments speak of different numbers of RoIs.
    """
    rois, refined_rois, class_ids = map(np.asarray, (rois, refined_rois, class_ids))
    check_counts(rois=rois, refined_rois=refined_rois, masks=mask, class_ids=class_ids)
    picture = as_rgb(image)
    chosen = np.random.default_rng(0).permutation(len(rois))[:limit]
    positive = np.count_nonzero(class_ids)
    title = (
        f"{len(chosen)} of {len(rois)} RoIs ({positive} positive, "
        f"{len(rois) - positive} background)"
    )
    foreground = [i for i in chosen if class_ids[i]]
    colors = dict(zip(foreground, random_colors(len(foreground)), strict=True))
    for i, color in colors.items():
        pasted = unmold_mask(mask[i], rois[i, :4].astype(np.int32), picture.shape)
        apply_mask(picture, pasted, color)
    with image_canvas((12, 12), picture.shape, title, save_to=save_to) as ax:
        show_image(ax, picture, title)
        for i in chosen:
            rectangle(ax, rois[i, :4], colors.get(i, "gray"), style="--")
        for i, color in colors.items():
            rectangle(ax, refined_rois[i, :4], color)
            corner_line(ax, rois[i], refined_rois[i], color)
        for i, color in colors.items():
            name = class_name(class_names, class_ids[i])
            caption(ax, refined_rois[i, :4], name, color, picture.shape)


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
        image: [height, width] or [height, width, channels].
        boxes: [N, (y1, x1, y2, x2)] pixels; boxes of zeros are left out.
        refined_boxes: [N, (y1, x1, y2, x2)] pixels, drawn solid.
        masks: [height, width, N], or None.
        captions: [N] texts, or None.
        visibilities: [N] of 0 (gray, dotted), 1 (coloured, dotted) or 2 (coloured, solid) for
            boxes; None draws them as 1.
        title: line of text above the image.
        ax: Matplotlib axes to draw on.
        save_to: path of the picture to write; None draws a pyplot figure.

    Raises:
        ValueError: there are no boxes of either kind, the arguments speak of different numbers of
            boxes, or the masks have not the size of the image.
    """
    if boxes is None and refined_boxes is None:
        raise ValueError("draw_boxes needs boxes, refined_boxes or both, but both are None")
    picture = as_rgb(image)
    masks = [] if masks is None else np.moveaxis(check_masks(masks, picture.shape), -1, 0)
    # The box that carries the caption: the refined one where there are both.
    final = np.asarray(boxes if refined_boxes is None else refined_boxes)
    visibilities = [1] * len(final) if visibilities is None else visibilities
    captions = [""] * len(final) if captions is None else captions
    check_counts(
        boxes=boxes,
        refined_boxes=refined_boxes,
        masks=masks if len(masks) else None,
        captions=captions,
        visibilities=visibilities,
    )
    colors = random_colors(len(final))
    colors = [c if v else (0.5, 0.5, 0.5) for c, v in zip(colors, visibilities, strict=True)]
    for mask, color in zip(masks, colors, strict=False):
        apply_mask(picture, mask, color)
    with image_canvas((12, 12), picture.shape, title, ax=ax, save_to=save_to) as panel:
        show_image(panel, picture, title)
        for i, color in enumerate(colors):
            if boxes is not None and np.any(boxes[i]):
                rectangle(panel, boxes[i], color, **BOX_STYLES[visibilities[i]])
                if refined_boxes is not None:
                    corner_line(panel, boxes[i], final[i], color)
            if refined_boxes is not None and np.any(final[i]):
                rectangle(panel, final[i], color)
        for mask, color in zip(masks, colors, strict=False):
            outline(panel, outlines(mask), color)
        for box, text, color in zip(final, captions, colors, strict=True):
            if np.any(box):
                caption(panel, box, text, color, picture.shape)
