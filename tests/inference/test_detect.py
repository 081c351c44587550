"""`detect` in any number of images of any sizes and kinds."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mrcnn.inference import detect as detection
from mrcnn.inference import molding as mold
from mrcnn.ops.meta import compose_image_meta

SIZES = [(64, 64), (40, 100), (64, 64), (90, 30), (200, 160)]


def assert_equal_results(result, expected):
    assert len(expected["rois"]) > 0
    for name, value in expected.items():
        if name == "scores":
            np.testing.assert_allclose(result[name], value, rtol=1e-5)
        else:
            np.testing.assert_array_equal(result[name], value)


@pytest.fixture
def photos(photo):
    return [photo(*size, seed) for seed, size in enumerate(SIZES)]


def test_no_images(model, batches):
    assert model.detect([]) == []
    assert batches == []


def test_what_a_result_is(model, photos):
    results = model.detect(photos)
    assert len(results) == 5
    for image, result in zip(photos, results, strict=True):
        height, width = image.shape[:2]
        count = len(result["rois"])
        assert list(result) == ["rois", "class_ids", "scores", "masks"]
        assert 0 < count <= 10
        types = [result[name].dtype for name in result]
        assert types == [np.int32, np.int32, np.float32, bool]
        assert result["masks"].shape == (height, width, count)
        assert set(result["class_ids"]) <= {1, 2}
        assert (np.diff(result["scores"]) <= 0).all()
        y1, x1, y2, x2 = result["rois"].T
        assert (0 <= y1).all() and (y1 < y2).all() and (y2 <= height).all()
        assert (0 <= x1).all() and (x1 < x2).all() and (x2 <= width).all()
        rows, columns = np.mgrid[:height, :width][..., None]
        inside = (rows >= y1) & (rows < y2) & (columns >= x1) & (columns < x2)
        assert result["masks"].any() and not (result["masks"] & ~inside).any()


def test_images_together_are_as_each_alone(model, photos, batches):
    together = model.detect(photos)
    assert [shape[0] for shape in batches] == [2, 2, 1]
    for image, result in zip(photos, together, strict=True):
        assert_equal_results(result, model.detect([image])[0])
    # They differ from one another, so the comparison means something.
    assert not np.array_equal(together[0]["rois"], together[2]["rois"])


@pytest.mark.parametrize("size", [1, 3, 5])
def test_batch_size_that_was_changed_later(model, photos, batches, size):
    expected = [model.detect([image])[0] for image in photos]
    batches.clear()
    model.config.BATCH_SIZE = size
    for result, alone in zip(model.detect(photos), expected, strict=True):
        assert_equal_results(result, alone)
    sizes = {1: [1] * 5, 3: [3, 2], 5: [5]}[size]
    assert [shape[0] for shape in batches] == sizes


def test_sizes_that_differ_after_molding(model, photos, batches):
    """pad64: images of one molded size share batches, whatever comes between them."""
    model.config.IMAGE_RESIZE_MODE = "pad64"
    results = model.detect(photos)
    # 40x100 grows by 1.6 to 64x160, 90x30 by 64/30 to 192x64.
    assert [shape[:3] for shape in batches] == [
        (2, 64, 64),
        (1, 64, 192),
        (1, 192, 64),
        (1, 256, 192),
    ]
    for image, result in zip(photos, results, strict=True):
        assert_equal_results(result, model.detect([image])[0])
        assert result["masks"].shape[:2] == image.shape[:2]


def test_mode_none(model, photo, batches):
    image = photo(64, 128)
    expected = model.detect_molded(*model.mold_inputs([photo(64, 64)])[:2])
    model.config.IMAGE_RESIZE_MODE = "none"
    assert model.detect([image])[0]["masks"].shape[:2] == (64, 128)
    assert batches[-1] == (1, 64, 128, 3)
    assert_equal_results(model.detect([photo(64, 64)])[0], expected[0])
    with pytest.raises(ValueError, match="Image 1 has 65x64 pixels"):
        model.detect([image, photo(65, 64)])


def test_mode_crop_is_for_training(model, photo):
    model.config.IMAGE_RESIZE_MODE = "crop"
    with pytest.raises(ValueError, match="is for training"):
        model.detect([photo(64, 64)])


def test_kinds_of_images(model, photo):
    image = photo(50, 60)
    gray = image[..., 1]
    expected = model.detect([image])[0]
    expected_gray = model.detect([np.stack([gray] * 3, axis=-1)])[0]
    alpha = np.random.default_rng(0).integers(256, size=gray.shape).astype(np.uint8)
    results = model.detect(
        [
            np.dstack([image, alpha]),
            image / 255.0,
            (image / 255.0).astype(np.float32),
            image.astype(np.uint16) * 257,
            image.astype(np.int64),
            gray,
            gray[..., None],
        ]
    )
    for result in results[:5]:
        assert_equal_results(result, expected)
    for result in results[5:]:
        assert_equal_results(result, expected_gray)
    black_and_white = gray > gray.mean()
    assert_equal_results(
        model.detect([black_and_white])[0], model.detect([black_and_white * np.uint8(255)])[0]
    )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((8, 8, 3), np.nan), "Image 1 is float64 with values from nan"),
        (np.full((8, 8, 3), 300.0), "Image 1 is float64 with values from 300 to 300"),
        (np.zeros((8, 8, 7)), "Image 1 has 7 channels"),
        (np.zeros((1, 8, 8, 3)), "Image 1 has shape"),
    ],
)
def test_image_that_cannot_be_taken(model, photo, batches, bad, message):
    with pytest.raises(ValueError, match=message):
        model.detect([photo(30, 30), bad, photo(30, 30)])
    # It is found before any time is spent on the others.
    assert batches == []


def test_one_image_instead_of_a_list(model, photo):
    with pytest.raises(ValueError, match="must be a list of images"):
        model.detect(photo(64, 64))


def test_nothing_found(model, photo):
    weights = model.keras_model.get_layer("mrcnn_class_logits").bias
    before = weights.numpy()
    weights.assign([2.0, 0.0, 0.0])
    model.config.DETECTION_MIN_CONFIDENCE = 0.75
    images = [photo(30, 70), photo(30, 70, 1)]
    try:
        result, other = model.detect(images)
        molded, metas, _ = model.mold_inputs(images)
        anchors = np.stack([model.get_anchors(molded.shape[1:])] * 2)
        probs = model.keras_model.predict([molded, metas, anchors], verbose=0)[1]
    finally:
        weights.assign(before)
    # Background has index 0, and most of the probability.
    best = probs[..., 1:].max(axis=(1, 2))
    assert (best < 0.5).all() and best[0] != best[1]
    np.testing.assert_allclose([result["best_score"], other["best_score"]], best, rtol=1e-5)
    assert result["min_confidence"] == np.float32(0.75)
    assert list(result)[4:] == ["best_score", "min_confidence"]
    assert result["rois"].shape == (0, 4) and result["masks"].shape == (30, 70, 0)
    types = [result[name].dtype for name in result]
    assert types == [np.int32, np.int32, np.float32, bool, np.float32, np.float32]


def test_four_threads_at_once(model, photos):
    expected = [model.detect([image])[0] for image in photos]
    # The first call, which compiles, is one of many, too.
    model._detector = None
    jobs = [*range(5)] * 4
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda i: model.detect([photos[i]])[0], jobs))
    for index, result in zip(jobs, results, strict=True):
        assert_equal_results(result, expected[index])


def test_detect_prints_what_it_gets(model, photo, capsys):
    model.detect([photo(64, 64)])
    assert capsys.readouterr().out == ""
    model.detect([np.full((40, 100, 3), 7, np.uint8)], verbose=1)
    assert capsys.readouterr().out.splitlines() == [
        "Processing 1 images",
        f"{'image':<25} shape: {'(40, 100, 3)':<20} min:    7.00000  max:    7.00000  uint8",
    ]


# Molded images, and the graph itself


def test_molded_images(model, photo, batches):
    """On images that need no resizing, both ways are one."""
    images = [photo(64, 64, seed) for seed in range(5)]
    molded, metas, windows = model.mold_inputs(images)
    batches.clear()
    results = model.detect_molded(molded, metas)
    assert [shape[0] for shape in batches] == [2, 2, 1]
    for image, result in zip(images, results, strict=True):
        assert_equal_results(result, model.detect([image])[0])
    assert windows.tolist() == [[0, 0, 64, 64]] * 5


def test_molded_images_keep_molded_pixels(model, photo):
    """Boxes of a photo, and those of its molded image: twice as large, and 12 rows down."""
    image = photo(20, 32)
    molded, metas, windows = model.mold_inputs([image])
    assert windows.tolist() == [[12, 0, 52, 64]]
    result, (inside,) = model.detect([image])[0], model.detect_molded(molded, metas)
    assert inside["masks"].shape[:2] == (64, 64)
    np.testing.assert_array_equal(result["class_ids"], inside["class_ids"])
    np.testing.assert_allclose(result["rois"] * 2 + [12, 0, 12, 0], inside["rois"], atol=2)


def test_metas_of_other_images(model, photo):
    molded, metas, _ = model.mold_inputs([photo(64, 64), photo(64, 64, 1)])
    with pytest.raises(ValueError, match="detect_molded got 2 images and 1 image_metas"):
        model.detect_molded(molded, metas[:1])


def test_molded_inputs(model, photo):
    images = [photo(16, 32), photo(64, 64)[..., 0]]
    molded, metas, windows = model.mold_inputs(images)
    assert molded.shape == (2, 64, 64, 3) and molded.dtype == np.float32
    for row, image in enumerate(mold.as_images(images, 3)):
        expected = mold.mold_one(image, model.config)
        np.testing.assert_array_equal(molded[row], expected[0])
        np.testing.assert_array_equal(metas[row], expected[1])
        assert tuple(windows[row]) == expected[2]
    np.testing.assert_allclose(molded[1], images[1][..., None] - model.config.MEAN_PIXEL, atol=1e-4)
    model.config.IMAGE_RESIZE_MODE = "pad64"
    with pytest.raises(ValueError, match="mold_inputs got 2 images of 2 molded shapes"):
        model.mold_inputs(images)


def test_keras_model_predicts(model, photo):
    """The seven outputs, in their order, and `detect` is what they say."""
    images = [photo(64, 64), photo(64, 64, 1)]
    molded, metas, windows = model.mold_inputs(images)
    anchors = model.get_anchors(molded.shape[1:])
    count = len(anchors)
    outputs = model.keras_model.predict(
        [molded, metas, np.broadcast_to(anchors, (2, count, 4))], verbose=0
    )
    assert [output.shape for output in outputs] == [
        (2, 10, 6),
        (2, 40, 3),
        (2, 40, 3, 4),
        (2, 10, 14, 14, 3),
        (2, 40, 4),
        (2, count, 2),
        (2, count, 4),
    ]
    detections, probs, _, masks, rois, rpn_probs, _ = outputs
    np.testing.assert_allclose(probs.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(rpn_probs.sum(axis=-1), 1, rtol=1e-5)
    assert (rois >= 0).all() and (rois <= 1).all()
    for row, image in enumerate(images):
        result = model.unmold_detections(
            detections[row], masks[row], image.shape, molded[row].shape, windows[row]
        )
        expected = model.detect([image])[0]
        names = ("rois", "class_ids", "scores", "masks")
        assert_equal_results(dict(zip(names, result, strict=True)), expected)


def test_unmold_detections_takes_the_mask_of_the_class(model):
    detections = np.zeros((3, 6), np.float32)
    detections[0], detections[1] = [0, 0, 1, 1, 2, 0.9], [0, 0, 1, 1, 1, 0.8]
    masks = np.zeros((3, 14, 14, 3), np.float32)
    masks[0, ..., 2] = 1
    masks[1, ..., 2] = 1
    shape = (64, 64, 3)
    boxes, class_ids, scores, full = model.unmold_detections(
        detections, masks, shape, shape, (0, 0, 64, 64)
    )
    assert boxes.tolist() == [[0, 0, 64, 64]] * 2
    assert (class_ids.tolist(), scores.tolist()) == ([2, 1], pytest.approx([0.9, 0.8]))
    assert full[..., 0].all() and not full[..., 1].any()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_masks_as_run_lengths_are_the_same_pixels(model, photos):
    for full, short in zip(
        model.detect(photos), model.detect(photos, mask_format="rle"), strict=True
    ):
        assert_equal_results({**short, "masks": coco_mask.decode(short["masks"])}, full)
        assert full["masks"].any()
        assert [mask["size"] for mask in short["masks"]] == [list(full["masks"].shape[:2])] * len(
            full["rois"]
        )


def test_other_mask_formats_are_refused(model, photos):
    with pytest.raises(ValueError, match='mask_format is "polygon"; accepted are "full" and "rle"'):
        model.detect(photos, mask_format="polygon")


def test_weights_that_are_not_finite_are_warned_of(model):
    bias = model.keras_model.get_layer("fpn_p2").bias
    before = bias.numpy()
    bias.assign(np.full(before.shape, np.nan))
    try:
        with pytest.warns(UserWarning, match=r'"fpn_p2/bias" has 16 values that are NaN'):
            detection.Detector(model.keras_model, model.get_anchors)
    finally:
        bias.assign(before)


def test_one_graph_for_images_of_any_size(model, rng):
    """Three sizes compile one graph, with the results of graphs for one size each."""
    any_size = detection.Detector(model.keras_model, model.get_anchors, any_size=True)
    for height, width in ((64, 64), (64, 128), (128, 64)):
        images = rng.normal(size=(1, height, width, 3)).astype(np.float32)
        window, classes = (0, 0, height, width), model.config.NUM_CLASSES
        shape = (height, width, 3)
        meta = compose_image_meta(0, shape, shape, window, 1, np.zeros(classes))[None]
        one_size = detection.Detector(model.keras_model, model.get_anchors)
        for ours, theirs in zip(any_size(images, meta), one_size(images, meta), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert any_size.predict.experimental_get_tracing_count() == 1
