"""A model small enough to be built and trained in a test, and images to train it on."""

import contextlib
import io

import numpy as np

from mrcnn.config import Config
from mrcnn.data.dataset import Dataset


def mini_backbone(image, stage5=True, train_bn=None):
    """Five convolutions with batch normalization, C1 to C5, named after the stages of a ResNet."""
    from keras import layers

    from mrcnn.layers.norm import BatchNorm

    stages = [image]
    for stage, channels in enumerate((8, 16, 16, 24, 24), start=1):
        names = ("conv1", "bn_conv1") if stage == 1 else (f"res{stage}a", f"bn{stage}a")
        x = layers.Conv2D(channels, 3, 2, padding="same", name=names[0])(stages[-1])
        x = BatchNorm(train_bn=train_bn, name=names[1])(x)
        stages.append(layers.Activation("relu", name=f"relu{stage}")(x))
    return stages[1:]


def mini_backbone_shapes(image_shape):
    """Rows and columns of P2 to P6."""
    return np.array([[side // stride for side in image_shape[:2]] for stride in (4, 8, 16, 32, 64)])


class MiniConfig(Config):
    """64x64 images of squares and discs."""

    NAME = "mini"
    BACKBONE = staticmethod(mini_backbone)
    COMPUTE_BACKBONE_SHAPE = staticmethod(mini_backbone_shapes)
    IMAGES_PER_GPU = 2
    STEPS_PER_EPOCH = 2
    VALIDATION_STEPS = 1
    NUM_CLASSES = 3
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    FPN_CLASSIF_FC_LAYERS_SIZE = 32
    TOP_DOWN_PYRAMID_SIZE = 16
    RPN_ANCHOR_SCALES = (8, 16, 24, 32, 48)
    RPN_TRAIN_ANCHORS_PER_IMAGE = 64
    PRE_NMS_LIMIT = 1000
    # Nearly all anchors, so that some are positive before the RPN has learnt anything.
    POST_NMS_ROIS_TRAINING = 1000
    POST_NMS_ROIS_INFERENCE = 40
    TRAIN_ROIS_PER_IMAGE = 20
    # A quarter of the usual pixels: the mask head is what takes most of the time.
    MASK_POOL_SIZE = 7
    MASK_SHAPE = [14, 14]
    MINI_MASK_SHAPE = (28, 28)
    MAX_GT_INSTANCES = 4
    DETECTION_MAX_INSTANCES = 10
    DETECTION_MIN_CONFIDENCE = 0
    TENSORBOARD_IMAGES = 0
    # One thread, and so one order of the log messages.
    LOADER_WORKERS = 1


def mini_config(**settings):
    """A MiniConfig with other settings."""
    return type("OtherConfig", (MiniConfig,), settings)()


class MiniShapes(Dataset):
    """Images 0, 2, ... show a square (class 1), the others a disc (class 2), in random places.

    Images in `empty` have no instance, those in `broken` raise OSError.
    """

    def __init__(self, count=8, empty=(), broken=(), size=64, seed=0):
        super().__init__()
        self.empty, self.broken, self.size, self.seed = empty, broken, size, seed
        self.add_class("shapes", 1, "square")
        self.add_class("shapes", 2, "disc")
        for number in range(count):
            self.add_image("shapes", number, f"photo{number}.png")
        self.prepare()

    def _draw(self, image_id):
        rng = np.random.default_rng([self.seed, image_id])
        radius = rng.integers(9, 14)
        center_y, center_x = rng.integers(radius, self.size - radius, 2)
        y, x = np.mgrid[: self.size, : self.size]
        dy, dx = y - center_y, x - center_x
        square = (abs(dy) <= radius) & (abs(dx) <= radius)
        mask = dy**2 + dx**2 <= radius**2 if image_id % 2 else square
        image = rng.integers(0, 60, (self.size, self.size, 3)).astype(np.uint8)
        image[mask] = rng.integers(150, 256, 3)
        return image, mask

    def load_image(self, image_id):
        if image_id in self.broken:
            raise OSError(f"photo{image_id}.png is damaged")
        return self._draw(image_id)[0]

    def load_mask(self, image_id):
        if image_id in self.empty:
            return np.zeros((self.size, self.size, 0), bool), np.zeros(0, np.int32)
        return self._draw(image_id)[1][..., None], np.array([1 + image_id % 2], np.int32)


def silent(function, *args, **kwargs):
    """Return the result of the function, without its output. For fixtures, which have no capsys."""
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*args, **kwargs)


def quietly(request):
    """Within this context, a test that does not ask for capsys prints nothing."""
    if "capsys" in request.fixturenames:
        return contextlib.nullcontext()
    return contextlib.redirect_stdout(io.StringIO())
