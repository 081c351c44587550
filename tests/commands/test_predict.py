"""`mrcnn predict`: from the command line to files, and its exit status."""

import json

import cv2
import keras
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mrcnn.commands import main
from mrcnn.commands import predict as command
from mrcnn.inference import stream
from mrcnn.model import MaskRCNN
from mrcnn.readers.labelme import LabelMeDataset
from tests.mini import mini_config, silent


@pytest.fixture(scope="module")
def built_model(tmp_path_factory):
    keras.utils.set_random_seed(3)
    folder = str(tmp_path_factory.mktemp("logs"))
    model = silent(MaskRCNN, "inference", mini_config(), folder)
    # Something is found everywhere: no RoI looks like background.
    model.keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0, 0.0, 0.0])
    model._random_head = None
    return model


@pytest.fixture
def model(built_model, monkeypatch, tmp_path):
    """The model that `--weights` stands for; the current folder is empty."""
    built_model.class_names = ["BG", "square", "disc"]
    built_model.asked = []

    def load(args, **settings):
        built_model.asked.append(settings)
        return built_model

    monkeypatch.setattr(command, "load_detector", load)
    monkeypatch.chdir(tmp_path)
    return built_model


def write_photos(folder, sizes):
    """Write 0.png, 1.png, ... of coloured noise, of (height, width)."""
    folder.mkdir()
    for number, size in enumerate(sizes):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_results_are_those_of_detect(model, tmp_path, capsys):
    sizes = [(64, 64), (40, 100), (30, 64), (64, 64), (90, 30)]
    write_photos(tmp_path / "photos", sizes)
    assert main(["predict", "photos", "--batch", "2"]) == 0
    assert files(tmp_path / "predictions") == [*(f"{i}.png" for i in range(5)), "detections.json"]
    data = COCO("predictions/detections.json")
    paths = [f"photos/{i}.png" for i in range(5)]
    for number, result in enumerate(model.detect(paths, mask_format="rle"), start=1):
        assert (data.imgs[number]["height"], data.imgs[number]["width"]) == sizes[number - 1]
        found = data.loadAnns(data.getAnnIds(imgIds=[number]))
        assert len(found) == len(result["rois"]) > 0
        for entry, box, rle in zip(found, result["rois"].tolist(), result["masks"], strict=True):
            y1, x1, y2, x2 = box
            assert entry["bbox"] == [x1, y1, x2 - x1, y2 - y1]
            assert entry["segmentation"]["counts"].encode() == rle["counts"]
        assert [entry["category_id"] for entry in found] == result["class_ids"].tolist()
        with Image.open(f"predictions/{number - 1}.png") as picture:
            assert picture.size == sizes[number - 1][::-1]
    printed = capsys.readouterr().out
    assert "5 photos with" in printed and "% of the time" in printed
    # The next run has a folder of its own.
    assert main(["predict", "photos", "--limit", "2"]) == 0
    assert files(tmp_path / "predictions_2") == ["0.png", "1.png", "detections.json"]


