"""Meta vectors of images, by hand."""

import numpy as np
from keras import ops

from mrcnn.legacy.formulas import parse_image_meta
from mrcnn.ops import meta as meta_ops


def test_meta_by_hand():
    meta = meta_ops.compose_image_meta(
        7, (480, 640, 3), (1024, 1024, 3), (128, 0, 896, 1024), 1.6, [1, 0, 1]
    )
    expected = [7, 480, 640, 3, 1024, 1024, 3, 128, 0, 896, 1024, 1.6, 1, 0, 1]
    assert meta.dtype == np.float64
    assert meta.tolist() == expected


def test_meta_is_parsed_in_the_types_of_the_original():
    meta = meta_ops.compose_image_meta(7, (48, 64, 3), (10, 11, 3), (1, 2, 3, 4), 1.6, [1, 0])
    parsed = parse_image_meta(meta[np.newaxis])
    assert {name: values.tolist() for name, values in parsed.items() if name != "scale"} == {
        "image_id": [7],
        "original_image_shape": [[48, 64, 3]],
        "image_shape": [[10, 11, 3]],
        "window": [[1, 2, 3, 4]],
        "active_class_ids": [[1, 0]],
    }
    assert parsed["scale"] == [np.float32(1.6)]
    dtypes = {name: values.dtype for name, values in parsed.items()}
    assert dtypes.pop("scale") == np.float32
    assert set(dtypes.values()) == {np.dtype(np.int32)}


def test_meta_of_tensors_is_parsed_like_that_of_arrays():
    meta = np.arange(28, dtype=np.float32).reshape(2, 14)
    parsed, expected = meta_ops.parse_meta(ops.convert_to_tensor(meta)), meta_ops.parse_meta(meta)
    assert parsed.keys() == expected.keys()
    for name, values in parsed.items():
        np.testing.assert_array_equal(values, expected[name])
