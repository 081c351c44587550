"""`mrcnn validate`, and `mrcnn download` without a network."""

import json

import pytest

from mrcnn.commands import download, main
from mrcnn.weights import download as weights_download
from tests.commands.drawn import draw_photos


def report(capsys, *argv):
    status = main([*argv, "--json"])
    return status, json.loads(capsys.readouterr()[0])


def test_sound_data(tmp_path, capsys):
    draw_photos(tmp_path / "train", 4)
    draw_photos(tmp_path / "val", 2)
    status, found = report(capsys, "validate", str(tmp_path))
    assert (status, found["serious"], found["format"]) == (0, 0, "LabelMe JSON")
    assert found["parts"]["train"]["instances"] == {"bar": 2, "box": 2}
    assert (found["parts"]["val"]["images"], found["parts"]["val"]["tiny"]) == (2, [])


def test_tiny_instances_are_not_serious(tmp_path, capsys):
    draw_photos(tmp_path / "train", 4)
    # 24 * 24 = 576 and 12 * 40 = 480 pixels.
    status, found = report(capsys, "validate", str(tmp_path), "--tiny", "500")
    names = sum((part["tiny"] for part in found["parts"].values()), [])
    assert (status, len(names)) == (0, 2)


def test_damaged_photo_is_serious(tmp_path, capsys):
    draw_photos(tmp_path / "train", 4)
    draw_photos(tmp_path / "val", 2)
    photo = tmp_path / "train" / "1.png"
    photo.write_bytes(photo.read_bytes()[:100])
    status, found = report(capsys, "validate", str(tmp_path))
    assert status == 1 and found["serious"] >= 1


@pytest.mark.filterwarnings("default:.*left out")
def test_shape_without_area_is_serious(tmp_path, capsys):
    draw_photos(tmp_path / "train", 3)
    draw_photos(tmp_path / "val", 2)
    file = tmp_path / "train" / "0.json"
    entry = json.loads(file.read_text())
    entry["shapes"].append({"label": "box", "shape_type": "point", "points": [[3, 3]]})
    file.write_text(json.dumps(entry))
    status, found = report(capsys, "validate", str(tmp_path))
    assert (status, found["serious"]) == (1, 1)
    (note,) = found["parts"]["train"]["notes"]
    assert note["left_out"] is True


@pytest.fixture
def fetched(monkeypatch):
    """Addresses and paths that are asked for; each file gets a few bytes."""
    asked = []

    def fake(url, path, **options):
        asked.append(url)
        with open(path, "wb") as file:
            file.write(b"x")

    monkeypatch.setattr(weights_download, "download", fake)
    monkeypatch.setattr("mrcnn.download.download", fake)
    return asked


def test_download_of_coco(tmp_path, fetched, capsys, monkeypatch):
    status, found = report(capsys, "download", "coco", "--output", str(tmp_path))
    assert (status, found["path"]) == (0, str(tmp_path / "mask_rcnn_coco.h5"))
    assert fetched == [weights_download.COCO_MODEL_URL]
    # A whole file is not fetched again.
    monkeypatch.setattr(weights_download, "COCO_MODEL_SIZE", 1)
    report(capsys, "download", "coco", "--output", str(tmp_path))
    assert len(fetched) == 1


def test_download_of_trunks(tmp_path, fetched, capsys, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    report(capsys, "download", "imagenet")
    report(capsys, "download", "imagenet", "--preset", "paper")
    report(capsys, "download", "imagenet", "--preset", "paper", "--backbone", "resnet101")
    names = [url.rsplit("/", 1)[1] for url in fetched]
    assert names[0].startswith("resnet50_weights_tf_dim_ordering")
    assert names[1:] == ["resnet50-0676ba61.pth", "resnet101-63fe2227.pth"]


def test_download_of_balloons(tmp_path, capsys, monkeypatch):
    """The zip file is unpacked; a second time nothing is overwritten."""
    import zipfile

    def fake(url, path, **options):
        assert url == download.BALLOON_URL
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("balloon/train/a.txt", "x")

    monkeypatch.setattr("mrcnn.download.download", fake)
    status, found = report(capsys, "download", "balloon", "--output", str(tmp_path))
    assert (status, found["path"]) == (0, str(tmp_path / "balloon"))
    assert (tmp_path / "balloon" / "train" / "a.txt").read_text() == "x"
    assert main(["download", "balloon", "--output", str(tmp_path)]) == 1
    assert "exists; remove it" in capsys.readouterr()[1]


def test_download_that_fails(tmp_path, capsys, monkeypatch):
    """Nothing is left, and the sentence says where to put the file."""
    monkeypatch.setattr(weights_download, "COCO_MODEL_URL", "http://127.0.0.1:9/coco.h5")
    assert main(["download", "coco", "--output", str(tmp_path)]) == 1
    err = capsys.readouterr()[1]
    assert "fetch it by hand and save as" in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
