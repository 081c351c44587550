"""Training samples by number: what generators and the tf.data pipeline have in common.

Sample number n is image n % N of epoch n // N of a dataset of N images. Everything random about it
follows from the seed, the epoch and the image alone, so the samples are the same in whatever order
and on however many threads they are made.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from mrcnn.data.augment import draw_seed, find_adapter
from mrcnn.data.dataset import describe_image
from mrcnn.data.debug_targets import build_detection_targets, generate_random_rois
from mrcnn.data.sample import check_classes, load_image_gt

_log = logging.getLogger(__name__)


class LoadErrors:
    """The images of a run that could not be loaded; it stops the run when they become too many.

    Attributes:
        messages: dict from image id to a sentence that names the image and says what is wrong.
        fatal: the exception that stopped the run, or None.
    """

    def __init__(self, dataset: Any, limit: int):
        self.messages = {}
        self.fatal = None
        self._dataset, self._limit = dataset, limit

    def add(self, image_id: int, error: Exception) -> None:
        """Log one failure of an image; RuntimeError, with their list, at too many images."""
        if image_id not in self.messages:
            message = str(error) or type(error).__name__
            name = describe_image(self._dataset, image_id)
            if name not in message:
                message = f"{name}: {type(error).__name__}: {message}"
            self.messages[image_id] = message
            _log.warning("Skipped %s", message, exc_info=_log.isEnabledFor(logging.DEBUG))
        if len(self.messages) > self._limit:
            listing = "\n  ".join(message for _, message in sorted(self.messages.items()))
            self.stop(
                RuntimeError(
                    f"{len(self.messages)} images could not be loaded, and MAX_LOAD_ERRORS allows "
                    f"{self._limit}:\n  {listing}"
                ),
                error,
            )

    def stop(self, fatal: Exception, cause: Exception | None = None) -> None:
        """Raise `fatal` here, and keep it for `reraise`."""
        if self.fatal is None:
            fatal.__cause__ = cause
            self.fatal = fatal
        raise self.fatal

    def reraise(self) -> None:
        """Raise what has stopped the run, if anything did.

        For consumers of a tf.data.Dataset, to whom TensorFlow gives an error of its own instead.
        """
        if self.fatal is not None:
            raise self.fatal


class SampleLoader:
    """Makes training samples of the images of a dataset.

    Arguments:
        dataset: a prepared `Dataset`.
        config: a `Config`.
        shuffle: draw a new order of the images for every epoch; else keep that of the dataset.
        augment, augmentation: see `load_image_gt`.
        no_augmentation_sources: names of sources whose images `augmentation` leaves alone.
        random_rois: make this many RoIs a sample, for training the heads without the RPN.
        detection_targets: with `random_rois`, make the targets of the heads too.
        batch_size: samples that will be stacked, and so must have one size.
        seed: of all random numbers; None draws one from `np.random`.

    Attributes:
        num_images: images in an epoch.
        errors: `LoadErrors` so far.
        skipped: set of the ids of images without instances so far.
        unused: set of the numbers of the samples that were None so far.
        first_pass: samples of the first epoch that this loader is asked for; all by default.

    Raises:
        ValueError, TypeError: if there are no images, or if classes or augmentation do not fit.
    """

    def __init__(
        self,
        dataset: Any,
        config: Any,
        *,
        shuffle: bool = True,
        augment: bool = False,
        augmentation: Any = None,
        no_augmentation_sources: list[str] | None = None,
        random_rois: int = 0,
        detection_targets: bool = False,
        batch_size: int = 1,
        seed: int | None = None,
    ):
        self.num_images = len(dataset.image_ids)
        if self.num_images == 0:
            raise ValueError(
                "the dataset has images, but its prepare() was not called after adding them."
                if len(dataset.image_info)
                else "the dataset has no images; add some with add_image(), then call prepare()."
            )
        check_classes(dataset, config)
        if augmentation:
            find_adapter(augmentation)
        self.dataset, self.config, self.batch_size = dataset, config, batch_size
        self._rpn_targets = config.recipe().rpn_targets(config)
        self.augment, self.augmentation, self.shuffle = augment, augmentation, shuffle
        self.no_augmentation_sources = no_augmentation_sources or ()
        self.random_rois, self.detection_targets = random_rois, detection_targets
        self.seed = draw_seed() if seed is None else seed
        self.errors = LoadErrors(dataset, config.MAX_LOAD_ERRORS)
        self.skipped, self.unused = set(), set()
        self.first_pass = self.num_images
        # Threads share these. One operation on a set or dict is atomic, so they need no lock.
        self._seen, self._used, self._first_pass_ended = set(), set(), False
        self._orders, self._common = {}, {}

    def image_id(self, number: int) -> int:
        """The image of a sample: each one once an epoch."""
        epoch, position = divmod(number, self.num_images)
        if not self.shuffle:
            return int(self.dataset.image_ids[position])
        order = self._orders.get(epoch)
        if order is None:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.dataset.image_ids)
            # Around the end of an epoch, threads are at work on both sides of it.
            self._orders = {epoch - 1: self._orders.get(epoch - 1), epoch: order}
        return int(order[position])

    def load(self, number: int) -> dict[str, np.ndarray] | None:
        """Make a sample; None for an image without instances, or one that could not be loaded.

        Returns:
            A dict of arrays by the names of `mrcnn.inputs`, padded with zeros, except that
            `input_image` is `[height, width, channels]` as loaded, not molded. With `random_rois`
            also `input_roi`; with `detection_targets` also `rois`, `target_class_ids`,
            `target_bbox` and `target_mask`, see `build_detection_targets`.

        Raises:
            RuntimeError: at more than MAX_LOAD_ERRORS unreadable images, or when not one image of
                an epoch was usable.
            ValueError: if image sizes differ within batches.
        """
        self.errors.reraise()
        image_id = self.image_id(number)
        rng = np.random.default_rng([self.seed, number // self.num_images, image_id])
        sample = None
        try:
            sample = self._make(image_id, rng)
        # Whatever a user's loading code raises, it is that image which cannot be used.
        except Exception as error:
            self.errors.add(image_id, error)
        else:
            if sample is None:
                self.skipped.add(image_id)
            else:
                self._require_common("size", sample["input_image"].shape[:2], image_id)
        if sample is None:
            self.unused.add(number)
        if number < self.num_images:
            self._count_first_pass(image_id, sample is not None)
        return sample

    def _make(self, image_id, rng):
        """The sample of an image, or None if it has no instances to train on."""
        config = self.config
        source = self.dataset.image_info[image_id]["source"]
        image, meta, class_ids, boxes, masks = load_image_gt(
            self.dataset,
            config,
            image_id,
            augment=self.augment,
            augmentation=None if source in self.no_augmentation_sources else self.augmentation,
            use_mini_mask=config.USE_MINI_MASK,
            rng=rng,
        )
        if not (config.TRAIN_WITH_EMPTY_IMAGES or (class_ids > 0).any()):
            return None
        self._check_sides(image, image_id)
        match, deltas = self._rpn_targets(image.shape, class_ids, boxes, rng)
        sample = {
            "input_image": image,
            "input_image_meta": meta,
            "input_rpn_match": match[:, np.newaxis],
            "input_rpn_bbox": deltas,
        }
        if self.random_rois:
            sample |= self._roi_targets(image.shape, class_ids, boxes, masks, rng)

        count = config.MAX_GT_INSTANCES
        if len(class_ids) > count:
            kept = rng.choice(len(class_ids), count, replace=False)
            class_ids, boxes, masks = class_ids[kept], boxes[kept], masks[..., kept]
        sample["input_gt_class_ids"] = np.zeros(count, np.int32)
        sample["input_gt_boxes"] = np.zeros((count, 4), np.int32)
        sample["input_gt_masks"] = np.zeros((*masks.shape[:2], count), bool)
        sample["input_gt_class_ids"][: len(class_ids)] = class_ids
        sample["input_gt_boxes"][: len(boxes)] = boxes
        sample["input_gt_masks"][..., : masks.shape[-1]] = masks
        return sample

    def _roi_targets(self, image_shape, class_ids, boxes, masks, rng):
        """Random RoIs and, if asked for, what the heads should make of them."""
        rois = generate_random_rois(image_shape, self.random_rois, class_ids, boxes, rng)
        if not self.detection_targets:
            return {"input_roi": rois}
        names = "rois", "target_class_ids", "target_bbox", "target_mask"
        targets = build_detection_targets(rois, class_ids, boxes, masks, self.config, rng)
        return {"input_roi": rois, **dict(zip(names, targets, strict=True))}

    def _check_sides(self, image, image_id):
        """ValueError for an image that the pyramid cannot halve to its last level and double."""
        multiple = max(self.config.BACKBONE_STRIDES)
        if image.shape[0] % multiple or image.shape[1] % multiple:
            raise ValueError(
                f"{describe_image(self.dataset, image_id)}: the input has "
                f"{image.shape[0]}x{image.shape[1]} pixels, but its sides must be multiples of "
                f"{multiple}; IMAGE_RESIZE_MODE is {self.config.IMAGE_RESIZE_MODE!r}, "
                "'square' and 'pad64' pad to such sizes."
            )

    def _require_common(self, what, value, image_id):
        """Stop the run when a batch would stack images that differ."""
        common, first_id = self._common.setdefault(what, (value, image_id))
        if value != common and self.batch_size > 1:
            height, width = value
            self.errors.stop(
                ValueError(
                    f"{describe_image(self.dataset, image_id)} became {height}x{width} pixels and "
                    f"{describe_image(self.dataset, first_id)} {common[0]}x{common[1]}, which do "
                    f"not fit into a batch of {self.batch_size}; with IMAGE_RESIZE_MODE "
                    f"{self.config.IMAGE_RESIZE_MODE!r} set the batch size to 1 "
                    "(IMAGES_PER_GPU), or use 'square'."
                )
            )

    def _count_first_pass(self, image_id, usable):
        """At the end of the first epoch: log the skipped images, stop if there is nothing else."""
        if usable:
            self._used.add(image_id)
        self._seen.add(image_id)
        if self._first_pass_ended or len(self._seen) < self.first_pass:
            return
        self._first_pass_ended = True
        empty = f"{len(self.skipped)} of {self.num_images} images have no instances"
        if self._used and self.skipped:
            example = describe_image(self.dataset, min(self.skipped))
            _log.warning("%s and are skipped, for example %s.", empty, example)
        if not self._used:
            failed = "".join(f"\n  {message}" for message in self.errors.messages.values())
            self.errors.stop(
                RuntimeError(
                    f"there is nothing to train on: {empty} (TRAIN_WITH_EMPTY_IMAGES uses such "
                    f"images as background), {len(self.errors.messages)} could not be loaded."
                    f"{failed}"
                )
            )
