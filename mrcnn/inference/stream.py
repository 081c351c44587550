"""Detection in a stream of photos: reading, network and writing at the same time, in order.

Threads read photos ahead of the network, one thread runs the network, and threads convert and
write results behind it. TensorFlow, Pillow, OpenCV and NumPy release Python's lock while they work.
"""

from __future__ import annotations

import os
import queue
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from time import perf_counter
from typing import Any

import numpy as np

from mrcnn.inference.detect import as_result
from mrcnn.inference.molding import check_format, mold_one, unmolder
from mrcnn.inference.sources import Photo
from mrcnn.ops.pixels import as_image

# Seconds. Windows cannot interrupt a wait without an end.
_POLL, _PATIENCE = 0.5, 5.0
_MOST_WORKERS = 8
# Photos that wait for others of their molded shape, in batches.
_WINDOW = 4
_END = object()


class Stream:
    """Detect in photos while others are read and written. To be iterated once.

    Batches have photos of one molded shape, and depend on nothing but the order of the photos. A
    photo that cannot be read is skipped. An error of the network or of `write` ends the iteration.
    When it ends, for whatever reason, the threads finish the photos that they are writing.

    Args:
        detector: a `Detector`.
        photos: iterable of `Photo`, read in a thread: `mrcnn.inference.sources.Sources`.
        config: a `Config`.
        batch: photos per call of the network; None for the Config's BATCH_SIZE.
        workers: threads that read, and as many that write; None for one per CPU core, 2 to 8, and
            for 1 with `alone`, whose photos may be large.
        mask_format: as of `detect`.
        write: function of a `Photo` and its result, called in several threads in any order.
        on_skip: function of a `Photo` and a sentence, called in order; None warns.
        class_names: list of names that starts with "BG", for the results, or None.
        alone: function of the detector, an image and its name that returns its result, for
            detection that takes several calls of the network per photo. It replaces batches, and
            gets the image as it was read, of one that it refuses it raises ValueError.

    Attributes:
        skipped: list of `(name, sentence)` of the photos that could not be read.
        done: number of photos with a result.
        seconds: time from the first to the last photo, so far.
        most_alive: number of photos that are in memory at a time at most.

    Raises:
        ValueError: if `batch` or `workers` is below 1, or for another `mask_format`.
    """

    def __init__(
        self,
        detector: Any,
        photos: Iterable[Photo],
        config: Any,
        batch: int | None = None,
        workers: int | None = None,
        mask_format: str = "rle",
        write: Callable[[Photo, Any], None] | None = None,
        on_skip: Callable[[Photo, str], None] | None = None,
        class_names: list[str] | None = None,
        alone: Callable[[Any, np.ndarray], Any] | None = None,
    ):
        check_format(mask_format)
        batch = int(config.BATCH_SIZE if batch is None else batch)
        if workers is None:
            workers = 1 if alone else min(max(os.cpu_count() or 1, 2), _MOST_WORKERS)
        for name, value in {"batch": batch, "workers": workers}.items():
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more.")
        self.skipped, self.done, self.seconds = [], 0, 0.0
        self._network, self._photos, self._config = _Timed(detector), photos, config
        self._batch = batch if alone is None else 1
        self._window = 1 if self._batch == 1 else _WINDOW * self._batch
        self._workers, self._write, self._alone = workers, write, alone
        self._on_skip, self._class_names = on_skip or _warn, class_names
        self._as_photo = unmolder(config, mask_format)
        # Those that wait for a batch, those in the network, and those that are read and written.
        self.most_alive = self._window + self._batch + 2 * workers
        self._slots = threading.Semaphore(self.most_alive)
        self._loads, self._results = queue.SimpleQueue(), queue.SimpleQueue()
        self._stopped, self._error = threading.Event(), None

    @property
    def busy(self) -> float:
        """Share of the time in which the network was working, 0 to 1."""
        return min(self._network.seconds / self.seconds, 1.0) if self.seconds else 0.0

    def __iter__(self) -> Iterator[Any]:
        """Yield the results in the order of the photos."""
        return (result for _, result in self.pairs())

    def pairs(self) -> Iterator[tuple[Photo, Any]]:
        """Yield each `Photo` with its result, in the order of the photos."""
        start = perf_counter()
        threads = [
            threading.Thread(target=self._guarded, args=[target], name=name, daemon=True)
            for name, target in {"photos": self._feed, "network": self._detect}.items()
        ]
        self._readers = ThreadPoolExecutor(self._workers, "reader")
        self._writers = ThreadPoolExecutor(self._workers, "writer")
        try:
            for thread in threads:
                thread.start()
            while (item := self._next(self._results)) is not _END:
                sentence, result = self._wait(item.done)
                self.seconds = perf_counter() - start
                if sentence is None:
                    self.done += 1
                    yield item.photo, result
                else:
                    self.skipped.append((item.photo.name, sentence))
                    self._on_skip(item.photo, sentence)
                # The name would keep the last photo in memory.
                result = item = None
                self._slots.release()
        finally:
            self._stopped.set()
            # A camera may hang. Python must not end while the network runs: TensorFlow aborts.
            threads[0].join(_PATIENCE)
            threads[1].join()
            self._readers.shutdown(cancel_futures=True)
            self._writers.shutdown(cancel_futures=True)

    # In threads of their own

    def _guarded(self, target):
        try:
            target()
        except _Stopped:
            pass
        except BaseException as error:
            self._fail(error)

    def _fail(self, error):
        self._error = self._error or error
        self._stopped.set()

    def _feed(self):
        """Start the reading of each photo once there is room for it."""
        photos = iter(self._photos)
        for index, photo in enumerate(_until_stopped(photos, self._acquire)):
            item = _Item(index, photo)
            item.loaded = self._readers.submit(self._load, item)
            self._loads.put(item)
            self._results.put(item)
        self._loads.put(_END)
        self._results.put(_END)

    def _acquire(self):
        while not self._slots.acquire(timeout=_POLL):
            self._check()
        self._check()

    def _detect(self):
        """Run the network on batches: full ones, and those whose first photo has waited enough."""
        groups = {}
        while (item := self._next(self._loads)) is not _END:
            is_loaded = self._wait(item.loaded)
            if is_loaded and self._alone:
                self._run_alone(item)
            elif is_loaded:
                groups.setdefault(item.molded.shape, []).append(item)
            # Groups are in the order of their first photos. Photos that cannot be read count as
            # time that has passed, or these might take up all room.
            for shape in list(groups):
                is_due = item.index - groups[shape][0].index + 1 >= self._window
                if is_due or len(groups[shape]) == self._batch:
                    self._run(groups.pop(shape))
        for group in groups.values():
            self._run(group)

    def _run(self, group):
        self._check()
        found = self._network(
            np.stack([item.molded for item in group]), np.stack([item.meta for item in group])
        )
        for item, *row in zip(group, *found, strict=True):
            item.molded_shape, item.molded = item.molded.shape, None
            self._finish(item, self._unmold, item, *row)

    def _run_alone(self, item):
        self._check()
        try:
            found = self._alone(self._network, item.image, item.photo.name)
        except (OSError, ValueError) as error:
            item.done.set_result((str(error), None))
            return
        self._finish(item, lambda result: result, found)

    def _finish(self, item, convert, *args):
        self._writers.submit(self._hand_on, item, convert, *args)

    # In the threads of readers and writers

    def _load(self, item):
        """Read and mold a photo; return False if it cannot be read."""
        config = self._config
        try:
            item.image = item.photo.load()
            if not self._alone:
                channels = int(config.IMAGE_SHAPE[2])
                item.image = as_image(item.image, item.photo.name, channels)
                item.molded, item.meta, item.window = mold_one(item.image, config, item.index)
            return True
        except (OSError, ValueError) as error:
            item.done.set_result((str(error), None))
            return False

    def _unmold(self, item, detections, masks, best):
        shapes = item.image.shape, item.molded_shape
        found = self._as_photo(detections, masks, *shapes, item.window)
        return as_result(*found, best, self._config)

    def _hand_on(self, item, convert, *args):
        try:
            result = convert(*args)
            result.image, result.path = item.image, item.photo.path
            result.class_names, item.image = self._class_names, None
            if self._write:
                self._write(item.photo, result)
            item.done.set_result((None, result))
        except BaseException as error:
            self._fail(error)

    # Waiting

    def _check(self):
        if self._stopped.is_set():
            raise self._error or _Stopped

    def _next(self, source):
        while True:
            try:
                return source.get(timeout=_POLL)
            except queue.Empty:
                self._check()

    def _wait(self, future):
        while True:
            try:
                return future.result(timeout=_POLL)
            except FutureTimeout:
                # Of the work itself, or of the waiting.
                if future.done():
                    raise
                self._check()


class _Stopped(Exception):
    """The iteration has ended."""


class _Item:
    """A photo on its way."""

    def __init__(self, index, photo):
        self.index, self.photo, self.done = index, photo, Future()
        self.loaded = self.image = self.molded = self.meta = self.window = None


class _Timed:
    """A detector that adds up the time of its calls."""

    def __init__(self, detector):
        self.detector, self.seconds = detector, 0.0

    def __call__(self, *args):
        start = perf_counter()
        try:
            return self.detector(*args)
        finally:
            self.seconds += perf_counter() - start

    def __getattr__(self, name):
        return getattr(self.detector, name)


def _until_stopped(photos, acquire):
    """Yield the photos, each after `acquire`, so that a frame is read when there is room for it."""
    while True:
        acquire()
        try:
            photo = next(photos)
        except StopIteration:
            return
        yield photo


def _warn(photo, sentence):
    warnings.warn(f"{photo.name} is skipped: {sentence}", stacklevel=2)
