"""Proposals against a NumPy implementation built from the historical helpers."""

import numpy as np
import pytest

from mrcnn import utils
from mrcnn.layers.proposals import ProposalLayer
from tests.layer_contract import run_layer_test

STD_DEV = np.array([0.1, 0.1, 0.2, 0.2])
STEPS = (
    "scores",
    "pre_nms_anchors",
    "refined_anchors",
    "refined_anchors_clipped",
    "nms_indices",
    "proposals",
)


def rpn_outputs(rng, batch, count):
    """Return probabilities, deltas and normalized anchors, some of them beyond the image."""
    foreground = rng.uniform(size=(batch, count, 1))
    centers = rng.uniform(0, 1, (count, 2))
    sizes = rng.uniform(0.05, 0.3, (count, 2))
    anchors = np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=1)
    outputs = (
        np.concatenate([1 - foreground, foreground], axis=-1),
        rng.normal(size=(batch, count, 4)),
        np.repeat(anchors[None], batch, axis=0),
    )
    return [x.astype(np.float32) for x in outputs]


def numpy_proposals(probs, deltas, anchors, limit, threshold):
    """Return all steps for one image; the last two without padding."""
    order = np.argsort(-probs[:, 1], kind="stable")[:limit]
    scores, anchors = probs[order, 1], anchors[order]
    refined = utils.apply_box_deltas(anchors, deltas[order] * STD_DEV)
    clipped = np.clip(refined, 0, 1)
    kept = utils.non_max_suppression(clipped, scores, threshold)
    return dict(zip(STEPS, (scores, anchors, refined, clipped, kept, clipped[kept]), strict=True))


def test_steps_equal_numpy(rng):
    inputs = rpn_outputs(rng, 3, 300)
    layer = ProposalLayer(200, 0.5, pre_nms_limit=120)
    steps = {name: value.numpy() for name, value in layer.steps(*inputs).items()}
    assert tuple(steps) == STEPS
    for image in range(3):
        expected = numpy_proposals(*(x[image] for x in inputs), limit=120, threshold=0.5)
        count = len(expected["proposals"])
        # Some boxes are dropped, so the suppression is tested; and some rows are padding.
        assert 20 < count < 115
        for name in STEPS[:4]:
            np.testing.assert_allclose(steps[name][image], expected[name], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(steps["nms_indices"][image, :count], expected["nms_indices"])
        assert (steps["nms_indices"][image, count:] == -1).all()
        proposals = steps["proposals"][image]
        np.testing.assert_allclose(proposals[:count], expected["proposals"], rtol=0, atol=1e-6)
        assert not proposals[count:].any()


def test_only_the_best_are_kept(rng):
    inputs = rpn_outputs(rng, 1, 300)
    expected = numpy_proposals(*(x[0] for x in inputs), limit=300, threshold=0.7)["proposals"]
    proposals = ProposalLayer(10, 0.7)(inputs).numpy()[0]
    assert len(expected) > 10
    np.testing.assert_allclose(proposals, expected[:10], rtol=0, atol=1e-6)


def test_fewer_anchors_than_the_limit(rng):
    inputs = rpn_outputs(rng, 1, 7)
    expected = numpy_proposals(*(x[0] for x in inputs), limit=7, threshold=0.7)["proposals"]
    proposals = ProposalLayer(20, 0.7, pre_nms_limit=6000)(inputs).numpy()[0]
    assert proposals.shape == (20, 4)
    np.testing.assert_allclose(proposals[: len(expected)], expected, rtol=0, atol=1e-6)
    assert not proposals[len(expected) :].any()


def test_batch_equals_its_images(rng):
    inputs = rpn_outputs(rng, 3, 100)
    layer = ProposalLayer(30, 0.5)
    together = layer(inputs).numpy()
    alone = [layer([x[image : image + 1] for x in inputs]).numpy()[0] for image in range(3)]
    np.testing.assert_array_equal(together, alone)
    assert len(np.unique(together[:, 0], axis=0)) == 3


@pytest.mark.parametrize("threshold", [0.3, 0.35])
def test_overlap_above_the_threshold_suppresses(threshold):
    # (0, 0, 1, 0.5) and (0, 0.25, 1, 0.75) share 0.25 of 0.75: IoU 1/3.
    anchors = np.array([[[0, 0, 1, 0.5], [0, 0.25, 1, 0.75]]], np.float32)
    probs = np.array([[[0.4, 0.6], [0.1, 0.9]]], np.float32)
    proposals = ProposalLayer(2, threshold)([probs, np.zeros_like(anchors), anchors])
    second = anchors[0, 0] if threshold > 1 / 3 else np.zeros(4)
    np.testing.assert_allclose(proposals[0], [anchors[0, 1], second], atol=1e-6)


def test_keras_contract(tmp_path):
    # Deltas (1, 0, 0, 0) times 0.1 move the second box by a tenth of its height, and the third out
    # of the image, where it is clipped. Scores order the boxes.
    anchors = np.array([[[0, 0, 0.5, 0.5], [0.2, 0, 0.7, 0.1], [0.6, 0.6, 1, 1]]], np.float32)
    deltas = np.zeros((1, 3, 4), np.float32)
    deltas[0, 1:, 0] = 1
    scores = np.array([0.2, 0.9, 0.5], np.float32)
    probs = np.stack([1 - scores, scores], axis=-1)[None]
    expected = [[0.25, 0, 0.75, 0.1], [0.64, 0.6, 1, 1], [0, 0, 0.5, 0.5], [0, 0, 0, 0]]
    run_layer_test(
        lambda: ProposalLayer(4, 0.7, pre_nms_limit=3),
        ([probs, deltas, anchors],),
        np.array([expected]),
        tmp_path,
    )
