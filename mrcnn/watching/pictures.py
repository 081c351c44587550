"""Pictures of detections during training, for TensorBoard."""

import contextlib
import io
import os
import warnings

import keras
import numpy as np
import tensorflow as tf

from mrcnn.data.checks import describe_image, load_instances
from mrcnn.drawing.instances import display_comparison
from mrcnn.evaluation.dataset_metrics import choose_images
from mrcnn.ops.masks import extract_bboxes

# Both images of a picture, 512 pixels each, and a line of text above them, 100 pixels per inch.
_INCHES = (10.34, 5.57)


class DetectionPictures(keras.callbacks.Callback):
    """Show detections beside the ground truth in TensorBoard after every epoch.

    The images are the same every time: `count` at equal distances. Ground truth is on the left,
    detections are on the right, in one colour per class. `DETECTION_MIN_CONFIDENCE` applies as in
    `detect`, so in early pictures the right may be empty.

    An error (memory, an unreadable image) ends the pictures with one warning; training continues.

    Args:
        dataset: prepared.
        make_detector: function that returns an object with the `detect` of `MaskRCNN` and the
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
            message = str(error).partition("\n")[0]
            warnings.warn(
                f"TensorBoard gets no more pictures of detections: {type(error).__name__} "
                f"in epoch {epoch + 1} ({message}). "
                "TENSORBOARD_IMAGES = 0 turns them off.",
                stacklevel=2,
            )

    def on_train_end(self, logs=None):
        writer, self._writer = self._writer, None
        if writer is not None and not self._failed:
            # A disk that is full by now must not keep the last state from being written.
            with contextlib.suppress(tf.errors.OpError):
                writer.close()

    def _show(self, epoch):
        self._detector = self._detector or self.make_detector()
        # Made before any is written: an epoch has all its pictures or none.
        pictures = [self._picture(image_id) for image_id in self.image_ids]
        self._writer = self._writer or tf.summary.create_file_writer(self.folder)
        with self._writer.as_default(step=epoch):
            for number, picture in enumerate(pictures):
                name = describe_image(self.dataset, self.image_ids[number])
                tf.summary.image(
                    f"detections/{number}",
                    picture[np.newaxis],
                    description=f"{name}: ground truth left, detections right",
                )
        self._writer.flush()

    def _picture(self, image_id):
        """Draw an image twice, with ground truth and detections: `[height, width, 3]` uint8."""
        image = self.dataset.load_image(image_id)
        masks, class_ids = load_instances(self.dataset, image_id, image.shape)
        # As RLEs, only one mask at a time becomes large.
        found = self._detector.detect([image], mask_format="rle")[0]
        truth, file = (extract_bboxes(masks), masks, class_ids), io.BytesIO()
        display_comparison(
            image, truth, found, self.dataset.class_names, figsize=_INCHES, save_to=file
        )
        return tf.io.decode_png(file.getvalue(), channels=3).numpy()
