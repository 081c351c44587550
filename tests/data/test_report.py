import io
import json
import re
import sys

import numpy as np
import pytest

from mrcnn.data import report
from mrcnn.data.dataset import Dataset
from mrcnn.readers.coco import CocoJsonDataset


@pytest.fixture
def troubled(array_dataset, rectangles):
    """Five images: sound ones, without instances, unreadable, with masks of another size."""
    good = rectangles([(0, 0, 20, 20), (0, 0, 20, 20), (0, 0, 20, 20), (40, 40, 44, 43)], [1] * 4)
    # The third has the box of the first two, but not its corner.
    good[1][0, 0, 2] = False
    crowd = rectangles([(0, 0, 16, 64), (1, 1, 1, 1)], [-2, 2], size=64)
    small = (np.zeros((32, 48, 3), np.uint8), *rectangles([(0, 0, 9, 9)], [1])[1:])
    return array_dataset(
        [good, crowd, rectangles([], []), (OSError("disk error"), None, None), small]
    )


def test_numbers(troubled):
    found = troubled.validate(verbose=0)
    assert found.image_sizes == [(64, 64)] * 3
    assert found.instances == {1: 4, 2: 1}
    assert found.images == {1: 1, 2: 1}
    assert found.crowds == {2: 1}
    # Boxes of 20 x 20 and of 4 x 3; the crowd and the empty mask have no size.
    assert found.sides == pytest.approx([20, 20, 20, 12**0.5])
    assert found.shares == pytest.approx([20 / 64] * 3 + [12**0.5 / 64])


def test_names(troubled):
    found = troubled.validate(verbose=0)
    assert found.without_instances == ["image 2 (2.png)"]
    assert found.tiny == ["image 0 (0.png), instance 3 (class 1)"]
    assert found.empty == ["image 1 (1.png), instance 1 (class 2)"]
    assert found.duplicates == ["image 0 (0.png), instance 1 (class 1)"]
    assert found.same_box == ["image 0 (0.png), instance 2 (class 1)"]
    assert found.unreadable == [
        "image 3 (3.png): OSError: disk error",
        "ValueError: image 4 (4.png): the masks have 64x64 pixels (height x width), the image has "
        "32x48.",
    ]


def test_values_that_detection_scales(array_dataset, rectangles):
    """Floats up to 1 and 16 bits count, floats and integers from 0 to 255 do not."""
    image, *rest = rectangles([(0, 0, 20, 20)], [1])
    image[0, 0] = 200
    images = [image, image / 255, image / 1.0, image + 0.25, image.astype(np.int64)]
    images += [image.astype(np.uint16), image - 300.0, np.repeat(image / 255, 2, axis=2)]
    found = array_dataset([(each, *rest) for each in images]).validate(verbose=0)
    assert found.rescaled == ["image 1 (1.png)", "image 5 (5.png)"]
    assert len(found.unreadable) == 1
    assert "image 6 (6.png) is float64 with values from -300 to -100;" in found.unreadable[0]
    assert "on another scale in training than in detection: 2" in str(found)


def test_tiny_is_an_argument(troubled):
    assert len(troubled.validate([0], tiny=12, verbose=0).tiny) == 0
    assert len(troubled.validate([0], tiny=13, verbose=0).tiny) == 1
    # 400 pixels twice, 399, 12.
    assert len(troubled.validate([0], tiny=400, verbose=0).tiny) == 2


def test_the_printed_report(troubled, capsys):
    found = troubled.validate()
    printed = capsys.readouterr()
    assert printed.out == f"{found}\n" and printed.err == ""
    lines = [re.sub(" +", " ", line.strip()) for line in printed.out.splitlines()]
    assert lines[:5] == [
        "3 images, 5 instances, 3 classes",
        "class instances images crowds",
        "1 class 1 4 1 0",
        "2 class 2 1 1 1",
        "3 class 3 0 0 0",
    ]
    assert "64..64 x 64..64; 1 different, most often 64x64 (3 images)" in lines[5]
    start = lines.index("images that cannot be used: 2")
    assert lines[start + 1] == "image 3 (3.png): OSError: disk error"
    assert lines[-1].startswith("ValueError: image 4 (4.png): the masks have 64x64")


