import numpy as np
import pytest
import skimage.io
from PIL import Image

from mrcnn.data.checks import describe_image
from mrcnn.data.dataset import Dataset


@pytest.fixture
def two_sources():
    dataset = Dataset()
    dataset.add_class("zoo", 7, "cat, feline")
    dataset.add_class("road", 7, "car")
    dataset.add_class("zoo", 9, "dog")
    dataset.add_class("zoo", 7, "another name")
    dataset.add_image("road", "a", "a.png", lanes=2)
    dataset.add_image("zoo", 5, "b.png")
    dataset.prepare()
    return dataset


def file_dataset(path):
    dataset = Dataset()
    dataset.add_image("files", "x", str(path))
    dataset.prepare()
    return dataset


def test_classes_are_numbered_in_order_and_added_once(two_sources):
    assert two_sources.num_classes == 4
    assert two_sources.class_ids.tolist() == [0, 1, 2, 3]
    assert two_sources.class_names == ["BG", "cat", "car", "dog"]
    assert two_sources.class_info[0] == {"source": "", "id": 0, "name": "BG"}
    assert two_sources.sources == ["", "zoo", "road"]
    assert two_sources.source_class_ids == {"": [0], "zoo": [0, 1, 3], "road": [0, 2]}


def test_source_ids_map_to_ours_and_back(two_sources):
    assert two_sources.map_source_class_id("zoo.9") == 3
    assert two_sources.map_source_class_id("road.7") == 2
    assert two_sources.class_from_source_map == {".0": 0, "zoo.7": 1, "road.7": 2, "zoo.9": 3}
    assert two_sources.image_from_source_map == {"road.a": 0, "zoo.5": 1}
    assert two_sources.get_source_class_id(3, "zoo") == 9


def test_image_info_keeps_the_arguments_of_add_image(two_sources):
    assert two_sources.num_images == 2
    assert two_sources.image_ids.tolist() == [0, 1]
    info = {"id": "a", "source": "road", "path": "a.png", "lanes": 2}
    assert two_sources.image_info[0] == info
    assert two_sources.source_image_link(1) == "b.png"
    assert two_sources.image_reference(1) == ""


def test_a_second_prepare_counts_later_additions(two_sources):
    two_sources.add_class("road", 8, "bus")
    two_sources.add_image("road", "c", "c.png")
    two_sources.prepare()
    assert two_sources.class_names[4] == "bus"
    assert two_sources.source_class_ids["road"] == [0, 2, 4]
    assert two_sources.image_ids.tolist() == [0, 1, 2]


def test_nothing_is_numbered_before_prepare():
    dataset = Dataset()
    dataset.add_image("zoo", 1, "a.png")
    assert len(dataset.image_ids) == 0


def test_mistakes_are_explained(two_sources):
    with pytest.raises(ValueError, match=r"'a\.b'; the name of a source must not contain a dot"):
        two_sources.add_class("a.b", 1, "x")
    with pytest.raises(KeyError, match=r"'zoo\.8' was never added; there are .*zoo\.7"):
        two_sources.map_source_class_id("zoo.8")
    with pytest.raises(ValueError, match=r"class 2 \(car\) is from source 'road', not from 'zoo'"):
        two_sources.get_source_class_id(2, "zoo")


GRAY = np.array([[0, 50, 255], [10, 20, 30]], np.uint8)
RGB = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)


@pytest.mark.parametrize(
    ("stored", "name", "expected"),
    [
        (RGB, "rgb.png", RGB),
        (GRAY, "gray.png", np.stack([GRAY] * 3, axis=-1)),
        (np.dstack([RGB, GRAY]), "rgba.png", RGB),
        (np.dstack([GRAY, GRAY[::-1]]), "gray_alpha.png", np.stack([GRAY] * 3, axis=-1)),
        # 257 * k is the 16-bit value of the 8-bit level k; 32768 / 257 = 127.502.
        (
            np.array([[0, 257, 128], [129, 32768, 65535]], np.uint16),
            "gray16.png",
            np.array([[0, 1, 0], [1, 128, 255]], np.uint8)[..., np.newaxis] * [1, 1, 1],
        ),
        (RGB.astype(np.uint16) * 257, "rgb16.tiff", RGB),
        # 0.5 * 255 = 127.5, rounded half to even.
        (
            np.array([[0, 0.5], [1, 0.2]], np.float32),
            "float.tiff",
            np.array([[0, 128], [255, 51]], np.uint8)[..., np.newaxis] * [1, 1, 1],
        ),
        (np.dstack([RGB, RGB]), "six_channels.tiff", np.dstack([RGB, RGB])),
    ],
)
def test_files_of_all_kinds_become_uint8_rgb(tmp_path, stored, name, expected):
    skimage.io.imsave(tmp_path / name, stored, check_contrast=False)
    image = file_dataset(tmp_path / name).load_image(0)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("mode", ["1", "P", "I;16"])
def test_modes_of_png(tmp_path, mode):
    level = np.array([[0, 255, 0]], np.uint8)
    picture = Image.fromarray(level)
    if mode == "I;16":
        picture = Image.fromarray(level.astype(np.uint16) * 257)
    else:
        picture = picture.convert(mode)
    picture.save(tmp_path / "image.png")
    image = file_dataset(tmp_path / "image.png").load_image(0)
    np.testing.assert_array_equal(image, np.stack([level] * 3, axis=-1))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="image 0: there is no file .*gone.png"):
        file_dataset(tmp_path / "gone.png").load_image(0)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_damaged_file(tmp_path, rng, suffix):
    path = tmp_path / f"broken.{suffix}"
    skimage.io.imsave(path, rng.integers(0, 255, (64, 64, 3), np.uint8), check_contrast=False)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(OSError, match=f"image 0: .*broken.{suffix} cannot be read as an image"):
        file_dataset(path).load_image(0)


