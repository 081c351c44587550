"""Pictures for TensorBoard of what the model detects during training."""

import os
import warnings

import keras
import numpy as np
import tensorflow as tf

from mrcnn.data.dataset import describe_image
from mrcnn.drawing.labelled import label_instances, side_by_side
from mrcnn.evaluation.dataset_metrics import choose_images
from mrcnn.ops.masks import extract_bboxes
from mrcnn.ops.rle import decode_mask


class DetectionPictures(keras.callbacks.Callback):
    """Show detections beside the ground truth in TensorBoard after every epoch.

    The images are the same every time: `count` at equal distances. Ground truth is on the left,
    detections are on the right, in one colour per class. `DETECTION_MIN_CONFIDENCE` holds as in
    `detect`, so in early pictures the right may be empty.

    An error (memory, an unreadable image) ends the pictures with one warning, and not the training.

    Args:
        dataset: prepared.
        make_detector: function that returns a `MaskRCNN` in inference mode, or the like, with the
            weights in training. It is called after the first epoch.
        log_dir: folder of the run. The pictures go to `validation/pictures` in it: of two files in
            one folder that grow at the same time, TensorBoard follows the newer one alone.
        count: number of images.

    Raises:
        ValueError: if there are no images, or count is not positive.
    """

    def __init__(self, dataset, make_detector, log_dir, count):
        super().__init__()
        self.dataset, self.make_detector = dataset, make_detector
        self.image_ids = choose_images(dataset, limit=count)
        self.folder = os.path.join(log_dir, "validation", "pictures")
        self._detector = self._writer = None
        self._failed = False

    def on_epoch_end(self, epoch, logs=None):
        if self._failed:
            return
        try:
            self._show(epoch)
        except Exception as error:
            self._failed = True
            warnings.warn(
                f"There are no more pictures of detections in TensorBoard: {type(error).__name__} "
                f"in epoch {epoch + 1} ({str(error).splitlines()[0] if str(error) else ''}). "
                "TENSORBOARD_IMAGES = 0 does without them.",
                stacklevel=2,
            )

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _show(self, epoch):
        self._detector = self._detector or self.make_detector()
        # Made before any is written: an epoch has all its pictures or none.
        pictures = [self._picture(image_id) for image_id in self.image_ids]
        self._writer = self._writer or tf.summary.create_file_writer(self.folder)
        with self._writer.as_default(step=epoch):
            for number, (image_id, picture) in enumerate(
                zip(self.image_ids, pictures, strict=True)
            ):
                tf.summary.image(
                    f"detections/{number}",
                    picture[np.newaxis],
                    description=f"{describe_image(self.dataset, image_id)}: ground truth left, "
                    "detections right",
                )
        self._writer.flush()

    def _picture(self, image_id):
        """Ground truth and detections of an image, side by side, [height, width, 3] uint8."""
        image, names = self.dataset.load_image(image_id), self.dataset.class_names
        masks, class_ids = map(np.asarray, self.dataset.load_mask(image_id))
        masks = masks != 0
        truth = label_instances(
            image, extract_bboxes(masks), np.moveaxis(masks, -1, 0), class_ids, names
        )
        # One mask at a time becomes large. The best come last, on top.
        found = {
            key: values[::-1]
            for key, values in self._detector.detect([image], mask_format="rle")[0].items()
        }
        detected = label_instances(
            image,
            found["rois"],
            map(decode_mask, found["masks"]),
            found["class_ids"],
            names,
            scores=found["scores"],
        )
        return side_by_side(truth, detected)
