"""A stream of photos, with a network, photos and writers of known behaviour."""

import random
import threading
import time
import weakref
from functools import partial

import numpy as np
import pytest

from mrcnn.inference import stream as streaming
from mrcnn.inference.sources import Photo
from mrcnn.inference.stream import Stream
from tests.mini import mini_config

# Of the threads that a stream starts.
_THREADS = ("photos", "network", "reader", "writer")


@pytest.fixture(autouse=True)
def _short_polls(monkeypatch):
    """An error is seen after this time."""
    monkeypatch.setattr(streaming, "_POLL", 0.02)


class FakeNetwork:
    """Finds one square in each photo, whose score is the colour of the photo / 255.

    Args:
        wait: function of the list of colours, called with each batch.
    """

    def __init__(self, wait=lambda colors: None):
        self.wait, self.batches = wait, []

    def __call__(self, molded, metas):
        mean = mini_config().MEAN_PIXEL[0]
        colors = np.round(molded[..., 0].max((1, 2)) + mean).astype(int).tolist()
        self.batches.append(colors)
        self.wait(colors)
        detections = np.zeros((len(molded), 10, 6), np.float32)
        detections[:, 0, :4], detections[:, 0, 4] = (0.2, 0.2, 0.8, 0.8), 1
        detections[:, 0, 5] = np.array(colors) / 255
        masks = np.ones((len(molded), 10, 14, 14), np.float32)
        return detections, masks, np.ones(len(molded), np.float32)


def photo_of(color, size=(64, 64), load=None):
    def full():
        return np.full((*size, 3), color, np.uint8)

    return Photo(f"{color}.png", str(color), load or full, f"{color}.png")


def damaged(color):
    def load():
        raise OSError(f"{color}.png is damaged")

    return photo_of(color, load=load)


def stream_of(photos, network=None, **options):
    config = mini_config(IMAGE_RESIZE_MODE="pad64", IMAGE_MAX_DIM=192)
    return Stream(network or FakeNetwork(), photos, config, **{"workers": 2, **options})


def colors_of(results):
    return [int(result.path.removesuffix(".png")) for result in results]


def our_threads():
    return [t.name for t in threading.enumerate() if t.name.startswith(_THREADS)]


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (1, 4), (3, 3)])
def test_order_and_completeness_under_random_delays(batch, workers):
    random.seed(batch)

    def delayed(function, *args):
        time.sleep(random.random() * 0.004)
        return function(*args)

    def slow_photo(color):
        photo = photo_of(color, random.choice([(64, 64), (64, 128), (60, 30)]))
        return photo._replace(load=partial(delayed, photo.load))

    written, count = [], 80
    stream = stream_of(
        map(slow_photo, range(1, count + 1)),
        FakeNetwork(partial(delayed, list)),
        batch=batch,
        workers=workers,
        write=lambda photo, result: delayed(written.append, photo.name),
    )
    found = list(stream)
    assert colors_of(found) == list(range(1, count + 1))
    assert sorted(written) == sorted(f"{color}.png" for color in range(1, count + 1))
    # Each photo has its own detections.
    scores = [result["scores"][0] * 255 for result in found]
    np.testing.assert_allclose(scores, range(1, count + 1), rtol=1e-5)
    assert all(result.image[0, 0, 0] == i for i, result in enumerate(found, start=1))
    assert stream.done == count and our_threads() == []


def test_batches_have_one_shape_and_do_not_depend_on_time():
    sizes = [(64, 64), (64, 128)]
    # By colour: 1, 3, 5, ... are square.
    photos = [photo_of(color, sizes[(color + 1) % 2]) for color in range(1, 10)]
    networks = FakeNetwork(), FakeNetwork(lambda colors: time.sleep(0.003))
    for network in networks:
        assert colors_of(stream_of(photos, network, batch=3)) == list(range(1, 10))
    assert networks[0].batches == networks[1].batches == [[1, 3, 5], [2, 4, 6], [7, 9], [8]]


def test_a_photo_of_a_rare_size_does_not_wait_for_others_of_its_size():
    network = FakeNetwork()
    photos = [photo_of(1, (64, 128)), *(photo_of(color) for color in range(2, 12))]
    list(stream_of(photos, network, batch=2))
    # Four batches are how long it waits: photos 1 to 8.
    assert network.batches == [[2, 3], [4, 5], [6, 7], [1], [8, 9], [10, 11]]


def test_photos_in_memory_are_bounded():
    alive, most, drawn = 0, 0, 0
    lock = threading.Lock()

    def count(change):
        nonlocal alive, most
        with lock:
            alive += change
            most = max(alive, most)

    def load(color):
        image = np.full((64, 64, 3), color, np.uint8)
        count(1)
        weakref.finalize(image, count, -1)
        return image

    def photos():
        nonlocal drawn
        for color in range(1, 101):
            drawn += 1
            yield photo_of(color, load=partial(load, color))

    stream = stream_of(photos(), batch=2, workers=3)
    for number, _ in enumerate(stream, start=1):
        time.sleep(0.001)
        assert drawn <= number - 1 + stream.most_alive
    assert number == 100
    # The last result is still in the hands of the loop when the next is taken.
    assert 3 < most <= stream.most_alive + 1 <= 18
    assert stream.most_alive == 4 * 2 + 2 + 2 * 3


