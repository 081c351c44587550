"""Time torchvision's Mask R-CNN, with random weights and as much to do as the paper's recipe here.

It needs an environment with torch and torchvision:

    python benchmarks/torchvision_peer.py detect --image photo.jpg --precision bfloat16
    python benchmarks/torchvision_peer.py step --height 800 --width 1344 --batch 1
"""

import argparse
import contextlib
import resource
import statistics
import time

import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision.models.detection import maskrcnn_resnet50_fpn

CLASSES = 81


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("detect", "step"))
    parser.add_argument("--image", help="a photo, for detect")
    parser.add_argument("--height", type=int, default=800, help="of the images of a step")
    parser.add_argument("--width", type=int, default=1344, help="of the images of a step")
    parser.add_argument("--batch", type=int, default=1, help="images per step")
    parser.add_argument("--objects", type=int, default=8, help="objects per image")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(2)
    is_bf16 = args.precision == "bfloat16"
    cast = torch.autocast("cpu", torch.bfloat16) if is_bf16 else contextlib.nullcontext()
    run = {"detect": detect, "step": step}[args.what](args, cast)
    run()
    times = []
    for _ in range(args.runs):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(
        f"torchvision {torchvision.__version__} {args.what} {args.precision}: median "
        f"{statistics.median(times):.3f} s, minimum {min(times):.3f} s, peak {peak:.2f} GB"
    )


def model(**settings):
    """Mask R-CNN whose activations stay finite in spite of random weights."""
    made = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=CLASSES, **settings
    )
    for module in made.modules():
        if type(module).__name__ == "Bottleneck":
            module.bn3.weight.data.fill_(0.2)
    return made.to(memory_format=torch.channels_last)


def detect(args, cast):
    """Return a function that detects in the photo, with 100 detections."""
    made = model().eval()
    with torch.no_grad():
        # Scores that spread, so that a few hundred of 1000 RoIs pass the threshold.
        made.roi_heads.box_predictor.cls_score.weight.mul_(50.0)
        made.rpn.head.cls_logits.weight.mul_(50.0)
    pixels = np.array(Image.open(args.image).convert("RGB"))
    photo = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255

    def run():
        with torch.inference_mode(), cast:
            found = made([photo])[0]
            # The masks as bools, as users take them.
            run.masks = found["masks"] > 0.5
        run.found = len(found["boxes"])

    run()
    print(f"{run.found} detections in a photo of {pixels.shape[1]}x{pixels.shape[0]}")
    return run


def step(args, cast):
    """Return a function that trains all layers for one step."""
    made = model(trainable_backbone_layers=5, min_size=args.height, max_size=args.width).train()
    optimizer = torch.optim.SGD(made.parameters(), lr=1e-6, momentum=0.9, weight_decay=1e-4)
    images, targets = [], []
    rng = np.random.default_rng(0)
    for _ in range(args.batch):
        pixels = rng.random((3, args.height, args.width), np.float32)
        images.append(torch.from_numpy(pixels))
        corners = rng.integers(0, args.height * 3 // 4, (args.objects, 2))
        sides = rng.integers(args.height // 8, args.height // 4, (args.objects, 2))
        boxes = np.concatenate([corners, corners + sides], axis=1)
        masks = np.zeros((args.objects, args.height, args.width), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
            mask[y1:y2, x1:x2] = 1
        labels = rng.integers(1, CLASSES, args.objects)
        targets.append(
            {
                "boxes": torch.from_numpy(boxes.astype(np.float32)),
                "labels": torch.from_numpy(labels),
                "masks": torch.from_numpy(masks),
            }
        )

    def run():
        with cast:
            total = sum(made(images, targets).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return run


if __name__ == "__main__":
    main()
