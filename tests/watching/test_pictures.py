"""Pictures of detections in TensorBoard's files; the epochs are played."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.training import fit
from mrcnn.watching.pictures import DetectionPictures
from tests.mini import MiniShapes


@pytest.fixture
def log_dir(tmp_path):
    return str(tmp_path)


def play(callback, epochs=2, change=lambda epoch: None):
    """Tell a callback of a run of so many epochs."""
    callback.on_train_begin()
    for epoch in range(epochs):
        callback.on_epoch_begin(epoch)
        change(epoch)
        callback.on_epoch_end(epoch, {})
    callback.on_train_end()


def pictures(log_dir):
    """Dict from a tag to a list of (step, picture [height, width, 3], description)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(f"{log_dir}/validation/pictures").Reload()
    found = {}
    for tag in events.Tags()["tensors"]:
        about = events.SummaryMetadata(tag).summary_description
        # An image summary is its width and height, and then files, here PNG.
        found[tag] = [
            (event.step, tf.io.decode_png(event.tensor_proto.string_val[2]).numpy(), about)
            for event in events.Tensors(tag)
        ]
    return found


class Detector:
    """Finds, in every image, what it is told to find next."""

    def __init__(self, *found):
        self.found, self.images = list(found), []

    def __call__(self):
        """Stands for the function that makes a detector, too."""
        return self

    def detect(self, images, mask_format):
        assert mask_format == "rle"
        self.images += images
        found = self.found.pop(0)
        if isinstance(found, Exception):
            raise found
        return [found]


NOTHING = {
    "rois": np.zeros((0, 4), np.int32),
    "class_ids": np.zeros(0, np.int32),
    "scores": np.zeros(0, np.float32),
    "masks": [],
}


@pytest.mark.parametrize("mode, used", [("square", "square"), ("crop", "pad64")])
def test_whole_images_are_looked_at(model, monkeypatch, mode, used):
    """In "crop" training sees a random part of an image, and detection nothing at all."""
    given = {}

    def keep(*args, **options):
        given.update(options)
        return keras.callbacks.History()

    monkeypatch.setattr(fit, "train", keep)
    model.config.IMAGE_RESIZE_MODE = mode
    model.train(MiniShapes(1), None, 0.1, 1, "all")
    detector = given["make_detector"]()
    assert (detector.mode, detector.config.IMAGE_RESIZE_MODE) == ("inference", used)
    assert model.config.IMAGE_RESIZE_MODE == mode


def test_same_images_every_epoch(log_dir):
    detector, dataset = Detector(*[NOTHING] * 4), MiniShapes(8)
    play(DetectionPictures(dataset, detector, log_dir, count=2))
    # Two of eight, at equal distances.
    for seen, image_id in zip(detector.images, [0, 4, 0, 4], strict=True):
        np.testing.assert_array_equal(seen, dataset.load_image(image_id))
    found = pictures(log_dir)
    assert set(found) == {"detections/0", "detections/1"}
    for shown, image_id in zip(found.values(), (0, 4), strict=True):
        assert [step for step, *_ in shown] == [0, 1]
        for _, picture, about in shown:
            assert about.startswith(f"image {image_id} (photo{image_id}.png): ground truth left")
            # From 64 x 64 to 512 x 512, twice, with a gap between and a heading above.
            assert picture.shape == (45 + 512, 512 + 10 + 512, 3)
            picture = picture[45:]
            # Nothing was found, so the right one is the image itself, eight times as large.
            small = picture[:, -512:].reshape(64, 8, 64, 8, 3).mean(axis=(1, 3))
            difference = np.abs(small - dataset.load_image(image_id))
            assert difference.mean() < 12
            assert np.abs(picture[:, :512].astype(int) - picture[:, -512:]).max() > 50


