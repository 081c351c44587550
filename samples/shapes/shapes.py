"""Squares, circles and triangles: a data set made on the fly, and everything one does with one.

    python shapes.py demo                       train from nothing, evaluate, draw pictures
    python shapes.py train --weights coco       fine-tune the COCO weights
    python shapes.py train --weights last       go on with the newest run
    python shapes.py evaluate --weights last    mAP on images that training never saw
    python shapes.py detect --weights last      pictures of detections

`python shapes.py COMMAND --help` lists the options of a command.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from mrcnn import utils, visualize
from mrcnn.config import Config

SHAPES = ("square", "circle", "triangle")

# Each split draws from a stream of its own: no image of one is in another, whatever their sizes.
SPLITS = ("train", "val", "test")

# Weights that were trained on other classes.
PRETRAINED = ("coco", "imagenet")


class ShapesConfig(Config):
    """Settings of the original's train_shapes notebook: small images, few RoIs."""

    NAME = "shapes"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 8
    NUM_CLASSES = 1 + len(SHAPES)
    IMAGE_MIN_DIM = 128
    IMAGE_MAX_DIM = 128
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    TRAIN_ROIS_PER_IMAGE = 32
    STEPS_PER_EPOCH = 100
    VALIDATION_STEPS = 5


def small_backbone(input_image, stage5=True, train_bn=None):
    """A residual network of nine convolutions, quick to train from random weights.

    Its layers are named like those of ResNet, so that `layers="4+"` selects among them, too.

    Args:
        input_image: [batch, height, width, channels] tensor.
        stage5: make C5, too; else it is None.
        train_bn: how batch normalization trains, as `Config.TRAIN_BN`.

    Returns:
        List of C1 to C5, whose strides are 2, 4, 8, 16 and 32.
    """
    from keras import layers

    from mrcnn.model import BatchNorm

    def conv(x, filters, stride, name, bn_name):
        x = layers.Conv2D(filters, 3, stride, padding="same", use_bias=False, name=name)(x)
        return BatchNorm(name=bn_name)(x, training=train_bn)

    x = layers.ReLU()(conv(input_image, 16, 2, "conv1", "bn_conv1"))
    stages = [x]
    for stage, filters in ((2, 32), (3, 64), (4, 128), (5, 128)):
        if stage == 5 and not stage5:
            return [*stages, None]
        x = layers.ReLU()(conv(x, filters, 2, f"res{stage}a", f"bn{stage}a"))
        change = conv(x, filters, 1, f"res{stage}b", f"bn{stage}b")
        x = layers.ReLU()(layers.Add()([x, change]))
        stages.append(x)
    return stages


