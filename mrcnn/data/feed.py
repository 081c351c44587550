"""Python function behind a tf.data pipeline, whose threads call it once per sample."""

from __future__ import annotations

import atexit
import threading
import time
import weakref

import numpy as np

from mrcnn.data.loader import SampleLoader
from mrcnn.inputs import Input

# Seconds: Python ends when no thread has asked for a sample for this long; the longest wait for it.
_EXIT_CALM, _EXIT_WAIT = 0.2, 10

_open_feeds = weakref.WeakSet()


class SampleFeed:
    """Function from sample number to `(usable, *arrays)`, for `tf.numpy_function`.

    Args:
        loader: makes the samples.
        specs: names, shapes and types of the arrays, in order. If the first image of the dataset is
            uint8, images stay uint8, which takes a quarter of the time to copy.

    Attributes:
        dtypes: NumPy types of the arrays.
    """

    def __init__(self, loader: SampleLoader, specs: list[Input]):
        self._loader, self._specs = loader, specs
        self._image_dtype = np.dtype(_image_dtype(loader))
        self.dtypes = [
            self._image_dtype if spec.name == "input_image" else np.dtype(spec.dtype)
            for spec in specs
        ]
        blank = {spec.name: np.zeros([size or 0 for size in spec.shape]) for spec in specs}
        self._blank = self._arrays(blank)
        self._closed, self._busy, self._last_call = False, set(), 0.0
        _open_feeds.add(self)
        # Registered once, and called before the functions that were registered earlier.
        atexit.unregister(_close_all)
        atexit.register(_close_all)

    def __call__(self, number: int) -> tuple:
        """Make a sample, or return False and blanks for an unusable image."""
        thread = threading.get_ident()
        self._busy.add(thread)
        try:
            # After `close`, blanks fill the queues behind the feed, so that they stop asking.
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
                    f"load_image() returned uint8 for the first image and {dtype} for image "
                    f"{self._loader.image_id(number)}; all images must have one type."
                )
            )
        return True, *self._arrays(sample)

    def _arrays(self, sample):
        return [
            np.asarray(sample[spec.name], dtype)
            for spec, dtype in zip(self._specs, self.dtypes, strict=True)
        ]

    def close(self) -> None:
        """Make no more samples."""
        self._closed, self._last_call = True, time.monotonic()

    @property
    def is_calm(self) -> bool:
        """True if no thread has been at work here for a while."""
        return not self._busy and time.monotonic() > self._last_call + _EXIT_CALM


def _image_dtype(loader):
    """Return uint8 or float32, by the type of the first readable image."""
    for image_id in loader.dataset.image_ids[: loader.config.MAX_LOAD_ERRORS + 1]:
        try:
            dtype = np.asarray(loader.dataset.load_image(image_id)).dtype
        # The loader records unreadable images when it makes their samples.
        except Exception:
            continue
        return np.uint8 if dtype == np.uint8 else np.float32
    return np.uint8


def _close_all():
    """Close all feeds when Python ends: a thread that called Python later would hang forever."""
    feeds, deadline = list(_open_feeds), time.monotonic() + _EXIT_WAIT
    for feed in feeds:
        feed.close()
    while not all(feed.is_calm for feed in feeds) and time.monotonic() < deadline:
        time.sleep(0.01)