def test_long_lists_are_cut_in_print_only(array_dataset, rectangles):
    found = array_dataset([rectangles([], [])] * 9).validate(verbose=0)
    assert len(found.without_instances) == 9
    text = str(found)
    assert "images without instances: 9\n" in text
    assert "image 4 (4.png)\n    and 4 more" in text and "image 5" not in text


def test_class_ids_out_of_range_are_found(array_dataset, rectangles):
    found = array_dataset([rectangles([(0, 0, 9, 9)], [4])], classes=3).validate(verbose=0)
    assert found.unreadable == [
        "ValueError: image 0 (0.png): class id 4 is not one of 1..3 (0 is the background; negative "
        "ids mark crowds)."
    ]


def test_notes_of_the_reader_are_included(tmp_path, write_photo, capsys):
    write_photo("a.png", 20, 30)
    segmentations = [[[2, 2, 9, 2, 9, 9]], [[1, 2]], [[3.1, 3.1, 3.2, 3.1, 3.2, 3.2]]]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 1, "segmentation": segmentation}
            for number, segmentation in enumerate(segmentations)
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    dataset = CocoJsonDataset()
    with pytest.warns(UserWarning, match="1 entry is left out"):
        dataset.load_coco_json(tmp_path / "coco.json", tmp_path)
    dataset.prepare()
    found = dataset.validate()
    assert found.notes == [
        ("a polygon with fewer than 3 points", "annotation 1 of image 1", True),
        ("no pixel is covered", "annotation 2 of image 1", True),
    ]
    out = capsys.readouterr().out
    assert "left out: a polygon with fewer than 3 points: 1\n    annotation 1 of image 1" in out
    assert "left out: no pixel is covered: 1\n    annotation 2 of image 1" in out


def test_a_long_run_has_a_progress_bar_on_a_terminal(troubled, monkeypatch, capsys):
    monkeypatch.setattr(report, "_PATIENCE", 0)
    troubled.validate()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    troubled.validate()
    assert re.search(r"0/5 .*\?image/s", capsys.readouterr().err)
    troubled.validate(verbose=0)
    assert capsys.readouterr() == ("", "")


def test_before_prepare():
    with pytest.raises(ValueError, match=r"call its prepare\(\)"):
        Dataset().validate()


def test_an_empty_dataset(capsys):
    dataset = Dataset()
    dataset.prepare()
    dataset.validate()
    assert capsys.readouterr().out.startswith("0 images, 0 instances, 0 classes\n")


def test_many_masks_with_one_box_are_looked_at_once(array_dataset, rectangles, monkeypatch):
    image, masks, class_ids = rectangles([(0, 0, 20, 20)] * 300, [1] * 300)
    # All but the last ten differ, in the numbers of their pixels written down.
    for number in range(290):
        masks[5, 1:11, number] = [number >> bit & 1 for bit in range(10)]
    monkeypatch.setattr(np, "array_equal", None)
    found = array_dataset([(image, masks, class_ids)]).validate(verbose=0)
    assert len(found.duplicates) == 9 and len(found.same_box) == 290


def test_the_boxes_of_large_stacks_are_found_part_by_part(troubled, monkeypatch):
    before = str(troubled.validate(verbose=0))
    monkeypatch.setattr(report, "_BLOCK", 1)
    assert str(troubled.validate(verbose=0)) == before


def test_names_that_a_terminal_cannot_show(array_dataset, rectangles, monkeypatch):
    dataset = array_dataset([rectangles([(0, 0, 4, 3)], [1])])
    dataset.class_names[1] = "\ud800 ж \x1b[2J"
    printed = io.TextIOWrapper(io.BytesIO(), "latin-1")
    monkeypatch.setattr(sys, "stdout", printed)
    found = dataset.validate()
    printed.flush()
    assert "\\ud800 \\u0436 \\x1b[2J" in printed.buffer.getvalue().decode("latin-1")
    assert "ж" in str(found)
