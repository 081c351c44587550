"""Augmentations of other libraries, by small objects of their protocols and by the real ones."""

import sys
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mrcnn.data.augment import augment_sample, find_adapter
from tests.data.test_augment import MASKS, overlap, picture


class Transform:
    """What callers see of an Albumentations transform: keywords in, a dict out, its own seed."""

    def __init__(self):
        self.random, self.seen, self.processors = None, [], {}

    def set_random_seed(self, seed):
        self.random = np.random.default_rng(seed)

    def __call__(self, *args, force_apply=False, **data):
        assert not args
        masks = data["masks"]
        assert all(mask.dtype == np.uint8 and mask.max() <= 1 for mask in masks)
        self.seen.append(sorted(data))
        turns = int(self.random.integers(4)) if self.random else 1
        masks = [np.rot90(mask, turns) for mask in masks]
        return data | {"image": np.rot90(data["image"], turns), "masks": masks}


def turned(result):
    """The number of quarter turns that a result shows, of image and of masks."""
    image, masks = result
    square = MASKS[:, :192]
    turns = [k for k in range(4) if np.array_equal(masks, np.rot90(square, k))]
    assert [k for k in range(4) if np.array_equal(image, np.rot90(picture(square), k))] == turns
    return turns[0]


def test_keywords_and_dict():
    image, masks = augment_sample(picture(MASKS), MASKS, Transform())
    np.testing.assert_array_equal(image, np.rot90(picture(MASKS)))
    np.testing.assert_array_equal(masks, np.rot90(MASKS))


def test_a_generator_decides_its_numbers_on_any_thread():
    square, transform = MASKS[:, :192], Transform()

    def make(seed):
        return turned(
            augment_sample(picture(square), square, transform, np.random.default_rng(seed))
        )

    alone = [make(seed) for seed in range(12)]
    assert len(set(alone)) == 4
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(make, list(range(12)) * 3)) == alone * 3
    # Threads have copies: the object of the script keeps its own numbers.
    assert transform.random is None


def test_a_compose_for_boxes_gets_empty_ones(rng):
    transform = Transform()
    params = types.SimpleNamespace(label_fields=["labels"])
    transform.processors = {"bboxes": types.SimpleNamespace(params=params)}
    augment_sample(picture(MASKS), MASKS, transform)
    assert transform.seen == [["bboxes", "image", "labels", "masks"]]


@pytest.mark.parametrize("convert", [bool, np.float32, lambda m: m * np.uint8(255)])
def test_plain_functions_and_kinds_of_masks(convert):
    def flip(image, masks):
        masks = [convert(mask) if convert is not bool else mask > 0 for mask in masks]
        return {"image": image[:, ::-1], "masks": [mask[:, ::-1] for mask in masks]}

    image, masks = augment_sample(picture(MASKS), MASKS, flip)
    np.testing.assert_array_equal(image, picture(MASKS)[:, ::-1])
    np.testing.assert_array_equal(masks, MASKS[:, ::-1])


def test_a_function_may_take_the_generator():
    def shift(image, masks, rng):
        by = int(rng.integers(1, 50))
        return {"image": np.roll(image, by, 1), "masks": np.roll(np.array(masks), by, 2)}

    by = int(np.random.default_rng(3).integers(1, 50))
    for _ in range(2):
        _, masks = augment_sample(picture(MASKS), MASKS, shift, np.random.default_rng(3))
        np.testing.assert_array_equal(masks, np.roll(MASKS, by, 1))


def test_no_instances_and_arrays_that_are_changed_in_place(rng):
    def darken(image, masks):
        image //= 2
        assert len(masks) == 1 and not masks[0].any()
        return {"image": image, "masks": masks}

    image = rng.integers(0, 256, (16, 16, 3), np.uint8)
    kept = image.copy()
    new_image, masks = augment_sample(image, np.zeros((16, 16, 0), bool), darken)
    assert masks.shape == (16, 16, 0)
    np.testing.assert_array_equal(image, kept)
    np.testing.assert_array_equal(new_image, kept // 2)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda image, masks: None, "returned NoneType; it must return a dict with"),
        (lambda image, masks: {"image": image}, r"returned keys \['image'\]; it must return"),
        (lambda image, masks: {"image": image, "masks": masks[1:]}, "got 11 masks and returned 10"),
        (
            lambda image, masks: {"image": image, "masks": [masks[0], *(m[1:] for m in masks[1:])]},
            "returned 11 of the shapes .*; it must return all in their order, in one size",
        ),
        (
            lambda image, masks: {"image": image / 255, "masks": masks},
            "returned an image of float64 with values from 0 to 1; it must be .* Leave out Normal",
        ),
        (
            lambda image, masks: {"image": image.tolist(), "masks": masks},
            "returned an image that is a builtins.list",
        ),
        (
            lambda image, masks: {"image": image[:9], "masks": masks},
            r"made an image of shape \(9, 256, 3\) and masks of \(192, 256\)",
        ),
        (
            lambda image, masks: {"image": image[..., 0], "masks": masks},
            r"made an image of shape \(192, 256\)",
        ),
    ],
)
def test_results_that_are_no_sample(result, message):
    with pytest.raises(ValueError, match=message):
        augment_sample(picture(MASKS), MASKS, result)


