"""Each way in which tensors of PyTorch programs differ from ours, by hand."""

import numpy as np
import pytest

from mrcnn.weights import detectron2, torchvision
from mrcnn.weights.state_dict import delta_rows, dense, line, their_shape, to_ours, to_theirs


def count_up(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def there_and_back(theirs, shape, rule):
    """Our array of theirs, after a check that it has our shape and goes back unchanged."""
    ours = to_ours(theirs, shape, rule)
    assert ours.shape == shape
    assert their_shape(shape, rule) == theirs.shape
    back = to_theirs(ours, rule)
    np.testing.assert_array_equal(back, theirs)
    assert back.dtype == theirs.dtype
    return ours


def test_a_convolution():
    theirs = count_up(2, 3, 1, 2)
    ours = there_and_back(theirs, (1, 2, 3, 2), line("conv"))
    # Output 1, input 2, row 0, column 1.
    assert ours[0, 1, 2, 1] == theirs[1, 2, 0, 1] == 11


def test_a_convolution_on_bgr_images():
    theirs = count_up(1, 3, 1, 1)
    ours = there_and_back(theirs, (1, 1, 3, 1), line("conv1", flips_colours=True))
    assert ours.ravel().tolist() == [2, 1, 0]


def test_a_transposed_convolution():
    # In PyTorch [in, out, height, width], in Keras [height, width, out, in].
    theirs = count_up(3, 2, 2, 2)
    ours = there_and_back(theirs, (2, 2, 2, 3), line("deconv"))
    assert ours[1, 0, 1, 2] == theirs[2, 1, 1, 0] == 22


def test_a_fully_connected_layer():
    ours = there_and_back(count_up(2, 3), (3, 2), dense("fc"))
    assert ours.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_fully_connected_layer_on_a_flattened_feature_map():
    # Two outputs of three channels of 1x2 cells: PyTorch flattens channel by channel.
    theirs = count_up(2, 6)
    ours = there_and_back(theirs, (1, 2, 3, 2), dense("fc6"))
    assert ours[0, 1, 2, 1] == theirs[1, 2 * 2 + 1] == 11


def test_a_fully_connected_layer_as_a_convolution_of_one_cell():
    ours = there_and_back(count_up(2, 3), (1, 1, 3, 2), dense("fc7"))
    assert ours[0, 0].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_deltas_of_two_anchors_or_classes():
    # dx, dy, dw, dh of each.
    ours = there_and_back(count_up(8), (8,), line("bbox_pred", rows=delta_rows))
    assert ours.tolist() == [1, 0, 3, 2, 5, 4, 7, 6]


def test_background_is_the_last_class_of_detectron2():
    ours = there_and_back(count_up(3), (3,), dense("cls_score", rows=detectron2.class_rows))
    assert ours.tolist() == [2, 0, 1]


def test_background_has_no_deltas_in_detectron2():
    rule = dense("bbox_pred", rows=detectron2.box_rows)
    theirs = 10 + count_up(8)
    assert there_and_back(theirs, (12,), rule).tolist() == [
        *(0, 0, 0, 0),
        *(11, 10, 13, 12),
        *(15, 14, 17, 16),
    ]
    kernel = there_and_back(10 + count_up(8, 1), (1, 12), rule)
    assert kernel.ravel().tolist() == [0, 0, 0, 0, 11, 10, 13, 12, 15, 14, 17, 16]


def test_background_has_no_mask_in_detectron2():
    rule = line("predictor", rows=detectron2.mask_rows)
    assert there_and_back(10 + count_up(2, 1, 1, 1), (1, 1, 1, 3), rule).ravel().tolist() == [
        0,
        10,
        11,
    ]


def test_anchors_of_one_level_are_by_size_in_detectron2():
    # Five sizes of two ratios; ours are by ratio.
    rule = line("objectness_logits", rows=detectron2.anchor_rows)
    assert there_and_back(count_up(10), (10,), rule).tolist() == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]


def test_deltas_of_anchors_of_one_level_in_detectron2():
    rule = line("anchor_deltas", rows=detectron2.anchor_delta_rows)
    ours = there_and_back(count_up(40), (40,), rule).tolist()
    # The first ratio at the second size is their third anchor.
    assert ours[4:8] == [9, 8, 11, 10]
    assert ours[20:24] == [5, 4, 7, 6]


@pytest.mark.parametrize("program", [torchvision, detectron2])
@pytest.mark.parametrize(
    "layers", [{"fpn_c5p5", "mrcnn_mask_conv1"}, {"mrcnn_mask_conv1"}, {"mrcnn_bbox_conv1"}]
)
def test_no_two_layers_have_the_same_module(program, layers):
    names = [name for rule in program.detector_table(layers).values() for name in rule.modules]
    assert len(names) == len(set(names))
