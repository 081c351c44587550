"""Weight files in the historical layout: read, loaded by layer name, refused, written."""

import json
import re
import zlib
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.graph import build_graph
from mrcnn.weights import matterport
from mrcnn.weights.keras_model import CheckpointModel
from tests.mini import MiniConfig

LAYOUT = Path(__file__).parents[1] / "golden" / "matterport_resnet50_layout.json"

# What scripts that fine-tune COCO weights exclude; mrcnn_bbox is a layer without weights.
HEADS = ["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"]


def filled(name, shape):
    """Values of a weight that follow from its name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.random(shape, np.float32) - np.float32(0.4)


def write_h5(path, groups, nested=False):
    """A file as Keras 2 wrote it, from `{layer name: {weight name: array}}`.

    `nested`: in the group "model_weights", as `model.save` did.
    """
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if nested else file
        root.attrs["layer_names"] = np.array([name.encode() for name in groups])
        root.attrs["backend"] = b"tensorflow"
        root.attrs["keras_version"] = b"2.1.6"
        for name, weights in groups.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = np.array([w.encode() for w in weights], "S")
            for weight_name, array in weights.items():
                group[weight_name] = array
    return path


def small_model(channels=3, classes=3):
    """A model of five layers, two of them nested, with names of the large one."""
    keras.utils.set_random_seed(0)
    feature_map = keras.Input((None, None, 4))
    rpn = keras.layers.Conv2D(2, 3, padding="same", name="rpn_conv_shared")(feature_map)
    rpn = keras.Model(feature_map, keras.layers.Conv2D(2, 1, name="rpn_class_raw")(rpn), name="rpn")
    image = keras.Input((8, 8, channels), name="input_image")
    x = keras.layers.Conv2D(4, 3, name="conv1")(image)
    x = rpn(keras.layers.BatchNormalization(name="bn_conv1")(x))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(classes, name="mrcnn_class_logits")(x)
    return CheckpointModel(image, x, name="small")


SMALL_SHAPES = {
    "conv1": {"conv1/kernel:0": (3, 3, 3, 4), "conv1/bias:0": (4,)},
    "bn_conv1": {f"bn_conv1/{n}:0": (4,) for n in ("gamma", "beta", "moving_mean")}
    | {"bn_conv1/moving_variance:0": (4,)},
    "rpn": {
        "rpn_conv_shared/kernel:0": (3, 3, 4, 2),
        "rpn_conv_shared/bias:0": (2,),
        "rpn_class_raw/kernel:0": (1, 1, 2, 2),
        "rpn_class_raw/bias:0": (2,),
    },
    "mrcnn_class_logits": {
        "mrcnn_class_logits/kernel:0": (2, 3),
        "mrcnn_class_logits/bias:0": (3,),
    },
}


def small_groups(**changed):
    """The groups of `small_model`'s file; `changed` replaces the weights of layers."""
    groups = {
        layer: {name: filled(name, shape) for name, shape in shapes.items()}
        for layer, shapes in SMALL_SHAPES.items()
    }
    return {"input_image": {}, **groups, **changed}


def snapshot(model):
    return [np.array(weight) for weight in model.get_weights()]


def assert_same(model, weights):
    for ours, theirs in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def layer_weights(model, name):
    return [np.asarray(weight) for weight in model.get_layer(name).get_weights()]


def refused(model, path, message, error=ValueError, **arguments):
    """Loading fails with a sentence, and no weight has changed."""
    before = snapshot(model)
    with pytest.raises(error, match=message) as caught:
        matterport.load(model, path, **arguments)
    assert_same(model, before)
    return str(caught.value)


# Reading and loading


