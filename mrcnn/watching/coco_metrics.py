"""COCO's average precision (AP) after epochs of training."""

import keras

from mrcnn.evaluation.dataset_metrics import choose_images, compute_coco_metrics
from mrcnn.evaluation.ground_truth import coco_ground_truth

# Names of AP and AP50 in the logs of an epoch, by IoU type.
_NAMES = {"bbox": ("val_mAP", "val_mAP50"), "segm": ("val_mask_mAP", "val_mask_mAP50")}


class CocoMetrics(keras.callbacks.Callback):
    """Detect in some images after an epoch, and add COCO's AP to the epoch's logs.

    The logs get `val_mAP` and `val_mAP50` (boxes), `val_mask_mAP` and `val_mask_mAP50` (masks),
    for the History, TensorBoard, `log.csv`, and callbacks that watch a value. With
    `BEST_METRIC = "val_mask_mAP"` the best weights are kept:

        metrics = CocoMetrics(val_dataset, model, limit=100)
        model.train(..., custom_callbacks=[metrics])

    Detection uses the weights in training, not a copy. The images are the same every time. The
    first epoch is evaluated, and then every `every` epochs; the epochs between repeat the last
    values, which callbacks with a patience take for epochs without progress.

    `DETECTION_MIN_CONFIDENCE` (0.7 by default) cuts off detections that would raise the AP, and
    early in training there may be none above it. Pass a Config with a lower value, such as 0.05, to
    follow what the model learns.

    Args:
        dataset: prepared.
        model: the `MaskRCNN` that is trained.
        every: number of epochs between evaluations.
        limit: number of images, taken at equal distances; None for all.
        image_ids: of the images to choose from; all by default.
        iou_types: "bbox", "segm" or both.
        max_dets: detections that count per image and class; COCO counts 100.
        config: a Config for detection of the same sizes; by default that of the model.
        verbose: 1 shows progress.

    Attributes:
        metrics: the `DatasetMetrics` of the last evaluation; None before.

    Raises:
        ValueError: if `every` is not positive; when training begins, if there are no images or no
            objects in them, or if masks or class ids are malformed.
    """

    def __init__(
        self,
        dataset,
        model,
        every=1,
        limit=None,
        image_ids=None,
        iou_types=("bbox", "segm"),
        max_dets=100,
        config=None,
        verbose=1,
    ):
        super().__init__()
        if every < 1:
            raise ValueError(f"every is {every}; it must be at least 1 epoch.")
        self.dataset, self.mask_rcnn, self.every = dataset, model, every
        self.image_ids = choose_images(dataset, image_ids, limit)
        self.iou_types, self.max_dets = iou_types, max_dets
        self.config, self.verbose = config, verbose
        self.metrics = None
        self._detector = self._ground_truth = None

    def on_train_begin(self, logs=None):
        if self._detector is not None:
            return
        # Errors should occur now, not after an hour of training.
        ground_truth = coco_ground_truth(self.dataset, self.image_ids)
        if all(gt["iscrowd"] for gt in ground_truth.anns.values()):
            raise ValueError(
                f"There is nothing to evaluate: the {len(self.image_ids)} images have no objects."
            )
        self._detector = self.mask_rcnn.inference_model(self.config)
        self._ground_truth = ground_truth

    def on_epoch_end(self, epoch, logs=None):
        if self.metrics is None or (epoch + 1) % self.every == 0:
            self.metrics = compute_coco_metrics(
                self.dataset,
                self._detector,
                self.image_ids,
                iou_types=self.iou_types,
                verbose=self.verbose,
                max_dets=self.max_dets,
                ground_truth=self._ground_truth,
            )
        for iou_type in self.iou_types:
            stats = getattr(self.metrics, iou_type).stats
            logs.update(zip(_NAMES[iou_type], (stats["AP"], stats["AP50"]), strict=True))
