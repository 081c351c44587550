"""Squares, circles and triangles, drawn on the fly: the whole program without any download.

    python shapes.py demo                       train from random weights, evaluate, draw pictures
    python shapes.py train --weights coco       fine-tune the COCO weights
    python shapes.py evaluate --weights last    mAP on images that training never saw
    python shapes.py detect --weights last      pictures of detections

`python shapes.py COMMAND --help` lists the options.
"""

from pathlib import Path

import numpy as np

from mrcnn import cli, utils, visualize
from mrcnn.config import Config, SmallConfig

SHAPES = ("square", "circle", "triangle")

# Each split has its own random stream, so no two of them share an image.
SPLITS = ("train", "val", "test")


class ShapesConfig(Config):
    """Settings of the original's train_shapes notebook: small images, few RoIs."""

    NAME = "shapes"
    IMAGES_PER_GPU = 8
    NUM_CLASSES = 1 + len(SHAPES)
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 128
    RPN_ANCHOR_SCALES = (8, 16, 32, 64, 128)
    TRAIN_ROIS_PER_IMAGE = 32
    STEPS_PER_EPOCH = 100
    VALIDATION_STEPS = 5


def small_backbone(input_image, stage5=True, train_bn=None):
    """A residual network of nine convolutions, as an example of your own backbone.

    Returns C1 to C5 of [batch, height, width, channels], at strides 2, 4, 8, 16 and 32. Layers are
    named like those of ResNet, so that `layers="4+"` selects among them, too.
    """
    from keras import layers

    from mrcnn.model import BatchNorm

    def conv(x, filters, stride, name, bn_name):
        x = layers.Conv2D(filters, 3, stride, padding="same", use_bias=False, name=name)(x)
        return BatchNorm(name=bn_name)(x, training=train_bn)

    x = layers.ReLU()(conv(input_image, 16, 2, "conv1", "bn_conv1"))
    stages = [x]
    for stage, filters in ((2, 32), (3, 64), (4, 128), (5, 128))[: 4 if stage5 else 3]:
        x = layers.ReLU()(conv(x, filters, 2, f"res{stage}a", f"bn{stage}a"))
        change = conv(x, filters, 1, f"res{stage}b", f"bn{stage}b")
        x = layers.ReLU()(layers.Add()([x, change]))
        stages.append(x)
    return stages if stage5 else [*stages, None]


