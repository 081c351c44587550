"""The input pipeline of training: samples made on several threads, as a tf.data.Dataset."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from mrcnn.data.loader import LoadErrors, SampleLoader
from mrcnn.data.rpn_targets import pyramid_anchors
from mrcnn.inputs import Input, model_inputs

# Batches made ahead of the training step. More would only cost memory.
_PREFETCH = 2

# Seconds: how long no thread may have asked for a sample before Python ends, and how long to wait
# for that.
_EXIT_CALM, _EXIT_WAIT = 0.05, 10


class TrainingData:
    """An input pipeline with an account of what it could not use.

    Iterate over it for batches; errors in loading then arrive as the Python exceptions that they
    are. `dataset` is there for `tf.distribute` and other consumers that need a tf.data.Dataset;
    when such a consumer gets an error from TensorFlow, call `errors.reraise()` first.

    Attributes:
        dataset: tf.data.Dataset of batches, see `make_dataset`.
        steps_per_epoch: batches in which every image comes once.
    """

    def __init__(self, dataset: tf.data.Dataset, loader: SampleLoader):
        self.dataset = dataset
        self.steps_per_epoch = -(-loader.num_images // loader.batch_size)
        self._loader = loader

    @property
    def errors(self) -> LoadErrors:
        """The images that could not be loaded so far, and what has stopped the run."""
        return self._loader.errors

    @property
    def skipped(self) -> list[int]:
        """Ids of the images that were left out because they have no instances, so far."""
        return sorted(self._loader.skipped)

    def __iter__(self) -> Iterator[dict[str, tf.Tensor]]:
        try:
            yield from self.dataset
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
) -> TrainingData:
    """Batches of training samples, as a dict from the names of the model's inputs.

    Arguments:
        dataset: a prepared `Dataset`. Several threads call its `load_image` and `load_mask`; where
            these cannot bear it, set LOADER_WORKERS to 1.
        config: a `Config`.
        shuffle, augmentation, no_augmentation_sources: see `SampleLoader`.
        seed: of all random numbers. With one seed the batches are the same on any number of
            threads; None draws one from `np.random`.
        repeat: go on with further epochs, each in a new order. Batches run across their borders, so
            that every image comes once an epoch. Without it the dataset ends after one epoch, with
            a smaller batch if images are left over.
        batch_size: BATCH_SIZE by default.
        num_parallel_calls: threads; LOADER_WORKERS, or one a core, by default.

    Returns:
        `TrainingData`. Its batches are molded (mean colour subtracted), as `mrcnn.inputs` lists:
        shapes are static, but for the image size in the resize modes "none" and "pad64".

    Raises:
        What `SampleLoader` raises. Its `load` raises while the batches are drawn.
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
    threads = num_parallel_calls or config.LOADER_WORKERS or _cores()
    specs = _sample_specs(config)
    feed = _Feed(loader, specs)

    def load(number):
        return tf.numpy_function(feed, [number], [tf.bool, *map(tf.as_dtype, feed.dtypes)])

    numbers = tf.data.Dataset.range(np.iinfo(np.int64).max if repeat else loader.num_images)
    batches = (
        numbers.map(load, num_parallel_calls=threads, deterministic=True)
        .filter(lambda usable, *sample: usable)
        .map(lambda usable, *sample: _with_shapes(specs, sample))
        .batch(loader.batch_size, drop_remainder=repeat)
        .map(lambda batch: _mold(batch, config))
        .prefetch(_PREFETCH)
    )
    options = tf.data.Options()
    # Threads of its own: Keras layers that augment wait in them for operations of TensorFlow.
    options.threading.private_threadpool_size = threads + 1
    return TrainingData(batches.with_options(options), loader)


