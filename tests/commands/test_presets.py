"""Settings chosen by the data."""

import numpy as np
import pytest

from mrcnn.commands.presets import anchor_scales, fit_schedule, fitted_config, input_side
from mrcnn.commands.survey import Survey, survey
from mrcnn.config import Config, PaperConfig, SmallConfig
from mrcnn.data.dataset import Dataset


def made(shares, objects=(1,), images=10):
    shares = np.array(shares, float)
    return Survey(images, len(objects), np.array(objects), shares, np.full(len(objects), 100))


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ([8, 16, 33], (8, 16, 32, 64, 128)),
        # 90 is nearer to 92 = 4 * 23 than to 88 = 8 * 11, and 182 to 184 = 8 * 23.
        ([90, 182], (23, 46, 92, 184, 368)),
        ([87, 175], (11, 22, 44, 88, 176)),
        # Larger than all of the first families.
        ([500, 510], (32, 64, 128, 256, 512)),
    ],
)
def test_anchors(sides, expected):
    assert anchor_scales(np.array(sides)) == expected


def test_input_side():
    """Ten objects, of which the smallest may be smaller: 0.04 * 320 = 12.8, 0.04 * 256 = 10.2."""
    assert input_side(made([0.001] + [0.04] * 30)) == 320
    assert input_side(made([0.5] * 3)) == 256
    assert input_side(made([0.001] * 3)) == 512
    assert input_side(made([])) == 256


class Strips(Dataset):
    """Image i has i strips of 4 x 16 pixels in a photo of 32 x 64; image 3 is broken."""

    def load_mask(self, image_id):
        if image_id == 3:
            raise OSError("damaged")
        masks = np.zeros((32, 64, image_id), bool)
        for index in range(image_id):
            masks[8 * index : 8 * index + 4, :16, index] = True
        # The last one is a crowd.
        ids = np.ones(image_id, np.int32)
        ids[2:] = -1
        return masks, ids


def test_survey():
    dataset = Strips()
    dataset.add_class("a", 1, "strip")
    for number in range(5):
        dataset.add_image("a", number, None)
    dataset.prepare()
    found = survey(dataset)
    assert (found.images, found.looked_at, found.objects.tolist()) == (5, 4, [0, 1, 2, 2])
    np.testing.assert_allclose(found.shares, [8 / 64] * 5)
    # Of five images four were read, with 1.25 objects each.
    assert (found.total, found.count_text()) == (6, "about 6")
    # Images 0 and 2.
    assert survey(dataset, most=2).objects.tolist() == [0, 2]


def test_small_preset():
    found = made([0.1] * 30, objects=(2, 4))
    config = fitted_config("small", "cells", 3, found)
    assert isinstance(config, SmallConfig) and config.validate() is None
    assert (config.NAME, config.NUM_CLASSES, config.IMAGE_MAX_DIM) == ("cells", 3, 256)
    # 25.6 pixels are nearer to 23 than to 22 or 32.
    assert config.RPN_ANCHOR_SCALES == (23, 46, 92, 184, 368)
    assert (config.RPN_TRAIN_ANCHORS_PER_IMAGE, config.MAX_GT_INSTANCES) == (64, 20)
    many = fitted_config("small", "cells", 3, made([0.1], objects=(300,)), 512)
    assert (many.RPN_TRAIN_ANCHORS_PER_IMAGE, many.MAX_GT_INSTANCES) == (256, 200)
    assert (many.DETECTION_MAX_INSTANCES, many.IMAGE_MAX_DIM) == (400, 512)


def test_other_presets():
    found = made([0.1] * 30)
    learnt = fitted_config("default", "cells", 2, found, adapts=False)
    assert type(learnt) is Config and learnt.RPN_ANCHOR_SCALES == Config.RPN_ANCHOR_SCALES
    # Of 102 pixels.
    assert fitted_config("default", "cells", 2, found).RPN_ANCHOR_SCALES[0] == 23
    paper = fitted_config("paper", "cells", 2, found, 1000)
    assert isinstance(paper, PaperConfig)
    assert (paper.IMAGE_MIN_DIM, paper.IMAGE_MAX_DIM) == (600, 1000)
    with pytest.raises(ValueError, match="--image-size is 500; it must be a multiple of 64"):
        fitted_config("default", "cells", 2, found, 500)


@pytest.mark.parametrize(
    ("images", "given", "batch", "steps", "epochs"),
    [
        # 61 images: 8 steps of 8 are a pass, but 20 the least; 2000 steps in all.
        (61, (None, None), 8, 20, 100),
        (61, (2, None), 8, 20, 2),
        (4000, (None, None), 8, 500, 4),
        (80_000, (None, None), 8, 1000, 4),
        (3, (5, 7), 3, 7, 5),
    ],
)
def test_schedule(images, given, batch, steps, epochs):
    config = SmallConfig()
    assert fit_schedule(config, "small", images, 20, *given) == epochs
    assert (config.BATCH_SIZE, config.STEPS_PER_EPOCH) == (batch, steps)
    assert config.VALIDATION_STEPS == -(-20 // batch)
    assert config.WARMUP_STEPS == min(50, epochs * steps // 4)
    last = epochs - epochs // 4
    assert config.LEARNING_RATE_DECAY_EPOCHS == ((last,) if last < epochs else ())


def test_schedule_without_validation():
    config = Config()
    fit_schedule(config, "default", 100, 0)
    assert (config.VALIDATION_STEPS, config.BEST_METRIC) == (0, None)
