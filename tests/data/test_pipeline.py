import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mrcnn.data.imgaug_shim import iaa
from mrcnn.data.pipeline import make_dataset
from mrcnn.inputs import model_inputs
from mrcnn.legacy.generator import data_generator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tiny_config):
    """The tiny configuration with batches of two."""
    tiny_config.IMAGES_PER_GPU = 2
    return tiny_config


def image_ids(batches):
    return [int(meta[0]) for batch in batches for meta in batch["input_image_meta"].numpy()]


def take(data, count):
    return [batch for batch, _ in zip(data, range(count), strict=False)]


def test_batches_have_the_static_shapes_of_the_inputs(numbered_dataset, config):
    spec = make_dataset(numbered_dataset(3), config).dataset.element_spec
    expected = {entry.name: (2, *entry.shape) for entry in model_inputs(config, "training")}
    expected["input_image"] = (2, 64, 64, 3)
    expected["input_rpn_match"] = (2, 1023, 1)
    assert {name: tuple(s.shape) for name, s in spec.items()} == expected
    types = {entry.name: entry.dtype for entry in model_inputs(config, "training")}
    assert {name: s.dtype.name for name, s in spec.items()} == types


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    "augmentation",
    [None, iaa.Affine(rotate=(-90, 90)), "strong"],
    ids=["", "rotated", "strong"],
)
def test_batches_equal_those_of_the_generator(numbered_dataset, config, rng, threads, augmentation):
    dataset = numbered_dataset(5, empty=[3])
    for number in range(5):
        dataset.samples[number] = (
            rng.integers(0, 256, (64, 64, 3), np.uint8),
            *dataset.samples[number][1:],
        )
    data = make_dataset(
        dataset, config, augmentation=augmentation, seed=7, num_parallel_calls=threads
    )
    batches = data_generator(dataset, config, augmentation=augmentation, batch_size=2, seed=7)
    names = [entry.name for entry in model_inputs(config, "training")]
    for ours in take(data, 6):
        theirs, _ = next(batches)
        for name, values in zip(names, theirs, strict=True):
            np.testing.assert_allclose(ours[name], values, rtol=1e-6, atol=2e-5, err_msg=name)


def test_every_epoch_has_every_image_once(numbered_dataset, config):
    ids = image_ids(take(make_dataset(numbered_dataset(7), config, seed=1), 7))
    assert sorted(ids[:7]) == sorted(ids[7:]) == list(range(7))
    assert ids[:7] != ids[7:]
    assert make_dataset(numbered_dataset(7), config).steps_per_epoch == 4


def test_a_single_pass_ends_with_a_smaller_batch(numbered_dataset, config):
    data = make_dataset(numbered_dataset(5), config, shuffle=False, repeat=False)
    sizes = [len(batch["input_image"]) for batch in data]
    assert sizes == [2, 2, 1]
    assert image_ids(data) == [0, 1, 2, 3, 4]


def test_a_second_iteration_starts_from_the_beginning(numbered_dataset, config):
    data = make_dataset(numbered_dataset(4), config, seed=2)
    assert image_ids(take(data, 3)) == image_ids(take(data, 3))


def test_unusable_images_are_skipped_and_recorded(numbered_dataset, config):
    dataset = numbered_dataset(8, empty=[1, 6], broken=[4])
    data = make_dataset(dataset, config, shuffle=False)
    assert image_ids(take(data, 5)) == [0, 2, 3, 5, 7, 0, 2, 3, 5, 7]
    assert data.skipped == [1, 6]
    assert list(data.errors.messages) == [4]


def test_too_many_errors_surface_as_a_python_exception(numbered_dataset, config):
    config.MAX_LOAD_ERRORS, config.LOADER_WORKERS = 1, 1
    data = make_dataset(numbered_dataset(8, broken=[4, 5]), config, shuffle=False)
    seen = []
    message = "2 images could not be loaded, and MAX_LOAD_ERRORS allows 1:\n  image 4 .*\n  image 5"
    with pytest.raises(RuntimeError, match=message):
        for batch in data:
            seen.append(batch)
    assert image_ids(seen) == [0, 1, 2, 3]
    with pytest.raises(RuntimeError, match=message):
        data.errors.reraise()


def test_errors_reach_consumers_of_the_tensorflow_dataset(numbered_dataset, config):
    config.MAX_LOAD_ERRORS = 0
    data = make_dataset(numbered_dataset(4, broken=[0]), config, shuffle=False)
    with pytest.raises(tf.errors.OpError, match="1 images could not be loaded"):
        next(iter(data.dataset))
    with pytest.raises(RuntimeError, match="^1 images could not be loaded"):
        data.errors.reraise()


@pytest.mark.parametrize("repeat", [True, False])
def test_a_dataset_without_objects_does_not_hang(numbered_dataset, config, repeat):
    data = make_dataset(numbered_dataset(5, empty=range(5)), config, repeat=repeat)
    with pytest.raises(RuntimeError, match="there is nothing to train on: 5 of 5 images have no"):
        next(iter(data))


