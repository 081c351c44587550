import logging

import numpy as np
import pytest

from mrcnn.data.dataset import Dataset
from mrcnn.data.loader import SampleLoader
from mrcnn.data.sample import load_sample
from mrcnn.legacy.generator import LegacyLoader


def ids_of_epoch(loader, epoch):
    count = loader.num_images
    return [loader.image_id(number) for number in range(epoch * count, (epoch + 1) * count)]


def test_every_epoch_has_every_image_once_in_a_new_order(numbered_dataset, tiny_config):
    loader = SampleLoader(numbered_dataset(20), tiny_config, seed=1)
    epochs = [ids_of_epoch(loader, epoch) for epoch in range(3)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    # Going back, as threads do at the end of an epoch, gives the same order.
    assert ids_of_epoch(loader, 0) == epochs[0]


def test_order_of_the_dataset_without_shuffle(numbered_dataset, tiny_config):
    loader = SampleLoader(numbered_dataset(5), tiny_config, shuffle=False)
    assert ids_of_epoch(loader, 0) == ids_of_epoch(loader, 3) == [0, 1, 2, 3, 4]


def test_the_seed_decides_on_the_order(numbered_dataset, tiny_config):
    dataset = numbered_dataset(20)
    first, again, other = (
        ids_of_epoch(SampleLoader(dataset, tiny_config, seed=seed), 0) for seed in (1, 1, 2)
    )
    assert first == again != other
    np.random.seed(4)  # noqa: NPY002
    drawn = SampleLoader(dataset, tiny_config).seed
    np.random.seed(4)  # noqa: NPY002
    assert SampleLoader(dataset, tiny_config).seed == drawn


def test_sample_of_one_image(array_dataset, rectangles, tiny_config):
    boxes, class_ids = [(4, 8, 24, 40), (30, 30, 60, 62)], [2, -1]
    dataset = array_dataset([rectangles(boxes, class_ids, value=9)])
    loader = SampleLoader(dataset, tiny_config, seed=0)
    sample = loader.load(0)
    image, meta, _, _, masks, _ = load_sample(dataset, tiny_config, 0, use_mini_mask=True)
    np.testing.assert_array_equal(sample["input_image"], image)
    np.testing.assert_array_equal(sample["input_image_meta"], meta)
    assert sample["input_gt_class_ids"].tolist() == [2, -1, 0, 0, 0, 0, 0, 0]
    assert sample["input_gt_boxes"].tolist() == [*map(list, boxes), *[[0, 0, 0, 0]] * 6]
    assert sample["input_gt_masks"].shape == (28, 28, 8)
    np.testing.assert_array_equal(sample["input_gt_masks"][..., :2], masks)
    assert not sample["input_gt_masks"][..., 2:].any()

    tiny_config.RPN_TRAIN_ANCHORS_PER_IMAGE = 10**4
    full = SampleLoader(dataset, tiny_config, seed=0).load(0)
    targets = tiny_config.recipe().rpn_targets(tiny_config)
    match, deltas = targets(image.shape, class_ids, boxes, rng=None)
    np.testing.assert_array_equal(full["input_rpn_match"], match[:, np.newaxis])
    np.testing.assert_array_equal(full["input_rpn_bbox"], deltas)


def test_boxes_of_the_annotation_are_trained_on(array_dataset, rectangles, tiny_config):
    tiny_config.USE_MINI_MASK = False
    dataset = array_dataset([rectangles([(4, 8, 24, 40)], [2])])
    dataset.load_boxes = lambda image_id: [[3.5, 8, 24, 40.25]]
    sample = SampleLoader(dataset, tiny_config, seed=0).load(0)
    assert sample["input_gt_boxes"][:2].tolist() == [[3.5, 8, 24, 40.25], [0, 0, 0, 0]]
    anchors = tiny_config.recipe().anchors(tiny_config).of_image((64, 64))
    positive = np.flatnonzero(sample["input_rpn_match"] == 1)
    # Deltas in units of their standard deviation lead from the anchor to the centre of the box.
    y1, x1, y2, x2 = anchors[positive[0]]
    dy, dx = sample["input_rpn_bbox"][0, :2] * tiny_config.RPN_BBOX_STD_DEV[:2]
    centre = (y1 + y2) / 2 + dy * (y2 - y1), (x1 + x2) / 2 + dx * (x2 - x1)
    assert centre == pytest.approx((13.75, 24.125), abs=1e-4)


def test_samples_do_not_depend_on_earlier_samples(numbered_dataset, tiny_config):
    from mrcnn.data.imgaug_shim import iaa

    def loader():
        return SampleLoader(
            numbered_dataset(4), tiny_config, augmentation=iaa.Affine(rotate=(-90, 90)), seed=3
        )

    forward, backward = loader(), loader()
    samples = [forward.load(number) for number in range(8)]
    for number in reversed(range(8)):
        sample = backward.load(number)
        for name, values in sample.items():
            np.testing.assert_array_equal(values, samples[number][name])
    # In its second epoch an image is rotated otherwise.
    first, second = (
        next(s for s in part if s["input_image_meta"][0] == 2)
        for part in (samples[:4], samples[4:])
    )
    assert (first["input_gt_boxes"] != second["input_gt_boxes"]).any()


def test_a_random_subset_of_too_many_instances_is_kept(array_dataset, rectangles, tiny_config):
    tiny_config.MAX_GT_INSTANCES = 5
    tiny_config.USE_MINI_MASK = False
    boxes = [(4 * i, 2 * i, 4 * i + 3, 2 * i + 9) for i in range(12)]
    class_ids = [1 + i % 3 for i in range(12)]
    loader = SampleLoader(array_dataset([rectangles(boxes, class_ids)]), tiny_config, seed=0)
    kept = []
    for number in range(6):
        sample = loader.load(number)
        rows = [boxes.index(tuple(box)) for box in sample["input_gt_boxes"].tolist()]
        assert len(set(rows)) == 5
        assert sample["input_gt_class_ids"].tolist() == [class_ids[row] for row in rows]
        for column, row in enumerate(rows):
            y1, x1, y2, x2 = boxes[row]
            mask = sample["input_gt_masks"][..., column]
            assert mask.sum() == 27 and mask[y1:y2, x1:x2].all()
        kept.append(tuple(sorted(rows)))
    assert len(set(kept)) > 1


def test_images_without_instances_are_skipped_and_counted(numbered_dataset, tiny_config, caplog):
    loader = SampleLoader(numbered_dataset(6, empty=[1, 4]), tiny_config, shuffle=False)
    samples = [loader.load(number) for number in range(12)]
    assert [s is None for s in samples] == [False, True, False, False, True, False] * 2
    assert loader.skipped == {1, 4}
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "2 of 6 images have no instances and are skipped, for example image 1 (1.png). "
        "TRAIN_WITH_EMPTY_IMAGES = True trains on them as background."
    ]


