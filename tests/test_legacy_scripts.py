"""Scripts in the manner of public tutorials for Matterport's library, run as their users do."""

import json
import os
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.test_legacy_script import write_coco_file

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(__file__).with_name("legacy_scripts")

pytestmark = pytest.mark.slow

SMALL = {
    "BACKBONE": "small",
    "IMAGE_MIN_DIM": 64,
    "IMAGE_MAX_DIM": 64,
    "RPN_ANCHOR_SCALES": (8, 16, 24, 32, 48),
    "TOP_DOWN_PYRAMID_SIZE": 16,
    "FPN_CLASSIF_FC_LAYERS_SIZE": 32,
}


def start(folder, name, *arguments):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "MPLBACKEND": "Agg",
    }
    return subprocess.Popen(
        [sys.executable, str(SCRIPTS / name), *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder, name, *arguments):
    """Return what a script writes to stdout and stderr."""
    with start(folder, name, *arguments) as process:
        output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return output, errors


def spots(seed, size=64):
    """An image [size, size, 3] uint8 with two bright rectangles, and their (y1, x1, y2, x2)."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 60, (size, size, 3)).astype(np.uint8)
    boxes = []
    for half in (0, size // 2):
        y1, x1 = rng.integers(4, size - 30), half + rng.integers(2, 8)
        y2, x2 = y1 + rng.integers(12, 24), x1 + rng.integers(12, 22)
        image[y1:y2, x1:x2] = rng.integers(150, 256, 3)
        boxes.append((y1, x1, y2, x2))
    return image, boxes


def small_config(**settings):
    from mrcnn.config import Config

    return type("SmallConfig", (Config,), SMALL | settings)()


def test_boxes_from_voc_files(tmp_path):
    from mrcnn.graph import build_graph

    for folder in ("images", "annots"):
        (tmp_path / "boats" / folder).mkdir(parents=True)
    for number in range(8):
        image, boxes = spots(number)
        Image.fromarray(image).save(tmp_path / "boats" / "images" / f"{number:05d}.png")
        objects = "".join(
            f"<object><name>boat</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for y1, x1, y2, x2 in boxes
        )
        (tmp_path / "boats" / "annots" / f"{number:05d}.xml").write_text(
            f"<annotation><size><width>64</width><height>64</height><depth>3</depth></size>"
            f"{objects}</annotation>"
        )
    model = build_graph(small_config(NUM_CLASSES=2), "training")
    write_coco_file(tmp_path / "mask_rcnn_coco.h5", model, classes=81)
    output, errors = run(tmp_path, "boxes.py")
    # The image without annotation is left out.
    assert "Train: 5\nTest: 2\n" in output
    values = [
        line.split(":")[1] for line in output.splitlines() if "mAP" in line or "Found" in line
    ]
    assert len(values) == 3
    assert all(0 <= float(value) <= 1 for value in values[:2]) and int(values[2]) > 0
    # One line of the script gave molded images, and one more at the end.
    assert errors.count("detect() got an image from mold_image()") == 2
    assert (tmp_path / "boats.png").stat().st_size > 1000
    (run_folder,) = tmp_path.glob("boat_cfg2*")
    assert [path.name for path in run_folder.glob("*.h5")] == ["mask_rcnn_boat_cfg_0001.h5"]


def test_three_stages_with_imgaug(tmp_path):
    for number in range(6):
        image, boxes = spots(number)
        folder = tmp_path / "cells" / f"c{number}"
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        Image.fromarray(image).save(folder / "images" / f"c{number}.png")
        for index, (y1, x1, y2, x2) in enumerate(boxes):
            mask = np.zeros((64, 64), np.uint8)
            mask[y1:y2, x1:x2] = 255
            Image.fromarray(mask).save(folder / "masks" / f"m{index}.png")
    output, _ = run(tmp_path, "stages.py", "train", "--dataset=cells", "--weights=none")
    stages = ["Train network heads", "Fine tune stage 4 and up", "Train all layers"]
    places = [output.index(text) for text in stages]
    assert places == sorted(places)
    (run_folder,) = (path for path in (tmp_path / "logs").iterdir() if path.is_dir())
    names = sorted(path.name for path in run_folder.glob("*.h5"))
    assert names == [f"mask_rcnn_cell_000{epoch}.h5" for epoch in (1, 2, 3)]

    output, errors = run(tmp_path, "stages.py", "detect", "--dataset=cells", "--weights=last")
    assert str(run_folder / "mask_rcnn_cell_0003.h5") in output
    assert "random weights" not in errors
    (submission,) = (tmp_path / "results").glob("submit_*/submit.csv")
    lines = submission.read_text().splitlines()
    assert lines[0] == "ImageId,EncodedPixels"
    assert {line.split(",")[0] for line in lines[1:]} == {"c4", "c5"}
    for line in lines[1:]:
        numbers = np.array(line.split(",")[1].split(), int).reshape(-1, 2)
        starts, lengths = numbers.T
        assert (lengths > 0).all() and (starts >= 1).all()
        assert (starts + lengths - 1 <= 64 * 64).all()
        assert (starts[1:] > starts[:-1] + lengths[:-1]).all()
    assert len(list(submission.parent.glob("*.png"))) == 2


def test_server_with_one_model_for_all_threads(tmp_path):
    import keras

    from mrcnn.model import MaskRCNN

    keras.utils.set_random_seed(0)
    config = small_config(
        NAME="serving",
        NUM_CLASSES=3,
        DETECTION_MIN_CONFIDENCE=0,
        DETECTION_MAX_INSTANCES=10,
        POST_NMS_ROIS_INFERENCE=50,
        IMAGES_PER_GPU=1,
    )
    model = MaskRCNN("inference", config, str(tmp_path))
    model.keras_model.get_layer("mrcnn_class_logits").bias.assign([-9.0, 0.0, 0.0])
    model.keras_model.save_weights(str(tmp_path / "mask_rcnn_serving.h5"))
    images = [spots(seed, size)[0] for seed, size in enumerate((64, 64, 96, 128, 64, 100))]
    expected = [model.detect([image])[0] for image in images]

    def ask(index):
        data = BytesIO()
        Image.fromarray(images[index]).save(data, "PNG")
        with urllib.request.urlopen(address, data.getvalue(), timeout=120) as answer:
            return json.load(answer)

    with start(tmp_path, "server.py") as process:
        try:
            port = next(line for line in process.stdout if line.strip().isdigit())
            address = f"http://127.0.0.1:{int(port)}"
            jobs = [*range(6)] * 4
            # The first six requests come at once, before anything is compiled.
            with ThreadPoolExecutor(6) as pool:
                answers = list(pool.map(ask, jobs))
            alone = [ask(index) for index in range(6)]
        finally:
            process.kill()
            process.communicate()
    for index, answer in zip([*jobs, *range(6)], [*answers, *alone], strict=True):
        result = expected[index]
        assert len(answer["rois"]) > 0
        np.testing.assert_array_equal(answer["rois"], result["rois"])
        np.testing.assert_array_equal(answer["class_ids"], result["class_ids"])
        np.testing.assert_allclose(answer["scores"], result["scores"], rtol=1e-5)
        np.testing.assert_array_equal(answer["areas"], result["masks"].sum(axis=(0, 1)))
