"""Time one training step of all layers: forward, backward, optimizer."""

import tempfile

from common import parser, report, seconds


def main():
    options = parser("Time a training step.", runs=5)
    options.add_argument("--size", type=int, default=512, help="image side in pixels")
    options.add_argument("--width", type=int, help="of the paper's images; --size is their height")
    options.add_argument(
        "--recipe", choices=("matterport", "paper"), default="matterport", help="settings"
    )
    options.add_argument("--batch", type=int, default=2, help="images per step")
    options.add_argument("--accumulate", type=int, default=1, help="batches per step")
    options.add_argument("--objects", type=int, default=8, help="objects per image")
    options.add_argument("--backbone", choices=("resnet50", "resnet101"), default="resnet50")
    args = options.parse_args()

    import keras
    from synthetic import SyntheticDataset, benchmark_config, paper_config, random_model

    from mrcnn.data.pipeline import make_dataset
    from mrcnn.training.step import Steps

    keras.config.set_dtype_policy(args.precision)
    width = args.width or args.size
    settings = {"BACKBONE": args.backbone, "IMAGES_PER_GPU": args.batch}
    if args.recipe == "paper":
        config = paper_config(args.size, width, **settings)
    else:
        config = benchmark_config(args.size, **settings)
    with tempfile.TemporaryDirectory() as folder:
        model = random_model("training", config, folder)
    model.set_trainable(".*", verbose=0)
    # Random weights explode at a usual learning rate; the work is the same.
    model.compile(learning_rate=1e-6, momentum=config.LEARNING_MOMENTUM)
    dataset = SyntheticDataset(args.size, args.objects, args.batch, width)
    batch = next(iter(make_dataset(dataset, config, seed=0)))
    steps = Steps(
        model.keras_model,
        config.WEIGHT_DECAY,
        accumulate=args.accumulate,
        divide_decay=config.DIVIDE_WEIGHT_DECAY,
    )
    positives = place_objects(model.keras_model, batch, args.objects, config.recipe().SPACE)

    def step():
        return float(steps.train(*[batch] * args.accumulate)["loss"])

    step()
    times = seconds(step, args.runs)
    report(
        f"training step, {args.recipe}, {args.backbone}, {args.precision}, {args.accumulate} x "
        f"{args.batch} of {width}x{args.size}, {args.objects} objects per image, {positives} "
        "positive RoIs",
        {"step": times, "  per image": [t / args.batch / args.accumulate for t in times]},
    )


def place_objects(keras_model, batch, objects, space):
    """Move the objects of a batch onto proposals; returns the number of positive RoIs.

    A trained network proposes boxes on every object, and the mask head works for those. Random
    weights hit next to nothing.
    """
    import numpy as np
    import tensorflow as tf

    # Compiled, because step by step it would take more memory than the training step itself.
    @tf.function(autograph=False)
    def outputs(batch):
        found = keras_model([batch[tensor.name] for tensor in keras_model.inputs], training=True)
        return found[7], tf.shape(found[6])[1]

    proposals, _ = outputs(batch)
    boxes = batch["input_gt_boxes"].numpy()
    # Every 20th of the best, so that they do not lie on one another.
    chosen = proposals.numpy()[:, : 20 * objects : 20]
    boxes[:, :objects] = np.rint(space.denormalize(chosen, batch["input_image"].shape[1:3]))
    batch["input_gt_boxes"] = tf.constant(boxes)
    return int(outputs(batch)[1])


if __name__ == "__main__":
    main()