def test_skipped_images_are_logged_once_per_dataset(numbered_dataset, tiny_config, caplog):
    dataset = numbered_dataset(6, empty=[1, 4])
    for _ in range(3):
        loader = SampleLoader(dataset, tiny_config, shuffle=False)
        for number in range(6):
            loader.load(number)
        loader.report_skipped()
    assert [record.getMessage()[:6] for record in caplog.records] == ["2 of 6"]


def test_images_skipped_before_the_first_pass_ends_are_logged_on_request(
    numbered_dataset, tiny_config, caplog
):
    loader = SampleLoader(numbered_dataset(6, empty=[1, 4]), tiny_config, shuffle=False)
    for number in range(3):
        loader.load(number)
    assert caplog.records == []
    loader.report_skipped()
    assert caplog.records[0].getMessage().startswith("1 of 3 images have no instances")


def test_images_with_only_a_crowd_count_as_empty(array_dataset, rectangles, tiny_config):
    samples = [rectangles([(4, 4, 20, 20)], [-2]), rectangles([(4, 4, 20, 20)], [2])]
    loader = SampleLoader(array_dataset(samples), tiny_config, shuffle=False)
    assert loader.load(0) is None and loader.load(1) is not None


def test_empty_images_as_background(numbered_dataset, tiny_config):
    tiny_config.TRAIN_WITH_EMPTY_IMAGES = True
    loader = SampleLoader(numbered_dataset(2, empty=[0, 1]), tiny_config, shuffle=False)
    sample = loader.load(0)
    assert loader.skipped == set()
    assert (sample["input_rpn_match"] == -1).sum() == tiny_config.RPN_TRAIN_ANCHORS_PER_IMAGE
    assert not (sample["input_rpn_match"] == 1).any() and not sample["input_rpn_bbox"].any()
    for name in ("class_ids", "boxes", "masks"):
        assert not sample[f"input_gt_{name}"].any()


