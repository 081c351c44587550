"""Time the preparation of training images: load, resize, mini-masks, RPN targets, on one core.

The photos are made up and lie in memory, so that no disk is measured.
"""

import itertools
import os

from common import parser, report, seconds


def main():
    options = parser("Time the input pipeline.", runs=3, precision=False)
    options.add_argument("--size", type=int, default=512, help="image side in pixels")
    options.add_argument("--objects", type=int, default=8, help="objects per image")
    options.add_argument("--images", type=int, default=64, help="images per run")
    args = options.parse_args()

    # Before TensorFlow counts the cores for its thread pools.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    from synthetic import SyntheticDataset, benchmark_config

    from mrcnn.data.pipeline import make_dataset
    from mrcnn.legacy.generator import data_generator

    config = benchmark_config(args.size)
    dataset = SyntheticDataset(args.size, args.objects, args.images)
    steps = args.images // config.BATCH_SIZE
    batches = iter(make_dataset(dataset, config, seed=0, num_parallel_calls=1))
    old_batches = data_generator(dataset, config, batch_size=config.BATCH_SIZE)

    def per_image(source):
        def run():
            for _ in itertools.islice(source, steps):
                pass

        run()
        return [t / (steps * config.BATCH_SIZE) for t in seconds(run, args.runs)]

    report(
        f"seconds per image, {args.size}x{args.size}, {args.objects} objects, one core, "
        f"{args.images} images per run",
        {"tf.data pipeline": per_image(batches), "data_generator": per_image(old_batches)},
    )


if __name__ == "__main__":
    main()
