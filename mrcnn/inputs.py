"""The table of the model's inputs, from which Keras inputs, batch specs and padding are made."""

from typing import NamedTuple


class Input(NamedTuple):
    """An input of the model: its layer name, shape without the batch axis, and dtype.

    Unknown axes are None. Ground truth is padded with zeros.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


def model_inputs(config, mode: str) -> list[Input]:
    """Return the inputs of a Config's model; `mode` is "training", "inference" or "export"."""
    inputs = [
        # Molded images: [height, width, channels], mean colour subtracted.
        Input("input_image", (None, None, int(config.IMAGE_SHAPE[2])), "float32"),
        # Made by `compose_image_meta`.
        Input("input_image_meta", (int(config.IMAGE_META_SIZE),), "float32"),
    ]
    if mode == "export":
        return inputs
    if mode == "inference":
        # [num_anchors, (y1, x1, y2, x2)], normalized.
        return [*inputs, Input("input_anchors", (None, 4), "float32")]
    anchors, instances = config.RPN_TRAIN_ANCHORS_PER_IMAGE, config.MAX_GT_INSTANCES
    mask_shape = config.MINI_MASK_SHAPE if config.USE_MINI_MASK else (None, None)
    inputs += [
        # POSITIVE, NEGATIVE or NEUTRAL for each anchor: [num_anchors, 1].
        Input("input_rpn_match", (None, 1), "int32"),
        # Deltas of the positive anchors, in their order: [anchors, (dy, dx, log dh, log dw)].
        Input("input_rpn_bbox", (anchors, 4), "float32"),
        Input("input_gt_class_ids", (instances,), "int32"),
        # [instances, (y1, x1, y2, x2)] in pixels of the molded image.
        Input("input_gt_boxes", (instances, 4), "float32"),
        Input("input_gt_masks", (*mask_shape, instances), "bool"),
    ]
    if not config.USE_RPN_ROIS:
        # [proposals, (y1, x1, y2, x2)] in pixels of the molded image.
        inputs.append(Input("input_roi", (config.POST_NMS_ROIS_TRAINING, 4), "float32"))
    return inputs
