"""Time detection on one photo: the whole, and its parts resize, network and paste."""

import tempfile

from common import parser, report, seconds


def main():
    options = parser("Time detection on one photo.", runs=5)
    options.add_argument("--image", help="a photo; without it, one that scikit-image brings")
    options.add_argument("--size", type=int, default=1024, help="side of the network's input")
    options.add_argument(
        "--recipe",
        choices=("matterport", "paper"),
        default="matterport",
        help='"paper" takes the photo at 800 x 1333 pixels at most, whatever --size is',
    )
    options.add_argument("--backbone", choices=("resnet50", "resnet101"), default="resnet50")
    args = options.parse_args()

    import keras
    import skimage
    from synthetic import benchmark_config, paper_config, random_model

    from mrcnn.inference.detect import Detector, detect
    from mrcnn.inference.molding import mold_one, unmold

    keras.config.set_dtype_policy(args.precision)
    if args.recipe == "paper":
        config = paper_config(800, 1333, BACKBONE=args.backbone)
    else:
        config = benchmark_config(args.size, BACKBONE=args.backbone, DETECTION_MIN_CONFIDENCE=0)
    image = skimage.io.imread(args.image) if args.image else skimage.data.astronaut()
    with tempfile.TemporaryDirectory() as folder:
        model = random_model("inference", config, folder)
    detector = Detector(model.keras_model, model.get_anchors)
    found = detect(detector, [image], config)[0]

    molded, meta, window = mold_one(image, config)
    detections, masks, _ = detector(molded[None], meta[None])
    shapes = image.shape, molded.shape
    arguments = detections[0], masks[0], *shapes, window, config.recipe().SPACE
    (height, width), (rows, columns) = image.shape[:2], molded.shape[:2]
    report(
        f"detect, {args.recipe}, {args.backbone}, {args.precision}, photo of {width}x{height} at "
        f"{columns}x{rows}, {len(found['scores'])} detections",
        {
            "detect": seconds(lambda: detect(detector, [image], config), args.runs),
            "  resize": seconds(lambda: mold_one(image, config), args.runs),
            "  network": seconds(lambda: detector(molded[None], meta[None]), args.runs),
            "  paste": seconds(lambda: unmold(*arguments), args.runs),
        },
    )


if __name__ == "__main__":
    main()
