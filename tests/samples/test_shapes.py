"""The shapes sample: its images are what their masks say, and its commands do what they say."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from skimage.io import imread

from mrcnn import cli
from mrcnn.utils import extract_bboxes

ROOT = Path(__file__).parents[2]
COMMANDS = ("train", "evaluate", "detect", "demo")


@pytest.fixture(scope="module")
def shapes():
    """The script as a module: samples are no package."""
    spec = importlib.util.spec_from_file_location("shapes", ROOT / "samples/shapes/shapes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def dataset(shapes):
    dataset = shapes.ShapesDataset()
    dataset.load_shapes(30, 128, 96, seed=7)
    dataset.prepare()
    return dataset


def pixels(rows):
    return np.array([[cell == "#" for cell in row] for row in rows.split()])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (
            "square",
            """
            ........
            ...#####
            ...#####
            ...#####
            ...#####
            ...#####
            ........
            """,
        ),
        (
            "circle",
            """
            ........
            .....#..
            ....###.
            ...#####
            ....###.
            .....#..
            ........
            """,
        ),
        # A row k below the top is at most k / (2 sin 60 degrees) wide each side: 0, 0.58, 1.15,
        # 1.73, 2.31.
        (
            "triangle",
            """
            ........
            .....#..
            .....#..
            ....###.
            ....###.
            ...#####
            ........
            """,
        ),
    ],
)
def test_shapes_cover_the_pixels_of_a_hand_drawing(shapes, shape, expected):
    expected = pixels(expected)
    assert np.array_equal(shapes.shape_mask(shape, (5, 3, 2), 7, 8), expected)
    image = np.full((7, 8, 3), 9, np.uint8)
    drawn = shapes.ShapesDataset().draw_shape(image, shape, (5, 3, 2), (1, 2, 3))
    assert drawn is image
    assert (image[expected] == [1, 2, 3]).all()
    assert (image[~expected] == 9).all()


def test_square_by_hand(shapes):
    dataset = shapes.ShapesDataset()
    dataset.load_shapes(1, 12, 10, seed=0)
    dataset.prepare()
    dataset.image_info[0].update(bg_color=(10, 20, 30), shapes=[("square", (200, 0, 5), (4, 6, 3))])
    mask, class_ids = dataset.load_mask(0)
    # Centre x = 4, y = 6, three pixels to each side: rows 3..9, columns 1..7, 7 * 7 pixels.
    expected = np.zeros((12, 10), bool)
    expected[3:10, 1:8] = True
    assert (mask.shape, mask.dtype, mask.sum()) == ((12, 10, 1), bool, 49)
    assert np.array_equal(mask[..., 0], expected)
    assert (class_ids.tolist(), class_ids.dtype) == ([1], np.int32)
    image = dataset.load_image(0)
    assert image.dtype == np.uint8
    assert (image[expected] == [200, 0, 5]).all()
    assert (image[~expected] == [10, 20, 30]).all()
    assert dataset.image_reference(0) == "square"


def test_lower_shapes_lose_covered_pixels(shapes):
    dataset = shapes.ShapesDataset()
    dataset.load_shapes(1, 8, 8, seed=0)
    dataset.prepare()
    lower, upper = ("square", (1, 1, 1), (2, 2, 1)), ("circle", (2, 2, 2), (3, 2, 1))
    dataset.image_info[0]["shapes"] = [lower, upper]
    mask, class_ids = dataset.load_mask(0)
    assert class_ids.tolist() == [1, 2]
    # The circle is a plus sign around (y 2, x 3); it hides three pixels at the square's right.
    assert np.argwhere(mask[..., 1]).tolist() == [[1, 3], [2, 2], [2, 3], [2, 4], [3, 3]]
    assert np.argwhere(mask[..., 0]).tolist() == [[1, 1], [1, 2], [2, 1], [3, 1], [3, 2]]


def test_masks_are_the_pixels_that_were_drawn(dataset):
    seen = set()
    for image_id in dataset.image_ids:
        info = dataset.image_info[image_id]
        image, (masks, class_ids) = dataset.load_image(image_id), dataset.load_mask(image_id)
        assert image.shape == (128, 96, 3)
        assert masks.sum(axis=-1).max() == 1, "a pixel belongs to one shape"
        assert masks.any(axis=(0, 1)).all(), "every shape can be seen"
        assert (image[~masks.any(axis=-1)] == info["bg_color"]).all()
        for i, (name, color, _) in enumerate(info["shapes"]):
            assert (image[masks[..., i]] == color).all()
            assert dataset.class_names[class_ids[i]] == name
            seen.add(name)
    assert seen == {"square", "circle", "triangle"}
    assert dataset.class_names == ["BG", "square", "circle", "triangle"]


def test_seed_decides_the_images(shapes):
    def load(count, seed):
        dataset = shapes.ShapesDataset()
        dataset.load_shapes(count, 64, 64, seed=seed)
        dataset.prepare()
        return [dataset.load_image(i) for i in dataset.image_ids]

    first, again, other, unseeded = load(4, 3), load(9, 3), load(4, 4), load(4, None)
    assert np.array_equal(first, again[:4]), "a larger set begins with the smaller one"
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert not np.array_equal(unseeded, load(4, None))


def test_splits_have_no_image_in_common(shapes):
    config = shapes.DemoConfig()
    images = [
        shapes.make_dataset(split, 20, config, seed).load_image(i).tobytes()
        for split in shapes.SPLITS
        for seed in (0, 1)
        for i in range(20)
    ]
    assert len(set(images)) == len(images)


def test_boxes_of_an_image_hardly_overlap(shapes):
    for seed in range(50):
        _, specs = shapes.ShapesDataset().random_image(128, 128, seed)
        assert 1 <= len(specs) <= 4
        for i, (_, _, (x1, y1, s1)) in enumerate(specs):
            assert 20 <= s1 <= 32
            assert 20 <= min(x1, y1) <= max(x1, y1) < 108
            for _, _, (x2, y2, s2) in specs[:i]:
                height = min(y1 + s1, y2 + s2) - max(y1 - s1, y2 - s2)
                width = min(x1 + s1, x2 + s2) - max(x1 - s1, x2 - s2)
                common = max(height, 0) * max(width, 0)
                assert common / (4 * s1**2 + 4 * s2**2 - common) <= 0.3


def test_unknown_shapes_are_named(shapes):
    with pytest.raises(ValueError, match="'star'; expected one of square, circle, triangle"):
        shapes.shape_mask("star", (5, 5, 2), 10, 10)


def test_settings_are_those_of_the_original(shapes):
    config = shapes.ShapesConfig()
    config.validate()
    found = (
        config.NAME,
        config.BACKBONE,
        config.BATCH_SIZE,
        config.NUM_CLASSES,
        config.IMAGE_SHAPE.tolist(),
        config.RPN_ANCHOR_SCALES,
        config.TRAIN_ROIS_PER_IMAGE,
        config.STEPS_PER_EPOCH,
        config.VALIDATION_STEPS,
    )
    scales = (8, 16, 32, 64, 128)
    assert found == ("shapes", "resnet101", 8, 4, [128, 128, 3], scales, 32, 100, 5)


def test_small_backbone_has_the_strides_that_it_promises(shapes):
    import keras

    config = shapes.DemoConfig()
    config.validate()
    inputs = keras.Input((128, 192, 3))
    stages = config.BACKBONE(inputs, stage5=True, train_bn=None)
    assert [tuple(stage.shape[1:3]) for stage in stages] == [
        (64, 96),
        (32, 48),
        (16, 24),
        (8, 12),
        (4, 6),
    ]
    promised = config.COMPUTE_BACKBONE_SHAPE((128, 192, 3))
    assert promised.tolist() == [[32, 48], [16, 24], [8, 12], [4, 6], [2, 3]]
    assert config.BACKBONE(inputs, stage5=False)[4] is None


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(shapes, capsys, command):
    with pytest.raises(SystemExit) as exit_:
        shapes.main([command, "--help"])
    assert exit_.value.code == 0
    printed = capsys.readouterr().out
    assert f"{command} [-h]" in printed
    for option in ("--logs", "--seed"):
        assert option in printed


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "COMMAND"),
        ("fly", "invalid choice: 'fly'"),
        ("demo --epochs 0", "argument --epochs: 0 is less than 1"),
        ("detect --count many", "argument --count: invalid whole_number value: 'many'"),
        ("train --small --weights coco", "there are no coco weights for --small"),
    ],
)
def test_wrong_command_lines_are_refused(shapes, capsys, line, message):
    with pytest.raises(SystemExit) as exit_:
        shapes.main(line.split())
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


class Oracle:
    """A stand-in for MaskRCNN: finds all shapes of the test images, none in the first `blind`."""

    epoch = 0
    log_dir = "logs/run"

    def __init__(self, dataset, blind=0):
        self.trained = []
        self.answers = {}
        for image_id in dataset.image_ids:
            masks, class_ids = dataset.load_mask(image_id)
            keep = slice(0, 0) if image_id < blind else slice(None)
            self.answers[dataset.load_image(image_id).tobytes()] = {
                "rois": extract_bboxes(masks)[keep],
                "masks": masks[..., keep],
                "class_ids": class_ids[keep],
                "scores": np.ones(len(class_ids), np.float32)[keep],
            }

    def detect(self, images):
        return [self.answers[image.tobytes()] for image in images]

    def find_last(self):
        return "logs/run/last.weights.h5"

    def train(self, train, val, learning_rate, epochs, layers):
        self.trained.append((layers, learning_rate, epochs))
        self.epoch = epochs
        return SimpleNamespace(history={"loss": [1.0 / len(self.trained)]})


def test_evaluation_is_the_mean_over_images(shapes):
    dataset = shapes.make_dataset("test", 8, shapes.DemoConfig())
    # Six images found in full, two not at all.
    assert shapes.evaluate(Oracle(dataset, blind=2), dataset) == pytest.approx(6 / 8)


@pytest.fixture
def oracle(shapes, monkeypatch):
    """An Oracle in place of every model; its `made` lists what models were asked for."""
    oracle = Oracle(shapes.make_dataset("test", 10, shapes.DemoConfig(), seed=5), blind=1)
    oracle.made = []

    def make_model(mode, weights, logs, config, from_random=None, seed=0, **settings):
        oracle.config = config() if isinstance(config, type) else config
        for name, value in settings.items():
            setattr(oracle.config, name, value)
        kind, steps = type(oracle.config).__name__, oracle.config.STEPS_PER_EPOCH
        oracle.made.append((mode, kind, steps, logs, weights))
        return oracle

    monkeypatch.setattr(cli, "make_model", make_model)
    return oracle


def test_demo_trains_evaluates_and_draws(shapes, oracle, capsys, tmp_path):
    line = f"demo --epochs 8 --steps 3 --count 10 --seed 5 --logs L --output {tmp_path}"
    shapes.main(line.split())
    rate = shapes.DemoConfig.LEARNING_RATE
    assert oracle.trained == [("all", rate, 6), ("all", rate / 10, 8)]
    assert oracle.made == [
        ("training", "DemoConfig", 3, "L", "random"),
        ("inference", "DemoConfig", 3, "L", "logs/run/last.weights.h5"),
    ]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("mAP at IoU 0.5: 0.900 on 10 unseen images")
    assert str(tmp_path) in last
    pictures = {path.name: imread(path).shape[:2] for path in tmp_path.iterdir()}
    assert pictures.pop("losses.png") == (260, 360)
    # Two square images, 0.1 inches between them and 0.45 above, within 10 x 5.5 inches.
    assert pictures == {f"shapes_{i:03d}.png": (540, 1000) for i in range(8)}


@pytest.mark.parametrize(
    ("options", "stages"),
    [
        ("", [("all", 0.001, 3)]),
        ("--weights coco", [("heads", 0.001, 2), ("all", 0.0001, 3)]),
        ("--weights imagenet --epochs 1", [("heads", 0.001, 1)]),
        ("--model some.h5 --epochs 4", [("all", 0.001, 4)]),
        ("--small --weights last", [("all", 0.04, 3)]),
    ],
)
def test_train_spares_good_features(shapes, oracle, capsys, tmp_path, monkeypatch, options, stages):
    monkeypatch.chdir(tmp_path)
    Path("some.h5").touch()
    shapes.main(f"train {options}".split())
    assert oracle.trained == [(layers, pytest.approx(rate), last) for layers, rate, last in stages]
    assert capsys.readouterr().out == "Checkpoints and loss curves are in logs/run.\n"


@pytest.mark.parametrize(("epoch", "stages"), [(2, [5]), (4, [5]), (5, [])])
def test_finished_epochs_count(shapes, oracle, capsys, epoch, stages):
    oracle.epoch = epoch
    shapes.main("train --weights last --epochs 5".split())
    assert [last for _, _, last in oracle.trained] == stages
    told = "5 epochs are finished; a larger number of --epochs continues.\n"
    assert capsys.readouterr().out.startswith("Checkpoints" if stages else told)


def test_evaluate_prints_the_map(shapes, oracle, capsys):
    shapes.main("evaluate --small --count 10 --seed 5".split())
    assert capsys.readouterr().out == "mAP at IoU 0.5: 0.900 on 10 unseen images.\n"
    assert oracle.made == [("inference", "DemoConfig", 50, "logs", "last")]


def test_detect_draws_the_images_asked_for(shapes, oracle, capsys, tmp_path):
    shapes.main(f"detect --small --count 2 --seed 5 --output {tmp_path}".split())
    assert {path.name for path in tmp_path.iterdir()} == {"shapes_000.png", "shapes_001.png"}
    assert capsys.readouterr().out == f"2 pictures of detections are in {tmp_path}.\n"
