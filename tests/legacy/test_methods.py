"""Subclasses of `MaskRCNN` that replace its methods, as scripts for Matterport's library do."""

import keras
import numpy as np
import pytest

from mrcnn import model as modellib
from mrcnn.legacy.methods import overridden
from tests.inference.test_detect import assert_equal_results
from tests.mini import MiniShapes, mini_config, silent


def make(kind, folder, mode="inference", **settings):
    keras.utils.set_random_seed(3)
    model = kind(mode, mini_config(**settings), str(folder))
    model.keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0, 0.0, 0.0])
    return model


@pytest.fixture
def images(rng):
    return [rng.integers(0, 256, (64, 48 + 8 * i, 3), np.uint8) for i in range(3)]


class Plain(modellib.MaskRCNN):
    pass


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A model without a method of its own; do not change it."""
    return make(Plain, tmp_path_factory.mktemp("logs"))


class Mirrored(modellib.MaskRCNN):
    """The body of the original's `mold_inputs`, with the image turned left to right."""

    seen = ()

    def mold_inputs(self, images):
        self.seen = [*self.seen, len(images)]
        return super().mold_inputs([image[:, ::-1] for image in images])


class Shifted(modellib.MaskRCNN):
    shapes = ()

    def unmold_detections(self, detections, mrcnn_mask, original_image_shape, image_shape, window):
        self.shapes = [
            *self.shapes,
            (np.shape(mrcnn_mask), original_image_shape, image_shape, tuple(window)),
        ]
        boxes, class_ids, scores, masks = super().unmold_detections(
            detections, mrcnn_mask, original_image_shape, image_shape, window
        )
        return boxes + 1000, class_ids, scores, masks


def test_detect_uses_its_mold_inputs(tmp_path, images, plain):
    own = make(Mirrored, tmp_path)
    results = own.detect(images)
    # BATCH_SIZE is 2.
    assert own.seen == [2, 1]
    expected = plain.detect([image[:, ::-1] for image in images])
    # Masks of all classes are not copied for models without a method of their own.
    assert own._detector.all_masks and not plain._detector.all_masks
    for result, want in zip(results, expected, strict=True):
        assert_equal_results(result, want)


def test_detect_uses_its_unmold_detections(tmp_path, images, plain):
    own = make(Shifted, tmp_path)
    results, expected = own.detect(images), plain.detect(images)
    for result, want in zip(results, expected, strict=True):
        assert_equal_results(result, want | {"rois": want["rois"] + 1000})
    # All masks of all classes, and the arguments of the original.
    assert [shapes[0] for shapes in own.shapes] == [(10, 14, 14, 3)] * 3
    assert [shapes[1] for shapes in own.shapes] == [image.shape for image in images]
    windows = [tuple(window) for window in plain.mold_inputs(images)[2]]
    assert [shapes[2:] for shapes in own.shapes] == [((64, 64, 3), window) for window in windows]
    for result, want in zip(
        own.detect(images, mask_format="rle"), plain.detect(images, mask_format="rle"), strict=True
    ):
        assert result["masks"] == want["masks"] and result["masks"]


@pytest.mark.parametrize("place", ["class", "object"])
def test_a_method_that_was_put_in_place_later(plain, monkeypatch, place):
    def mold_inputs(self, images):
        return None

    assert overridden(plain, "mold_inputs") is None
    owner = modellib.MaskRCNN if place == "class" else plain
    monkeypatch.setattr(owner, "mold_inputs", mold_inputs.__get__(plain), raising=True)
    assert overridden(plain, "mold_inputs")([]) is None
    assert overridden(plain, "unmold_detections") is None
    monkeypatch.undo()
    assert overridden(Mirrored.__new__(Mirrored), "mold_inputs")


def test_shapes_that_make_no_batch_are_molded_apart(tmp_path, images):
    settings = {"IMAGE_RESIZE_MODE": "pad64", "IMAGE_MIN_DIM": 64, "IMAGE_MAX_DIM": 128}
    own = make(Mirrored, tmp_path, **settings)
    results = own.detect([images[0], images[0], np.zeros((64, 100, 3), np.uint8), images[1]])
    assert own.seen == [2, 1, 1]
    assert len(results) == 4


class Trainer(modellib.MaskRCNN):
    """Chooses its layers and its optimizer, with the signatures of the original."""

    chosen = compiled = None

    def set_trainable(self, layer_regex, keras_model=None, indent=0, verbose=1):
        self.chosen = layer_regex
        super().set_trainable(r"mrcnn_bbox_fc", keras_model, indent, verbose=0)

    def compile(self, learning_rate, momentum):
        self.compiled = learning_rate, momentum
        self.keras_model.compile(optimizer=keras.optimizers.Adam(learning_rate))


def test_training_uses_its_set_trainable_and_compile(tmp_path):
    model = make(Trainer, tmp_path, "training", STEPS_PER_EPOCH=1, VALIDATION_STEPS=0)
    before = {layer.name: layer.get_weights() for layer in model.get_trainable_layers()}
    history = silent(model.train, MiniShapes(4), None, 0.001, 1, "heads")
    assert np.isfinite(history.history["loss"]).all()
    assert model.chosen == r"(mrcnn\_.*)|(rpn\_.*)|(fpn\_.*)" and model.compiled == (0.001, 0.9)
    assert isinstance(model.keras_model.optimizer, keras.optimizers.Adam)
    changed = {
        layer.name
        for layer in model.get_trainable_layers()
        if any(
            not np.array_equal(old, new)
            for old, new in zip(before[layer.name], layer.get_weights(), strict=True)
        )
    }
    assert changed == {"mrcnn_bbox_fc"}


def test_a_graph_of_its_own_without_the_outputs_is_told(tmp_path, images):
    class Other(modellib.MaskRCNN):
        def build(self, mode, config):
            image = keras.Input((64, 64, 3), name="input_image")
            return keras.Model(image, keras.layers.Conv2D(1, 1, name="score")(image))

    with pytest.raises(ValueError, match="outputs of keras_model named mrcnn_detection and mrcnn_"):
        Other("inference", mini_config(), str(tmp_path)).detect(images)


def test_imagenet_weights_of_its_own(tmp_path, monkeypatch):
    class Own(modellib.MaskRCNN):
        def get_imagenet_weights(self):
            return "my_imagenet.h5"

    model, loaded = make(Own, tmp_path), []
    monkeypatch.setattr(model, "load_weights", lambda path, **_: loaded.append(path))
    model.start_from("imagenet")
    assert loaded == ["my_imagenet.h5"]


def test_functions_that_servers_made_beforehand(plain, images):
    for name in ("predict", "test", "train"):
        assert getattr(plain.keras_model, f"_make_{name}_function")() is None
    assert len(plain.detect(images)) == 3


def test_the_pair_of_find_last(tmp_path):
    model = make(Plain, tmp_path)
    folder = tmp_path / "mini20180101T0000"
    folder.mkdir()
    model.keras_model.save_weights(str(folder / "mask_rcnn_mini_0004.h5"))
    assert model.find_last() == str(folder / "mask_rcnn_mini_0004.h5")
    assert model.find_last()[0] == str(folder)
    model.load_weights(model.find_last()[1], by_name=True)
    assert model.epoch == 4
