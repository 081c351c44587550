"""The formulas of `mrcnn.ops` on tensors, under their historical names.

Arguments and results are those of the NumPy functions, in float32.
"""

from functools import partial

import keras

from mrcnn.ops import boxes, images

apply_box_deltas_graph = partial(boxes.decode_boxes, xp=keras.ops)
box_refinement_graph = partial(boxes.encode_boxes, xp=keras.ops)
clip_boxes_graph = partial(boxes.clip_boxes, xp=keras.ops)
overlaps_graph = partial(boxes.compute_overlaps, xp=keras.ops)
norm_boxes_graph = partial(boxes.norm_boxes, xp=keras.ops)
denorm_boxes_graph = partial(boxes.denorm_boxes, xp=keras.ops)
parse_image_meta_graph = images.parse_meta