def test_unreadable_photos_are_named_and_counted_and_the_status_says_so(model, tmp_path, capsys):
    write_photos(tmp_path / "photos", [(64, 64)] * 3)
    data = (tmp_path / "photos/1.png").read_bytes()
    (tmp_path / "photos/1.png").write_bytes(data[: len(data) // 2])
    assert main(["predict", "photos", "missing.jpg", "--output", "out"]) == 1
    printed = capsys.readouterr().out.splitlines()
    skipped = [line for line in printed if line.startswith("Skipped: ")]
    assert len(skipped) == 2 and "photos/1.png" in skipped[0] and "missing.jpg" in skipped[1]
    assert printed[-1] == "2 of 4 photos skipped."
    # The names tell the folders apart: "missing.jpg" is not in "photos".
    assert files(tmp_path / "out") == ["detections.json", "photos/0.png", "photos/2.png"]


def test_json(model, tmp_path, capsys):
    write_photos(tmp_path / "photos", [(64, 64)] * 2)
    (tmp_path / "photos/2.png").touch()
    assert main(["predict", "photos", "--save", "coco,csv", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["photos"], document["output"]) == (2, "predictions")
    assert [each["photo"] for each in document["skipped"]] == ["2.png"]
    assert sum(document["classes"].values()) == document["instances"] > 0
    assert 0 < document["network_busy"] <= 1
    assert document["photos_per_second"] == pytest.approx(2 / document["seconds"])
    assert files(tmp_path / "predictions") == ["counts.csv", "detections.json", "instances.csv"]


def write_video(path, count, code):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 8, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(count):
        writer.write(rng.integers(0, 256, (48, 64, 3)).astype(np.uint8))
    writer.release()


def test_a_video_becomes_a_video_of_as_many_frames(model, tmp_path, capsys):
    write_video(tmp_path / "clip.mp4", 12, "mp4v")
    assert main(["predict", "clip.mp4", "--output", "out"]) == 0
    assert files(tmp_path / "out") == ["clip.mp4", "detections.json"]
    capture = cv2.VideoCapture("out/clip.mp4")
    sizes = [capture.get(name) for name in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT)]
    assert sizes == [8, 12]
    assert len(COCO("out/detections.json").imgs) == 12


def test_a_video_that_ends_early_is_processed_and_named(model, tmp_path, capsys):
    write_video(tmp_path / "clip.avi", 12, "MJPG")
    data = (tmp_path / "clip.avi").read_bytes()
    (tmp_path / "clip.avi").write_bytes(data[: len(data) * 2 // 3])
    assert main(["predict", "clip.avi", "--output", "out"]) == 1
    count = len(COCO("out/detections.json").imgs)
    assert 4 <= count <= 9
    assert f'"clip.avi" ends early: {count} of 12 frames' in capsys.readouterr().out


def test_limit_on_a_video_is_no_early_end(model, tmp_path, capsys):
    write_video(tmp_path / "clip.mp4", 12, "mp4v")
    assert main(["predict", "clip.mp4", "--save", "pictures", "--limit", "2"]) == 0
    assert files(tmp_path / "predictions") == [
        *("clip_frames/000000.jpg", "clip_frames/000001.jpg")
    ]


def test_ctrl_c_keeps_what_is_done(model, tmp_path, capsys, monkeypatch):
    write_photos(tmp_path / "photos", [(64, 64)] * 5)
    pairs = stream.Stream.pairs

    def interrupted(self):
        inner = pairs(self)
        for number, pair in enumerate(inner):
            if number == 2:
                inner.close()
                raise KeyboardInterrupt
            yield pair

    monkeypatch.setattr(stream.Stream, "pairs", interrupted)
    assert main(["predict", "photos", "--output", "out"]) == 130
    assert list(COCO("out/detections.json").imgs) == [1, 2]
    assert "2 photos with" in capsys.readouterr().out


def test_a_folder_with_files_is_refused_or_added_to(model, tmp_path, capsys):
    write_photos(tmp_path / "photos", [(64, 64)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/note.txt").write_text("mine")
    assert main(["predict", "photos", "--output", "out"]) == 1
    assert '"out" exists and is not empty' in capsys.readouterr().err
    assert files(tmp_path / "out") == ["note.txt"]
    assert main(["predict", "photos", "--output", "out", "--overwrite"]) == 0
    assert files(tmp_path / "out") == ["0.png", "detections.json", "note.txt"]


def test_the_photos_are_not_replaced(model, tmp_path, capsys):
    write_photos(tmp_path / "photos", [(64, 64)])
    before = (tmp_path / "photos/0.png").read_bytes()
    assert main(["predict", "photos", "--output", "photos", "--overwrite"]) == 1
    assert "is a photo that was given" in capsys.readouterr().err
    assert (tmp_path / "photos/0.png").read_bytes() == before


def test_classes_without_names(model, tmp_path, capsys):
    write_photos(tmp_path / "photos", [(64, 64)])
    model.class_names = None
    assert main(["predict", "photos", "--output", "numbers"]) == 0
    assert "--classes a,b,c" in capsys.readouterr().out
    cats = COCO("numbers/detections.json").cats.values()
    assert [each["name"] for each in cats] == ["class 1", "class 2"]
    model.class_names = None
    assert main(["predict", "photos", "--output", "named", "--classes", "box, ball"]) == 0
    cats = COCO("named/detections.json").cats.values()
    assert [each["name"] for each in cats] == ["box", "ball"]
    assert main(["predict", "photos", "--output", "more", "--classes", "box"]) == 1
    assert "--classes has 1 names; the weights have 2 classes" in capsys.readouterr().err


def test_settings_of_the_model(model, tmp_path, capsys):
    write_photos(tmp_path / "photos", [(64, 64)])
    assert main(["predict", "photos", "--min-score", "0.3", "--batch", "3"]) == 0
    assert model.asked == [{"IMAGES_PER_GPU": 3, "DETECTION_MIN_CONFIDENCE": 0.3}]


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["empty"], 1, 'The folder "empty" holds no photos.'),
        (["*.png"], 1, 'No photo or video fits the pattern "*.png".'),
        (["a.png", "--save", "video"], 1, "--save video needs a video or a camera"),
        (["a.png", "--save", "coco,pdf"], 2, '"pdf" is unknown; accepted are pictures, video'),
        (["a.png", "--classes", "a,,b"], 2, "has an empty name"),
        (["a.png", "--min-score", "2"], 2, "2 is not between 0 and 1"),
        (["a.png", "--mm-per-pixel", "0"], 2, "0 is not a length above 0"),
        (["a.png", "--scale", "1", "--mm-per-pixel", "1"], 2, "not allowed with"),
        (["a.png", "--limit", "0"], 2, "0 is less than 1"),
    ],
)
def test_wrong_arguments_end_before_the_model_is_made(
    arguments, status, sentence, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(command, "load_detector", None)
    try:
        assert main(["predict", *arguments]) == status
    except SystemExit as exit:
        assert exit.code == status
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "predictions").exists()


def test_tiles_of_a_large_photo(model, tmp_path, capsys):
    write_photos(tmp_path / "photos", [(100, 150), (64, 64)])
    assert main(["predict", "photos", "--tile", "64", "--overlap", "0.25", "--save", "coco"]) == 0
    data = COCO("predictions/detections.json")
    paths = ["photos/0.png", "photos/1.png"]
    expected = model.detect(paths, tile=64, overlap=0.25)
    assert len(expected[0]) > 0
    for number, result in enumerate(expected, start=1):
        found = data.loadAnns(data.getAnnIds(imgIds=[number]))
        assert [each["segmentation"]["counts"].encode() for each in found] == [
            rle["counts"] for rle in result["masks"]
        ]
    assert main(["predict", "photos", "--tile", "8", "--output", "small"]) == 1
    assert "tile is 8; it must be" in capsys.readouterr().err


def test_labelme_files_open_with_their_photos(model, tmp_path, capsys):
    write_photos(tmp_path / "photos", [(64, 80)])
    assert main(["predict", "photos", "--save", "labelme", "--output", "out"]) == 0
    assert files(tmp_path / "out") == ["labelme/0.json", "labelme/0.png"]
    document = json.loads((tmp_path / "out/labelme/0.json").read_text())
    assert (document["imagePath"], document["imageHeight"], document["imageWidth"]) == (
        *("0.png", 64, 80),
    )
    copied = (tmp_path / "out/labelme/0.png").read_bytes()
    assert copied == (tmp_path / "photos/0.png").read_bytes()
    (result,) = model.detect(["photos/0.png"])
    data = LabelMeDataset()
    data.load_labelme(tmp_path / "out/labelme")
    data.prepare()
    masks, class_ids = data.load_mask(0)
    filled = result["masks"].any((0, 1))
    np.testing.assert_array_equal(masks, result["masks"][..., filled])
    names = [model.class_names[class_id] for class_id in result["class_ids"][filled]]
    assert [data.class_names[class_id] for class_id in class_ids] == names


class FakeWindows:
    """Stands for OpenCV's windows: takes pictures, and gives one key per look."""

    def __init__(self, monkeypatch, keys):
        self.shown, self.keys = [], iter(keys)
        monkeypatch.setenv("DISPLAY", ":0")
        monkeypatch.setattr(cv2, "imshow", lambda title, picture: self.shown.append(picture))
        monkeypatch.setattr(cv2, "waitKey", lambda milliseconds: next(self.keys))
        monkeypatch.setattr(cv2, "getWindowProperty", lambda title, name: 1.0)
        monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)


def test_show_waits_for_a_key_per_photo_and_q_ends(model, tmp_path, capsys, monkeypatch):
    write_photos(tmp_path / "photos", [(40, 50)] * 6)
    windows = FakeWindows(monkeypatch, [-1, -1, ord("n"), -1, ord("q")])
    assert main(["predict", "photos", "--show", "--output", "out"]) == 0
    assert len(COCO("out/detections.json").imgs) == len(windows.shown) == 2
    with Image.open("out/1.png") as picture:
        np.testing.assert_array_equal(windows.shown[1][..., ::-1], np.asarray(picture))


def test_show_does_not_wait_in_a_video(model, tmp_path, capsys, monkeypatch):
    write_video(tmp_path / "clip.mp4", 6, "mp4v")
    windows = FakeWindows(monkeypatch, [-1] * 6)
    assert main(["predict", "clip.mp4", "--show", "--save", "coco"]) == 0
    assert len(windows.shown) == 6


def test_show_without_a_screen(tmp_path, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert main(["predict", "a.png", "--show"]) == 1
    assert "--show needs a screen" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["photos", ["photos/0.png", "photos/1.png"]])
def test_the_stream_of_python(model, tmp_path, given):
    write_photos(tmp_path / "photos", [(64, 64), (40, 64)])
    results = list(model.detect_stream(given, mask_format="full"))
    expected = model.detect(["photos/0.png", "photos/1.png"])
    for result, other in zip(results, expected, strict=True):
        assert (result.path, result.class_names) == (other.path, ["BG", "square", "disc"])
        np.testing.assert_array_equal(result["masks"], other["masks"])
        np.testing.assert_array_equal(result.image, other.image)
