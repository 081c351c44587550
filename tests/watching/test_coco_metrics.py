"""AP in the logs of an epoch; the steps are played, detection is not."""

import csv

import keras
import pytest
import tensorflow as tf

from mrcnn.callbacks import CocoMetrics
from mrcnn.evaluation.dataset_metrics import compute_coco_metrics
from mrcnn.model import MaskRCNN
from mrcnn.watching import coco_metrics
from tests.mini import MiniShapes, mini_config

NAMES = ("val_mAP", "val_mAP50", "val_mask_mAP", "val_mask_mAP50")


@pytest.fixture
def train(model):
    """A function: trains `epochs` epochs with callbacks and without validation losses."""

    def run(*callbacks, epochs=3):
        return model.train(
            MiniShapes(2), None, 0.1, epochs, "all", custom_callbacks=list(callbacks)
        ).history

    return run


@pytest.fixture
def played(monkeypatch):
    """A function: has evaluations find these APs in turn, and returns the list of their models."""

    def make(*values):
        values, models = list(values), []

        class Stats:
            def __init__(self, value):
                self.stats = {"AP": value, "AP50": value + 0.125}

        class Metrics:
            def __init__(self, value):
                self.bbox, self.segm = Stats(value), Stats(value / 2)

        def compute(dataset, model, *args, **kwargs):
            models.append(model)
            return Metrics(values.pop(0))

        monkeypatch.setattr(coco_metrics, "compute_coco_metrics", compute)
        return models

    return make


def test_values_are_those_of_a_model_with_the_checkpoint_of_the_epoch(model, train, scripted):
    """The weights change in every epoch, and the callback sees the same as who loads them."""
    scripted()
    data = MiniShapes(4, seed=3)
    bias = model.keras_model.get_layer("mrcnn_class_logits").bias

    def change(epoch, logs):
        bias.assign([-9.0, 9.0 * epoch, 1.0])

    # The objects are what a model with the weights of the first epoch finds.
    change(0, {})
    found = model.inference_model().detect([data.load_image(i) for i in range(4)])
    data.load_mask = lambda i: (found[i]["masks"], found[i]["class_ids"])
    bias.assign([9.0, 0.0, 0.0])

    seen = []
    callback = CocoMetrics(data, model, limit=3, verbose=0)
    keep = keras.callbacks.LambdaCallback(
        on_epoch_begin=change, on_epoch_end=lambda epoch, logs: seen.append(callback.metrics)
    )
    history = train(callback, keep, epochs=2)
    own = MaskRCNN("inference", model.config, model.model_dir)
    for epoch, metrics in enumerate(seen):
        own.keras_model.load_weights(model.checkpoint_path.replace("*epoch*", f"{epoch + 1:04d}"))
        expected = compute_coco_metrics(data, own, limit=3, verbose=0)
        assert metrics.results == expected.results
        figures = (expected.bbox.stats, expected.segm.stats)
        expected = [stats[name] for stats in figures for name in ("AP", "AP50")]
        assert [history[name][epoch] for name in NAMES] == expected
    assert history["val_mAP"][0] > 0.9 > 0.6 > history["val_mAP"][1]
    weights = model.keras_model.weights
    assert {id(w) for w in callback._detector.keras_model.weights} == {id(w) for w in weights}


def test_every_second_epoch(train, scripted, played):
    scripted()
    models = played(0.25, 0.5, 0.75)
    callback = CocoMetrics(MiniShapes(4), None, every=2, verbose=0)
    callback.mask_rcnn = Twin()
    history = train(callback, epochs=5)
    # The first epoch, the second and the fourth; what comes between repeats.
    assert history["val_mAP"] == [0.25, 0.5, 0.5, 0.75, 0.75]
    assert history["val_mask_mAP50"] == [0.25, 0.375, 0.375, 0.5, 0.5]
    assert len(models) == 3
    # The same graph each time.
    assert len(set(map(id, models))) == 1


class Twin:
    """Stands for the MaskRCNN that a callback asks for a detector."""

    def __init__(self):
        self.configs = []

    def inference_model(self, config=None):
        self.configs.append(config)
        return object()


def test_other_callbacks_see_the_values_wherever_it_is_listed(
    model, train, scripted, played, tmp_path
):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    scripted()
    played(0.25, 0.75, 0.5, 0.5)
    metrics = CocoMetrics(MiniShapes(4), Twin(), verbose=0)
    best = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "{epoch:02d}.weights.h5"),
        "val_mask_mAP",
        mode="max",
        save_best_only=True,
        save_weights_only=True,
    )
    stop = keras.callbacks.EarlyStopping("val_mAP50", mode="max", patience=2)
    history = train(stop, best, keras.callbacks.CSVLogger(tmp_path / "log.csv"), metrics, epochs=9)
    assert history["val_mAP50"] == [0.375, 0.875, 0.625, 0.625]
    assert sorted(path.name for path in tmp_path.glob("*.h5")) == [
        "01.weights.h5",
        "02.weights.h5",
    ]
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [float(row["val_mask_mAP"]) for row in rows] == [0.125, 0.375, 0.25, 0.25]
    events = EventAccumulator(f"{model.log_dir}/validation").Reload().Tensors("epoch_mAP")
    assert [tf.make_ndarray(event.tensor_proto) for event in events] == [0.25, 0.75, 0.5, 0.5]


def test_boxes_alone_with_another_config(train, scripted, played):
    scripted()
    played(0.25)
    twin, config = Twin(), mini_config(DETECTION_MIN_CONFIDENCE=0.05)
    callback = CocoMetrics(MiniShapes(4), twin, iou_types=["bbox"], config=config, verbose=0)
    history = train(callback, epochs=1)
    assert set(history) & set(NAMES) == {"val_mAP", "val_mAP50"}
    assert twin.configs == [config]


def test_the_second_stage_uses_the_same_detector(train, scripted, played):
    scripted()
    models = played(0.25, 0.5)
    callback = CocoMetrics(MiniShapes(4), Twin(), verbose=0)
    train(callback, epochs=1)
    history = train(callback, epochs=2)
    assert history["val_mAP"] == [0.5]
    assert models[0] is models[1]


def test_checkpoint_is_written_before_an_evaluation_that_fails(model, train, scripted, monkeypatch):
    scripted()

    def fail(*args, **kwargs):
        raise OSError("photo1.png is damaged")

    monkeypatch.setattr(coco_metrics, "compute_coco_metrics", fail)
    with pytest.raises(OSError, match="photo1.png"):
        train(CocoMetrics(MiniShapes(4), Twin(), verbose=0))
    assert model.find_last().endswith("_0001.h5")
    assert model.epoch == 1


def test_what_cannot_be_evaluated_is_refused_before_training(train, scripted):
    steps = scripted()
    with pytest.raises(ValueError, match="every is 0"):
        CocoMetrics(MiniShapes(2), Twin(), every=0)
    with pytest.raises(ValueError, match="no images to evaluate"):
        CocoMetrics(MiniShapes(0), Twin())
    empty = CocoMetrics(MiniShapes(4, empty=[1, 3]), Twin(), image_ids=[1, 3])
    with pytest.raises(ValueError, match="the 2 images have no objects"):
        train(empty)
    assert steps.trained == []
