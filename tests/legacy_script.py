"""A training script in the manner of those written for Matterport's library.

`test_legacy_script.py` runs it in an empty folder that has a weight file for 81 classes. Only the
import of imgaug is not as it was: version 0.4 does not import under NumPy 2 by itself.
"""

import os
import random

import keras.layers as KL
import matplotlib.pyplot as plt
import numpy as np

import mrcnn.model as modellib
from mrcnn import utils, visualize
from mrcnn.config import Config
from mrcnn.data.imgaug_shim import imgaug

MODEL_DIR = os.path.join(os.getcwd(), "logs")
COCO_WEIGHTS_PATH = os.path.join(os.getcwd(), "mask_rcnn_coco.h5")


def backbone(input_image, stage5, train_bn):
    x, stages = input_image, []
    for stage in (1, 2, 3, 5):
        conv, bn = f"res{stage}_conv", f"bn{stage}_conv"
        x = KL.Conv2D(8 * stage, (3, 3), strides=(2, 2), padding="same", name=conv)(x)
        x = modellib.BatchNorm(name=bn)(x, training=train_bn)
        x = KL.Activation("relu")(x)
        stages.append(x)
        if stage == 3:
            x = modellib.conv_block(x, 3, [8, 8, 32], stage=4, block="a", train_bn=train_bn)
            x = modellib.identity_block(x, 3, [8, 8, 32], stage=4, block="b", train_bn=train_bn)
            stages.append(x)
    return stages


def backbone_shape(image_shape):
    return np.array(
        [[int(np.ceil(side / s)) for side in image_shape[:2]] for s in (4, 8, 16, 32, 64)]
    )


class CellsConfig(Config):
    NAME = "Cells"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 2
    BACKBONE = staticmethod(backbone)
    COMPUTE_BACKBONE_SHAPE = staticmethod(backbone_shape)
    IMAGE_MIN_DIM = 64
    IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 24, 32, 48)
    TOP_DOWN_PYRAMID_SIZE = 16
    FPN_CLASSIF_FC_LAYERS_SIZE = 16
    TRAIN_ROIS_PER_IMAGE = 12
    POST_NMS_ROIS_INFERENCE = 50
    DETECTION_MAX_INSTANCES = 10
    DETECTION_MIN_CONFIDENCE = 0
    MAX_GT_INSTANCES = 5
    STEPS_PER_EPOCH = 25
    LEARNING_RATE = 0.02
    TRAIN_BN = True
    VALIDATION_STEPS = 1


class CellsDataset(utils.Dataset):
    def load_cells(self, count, height, width):
        self.add_class("cells", 1, "small")
        self.add_class("cells", 2, "large")
        for i in range(count):
            spots = []
            for column in range(2):
                radius = random.choice([6, 12])
                spots.append((random.randint(14, height - 15), 15 + 32 * column, radius))
            self.add_image("cells", image_id=i, path=None, width=width, height=height, spots=spots)

    def load_image(self, image_id):
        mask, _ = self.load_mask(image_id)
        image = np.full(mask.shape[:2] + (3,), (90, 40, 80), dtype=np.uint8)
        image[mask.any(axis=2)] = (220, 190, 60)
        return image

    def image_reference(self, image_id):
        info = self.image_info[image_id]
        if info["source"] == "cells":
            return info["spots"]
        return super(self.__class__).image_reference(self, image_id)

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        y, x = np.ogrid[: info["height"], : info["width"]]
        masks = [(y - cy) ** 2 + (x - cx) ** 2 < r * r for cy, cx, r in info["spots"]]
        class_ids = [1 if r < 10 else 2 for _, _, r in info["spots"]]
        return np.stack(masks, axis=2).astype(bool), np.array(class_ids, dtype=np.int32)


if __name__ == "__main__":
    config = CellsConfig()
    config.display()

    dataset_train = CellsDataset()
    dataset_train.load_cells(6, config.IMAGE_SHAPE[0], config.IMAGE_SHAPE[1])
    dataset_train.prepare()
    dataset_val = CellsDataset()
    dataset_val.load_cells(3, config.IMAGE_SHAPE[0], config.IMAGE_SHAPE[1])
    dataset_val.prepare()

    model = modellib.MaskRCNN(mode="training", config=config, model_dir=MODEL_DIR)
    model.load_weights(
        COCO_WEIGHTS_PATH,
        by_name=True,
        exclude=["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"],
    )
    weights_after_loading = model.keras_model.get_layer("res4b_branch2b").get_weights()

    model.train(
        dataset_train,
        dataset_val,
        learning_rate=config.LEARNING_RATE,
        epochs=1,
        layers="heads",
    )
    weights_after_heads = model.keras_model.get_layer("res4b_branch2b").get_weights()
    augmentation = imgaug.augmenters.Fliplr(0.5)
    model.train(
        dataset_train,
        dataset_val,
        learning_rate=config.LEARNING_RATE / 2,
        epochs=2,
        layers="all",
        augmentation=augmentation,
    )
    weights_after_all = model.keras_model.get_layer("res4b_branch2b").get_weights()
    model.keras_model.save_weights(os.path.join(MODEL_DIR, "mask_rcnn_cells.h5"))

    class InferenceConfig(config.__class__):
        GPU_COUNT = 1
        IMAGES_PER_GPU = 1

    inference_config = InferenceConfig()
    model = modellib.MaskRCNN(mode="inference", config=inference_config, model_dir=MODEL_DIR)
    model_path = model.find_last()
    print("Loading weights from ", model_path)
    model.load_weights(model_path, by_name=True)

    image_id = random.choice(dataset_val.image_ids)
    original_image, image_meta, gt_class_id, gt_bbox, gt_mask = modellib.load_image_gt(
        dataset_val, inference_config, image_id, use_mini_mask=False
    )
    modellib.log("original_image", original_image)
    modellib.log("gt_bbox", gt_bbox)
    visualize.display_instances(
        original_image, gt_bbox, gt_mask, gt_class_id, dataset_train.class_names, figsize=(4, 4)
    )
    plt.savefig("ground_truth.png")

    results = model.detect([original_image], verbose=1)
    r = results[0]
    _, ax = plt.subplots(1, figsize=(4, 4))
    visualize.display_instances(
        original_image,
        r["rois"],
        r["masks"],
        r["class_ids"],
        dataset_val.class_names,
        r["scores"],
        ax=ax,
    )
    plt.savefig("detections.png")

    APs = []
    for image_id in dataset_val.image_ids:
        image, image_meta, gt_class_id, gt_bbox, gt_mask = modellib.load_image_gt(
            dataset_val, inference_config, image_id, use_mini_mask=False
        )
        molded_images = np.expand_dims(modellib.mold_image(image, inference_config), 0)
        r = model.detect([image], verbose=0)[0]
        AP, precisions, recalls, overlaps = utils.compute_ap(
            gt_bbox, gt_class_id, gt_mask, r["rois"], r["class_ids"], r["scores"], r["masks"]
        )
        APs.append(AP)
    print("mAP: ", np.mean(APs))
    perfect, _, _, _ = utils.compute_ap(
        gt_bbox, gt_class_id, gt_mask, gt_bbox, gt_class_id, np.ones(len(gt_class_id)), gt_mask
    )
