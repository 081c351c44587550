"""Keras callbacks for `MaskRCNN.train(custom_callbacks=[...])`."""

from mrcnn.training.coco_metrics import CocoMetrics

__all__ = ["CocoMetrics"]
