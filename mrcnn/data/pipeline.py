"""The input pipeline of training: samples made on several threads, as a tf.data.Dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mrcnn.data.feed import SampleFeed
from mrcnn.data.interruptible import interruptible
from mrcnn.data.loader import SampleLoader
from mrcnn.data.molding import normalize
from mrcnn.data.uneven import spread_targets
from mrcnn.inputs import Input, model_inputs
from mrcnn.ops.meta import parse_meta

# Batches made ahead of the training step. More would only cost memory.
_PREFETCH = 2


class _Shard(NamedTuple):
    """Share of one process in the samples: of each `processes` runs of `images`, the `index`-th."""

    index: int
    processes: int
    images: int

    def number(self, place):
        """Return the number of a sample in the order of all processes, by its place in ours."""
        runs, rest = place // self.images, place % self.images
        return (runs * self.processes + self.index) * self.images + rest

    def place(self, number: int) -> int:
        """The inverse of `number`."""
        return number // (self.images * self.processes) * self.images + number % self.images

    def count(self, total: int) -> int:
        """Count our samples among the first `total`."""
        runs, rest = divmod(total, self.images * self.processes)
        return runs * self.images + min(max(rest - self.index * self.images, 0), self.images)


class TrainingData:
    """Input pipeline with a record of the images that it could not use.

    Iterate over it for batches; loading errors are then raised as Python exceptions. `dataset` is
    for `tf.distribute` and other users of a tf.data.Dataset; if one of these gets an error from
    TensorFlow, call `errors.reraise()` first.

    Attributes:
        dataset: tf.data.Dataset of batches, see `make_dataset`.
        steps_per_epoch: number of batches that hold every image once.
        errors: `LoadErrors` so far.
    """

    def __init__(self, dataset: tf.data.Dataset, loader: SampleLoader, shard: _Shard, start: int):
        self.dataset = dataset
        self.steps_per_epoch = -(-loader.num_images // loader.batch_size)
        self.errors = loader.errors
        self._loader, self._shard, self._start = loader, shard, start

    @property
    def skipped(self) -> list[int]:
        """Ids of the images that were skipped so far because they have no instances."""
        return sorted(self._loader.skipped)

    def report_skipped(self) -> None:
        """Log the images in `skipped`, unless they were logged for this dataset."""
        self._loader.report_skipped()

    def position(self, batches: int) -> int:
        """Return the `start` that resumes the order of the images after a number of batches.

        Batches that were made ahead do not count.
        """
        place = self._start + batches * self._loader.batch_size
        for unused in sorted(map(self._shard.place, self._loader.unused)):
            if self._start <= unused < place:
                place += 1
        return place

    def __iter__(self) -> Iterator[dict[str, tf.Tensor]]:
        try:
            yield from interruptible(iter(self.dataset))
        except tf.errors.OpError:
            self.errors.reraise()
            raise


def make_dataset(
    dataset: Any,
    config: Any,
    *,
    shuffle: bool = True,
    augmentation: Any = None,
    no_augmentation_sources: list[str] | None = None,
    seed: int | None = None,
    repeat: bool = True,
    batch_size: int | None = None,
    num_parallel_calls: int | None = None,
    start: int = 0,
    shard: tuple[int, int, int] | None = None,
) -> TrainingData:
    """Make a pipeline of training batches, dicts by the names of the model's inputs.

    Args:
        dataset: a prepared `Dataset`. Several threads call its `load_image` and `load_mask`; where
            these are not thread-safe, set LOADER_WORKERS to 1.
        config: a `Config`.
        shuffle, augmentation, no_augmentation_sources, seed: see `SampleLoader`.
        repeat: continue with further epochs, each in a new order. A batch may hold the end of one
            epoch and the beginning of the next, so every image comes once per epoch. Without it the
            dataset ends after one epoch, with a smaller batch if images are left over.
        batch_size: BATCH_SIZE by default.
        num_parallel_calls: number of threads; LOADER_WORKERS, or one per core, by default.
        start: number of the first sample, see `TrainingData.position`.
        shard: (index, count, images) for one of `count` processes that train together: of every
            `count * images` samples, it takes the `index`-th run of `images`.

    Returns:
        `TrainingData`. Its batches are molded (normalized), as `mrcnn.inputs` lists:
        shapes are static, but for the image size in the resize modes "none", "pad64" and "pad32",
        where images of different sizes are padded to the largest of their batch.

    Raises:
        ValueError, TypeError: see `SampleLoader`. Its `load` raises while batches are drawn.
    """
    loader = SampleLoader(
        dataset,
        config,
        shuffle=shuffle,
        augmentation=augmentation,
        no_augmentation_sources=no_augmentation_sources,
        random_rois=0 if config.USE_RPN_ROIS else config.POST_NMS_ROIS_TRAINING,
        batch_size=batch_size or config.BATCH_SIZE,
        seed=seed,
    )
    shard = _Shard(*shard) if shard else _Shard(0, 1, loader.num_images)
    loader.first_pass = shard.count(loader.num_images)
    threads = num_parallel_calls or config.LOADER_WORKERS or _cores()
    specs = _sample_specs(config)
    feed = SampleFeed(loader, specs)

    def load(place):
        return tf.numpy_function(
            feed, [shard.number(place)], [tf.bool, *map(tf.as_dtype, feed.dtypes)]
        )

    end = np.iinfo(np.int64).max // shard.processes if repeat else loader.first_pass
    samples = (
        tf.data.Dataset.range(start, end)
        .map(load, num_parallel_calls=threads, deterministic=True)
        .filter(lambda usable, *sample: usable)
        .map(lambda usable, *sample: _with_shapes(specs, sample))
    )
    batches = _batch(samples, config, loader, repeat)
    batches = batches.map(lambda batch: _mold(batch, config)).prefetch(_PREFETCH)
    options = tf.data.Options()
    # Private threads: Keras layers that augment block theirs until TensorFlow has computed.
    options.threading.private_threadpool_size = threads + 1
    return TrainingData(batches.with_options(options), loader, shard, start)


def _cores():
    """Count the cores that this process may use: in a container, fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _sample_specs(config) -> list[Input]:
    """Return the model's inputs with the sizes that the resize mode fixes."""
    specs = model_inputs(config, "training")
    if config.IMAGE_RESIZE_MODE not in ("square", "crop"):
        return specs
    height, width = (int(side) for side in config.IMAGE_SHAPE[:2])
    anchors = config.recipe().anchors(config)
    fixed = {
        "input_image": (height, width, int(config.IMAGE_SHAPE[2])),
        "input_rpn_match": (len(anchors.of_image(config.IMAGE_SHAPE)), 1),
    }
    if not config.USE_MINI_MASK:
        fixed["input_gt_masks"] = (height, width, config.MAX_GT_INSTANCES)
    return [spec._replace(shape=fixed.get(spec.name, spec.shape)) for spec in specs]