def small_backbone_shapes(image_shape):
    """[5, (rows, columns)] of P2 to P6 above `small_backbone`, for (height, width, ...)."""
    return np.array([[-(-side // 2**level) for side in image_shape[:2]] for level in range(2, 7)])


class DemoConfig(ShapesConfig):
    """Learns shapes from random weights in minutes on two CPU cores.

    `BACKBONE = "resnet50"` is all it takes for a large backbone in place of the small one.
    """

    NAME = "small_shapes"
    # Without staticmethod, Python would make methods of them and pass the Config along.
    BACKBONE = staticmethod(small_backbone)
    COMPUTE_BACKBONE_SHAPE = staticmethod(small_backbone_shapes)
    # Stored statistics say nothing about random weights: those of the batch have to be used.
    TRAIN_BN = None
    TOP_DOWN_PYRAMID_SIZE = 64
    FPN_CLASSIF_FC_LAYERS_SIZE = 256
    # Mostly negatives: what goes wrong at first are shapes seen where there are none.
    TRAIN_ROIS_PER_IMAGE = 64
    ROI_POSITIVE_RATIO = 0.125
    # A quarter of the work in the mask head; these shapes need no finer masks.
    MASK_POOL_SIZE = 7
    MASK_SHAPE = [14, 14]
    PRE_NMS_LIMIT = 1000
    POST_NMS_ROIS_TRAINING = 200
    POST_NMS_ROIS_INFERENCE = 100
    MAX_GT_INSTANCES = 8
    DETECTION_MAX_INSTANCES = 20
    DETECTION_MIN_CONFIDENCE = 0.5
    LEARNING_RATE = 0.04
    STEPS_PER_EPOCH = 50
    EPOCHS = 32


class ShapesDataset(utils.Dataset):
    """Images of one to four shapes in random colours, drawn from their description when asked."""

    def load_shapes(self, count, height, width, seed=None):
        """Add the classes and a number of random images.

        Args:
            count: number of images.
            height, width: size of the images, pixels.
            seed: what `numpy.random.default_rng` takes; None gives other images every time.
        """
        for class_id, name in enumerate(SHAPES, start=1):
            self.add_class("shapes", class_id, name)
        rng = np.random.default_rng(seed)
        for i in range(count):
            bg_color, shapes = self.random_image(height, width, rng)
            spec = {"height": height, "width": width, "bg_color": bg_color, "shapes": shapes}
            self.add_image("shapes", image_id=i, path=None, **spec)

    def load_image(self, image_id):
        """Draw an image: [height, width, 3] uint8."""
        info = self.image_info[image_id]
        image = np.full((info["height"], info["width"], 3), info["bg_color"], np.uint8)
        for shape, color, dims in info["shapes"]:
            self.draw_shape(image, shape, dims, color)
        return image

    def image_reference(self, image_id):
        """What the image shows, such as "circle, square"."""
        return ", ".join(shape for shape, _, _ in self.image_info[image_id]["shapes"])

    def load_mask(self, image_id):
        """Masks of what can be seen: [height, width, n] bool, and class ids [n] int32."""
        info = self.image_info[image_id]
        size = info["height"], info["width"]
        covered = np.zeros(size, bool)
        masks = []
        # The last shape lies on top, so it is the one that is seen whole.
        for shape, _, dims in reversed(info["shapes"]):
            mask = shape_mask(shape, dims, *size)
            masks.append(mask & ~covered)
            covered |= mask
        class_ids = [self.class_names.index(shape) for shape, _, _ in info["shapes"]]
        return np.stack(masks[::-1], axis=-1), np.array(class_ids, np.int32)

    def draw_shape(self, image, shape, dims, color):
        """Draw one of SHAPES, with dims (x, y, s), into [height, width, 3] uint8; returns it."""
        image[shape_mask(shape, dims, *image.shape[:2])] = color
        return image

    def random_shape(self, height, width, rng=None):
        """A random shape that fits an image: (name, colour, (x, y, s))."""
        rng = np.random.default_rng(rng)
        smaller = min(height, width)
        margin = min(20, smaller // 6)
        shape = SHAPES[rng.integers(len(SHAPES))]
        color = tuple(rng.integers(256, size=3).tolist())
        y, x = (int(rng.integers(margin, side - margin)) for side in (height, width))
        s = int(rng.integers(margin, smaller // 4 + 1))
        return shape, color, (x, y, s)

    def random_image(self, height, width, rng=None):
        """A random image as (background colour, list of shapes), bottom first.

        Of shapes whose boxes overlap by an IoU over 0.3 only the upper one stays.
        """
        rng = np.random.default_rng(rng)
        bg_color = tuple(rng.integers(256, size=3).tolist())
        shapes = [self.random_shape(height, width, rng) for _ in range(rng.integers(1, 5))]
        boxes = np.array([[y - s, x - s, y + s, x + s] for _, _, (x, y, s) in shapes])
        kept = utils.non_max_suppression(boxes, np.arange(len(shapes)), 0.3)
        return bg_color, [shapes[i] for i in sorted(kept)]


def shape_mask(shape, dims, height, width):
    """Pixels of a shape in an image of a size: [height, width] bool.

    With dims (x, y, s), centre and half side in pixels, a square covers 2 s + 1 pixels a side, a
    circle has the radius s, and a triangle of equal sides is 2 s + 1 pixels tall.
    """
    x, y, s = dims
    dy, dx = np.arange(height)[:, None] - y, np.arange(width)[None, :] - x
    if shape == "square":
        return (abs(dy) <= s) & (abs(dx) <= s)
    if shape == "circle":
        return dy**2 + dx**2 <= s**2
    if shape == "triangle":
        return (abs(dy) <= s) & (abs(dx) <= (dy + s) / (2 * np.sin(np.pi / 3)))
    raise ValueError(f"shape is {shape!r}; expected one of {', '.join(SHAPES)}")


def make_dataset(split, count, config, seed=0):
    """A prepared ShapesDataset of `count` images of a Config's size, for one of SPLITS.

    The same split and seed give the same images.
    """
    dataset = ShapesDataset()
    dataset.load_shapes(count, *config.IMAGE_SHAPE[:2], seed=(seed, SPLITS.index(split)))
    dataset.prepare()
    return dataset


def make_model(mode, config, logs, weights="random"):
    """A MaskRCNN with weights: "coco", "imagenet", "last" of the logs, "random", or a file."""
    # TensorFlow takes seconds to load, and `--help` needs none of it.
    from mrcnn import model as modellib

    if mode == "inference":
        config = type("InferenceConfig", (type(config),), {"GPU_COUNT": 1, "IMAGES_PER_GPU": 1})()
    model = modellib.MaskRCNN(mode=mode, config=config, model_dir=str(logs))
    model.start_from(str(weights))
    return model


def fit(model, config, stages, seed=0):
    """Train a model in stages, a list of (layers, learning rate, number of the last epoch).

    A stage without epochs of its own is left out, as is one that is finished. Returns the loss
    curves as one dict.
    """
    train = make_dataset("train", 1000, config, seed)
    val = make_dataset("val", 50, config, seed)
    curves = {}
    for layers, learning_rate, epochs in stages:
        if epochs <= model.epoch:
            continue
        history = model.train(train, val, learning_rate=learning_rate, epochs=epochs, layers=layers)
        for name, values in history.history.items():
            curves.setdefault(name, []).extend(values)
    return curves


def ground_truth(dataset, image_id):
    """An image and what `display_comparison` wants to know of it: image, (boxes, masks, ids)."""
    masks, class_ids = dataset.load_mask(image_id)
    return dataset.load_image(image_id), (utils.extract_bboxes(masks), masks, class_ids)


def evaluate(model, dataset):
    """Mean over the images of a dataset of the average precision at mask IoU 0.5."""
    precisions = []
    for image_id in dataset.image_ids:
        image, (boxes, masks, class_ids) = ground_truth(dataset, image_id)
        r = model.detect([image])[0]
        found = r["rois"], r["class_ids"], r["scores"], r["masks"]
        precisions.append(utils.compute_ap(boxes, class_ids, masks, *found)[0])
    return float(np.mean(precisions))


def draw_detections(model, dataset, output):
    """Write a picture of each image: ground truth at the left, detections at the right."""
    for image_id in dataset.image_ids:
        image, truth = ground_truth(dataset, image_id)
        visualize.display_comparison(
            image,
            truth,
            model.detect([image])[0],
            dataset.class_names,
            figsize=(10, 5.5),
            save_to=Path(output) / f"shapes_{image_id:03d}.png",
        )


def run_train(args):
    """Train a model."""
    config = configure(args)
    model = make_model("training", config, args.logs, args.weights)
    rate, total = config.LEARNING_RATE, args.epochs
    stages = [("all", rate, total)]
    # Heads that know nothing yet would only spoil the good features beneath them.
    if args.weights in PRETRAINED:
        stages = [("heads", rate, total - total // 2), ("all", rate / 10, total)]
    if model.epoch >= total:
        print(f"{model.epoch} epochs are finished; a larger number of --epochs goes on.")
    fit(model, config, stages, args.seed)
    print(f"Checkpoints and loss curves are in {model.log_dir}.")


def run_evaluate(args):
    """Print the mAP on unseen images."""
    config = configure(args)
    model = make_model("inference", config, args.logs, args.weights)
    score = evaluate(model, make_dataset("test", args.count, config, args.seed))
    print(f"mAP at IoU 0.5: {score:.3f} on {args.count} unseen images.")


def run_detect(args):
    """Draw detections on unseen images."""
    config = configure(args)
    model = make_model("inference", config, args.logs, args.weights)
    draw_detections(model, make_dataset("test", args.count, config, args.seed), args.output)
    print(f"{args.count} pictures of detections are in {args.output}.")


def run_demo(args):
    """Train a small network from random weights, evaluate it, and draw its detections."""
    config = configure(args)
    model = make_model("training", config, args.logs)
    # A tenth of the rate lets the last epochs settle.
    rate, settle = config.LEARNING_RATE, args.epochs // 4
    stages = [("all", rate, args.epochs - settle), ("all", rate / 10, args.epochs)]
    curves = fit(model, config, stages, args.seed)
    visualize.plot_losses(curves, save_to=Path(args.output) / "losses.png")

    model = make_model("inference", config, args.logs, model.find_last())
    unseen = make_dataset("test", args.count, config, args.seed)
    score = evaluate(model, unseen)
    draw_detections(model, make_dataset("test", min(args.count, 8), config, args.seed), args.output)
    print(
        f"mAP at IoU 0.5: {score:.3f} on {args.count} unseen images; pictures of detections and "
        f"loss curves are in {args.output}."
    )


def configure(args):
    """The Config that a command line asks for. Seeds the random numbers of Keras, too."""
    import keras

    keras.utils.set_random_seed(args.seed)
    config = DemoConfig() if args.small else ShapesConfig()
    config.STEPS_PER_EPOCH = getattr(args, "steps", None) or config.STEPS_PER_EPOCH
    return config


def at_least(low):
    """The type, for argparse, of whole numbers from `low` on."""

    def whole_number(text):
        if int(text) < low:
            raise argparse.ArgumentTypeError(f"{text} is less than {low}")
        return int(text)

    return whole_number


OPTIONS = {
    "weights": {
        "help": '"coco", "imagenet", "random", a file, or "last": those of the newest run, which '
        "train goes on with (%(default)s)"
    },
    "small": {"help": "the small network of the demo, not ResNet-101", "action": "store_true"},
    "epochs": {"help": "epochs in all (%(default)s)", "type": at_least(1)},
    "steps": {"help": "steps an epoch, other than the Config's", "type": at_least(1)},
    "count": {"help": "number of unseen images (%(default)s)", "type": at_least(1)},
    "output": {"help": "folder of pictures (%(default)s)", "default": "demo_output"},
    "logs": {"help": "folder of checkpoints (%(default)s)", "default": "logs"},
    "seed": {"help": "of images and weights (%(default)s)", "type": at_least(0), "default": 0},
}


def make_parser():
    """The command line: each command is a function and the options that it reads."""
    parser = argparse.ArgumentParser(
        description="Mask R-CNN on generated images of squares, circles and triangles."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run, options, **defaults):
        sub = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        for option in (*options.split(), "logs", "seed"):
            flags = [f"--{option}"] + ["--model"] * (option == "weights")
            sub.add_argument(*flags, **OPTIONS[option])
        sub.set_defaults(run=run, **defaults)

    command("train", run_train, "weights small epochs steps", weights="random", epochs=3)
    command("evaluate", run_evaluate, "weights small count", weights="last", count=50)
    command("detect", run_detect, "weights small count output", weights="last", count=8)
    demo = {"small": True, "weights": "random", "epochs": DemoConfig.EPOCHS, "count": 50}
    command("demo", run_demo, "epochs steps count output", **demo)
    return parser


def main(argv=None):
    """Run a command line."""
    parser = make_parser()
    args = parser.parse_args(argv)
    # Pages of notes by TensorFlow's compiler would bury the progress bar.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if args.small and args.weights in PRETRAINED:
        parser.error(f"there are no {args.weights} weights for --small; leave out one of the two")
    args.run(args)


if __name__ == "__main__":
    main()
