"""Rules that carry weights from one layout to another: every tensor is loaded or named."""

import keras
import numpy as np
import pytest

from mrcnn.weights.transfer import Rule, apply


def model_of(channels=3):
    """A convolution and a dense layer behind it."""
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, channels))
    x = keras.layers.Conv2D(2, 3, name="first")(image)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(5, name="last")(x))


def source_of(rng):
    """The layout of another library: kernels are transposed, layers have other names."""
    return {
        "stem.conv": {"weight": rng.random((2, 3, 3, 3)), "bias": rng.random(2)},
        "head.fc": {"weight": rng.random((5, 2)), "bias": rng.random(5)},
    }


def of_layer(name):
    return [(name, "weight"), (name, "bias")]


RULES = [
    Rule("first", of_layer("stem.conv"), lambda a: [a[0].transpose(2, 3, 1, 0), a[1]]),
    Rule("last", of_layer("head.fc"), lambda a: [a[0].T, a[1]]),
    Rule("third", of_layer("head.other")),
]


def test_transforms_bring_tensors_into_our_layout(rng, capsys):
    model, source = model_of(), source_of(rng)
    report = apply(model, "x.pth", source, RULES)
    kernel, bias, dense, dense_bias = model.get_weights()
    # Element by element: theirs is [out, in, row, column], ours [row, column, in, out].
    theirs = source["stem.conv"]["weight"]
    for index in np.ndindex(kernel.shape):
        row, column, inputs, outputs = index
        assert kernel[index] == np.float32(theirs[outputs, inputs, row, column])
    np.testing.assert_array_equal(dense[1], np.float32(source["head.fc"]["weight"][:, 1]))
    np.testing.assert_array_equal(bias, np.float32(source["stem.conv"]["bias"]))
    np.testing.assert_array_equal(dense_bias, np.float32(source["head.fc"]["bias"]))
    assert (report.loaded, report.missing, report.unused) == (["first", "last"], [], [])
    assert capsys.readouterr().out == f"{report}\n"


def test_every_tensor_is_accounted_for(rng):
    source = source_of(rng)
    source["stem.conv"]["steps"] = np.zeros(())
    source |= {"head.other": {"weight": np.ones(3)}, "notes": {"text": np.ones(3)}}
    report = apply(model_of(), "x", source, RULES, ignored=("notes",), verbose=0)
    # A layer of which one tensor is not used is named; the rule of "third" has no layer of ours.
    assert report.unused == ["stem.conv", "head.other"]
    report = apply(model_of(), "x", source, RULES[:1], verbose=0)
    assert report.missing == ["last"]
    assert report.unused == ["stem.conv", "head.fc", "head.other", "notes"]


def test_layers_of_either_side_can_be_excluded(rng):
    report = apply(model_of(), "x", source_of(rng), RULES, exclude=["last"], verbose=0)
    assert (report.skipped, report.unused) == ({"last": "excluded"}, [])
    with pytest.raises(ValueError, match='exclude names "tail"'):
        apply(model_of(), "x", source_of(rng), RULES, exclude=["tail"])


@pytest.mark.parametrize("change", ["shape", "tensor"])
def test_nothing_changes_where_one_layer_does_not_fit(rng, change):
    model, source = model_of(), source_of(rng)
    if change == "shape":
        source["head.fc"]["weight"] = np.ones((6, 2))
    else:
        del source["head.fc"]["bias"]
    before = model.get_weights()
    with pytest.raises(ValueError, match='does not fit the model in "last"'):
        apply(model, "x", source, RULES)
    for ours, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, old)
    report = apply(model, "x", source, RULES, skip_mismatch=True, verbose=0)
    assert (report.loaded, list(report.mismatched)) == (["first"], ["last"])


def test_first_convolution_adapts_after_its_transform(rng):
    model, source = model_of(channels=1), source_of(rng)
    report = apply(model, "x", source, RULES, verbose=0)
    assert report.adapted == ["first"]
    # One grey value for three equal colours: the kernels add up.
    expected = source["stem.conv"]["weight"].sum(axis=1).transpose(1, 2, 0)
    np.testing.assert_allclose(model.get_weights()[0][:, :, 0], expected, rtol=1e-6)
