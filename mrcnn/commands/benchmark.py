"""`mrcnn benchmark`: the time of detection on this machine."""

import statistics
import sys
import time
import warnings

from mrcnn.cli import at_least
from mrcnn.commands.detector import add_detector, load_detector
from mrcnn.commands.outcome import Outcome

SUMMARY = "Time detection on this machine."

EXAMPLES = """\
  mrcnn benchmark --weights last
  mrcnn benchmark --preset default --image-size 512 --precision mixed_bfloat16
  mrcnn benchmark --weights coco --image photo.jpg --rounds 20 --json
"""


def add(parser):
    """Add the arguments."""
    add_detector(parser)
    parser.add_argument(
        "--preset",
        choices=("small", "default", "paper"),
        help="time the network of a preset with random weights, not --weights",
    )
    parser.add_argument("--image", help="photo to detect in (drawn noise)")
    parser.add_argument("--image-size", type=at_least(32), help="longer side for the network")
    parser.add_argument("--batch", type=at_least(1), default=1, help="images at a time (1)")
    parser.add_argument("--rounds", type=at_least(1), default=10, help="timed rounds (10)")


def run(args):
    """Time rounds of detection after one that is not timed."""
    image = _image(args)
    model = _model(args)
    images = [image] * args.batch
    start = time.perf_counter()
    found = model.detect(images)[0]
    first = time.perf_counter() - start
    rounds = []
    for _ in range(args.rounds):
        start = time.perf_counter()
        model.detect(images)
        rounds.append(time.perf_counter() - start)
    median, config = statistics.median(rounds), model.config
    document = {
        "weights": None if args.preset else args.weights,
        "preset": args.preset,
        "backbone": str(config.BACKBONE),
        "recipe": str(config.RECIPE),
        "image": list(image.shape[:2]),
        "image_max_dim": config.IMAGE_MAX_DIM,
        "batch": args.batch,
        "rounds": args.rounds,
        "detections": len(found["scores"]),
        "first_seconds": first,
        "median_seconds": median,
        "fastest_seconds": min(rounds),
        "images_per_second": args.batch / median,
        "peak_memory_bytes": peak_memory(),
        "device": _device(),
    }
    height, width = image.shape[:2]
    print(
        f"{document['backbone']}, recipe {document['recipe']}, photo of {width}x{height} at most "
        f"{config.IMAGE_MAX_DIM} wide for the network, {args.batch} at a time, {_device()}\n"
        f"median of {args.rounds} rounds  {1000 * median:8.1f} ms, "
        f"{args.batch / median:.2f} images/s\n"
        f"fastest round        {1000 * min(rounds):8.1f} ms\n"
        f"first, with graph    {1000 * first:8.1f} ms\n"
        f"peak memory          {(peak_memory() or 0) / 1e6:8.0f} MB\n"
        f"{len(found['scores'])} detections"
    )
    return Outcome(document)


def _image(args):
    import numpy as np

    if args.image:
        from mrcnn.datasets import read_image

        return read_image(args.image)
    return np.random.default_rng(0).integers(0, 256, (768, 1024, 3)).astype(np.uint8)


def _model(args):
    settings = {"IMAGES_PER_GPU": args.batch}
    if not args.preset:
        if args.image_size:
            args.settings = [*_size(args.weights, args.logs, args.image_size), *args.settings]
        return load_detector(args, **settings)
    import keras

    from mrcnn.commands.options import settings_of
    from mrcnn.commands.presets import PRESETS, set_image_size
    from mrcnn.mask_rcnn import MaskRCNN

    config = PRESETS[args.preset]()
    if args.image_size:
        set_image_size(config, args.image_size)
    own = {"NAME": "benchmark", "NUM_CLASSES": 81, "GPU_COUNT": 1}
    for name, value in (own | settings | settings_of(args)).items():
        setattr(config, name, value)
    # That its detections are meaningless is known.
    warnings.filterwarnings("ignore", "This model has random weights")
    keras.utils.set_random_seed(0)
    return MaskRCNN("inference", config, args.logs)


def _size(weights, logs, side):
    """Return the settings that give the images of weights another size."""
    from mrcnn.commands.detector import find_weights
    from mrcnn.commands.presets import set_image_size
    from mrcnn.commands.start import config_of_file

    config = config_of_file(find_weights(weights, logs))
    set_image_size(config, side)
    return [(name, getattr(config, name)) for name in ("IMAGE_MIN_DIM", "IMAGE_MAX_DIM")]


def peak_memory():
    """Return the largest memory of this process so far in bytes; None where it is not known."""
    try:
        import resource
    # Windows has none.
    except ImportError:
        return None
    # Linux counts in KB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _device():
    import os

    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    has_affinity = hasattr(os, "sched_getaffinity")
    return f"CPU, {len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count()} cores"