@pytest.mark.parametrize("nested", [False, True])
def test_every_weight_gets_the_value_of_the_file(tmp_path, nested, capsys):
    model, groups = small_model(), small_groups()
    report = matterport.load(model, write_h5(tmp_path / "w.h5", groups, nested))
    for layer, weights in groups.items():
        for ours, theirs in zip(layer_weights(model, layer), weights.values(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert report.loaded == ["conv1", "bn_conv1", "rpn", "mrcnn_class_logits"]
    assert (report.missing, report.unused, report.untrained) == ([], [], [])
    expected = f"Weights from {tmp_path / 'w.h5'}\n  loaded                            4 layers\n"
    assert capsys.readouterr().out == expected


def test_names_decide_over_the_order_in_a_group(tmp_path, capsys):
    model, groups = small_model(), small_groups()
    groups["rpn"] = dict(reversed(groups["rpn"].items()))
    groups["bn_conv1"] = dict(reversed(groups["bn_conv1"].items()))
    matterport.load(model, write_h5(tmp_path / "w.h5", groups), verbose=0)
    gamma, beta, mean, variance = layer_weights(model, "bn_conv1")
    np.testing.assert_array_equal(gamma, filled("bn_conv1/gamma:0", (4,)))
    np.testing.assert_array_equal(beta, filled("bn_conv1/beta:0", (4,)))
    np.testing.assert_array_equal(mean, filled("bn_conv1/moving_mean:0", (4,)))
    np.testing.assert_array_equal(variance, filled("bn_conv1/moving_variance:0", (4,)))
    bias = layer_weights(model, "rpn")[1]
    np.testing.assert_array_equal(bias, filled("rpn_conv_shared/bias:0", (2,)))
    assert capsys.readouterr().out == ""


def test_names_of_old_keras_go_by_order(tmp_path):
    """As in the ImageNet file of Keras 1: other weight names, in the order of the layer."""
    conv, bn = (
        [filled(n, s) for n, s in (("k", (3, 3, 3, 4)), ("b", (4,)))],
        [filled(name, (4,)) for name in ("gamma", "beta", "mean", "variance")],
    )
    names = (
        ("conv1_W_1:0", "conv1_b_1:0"),
        (
            "bn_conv1_gamma_1:0",
            "bn_conv1_beta_1:0",
            "bn_conv1_running_mean_1:0",
            "bn_conv1_running_std_1:0",
        ),
    )
    groups = {
        "input_1": {},
        "zeropadding2d_1": {},
        "conv1": dict(zip(names[0], conv, strict=True)),
        "bn_conv1": dict(zip(names[1], bn, strict=True)),
        "fc1000": {"fc1000_W_1:0": np.ones((4, 1000), np.float32)},
    }
    model = small_model()
    report = matterport.load(model, write_h5(tmp_path / "w.h5", groups), verbose=0)
    for ours, theirs in zip(layer_weights(model, "conv1"), conv, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(layer_weights(model, "bn_conv1"), bn, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert report.unused == ["fc1000"]
    assert report.missing == ["rpn", "mrcnn_class_logits"]


def test_anchors_of_forks_are_no_weight(tmp_path):
    groups = small_groups(anchors={"anchors/Variable:0": np.ones((1, 9, 4), np.float32)})
    report = matterport.load(small_model(), write_h5(tmp_path / "w.h5", groups), verbose=0)
    assert report.unused == []
    assert len(report.loaded) == 4


def test_report_lists_what_happened_to_each_layer(tmp_path, capsys):
    model = small_model(channels=1)
    groups = small_groups(
        mrcnn_class_logits={"mrcnn_class_logits/kernel:0": np.ones((2, 81), np.float32)},
        rpn={},
        fc1={"fc1/kernel:0": np.ones(3)},
        fc2={"fc2/kernel:0": np.ones(3)},
    )
    report = matterport.load(
        model,
        write_h5(tmp_path / "w.h5", groups),
        exclude=["bn_conv1"],
        skip_mismatch=True,
    )
    assert report.loaded == report.adapted == ["conv1"]
    assert report.skipped == {"bn_conv1": "excluded"}
    assert report.mismatched == {"mrcnn_class_logits": ([(2, 81)], [(2, 3), (3,)])}
    assert (report.missing, report.unused) == (["rpn"], ["fc1", "fc2"])
    assert report.untrained == ["bn_conv1", "mrcnn_class_logits", "rpn"]
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [
        "loaded 1 layers".split(),
        "adapted to the image channels 1 layers conv1".split(),
        "skipped, excluded 1 layers bn_conv1".split(),
        "skipped, other shape 1 layers mrcnn_class_logits".split(),
        "not in the file 1 layers rpn".split(),
        "not in the model 2 layers fc1, fc2".split(),
    ]


# Fine-tuning


def test_excluded_layers_keep_their_values(tmp_path):
    model, groups = small_model(), small_groups()
    before = layer_weights(model, "mrcnn_class_logits")
    path = write_h5(tmp_path / "w.h5", groups | {"mrcnn_bbox": {}})
    report = matterport.load(model, path, exclude=["mrcnn_class_logits", "mrcnn_bbox"], verbose=0)
    for ours, theirs in zip(layer_weights(model, "mrcnn_class_logits"), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(
        layer_weights(model, "conv1")[0], groups["conv1"]["conv1/kernel:0"]
    )
    assert report.skipped == {"mrcnn_class_logits": "excluded"}


def test_exclude_of_an_unknown_layer(tmp_path):
    path = write_h5(tmp_path / "w.h5", small_groups())
    message = refused(small_model(), path, "exclude names", exclude=["conv1, mrcnn_class_logits"])
    assert '"conv1, mrcnn_class_logits"' in message
    assert "Give one string per layer" in message


def test_exclude_as_one_string_is_one_layer(tmp_path):
    path = write_h5(tmp_path / "w.h5", small_groups())
    report = matterport.load(small_model(), path, exclude="conv1", verbose=0)
    assert list(report.skipped) == ["conv1"]


def test_other_number_of_classes(tmp_path):
    logits = {
        "mrcnn_class_logits/kernel:0": np.ones((2, 81), np.float32),
        "mrcnn_class_logits/bias:0": np.ones(81, np.float32),
    }
    path = write_h5(tmp_path / "w.h5", small_groups(mrcnn_class_logits=logits))
    message = refused(small_model(), path, "has 81 classes and the Config has 3")
    assert 'pass exclude=["mrcnn_class_logits"]' in message
    assert "or set NUM_CLASSES = 81" in message


def test_other_backbone(tmp_path):
    conv = {
        "conv1/kernel:0": np.ones((7, 7, 3, 64), np.float32),
        "conv1/bias:0": np.ones(64, np.float32),
    }
    path = write_h5(tmp_path / "w.h5", small_groups(conv1=conv))
    message = refused(small_model(), path, "Set BACKBONE")
    assert "[(7, 7, 3, 64), (64,)] in the file and [(3, 3, 3, 4), (4,)] in the model" in message


def test_file_of_another_program(tmp_path):
    path = write_h5(tmp_path / "w.h5", {"block1": {"block1/w:0": np.ones(3, np.float32)}})
    message = refused(small_model(), path, "No layer of .* fits this model")
    assert "the file has block1, ...; the model has conv1, bn_conv1, rpn, ..." in message


@pytest.mark.parametrize("channels", [1, 5])
def test_first_convolution_adapts_to_the_image_channels(tmp_path, channels):
    model, groups = small_model(channels), small_groups()
    report = matterport.load(model, write_h5(tmp_path / "w.h5", groups), verbose=0)
    kernel, bias = layer_weights(model, "conv1")
    original = groups["conv1"]["conv1/kernel:0"]
    assert kernel.shape == (3, 3, channels, 4)
    np.testing.assert_allclose(kernel.sum(axis=2), original.sum(axis=2), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(kernel, np.repeat(kernel[:, :, :1], channels, axis=2))
    np.testing.assert_array_equal(bias, groups["conv1"]["conv1/bias:0"])
    # A gray image gives what it gave the original as RGB.
    gray = np.random.default_rng(0).random((1, 8, 8, 1), np.float32)
    rgb_model = small_model()
    matterport.load(rgb_model, tmp_path / "w.h5", verbose=0)
    ours = model.get_layer("conv1")(np.repeat(gray, channels, axis=3))
    theirs = rgb_model.get_layer("conv1")(np.repeat(gray, 3, axis=3))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    assert report.adapted == ["conv1"]


# Damaged and foreign files


def test_missing_file(tmp_path):
    message = refused(small_model(), tmp_path / "no.h5", "does not exist", FileNotFoundError)
    assert str(tmp_path / "no.h5") in message


def text_file(path):
    path.write_text("<html>Not Found</html>")


def npz_file(path):
    with open(path, "wb") as file:
        np.savez(file, conv1=np.ones(3))


def truncated_file(path):
    whole = write_h5(path, small_groups()).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize("write", [Path.touch, text_file, npz_file, truncated_file])
def test_no_whole_hdf5_file(tmp_path, write):
    path = tmp_path / "w.h5"
    write(path)
    message = refused(small_model(), path, "is not a whole HDF5 file")
    assert f'"{path}" ({path.stat().st_size} bytes)' in message


def test_file_cut_off_anywhere(tmp_path):
    model, path = small_model(), tmp_path / "w.h5"
    whole = write_h5(path, small_groups()).read_bytes()
    for size in np.linspace(1, len(whole) - 1, 20).astype(int):
        path.write_bytes(whole[:size])
        refused(model, path, rf"\({size} bytes\) is not a whole HDF5 file")


def test_hdf5_of_another_kind(tmp_path):
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file["vars"] = np.ones(3)
    refused(small_model(), path, "is an HDF5 file without layer names; accepted are")


def test_hdf5_whose_groups_are_missing(tmp_path):
    path = write_h5(tmp_path / "w.h5", small_groups())
    with h5py.File(path, "a") as file:
        del file["bn_conv1"]
    refused(small_model(), path, "is not a whole HDF5 file.*bn_conv1")


def test_file_without_weights(tmp_path):
    path = write_h5(tmp_path / "w.h5", {"conv1": {}, "bn_conv1": {}})
    refused(small_model(), path, "names 2 layers and holds no weights")


# Saving


def test_saved_file_has_the_historical_layout(tmp_path):
    model = small_model()
    matterport.save(model, tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5") as file:
        names = list(file.attrs["layer_names"])
        assert names == [
            layer.encode() for layer in ("input_image", "conv1", "bn_conv1", "rpn", "pool")
        ] + [b"mrcnn_class_logits"]
        for layer in model.layers:
            group = file[layer.name]
            expected = SMALL_SHAPES.get(layer.name, {})
            assert [n.decode() for n in group.attrs["weight_names"]] == list(expected)
            for name, value in zip(expected, layer.get_weights(), strict=True):
                np.testing.assert_array_equal(group[name][()], value)


def test_round_trip_is_bit_equal(tmp_path):
    model, other = small_model(), small_model()
    rng = np.random.default_rng(0)
    model.set_weights([rng.standard_normal(w.shape) for w in model.get_weights()])
    matterport.save(model, tmp_path / "w.h5")
    assert not np.array_equal(model.get_weights()[0], other.get_weights()[0])
    matterport.load(other, tmp_path / "w.h5", verbose=0)
    assert_same(other, model.get_weights())


def test_file_that_must_not_be_overwritten(tmp_path):
    path = tmp_path / "w.h5"
    path.write_text("old")
    with pytest.raises(FileExistsError, match="exists already"):
        small_model().save_weights(path, overwrite=False)
    assert path.read_text() == "old"


@pytest.mark.parametrize("old", [None, b"weights of the last epoch"])
def test_interrupted_save_leaves_what_was_there(tmp_path, monkeypatch, old):
    path = tmp_path / "w.h5"
    if old:
        path.write_bytes(old)
    create, written = h5py.Group.create_dataset, []

    def interrupt(group, name, *args, **kwargs):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(name)
        return create(group, name, *args, **kwargs)

    monkeypatch.setattr(h5py.Group, "create_dataset", interrupt)
    with pytest.raises(KeyboardInterrupt):
        small_model().save_weights(path)
    assert len(written) == 5
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == (
        {"w.h5": old} if old else {}
    )


# The real model


@pytest.fixture(scope="module")
def legacy(tmp_path_factory):
    """A whole legacy file of ResNet-50 with 81 classes: its path and its groups with shapes."""
    groups = json.loads(LAYOUT.read_text())
    path = tmp_path_factory.mktemp("legacy") / "mask_rcnn_coco.h5"
    write_h5(path, {layer: {n: filled(n, s) for n, s in weights} for layer, weights in groups})
    yield path, {layer: dict(weights) for layer, weights in groups if weights}
    path.unlink()


@pytest.fixture(scope="module")
def resnet50(legacy):
    """The inference model with the weights of the legacy file, and the report."""

    class LegacyConfig(Config):
        NAME = "legacy"
        BACKBONE = "resnet50"
        NUM_CLASSES = 81

    model = build_graph(LegacyConfig(), "inference")
    return model, matterport.load(model, legacy[0], verbose=0)


def test_whole_legacy_file_loads(legacy, resnet50):
    (_, groups), (model, report) = legacy, resnet50
    assert report.loaded == [layer.name for layer in model.layers if layer.weights]
    assert set(report.loaded) == set(groups)
    assert (report.missing, report.unused, report.untrained) == ([], [], [])
    for layer, shapes in groups.items():
        values = layer_weights(model, layer)
        for (name, shape), value in zip(shapes.items(), values, strict=True):
            np.testing.assert_array_equal(value, filled(name, shape))


def test_saved_resnet50_has_the_groups_of_the_original(tmp_path, legacy, resnet50):
    path, groups = tmp_path / "saved.h5", legacy[1]
    resnet50[0].save_weights(path)
    with h5py.File(path) as saved, h5py.File(legacy[0]) as original:
        for layer, shapes in groups.items():
            assert [n.decode() for n in saved[layer].attrs["weight_names"]] == list(shapes)
            for name in shapes:
                np.testing.assert_array_equal(saved[layer][name], original[layer][name])
        rest = [n.decode() for n in saved.attrs["layer_names"] if n.decode() not in groups]
        assert all(len(saved[layer].attrs["weight_names"]) == 0 for layer in rest)
    path.unlink()


def test_coco_weights_for_own_classes(legacy):
    path, groups = legacy
    shapes = {layer: dict(weights) for layer, weights in groups.items()}

    class OwnConfig(MiniConfig):
        # The head is that of the file; the backbone and the pyramid are not in it.
        TOP_DOWN_PYRAMID_SIZE = 256
        FPN_CLASSIF_FC_LAYERS_SIZE = 1024

    model = build_graph(OwnConfig(), "training")
    stem = ["conv1", "bn_conv1"]
    pyramid = ["fpn_c2p2", "fpn_c3p3", "fpn_c4p4", "fpn_c5p5"]
    before = {name: layer_weights(model, name) for name in HEADS if name != "mrcnn_bbox"}
    report = matterport.load(model, path, exclude=HEADS + stem + pyramid, verbose=0)
    assert sorted(report.skipped) == sorted([*stem, *pyramid, *before])
    for name, values in before.items():
        for ours, theirs in zip(layer_weights(model, name), values, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    for layer in ("rpn_model", "fpn_p2", "mrcnn_class_bn2", "mrcnn_mask_deconv"):
        values = layer_weights(model, layer)
        for (name, shape), value in zip(shapes[layer].items(), values, strict=True):
            np.testing.assert_array_equal(value, filled(name, shape))
    message = refused(model, path, "has 81 classes and the Config has 3", exclude=stem + pyramid)
    listed = re.search(r"exclude=\[(.*)\] to train", message)[1].split(", ")
    assert sorted(listed) == sorted(f'"{name}"' for name in before)