@pytest.mark.parametrize("threads", [1, 3])
def test_keras_layers_augment_on_threads(numbered_dataset, config, threads):
    from keras import layers

    augmentation = layers.Pipeline([layers.RandomRotation(0.4), layers.RandomBrightness(0.2)])

    def batches():
        data = make_dataset(
            numbered_dataset(6),
            config,
            augmentation=augmentation,
            seed=3,
            num_parallel_calls=threads,
        )
        return take(data, 6)

    first, again = batches(), batches()
    for batch, other in zip(first, again, strict=True):
        for name, values in batch.items():
            np.testing.assert_array_equal(values, other[name])
    boxes = np.concatenate([batch["input_gt_boxes"][:, 0] for batch in first])
    assert len(np.unique(boxes, axis=0)) > 6


def test_images_of_floats_keep_their_values(array_dataset, rectangles, config):
    samples = [rectangles([(4, 4, 20, 20)], [1]) for _ in range(2)]
    samples = [
        (image + np.float32(0.25 + 300 * i), *rest) for i, (image, *rest) in enumerate(samples)
    ]
    batch = next(iter(make_dataset(array_dataset(samples), config, shuffle=False)))
    expected = np.array([0.25, 300.25])[:, np.newaxis] - [123.7, 116.8, 103.9]
    np.testing.assert_allclose(batch["input_image"][:, 30, 30], expected, rtol=1e-6)


def test_types_of_images_must_agree(array_dataset, rectangles, config):
    sample = rectangles([(4, 4, 20, 20)], [1])
    other = (sample[0].astype(np.float32), *sample[1:])
    data = make_dataset(array_dataset([sample, other]), config, shuffle=False)
    message = r"load_image\(\) returned uint8 for the first image and float32 for image 1"
    with pytest.raises(TypeError, match=message):
        next(iter(data))


def test_images_of_any_size_in_batches_of_one(array_dataset, rectangles, config):
    config.IMAGES_PER_GPU, config.IMAGE_RESIZE_MODE = 1, "pad64"
    samples = [rectangles([(4, 4, 20, 20)], [1], size=size) for size in (64, 100)]
    data = make_dataset(array_dataset(samples), config, shuffle=False)
    assert data.dataset.element_spec["input_image"].shape.as_list() == [1, None, None, 3]
    shapes = [(b["input_image"].shape[1:3], b["input_rpn_match"].shape[1]) for b in take(data, 2)]
    # 3 * (32**2 + 16**2 + 8**2 + 4**2 + 2**2) anchors in 128x128
    assert shapes == [((64, 64), 1023), ((128, 128), 4092)]


def test_full_masks_and_given_rois(numbered_dataset, config):
    config.USE_MINI_MASK, config.USE_RPN_ROIS = False, False
    dataset = numbered_dataset(2)
    data = make_dataset(dataset, config, shuffle=False)
    assert data.dataset.element_spec["input_gt_masks"].shape.as_list() == [2, 64, 64, 8]
    batch = next(iter(data))
    np.testing.assert_array_equal(batch["input_gt_masks"][1, ..., :1], dataset.samples[1][1])
    assert batch["input_roi"].shape == (2, config.POST_NMS_ROIS_TRAINING, 4)
    assert batch["input_roi"].numpy().max() <= 64


