"""Drawing of batches in a thread, so that Ctrl-C ends the wait for them."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from mrcnn.data.interruptible import interruptible
from mrcnn.data.pipeline import make_dataset


def test_items_errors_and_the_end_arrive_in_order():
    drawn = []

    def source(error):
        for number in range(3):
            drawn.append(number)
            yield number
        if error:
            raise error

    items = interruptible(source(None))
    assert next(items) == 0
    time.sleep(0.05)
    # Nothing is drawn before it is asked for.
    assert drawn == [0]
    assert list(items) == [1, 2]
    error = KeyError("broken")
    items = interruptible(source(error))
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError) as caught:
        next(items)
    assert caught.value is error


def test_the_thread_ends_with_the_iteration():
    before = set(threading.enumerate())
    items = interruptible(iter(range(9)))
    next(items)
    (thread,) = [each for each in set(threading.enumerate()) - before if each.name == "batches"]
    items.close()
    thread.join(5)
    assert not thread.is_alive()


def test_ctrl_c_ends_the_wait_for_a_stalled_image(tiny_config, tiny_dataset):
    released, load_image = threading.Event(), tiny_dataset.load_image

    def stalled(image_id):
        if threading.current_thread() is not threading.main_thread():
            # A thread of the pipeline. The time bounds the test should the wait go on.
            released.wait(20)
        return load_image(image_id)

    tiny_dataset.load_image = stalled
    batches = iter(make_dataset(tiny_dataset, tiny_config, seed=0, num_parallel_calls=1))
    timer = threading.Timer(1, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    start = time.monotonic()
    # A shell makes its background jobs ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            next(batches)
        assert time.monotonic() - start < 10
    finally:
        signal.signal(signal.SIGINT, before)
        timer.cancel()
        released.set()


def test_the_batches_are_those_of_the_dataset(tiny_config, tiny_dataset):
    data = make_dataset(tiny_dataset, tiny_config, seed=0, repeat=False)
    ours, theirs = list(data), list(data.dataset)
    assert len(ours) == len(theirs) == 8
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one["input_image"], other["input_image"])
