"""Data sets of command lines: folders, Python files, classes by name."""

import numpy as np
import pytest

from mrcnn.commands import main
from mrcnn.commands.classes import rename, with_classes
from mrcnn.commands.data import evaluated_part, find_data, safe_name
from tests.commands.drawn import draw_photos
from tests.mini import MiniShapes

PROGRAM = """
from mrcnn.config import Config
from tests.mini import MiniConfig, MiniShapes

class Base(Config):
    NAME = "base"

class Own(Base):
    NAME = "own"
    NUM_CLASSES = 3

def load_data():
    return MiniShapes(4), MiniShapes(2)
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return draw_photos(tmp_path_factory.mktemp("data") / "my photos", 10)


def test_folder_is_split(photos):
    data = find_data(photos)
    assert (data.name, data.format) == ("my_photos", "LabelMe JSON")
    assert (len(data.train.image_ids), len(data.val.image_ids)) == (8, 2)
    assert data.train.class_names == ["BG", "bar", "box"]
    assert data.train.name == data.val.name == "my_photos"


def test_share_of_validation(photos):
    data = find_data(photos, "0.5", seed=3)
    ids = [set(part.image_ids.tolist()) for part in (data.train, data.val)]
    assert list(map(len, ids)) == [5, 5] and not ids[0] & ids[1]
    assert data.notes[-1] == "5 images, chosen at random (seed 3), are for validation."
    assert set(find_data(photos, "0.5", seed=3).val.image_ids.tolist()) == ids[1]
    with pytest.raises(ValueError, match="--val is 1.5; a share of the images is between 0 and 1"):
        find_data(photos, "1.5")


def test_own_validation_part_is_replaced(tmp_path):
    draw_photos(tmp_path / "train", 4)
    draw_photos(tmp_path / "val", 2)
    assert len(find_data(tmp_path).val.image_ids) == 2
    data = find_data(tmp_path, "0.25")
    assert (len(data.train.image_ids), len(data.val.image_ids)) == (3, 1)
    assert "Its validation part is not used" in data.notes[0]


def test_folder_for_validation(photos, tmp_path):
    """All of the first folder is for training; a class that the second lacks keeps its number."""
    other = draw_photos(tmp_path / "more", 3, labels=("box",))
    data = find_data(photos, str(other))
    assert (len(data.train.image_ids), len(data.val.image_ids)) == (10, 3)
    assert data.val.class_names == ["BG", "bar", "box"]
    assert data.val.load_mask(0)[1].tolist() == [2]
    stranger = draw_photos(tmp_path / "third", 2, labels=("disc",))
    with pytest.raises(ValueError, match="do not know: disc; known are bar, box"):
        find_data(photos, str(stranger))
    with pytest.raises(FileNotFoundError, match='--val is "nowhere"; it must be a folder'):
        find_data(photos, "nowhere")


def test_evaluated_part(photos, tmp_path):
    assert len(evaluated_part(photos).image_ids) == 10
    draw_photos(tmp_path / "train", 4)
    draw_photos(tmp_path / "val", 2)
    assert len(evaluated_part(tmp_path).image_ids) == 2
    assert len(evaluated_part(tmp_path, "train").image_ids) == 4


def test_renamed_classes(photos):
    data = find_data(photos, classes=["long", "square"])
    assert data.train.class_names == data.val.class_names == ["BG", "long", "square"]
    with pytest.raises(ValueError, match="names a; .* has 2 classes, bar, box, and needs"):
        find_data(photos, classes=["a"])
    with pytest.raises(ValueError, match="needs as many different names"):
        rename(MiniShapes(1), ["a", "a"], "x")


def test_classes_in_another_order():
    dataset = MiniShapes(4)
    ours = with_classes(dataset, ["BG", "disc", "triangle", "square"], "x")
    for image_id in range(4):
        masks, ids = dataset.load_mask(image_id)
        found, numbers = ours.load_mask(image_id)
        np.testing.assert_array_equal(found, masks)
        # square 1 becomes 3, disc 2 becomes 1.
        assert numbers.tolist() == [{1: 3, 2: 1}[ids[0]]]
        np.testing.assert_array_equal(ours.load_image(image_id), dataset.load_image(image_id))
    # All three are labelled in the images, for the loss of classes.
    assert ours.source_class_ids["shapes"] == [0, 1, 2, 3]
    assert with_classes(dataset, dataset.class_names, "x") is dataset


def test_crowds_stay_negative(monkeypatch):
    dataset = MiniShapes(1)
    monkeypatch.setattr(
        dataset, "load_mask", lambda i: (np.ones((4, 4, 2), bool), np.array([-2, 1]))
    )
    ours = with_classes(dataset, ["BG", "disc", "square"], "x")
    assert ours.load_mask(0)[1].tolist() == [-1, 2]


def test_python_file(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(PROGRAM, encoding="utf-8")
    data = find_data(file)
    assert (data.config.__name__, data.name, data.format) == ("Own", "own", "Python file")
    assert (len(data.train.image_ids), len(data.val.image_ids)) == (4, 2)
    assert len(evaluated_part(file).image_ids) == 2
    assert len(evaluated_part(file, "train").image_ids) == 4


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("def load_data", "def other"), "has no function load_data"),
        (("class Own(Base)", "class Own(Missing)"), "cannot be run: NameError"),
        (("(Base)", "(Config)"), "must have one subclass of mrcnn.config.Config; it has Base, Own"),
        (("return MiniShapes(4), MiniShapes(2)", "return 3"), "must return two Datasets"),
        (("NUM_CLASSES = 3", "NUM_CLASSES = 3 / 0"), "cannot be run: ZeroDivisionError"),
        (("NUM_CLASSES = 3", "NUM_CLASSES ="), "cannot be run: SyntaxError"),
    ],
)
def test_python_file_that_lacks_something(tmp_path, change, sentence):
    file = tmp_path / "own.py"
    file.write_text(PROGRAM.replace(*change), encoding="utf-8")
    with pytest.raises(ValueError, match=sentence) as error:
        find_data(file)
    assert str(file) in str(error.value)


def test_bad_data_are_one_sentence(tmp_path, capsys):
    """Nothing there, a file of another kind, a folder without images."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    for name, part in (
        ("nowhere", "There is no folder or file"),
        ("notes.txt", "is a file; "),
        ("empty", "has no images"),
    ):
        for command in ("train", "evaluate", "validate"):
            assert main([command, str(tmp_path / name)]) == 1
            out, err = capsys.readouterr()
            assert out == "" and part in err and err.count("\n") == 1


def test_names_of_runs():
    assert [safe_name(text) for text in ("my photos", "a-b.c", "___", "réseau")] == [
        "my_photos",
        "a_b_c",
        "data",
        "réseau",
    ]