def small_backbone_shapes(image_shape):
    """Return [5, (rows, columns)], the sizes of P2 to P6 for an image (height, width, ...)."""
    return np.array([[-(-side // 2**level) for side in image_shape[:2]] for level in range(2, 7)])


class DemoConfig(SmallConfig, ShapesConfig):
    """Learns shapes from random weights in minutes on two CPU cores."""

    NAME = "small_shapes"
    # Without staticmethod, Python would make methods of them and pass the Config along.
    BACKBONE = staticmethod(small_backbone)
    COMPUTE_BACKBONE_SHAPE = staticmethod(small_backbone_shapes)
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 128
    # Mostly negatives: most mistakes of the first epochs are false positives.
    TRAIN_ROIS_PER_IMAGE = 64
    ROI_POSITIVE_RATIO = 0.125
    PRE_NMS_LIMIT = 1000
    POST_NMS_ROIS_TRAINING = 200
    POST_NMS_ROIS_INFERENCE = 100
    MAX_GT_INSTANCES = 8
    DETECTION_MAX_INSTANCES = 20
    DETECTION_MIN_CONFIDENCE = 0.5
    WARMUP_STEPS = 0
    STEPS_PER_EPOCH = 50
    VALIDATION_STEPS = 5
    EPOCHS = 32


class ShapesDataset(utils.Dataset):
    """Images of one to four shapes in random colours, drawn from their description when asked."""

    def load_shapes(self, count, height, width, seed=None):
        """Add the classes and `count` random images of height x width pixels.

        `seed` is for `numpy.random.default_rng`; None gives other images every time.
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
        """Return the names of the shapes in the image, such as "circle, square"."""
        return ", ".join(shape for shape, _, _ in self.image_info[image_id]["shapes"])

    def load_mask(self, image_id):
        """Return masks of the visible pixels, [height, width, n] bool, and class ids [n] int32."""
        info = self.image_info[image_id]
        size = info["height"], info["width"]
        masks = [shape_mask(shape, dims, *size) for shape, _, dims in info["shapes"]]
        # The last shape lies on top, so it is the one that is seen whole.
        for i, upper in enumerate(masks):
            for lower in masks[:i]:
                lower &= ~upper
        class_ids = [self.class_names.index(shape) for shape, _, _ in info["shapes"]]
        return np.stack(masks, axis=-1), np.array(class_ids, np.int32)

    def draw_shape(self, image, shape, dims, color):
        """Draw one of SHAPES, with dims (x, y, s), into [height, width, 3] uint8; return it."""
        image[shape_mask(shape, dims, *image.shape[:2])] = color
        return image

    def random_shape(self, height, width, rng=None):
        """Return a random shape that fits an image: (name, colour, (x, y, s))."""
        rng = np.random.default_rng(rng)
        smaller = min(height, width)
        margin = min(20, smaller // 6)
        shape = SHAPES[rng.integers(len(SHAPES))]
        color = tuple(rng.integers(256, size=3).tolist())
        y, x = (int(rng.integers(margin, side - margin)) for side in (height, width))
        return shape, color, (x, y, int(rng.integers(margin, smaller // 4 + 1)))

    def random_image(self, height, width, rng=None):
        """Return a random image as (background colour, list of shapes), bottom first.

        Of shapes whose boxes overlap by an IoU over 0.3 only the upper one stays.
        """
        rng = np.random.default_rng(rng)
        bg_color = tuple(rng.integers(256, size=3).tolist())
        shapes = [self.random_shape(height, width, rng) for _ in range(rng.integers(1, 5))]
        boxes = np.array([[y - s, x - s, y + s, x + s] for _, _, (x, y, s) in shapes])
        kept = utils.non_max_suppression(boxes, np.arange(len(shapes)), 0.3)
        return bg_color, [shapes[i] for i in sorted(kept)]


def shape_mask(shape, dims, height, width):
    """Return the pixels of a shape in an image: [height, width] bool.

    With dims (x, y, s), centre and half side in pixels, a square has sides of 2 s + 1 pixels, a
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
    """Return a prepared ShapesDataset for one of SPLITS; same split and seed, same images."""
    dataset = ShapesDataset()
    dataset.load_shapes(count, *config.IMAGE_SHAPE[:2], seed=(seed, SPLITS.index(split)))
    dataset.prepare()
    return dataset


def ground_truth(dataset, image_id):
    """Return an image, and its (boxes, masks, class ids) as `display_comparison` takes them."""
    masks, class_ids = dataset.load_mask(image_id)
    return dataset.load_image(image_id), (utils.extract_bboxes(masks), masks, class_ids)


def evaluate(model, dataset):
    """Return the mean over the images of a dataset of the average precision at mask IoU 0.5."""
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
        path = Path(output) / f"shapes_{image_id:03d}.png"
        found = model.detect([image])[0], dataset.class_names
        visualize.display_comparison(image, truth, *found, figsize=(10, 5.5), save_to=path)


def fit(args, model, stages):
    """Train on 1000 images; return the loss curves."""
    sets = [make_dataset(*part, model.config, args.seed) for part in (("train", 1000), ("val", 50))]
    return cli.train(model, *sets, stages)


def trained(args):
    """Return the model of a command line, and the unseen images to use it on."""
    model = cli.model_of(args, "inference", DemoConfig if args.small else ShapesConfig)
    return model, make_dataset("test", args.count, model.config, args.seed)


main = cli.CommandLine(
    "shapes.py",
    "Mask R-CNN on generated images of squares, circles and triangles.",
    count={"help": "number of unseen images", "type": cli.at_least(1)},
)


@main.command("weights small epochs steps logs seed", weights="random", EPOCHS=3)
def run_train(args):
    """Train a model."""
    model = cli.model_of(args, "training", DemoConfig if args.small else ShapesConfig)
    rate, total = model.config.LEARNING_RATE, model.config.EPOCHS
    stages = [("all", rate, total)]
    # Untrained heads would only spoil the good features beneath them.
    if args.weights in cli.PRETRAINED:
        stages = [("heads", rate, total - total // 2), ("all", rate / 10, total)]
    fit(args, model, stages)


@main.command("trained small count logs seed", count=50)
def run_evaluate(args):
    """Print the mAP on unseen images."""
    print(f"mAP at IoU 0.5: {evaluate(*trained(args)):.3f} on {args.count} unseen images.")


@main.command("trained small count output logs seed", count=8, output="demo_output")
def run_detect(args):
    """Draw detections on unseen images."""
    draw_detections(*trained(args), args.output)
    print(f"{args.count} pictures of detections are in {args.output}.")


@main.command(
    "epochs steps count output logs seed", weights="random", count=50, output="demo_output"
)
def run_demo(args):
    """Train a small network from random weights, evaluate it, and draw its detections."""
    model = cli.model_of(args, "training", DemoConfig)
    config = model.config
    curves = fit(args, model, cli.settling(config.LEARNING_RATE, config.EPOCHS))
    visualize.plot_losses(curves, save_to=Path(args.output) / "losses.png")

    model = cli.make_model("inference", model.find_last(), args.logs, config)
    score = evaluate(model, make_dataset("test", args.count, config, args.seed))
    draw_detections(model, make_dataset("test", min(args.count, 8), config, args.seed), args.output)
    print(
        f"mAP at IoU 0.5: {score:.3f} on {args.count} unseen images; pictures of detections and "
        f"loss curves are in {args.output}."
    )


if __name__ == "__main__":
    main()
