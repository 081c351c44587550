import inspect

import keras
import numpy as np
import pytest

from mrcnn.legacy.generator import DataGenerator, data_generator


def image_ids(batch):
    """The ids in the image meta of a batch, which the images repeat in their pixels."""
    (images, meta, *_), _ = batch
    values = images[:, 0, 0, 0] + np.float32(123.7)
    np.testing.assert_allclose(values, meta[:, 0], atol=1e-4)
    return meta[:, 0].astype(int).tolist()


def test_batches_are_the_original_lists(numbered_dataset, tiny_config):
    batches = data_generator(numbered_dataset(4), tiny_config, shuffle=False, batch_size=2)
    assert inspect.isgenerator(batches)
    inputs, outputs = next(batches)
    described = [(array.shape, array.dtype.name) for array in inputs]
    # Anchors of 64x64: 3 * (16**2 + 8**2 + 4**2 + 2**2 + 1)
    assert described == [
        ((2, 64, 64, 3), "float32"),
        ((2, 16), "float64"),
        ((2, 1023, 1), "int32"),
        ((2, 64, 4), "float64"),
        ((2, 8), "int32"),
        ((2, 8, 4), "int32"),
        ((2, 28, 28, 8), "bool"),
    ]
    assert outputs == []
    # Image 1 has the value 1 everywhere.
    np.testing.assert_allclose(inputs[0][1, 5, 7], [1 - 123.7, 1 - 116.8, 1 - 103.9], rtol=1e-6)
    assert inputs[5][1, 0].tolist() == [8, 9, 40, 48]


def test_batches_run_across_the_ends_of_epochs(numbered_dataset, tiny_config):
    batches = data_generator(numbered_dataset(5), tiny_config, batch_size=2, seed=1)
    ids = [image_id for _ in range(5) for image_id in image_ids(next(batches))]
    assert sorted(ids[:5]) == sorted(ids[5:]) == [0, 1, 2, 3, 4]
    assert ids[:5] != ids[5:]


def test_deprecated_augment_flips(numbered_dataset, tiny_config):
    with pytest.warns(FutureWarning, match="use augmentation"):
        batches = data_generator(numbered_dataset(1), tiny_config, augment=True, seed=0)
    lefts = {int(next(batches)[0][5][0, 0, 1]) for _ in range(20)}
    assert lefts == {8, 64 - 48}


def test_unusable_images_leave_no_gap(numbered_dataset, tiny_config):
    dataset = numbered_dataset(6, empty=[1], broken=[3])
    batches = data_generator(dataset, tiny_config, shuffle=False, batch_size=3)
    assert [image_ids(next(batches)) for _ in range(3)] == [[0, 2, 4], [5, 0, 2], [4, 5, 0]]


def test_errors_beyond_the_limit_are_raised(numbered_dataset, tiny_config):
    dataset = numbered_dataset(20, broken=range(3, 20))
    batches = data_generator(dataset, tiny_config, shuffle=False)
    assert [image_ids(next(batches)) for _ in range(3)] == [[0], [1], [2]]
    with pytest.raises(RuntimeError, match="6 images could not be loaded.*\n.*image 3 .*disk"):
        next(batches)


def test_a_dataset_without_objects_does_not_run_forever(numbered_dataset, tiny_config):
    batches = data_generator(numbered_dataset(3, empty=range(3)), tiny_config)
    with pytest.raises(RuntimeError, match="there is nothing to train on: 3 of 3 images have no"):
        next(batches)


def test_mistakes_are_raised_at_the_call(numbered_dataset, tiny_config):
    with pytest.raises(TypeError, match="augmentation is a builtins.int"):
        data_generator(numbered_dataset(3), tiny_config, augmentation=3)


def test_random_rois_and_detection_targets(numbered_dataset, tiny_config):
    arguments = {"shuffle": False, "batch_size": 2, "random_rois": 40, "seed": 0}
    inputs, outputs = next(data_generator(numbered_dataset(2), tiny_config, **arguments))
    assert [array.shape for array in inputs[7:]] == [(2, 40, 4)] and outputs == []
    inputs, outputs = next(
        data_generator(numbered_dataset(2), tiny_config, detection_targets=True, **arguments)
    )
    assert [array.shape for array in inputs[7:]] == [(2, 40, 4), (2, 20, 4)]
    shapes = [(2, 20, 1), (2, 20, 4, 4), (2, 20, 28, 28, 4)]
    assert [array.shape for array in outputs] == shapes
    # All objects are of class 1.
    assert set(np.unique(outputs[0])) <= {0, 1}
    assert not outputs[1][:, :, [0, 2, 3]].any()


def test_data_generator_class_visits_every_image_once_an_epoch(numbered_dataset, tiny_config):
    tiny_config.IMAGES_PER_GPU = 2
    sequence = DataGenerator(numbered_dataset(7), tiny_config, seed=0)
    assert isinstance(sequence, keras.utils.PyDataset)
    assert len(sequence) == 4
    epochs = []
    for _ in range(2):
        batches = [image_ids(sequence[index]) for index in range(4)]
        assert [len(batch) for batch in batches] == [2, 2, 2, 1]
        epochs.append(sum(batches, []))
        sequence.on_epoch_end()
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(7))
    assert epochs[0] != epochs[1]


def test_data_generator_class_honours_the_index(numbered_dataset, tiny_config):
    tiny_config.IMAGES_PER_GPU = 2
    sequence = DataGenerator(numbered_dataset(6), tiny_config, shuffle=False)
    assert [image_ids(sequence[index]) for index in (2, 0, 1, 2)] == [
        [4, 5],
        [0, 1],
        [2, 3],
        [4, 5],
    ]
    for index in (3, -1):
        with pytest.raises(IndexError, match=f"batch {index} of 3"):
            sequence[index]


def test_data_generator_class_without_some_images(numbered_dataset, tiny_config):
    tiny_config.IMAGES_PER_GPU = 2
    dataset = numbered_dataset(6, empty=[0, 2, 3, 5], broken=[])
    sequence = DataGenerator(dataset, tiny_config, shuffle=False)
    # Image 0 is missing; the second batch borrows image 4; image 5 is missing.
    assert [image_ids(sequence[index]) for index in range(3)] == [[1], [4], [4]]


def test_data_generator_class_equals_the_generator(numbered_dataset, tiny_config):
    tiny_config.IMAGES_PER_GPU = 2
    dataset = numbered_dataset(4)
    sequence = DataGenerator(dataset, tiny_config, random_rois=9, seed=5, workers=1)
    batches = data_generator(dataset, tiny_config, random_rois=9, batch_size=2, seed=5)
    for index in (0, 1):
        for ours, theirs in zip(sequence[index][0], next(batches)[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)