def _cores():
    """The cores that this process may use: fewer than the machine has, in a container."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _sample_specs(config) -> list[Input]:
    """The model's inputs with the sizes that the resize mode fixes."""
    if config.IMAGE_RESIZE_MODE not in ("square", "crop"):
        return model_inputs(config, "training")
    height, width = (int(side) for side in config.IMAGE_SHAPE[:2])
    fixed = {
        "input_image": (height, width, int(config.IMAGE_SHAPE[2])),
        "input_rpn_match": (len(pyramid_anchors(config, config.IMAGE_SHAPE)), 1),
    }
    if not config.USE_MINI_MASK:
        fixed["input_gt_masks"] = (height, width, config.MAX_GT_INSTANCES)
    specs = model_inputs(config, "training")
    return [spec._replace(shape=fixed.get(spec.name, spec.shape)) for spec in specs]


class _Feed:
    """The Python end of a pipeline: its threads call this for sample after sample."""

    # All feeds, to be closed when Python ends.
    open_feeds = weakref.WeakSet()

    def __init__(self, loader: SampleLoader, specs: list[Input]):
        self._loader, self._specs = loader, specs
        self._image_dtype = _transport_dtype(loader)
        self.dtypes = [
            self._image_dtype if spec.name == "input_image" else np.dtype(spec.dtype)
            for spec in specs
        ]
        self._blank = self._arrays(
            {spec.name: np.zeros([size or 0 for size in spec.shape]) for spec in specs}
        )
        self._closed, self._busy, self._last_call = False, set(), 0.0
        if not self.open_feeds:
            atexit.register(self.close_all)
        self.open_feeds.add(self)

    def __call__(self, number: int):
        """`(usable, *arrays in the order of specs)` of a sample."""
        thread = threading.get_ident()
        self._busy.add(thread)
        try:
            # A closed feed pretends, so that the queues behind it run full and ask no more.
            return (True, *self._blank) if self._closed else self._load(int(number))
        finally:
            self._last_call = time.monotonic()
            self._busy.discard(thread)

    def _load(self, number):
        sample = self._loader.load(number)
        if sample is None:
            return False, *self._blank
        dtype = sample["input_image"].dtype
        if self._image_dtype == np.uint8 and dtype != np.uint8:
            self._loader.errors.stop(
                TypeError(
                    f"load_image() gave {dtype} for image {self._loader.image_id(number)} and "
                    "uint8 for the first image; it must give all images one type."
                )
            )
        return True, *self._arrays(sample)

    def _arrays(self, sample):
        return [
            np.asarray(sample[spec.name], dtype)
            for spec, dtype in zip(self._specs, self.dtypes, strict=True)
        ]

    @classmethod
    def close_all(cls) -> None:
        """Let the threads of all pipelines come to rest, at the end of Python.

        A thread of TensorFlow that wants to enter Python after that hangs, and TensorFlow waits
        for it: the process would never end.
        """
        deadline = time.monotonic() + _EXIT_WAIT
        for feed in list(cls.open_feeds):
            feed._closed, feed._last_call = True, time.monotonic()
            while feed._busy or time.monotonic() - feed._last_call < _EXIT_CALM:
                if time.monotonic() > deadline:
                    return
                time.sleep(0.01)


def _transport_dtype(loader):
    """uint8, a quarter of the bytes to copy, where the dataset's images are; else float32."""
    for image_id in loader.dataset.image_ids[: loader.config.MAX_LOAD_ERRORS + 1]:
        try:
            image = loader.dataset.load_image(image_id)
        # The account of unreadable images is kept where samples are made.
        except Exception:
            continue
        return np.dtype(np.uint8 if image.dtype == np.uint8 else np.float32)
    return np.dtype(np.uint8)


def _with_shapes(specs, sample):
    """A dict of the arrays, which come from NumPy without shapes."""
    return {
        spec.name: tf.ensure_shape(array, spec.shape)
        for spec, array in zip(specs, sample, strict=True)
    }


def _mold(batch, config):
    """`mold_image` on a batch: the image becomes four times larger here, after all copies."""
    mean = np.asarray(config.MEAN_PIXEL, np.float32)
    return batch | {"input_image": tf.cast(batch["input_image"], tf.float32) - mean}
