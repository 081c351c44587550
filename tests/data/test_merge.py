import numpy as np
import pytest

from mrcnn.data.sample import load_sample
from mrcnn.datasets import Dataset, merge


class Listed(Dataset):
    """Images of 4 x 6 pixels with one row of object per listed class; a minus is a crowd."""

    def __init__(self, source, classes, images):
        super().__init__()
        self.images = images
        for number, name in enumerate(classes, start=1):
            self.add_class(source, number * 7, name)
        for number in range(len(images)):
            self.add_image(source, number, f"{source}{number}.png", patient=number // 2)
        self.prepare()

    def load_image(self, image_id):
        return np.full((4, 6, 3), len(self.images[image_id]), np.uint8)

    def load_mask(self, image_id):
        names = self.images[image_id]
        masks = np.zeros((4, 6, len(names)), bool)
        masks[np.arange(len(names)), :, np.arange(len(names))] = True
        ids = [
            self.class_names.index(name.strip("-")) * (-1 if "-" in name else 1) for name in names
        ]
        return masks, np.array(ids, np.int32)

    def load_boxes(self, image_id):
        return np.arange(len(self.images[image_id]) * 4, dtype=np.float32).reshape(-1, 4)

    def image_reference(self, image_id):
        return f"reference {image_id}"


def pets():
    return Listed(
        "pets",
        ["cat", "dog", "cow"],
        [["cat", "dog"], ["dog", "cow", "-cat"], [], ["cow"], ["dog"]],
    )


def rows(dataset, image_id):
    """The rows that the objects of an image cover, with the names of their classes."""
    masks, class_ids = dataset.load_mask(image_id)
    found = [np.flatnonzero(mask.any(axis=1)).tolist() for mask in masks.transpose(2, 0, 1)]
    names = [("-" if c < 0 else "") + dataset.class_names[abs(c)] for c in class_ids.tolist()]
    return list(zip(names, found, strict=True))


def test_a_subset_has_its_classes_in_the_given_order():
    part = pets().subset(["cow", "cat"])
    assert part.class_names == ["BG", "cow", "cat"] and part.num_classes == 3
    # The photos with neither cats nor cows are gone; ids stay those of all photos.
    assert part.image_ids.tolist() == [0, 1, 3]
    assert rows(part, 0) == [("cat", [0])]
    assert rows(part, 1) == [("cow", [1]), ("-cat", [2])]
    assert part.load_mask(1)[1].tolist() == [1, -2]
    assert part.load_boxes(1).tolist() == [[4, 5, 6, 7], [8, 9, 10, 11]]
    assert part.load_keypoints(1) is None
    assert part.image_reference(3) == "reference 3"
    assert part.source_image_link(3) == "pets3.png"


def test_a_subset_keeps_photos_without_its_classes_on_demand():
    part = pets().subset(["dog"], keep_empty=True)
    assert part.image_ids.tolist() == [0, 1, 2, 3, 4]
    assert rows(part, 3) == [] and part.load_mask(3)[0].shape == (4, 6, 0)
    assert rows(part, 0) == [("dog", [1])]


def test_a_subset_can_be_split_and_selected_again():
    part = pets().subset(["dog", "cow"], keep_empty=True).subset(["cow"])
    assert part.image_ids.tolist() == [1, 3] and part.class_names == ["BG", "cow"]
    assert rows(part, 1) == [("cow", [1])]
    train, val = pets().subset(["dog", "cow"]).split(0.3)
    assert sorted([*train.image_ids, *val.image_ids]) == [0, 1, 3, 4]
    image_id = train.image_ids[0]
    assert rows(train, image_id) == rows(pets().subset(["dog", "cow"]), image_id)


def test_a_part_of_a_split_can_be_selected():
    train, val = pets().split(0.4)
    for part in (train, val):
        expected = [i for i in part.image_ids if {"dog"} & set(part.images[i])]
        links = [part.subset(["dog"]).source_image_link(i) for i in range(part.num_images)]
        assert links[: len(part.image_ids)] == [f"pets{i}.png" for i in part.image_ids]
        assert part.subset(["dog"]).num_images == len(expected)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "has to be given a name; its classes are cat, dog, cow"),
        (["fox"], "has no class 'fox'; its classes are cat, dog, cow"),
        (["cat", "cat"], "class_names has a name twice: cat, cat"),
    ],
)
def test_subsets_that_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        pets().subset(names)
    with pytest.raises(ValueError, match=r"call its prepare\(\)"):
        Dataset().subset(["cat"])


def test_merged_datasets_share_classes_of_one_name():
    farm = Listed("farm", ["cow", "hen"], [["hen", "cow"], ["-cow"]])
    whole = merge(pets(), farm)
    assert whole.class_names == ["BG", "cat", "dog", "cow", "hen"] and whole.num_images == 7
    assert rows(whole, 5) == [("hen", [0]), ("cow", [1])]
    assert whole.load_mask(5)[1].tolist() == [4, 3] and whole.load_mask(6)[1].tolist() == [-3]
    assert rows(whole, 1) == [("dog", [0]), ("cow", [1]), ("-cat", [2])]
    assert whole.load_image(5).max() == 2 and whole.load_boxes(5).shape == (2, 4)
    # The names of both sources lead to one class.
    assert whole.map_source_class_id("pets.21") == whole.map_source_class_id("farm.7") == 3
    assert whole.map_source_class_id("farm.14") == 4
    assert whole.validate(verbose=0).instances == {1: 1, 2: 3, 3: 3, 4: 1}


def test_an_image_trains_the_classes_that_its_source_labels(tiny_config):
    farm = Listed("farm", ["cow", "hen"], [["hen", "cow"]])
    whole = merge(pets(), farm)
    assert whole.source_class_ids == {"": [0], "pets": [0, 1, 2, 3], "farm": [0, 3, 4]}
    tiny_config.NUM_CLASSES = 5
    active = [load_sample(whole, tiny_config, i).meta[12:].tolist() for i in (0, 5)]
    assert active == [[1, 1, 1, 1, 0], [1, 0, 0, 1, 1]]


def test_merges_that_are_refused():
    with pytest.raises(ValueError, match=r"merge\(\) takes one or more datasets; given: none"):
        merge()
    with pytest.raises(ValueError, match=r"call its prepare\(\)"):
        merge(pets(), Dataset())


def test_images_are_split_by_an_entry_or_a_function():
    dataset = Listed("pets", ["cat"], [["cat"]] * 20)
    by_name, by_function, old = (
        [part.image_ids.tolist() for part in parts]
        for parts in (
            dataset.split(0.2, by="patient"),
            dataset.split(0.2, by=lambda info: info["patient"]),
            dataset.split(0.2, 0, lambda info: info["patient"]),
        )
    )
    assert by_name == by_function == old and len(by_name[1]) == 4
    patients = [{image_id // 2 for image_id in ids} for ids in by_name]
    assert not patients[0] & patients[1]
    with pytest.raises(ValueError, match="Image 0 has no entry 'scene' in image_info to split by"):
        dataset.split(by="scene")
    with pytest.raises(ValueError, match="give by or group"):
        dataset.split(by="patient", group=lambda info: 1)
