"""Layers with the constructors and inputs that scripts for Matterport's library use.

Each takes its numbers from a Config in the constructor and keeps no Config. Where the layers of
`mrcnn.layers` take an image for its size, these take `image_meta` `[batch, meta_size]` as well.
"""

import keras
import tensorflow as tf

from mrcnn.layers import detections, proposals, roi_align, targets
from mrcnn.ops.meta import parse_meta

_register = keras.saving.register_keras_serializable(package="mrcnn_legacy")


def _from_config(config, settings, kwargs):
    """Return `kwargs` with those of `settings`, `{argument: setting}`, from a Config if any."""
    if config is None:
        return kwargs
    return {name: getattr(config, setting) for name, setting in settings.items()} | kwargs


@_register
class ProposalLayer(proposals.ProposalLayer):
    """`mrcnn.layers.proposals.ProposalLayer` with the settings of a Config."""

    def __init__(self, proposal_count, nms_threshold, config=None, **kwargs):
        settings = {"pre_nms_limit": "PRE_NMS_LIMIT", "bbox_std_dev": "RPN_BBOX_STD_DEV"}
        super().__init__(proposal_count, nms_threshold, **_from_config(config, settings, kwargs))


@_register
class DetectionLayer(detections.DetectionLayer):
    """`mrcnn.layers.detections.DetectionLayer` with the settings of a Config.

    Inputs are `[rois, probabilities, deltas, image_meta]`, or those of the base class.
    """

    def __init__(self, config=None, **kwargs):
        settings = {
            "max_instances": "DETECTION_MAX_INSTANCES",
            "min_confidence": "DETECTION_MIN_CONFIDENCE",
            "nms_threshold": "DETECTION_NMS_THRESHOLD",
            "bbox_std_dev": "BBOX_STD_DEV",
        }
        kwargs = _from_config(config, settings, kwargs)
        if kwargs.get("min_confidence", 0) is None:
            kwargs["min_confidence"] = 0
        super().__init__(**kwargs)

    def steps(self, rois, probs, deltas, windows, image=None):
        """Return the intermediate results of the base class; `windows` may be `image_meta`."""
        if image is None:
            meta = parse_meta(tf.convert_to_tensor(windows))
            windows = meta["window"]
            # Its size alone counts.
            height, width = tf.unstack(tf.cast(meta["image_shape"][0, :2], tf.int32))
            image = tf.zeros([1, height, width, 1])
        return super().steps(rois, probs, deltas, windows, image)


@_register
class DetectionTargetLayer(targets.DetectionTargetLayer):
    """`mrcnn.layers.targets.DetectionTargetLayer` with the settings of a Config."""

    def __init__(self, config=None, **kwargs):
        settings = {
            "rois_per_image": "TRAIN_ROIS_PER_IMAGE",
            "positive_ratio": "ROI_POSITIVE_RATIO",
            "mask_shape": "MASK_SHAPE",
            "mini_masks": "USE_MINI_MASK",
            "bbox_std_dev": "BBOX_STD_DEV",
        }
        super().__init__(**_from_config(config, settings, kwargs))


@_register
class PyramidROIAlign(roi_align.PyramidROIAlign):
    """`mrcnn.layers.roi_align.PyramidROIAlign` for inputs `[boxes, image_meta, *features]`."""

    def call(self, inputs):
        boxes, meta, *features = inputs
        if len(meta.shape) != 2:
            return super().call(inputs)
        size = tf.cast(parse_meta(tf.convert_to_tensor(meta))["image_shape"][0, :2], tf.float32)
        return self.pool(boxes, size, features)