def kind(module, **methods):
    """An object of a class that says it is from `module`."""
    return type("RandomFlip", (), {"__module__": module} | methods)()


def test_other_callables_are_refused():
    call = {"__call__": lambda self, *args, **kwargs: None}
    with pytest.raises(ValueError, match="cannot move masks with the image; use torchvision.trans"):
        find_adapter(kind("torchvision.transforms.transforms", **call))
    with pytest.raises(TypeError, match="accepted are .* torchvision.transforms.v2"):
        find_adapter(kind("torch.nn.modules.container", **call))
    with pytest.raises(TypeError, match="accepted are .* Albumentations"):
        find_adapter(Transform)


class Tensor:
    """What callers use of a torch tensor: `numpy()`."""

    def __init__(self, array):
        self.array = array

    def numpy(self):
        return self.array


@pytest.fixture
def torch(monkeypatch):
    """Stand-ins for torch and `torchvision.tv_tensors`, with a generator for all."""
    torch, state = types.ModuleType("torch"), {"seeds": [], "depth": 0}

    class ForkRng:
        def __init__(self, devices, enabled):
            assert devices == []

        def __enter__(self):
            state["depth"] += 1

        def __exit__(self, *error):
            state["depth"] -= 1

    torch.from_numpy = Tensor
    torch.random = types.SimpleNamespace(fork_rng=ForkRng)
    torch.manual_seed = state["seeds"].append
    torch.state = state
    torchvision = types.ModuleType("torchvision")
    torchvision.tv_tensors = types.SimpleNamespace(
        Image=lambda tensor: ("image", tensor.array), Mask=lambda tensor: ("mask", tensor.array)
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torchvision", torchvision)
    return torch


def test_torchvision_protocol(torch):
    def call(self, image, mask):
        assert torch.state["depth"] == 1
        assert image[0] == "image" and image[1].shape == (3, 192, 256)
        assert mask[0] == "mask" and mask[1].shape == (11, 192, 256) and mask[1].max() == 1
        moved = mask[1][:, :, ::-1].copy()
        # A border that `fill` has painted, in pictures and masks alike.
        moved[:, :5] = 127
        return Tensor(image[1][:, :, ::-1]), Tensor(moved)

    transform = kind("torchvision.transforms.v2._geometry", __call__=call)
    for _ in range(2):
        image, masks = augment_sample(picture(MASKS), MASKS, transform, np.random.default_rng(5))
        np.testing.assert_array_equal(image, picture(MASKS)[:, ::-1])
        assert not masks[:5].any()
        np.testing.assert_array_equal(masks[5:], MASKS[5:, ::-1])
    assert torch.state["seeds"] == [int(np.random.default_rng(5).integers(2**31))] * 2


def assert_moves_alike_and_repeats(transform):
    results = [
        augment_sample(picture(MASKS), MASKS, transform, np.random.default_rng(s))
        for s in (1, 1, 2)
    ]
    assert overlap(*results[0]) > 0.9 > overlap(results[0][0], MASKS)
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert (results[0][0] != results[2][0]).any()


def test_real_albumentations():
    A = pytest.importorskip("albumentations")
    transform = A.Compose([A.Rotate(40, p=1), A.RandomBrightnessContrast(p=1)])
    assert_moves_alike_and_repeats(transform)


def test_real_torchvision():
    v2 = pytest.importorskip("torchvision.transforms.v2")
    transform = v2.Compose([v2.RandomAffine((20, 60)), v2.ColorJitter(0.1)])
    assert_moves_alike_and_repeats(transform)
