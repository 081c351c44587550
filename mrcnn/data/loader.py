"""Training samples by number, for the tf.data pipeline and for generators.

Sample number n is image n % N of epoch n // N of a dataset of N images. Its random numbers depend
on the seed, the epoch and the image alone, so samples are the same in any order, on any number of
threads.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from mrcnn.data.augment import draw_seed, find_adapter
from mrcnn.data.checks import check_prepared, describe_image
from mrcnn.data.molding import side_divisors
from mrcnn.data.random_rois import generate_random_rois
from mrcnn.data.sample import load_sample
from mrcnn.ops.pixels import check_sides

_log = logging.getLogger(__name__)


class LoadErrors:
    """Record of the images that could not be loaded, which stops the run when they are too many.

    Attributes:
        messages: dict from image id to a sentence that names the image and the problem.
        fatal: the exception that stopped the run, or None.
    """

    def __init__(self, dataset: Any, limit: int):
        self.messages = {}
        self.fatal = None
        self._dataset, self._limit = dataset, limit

    def add(self, image_id: int, error: Exception) -> None:
        """Log one failure of an image.

        Raises:
            RuntimeError: with the list of images, once there are more than the limit.
        """
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
        """Raise the exception that stopped the run; tf.data turns it into an error of its own."""
        if self.fatal is not None:
            raise self.fatal


class SampleLoader:
    """Loader of training samples from the images of a dataset.

    Args:
        dataset: a prepared `Dataset`.
        config: a `Config`.
        shuffle: draw a new order of the images for every epoch; else keep that of the dataset.
        augmentation, flip_half: see `load_sample`.
        no_augmentation_sources: names of sources whose images are not augmented.
        random_rois: number of RoIs per sample, for training the heads without the RPN.
        batch_size: number of samples that will be stacked.
        seed: of all random numbers; None draws one from `np.random`.

    Attributes:
        num_images: images per epoch.
        errors: `LoadErrors` so far.
        skipped: set with the ids of images without instances so far.
        unused: set with the numbers of the samples that were None so far.
        rpn_targets: the `RPNTargets` of the recipe.
        first_pass: number of samples of the first epoch that this loader makes; all by default.

    Raises:
        ValueError, TypeError: if there are no images, or if classes or augmentation do not fit.
    """

    def __init__(
        self,
        dataset: Any,
        config: Any,
        *,
        shuffle: bool = True,
        augmentation: Any = None,
        flip_half: bool = False,
        no_augmentation_sources: list[str] | None = None,
        random_rois: int = 0,
        batch_size: int = 1,
        seed: int | None = None,
    ):
        if not dataset.image_info:
            raise ValueError(
                "the dataset has no images; add some with add_image(), then call prepare()."
            )
        check_prepared(dataset, config.NUM_CLASSES)
        self.num_images = len(dataset.image_ids)
        if augmentation:
            find_adapter(augmentation)
        self.dataset, self.config, self.batch_size = dataset, config, batch_size
        self.rpn_targets = config.recipe().rpn_targets(config)
        self.augmentation, self.flip_half = augmentation, flip_half
        self.shuffle, self.random_rois = shuffle, random_rois
        self.no_augmentation_sources = no_augmentation_sources or ()
        self.seed = draw_seed() if seed is None else seed
        self.errors = LoadErrors(dataset, config.MAX_LOAD_ERRORS)
        self.skipped, self.unused = set(), set()
        self.first_pass = self.num_images
        # Threads share these. One operation on a set or dict is atomic, so they need no lock.
        self._seen, self._used, self._first_pass_ended = set(), set(), False
        self._orders = {}

    def image_id(self, number: int) -> int:
        """Return the id of the image of a sample; each image comes once per epoch."""
        epoch, position = divmod(number, self.num_images)
        if not self.shuffle:
            return int(self.dataset.image_ids[position])
        order = self._orders.get(epoch)
        if order is None:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.dataset.image_ids)
            # At the end of an epoch, some threads are in the next one already: keep both orders.
            self._orders = {epoch - 1: self._orders.get(epoch - 1), epoch: order}
        return int(order[position])

    def load(self, number: int) -> dict[str, np.ndarray] | None:
        """Make a sample; None for an image without instances, or one that could not be loaded.

        Returns:
            Dict of arrays by the names of `mrcnn.inputs`, padded with zeros. `input_image` is
            `[height, width, channels]` as loaded, not molded. `random_rois` adds `input_roi`.

        Raises:
            RuntimeError: at more than MAX_LOAD_ERRORS unreadable images, or when no image of an
                epoch was usable.
            ValueError: if image sizes differ within batches.
        """
        self.errors.reraise()
        image_id = self.image_id(number)
        rng = np.random.default_rng([self.seed, number // self.num_images, image_id])
        sample = None
        try:
            sample = self._make(image_id, rng)
        # Users' loading code may raise anything: skip this image, keep the others.
        except Exception as error:
            self.errors.add(image_id, error)
        else:
            if sample is None:
                self.skipped.add(image_id)
        if sample is None:
            self.unused.add(number)
        if number < self.num_images:
            self._count_first_pass(image_id, sample is not None)
        return sample

    def _make(self, image_id, rng):
        """Make the sample of an image, or None if it has no instances to train on."""
        config = self.config
        source = self.dataset.image_info[image_id]["source"]
        augmentation = None if source in self.no_augmentation_sources else self.augmentation
        sample = load_sample(
            self.dataset,
            config,
            image_id,
            augmentation=augmentation,
            flip_half=self.flip_half,
            use_mini_mask=config.USE_MINI_MASK,
            rng=rng,
        )
        if not (config.TRAIN_WITH_EMPTY_IMAGES or (sample.class_ids > 0).any()):
            return None
        shape, name = sample.image.shape, describe_image(self.dataset, image_id)
        check_sides(shape, side_divisors(config), name)
        match, deltas = self.rpn_targets(shape, sample.class_ids, sample.boxes, rng)
        arrays = {
            "input_image": sample.image,
            "input_image_meta": sample.meta,
            "input_rpn_match": match[:, np.newaxis],
            "input_rpn_bbox": deltas,
        }
        if self.random_rois:
            arrays |= self._roi_arrays(sample, rng)

        count = config.MAX_GT_INSTANCES
        if len(sample.class_ids) > count:
            sample = sample.select(rng.choice(len(sample.class_ids), count, replace=False))
        missing = count - len(sample.class_ids)
        arrays["input_gt_class_ids"] = np.pad(sample.class_ids, (0, missing))
        arrays["input_gt_boxes"] = np.pad(sample.boxes, [(0, missing), (0, 0)])
        arrays["input_gt_masks"] = np.pad(sample.masks, [(0, 0), (0, 0), (0, missing)])
        return arrays

    def _roi_arrays(self, sample, rng):
        """Return random RoIs, as the additional arrays of a sample."""
        shape, class_ids, boxes = sample.image.shape, sample.class_ids, sample.boxes
        return {"input_roi": generate_random_rois(shape, self.random_rois, class_ids, boxes, rng)}

    def report_skipped(self) -> None:
        """Log the images without instances so far, unless they were logged for this dataset."""
        skipped = frozenset(self.skipped)
        reported = vars(self.dataset).setdefault("_reported_empty", set())
        if skipped <= reported:
            return
        reported |= skipped
        total = self.num_images if self._first_pass_ended else len(self._seen)
        _log.warning(
            "%d of %d images have no instances and are skipped, for example %s. "
            "TRAIN_WITH_EMPTY_IMAGES = True trains on them as background.",
            len(skipped),
            total,
            describe_image(self.dataset, min(skipped)),
        )

    def _count_first_pass(self, image_id, usable):
        """After the first epoch, log the skipped images; stop if all images are unusable."""
        if usable:
            self._used.add(image_id)
        self._seen.add(image_id)
        if self._first_pass_ended or len(self._seen) < self.first_pass:
            return
        self._first_pass_ended = True
        if self._used:
            self.report_skipped()
        else:
            empty = f"{len(self.skipped)} of {self.num_images} images have no instances"
            message = (
                f"there is nothing to train on: {empty} (TRAIN_WITH_EMPTY_IMAGES uses such images "
                f"as background), {len(self.errors.messages)} could not be loaded."
            )
            failed = self.errors.messages.values()
            self.errors.stop(RuntimeError("\n  ".join([message, *failed])))
