"""Frames of video files and cameras, by OpenCV."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from mrcnn import limits

_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .wmv .flv .3gp .mts .m2ts .ogv".split()
)
# Of cameras and files that do not say theirs.
_USUAL_RATE = 25.0
# Share of the frames that a header may promise too many: in some formats it has the duration only,
# and the number is an estimate.
_ESTIMATE = 0.01


def is_video(path: str) -> bool:
    """Return True for the name of a video file."""
    return os.path.splitext(path)[1].lower() in _SUFFIXES


class Video:
    """A video file or a camera.

    Args:
        path: of the file, or the number of the camera, 0 for the first.
        name: for the files made of it, without a suffix.

    Attributes:
        count: number of frames by the header; None for a camera, and where it is not known.
        rate: frames per second.
        read: number of frames read so far.
        fault: None, or a sentence that names a file that could not be opened or that ended early.
    """

    def __init__(self, path: str | int, name: str):
        self.path, self.name = path, name
        self.is_camera = isinstance(path, int)
        self.read, self.fault, self.count, self.rate = 0, None, None, _USUAL_RATE
        if not self.is_camera:
            # The first image is read later; a camera is opened once only.
            capture = self._open()
            if capture is not None:
                capture.release()

    def _open(self):
        """Return the `cv2.VideoCapture`, or None where there is none, with `fault` set."""
        # FFmpeg writes its own lines; what matters is in `fault`.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        import cv2

        if not self.is_camera and not os.path.isfile(self.path):
            self.fault = f'There is no file "{self.path}".'
            return None
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(0)
        try:
            capture = cv2.VideoCapture(self.path)
        finally:
            cv2.utils.logging.setLogLevel(level)
        if not capture.isOpened():
            capture.release()
            file = (
                f'"{self.path}" cannot be read as a video: it is damaged, or of an unknown format.'
            )
            self.fault = f"There is no camera {self.path}." if self.is_camera else file
            return None
        size = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if size[0] * size[1] > limits.MAX_IMAGE_PIXELS:
            capture.release()
            self.fault = (
                f'"{self.path}" has frames of {size[0]:.0f}x{size[1]:.0f} pixels (width x height), '
                f"more than mrcnn.limits.MAX_IMAGE_PIXELS = {limits.MAX_IMAGE_PIXELS}."
            )
            return None
        self.rate = _positive(capture.get(cv2.CAP_PROP_FPS)) or _USUAL_RATE
        if not self.is_camera:
            self.count = int(_positive(capture.get(cv2.CAP_PROP_FRAME_COUNT))) or None
        return capture

    def frames(self) -> Iterator[np.ndarray]:
        """Yield frames, `[height, width, 3]` uint8 RGB, turned as the file says.

        A file that ends before the number of frames in its header, but for an estimate's error, or
        that has no frame at all, gets a `fault`.
        """
        import cv2

        self.read, self.fault = 0, None
        capture = self._open()
        if capture is None:
            return
        try:
            while True:
                is_read, frame = capture.read()
                if not is_read:
                    break
                self.read += 1
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            capture.release()
        if self.is_camera:
            self.fault = f"Camera {self.path} gave no more frames after {self.read}."
        elif self.read < (self.count or 1) - max(1, _ESTIMATE * (self.count or 1)) or not self.read:
            self.fault = (
                f'"{self.path}" ends early: {self.read} of {self.count or "its"} frames can be '
                "read; the file is damaged or not whole."
            )


def _positive(value):
    """Return a number that OpenCV gives, 0 for those of unknown meaning."""
    return value if 0 < value < 1e9 else 0