def test_crops_repeat_with_their_seed(array_dataset, rectangles, config, rng):
    config.IMAGE_RESIZE_MODE = "crop"
    sample = rectangles([(10, 10, 90, 90)], [1], size=100)
    image = rng.integers(0, 256, (100, 100, 3), np.uint8)
    dataset = array_dataset([(image, *sample[1:])] * 4)
    first, again, other = (
        np.concatenate([batch["input_image"] for batch in take(data, 3)])
        for data in (make_dataset(dataset, config, seed=seed) for seed in (1, 1, 2))
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


# Resuming


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("drawn", [0, 1, 4, 5, 9])
def test_a_pipeline_resumes_at_the_position_of_another(numbered_dataset, config, threads, drawn):
    """Positions include the end of an epoch of 7 images, and skipped images."""

    def make(start):
        return make_dataset(
            numbered_dataset(7, empty=[1, 4], broken=[6]),
            config,
            augmentation=iaa.Affine(rotate=(-90, 90)),
            seed=3,
            start=start,
            num_parallel_calls=threads,
        )

    data = make(0)
    batches = take(data, drawn + 4)
    assert len(image_ids(batches)) > len(set(image_ids(batches)))
    # The pipeline has read ahead of these batches, and has found unusable images there, too.
    for expected, ours in zip(batches[drawn:], take(make(data.position(drawn)), 4), strict=True):
        for name, values in expected.items():
            np.testing.assert_array_equal(ours[name], values, err_msg=name)


def test_positions_count_skipped_images_too(numbered_dataset, config):
    data = make_dataset(numbered_dataset(5, empty=[1, 2]), config, shuffle=False)
    assert image_ids(take(data, 4)) == [0, 3, 4, 0, 3, 4, 0, 3]
    # 0 _ _ 3 | 4 0 | _ _ 3 4 | 0 _ _ 3: images that are skipped at the end of a batch are unknown
    # until the next one is drawn, and count with that.
    data = make_dataset(numbered_dataset(5, empty=[1, 2]), config, shuffle=False)
    take(data, 4)
    assert [data.position(batches) for batches in range(5)] == [0, 4, 6, 10, 14]


def test_a_resumed_pipeline_can_be_resumed(numbered_dataset, config):
    def make(start):
        return make_dataset(numbered_dataset(5, empty=[1, 2]), config, shuffle=False, start=start)

    second = make(4)
    assert image_ids(take(second, 2)) == [4, 0, 3, 4]
    assert second.position(2) == 10
    assert image_ids(take(make(10), 2)) == [0, 3, 4, 0]


# Several processes


@pytest.mark.parametrize("processes, images", [(2, 2), (3, 2), (2, 4)])
def test_processes_share_one_order_of_images(numbered_dataset, config, processes, images):
    """Joined run by run, the shares of the processes are the samples of a single process."""
    rounds = 5
    alone = make_dataset(numbered_dataset(7), config, seed=1)
    expected = np.reshape(
        image_ids(take(alone, rounds * processes * images // 2)), (rounds, processes, images)
    )
    shards = [
        make_dataset(numbered_dataset(7), config, seed=1, shard=(index, processes, images))
        for index in range(processes)
    ]
    for index, data in enumerate(shards):
        ours = np.reshape(image_ids(take(data, rounds * images // 2)), (rounds, images))
        np.testing.assert_array_equal(ours, expected[:, index])


@pytest.mark.parametrize("index", [0, 1])
def test_a_process_resumes_at_its_position(numbered_dataset, config, index):
    def make(start):
        dataset = numbered_dataset(9, empty=[3, 5])
        return make_dataset(dataset, config, seed=2, start=start, shard=(index, 2, 4))

    data = make(0)
    ids = image_ids(take(data, 9))
    for drawn in (1, 4, 6):
        assert image_ids(take(make(data.position(drawn)), 3)) == ids[2 * drawn : 2 * drawn + 6]


def test_positions_of_a_process_do_not_count_images_skipped_by_others(numbered_dataset, config):
    # In runs of 2 the first process has 0 1 | 4 5 | 8 0 | 3 4 | 7 8, the second 2 3 | 6 7 | 1 2.
    def make(index):
        dataset = numbered_dataset(9, empty=[6])
        return make_dataset(dataset, config, shuffle=False, shard=(index, 2, 2))

    first, second = make(0), make(1)
    assert image_ids(take(first, 3)) == [0, 1, 4, 5, 8, 0]
    assert image_ids(take(second, 3)) == [2, 3, 7, 1, 2, 5]
    assert [first.position(batches) for batches in range(4)] == [0, 2, 4, 6]
    assert [second.position(batches) for batches in range(4)] == [0, 2, 5, 7]


def test_a_process_without_objects_does_not_hang(numbered_dataset, config):
    """It has images 0 1 | 4 5 of 0 to 7; without an error, the other process would wait for it."""
    dataset = numbered_dataset(8, empty=[0, 1, 4, 5])
    data = make_dataset(dataset, config, shuffle=False, shard=(0, 2, 2))
    with pytest.raises(RuntimeError, match="there is nothing to train on"):
        next(iter(data))


def test_a_single_pass_of_a_process(numbered_dataset, config):
    passes = [
        make_dataset(numbered_dataset(7), config, shuffle=False, repeat=False, shard=(index, 2, 2))
        for index in range(2)
    ]
    assert [image_ids(data) for data in passes] == [[0, 1, 4, 5], [2, 3, 6]]


def test_pipelines_stop_before_python_ends():
    code = """
import atexit, sys, time
sys.path.insert(0, "tests")
from conftest import TinyConfig
import numpy as np
from mrcnn.data.dataset import Dataset
from mrcnn.data.pipeline import make_dataset

begun, ended = [], []

class Slow(Dataset):
    def load_image(self, image_id):
        begun.append(image_id)
        time.sleep(0.2)
        ended.append(image_id)
        return np.zeros((64, 64, 3), np.uint8)

    def load_mask(self, image_id):
        return np.ones((64, 64, 1), bool), np.array([1])

# Python calls these functions in reverse order: this one comes last.
@atexit.register
def look():
    count = len(begun)
    print(count > 2, len(ended) == count)
    time.sleep(0.6)
    print(len(begun) == count)

dataset = Slow()
for number in range(3):
    dataset.add_class("a", number, "a")
    dataset.add_image("a", number, None)
dataset.prepare()
iterators = [
    iter(make_dataset(dataset, TinyConfig(), num_parallel_calls=2)),
    iter(make_dataset(dataset, TinyConfig(), num_parallel_calls=2).dataset),
]
for iterator in iterators:
    next(iterator)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    # A thread that is in Python when it ends leaves the process hanging, or aborts it, now and
    # then; so look for threads rather than for that.
    assert (result.returncode, result.stdout.split()) == (0, ["True", "True", "True"])
