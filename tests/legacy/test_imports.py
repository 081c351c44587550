"""Other libraries under the names that Matterport's modules imported them by."""

import subprocess
import sys

import keras
import matplotlib.lines
import matplotlib.patches
import matplotlib.pyplot
import numpy as np
import pytest
import skimage
import tensorflow as tf

from mrcnn import model as modellib
from mrcnn import utils, visualize
from mrcnn.legacy import imports


def test_libraries():
    assert modellib.KL is keras.layers and modellib.KM is keras.models and modellib.tf is tf
    assert modellib.keras is keras and modellib.np is np and modellib.utils is utils
    assert visualize.plt is matplotlib.pyplot and visualize.lines is matplotlib.lines
    assert visualize.patches is matplotlib.patches
    assert visualize.Polygon is matplotlib.patches.Polygon
    assert utils.skimage.transform is skimage.transform and utils.tf is tf


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (module, name)
        for module, names in (
            (modellib, imports.MODEL),
            (utils, imports.UTILS),
            (visualize, imports.VISUALIZE),
        )
        for name in names
        if name != "IPython"
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_every_name_is_there(module, name):
    assert getattr(module, name) is not None


def test_operations_of_the_old_backend():
    """Those of the original's losses, with numbers by hand."""
    K = modellib.K
    x = tf.constant([[1.0, -3.0], [5.0, 0.0]])
    assert float(K.mean(K.abs(x))) == 2.25
    assert K.eval(K.sum(K.cast(K.equal(K.sign(x), 1), "float32"), axis=1)).tolist() == [1, 1]
    assert K.int_shape(K.squeeze(K.expand_dims(x, 0), 0)) == (2, 2)
    assert float(K.switch(tf.size(x) > 0, tf.constant(1.0), tf.constant(2.0))) == 1.0
    loss = K.binary_crossentropy(target=tf.constant([1.0]), output=tf.constant([0.5]))
    assert float(loss[0]) == pytest.approx(np.log(2), rel=1e-5)


def test_layers_of_the_old_engine():
    class Twice(modellib.KE.Layer):
        def call(self, inputs):
            return 2 * inputs

    assert isinstance(Twice(), keras.layers.Layer)
    assert float(Twice()(tf.constant(3.0))) == 6.0


@pytest.mark.parametrize("module", [modellib, utils, visualize], ids=lambda m: m.__name__)
def test_other_names_do_not_exist(module):
    with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'KX'"):
        module.KX  # noqa: B018


def test_nothing_is_imported_before_it_is_asked_for():
    code = "import sys, mrcnn.utils as u; print('skimage' in sys.modules, u.np, 'tensorflow' in "
    code += "sys.modules); u.tf; print('tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("False <module 'numpy'") and first.endswith("False")
    assert second == "True"
