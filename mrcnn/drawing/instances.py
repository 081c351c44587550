"""Instances of an image: checked, given colours and captions, drawn."""

import numpy as np

from mrcnn.drawing.marks import caption, outline, outlines, rectangle, show_image
from mrcnn.drawing.pixels import apply_mask, as_rgb, random_colors


class Instances:
    """The instances of one image, ready to be drawn on any axes.

    Args:
        image: [height, width] or [height, width, channels].
        boxes: [N, (y1, x1, y2, x2)] pixels; boxes of zeros are padding and not drawn.
        masks: [height, width, N], or None.
        class_ids: [N] int, 0 for padding, negative for a crowd of that class.
        class_names: names by class id.
        scores: [N], or None.
        colors: [N] colours, "class" for one a class, or None for one an instance.
        captions: [N] texts, or None for class and score.

    Raises:
        ValueError: the arguments do not fit together; see `display_instances`.
    """

    def __init__(
        self,
        image,
        boxes,
        masks,
        class_ids,
        class_names,
        scores=None,
        colors=None,
        captions=None,
    ):
        self.image = as_rgb(image)
        self.boxes = np.asarray(boxes).reshape(-1, 4)
        class_ids = np.asarray(class_ids, np.int64).reshape(-1)
        if isinstance(colors, str):
            if colors != "class":
                raise ValueError(f'colors is {colors!r}; expected N colours, "class" or None')
            palette = random_colors(int(np.abs(class_ids).max(initial=0)) + 1)
            colors = [palette[abs(class_id)] for class_id in class_ids]
        # An image without instances comes with masks of many shapes, [0, 0, 0] among them.
        self.masks = None
        if masks is not None and (len(self.boxes) or np.shape(masks)[-1]):
            self.masks = check_masks(masks, self.image.shape)
        check_counts(
            boxes=self.boxes,
            masks=None if self.masks is None else np.moveaxis(self.masks, -1, 0),
            class_ids=class_ids,
            scores=scores,
            colors=colors,
            captions=captions,
        )
        if captions is None:
            captions = [class_name(class_names, class_id) for class_id in class_ids]
            if scores is not None:
                captions = [f"{c} {s:.3f}" for c, s in zip(captions, scores, strict=True)]
        self.captions = captions
        self.colors = random_colors(len(self.boxes)) if colors is None else colors

    def __len__(self):
        return len(self.boxes)

    def draw(self, ax, title="", show_mask=True, show_box=True) -> None:
        """Draw the image and its instances on Matplotlib axes."""
        picture = self.image.copy()
        shown = [i for i, box in enumerate(self.boxes) if np.any(box)]
        contours = dict.fromkeys(shown, ())
        for i in shown if self.masks is not None else ():
            # The masks of one pixel lie side by side in memory: one copy saves many slow passes.
            mask = np.ascontiguousarray(self.masks[..., i])
            contours[i] = outlines(mask)
            if show_mask:
                apply_mask(picture, mask, _rgb(self.colors[i]))
        show_image(ax, picture, title)
        for i in shown:
            outline(ax, contours[i], self.colors[i])
            if show_box:
                rectangle(ax, self.boxes[i], self.colors[i], style="--")
        # Captions last, so that no outline runs through them; the first instances, which have the
        # best scores among detections, come out on top.
        for i in reversed(shown):
            caption(ax, self.boxes[i], self.captions[i], self.colors[i], picture.shape)


def _rgb(color) -> tuple[float, float, float]:
    """(red, green, blue) in [0, 1] of any colour that Matplotlib knows, names included."""
    from matplotlib.colors import to_rgb

    return to_rgb(color)


def class_name(class_names, class_id: int) -> str:
    """The name of a class id; of a crowd, which COCO marks by a negative id, "<name> (crowd)".

    Raises:
        ValueError: there is no such entry.
    """
    if abs(class_id) >= len(class_names):
        raise ValueError(
            f"class id {class_id} has no name: class_names has {len(class_names)} entries, "
            "the first of them for the background"
        )
    return class_names[class_id] if class_id >= 0 else f"{class_names[-class_id]} (crowd)"


def check_masks(masks, image_shape) -> np.ndarray:
    """The masks as an array [height, width, N].

    Raises:
        ValueError: they have not the size of the image, as is the case with mini-masks.
    """
    masks = np.asarray(masks)
    if masks.ndim == 3 and masks.shape[:2] == tuple(image_shape[:2]):
        return masks
    found = "x".join(map(str, masks.shape))
    raise ValueError(
        f"masks are {found} but the image is {image_shape[0]}x{image_shape[1]}; expected "
        "[height, width, N] of the image's size (expand mini-masks with utils.expand_mask, "
        "or load them with use_mini_mask=False)"
    )


def check_counts(**lists) -> None:
    """Check that all lists which are not None have the same length.

    Raises:
        ValueError: they have not; the sentence counts all of them.
    """
    counts = {name: len(values) for name, values in lists.items() if values is not None}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ValueError(f"got {found}; expected equally many of each")
