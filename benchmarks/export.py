"""Time the exported formats of one model beside Keras, in turn, on one photo."""

import statistics
import tempfile
from pathlib import Path

from common import parser, report_machine, seconds

PRECISIONS = ("float32", "float16", "int8")


def arguments():
    options = parser("Time exported formats beside Keras, in turn.", runs=7, precision=False)
    options.add_argument("--photo", type=int, nargs=2, default=(480, 640), metavar=("H", "W"))
    options.add_argument("--size", type=int, default=1024, help="side of the network's input")
    options.add_argument("--recipe", choices=("matterport", "paper"), default="matterport")
    options.add_argument(
        "--backbone", choices=("small", "resnet50", "resnet101"), default="resnet50"
    )
    options.add_argument(
        "--weights", metavar="FILE", help="of a trained model, which brings its recipe and sizes"
    )
    options.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    options.add_argument("--quick", action="store_true", help="a small network of 128 pixels")
    args = options.parse_args()
    if args.quick:
        args.size, args.backbone, args.photo, args.runs = 128, "small", (96, 128), 2
    return args


def main():
    args = arguments()

    import skimage

    from mrcnn.ops.scaling import resample

    photo = resample(skimage.data.astronaut(), args.photo)
    with tempfile.TemporaryDirectory() as folder:
        model = trained(args.weights) if args.weights else random(args, folder)
        rows = [("Keras", "float32", None, None, lambda: model.detect([photo]))]
        for row in exports(model, photo, Path(folder), args.precisions):
            print(*row[:4], flush=True)
            rows.append(row)
        times = in_turn([row[4] for row in rows], args.runs)
        config = model.config
        print(f"{config.RECIPE}, {config.BACKBONE}, photo of {photo.shape[0]} x {photo.shape[1]}")
        print_table(rows, times)
        report_machine()


def trained(path):
    """Return the model of a weight file, with as many detections as it may have."""
    from mrcnn.model import MaskRCNN

    settings = {"DETECTION_MIN_CONFIDENCE": 0, "IMAGES_PER_GPU": 1, "GPU_COUNT": 1}
    return MaskRCNN.from_weights(path, **settings)


def random(args, folder):
    """Return a model of random weights, whose many equal scores not all formats sort alike."""
    import numpy as np
    from synthetic import benchmark_config, paper_config, random_model

    settings = {"BACKBONE": args.backbone, "IMAGES_PER_GPU": 1}
    if args.recipe == "paper":
        config = paper_config(args.size, args.size * 1333 // 800, **settings)
    else:
        config = benchmark_config(args.size, DETECTION_MIN_CONFIDENCE=0, **settings)
    model = random_model("inference", config, folder)
    # Masks of random weights are 0.5 everywhere, so that rounding would decide on each pixel.
    (masks,) = (each for each in model.get_trainable_layers() if each.name == "mrcnn_mask")
    masks.bias.assign(np.full(masks.bias.shape, 10.0))
    return model


def exports(model, photo, folder, wanted):
    """Yield format, precision, bytes, differences and a function that runs the file, per export."""
    from mrcnn.export import litert, onnx, openvino, saved_model

    options = {"image_size": photo.shape[:2], "calibration": [photo]}
    for module, name, suffix, precisions in (
        (saved_model, "SavedModel", "", ("float32",)),
        (onnx, "ONNX Runtime", ".onnx", ("float32", "int8")),
        (openvino, "OpenVINO", ".xml", ("float32",)),
        (litert, "LiteRT", ".tflite", ("float32", "float16", "int8")),
    ):
        for precision in (each for each in precisions if each in wanted):
            path = folder / f"{precision}{suffix}"
            try:
                made = model.export(path, precision=precision, **options)
            # Random weights have many equal scores, and are not made for 8 bits.
            except ValueError as error:
                print(error)
                continue
            facts = made.size, made.differences
            yield name, precision, *facts, run_of(module.load(str(path)), photo)
            if name == "OpenVINO":
                fast = module.load(str(path), hint="bf16")
                yield name, "bfloat16 hint", made.size, None, run_of(fast, photo)


def run_of(run, photo):
    return lambda: run(photo)


def in_turn(functions, rounds):
    """Return the seconds of each function, all of them in every round, after one that is not."""
    for function in functions:
        function()
    times = [[] for _ in functions]
    for _ in range(rounds):
        for function, own in zip(functions, times, strict=True):
            own += seconds(function, 1)
    return times


def print_table(rows, times):
    """Print the table of docs/export.md."""
    print("| format | precision | size | boxes, pixels | scores | mask IoU | median | minimum |")
    print("|---|---|---|---|---|---|---|---|")
    for (name, precision, size, differences, _), own in zip(rows, times, strict=True):
        size = "" if size is None else f"{size / 1e6:.0f} MB"
        largest = ["", "", ""]
        if differences is not None and differences.mask_iou is not None:
            largest = [f"{differences.boxes:.2g}", f"{differences.scores:.1g}"]
            largest.append(f"{differences.mask_iou:.3f}")
        figures = f"{statistics.median(own):.3f} s", f"{min(own):.3f} s"
        print("|", " | ".join([name, precision, size, *largest, *figures]), "|")


if __name__ == "__main__":
    main()