def test_reading_and_writing_happen_while_the_network_works():
    loaded, written = ({color: threading.Event() for color in range(1, 11)} for _ in range(2))
    overlapped = []

    def load(color):
        loaded[color].set()
        return np.full((64, 64, 3), color, np.uint8)

    def network(colors):
        (color,) = colors
        # A stream that does one thing after the other would wait in vain.
        ahead = color == 10 or loaded[color + 1].wait(5)
        overlapped.append(ahead and (color == 1 or written[color - 1].wait(5)))

    photos = [photo_of(color, load=partial(load, color)) for color in range(1, 11)]
    stream = stream_of(
        photos, FakeNetwork(network), batch=1, write=lambda p, _: written[int(p.stem)].set()
    )
    assert len(list(stream)) == 10
    assert overlapped == [True] * 10


def test_busy_is_the_share_of_the_network():
    def seconds(network, load):
        def slow(color):
            time.sleep(load)
            return np.full((64, 64, 3), color, np.uint8)

        photos = [photo_of(color, load=partial(slow, color)) for color in range(1, 11)]
        stream = stream_of(photos, FakeNetwork(lambda _: time.sleep(network)), batch=1, workers=2)
        list(stream)
        return stream.busy

    assert stream_of([]).busy == 0
    # Two readers: 10 ms per photo, hidden behind 20 ms; in the second case they are the limit.
    assert 0.6 < seconds(0.02, 0.01) <= 1
    assert seconds(0.002, 0.03) < 0.4


def test_unreadable_photos_are_named_and_skipped_in_order():
    photos = [damaged(1), photo_of(2), photo_of(3), damaged(4), photo_of(5, (0, 4)), photo_of(6)]
    told = []
    stream = stream_of(photos, batch=2, on_skip=lambda photo, text: told.append((photo.name, text)))
    assert colors_of(stream) == [2, 3, 6]
    assert told == stream.skipped
    assert [name for name, _ in told] == ["1.png", "4.png", "5.png"]
    assert told[0][1] == "1.png is damaged"
    assert "5.png has shape (0, 4, 3)" in told[2][1]
    assert stream.done == 3


def test_unreadable_photos_are_warned_of():
    with pytest.warns(UserWarning, match=r"1\.png is skipped: 1\.png is damaged"):
        assert list(stream_of([damaged(1)])) == []


def test_many_unreadable_photos_do_not_stop_a_batch_that_is_not_full():
    photos = [photo_of(1), *map(damaged, range(2, 120)), photo_of(120)]
    stream = stream_of(photos, batch=4, on_skip=lambda *_: None)
    assert colors_of(stream) == [1, 120]
    assert len(stream.skipped) == 118


class Broken(Exception):
    """Raised on purpose."""


def fail_at(color, value):
    if value == color:
        raise Broken


@pytest.mark.parametrize("place", ["network", "write", "photos", "load"])
def test_an_error_ends_the_stream_and_its_threads(place):
    fails = partial(fail_at, 5)

    def photos():
        for color in range(1, 100):
            if place == "photos":
                fails(color)

            def load(color=color):
                if place == "load":
                    fails(color)
                return np.full((64, 64, 3), color, np.uint8)

            yield photo_of(color, load=load)

    network = FakeNetwork(lambda colors: fails(colors[0]) if place == "network" else None)
    stream = stream_of(
        photos(),
        network,
        batch=1,
        write=lambda photo, _: fails(int(photo.stem)) if place == "write" else None,
    )
    with pytest.raises(Broken):
        list(stream)
    assert stream.done <= 4 and our_threads() == []


def test_ctrl_c_ends_the_threads_once_they_have_written_what_they_write():
    begun, ended = [], []

    def write(photo, result):
        begun.append(photo.name)
        time.sleep(0.01)
        ended.append(photo.name)

    stream = stream_of(map(photo_of, range(1, 200)), batch=1, write=write)
    pairs = stream.pairs()
    photo, _ = next(pairs)
    with pytest.raises(KeyboardInterrupt):
        pairs.throw(KeyboardInterrupt)
    assert photo.name == "1.png"
    assert sorted(begun) == sorted(ended) and 1 <= len(begun) < 30
    assert our_threads() == []


def test_detection_of_one_photo_in_several_calls():
    network, images = FakeNetwork(), []

    def alone(detector, image, name):
        if name == "4.png":
            raise ValueError("4.png is refused")
        images.append(image[0, 0, 0])
        molded = np.full((1, 64, 64, 3), float(image[0, 0, 0]) - mini_config().MEAN_PIXEL[0])
        detector(molded, np.zeros((1, 15)))
        detector(molded, np.zeros((1, 15)))
        return FakeResult()

    class FakeResult(dict):
        pass

    # 50 pixels: no size of the network.
    photos = [photo_of(1, (50, 50)), damaged(2), photo_of(3), photo_of(4)]
    stream = stream_of(photos, network, alone=alone, on_skip=lambda *_: None)
    assert colors_of(stream) == [1, 3]
    assert [sentence for _, sentence in stream.skipped] == ["2.png is damaged", "4.png is refused"]
    assert images == [1, 3] and network.batches == [[1], [1], [3], [3]]
    assert stream.busy > 0


@pytest.mark.parametrize("name", ["batch", "workers"])
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 0; it must be 1 or more"):
        stream_of([], **{name: 0})


def test_unknown_mask_format():
    with pytest.raises(ValueError, match='mask_format is "polygon"'):
        stream_of([], mask_format="polygon")
