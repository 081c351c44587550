"""Settings as JSON in a run and in weight files, and Configs made from them."""

import json
from types import SimpleNamespace

import h5py
import keras
import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.recipes import matterport
from mrcnn.runs.run import Run
from mrcnn.runs.settings import as_metadata, describe, make_config, read_config, read_facts
from mrcnn.weights.keras_model import CheckpointModel
from tests.mini import mini_backbone, mini_backbone_shapes, mini_config

SMALL = {"BACKBONE": "small", "COMPUTE_BACKBONE_SHAPE": None}


class OwnConfig(Config):
    """Settings of every kind of value."""

    NAME = "own"
    NUM_CLASSES = 1 + 4
    IMAGE_CHANNEL_COUNT = 4
    IMAGE_MIN_DIM = np.int64(128)
    IMAGE_MAX_DIM = 256
    MEAN_PIXEL = np.array([1.1, 2.2, 3.3, 4.4], np.float32)
    RPN_ANCHOR_SCALES = [8, 16, 32, 64, 128]
    LEARNING_RATE_DECAY_EPOCHS = (2, 4)
    LOSS_WEIGHTS = {"rpn_class_loss": 2.0}
    OPTIMIZER = keras.optimizers.AdamW(0.5, beta_1=0.75)
    OWN_CONSTANT = {"folder": "x", "sizes": [1, None, True]}


def stored(config, tmp_path, class_names=None):
    """The facts of a config as they come back from `config.json`."""
    run = Run(tmp_path, "own")
    run.write_config(describe(config, class_names))
    # A file of Keras's own, which holds no facts.
    (tmp_path / "w.keras").write_bytes(b"PK")
    return read_facts(tmp_path / "w.keras")


def test_config_comes_back(tmp_path):
    expected = OwnConfig()
    found = make_config(stored(expected, tmp_path)["config"])
    assert type(found) is Config
    found.validate()
    ours, theirs = found.to_dict(), expected.to_dict()
    assert ours.keys() == theirs.keys()
    optimizers = ours.pop("OPTIMIZER"), theirs.pop("OPTIMIZER")
    for name, value in theirs.items():
        np.testing.assert_equal(ours[name], list(value) if name == "RPN_ANCHOR_SCALES" else value)
    assert [type(o) for o in optimizers] == [keras.optimizers.AdamW] * 2
    assert optimizers[0].get_config() == optimizers[1].get_config()
    assert (found.MEAN_PIXEL.dtype, found.RPN_BBOX_STD_DEV.dtype) == (np.float32, np.float64)
    # Tuples where the default is one.
    assert (found.RPN_ANCHOR_SCALES, found.LEARNING_RATE_DECAY_EPOCHS) == (
        (8, 16, 32, 64, 128),
        (2, 4),
    )


def test_computed_settings_follow_unless_they_were_assigned(tmp_path):
    config = OwnConfig()
    config.IMAGES_PER_GPU = 3
    settings = stored(config, tmp_path)["config"]
    assert settings["BATCH_SIZE"] == 3
    assert make_config(settings, IMAGES_PER_GPU=5).BATCH_SIZE == 5
    config.BATCH_SIZE = 7
    found = make_config(stored(config, tmp_path)["config"], IMAGE_MAX_DIM=512)
    assert (found.BATCH_SIZE, found.IMAGE_SHAPE.tolist()) == (7, [512, 512, 4])


def test_functions_have_to_be_given(tmp_path):
    settings = stored(mini_config(), tmp_path)["config"]
    assert settings["BACKBONE"] == {"function": "tests.mini.mini_backbone"}
    with pytest.raises(ValueError) as error:
        make_config(settings)
    assert str(error.value) == (
        "A file cannot hold functions, and this model was made with tests.mini.mini_backbone, "
        "tests.mini.mini_backbone_shapes; pass BACKBONE=mini_backbone, "
        "COMPUTE_BACKBONE_SHAPE=mini_backbone_shapes as well."
    )
    with pytest.raises(ValueError, match="pass BACKBONE=mini_backbone as well"):
        make_config(settings, COMPUTE_BACKBONE_SHAPE=mini_backbone_shapes)
    given = {"BACKBONE": mini_backbone, "COMPUTE_BACKBONE_SHAPE": mini_backbone_shapes}
    assert make_config(settings, **given).BACKBONE is mini_backbone


def test_facts_beside_the_settings(tmp_path):
    facts = stored(OwnConfig(), tmp_path, ["BG", "nucleus"])
    assert facts["class_names"] == ["BG", "nucleus"]
    assert facts["versions"]["keras"] == keras.__version__
    assert facts["versions"].keys() == {"mrcnn", "keras", "tensorflow", "numpy"}
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "w.keras"}


