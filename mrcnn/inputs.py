"""The table of the model's inputs, from which Keras inputs, batch specs and padding are made."""

from __future__ import annotations

from typing import NamedTuple


class Input(NamedTuple):
    """An input of the model: its layer name, shape without the batch axis, and dtype.

    Unknown axes are None. Ground truth is padded with zeros.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


def inference_inputs(channels: int, meta_size: int) -> list[Input]:
    """Return the inputs of an inference model, in order."""
    return [
        # Molded images: [height, width, channels], mean colour subtracted.
        Input("input_image", (None, None, channels), "float32"),
        # Made by `compose_image_meta`.
        Input("input_image_meta", (meta_size,), "float32"),
        # [num_anchors, (y1, x1, y2, x2)], normalized.
        Input("input_anchors", (None, 4), "float32"),
    ]


def training_inputs(
    channels: int,
    meta_size: int,
    rpn_anchors: int,
    max_instances: int,
    mask_shape: tuple[int | None, int | None],
    proposals: int | None = None,
) -> list[Input]:
    """Return the inputs of a training model, in order.

    Args:
        channels, meta_size: see `inference_inputs`.
        rpn_anchors: anchors per image that train the RPN.
        max_instances: rows of the ground truth.
        mask_shape: of a mini-mask, or of the molded image without mini-masks.
        proposals: rows of the additional input of RoIs, where they do not come from the RPN.
    """
    inputs = [
        Input("input_image", (None, None, channels), "float32"),
        Input("input_image_meta", (meta_size,), "float32"),
        # POSITIVE, NEGATIVE or NEUTRAL for each anchor: [num_anchors, 1].
        Input("input_rpn_match", (None, 1), "int32"),
        # Deltas of the positive anchors, in their order: [rpn_anchors, (dy, dx, log dh, log dw)].
        Input("input_rpn_bbox", (rpn_anchors, 4), "float32"),
        Input("input_gt_class_ids", (max_instances,), "int32"),
        # [max_instances, (y1, x1, y2, x2)] in pixels of the molded image.
        Input("input_gt_boxes", (max_instances, 4), "float32"),
        Input("input_gt_masks", (*mask_shape, max_instances), "bool"),
    ]
    if proposals is not None:
        # [proposals, (y1, x1, y2, x2)] in pixels of the molded image.
        inputs.append(Input("input_roi", (proposals, 4), "float32"))
    return inputs


def model_inputs(config, mode: str) -> list[Input]:
    """Return the inputs of a Config's model; `mode` is "training" or "inference"."""
    channels, meta_size = int(config.IMAGE_SHAPE[2]), int(config.IMAGE_META_SIZE)
    if mode == "inference":
        return inference_inputs(channels, meta_size)
    mask_shape = config.MINI_MASK_SHAPE if config.USE_MINI_MASK else (None, None)
    return training_inputs(
        channels,
        meta_size,
        config.RPN_TRAIN_ANCHORS_PER_IMAGE,
        config.MAX_GT_INSTANCES,
        tuple(mask_shape),
        None if config.USE_RPN_ROIS else config.POST_NMS_ROIS_TRAINING,
    )
