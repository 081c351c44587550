"""Random weights for tests that match detections by what they are."""

import numpy as np


def spread_scores(model):
    """Give a model random weights whose scores differ, so that no two detections tie."""
    rng = np.random.default_rng(0)
    factors = {"mrcnn_class_logits": 20, "rpn_class_raw": 5, "mrcnn_bbox_fc": 30}
    for layer in model.get_trainable_layers():
        for weight in layer.weights:
            values = weight.numpy()
            if values.ndim > 1:
                noise = rng.normal(0, 0.3 * values.std() + 1e-3, values.shape)
                weight.assign((values + noise) * factors.get(layer.name, 1))
