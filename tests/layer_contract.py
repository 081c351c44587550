"""The contract of every custom layer, checked with the numbers that it has to return."""

import keras
import numpy as np
from keras import tree


def run_layer_test(make, inputs, expected, tmp_path, weights=(), tolerance=1e-6):
    """Check a layer against Keras's contract.

    The layer returns `expected`; its symbolic shapes and types are those of the results; a copy
    from its configuration has the same configuration; a model around it that was saved as `.keras`
    and loaded, without being told of custom objects, returns the same.

    Args:
        make: function without arguments that returns the layer.
        inputs: tuple of what the layer is called with: arrays, or lists of arrays.
        expected: an array, or a list of them.
        tmp_path: an empty folder.
        weights: values of the layer's weights, set once it is built.
        tolerance: relative and absolute.
    """
    assert expected is not None
    layer = make()
    arguments = tree.map_structure(
        lambda x: keras.Input(batch_shape=(None, *x.shape[1:]), dtype=x.dtype), inputs
    )
    symbolic = layer(*arguments)
    if weights:
        layer.set_weights(weights)

    def check(results):
        keras.tree.assert_same_structure(expected, results)
        for result, values in zip(tree.flatten(results), tree.flatten(expected), strict=True):
            np.testing.assert_allclose(
                np.asarray(result), values, rtol=tolerance, atol=tolerance, strict=False
            )

    results = layer(*inputs)
    check(results)
    for tensor, result in zip(tree.flatten(symbolic), tree.flatten(results), strict=True):
        assert len(tensor.shape) == len(result.shape)
        pairs = zip(tensor.shape, result.shape, strict=True)
        assert all(known in (None, size) for known, size in pairs), (tensor.shape, result.shape)
        assert tensor.dtype == keras.backend.standardize_dtype(result.dtype)
    config = layer.get_config()
    copy = type(layer).from_config(config)
    assert copy.get_config() == config
    assert copy.name == layer.name
    model = keras.Model(tree.flatten(arguments), symbolic)
    model.save(tmp_path / "layer.keras")
    loaded = keras.models.load_model(tmp_path / "layer.keras")
    check(loaded(tree.flatten(inputs)))
