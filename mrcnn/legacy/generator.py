"""Batches as Python objects: the original's `data_generator`, and a `keras.utils.PyDataset`.

Training itself uses `mrcnn.data.pipeline`. These serve notebooks, and scripts with their own loops.
"""

import itertools
import warnings

import keras
import numpy as np

from mrcnn.data.loader import SampleLoader
from mrcnn.data.molding import normalize
from mrcnn.data.uneven import spread_targets, stack_padded
from mrcnn.inputs import model_inputs
from mrcnn.legacy.detection_targets import build_detection_targets
from mrcnn.ops.meta import parse_meta


class LegacyLoader(SampleLoader):
    """A `SampleLoader` that can make the targets of the heads as well.

    With `random_rois` and `detection_targets`, samples get `rois`, `target_class_ids`,
    `target_bbox` and `target_mask`, see `build_detection_targets`.
    """

    def __init__(self, dataset, config, *, detection_targets=False, **kwargs):
        super().__init__(dataset, config, **kwargs)
        self.detection_targets = detection_targets

    def _roi_arrays(self, sample, rng):
        arrays = super()._roi_arrays(sample, rng)
        if self.detection_targets:
            names = "rois", "target_class_ids", "target_bbox", "target_mask"
            truth = sample.class_ids, sample.boxes, sample.masks
            targets = build_detection_targets(arrays["input_roi"], *truth, self.config, rng)
            arrays |= zip(names, targets, strict=True)
        return arrays


def data_generator(
    dataset,
    config,
    shuffle=True,
    augment=False,
    augmentation=None,
    random_rois=0,
    batch_size=1,
    detection_targets=False,
    no_augmentation_sources=None,
    *,
    seed=None,
):
    """Make endless batches of training samples. Each image comes once per epoch, in a new order.

    Args:
        augment: deprecated, use `augmentation`. Flips half of the images left to right.
        detection_targets: see `LegacyLoader`; all others see `SampleLoader`.

    Yields:
        inputs: a list of
            images `[batch, height, width, channels]` float32, molded;
            image_meta `[batch, 12 + NUM_CLASSES]` float64;
            rpn_match `[batch, anchors, 1]` int32, see `build_rpn_targets`;
            rpn_bbox `[batch, RPN_TRAIN_ANCHORS_PER_IMAGE, (dy, dx, log dh, log dw)]` float64;
            gt_class_ids `[batch, MAX_GT_INSTANCES]` int32, padded with zeros;
            gt_boxes `[batch, MAX_GT_INSTANCES, (y1, x1, y2, x2)]` int32 in pixels, zero padded;
            gt_masks `[batch, h, w, MAX_GT_INSTANCES]` bool, zero padded, mini-masks if
            USE_MINI_MASK;
            with `random_rois` also rpn_rois `[batch, random_rois, (y1, x1, y2, x2)]` int32, pixels;
            with `detection_targets` in addition rois, sampled from them.
        outputs: empty, or with `detection_targets` and `random_rois` the class ids `[batch, T, 1]`,
            bboxes and masks of `build_detection_targets`.

    Raises:
        ValueError, TypeError: as `SampleLoader`, before the first batch; `next()` as its `load`.
    """
    if augment:
        warnings.warn("augment is deprecated; use augmentation.", FutureWarning, stacklevel=2)
    loader = LegacyLoader(
        dataset,
        config,
        shuffle=shuffle,
        flip_half=augment,
        augmentation=augmentation,
        no_augmentation_sources=no_augmentation_sources,
        random_rois=random_rois,
        detection_targets=detection_targets,
        batch_size=batch_size,
        seed=seed,
    )
    # The loader raises when a whole epoch has nothing usable, so no sample is waited for forever.
    usable = (sample for sample in map(loader.load, itertools.count()) if sample is not None)
    return (_collate(list(itertools.islice(usable, batch_size)), loader) for _ in itertools.count())


class DataGenerator(keras.utils.PyDataset):
    """Batches of BATCH_SIZE training samples by index, for loops over Keras's `PyDataset`.

    Batch `index` begins with image `index * BATCH_SIZE` of this epoch's order, so an epoch
    visits each image once; the last batch may be smaller. Unusable images are missing from their
    batch; a batch without any usable image takes the next usable one.

    Args:
        detection_targets: see `LegacyLoader`.
        kwargs: workers and max_queue_size of `PyDataset`; all others see `SampleLoader`.
    """

    def __init__(
        self,
        dataset,
        config,
        shuffle=True,
        augmentation=None,
        random_rois=0,
        detection_targets=False,
        *,
        no_augmentation_sources=None,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.loader = LegacyLoader(
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

    def __len__(self):
        return -(-self.loader.num_images // self.loader.batch_size)

    def __getitem__(self, index):
        """Return batch `index` as `(inputs, outputs)`, see `data_generator`."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        loader, count = self.loader, self.loader.num_images
        start, samples = index * loader.batch_size, []
        for position in range(start, start + count):
            if samples and position >= min(start + loader.batch_size, count):
                break
            sample = loader.load(self.epoch * count + position % count)
            if sample is not None:
                samples.append(sample)
        if not samples:
            raise RuntimeError(f"no image of epoch {self.epoch + 1} can be trained on.")
        return _collate(samples, loader)

    def on_epoch_end(self):
        """Start the next epoch, with a new order of the images."""
        self.epoch += 1


def _collate(samples, loader):
    """Stack samples into the lists of the original."""
    config = loader.config
    names = [spec.name for spec in model_inputs(config, "training")[:7]]
    arrays = {name: stack_padded([sample[name] for sample in samples]) for name in samples[0]}
    sizes = np.array([sample["input_image"].shape[:2] for sample in samples])
    if (sizes != sizes[0]).any():
        found = arrays["input_rpn_match"], arrays["input_rpn_bbox"]
        objects = arrays["input_gt_class_ids"], arrays["input_gt_boxes"]
        arrays["input_rpn_match"], arrays["input_rpn_bbox"] = spread_targets(
            *found, sizes, *objects, config.recipe().anchors(config), loader.rpn_targets
        )
    windows = parse_meta(arrays["input_image_meta"])["window"]
    arrays["input_image"] = normalize(arrays["input_image"], windows, config)
    inputs = [arrays[name] for name in [*names, "input_roi", "rois"] if name in arrays]
    outputs = []
    if "rois" in arrays:
        # Keras asks for as many axes in targets as in outputs.
        class_ids = arrays["target_class_ids"][..., np.newaxis]
        outputs = [class_ids, arrays["target_bbox"], arrays["target_mask"]]
    return inputs, outputs
