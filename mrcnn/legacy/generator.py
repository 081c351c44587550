"""Batches as Python objects: the original's `data_generator`, and a `keras.utils.PyDataset`.

Training itself uses `mrcnn.data.pipeline`. These serve notebooks, and scripts with loops of their
own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from mrcnn.data.loader import SampleLoader
from mrcnn.inputs import model_inputs
from mrcnn.ops.images import subtract_mean

# What a batch consists of: (inputs, outputs).
Batch = tuple[list[np.ndarray], list[np.ndarray]]


def data_generator(
    dataset: Any,
    config: Any,
    shuffle: bool = True,
    augment: bool = False,
    augmentation: Any = None,
    random_rois: int = 0,
    batch_size: int = 1,
    detection_targets: bool = False,
    no_augmentation_sources: list[str] | None = None,
    *,
    seed: int | None = None,
) -> Iterator[Batch]:
    """Endless batches of training samples. Each image comes once an epoch, in a new order.

    Arguments: see `SampleLoader`.

    Yields:
        inputs: a list of
            images `[batch, height, width, channels]` float32, molded;
            image_meta `[batch, 12 + NUM_CLASSES]` float64;
            rpn_match `[batch, anchors, 1]` int32, see `build_rpn_targets`;
            rpn_bbox `[batch, RPN_TRAIN_ANCHORS_PER_IMAGE, (dy, dx, log dh, log dw)]` float64;
            gt_class_ids `[batch, MAX_GT_INSTANCES]` int32, padded with zeros;
            gt_boxes `[batch, MAX_GT_INSTANCES, (y1, x1, y2, x2)]` int32 in pixels, likewise;
            gt_masks `[batch, h, w, MAX_GT_INSTANCES]` bool, likewise, mini-masks if USE_MINI_MASK;
            with `random_rois` also rpn_rois `[batch, random_rois, (y1, x1, y2, x2)]` int32, pixels;
            with `detection_targets` too also rois, sampled from them.
        outputs: empty, or with `detection_targets` and `random_rois` the class ids `[batch, T, 1]`,
            bboxes and masks of `build_detection_targets`.

    Raises:
        At once what `SampleLoader` raises; from `next()` what its `load` raises.
    """
    loader = SampleLoader(
        dataset,
        config,
        shuffle=shuffle,
        augment=augment,
        augmentation=augmentation,
        no_augmentation_sources=no_augmentation_sources,
        random_rois=random_rois,
        detection_targets=detection_targets,
        batch_size=batch_size,
        seed=seed,
    )
    return _endless_batches(loader)


def _endless_batches(loader):
    # The loader raises when a whole epoch has nothing usable, so no sample is waited for forever.
    usable = (sample for sample in map(loader.load, itertools.count()) if sample is not None)
    while True:
        yield _collate(list(itertools.islice(usable, loader.batch_size)), loader.config)


class DataGenerator(keras.utils.PyDataset):
    """Batches of BATCH_SIZE training samples by index, for loops over Keras' `PyDataset`.

    Batch `index` holds the images from `index * BATCH_SIZE` on of this epoch's order, so an epoch
    visits each image once; the last batch may be smaller. Images that cannot be used are missing
    from their batch. A batch without any usable image takes the next one that is.

    Arguments: see `SampleLoader`; `kwargs` (workers, max_queue_size) go to `PyDataset`.
    """

    def __init__(
        self,
        dataset: Any,
        config: Any,
        shuffle: bool = True,
        augmentation: Any = None,
        random_rois: int = 0,
        detection_targets: bool = False,
        *,
        no_augmentation_sources: list[str] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.loader = SampleLoader(
            dataset,
            config,
            shuffle=shuffle,
            augmentation=augmentation,
            no_augmentation_sources=no_augmentation_sources,
            random_rois=random_rois,
            detection_targets=detection_targets,
            batch_size=config.BATCH_SIZE,
            seed=seed,
        )
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self.loader.num_images // self.loader.batch_size)

    def __getitem__(self, index: int) -> Batch:
        """Batch `index` as `(inputs, outputs)`, see `data_generator`."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        loader, count = self.loader, self.loader.num_images
        start, samples = index * loader.batch_size, []
        for offset in range(count):
            position = start + offset
            if samples and position >= min(start + loader.batch_size, count):
                break
            sample = loader.load(self.epoch * count + position % count)
            if sample is not None:
                samples.append(sample)
        if not samples:
            raise RuntimeError(f"no image of epoch {self.epoch + 1} can be trained on.")
        return _collate(samples, loader.config)

    def on_epoch_end(self) -> None:
        """Go on to the next epoch, with a new order of the images."""
        self.epoch += 1


def _collate(samples, config):
    """A batch of samples in the original's lists."""
    names = [spec.name for spec in model_inputs(config, "training")[:7]]
    arrays = {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
    # In float32 at once: a float64 image of 1024x1024 takes longer than all the rest.
    arrays["input_image"] = subtract_mean(arrays["input_image"], np.float32(config.MEAN_PIXEL))
    inputs = [arrays[name] for name in [*names, "input_roi", "rois"] if name in arrays]
    outputs = []
    if "rois" in arrays:
        # Keras asks for as many axes in targets as in outputs.
        class_ids = arrays["target_class_ids"][..., np.newaxis]
        outputs = [class_ids, arrays["target_bbox"], arrays["target_mask"]]
    return inputs, outputs