def test_unreadable_images_are_skipped_and_named(numbered_dataset, tiny_config, caplog):
    loader = SampleLoader(numbered_dataset(8, broken=[2, 5]), tiny_config, shuffle=False)
    samples = [loader.load(number) for number in range(24)]
    assert [s is None for s in samples] == [n % 8 in (2, 5) for n in range(24)]
    assert loader.errors.messages == {
        2: "image 2 (2.png): OSError: disk error 2",
        5: "image 5 (5.png): OSError: disk error 5",
    }
    # In three epochs each of them is told once.
    assert [record.getMessage() for record in caplog.records] == [
        "Skipped image 2 (2.png): OSError: disk error 2",
        "Skipped image 5 (5.png): OSError: disk error 5",
    ]
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    loader.errors.reraise()


def test_too_many_unreadable_images_stop_the_run(numbered_dataset, tiny_config):
    tiny_config.MAX_LOAD_ERRORS = 2
    loader = SampleLoader(numbered_dataset(8, broken=[0, 3, 4, 6]), tiny_config, shuffle=False)
    for number in range(4):
        loader.load(number)
    with pytest.raises(RuntimeError) as error:
        loader.load(4)
    lines = str(error.value).splitlines()
    assert lines[0] == "3 images could not be loaded, and MAX_LOAD_ERRORS allows 2:"
    assert [line.split("(")[0].strip() for line in lines[1:]] == ["image 0", "image 3", "image 4"]
    assert isinstance(error.value.__cause__, OSError)
    # A stopped run stays stopped.
    for again in (lambda: loader.load(5), loader.errors.reraise):
        with pytest.raises(RuntimeError) as later:
            again()
        assert later.value is error.value


def test_mistakes_in_annotations_count_as_load_errors(array_dataset, rectangles, tiny_config):
    samples = [rectangles([(4, 4, 20, 20)], [9]), rectangles([(4, 4, 20, 20)], [1])]
    loader = SampleLoader(array_dataset(samples), tiny_config, shuffle=False)
    assert loader.load(0) is None
    assert loader.errors.messages[0].startswith("image 0 (0.png): class id 9 is not one of 1..3")


@pytest.mark.parametrize(
    ("empty", "broken", "message"),
    [
        (range(4), (), r"nothing to train on: 4 of 4 images have no instances .*, 0 could not"),
        ((), range(4), r"nothing to train on: 0 of 4 .*, 4 could not be loaded\.\n  image 0"),
        ((0, 1), (2, 3), r"2 of 4 images have no instances .*, 2 could not be loaded\.\n  image 2"),
    ],
)
def test_nothing_usable_stops_after_one_epoch(
    numbered_dataset, tiny_config, empty, broken, message
):
    dataset = numbered_dataset(4, empty=empty, broken=broken)
    loader = SampleLoader(dataset, tiny_config, shuffle=False)
    assert [loader.load(number) for number in range(3)] == [None] * 3
    with pytest.raises(RuntimeError, match=message):
        loader.load(3)


