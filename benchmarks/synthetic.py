"""A model with random weights, and made-up photos with objects, for measurements."""

import numpy as np

from mrcnn.config import Config, PaperConfig
from mrcnn.data.dataset import Dataset

CLASSES = 80


def benchmark_config(size, **settings):
    """COCO's 81 classes on square images of `size` pixels, with other settings changed."""
    coco = {"NAME": "benchmark", "NUM_CLASSES": 1 + CLASSES}
    square = {"IMAGE_MIN_DIM": size, "IMAGE_MAX_DIM": size}
    return type("BenchmarkConfig", (Config,), coco | square | settings)()


def paper_config(height, width, **settings):
    """The paper's settings for photos of `height` x `width` pixels, or as large as they become."""
    paper = {"NAME": "benchmark", "NUM_CLASSES": 1 + CLASSES}
    sides = {"IMAGE_MIN_DIM": height, "IMAGE_MAX_DIM": width}
    return type("BenchmarkConfig", (PaperConfig,), paper | sides | settings)()


class SyntheticDataset(Dataset):
    """Images of noise in memory, each with rectangles of 1/8 to 1/4 of its shorter side.

    A few images are made and served in turn: the pixels do not matter, the memory would.
    """

    DIFFERENT = 8

    def __init__(self, size, objects, images, width=None):
        super().__init__()
        self.shape = size, width or size
        rng = np.random.default_rng(0)
        self.photos = rng.integers(0, 256, (self.DIFFERENT, *self.shape, 3), np.uint8)
        for class_id in range(1, CLASSES + 1):
            self.add_class("synthetic", class_id, f"class {class_id}")
        for image_id in range(images):
            corners = rng.integers(0, size - size // 4, (objects, 2))
            sides = rng.integers(size // 8, size // 4, (objects, 2))
            boxes = np.concatenate([corners, corners + sides], axis=1)
            class_ids = rng.integers(1, CLASSES + 1, objects).astype(np.int32)
            self.add_image("synthetic", image_id, None, boxes=boxes, class_ids=class_ids)
        self.prepare()

    def load_image(self, image_id):
        return self.photos[image_id % self.DIFFERENT]

    def load_mask(self, image_id):
        info = self.image_info[image_id]
        masks = np.zeros((*self.shape, len(info["boxes"])), bool)
        for index, (y1, x1, y2, x2) in enumerate(info["boxes"]):
            masks[y1:y2, x1:x2, index] = True
        return masks, info["class_ids"]


def random_model(mode, config, model_dir):
    """A MaskRCNN with random weights that has as much to do as a trained one.

    Activations stay finite: frozen batch normalization does not tame random weights, so the
    residual sums would grow with every block, were not the last scale of each block small. Boxes
    stay where they are: proposals are anchors, spread over image and sizes, and some of them hit an
    object. Random deltas would blow them all up to the whole image.
    """
    from mrcnn.model import MaskRCNN

    model = MaskRCNN(mode, config, model_dir)
    layers = {layer.name: layer for layer in model.get_trainable_layers()}
    for name, layer in layers.items():
        if name.startswith("bn") and name.endswith("branch2c"):
            layer.gamma.assign(np.full(layer.gamma.shape, 0.2))
    for name in ("rpn_bbox_pred", "mrcnn_bbox_fc"):
        layers[name].kernel.assign(np.zeros(layers[name].kernel.shape))
    if config.RECIPE == "paper":
        # Scores that spread, so that a few hundred of 1000 RoIs pass the threshold.
        for name in ("rpn_class_raw", "mrcnn_class_logits"):
            layers[name].kernel.assign(50.0 * np.array(layers[name].kernel))
    return model