def test_values_of_an_unknown_scale(tmp_path):
    Image.fromarray(np.full((4, 4), 300, np.float32)).save(tmp_path / "f.tiff")
    with pytest.raises(ValueError, match=r"image 0: .*f\.tiff is float32 with values from 300"):
        file_dataset(tmp_path / "f.tiff").load_image(0)


def test_a_stack_of_pages_is_refused_as_an_image(tmp_path):
    pages = np.zeros((2, 4, 5, 3), np.uint8)
    skimage.io.imsave(tmp_path / "pages.tiff", pages, check_contrast=False)
    with pytest.raises(ValueError, match=r"image 0: .*pages\.tiff has shape \(2, 4, 5, 3\)"):
        file_dataset(tmp_path / "pages.tiff").load_image(0)


def test_image_without_path():
    with pytest.raises(ValueError, match=r"image 0 has no path; .* override load_image\(\)"):
        dataset = Dataset()
        dataset.add_image("made", 0, None)
        dataset.load_image(0)


def test_the_default_load_mask_returns_no_objects_and_warns():
    class Balloons(Dataset):
        pass

    with pytest.warns(UserWarning, match=r"Balloons does not override load_mask\(\)"):
        masks, class_ids = Balloons().load_mask(0)
    assert masks.shape == (0, 0, 0)
    assert class_ids.shape == (0,) and class_ids.dtype == np.int32


def test_describe_image_prefers_the_reference(two_sources):
    assert describe_image(two_sources, 1) == "image 1 (b.png)"
    two_sources.image_info[1]["path"] = None
    assert describe_image(two_sources, 1) == "image 1 (zoo.5)"
    two_sources.image_reference = lambda image_id: f"example.org/{image_id}"
    assert describe_image(two_sources, 1) == "image 1 (example.org/1)"
    assert describe_image(two_sources, 99) == "image 99 (unknown to the dataset)"


def test_many_classes_take_linear_time():
    """Each class is compared with a few others, not with all."""

    class Id(int):
        looks = 0

        def __eq__(self, other):
            Id.looks += 1
            return int.__eq__(self, other)

        __hash__ = int.__hash__

    dataset = Dataset()
    for number in [*range(2000), *range(2000)]:
        dataset.add_class("s", Id(number), f"class {number}")
    dataset.prepare()
    assert dataset.num_classes == 2001 and Id.looks < 20 * 4000


def test_classes_that_a_program_adds_by_itself_count():
    dataset = Dataset()
    dataset.class_info.append({"source": "s", "id": 3, "name": "cat"})
    dataset.add_class("s", 3, "again")
    for _ in range(2):
        dataset.add_class("s", [4], "list")
    assert [info["name"] for info in dataset.class_info] == ["BG", "cat", "list"]


def many_files(count):
    dataset = Dataset()
    dataset.add_class("files", 1, "cat")
    for number in range(count):
        dataset.add_image("files", number, f"{number}.png", patient=number // 3)
    dataset.prepare()
    return dataset


def test_parts_have_all_images_once():
    dataset = many_files(20)
    train, val = dataset.split()
    assert (train.num_images, val.num_images) == (16, 4)
    assert sorted([*train.image_ids, *val.image_ids]) == list(range(20))
    assert train.class_names == val.class_names == ["BG", "cat"]
    # Ids stay those of the whole, so that a subclass finds its annotations.
    assert [val.source_image_link(i) for i in val.image_ids] == [f"{i}.png" for i in val.image_ids]
    assert (
        describe_image(val, val.image_ids[0])
        == f"image {val.image_ids[0]} ({val.image_ids[0]}.png)"
    )
    assert dataset.image_ids.tolist() == list(range(20))


def test_parts_depend_on_the_seed_alone():
    first, again, other = (many_files(20).split(seed=seed)[1] for seed in (1, 1, 2))
    assert first.image_ids.tolist() == again.image_ids.tolist() != other.image_ids.tolist()


def test_a_part_that_is_prepared_again_stays_a_part():
    train, val = many_files(10).split(0.3)
    train.prepare()
    val.prepare()
    assert (len(train.image_ids), len(val.image_ids)) == (7, 3)
    assert not set(train.image_ids) & set(val.image_ids)


def test_groups_stay_together():
    for seed in range(10):
        train, val = many_files(30).split(0.2, seed, group=lambda info: info["patient"])
        patients = [
            {part.image_info[i]["patient"] for i in part.image_ids} for part in (train, val)
        ]
        assert not patients[0] & patients[1]
        assert (len(train.image_ids), len(val.image_ids)) == (24, 6)


def test_both_parts_have_an_image():
    for fraction in (0.01, 0.99):
        train, val = many_files(2).split(fraction)
        assert (train.num_images, val.num_images) == (1, 1)


def test_parts_train_and_are_evaluated(tiny_dataset, tiny_config):
    from mrcnn.data.loader import SampleLoader

    train, val = tiny_dataset.split(0.25)
    for part in (train, val):
        loader = SampleLoader(part, tiny_config, seed=0)
        used = {int(loader.load(n)["input_image_meta"][0]) for n in range(loader.num_images)}
        assert used == set(part.image_ids.tolist())
        assert sum(part.validate(verbose=0).images.values()) >= len(part.image_ids)


def test_splits_that_are_refused():
    with pytest.raises(ValueError, match="fraction is 20; it must be between 0 and 1"):
        many_files(10).split(20)
    with pytest.raises(ValueError, match="found 1 images or groups, and needs two"):
        many_files(1).split()
    with pytest.raises(ValueError, match=r"found 0 images or groups.*call prepare\(\)"):
        Dataset().split()
