"""Models for other runtimes: SavedModel, ONNX, OpenVINO, LiteRT."""
