"""Random weights for tests that match detections by what they are."""

import numpy as np


def spread_scores(model, logits=20):
    """Give a model random weights whose scores differ, so that no two detections tie.

    The smaller the factor of the logits, the farther the scores are from 1.
    """
    rng = np.random.default_rng(0)
    factors = {"mrcnn_class_logits": logits, "rpn_class_raw": 5, "mrcnn_bbox_fc": 30}
    for layer in model.get_trainable_layers():
        for weight in layer.weights:
            values = weight.numpy()
            if values.ndim > 1:
                noise = rng.normal(0, 0.3 * values.std() + 1e-3, values.shape)
                weight.assign((values + noise) * factors.get(layer.name, 1))
