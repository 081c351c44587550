import numpy as np
import pytest
from PIL import Image

from mrcnn.readers.voc import VocDataset

HEIGHT, WIDTH = 12, 16
# Two objects of one class and one of another; the edge of the first one is void.
OBJECTS = np.zeros((HEIGHT, WIDTH), np.uint8)
OBJECTS[1:5, 1:5] = 1
OBJECTS[1:5, 8:12] = 2
OBJECTS[7:10, 3:9] = 9
OBJECTS[1, 1:5] = 255
CLASSES = np.where(OBJECTS == 9, 12, np.where(np.isin(OBJECTS, [1, 2]), 15, OBJECTS))
# Of Pascal VOC's palette: 1, 2 and 9, 12 (dog) and 15 (person), and void.
COLOURS = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 9: (192, 0, 0)}
COLOURS |= {12: (64, 0, 128), 15: (192, 128, 128), 255: (224, 224, 192)}


def palette(pixels):
    picture = Image.fromarray(pixels.astype(np.uint8)).convert("L")
    picture = Image.frombytes("P", picture.size, picture.tobytes())
    picture.putpalette([value for i in range(256) for value in COLOURS.get(i, (i, i, i))])
    return picture


def colours(pixels):
    table = np.zeros((256, 3), np.uint8)
    for index, colour in COLOURS.items():
        table[index] = colour
    return Image.fromarray(table[pixels])


@pytest.fixture
def folder(tmp_path, write_photo):
    """Function that writes Pascal VOC's folders with two photos, the pictures made by `draw`."""

    def write(draw=palette, objects=OBJECTS, classes=CLASSES):
        for name in ("a", "b"):
            write_photo(f"JPEGImages/{name}.png", HEIGHT, WIDTH)
            for kind, pixels in (("Object", objects), ("Class", classes)):
                (tmp_path / f"Segmentation{kind}").mkdir(exist_ok=True)
                draw(pixels).save(tmp_path / f"Segmentation{kind}" / f"{name}.png")
        lists = tmp_path / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / "train.txt").write_text("a\n")
        (lists / "val.txt").write_text("b\n")
        return tmp_path

    return write


def load(folder, *args, **options):
    dataset = VocDataset()
    dataset.load_voc(folder, *args, **options)
    dataset.prepare()
    return dataset


@pytest.mark.parametrize("draw", [palette, colours])
def test_objects_and_their_classes(folder, draw):
    dataset = load(folder(draw))
    assert dataset.num_classes == 21 and dataset.num_images == 2
    masks, class_ids = dataset.load_mask(0)
    found = {
        int(mask.sum()): dataset.class_names[i] for mask, i in zip(masks.T, class_ids, strict=True)
    }
    # The void edge of the first object is none of its pixels.
    assert found == {12: "person", 16: "person", 18: "dog"}
    assert not masks[1, 1:5].any() and masks[2:5, 1:5].any(axis=2).all()


def test_subsets_are_lists_of_names(folder):
    path = folder()
    assert [info["id"] for info in load(path, "val").image_info] == ["b"]
    with pytest.raises(FileNotFoundError, match="test.txt"):
        load(path, "test")


def test_labelmap_of_cvat(folder):
    path = folder(colours)
    text = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nhuman:192,128,128::\n"
    (path / "labelmap.txt").write_text(text + "beast:64,0,128::\nbroken:1,2::\n")
    dataset = load(path)
    assert dataset.class_names == ["BG", "human", "beast"]
    assert sorted(dataset.load_mask(0)[1].tolist()) == [1, 1, 2]


def test_an_object_without_a_class_is_left_out(folder):
    dataset = load(folder(classes=np.where(OBJECTS == 2, 0, CLASSES)))
    assert sorted(dataset.load_mask(0)[1].tolist()) == [12, 15]
    assert [note.reason for note in dataset.notes] == ["an object without a class"]


def test_the_class_of_most_pixels_counts(folder):
    classes = CLASSES.copy()
    classes[2, 1:5] = 3
    dataset = load(folder(classes=classes))
    assert sorted(dataset.load_mask(0)[1].tolist()) == [12, 15, 15]


def test_missing_pictures(folder):
    path = folder()
    (path / "SegmentationClass" / "b.png").unlink()
    (path / "JPEGImages" / "a.png").rename(path / "JPEGImages" / "c.png")
    with pytest.raises(FileNotFoundError, match="has no usable image: 1 x no photo of this name"):
        load(path)
    (path / "SegmentationClass" / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match="have no pictures"):
        load(path)
    with pytest.raises(FileNotFoundError, match="JPEGImages has no photos"):
        load(path / "ImageSets")


def test_pictures_of_another_size_are_refused(folder):
    path = folder()
    palette(CLASSES[1:]).save(path / "SegmentationClass" / "a.png")
    with pytest.raises(ValueError, match="11x16 pixels"):
        load(path).load_mask(0)


def xml(objects):
    parts = []
    for name, *sides in objects:
        named = zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=False)
        box = "".join(f"<{side}>{value}</{side}>" for side, value in named)
        parts.append(f"<object><name>{name}</name><bndbox>{box}</bndbox></object>")
    return f"<annotation><filename>a.png</filename>{''.join(parts)}</annotation>"


@pytest.fixture
def box_folder(tmp_path, write_photo):
    """Function that writes a photo with boxes."""

    def write(*objects):
        write_photo("JPEGImages/a.png", HEIGHT, WIDTH)
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "Annotations" / "a.xml").write_text(xml(objects))
        return tmp_path

    return write


def test_boxes_are_objects_on_demand(box_folder):
    # VOC's box of the first pixel is (1, 1, 1, 1).
    dataset = load(box_folder(("dog", 1, 1, 1, 1), ("cat", 3, 5, 8, 10)), boxes=True)
    assert dataset.class_names == ["BG", "cat", "dog"]
    masks, class_ids = dataset.load_mask(0)
    assert class_ids.tolist() == [2, 1]
    assert masks[0, 0, 0] and masks[..., 0].sum() == 1
    assert masks[4:10, 2:8, 1].all() and masks[..., 1].sum() == 36


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (("dog", 1, 1, "x", 1), "a coordinate that is not a number"),
        (("dog", 1, 1, 9), "a coordinate that is not a number"),
        (("cow", 1, 1, 9, 9), "a class that is not among class_names"),
        (("dog", 50, 1, 90, 9), "a shape outside the image"),
    ],
)
def test_broken_boxes_are_left_out(box_folder, broken, reason):
    path = box_folder(("dog", 3, 5, 8, 10), broken)
    with pytest.warns(UserWarning, match=f"1 entry is left out: 1 x {reason}"):
        assert load(path, boxes=True, class_names=["dog"]).load_mask(0)[1].tolist() == [1]


def test_files_with_entities_are_refused(box_folder):
    path = box_folder(("dog", 3, 5, 8, 10))
    text = '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + xml([("&e;", 1, 1, 5, 5)])
    (path / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(ValueError, match=r"a\.xml declares XML entities, which are never resolved"):
        load(path, boxes=True)
    (path / "Annotations" / "a.xml").rename(path / "Annotations" / "b.xml")
    for name in ("a", "b"):
        (path / "JPEGImages" / f"{name}.png").write_bytes((path / "JPEGImages/a.png").read_bytes())
    (path / "Annotations" / "a.xml").write_text(xml([("dog", 1, 1, 5, 5)]))
    with pytest.warns(UserWarning, match=r"1 x a file that cannot be used \(b\.xml\)"):
        assert load(path, boxes=True).num_images == 1
