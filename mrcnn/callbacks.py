"""Keras callbacks for `MaskRCNN.train(custom_callbacks=[...])`."""

from mrcnn.watching.coco_metrics import CocoMetrics

__all__ = ["CocoMetrics"]
