"""The names of COCO's classes in the order of their ids, after the background."""

from mrcnn.weights.coco_names import class_names

CLASS_NAMES = class_names(81)
