import json
import os
import re

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mrcnn.datasets import Dataset, open_folder

HEIGHT, WIDTH = 33, 41


class Painted(Dataset):
    """Photos and masks that are made, not read; classes "cat" and "dog"."""

    def __init__(self, count=3, crowd=False, classes=("cat", "dog"), seed=0):
        super().__init__()
        rng, self.masks, self.labels = np.random.default_rng(seed), [], []
        for number, name in enumerate(classes, start=1):
            self.add_class("painted", number * 10, name)
        for number in range(count):
            self.add_image("painted", f"photo {number}", None)
            masks = np.stack([noisy(rng) for _ in range(4)], axis=-1)
            self.masks.append(masks)
            self.labels.append(rng.integers(1, len(classes) + 1, 4).astype(np.int32))
        if crowd:
            self.labels[0][1] *= -1
        self.prepare()

    def load_image(self, image_id):
        return np.full((HEIGHT, WIDTH, 3), 50 * image_id, np.uint8)

    def load_mask(self, image_id):
        return self.masks[image_id], self.labels[image_id]


def noisy(rng):
    """A mask of several parts with holes, of single pixels, and of pixels that touch at corners."""
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    y, x, size = rng.integers(8, 28), rng.integers(8, 28), rng.integers(4, 9)
    mask = np.hypot(ys - y, xs - x) < size
    return mask ^ (rng.random((HEIGHT, WIDTH)) < 0.04)


def saved(dataset, format, folder, **options):
    dataset.save(format, folder, **options)
    return open_folder(folder, seed=1)


def everything(found):
    """Per name of a photo: image, masks and names of classes, of both parts."""
    content = {}
    for part in filter(None, (found.train, found.val)):
        for image_id in part.image_ids:
            masks, class_ids = part.load_mask(image_id)
            name = os.path.splitext(os.path.basename(part.image_info[image_id]["path"]))[0]
            names = [part.class_names[abs(class_id)] for class_id in class_ids]
            content[name] = part.load_image(image_id), masks, names, np.sign(class_ids).tolist()
    return content


@pytest.mark.parametrize("format", ["coco", "labelme", "yolo", "masks"])
def test_masks_that_are_read_back_are_equal(tmp_path, format):
    dataset = Painted(classes=("cat", "dog") if format != "masks" else ("object",))
    content = everything(saved(dataset, format, tmp_path / "new"))
    assert sorted(content) == ["photo 0", "photo 1", "photo 2"]
    for number in range(3):
        image, masks, names, signs = content[f"photo {number}"]
        assert (image == dataset.load_image(number)).all()
        assert (masks == dataset.masks[number]).all()
        assert names == [dataset.class_names[each] for each in dataset.labels[number]]
        assert signs == [1] * 4
    assert not [path for path in tmp_path.rglob(".*")]


def test_pycocotools_reads_what_is_saved(tmp_path):
    dataset = Painted(crowd=True)
    dataset.save("coco", tmp_path)
    coco = COCO(tmp_path / "annotations.json")
    assert [each["name"] for each in coco.loadCats(coco.getCatIds())] == ["cat", "dog"]
    for number, record in enumerate(coco.loadImgs(coco.getImgIds())):
        assert (record["height"], record["width"]) == (HEIGHT, WIDTH)
        annotations = coco.loadAnns(coco.getAnnIds(record["id"]))
        for index, each in enumerate(annotations):
            mask = dataset.masks[number][..., index]
            assert (coco.annToMask(each) == mask).all() and each["area"] == mask.sum()
            x, y, width, height = each["bbox"]
            assert mask[y : y + height, x : x + width].sum() == mask.sum()
            assert mask[y].any() and mask[y + height - 1].any()
            assert mask[:, x].any() and mask[:, x + width - 1].any()
            assert each["iscrowd"] == (number == 0 and index == 1)


@pytest.mark.parametrize("format", ["coco", "labelme", "yolo"])
def test_only_coco_has_crowds(tmp_path, format):
    dataset = Painted(crowd=True)
    if format == "coco":
        _, masks, _, signs = everything(saved(dataset, format, tmp_path))["photo 0"]
        assert signs == [1, -1, 1, 1]
        return
    with pytest.warns(UserWarning, match="has no crowds; those of 1 images are left out: image 0"):
        dataset.save(format, tmp_path)
    _, masks, _, _ = everything(open_folder(tmp_path))["photo 0"]
    assert (masks == dataset.masks[0][..., [0, 2, 3]]).all()


def test_labelme_has_polygons_where_they_can_hold_the_object(tmp_path):
    dataset = Painted(1, classes=("cat",))
    dataset.masks[0] = np.zeros((HEIGHT, WIDTH, 3), bool)
    dataset.masks[0][2:5, 3:9, 0] = True
    dataset.masks[0][[8, 12], [8, 12], 1] = True
    dataset.masks[0][20:25, 20:25, 2] = True
    dataset.masks[0][22, 22, 2] = False
    dataset.labels[0] = np.ones(3, np.int32)
    dataset.save("labelme", tmp_path)
    shapes = json.loads((tmp_path / "photo 0.json").read_text())["shapes"]
    kinds = [(each["shape_type"], each["group_id"]) for each in shapes]
    assert kinds == [("polygon", None), ("polygon", 2), ("polygon", 2), ("mask", None)]
    assert shapes[0]["points"] == [[3, 2], [9, 2], [9, 5], [3, 5]]
    assert shapes[3]["points"] == [[20, 20], [24, 24]]


