# Train on boxes from PASCAL VOC files, then measure the mAP: the commonest kind of tutorial.
from os import listdir
from xml.etree import ElementTree

from matplotlib import pyplot
from matplotlib.patches import Rectangle
from mrcnn.config import Config
from mrcnn.model import MaskRCNN, load_image_gt, mold_image
from mrcnn.utils import Dataset, compute_ap
from numpy import asarray, expand_dims, mean, zeros

# ruff: noqa


class BoatDataset(Dataset):
    def load_dataset(self, dataset_dir, is_train=True):
        self.add_class("dataset", 1, "boat")
        images_dir = dataset_dir + "/images/"
        annotations_dir = dataset_dir + "/annots/"
        for filename in sorted(listdir(images_dir)):
            image_id = filename[:-4]
            # one file that nobody has annotated
            if image_id in ["00003"]:
                continue
            if is_train and int(image_id) >= 6:
                continue
            if not is_train and int(image_id) < 6:
                continue
            img_path = images_dir + filename
            ann_path = annotations_dir + image_id + ".xml"
            self.add_image("dataset", image_id=image_id, path=img_path, annotation=ann_path)

    def extract_boxes(self, filename):
        root = ElementTree.parse(filename).getroot()
        boxes = list()
        for box in root.findall(".//bndbox"):
            xmin = int(box.find("xmin").text)
            ymin = int(box.find("ymin").text)
            xmax = int(box.find("xmax").text)
            ymax = int(box.find("ymax").text)
            boxes.append([xmin, ymin, xmax, ymax])
        width = int(root.find(".//size/width").text)
        height = int(root.find(".//size/height").text)
        return boxes, width, height

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        boxes, w, h = self.extract_boxes(info["annotation"])
        masks = zeros([h, w, len(boxes)], dtype="uint8")
        class_ids = list()
        for i in range(len(boxes)):
            box = boxes[i]
            row_s, row_e = box[1], box[3]
            col_s, col_e = box[0], box[2]
            masks[row_s:row_e, col_s:col_e, i] = 1
            class_ids.append(self.class_names.index("boat"))
        return masks, asarray(class_ids, dtype="int32")

    def image_reference(self, image_id):
        info = self.image_info[image_id]
        return info["path"]


class BoatConfig(Config):
    NAME = "boat_cfg"
    NUM_CLASSES = 1 + 1
    STEPS_PER_EPOCH = 3
    # Small, so that this takes seconds.
    BACKBONE = "small"
    VALIDATION_STEPS = 1
    IMAGES_PER_GPU = 1
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 24, 32, 48)
    TOP_DOWN_PYRAMID_SIZE = 16
    FPN_CLASSIF_FC_LAYERS_SIZE = 32
    TRAIN_ROIS_PER_IMAGE = 16


class PredictionConfig(BoatConfig):
    NAME = "boat_cfg"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    # Three steps do not teach anything.
    DETECTION_MIN_CONFIDENCE = 0


def evaluate_model(dataset, model, cfg):
    APs = list()
    for image_id in dataset.image_ids:
        image, image_meta, gt_class_id, gt_bbox, gt_mask = load_image_gt(
            dataset, cfg, image_id, use_mini_mask=False
        )
        scaled_image = mold_image(image, cfg)
        sample = expand_dims(scaled_image, 0)
        yhat = model.detect(sample, verbose=0)
        r = yhat[0]
        AP, _, _, _ = compute_ap(
            gt_bbox, gt_class_id, gt_mask, r["rois"], r["class_ids"], r["scores"], r["masks"]
        )
        APs.append(AP)
    return mean(APs)


train_set = BoatDataset()
train_set.load_dataset("boats", is_train=True)
train_set.prepare()
print("Train: %d" % len(train_set.image_ids))
test_set = BoatDataset()
test_set.load_dataset("boats", is_train=False)
test_set.prepare()
print("Test: %d" % len(test_set.image_ids))

config = BoatConfig()
config.display()
model = MaskRCNN(mode="training", model_dir="./", config=config)
model.load_weights(
    "mask_rcnn_coco.h5",
    by_name=True,
    exclude=["mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_bbox", "mrcnn_mask"],
)
model.train(train_set, test_set, learning_rate=config.LEARNING_RATE, epochs=1, layers="heads")

cfg = PredictionConfig()
model = MaskRCNN(mode="inference", model_dir="./", config=cfg)
model.load_weights(model.find_last()[1], by_name=True)
train_mAP = evaluate_model(train_set, model, cfg)
print("Train mAP: %.3f" % train_mAP)
test_mAP = evaluate_model(test_set, model, cfg)
print("Test mAP: %.3f" % test_mAP)

image = test_set.load_image(0)
mask, _ = test_set.load_mask(0)
sample = expand_dims(mold_image(image, cfg), 0)
yhat = model.detect(sample, verbose=0)[0]
pyplot.subplot(1, 2, 1)
pyplot.imshow(image)
for j in range(mask.shape[2]):
    pyplot.imshow(mask[:, :, j], cmap="gray", alpha=0.3)
pyplot.subplot(1, 2, 2)
pyplot.imshow(image)
ax = pyplot.gca()
for box in yhat["rois"]:
    y1, x1, y2, x2 = box
    ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color="red"))
pyplot.savefig("boats.png")
print("Found: %d" % len(yhat["rois"]))
