"""Peak memory of training steps by setting, each in a process of its own, one after another.

`--backbone`, `--batch` and the rest choose one setting and print its line.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from common import parser

PAIR = [
    {},
    {"precision": "mixed_bfloat16"},
    {"checkpointing": True},
    {"precision": "mixed_bfloat16", "checkpointing": True},
]
SETTINGS = [
    *({"batch": 2, **setting} for setting in PAIR),
    {"batch": 2, "full_masks": True},
    {"batch": 2, "layers": "heads"},
    {"batch": 2, "rois": 50},
    *({"backbone": "resnet101", "batch": 2, **setting} for setting in PAIR),
    *({"batch": 1, **setting} for setting in PAIR[::2]),
    *({"backbone": "resnet101", "batch": 1, **setting} for setting in PAIR[::2]),
]


def main():
    options = parser("Measure the peak memory of training.", runs=2)
    options.add_argument("--size", type=int, default=512, help="image side in pixels")
    options.add_argument("--batch", type=int, help="images per step; without it, all settings")
    options.add_argument("--backbone", choices=("resnet50", "resnet101"), default="resnet50")
    options.add_argument("--layers", default="all", help="layers to train")
    options.add_argument("--rois", type=int, default=200, help="RoIs per image to train the heads")
    for flag in ("checkpointing", "full_masks"):
        options.add_argument(f"--{flag}", action=argparse.BooleanOptionalAction, default=False)
    args = options.parse_args()
    if args.batch:
        print(json.dumps(measure(args)))
        return
    print(
        f"{'setting':64} {'peak':>9} {'above start':>12} {'step':>8} {'first':>8} {'positives':>9}"
    )
    for setting in SETTINGS:
        found = in_own_process(setting, args)
        names = ", ".join(f"{name} {value}" for name, value in setting.items())
        print(
            f"{names:64} {found['peak'] / 1e9:6.2f} GB "
            f"{(found['peak'] - found['start']) / 1e9:9.2f} GB "
            f"{found['step']:6.2f} s {found['first']:6.1f} s {found['positives']:9}",
            flush=True,
        )


def in_own_process(setting, args):
    """Return the result of `measure` for a setting."""
    command = [sys.executable, __file__, f"--size={args.size}", f"--runs={args.runs}"]
    command += [
        f"--{name}" if value is True else f"--{name}={value}" for name, value in setting.items()
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(args):
    """Train a few steps on one batch.

    Returns:
        "start": bytes before the first step, with libraries, weights and momentum; "peak": most
        bytes of the process, or of a GPU, where there is one; "first" and "step": seconds of the
        first step, which traces and compiles, and the median of the others; "positives".
    """
    import keras
    import tensorflow as tf
    from synthetic import SyntheticDataset, benchmark_config, random_model
    from train_step import place_objects

    from mrcnn.data.pipeline import make_dataset
    from mrcnn.training.selection import SELECTIONS
    from mrcnn.training.step import Steps

    # The same proposals, and so as many positive RoIs, in every setting.
    keras.utils.set_random_seed(0)
    config = benchmark_config(
        args.size,
        BACKBONE=args.backbone,
        IMAGES_PER_GPU=args.batch,
        PRECISION=args.precision,
        USE_MINI_MASK=not args.full_masks,
        TRAIN_ROIS_PER_IMAGE=args.rois,
    )
    with tempfile.TemporaryDirectory() as folder:
        model = random_model("training", config, folder)
    model.set_trainable(SELECTIONS.get(args.layers, args.layers), verbose=0)
    # Random weights explode at a usual learning rate; the work is the same.
    model.compile(learning_rate=1e-6, momentum=config.LEARNING_MOMENTUM)
    batch = next(iter(make_dataset(SyntheticDataset(args.size, 8, args.batch), config, seed=0)))
    positives = place_objects(model.keras_model, batch, 8)
    steps = Steps(
        model.keras_model,
        config.WEIGHT_DECAY,
        checkpointing=args.checkpointing,
    )
    gpus = [gpu.name for gpu in tf.config.list_logical_devices("GPU")]
    for gpu in gpus:
        tf.config.experimental.reset_memory_stats(gpu)
    start = used(gpus, "current")
    times = []
    for _ in range(1 + args.runs):
        began = time.perf_counter()
        float(steps.train(batch)["loss"])
        times.append(time.perf_counter() - began)
    return {
        "start": start,
        "peak": used(gpus, "peak"),
        "first": times[0],
        "step": statistics.median(times[1:]),
        "positives": positives,
    }


def used(gpus, which):
    """Bytes in use by the first GPU, else by this process; `which` is "current" or "peak"."""
    if gpus:
        import tensorflow as tf

        return tf.config.experimental.get_memory_info(gpus[0])[which]
    if which == "current":
        with open("/proc/self/statm", encoding="utf-8") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
