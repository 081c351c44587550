"""Average precision of exported files on drawn shapes, by the model of `make demo`.

It costs no training: run `make demo` first, and name the file of weights that it wrote.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "samples" / "shapes"))

SUFFIXES = {"saved_model": "", "onnx": ".onnx", "openvino": ".xml", "litert": ".tflite"}


class Exported:
    """An exported file in the place of a `MaskRCNN`, for `compute_coco_metrics`.

    Args:
        config: the Config of the model.
        run: function from a photo to the outputs of the file.
    """

    mode = "inference"

    def __init__(self, config, run):
        self.config, self.run = config, run

    def detect(self, images, mask_format):
        return [self._detect(image) for image in images]

    def _detect(self, image):
        from mrcnn.ops.rle import encode_mask

        found = self.run(image)
        real = found["class_ids"] > 0
        found = {name: values[real] for name, values in found.items()}
        return {
            "rois": found["boxes"].astype(np.int32),
            "class_ids": found["class_ids"],
            "scores": found["scores"],
            "masks": [encode_mask(mask) for mask in found["masks"]],
        }


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--weights", required=True, help="weights of a run of `make demo`")
    options.add_argument("--images", type=int, default=50, help="unseen images to evaluate")
    options.add_argument("--calibration", type=int, default=24, help="training images for int8")
    args = options.parse_args()

    import shapes

    from mrcnn.export import litert, onnx, openvino, saved_model
    from mrcnn.model import MaskRCNN

    settings = {"IMAGES_PER_GPU": 1, "DETECTION_MIN_CONFIDENCE": 0.05}
    config = type("ExportConfig", (shapes.DemoConfig,), settings)()
    unseen = shapes.make_dataset("test", args.images, config)
    seen = shapes.make_dataset("train", args.calibration, config)
    sides = {
        "image_size": config.IMAGE_SHAPE[:2],
        "calibration": [seen.load_image(i) for i in seen.image_ids],
    }
    print("| format | precision | size | AP of boxes | AP of masks |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        model = MaskRCNN("inference", config, folder)
        model.load_weights(args.weights)
        print_row("Keras", "float32", 0, unseen, model)
        modules = {"saved_model": saved_model, "onnx": onnx, "openvino": openvino, "litert": litert}
        for name, precisions in (
            ("saved_model", ("float32",)),
            ("onnx", ("float32", "float16", "int8")),
            ("openvino", ("float32", "float16")),
            ("litert", ("float32", "float16", "int8")),
        ):
            for precision in precisions:
                path = Path(folder) / f"{precision}{SUFFIXES[name]}"
                made = model.export(path, precision=precision, **sides)
                run = modules[name].load(str(path))
                print_row(name, precision, made.size, unseen, Exported(config, run))
        fast = openvino.load(str(Path(folder) / "float32.xml"), hint="bf16")
        print_row("openvino", "bfloat16 at load", 0, unseen, Exported(config, fast))


def print_row(name, precision, size, dataset, model):
    from mrcnn.evaluation.dataset_metrics import compute_coco_metrics

    metrics = compute_coco_metrics(dataset, model, verbose=0)
    size = f"{size / 1e6:.1f} MB" if size else ""
    figures = f"{metrics.bbox.stats['AP']:.3f} | {metrics.segm.stats['AP']:.3f}"
    print(f"| {name} | {precision} | {size} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