def test_sources_without_augmentation(rectangles, tiny_config):
    from mrcnn.data.imgaug_shim import iaa

    class TwoSources(Dataset):
        def load_image(self, image_id):
            return rectangles([], [])[0]

        def load_mask(self, image_id):
            return rectangles([(4, 4, 20, 20)], [1])[1:]

    dataset = TwoSources()
    for source in ("clean", "wild", "other"):
        dataset.add_class(source, 1, "thing")
        dataset.add_image(source, 1, None)
    dataset.prepare()
    loader = SampleLoader(
        dataset,
        tiny_config,
        shuffle=False,
        augmentation=iaa.Fliplr(1),
        no_augmentation_sources=["clean", "other"],
    )
    boxes = [loader.load(number)["input_gt_boxes"][0].tolist() for number in range(3)]
    assert boxes == [[4, 4, 20, 20], [4, 44, 20, 60], [4, 4, 20, 20]]


def test_half_of_the_images_are_flipped(numbered_dataset, tiny_config):
    loader = SampleLoader(numbered_dataset(1), tiny_config, flip_half=True, seed=0)
    lefts = {loader.load(number)["input_gt_boxes"][0, 1] for number in range(20)}
    assert lefts == {8, 64 - 48}


def rectangular_samples(rectangles):
    samples = [rectangles([(4, 4, 20, 20)], [1], size=128) for _ in range(3)]
    image, masks, class_ids = samples[1]
    return [samples[0], (image[:64], masks[:64], class_ids), samples[2]]


@pytest.mark.parametrize("mode", ["pad64", "none"])
def test_sizes_of_the_images_may_differ(array_dataset, rectangles, tiny_config, mode):
    tiny_config.IMAGE_RESIZE_MODE = mode
    dataset = array_dataset(rectangular_samples(rectangles))
    single = SampleLoader(dataset, tiny_config, shuffle=False, batch_size=1)
    shapes = [single.load(number)["input_image"].shape for number in range(3)]
    assert shapes == [(128, 128, 3), (64, 128, 3), (128, 128, 3)]
    anchors = [len(single.load(number)["input_rpn_match"]) for number in range(2)]
    generator = tiny_config.recipe().anchors(tiny_config)
    assert anchors == [len(generator.of_image(shape)) for shape in shapes[:2]]


def test_sides_that_the_strides_do_not_divide_are_refused(array_dataset, rectangles, tiny_config):
    tiny_config.IMAGE_RESIZE_MODE = "none"
    samples = [rectangles([(4, 4, 20, 20)], [1], size=size) for size in (96, 64)]
    loader = SampleLoader(array_dataset(samples), tiny_config, shuffle=False)
    assert loader.load(0) is None and loader.load(1) is not None
    message = (
        "image 0 (0.png) has 96x96 pixels at the input of the network; both sides must be "
        "multiples of 64"
    )
    assert loader.errors.messages[0].startswith(message)


def test_random_rois_and_their_targets(numbered_dataset, tiny_config):
    loader = LegacyLoader(
        numbered_dataset(1), tiny_config, random_rois=50, detection_targets=True, seed=0
    )
    sample = loader.load(0)
    assert sample["input_roi"].shape == (50, 4)
    assert sample["rois"].shape == (20, 4)
    known = {tuple(roi) for roi in sample["input_roi"].tolist()}
    assert {tuple(roi) for roi in sample["rois"].tolist()} <= known
    assert sample["target_mask"].shape == (20, 28, 28, 4)
    np.testing.assert_array_equal(loader.load(0)["rois"], sample["rois"])


def test_a_dataset_must_be_ready(numbered_dataset, tiny_config):
    with pytest.raises(ValueError, match=r"the dataset has no images; add some with add_image"):
        SampleLoader(Dataset(), tiny_config)
    dataset = Dataset()
    dataset.add_image("a", 1, "a.png")
    with pytest.raises(ValueError, match=r"not ready: call its prepare\(\) after adding images"):
        SampleLoader(dataset, tiny_config)
    tiny_config.NUM_CLASSES = 9
    with pytest.raises(ValueError, match="NUM_CLASSES is 9, but the dataset has 4 classes"):
        SampleLoader(numbered_dataset(1), tiny_config)


def test_augmentation_is_checked_at_once(numbered_dataset, tiny_config):
    with pytest.raises(TypeError, match="augmentation is a builtins.int; accepted are"):
        SampleLoader(numbered_dataset(1), tiny_config, augmentation=3)
