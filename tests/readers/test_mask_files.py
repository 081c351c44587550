import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mrcnn import limits
from mrcnn.readers.mask_files import LabelImageDataset, MaskFolderDataset

HEIGHT, WIDTH = 12, 16


def block(y1, x1, y2, x2, value=1, dtype=np.uint8):
    pixels = np.zeros((HEIGHT, WIDTH), dtype)
    pixels[y1:y2, x1:x2] = value
    return pixels


def save(path, pixels, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    if palette is not None:
        picture.putpalette(palette)
    picture.save(path)


@pytest.fixture
def mask_folder(tmp_path, write_photo):
    """Function that writes `<id>/images/<id>.png` and `<id>/masks/<n>.png`; returns the folder."""

    def write(name, masks, suffix="png"):
        write_photo(f"set/{name}/images/{name}.{suffix}", HEIGHT, WIDTH)
        for number, pixels in enumerate(masks):
            save(tmp_path / "set" / name / "masks" / f"{number}.png", pixels)
        return tmp_path / "set"

    return write


def load_folder(folder, *arguments, **options):
    dataset = MaskFolderDataset()
    dataset.load_mask_folder(folder, *arguments, **options)
    dataset.prepare()
    return dataset


def load_labels(folder, **options):
    dataset = LabelImageDataset()
    dataset.load_label_images(folder / "photos", folder / "labels", **options)
    dataset.prepare()
    return dataset


def test_a_folder_for_each_photo(mask_folder):
    mask_folder("b", [block(0, 0, 2, 3, 255), block(5, 5, 9, 6, 255)])
    folder = mask_folder("a", [block(1, 1, 2, 2, 255)])
    dataset = load_folder(folder, "nucleus", source="cells")
    assert dataset.class_names == ["BG", "nucleus"]
    assert [info["id"] for info in dataset.image_info] == ["a", "b"]
    assert dataset.class_info[1] == {"source": "cells", "id": 1, "name": "nucleus"}
    masks, class_ids = dataset.load_mask(1)
    assert masks.dtype == bool and class_ids.tolist() == [1, 1]
    assert (masks[..., 0] == block(0, 0, 2, 3)).all()
    assert (masks[..., 1] == block(5, 5, 9, 6)).all()
    assert dataset.load_image(1).shape == (HEIGHT, WIDTH, 3)
    assert [info["id"] for info in load_folder(folder, image_ids=["b"]).image_info] == ["b"]


def test_masks_of_any_depth(mask_folder, tmp_path):
    colour = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    colour[..., 3] = 255
    colour[3:5, 3:5, 1] = 7
    pictures = [block(0, 0, 1, 4, True, bool), block(0, 0, 2, 4, 300, np.uint16), colour]
    folder = mask_folder("a", pictures)
    # Index 0 is white here, index 2 black.
    save(folder / "a" / "masks" / "3.png", block(8, 8, 9, 12, 2), [255] * 3 + [9] * 3 + [0] * 3)
    masks, class_ids = load_folder(folder).load_mask(0)
    assert class_ids.tolist() == [1] * 4
    assert masks.sum(axis=(0, 1)).tolist() == [4, 8, 4, 4]
    assert masks[3:5, 3:5, 2].all() and masks[8, 8:12, 3].all()


def test_photos_of_other_kinds_and_names(mask_folder, write_photo):
    folder = mask_folder("ä", [block(1, 1, 2, 2)], suffix="jpg")
    mask_folder("b", [block(1, 1, 2, 2)])
    (folder / "b" / "images" / "b.png").rename(folder / "b" / "images" / "other.png")
    mask_folder("c", [block(1, 1, 2, 2)])
    write_photo("set/c/images/preview.png", 3, 3)
    dataset = load_folder(folder)
    names = [Path(info["path"]).name for info in dataset.image_info]
    assert names == ["other.png", "c.png", "ä.jpg"]
    assert all(dataset.load_image(n).shape == (HEIGHT, WIDTH, 3) for n in range(3))


def test_an_empty_mask_is_left_out(mask_folder):
    dataset = load_folder(mask_folder("a", [block(0, 0, 0, 0), block(1, 1, 2, 2)]))
    assert dataset.load_mask(0)[1].tolist() == [1]
    assert dataset.notes == [("no pixel is covered", "0.png of a", True)]


def test_photos_without_masks(mask_folder):
    mask_folder("a", [])
    folder = mask_folder("b", [])
    # Nothing is annotated, so nothing is missing.
    dataset = load_folder(folder)
    assert dataset.load_mask(0)[0].shape == (HEIGHT, WIDTH, 0) and dataset.notes == []
    mask_folder("c", [block(1, 1, 2, 2)])
    (folder / "b" / "masks").mkdir()
    with pytest.warns(UserWarning, match=r"2 entries are odd, but kept: 2 x no mask .* \(a, b\)"):
        dataset = load_folder(folder)
    assert [len(dataset.load_mask(n)[1]) for n in range(3)] == [0, 0, 1]


def test_folders_without_a_photo(mask_folder, tmp_path):
    folder = mask_folder("a", [block(1, 1, 2, 2)])
    (folder / "b" / "images").mkdir(parents=True)
    with pytest.warns(UserWarning, match=r"1 x not exactly one photo in the folder 'images' \(b\)"):
        assert load_folder(folder).num_images == 1
    with pytest.raises(
        FileNotFoundError,
        match=r"no usable image: 2 x not exactly one photo in .*'photos' \(a, b\)\.",
    ):
        load_folder(folder, image_dir="photos")
    with pytest.raises(FileNotFoundError, match="gone"):
        load_folder(folder / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty has no folders; expected are .*<id>.images"):
        load_folder(tmp_path / "empty")


def test_masks_of_another_size(mask_folder):
    folder = mask_folder("a", [block(1, 1, 2, 2), np.ones((5, 6), np.uint8)])
    dataset = load_folder(folder)
    with pytest.raises(ValueError, match=r"1\.png has 5x6 pixels .*; expected are 12x16"):
        dataset.load_mask(0)
    save(folder / "a" / "masks" / "0.png", np.ones((5, 6), np.uint8))
    dataset = load_folder(folder)
    assert dataset.load_mask(0)[0].shape == (5, 6, 2)
    with pytest.raises(ValueError, match=r"has 12x16 pixels .* its annotations are for 5x6"):
        dataset.load_image(0)


def test_a_photo_with_exif_is_turned_only_if_its_masks_are(mask_folder, write_photo):
    folder = mask_folder("a", [block(1, 1, 2, 2)])
    exif = Image.Exif()
    exif[274] = 6
    write_photo("set/a/images/a.png", HEIGHT, WIDTH, exif=exif)
    assert load_folder(folder).load_image(0).shape == (HEIGHT, WIDTH, 3)


def test_a_damaged_mask_is_named(mask_folder):
    folder = mask_folder("a", [block(1, 1, 2, 2), block(2, 2, 3, 3)])
    (folder / "a" / "masks" / "1.png").write_text("no picture")
    with pytest.raises(OSError, match=r"masks.1\.png cannot be read as an image"):
        load_folder(folder).load_mask(0)


LABELS = block(0, 0, 2, 3, 5) + block(4, 4, 6, 6, 2) + block(8, 0, 9, 9, 200)


@pytest.mark.parametrize("kind", ["png", "tif", "16 bit", "float", "palette", "rgb"])
def test_label_images(tmp_path, write_photo, kind):
    write_photo("photos/zelle ü.jpg", HEIGHT, WIDTH)
    labels, path = LABELS, tmp_path / "labels" / "zelle ü.png"
    palette = None
    if kind == "palette":
        # Two indices of one colour, and an index 0 that is not black.
        palette = [90, 90, 90] * 256
    elif kind == "16 bit":
        labels = labels.astype(np.uint16) * 300
    elif kind in ("tif", "float"):
        path = path.with_suffix(".tif")
        labels = labels.astype(np.float32 if kind == "float" else np.uint16)
    elif kind == "rgb":
        labels = np.stack([labels] * 3, axis=-1)
    save(path, labels, palette)
    dataset = load_labels(tmp_path, class_name="cell")
    masks, class_ids = dataset.load_mask(0)
    assert dataset.class_names == ["BG", "cell"]
    assert masks.dtype == bool and class_ids.tolist() == [1, 1, 1]
    # In the order of the numbers: 2, 5, 200.
    expected = [block(4, 4, 6, 6), block(0, 0, 2, 3), block(8, 0, 9, 9)]
    np.testing.assert_array_equal(masks, np.stack(expected, axis=-1).astype(bool))
    assert dataset.load_image(0).shape == (HEIGHT, WIDTH, 3)


def test_label_image_without_background_or_without_objects(tmp_path, write_photo):
    for name, pixels in (("a", block(0, 0, 12, 16, 3)), ("b", block(0, 0, 0, 0))):
        write_photo(f"photos/{name}.png", HEIGHT, WIDTH)
        save(tmp_path / "labels" / f"{name}.png", pixels)
    dataset = load_labels(tmp_path)
    masks, class_ids = dataset.load_mask(0)
    assert masks.shape == (HEIGHT, WIDTH, 1) and masks.all() and class_ids.tolist() == [1]
    assert dataset.load_mask(1)[0].shape == (HEIGHT, WIDTH, 0)


def test_photos_and_label_images_that_do_not_match(tmp_path, write_photo):
    for name in "abc":
        write_photo(f"photos/{name}.png", HEIGHT, WIDTH)
    save(tmp_path / "labels" / "a.png", LABELS)
    save(tmp_path / "labels" / "b.jpg", LABELS)
    save(tmp_path / "labels" / "z.png", LABELS)
    with pytest.warns(UserWarning) as caught:
        dataset = load_labels(tmp_path)
    message = str(caught[0].message)
    assert "2 x no PNG, TIFF or BMP of this name in" in message and "(b.png, c.png)" in message
    assert "1 x no photo of this name in" in message and "(z.png)" in message
    assert [info["id"] for info in dataset.image_info] == ["a"]
    (tmp_path / "labels" / "a.png").unlink()
    with pytest.raises(FileNotFoundError, match="labels has no usable image: 3 x no PNG, TIFF or"):
        load_labels(tmp_path)


def test_colours_and_fractions_are_refused_as_labels(tmp_path, write_photo):
    colours = np.stack([LABELS, LABELS, LABELS // 2], axis=-1)
    fractions = LABELS / np.float32(2)
    for name, pixels in (("a.png", colours), ("b.tif", fractions)):
        write_photo(f"photos/{name[0]}.png", HEIGHT, WIDTH)
        save(tmp_path / "labels" / name, pixels)
    dataset = load_labels(tmp_path)
    for image_id in (0, 1):
        with pytest.raises(ValueError, match=r"labels.[ab]\.\w+ holds colours or fractions"):
            dataset.load_mask(image_id)


def test_pipes_and_links_among_the_pictures_are_noted(mask_folder, tmp_path, write_photo):
    folder = mask_folder("a", [block(1, 1, 2, 2)])
    os.mkfifo(folder / "a" / "masks" / "-1.png")
    (folder / "a" / "masks" / "2.png").symlink_to(folder / "a" / "masks" / "2.png")
    (folder / "a" / "masks" / "3.png").mkdir()
    (folder / "a" / "masks" / "4.png").symlink_to("0.png")
    os.mkfifo(folder / "a" / "images" / "b.png")
    with pytest.warns(UserWarning, match="4 x a link to nothing, a folder, a pipe or a device"):
        dataset = load_folder(folder)
    assert dataset.load_mask(0)[1].tolist() == [1, 1]
    assert dataset.load_image(0).shape == (HEIGHT, WIDTH, 3)

    for name in "ab":
        write_photo(f"photos/{name}.png", HEIGHT, WIDTH)
    save(tmp_path / "labels" / "a.png", LABELS)
    os.mkfifo(tmp_path / "labels" / "b.png")
    with pytest.warns(UserWarning, match=r"1 x a link to nothing, .*labels.b\.png.*no PNG"):
        assert load_labels(tmp_path).num_images == 1


def test_empty_and_endless_files_are_left_out(mask_folder):
    folder = mask_folder("a", [block(1, 1, 2, 2)])
    mask_folder("b", [block(1, 1, 2, 2)])
    (folder / "b" / "masks" / "0.png").unlink()
    (folder / "b" / "masks" / "0.png").symlink_to("/proc/kmsg")
    with pytest.warns(UserWarning, match=r"1 x an image that cannot be read \(b\)"):
        assert load_folder(folder).num_images == 1


def test_masks_that_would_fill_the_memory(mask_folder, tmp_path, write_photo, monkeypatch):
    folder = mask_folder("a", [block(1, 1, 2, 2)] * 3)
    write_photo("photos/a.png", HEIGHT, WIDTH)
    save(tmp_path / "labels" / "a.png", LABELS)
    datasets = load_folder(folder), load_labels(tmp_path)
    # Three masks of 12 x 16 pixels.
    monkeypatch.setattr(limits, "MAX_MASK_BYTES", 576)
    assert all(len(dataset.load_mask(0)[1]) == 3 for dataset in datasets)
    monkeypatch.setattr(limits, "MAX_MASK_BYTES", 575)
    for dataset, name in zip(datasets, ("a.png with 3 masks", "a.png with 3 labels"), strict=True):
        message = f"{name} of 12x16 pixels .* more memory than mrcnn.limits.MAX_MASK_BYTES = 575"
        with pytest.raises(ValueError, match=message):
            dataset.load_mask(0)


def test_a_label_image_of_a_million_labels(tmp_path, write_photo):
    write_photo("photos/a.png", 1000, 1000)
    labels = np.arange(1, 1_000_001, dtype=np.int32).reshape(1000, 1000)
    (tmp_path / "labels").mkdir()
    Image.fromarray(labels).save(tmp_path / "labels" / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif with 1000000 labels of 1000x1000 pixels"):
        load_labels(tmp_path).load_mask(0)


def test_infinite_labels(tmp_path, write_photo):
    write_photo("photos/a.png", HEIGHT, WIDTH)
    labels = LABELS.astype(np.float32)
    labels[labels > 0] = np.inf
    save(tmp_path / "labels" / "a.tif", labels)
    with pytest.raises(ValueError, match="holds colours or fractions"):
        load_labels(tmp_path).load_mask(0)