def test_yolo_has_one_polygon_per_object(tmp_path):
    dataset = Painted(1)
    dataset.masks[0] = np.zeros((HEIGHT, WIDTH, 1), bool)
    dataset.masks[0][11:22, 0:41, 0] = True
    dataset.labels[0] = np.array([2], np.int32)
    dataset.save("yolo", tmp_path)
    text = (tmp_path / "labels" / "photo 0.txt").read_text()
    assert text == "1 0 0.33333333 1 0.33333333 1 0.66666667 0 0.66666667\n"
    assert "0: cat" in (tmp_path / "data.yaml").read_text()


class Files(Painted):
    """The same masks for photos that are files."""

    load_image = Dataset.load_image

    def __init__(self, folder, suffix=".jpg", exif=None, size=(HEIGHT, WIDTH)):
        super().__init__(2)
        rng = np.random.default_rng(1)
        for number, info in enumerate(self.image_info):
            info["path"] = str(folder / str(number) / f"same{suffix}")
            os.makedirs(folder / str(number))
            pixels = rng.integers(0, 255, (*size, 3), np.uint8)
            Image.fromarray(pixels).save(info["path"], **({"exif": exif} if exif else {}))


@pytest.mark.parametrize("copy_images", [True, False])
def test_photos_are_copied_or_linked(tmp_path, copy_images):
    dataset = Files(tmp_path / "photos")
    dataset.save("coco", tmp_path / "new", copy_images=copy_images)
    # Files of one name get different ones.
    for number, name in enumerate(["same.jpg", "same_2.jpg"]):
        path = tmp_path / "new" / "images" / name
        original = tmp_path / "photos" / str(number) / "same.jpg"
        assert path.read_bytes() == original.read_bytes()
        assert path.is_symlink() == (not copy_images)


def test_photos_of_other_formats_and_turned_ones_become_png(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    turned = Files(tmp_path / "turned", exif=exif, size=(HEIGHT, WIDTH))
    for info in turned.image_info:
        # The annotations are for the photo as it is stored.
        info.update(height=HEIGHT, width=WIDTH)
    for name, dataset in {"turned": turned, "gif": Files(tmp_path / "gif", ".gif")}.items():
        content = everything(saved(dataset, "yolo", tmp_path / f"{name} new"))
        assert sorted(os.listdir(tmp_path / f"{name} new" / "images")) == ["same.png", "same_2.png"]
        for number, key in enumerate(["same", "same_2"]):
            assert (content[key][0] == dataset.load_image(number)).all()
            assert (content[key][1] == dataset.masks[number]).all()


def test_images_that_cannot_be_read_are_left_out(tmp_path):
    dataset = Files(tmp_path / "photos")
    (tmp_path / "photos" / "0" / "same.jpg").write_bytes(b"no photo")
    with pytest.warns(UserWarning, match=r"1 images are left out: image 0: .* cannot be read"):
        dataset.save("labelme", tmp_path / "new")
    assert open_folder(tmp_path / "new").train.num_images == 1
    (tmp_path / "photos" / "1" / "same.jpg").unlink()
    with pytest.raises(OSError, match="image 0"):
        dataset.save("labelme", tmp_path / "third")


@pytest.mark.parametrize("format", ["coco", "labelme", "yolo"])
def test_both_parts_of_a_folder_are_saved(tmp_path, format):
    first = saved(Painted(4), "coco", tmp_path / "first")
    first.save(format, tmp_path / "second")
    second = open_folder(tmp_path / "second")
    for old, new in ((first.train, second.train), (first.val, second.val)):
        assert new.num_images == old.num_images and new.class_names == ["BG", "cat", "dog"]
        paths = [[each.image_info[i]["path"] for i in each.image_ids] for each in (old, new)]
        stems = [[os.path.basename(path) for path in each] for each in paths]
        assert sorted(stems[0]) == sorted(stems[1])
    before, after = everything(first), everything(second)
    assert all((before[name][1] == after[name][1]).all() for name in before)
    if format == "yolo":
        text = (tmp_path / "second" / "data.yaml").read_text()
        assert text.startswith("path: .\ntrain: train/images\nval: val/images\nnames:\n")


def test_wrong_arguments(tmp_path):
    dataset = Painted(1)
    with pytest.raises(ValueError, match="format is 'voc'; choose one of 'coco', 'labelme'"):
        dataset.save("voc", tmp_path / "new")
    with pytest.raises(ValueError, match="Mask folders have one class, and the dataset has 2"):
        dataset.save("masks", tmp_path / "new")
    with pytest.raises(ValueError, match="has no images"):
        Painted(0).save("coco", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(FileExistsError, match=re.escape(f'"{tmp_path}" is not empty')):
        dataset.save("coco", tmp_path)
    with pytest.raises(NotADirectoryError, match="mine.txt"):
        dataset.save("coco", tmp_path / "mine.txt")


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=r"photo 0\.png.* cannot be written: No space left"):
        Painted(1).save("coco", tmp_path / "new")
    assert not [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
