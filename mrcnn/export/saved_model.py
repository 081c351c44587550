"""TensorFlow's SavedModel: any size, any batch."""

import json
import os

import tensorflow as tf

# Where a SavedModel keeps files that TensorFlow does not read.
METADATA = os.path.join("assets.extra", "metadata.json")


def export(serving, path, metadata):
    """Write the folder of a SavedModel, with the signature "serving_default".

    Args:
        serving: a `Serving`.
        path: the folder to make.
        metadata: dict of texts, written into the file `METADATA`.
    """
    # Not by `keras.export`, which writes all weights twice.
    module = tf.Module()
    module.weights = [variable.value for variable in serving.model.variables]
    module.serve = serving.function
    tf.saved_model.save(module, path, signatures={"serving_default": serving.function})
    os.makedirs(os.path.dirname(os.path.join(path, METADATA)))
    with open(os.path.join(path, METADATA), "w", encoding="utf-8") as file:
        json.dump(metadata, file)


def load(path):
    """Return a function from a photo to a dict of NumPy arrays, run by TensorFlow."""
    model = tf.saved_model.load(path)
    run = model.signatures["serving_default"]

    def detect(image):
        outputs = run(image=tf.constant(image))
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    # The variables live as long as the object that was loaded.
    detect.model = model
    return detect
