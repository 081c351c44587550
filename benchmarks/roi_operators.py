"""Compare RoI operators: the demo's network, trained on shapes with each of them.

Every run has a process of its own, and prints a line when it ends. All runs are evaluated on the
same images. `--methods` and `--seeds` choose runs; the last lines are the means over the seeds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SAMPLE = Path(__file__).resolve().parents[1] / "samples" / "shapes"
NUMBERS = ("AP", "AP50", "AP75")


def main():
    args = parse()
    if args.one:
        print(json.dumps(train_and_evaluate(args.methods[0], args.seeds[0], args)))
        return
    print(f"shapes, {args.steps} steps of 8 images, {args.count} unseen images; masks, then boxes")
    columns = [f"{name:>7}" for name in NUMBERS] * 2
    print(f"{'operator':10} {'seed':>5}{''.join(columns)} {'minutes':>8}", flush=True)
    results = {method: [] for method in args.methods}
    for seed in args.seeds:
        for method in args.methods:
            results[method].append(in_a_process(method, seed, args))
            print(line(method, seed, results[method][-1]), flush=True)
    if len(args.seeds) > 1:
        for method, rows in results.items():
            columns = list(zip(*rows, strict=True))
            print(line(method, "mean", [statistics.mean(column) for column in columns]))
            print(line("", "+-", [statistics.stdev(column) for column in columns]))


def parse():
    made = argparse.ArgumentParser(
        description="Train the shapes demo with several RoI operators, and compare its masks.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    methods = ["align", "crop", "pool"]
    made.add_argument("--methods", nargs="+", default=methods, help="values of ROI_ALIGN")
    made.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="one run for each")
    made.add_argument("--steps", type=int, default=600, help="training steps of a run")
    made.add_argument("--count", type=int, default=300, help="unseen images to evaluate")
    made.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return made.parse_args()


def in_a_process(method, seed, args):
    """Return the numbers of a run."""
    options = {"methods": method, "seeds": seed, "steps": args.steps, "count": args.count}
    options = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    command = [sys.executable, __file__, "--one", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def line(method, seed, numbers):
    """Return AP, AP50 and AP75 of masks and of boxes, in percent, and minutes as text."""
    *numbers, minutes = numbers
    columns = "".join(f"{100 * number:7.1f}" for number in numbers)
    return f"{method:10} {seed:>5}{columns} {minutes:8.1f}"


def train_and_evaluate(method, seed, args):
    """Return AP, AP50 and AP75 of masks, then of boxes, and the minutes of training."""
    sys.path.insert(0, str(SAMPLE))
    import shapes
    from keras.optimizers.schedules import CosineDecay

    from mrcnn import cli
    from mrcnn.evaluation.dataset_metrics import compute_coco_metrics

    settings = {
        "ROI_ALIGN": method,
        "STEPS_PER_EPOCH": args.steps,
        "EPOCHS": 1,
        "VALIDATION_STEPS": 1,
        # More positives teach the mask head in fewer steps.
        "ROI_POSITIVE_RATIO": 0.25,
        # AP counts detections with low scores, too.
        "DETECTION_MIN_CONFIDENCE": 0.05,
    }
    config = type("RoIConfig", (shapes.DemoConfig,), settings)()
    # The seed decides the training images as well as the weights; the images to evaluate stay.
    train = shapes.make_dataset("train", 1000, config, seed)
    val, test = (shapes.make_dataset(name, args.count, config) for name in ("val", "test"))
    rate, warmup = config.LEARNING_RATE, max(1, args.steps // 20)
    schedule = CosineDecay(0.0, args.steps - warmup, warmup_target=rate, warmup_steps=warmup)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.h5"
        model = cli.make_model("training", "random", folder, config, seed=seed)
        start = time.perf_counter()
        model.train(train, val, learning_rate=schedule, epochs=1, layers="all")
        minutes = (time.perf_counter() - start) / 60
        model.keras_model.save_weights(weights)
        model = cli.make_model("inference", weights, folder, config)
        metrics = compute_coco_metrics(test, model, verbose=0)
    stats = [kind.stats[name] for kind in (metrics.segm, metrics.bbox) for name in NUMBERS]
    return [*stats, minutes]


if __name__ == "__main__":
    main()
