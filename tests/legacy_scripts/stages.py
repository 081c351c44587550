"""Train in three stages with imgaug, then write run lengths: a script as of a competition.

python stages.py train --dataset=cells --weights=none
python stages.py detect --dataset=cells --weights=last
"""
# ruff: noqa

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import os
import sys
import datetime
import numpy as np
import skimage.io

ROOT_DIR = os.path.abspath("./")
sys.path.append(ROOT_DIR)
from mrcnn.config import Config
from mrcnn import utils
from mrcnn import model as modellib
from mrcnn import visualize

DEFAULT_LOGS_DIR = os.path.join(ROOT_DIR, "logs")
RESULTS_DIR = os.path.join(ROOT_DIR, "results")
VAL_IMAGE_IDS = ["c4", "c5"]


class CellConfig(Config):
    NAME = "cell"
    IMAGES_PER_GPU = 2
    NUM_CLASSES = 1 + 1
    STEPS_PER_EPOCH = (6 - len(VAL_IMAGE_IDS)) // IMAGES_PER_GPU
    VALIDATION_STEPS = max(1, len(VAL_IMAGE_IDS) // IMAGES_PER_GPU)
    DETECTION_MIN_CONFIDENCE = 0
    # Small, so that this takes seconds.
    BACKBONE = "small"
    IMAGE_RESIZE_MODE = "crop"
    IMAGE_MIN_DIM = 64
    IMAGE_MAX_DIM = 64
    IMAGE_MIN_SCALE = 1.0
    RPN_ANCHOR_SCALES = (8, 16, 24, 32, 48)
    POST_NMS_ROIS_TRAINING = 100
    POST_NMS_ROIS_INFERENCE = 50
    RPN_NMS_THRESHOLD = 0.9
    RPN_TRAIN_ANCHORS_PER_IMAGE = 64
    MEAN_PIXEL = np.array([43.53, 39.56, 48.22])
    USE_MINI_MASK = True
    MINI_MASK_SHAPE = (28, 28)
    TRAIN_ROIS_PER_IMAGE = 16
    TOP_DOWN_PYRAMID_SIZE = 16
    FPN_CLASSIF_FC_LAYERS_SIZE = 32
    MAX_GT_INSTANCES = 10
    DETECTION_MAX_INSTANCES = 10


class CellInferenceConfig(CellConfig):
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    IMAGE_RESIZE_MODE = "pad64"
    RPN_NMS_THRESHOLD = 0.7


class CellDataset(utils.Dataset):
    def load_cell(self, dataset_dir, subset):
        self.add_class("cell", 1, "cell")
        assert subset in ["train", "val"]
        if subset == "val":
            image_ids = VAL_IMAGE_IDS
        else:
            image_ids = next(os.walk(dataset_dir))[1]
            image_ids = list(set(image_ids) - set(VAL_IMAGE_IDS))
        for image_id in image_ids:
            self.add_image(
                "cell",
                image_id=image_id,
                path=os.path.join(dataset_dir, image_id, "images/{}.png".format(image_id)),
            )

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        mask_dir = os.path.join(os.path.dirname(os.path.dirname(info["path"])), "masks")
        mask = []
        for f in next(os.walk(mask_dir))[2]:
            if f.endswith(".png"):
                m = skimage.io.imread(os.path.join(mask_dir, f)).astype(bool)
                mask.append(m)
        mask = np.stack(mask, axis=-1)
        return mask, np.ones([mask.shape[-1]], dtype=np.int32)

    def image_reference(self, image_id):
        info = self.image_info[image_id]
        if info["source"] == "cell":
            return info["id"]
        else:
            super(self.__class__, self).image_reference(image_id)


def train(model, dataset_dir):
    dataset_train = CellDataset()
    dataset_train.load_cell(dataset_dir, "train")
    dataset_train.prepare()
    dataset_val = CellDataset()
    dataset_val.load_cell(dataset_dir, "val")
    dataset_val.prepare()

    from imgaug import augmenters as iaa

    augmentation = iaa.SomeOf(
        (0, 2),
        [
            iaa.Fliplr(0.5),
            iaa.Flipud(0.5),
            iaa.OneOf([iaa.Affine(rotate=90), iaa.Affine(rotate=180), iaa.Affine(rotate=270)]),
            iaa.Multiply((0.8, 1.5)),
            iaa.GaussianBlur(sigma=(0.0, 5.0)),
        ],
    )
    print("Train network heads")
    model.train(
        dataset_train,
        dataset_val,
        learning_rate=config.LEARNING_RATE,
        epochs=1,
        augmentation=augmentation,
        layers="heads",
    )
    print("Fine tune stage 4 and up")
    model.train(
        dataset_train,
        dataset_val,
        learning_rate=config.LEARNING_RATE,
        epochs=2,
        layers="4+",
        augmentation=augmentation,
    )
    print("Train all layers")
    model.train(
        dataset_train,
        dataset_val,
        learning_rate=config.LEARNING_RATE / 10,
        epochs=3,
        layers="all",
        augmentation=augmentation,
    )


def rle_encode(mask):
    assert mask.ndim == 2, "Mask must be of shape [Height, Width]"
    m = mask.T.flatten()
    g = np.diff(np.concatenate([[0], m, [0]]), n=1)
    rle = np.where(g != 0)[0].reshape([-1, 2]) + 1
    rle[:, 1] = rle[:, 1] - rle[:, 0]
    return " ".join(map(str, rle.flatten()))


def mask_to_rle(image_id, mask, scores):
    assert mask.ndim == 3, "Mask must be [H, W, count]"
    if mask.shape[-1] == 0:
        return "{},".format(image_id)
    order = np.argsort(scores)[::-1] + 1
    mask = np.max(mask * np.reshape(order, [1, 1, -1]), -1)
    lines = []
    for o in order:
        m = np.where(mask == o, 1, 0)
        if m.sum() == 0.0:
            continue
        lines.append("{}, {}".format(image_id, rle_encode(m)))
    return "\n".join(lines)


def detect(model, dataset_dir):
    if not os.path.exists(RESULTS_DIR):
        os.makedirs(RESULTS_DIR)
    submit_dir = "submit_{:%Y%m%dT%H%M%S}".format(datetime.datetime.now())
    submit_dir = os.path.join(RESULTS_DIR, submit_dir)
    os.makedirs(submit_dir)
    dataset = CellDataset()
    dataset.load_cell(dataset_dir, "val")
    dataset.prepare()
    submission = []
    for image_id in dataset.image_ids:
        image = dataset.load_image(image_id)
        r = model.detect([image], verbose=0)[0]
        source_id = dataset.image_info[image_id]["id"]
        submission.append(mask_to_rle(source_id, r["masks"], r["scores"]))
        visualize.display_instances(
            image,
            r["rois"],
            r["masks"],
            r["class_ids"],
            dataset.class_names,
            r["scores"],
            show_bbox=False,
            show_mask=False,
            title="Predictions",
        )
        plt.savefig("{}/{}.png".format(submit_dir, dataset.image_info[image_id]["id"]))
    submission = "ImageId,EncodedPixels\n" + "\n".join(submission)
    with open(os.path.join(submit_dir, "submit.csv"), "w") as f:
        f.write(submission)
    print("Saved to ", submit_dir)


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Mask R-CNN for cells")
    parser.add_argument("command", metavar="<command>", help="'train' or 'detect'")
    parser.add_argument("--dataset", required=False)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--logs", required=False, default=DEFAULT_LOGS_DIR)
    args = parser.parse_args()
    if args.command == "train":
        config = CellConfig()
        model = modellib.MaskRCNN(mode="training", config=config, model_dir=args.logs)
    else:
        config = CellInferenceConfig()
        model = modellib.MaskRCNN(mode="inference", config=config, model_dir=args.logs)
    if args.weights.lower() == "last":
        weights_path = model.find_last()
        print("Loading weights ", weights_path)
        model.load_weights(weights_path, by_name=True)
    if args.command == "train":
        train(model, args.dataset)
    elif args.command == "detect":
        detect(model, args.dataset)
