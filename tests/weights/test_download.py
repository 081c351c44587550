"""The weights that can be downloaded: which file, where to, and checked."""

import hashlib
from pathlib import Path

import keras
import numpy as np
import pytest

from mrcnn.backbones import build_backbone
from mrcnn.registry import BACKBONES, Backbone
from mrcnn.weights import download as module
from mrcnn.weights import matterport
from mrcnn.weights.start import imagenet_weights
from tests.local_server import serving

BODY = bytes(range(256)) * 20_000


@pytest.fixture
def server(monkeypatch):
    """The address of a running server."""
    # Proxies of the environment would stand between the test and its server.
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving({"good": BODY, module.IMAGENET_URL.rsplit("/", 1)[1]: BODY}) as (address, _):
        yield address


def test_coco_weights_ask_for_the_published_length(monkeypatch, tmp_path, server):
    monkeypatch.setattr(module, "COCO_MODEL_URL", f"{server}/good")
    with pytest.raises(module.DownloadError, match="it has 5120000 bytes there, not 257557808"):
        module.download_trained_weights(tmp_path / "mask_rcnn_coco.h5", verbose=0)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(module, "COCO_MODEL_SIZE", len(BODY))
    assert module.download_trained_weights(tmp_path / "mask_rcnn_coco.h5", verbose=0) is None
    assert (tmp_path / "mask_rcnn_coco.h5").read_bytes() == BODY
    digest = hashlib.sha256(BODY).hexdigest()
    module.download_trained_weights(tmp_path / "b.h5", verbose=0, sha256=digest)
    with pytest.raises(module.DownloadError, match=f"its sha256 is {digest}, not 00ff"):
        module.download_trained_weights(tmp_path / "c.h5", verbose=0, sha256="00ff")
    assert not (tmp_path / "c.h5").exists()


def test_imagenet_weights_are_kept_where_keras_keeps_them(monkeypatch, tmp_path, server):
    name = module.IMAGENET_URL.rsplit("/", 1)[1]
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(module, "IMAGENET_URL", f"{server}/{name}")
    monkeypatch.setattr(module, "IMAGENET_MD5", hashlib.md5(BODY).hexdigest())
    path = tmp_path / "models" / name
    path.parent.mkdir()
    path.write_text("cut off by an earlier crash")
    assert module.resnet50_weights("resnet101", verbose=0) == str(path)
    assert path.read_bytes() == BODY
    monkeypatch.setattr(module, "IMAGENET_URL", f"http://127.0.0.1:9/{name}")
    assert module.resnet50_weights("resnet101", verbose=0) == str(path)


def test_trunks_of_torchvision_are_checked_by_their_names(monkeypatch, tmp_path):
    """The name of a file ends with the first digits of its SHA-256."""
    digest = hashlib.sha256(BODY).hexdigest()
    name, other = f"resnet50-{digest[:8]}.pth", "resnet101-00000000.pth"
    files = {"resnet50": name, "resnet101": other}
    monkeypatch.setattr(module, "TORCHVISION_TRUNKS", files)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving({name: BODY, other: BODY}) as (address, _):
        monkeypatch.setattr(module, "TORCHVISION_URL", f"{address}/")
        path = imagenet_weights("resnet50", "torchvision")
        with pytest.raises(module.DownloadError, match=f"its sha256 is {digest}, not 00000000"):
            imagenet_weights("resnet101", "torchvision")
    # Without a server: the file is there.
    assert imagenet_weights("resnet50", "torchvision") == path == str(tmp_path / "models" / name)
    assert [each.name for each in (tmp_path / "models").iterdir()] == [name]


def test_trunks_of_microsoft_have_no_address():
    with pytest.raises(ValueError, match='RESNET_STYLE "msra" is known; give the file of a class'):
        imagenet_weights("resnet50", "msra")


def test_keras_application_weights_load_by_layer_name(monkeypatch, tmp_path):
    def network(weights, include_top):
        assert (weights, include_top) == ("imagenet", False)
        keras.utils.set_random_seed(3)
        return whole(weights=None, include_top=False)

    whole = keras.applications.MobileNetV2
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.applications, "MobileNetV2", network)
    path = imagenet_weights("MobileNetV2")
    monkeypatch.setattr(keras.applications, "MobileNetV2", None)
    assert imagenet_weights("MobileNetV2") == path
    assert [entry.name for entry in (tmp_path / "models").iterdir()] == [Path(path).name]

    monkeypatch.setattr(keras.applications, "MobileNetV2", whole)
    # Four channels: the first convolution adapts, whatever its name.
    image = keras.Input((None, None, 4))
    model = keras.Model(image, list(build_backbone("MobileNetV2", image, False).values()))
    report = matterport.load(model, path, verbose=0)
    assert (report.missing, report.unused, report.adapted) == ([], [], ["Conv1"])
    theirs = network("imagenet", False)
    for name in ("Conv1", "block_5_expand", "Conv_1_bn"):
        ours, expected = (m.get_layer(name).get_weights()[0] for m in (model, theirs))
        if name == "Conv1":
            ours, expected = ours.sum(axis=2), expected.sum(axis=2)
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


def test_keras_cannot_fetch(monkeypatch, tmp_path):
    def network(weights, include_top):
        raise Exception("URL fetch failure")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(keras.applications, "ResNet50V2", network)
    with pytest.raises(module.DownloadError, match="weights of ResNet50V2: URL fetch failure"):
        imagenet_weights("ResNet50V2")


def test_imagenet_weights_come_from_the_row_of_the_backbone(monkeypatch):
    monkeypatch.setattr(module, "resnet50_weights", lambda architecture: f"of {architecture}")
    assert imagenet_weights("resnet152") == "of resnet152"
    # Old functions build ResNets; the file is always that of ResNet-50.
    assert imagenet_weights(print) == f"of {print}"
    monkeypatch.setitem(BACKBONES, "own", Backbone(print, imagenet=lambda name: f"my {name}"))
    assert imagenet_weights("own") == "my own"
    with pytest.raises(ValueError, match='no ImageNet weights for BACKBONE "small"; use "random"'):
        imagenet_weights("small")