def test_what_is_detected_is_painted_at_the_right(log_dir):
    from pycocotools import mask as coco_mask

    mask = np.zeros((64, 64), np.uint8, order="F")
    mask[32:, :32] = 1
    detected = {
        "rois": np.array([[32, 0, 64, 32]] * 2, np.int32),
        "class_ids": np.array([1, 2], np.int32),
        "scores": np.array([0.9, 0.4], np.float32),
        "masks": [coco_mask.encode(mask)] * 2,
    }
    data = MiniShapes(1)
    data.load_image = lambda image_id: np.zeros((64, 64, 3), np.uint8)
    play(DetectionPictures(data, Detector(detected, NOTHING), log_dir, count=1))
    first, second = (picture[45:] for _, picture, _ in pictures(log_dir)["detections/0"])
    np.testing.assert_array_equal(first[:, :512], second[:, :512])
    assert second[:, 522:].max() == 0
    assert first[:200, 522:].max() == first[300:, 800:].max() == 0
    # The first class, #1e87f0, by 35 %: (10.5, 47.25, 84). Over it the second, #ff871e, in the same
    # way: 35 % of it, and 65 % of (10, 47, 84).
    assert first[400, 600].tolist() == [95, 77, 65]


def test_detections_are_those_of_the_weights_in_training(model, log_dir):
    bias = model.keras_model.get_layer("mrcnn_class_logits").bias

    def change(epoch):
        # Everything is background in the first epoch and a square in the second.
        bias.assign([99.0, 0, 0] if epoch == 0 else [0, 99.0, 0])

    play(DetectionPictures(MiniShapes(2), model.inference_model, log_dir, count=1), change=change)
    (_, first, _), (_, second, _) = pictures(log_dir)["detections/0"]
    np.testing.assert_array_equal(first[45:, :520], second[45:, :520])
    # The colour of the class, as the edge of a box.
    for picture, seen in ((first, False), (second, True)):
        assert (picture[45:, 522:] == (0x1E, 0x87, 0xF0)).all(axis=-1).any() == seen


def test_image_without_instances(log_dir):
    play(DetectionPictures(MiniShapes(1, empty=[0]), Detector(NOTHING), log_dir, 1), epochs=1)
    ((_, picture, _),) = pictures(log_dir)["detections/0"]
    np.testing.assert_array_equal(picture[45:, :512], picture[45:, 522:])


@pytest.mark.parametrize("broken", ["image", "memory", "graph"])
def test_failure_ends_the_pictures_and_not_the_training(log_dir, broken):
    error = tf.errors.ResourceExhaustedError(None, None, "no memory\nfor a tensor")
    detector = Detector(NOTHING, error, NOTHING)
    data = MiniShapes(2)
    if broken == "image":
        detector = Detector(NOTHING, NOTHING)
        masks = iter([data.load_mask(0)])
        data.load_mask = lambda image_id: next(masks)
    elif broken == "graph":

        def detector():
            raise ValueError("no graph")

    callback = DetectionPictures(data, detector, log_dir, count=1)
    reason = {
        "image": "StopIteration in epoch 2 ()",
        "memory": "ResourceExhaustedError in epoch 2 (no memory)",
        "graph": "ValueError in epoch 1 (no graph)",
    }[broken]
    with pytest.warns(UserWarning) as warned:
        play(callback, epochs=4)
    (warning,) = warned
    assert reason in str(warning.message)
    assert "TENSORBOARD_IMAGES = 0" in str(warning.message)
    if broken != "graph":
        assert [step for step, *_ in pictures(log_dir)["detections/0"]] == [0]


def test_writer_is_closed(log_dir):
    callback = DetectionPictures(MiniShapes(2), Detector(*[NOTHING] * 4), log_dir, count=1)
    play(callback, epochs=1)
    assert callback._writer is None
    # Another stage of training uses it again.
    play(callback, epochs=2)
    assert callback._writer is None


def test_scalars_beside_them_can_be_followed(log_dir):
    """Of two files in one folder, TensorBoard would follow one."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    writer = tf.summary.create_file_writer(f"{log_dir}/validation")
    callback = DetectionPictures(MiniShapes(2), Detector(*[NOTHING] * 2), log_dir, count=1)
    events, seen = EventAccumulator(f"{log_dir}/validation"), []

    def write(epoch):
        with writer.as_default(step=epoch):
            tf.summary.scalar("epoch_loss", 1.0)
        writer.flush()
        seen.append(len(events.Reload().Tensors("epoch_loss")))

    play(callback, change=write)
    writer.close()
    assert seen == [1, 2]


@pytest.mark.parametrize(("images", "count"), [(0, 1), (2, 0)])
def test_no_pictures(images, count):
    with pytest.raises(ValueError, match="no images to evaluate|limit is 0"):
        DetectionPictures(MiniShapes(images), Detector(), "logs", count)