def test_weight_file_of_2000_classes(tmp_path):
    """HDF5 gives an attribute 64 KB; these names take more than twice as much."""
    x = keras.Input([1])
    model = CheckpointModel([x], keras.layers.Dense(1, name="dense")(x))
    names = ["BG", *(f"räder {number:04d} {'x' * 60}" for number in range(2000))]
    facts = describe(OwnConfig(), names)
    assert len(json.dumps(names)) > 2 * 65536
    model.metadata = as_metadata(facts)
    model.save_weights(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5") as file:
        assert json.loads(file.attrs["mrcnn_versions"]) == facts["versions"]
    assert read_facts(str(tmp_path / "w.h5")) == facts
    # It is a weight file as before.
    kernel = model.get_layer("dense").kernel
    expected = kernel.numpy()
    kernel.assign([[5.0]])
    model.load_weights(tmp_path / "w.h5")
    np.testing.assert_array_equal(kernel, expected)


def test_file_without_settings(tmp_path):
    x = keras.Input([1])
    CheckpointModel([x], keras.layers.Dense(1)(x)).save_weights(tmp_path / "w.h5")
    with pytest.raises(ValueError, match="does not say with which settings it was trained"):
        read_facts(str(tmp_path / "w.h5"))


def test_recipe_is_kept_by_name(tmp_path):
    settings = stored(mini_config(RECIPE=matterport, **SMALL), tmp_path)["config"]
    assert settings["RECIPE"] == "mrcnn.recipes.matterport"
    found = make_config(settings)
    found.validate()
    assert found.recipe() is matterport
    # An object has no name by which it could be found.
    own = SimpleNamespace(**vars(matterport))
    settings = stored(mini_config(RECIPE=own, **SMALL), tmp_path)["config"]
    with pytest.raises(ValueError, match="made with types.SimpleNamespace; pass RECIPE="):
        make_config(settings)
    assert make_config(settings, RECIPE=own).recipe() is own


def damaged(tmp_path, size=1 << 20, **settings):
    """A weight file of `size` bytes beside a config.json with some settings replaced."""
    facts = describe(OwnConfig(), ["BG", "cell"])
    facts["config"] |= settings
    Run(tmp_path, "own").write_config(facts)
    (tmp_path / "w.keras").write_bytes(b"PK" + bytes(size))
    return tmp_path / "w.keras"


def test_config_of_a_file(tmp_path):
    config, class_names = read_config(damaged(tmp_path, 300 << 20), IMAGE_MAX_DIM=128)
    assert (config.NAME, config.IMAGE_MAX_DIM, class_names) == ("own", 128, ["BG", "cell"])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"NUM_CLASSES": "many"}, "cannot be used: "),
        ({"NUM_CLASSES": 1, "IMAGE_META_SIZE": 13}, "used: NUM_CLASSES is 1; it must be 2 or more"),
        ({"LOSS_WEIGHTS": [1]}, "cannot be used: "),
        ({"MEAN_PIXEL": {"array": [[1], [2, 3]], "dtype": "float32"}}, "cannot be used: "),
        ({"MEAN_PIXEL": {"array": [1], "dtype": "no"}}, "cannot be used: "),
        ({"OPTIMIZER": {"optimizer": {"class_name": "Popen", "config": {}}}}, "has 'Popen', which"),
        ({"OPTIMIZER": {"optimizer": []}}, "cannot be used: "),
        ({"BATCH_SIZE": {}}, "cannot be used: "),
        ({"validate": 1}, "validate is not the name of a setting"),
        ({"__class__": 1}, "__class__ is not the name of a setting"),
        # 49 * 256 * 10**6 weights of the first layer alone.
        ({"FPN_CLASSIF_FC_LAYERS_SIZE": 10**6}, "heads with 40.* GB of weights, but the file has"),
        ({"POST_NMS_ROIS_INFERENCE": 20000}, "have POST_NMS_ROIS_INFERENCE = 20000, more than"),
        (
            {"IMAGE_MAX_DIM": 2**20, "IMAGE_SHAPE": [64, 64, 4]},
            "have IMAGE_MAX_DIM = 1048576, ",
        ),
        ({"IMAGE_MAX_DIM": 2**14, "IMAGE_SHAPE": [2**14] * 2 + [4]}, "IMAGE_SHAPE = 268435456"),
        ({"RECIPE": "antigravity"}, "made with the recipe 'antigravity'. A file may not choose"),
        ({"RECIPE": 3}, "made with the recipe 3."),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_settings_in_a_file_that_no_model_can_have(tmp_path, settings, sentence):
    import sys

    path = damaged(tmp_path, **settings)
    with pytest.raises(ValueError, match=sentence) as error:
        read_config(path)
    assert str(path) in str(error.value)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("text", ["", "[", "[]", "3", '{"config": 3}', "[" * 100_000, "\xff"])
def test_settings_that_are_no_settings(tmp_path, text):
    path = damaged(tmp_path)
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=str(tmp_path)):
        read_config(path)


def test_optimizers_with_schedules_and_scales_come_back():
    rate = keras.optimizers.schedules.CosineDecay(0.1, 100, alpha=0.5)
    inner = keras.optimizers.AdamW(rate, beta_1=0.75)
    for optimizer in (inner, keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))):
        config = OwnConfig()
        config.OPTIMIZER = optimizer
        found = make_config(describe(config)["config"]).OPTIMIZER
        assert found.get_config() == optimizer.get_config()