def _with_shapes(specs, sample):
    """Name the arrays and set their shapes, which `tf.numpy_function` does not know."""
    pairs = zip(specs, sample, strict=True)
    return {spec.name: tf.ensure_shape(array, spec.shape) for spec, array in pairs}


def _batch(samples, config, loader, drop_remainder):
    """Batch samples; images of different sizes are padded to the largest of their batch."""
    size = loader.batch_size
    if config.IMAGE_RESIZE_MODE in ("square", "crop"):
        return samples.batch(size, drop_remainder=drop_remainder)
    generator, targets = config.recipe().anchors(config), loader.rpn_targets

    def spread(batch):
        sizes = parse_meta(batch["input_image_meta"])["image_shape"][:, :2]
        match, deltas = batch["input_rpn_match"], batch["input_rpn_bbox"]
        objects = batch["input_gt_class_ids"], batch["input_gt_boxes"]
        spread, moved = tf.numpy_function(
            lambda *arrays: spread_targets(*arrays, generator, targets),
            [match, deltas, tf.cast(sizes, tf.int32), *objects],
            (tf.int32, tf.float32),
        )
        spread = tf.ensure_shape(spread, (None, None, 1))
        moved = tf.ensure_shape(moved, deltas.shape)
        return batch | {"input_rpn_match": spread, "input_rpn_bbox": moved}

    return samples.padded_batch(size, drop_remainder=drop_remainder).map(spread)


def _mold(batch, config):
    """Normalize the images, last: it turns uint8 into floats of four times the size."""
    windows = parse_meta(batch["input_image_meta"])["window"]
    images = normalize(batch["input_image"], windows, config, keras.ops)
    return batch | {"input_image": images}
