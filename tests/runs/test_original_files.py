"""Files of the original, without settings: what their layers show, and their class names."""

import h5py
import keras
import numpy as np
import pytest

from mrcnn.backbones.resnet import block_letters
from mrcnn.config import SmallConfig
from mrcnn.mask_rcnn import MaskRCNN
from mrcnn.runs.imported import original_config
from mrcnn.weights import matterport
from mrcnn.weights.coco_names import class_names as coco_names
from mrcnn.weights.start import CLASS_LAYERS
from tests.mini import silent

# What a file does not show.
OWN = {
    "BACKBONE": "small",
    "TRAIN_BN": None,
    "IMAGE_MIN_DIM": 64,
    "IMAGE_MAX_DIM": 64,
    "MASK_POOL_SIZE": 7,
    "MASK_SHAPE": [14, 14],
    "GPU_COUNT": 1,
    "IMAGES_PER_GPU": 1,
}


class CocoConfig(SmallConfig):
    NAME = "coco"
    NUM_CLASSES = 81
    TOP_DOWN_PYRAMID_SIZE = 16
    FPN_CLASSIF_FC_LAYERS_SIZE = 24


for _name, _value in OWN.items():
    setattr(CocoConfig, _name, _value)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return silent(MaskRCNN, "inference", CocoConfig(), str(tmp_path_factory.mktemp("logs")))


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    """A file with the layers of the original alone."""
    path = tmp_path_factory.mktemp("files") / "mask_rcnn_coco.h5"
    matterport.save(model.keras_model, path)
    with h5py.File(path) as file:
        assert not any(name.startswith("mrcnn_") for name in file.attrs)
    return path


def test_from_weights(path, model, capsys):
    found = MaskRCNN.from_weights(path, **OWN)
    assert found.class_names == coco_names(81) and found.class_names[1:3] == ["person", "bicycle"]
    config = found.config
    assert (config.NAME, config.NUM_CLASSES) == ("coco", 81)
    assert (config.TOP_DOWN_PYRAMID_SIZE, config.FPN_CLASSIF_FC_LAYERS_SIZE) == (16, 24)
    pairs = zip(found.keras_model.weights, model.keras_model.weights, strict=True)
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, theirs)


def test_load_weights_names_the_classes(path, model, capsys):
    assert model.class_names is None
    # Without the class layers, the classes are not those of the file.
    with pytest.warns(UserWarning, match="keep their random weights"):
        model.load_weights(path, exclude=CLASS_LAYERS)
    assert model.class_names is None
    model.load_weights(path)
    assert model.class_names == coco_names(81)
    # And files written from now on name them.
    assert "traffic light" in model.keras_model.metadata["class_names"]


def saved(path, blocks, *layers):
    """Write a file with so many blocks in stage 4, and layers of other sizes."""
    x = keras.Input([4])
    names = [f"res4{block_letters(number)}_branch2a" for number in range(blocks)]
    outputs = [keras.layers.Dense(2, name=name)(x) for name in names]
    outputs += [keras.layers.Dense(units, name=name)(x) for name, units in layers]
    matterport.save(keras.Model(x, outputs), path)
    return path


@pytest.mark.parametrize(
    ("blocks", "backbone"), [(6, "resnet50"), (23, "resnet101"), (36, "resnet152")]
)
def test_resnets_by_their_blocks(tmp_path, blocks, backbone):
    layers = [("mrcnn_class_logits", 5), ("fpn_c5p5", 64), ("mrcnn_class_conv1", 32)]
    path = saved(tmp_path / "mask_rcnn_my-cells.h5", blocks, *layers)
    config = original_config(path)
    assert (config.BACKBONE, config.NUM_CLASSES, config.NAME) == (backbone, 5, "my_cells")
    assert (config.TOP_DOWN_PYRAMID_SIZE, config.FPN_CLASSIF_FC_LAYERS_SIZE) == (64, 32)


def test_files_that_show_too_little(tmp_path):
    path = saved(tmp_path / "x.h5", 2, ("mrcnn_class_logits", 3))
    with pytest.raises(ValueError, match="its layers do not show BACKBONE; make a MaskRCNN"):
        original_config(path)
    assert original_config(path, BACKBONE="small").NUM_CLASSES == 3
    path = saved(tmp_path / "y.h5", 6)
    with pytest.raises(ValueError, match="do not show NUM_CLASSES"):
        MaskRCNN.from_weights(path)


def test_sizes_that_would_fill_the_memory(tmp_path):
    """The first layer alone would have 49 * 256 * 2**20 weights, and the file has none of them."""
    path = saved(tmp_path / "x.h5", 6, ("mrcnn_class_logits", 3))
    with h5py.File(path, "a") as file:
        group = file.create_group("mrcnn_class_conv1")
        group.create_dataset("kernel:0", shape=(1, 1 << 20), dtype="f4", chunks=(1, 1 << 10))
        group.attrs["weight_names"] = np.array([b"kernel:0"])
        names = list(file.attrs["layer_names"]) + [b"mrcnn_class_conv1"]
        file.attrs["layer_names"] = np.array(names)
    with pytest.raises(ValueError, match="ask for heads with .* GB of weights"):
        original_config(path)


def test_own_files_are_no_files_of_the_original(tmp_path, model):
    model.keras_model.save_weights(tmp_path / "own.h5")
    assert original_config(tmp_path / "own.h5") is None
