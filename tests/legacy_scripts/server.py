"""A web service with one model for all its threads, with the fix that Keras 2 needed for it.

The other fix of that time, `graph = tf.get_default_graph()` and `with graph.as_default():`, is of
TensorFlow 1 and has to be deleted.
"""
# ruff: noqa

import io
import json
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import numpy as np
import mrcnn.model as modellib
from mrcnn.config import Config
from PIL import Image


class ServingConfig(Config):
    NAME = "serving"
    GPU_COUNT = 1
    IMAGES_PER_GPU = 1
    NUM_CLASSES = 1 + 2
    DETECTION_MIN_CONFIDENCE = 0
    DETECTION_MAX_INSTANCES = 10
    # Small, so that this takes seconds.
    BACKBONE = "small"
    IMAGE_MIN_DIM = IMAGE_MAX_DIM = 64
    RPN_ANCHOR_SCALES = (8, 16, 24, 32, 48)
    TOP_DOWN_PYRAMID_SIZE = 16
    FPN_CLASSIF_FC_LAYERS_SIZE = 32
    POST_NMS_ROIS_INFERENCE = 50


model = modellib.MaskRCNN(mode="inference", model_dir="logs", config=ServingConfig())
model.load_weights("mask_rcnn_serving.h5", by_name=True)
model.keras_model._make_predict_function()


def application(environ, start_response):
    global model
    size = int(environ.get("CONTENT_LENGTH") or 0)
    image = np.array(Image.open(io.BytesIO(environ["wsgi.input"].read(size))))
    r = model.detect([image], verbose=0)[0]
    answer = {
        "rois": r["rois"].tolist(),
        "class_ids": r["class_ids"].tolist(),
        "scores": r["scores"].tolist(),
        "areas": r["masks"].sum(axis=(0, 1)).tolist(),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]


class ThreadedServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *args):
        pass


if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, application, ThreadedServer, QuietHandler)
    print(server.server_port, flush=True)
    server.serve_forever()
