"""The weights that can be downloaded: which file, where to, and checked."""

import hashlib

import pytest

from mrcnn.weights import download as module
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
