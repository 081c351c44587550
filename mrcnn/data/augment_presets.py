"""Ready augmentations by name: random flips, zoom, shifts, turns and colours.

Made of NumPy and OpenCV, because Keras's layers take tens of milliseconds per image, one image at a
time, and this takes a few on every thread.
"""

import math
from typing import NamedTuple

import numpy as np

# Draws of a geometric change until an object stays in the image.
_TRIES = 10
# OpenCV fills what lies outside of an image in up to four channels.
_CV_CHANNELS = 4


class Preset(NamedTuple):
    """The limits of random changes; each is drawn anew for every image.

    Attributes:
        flip: probability of a flip from left to right.
        scale: zoom factors, lowest and highest. What is zoomed in is cut at a random place, what is
            zoomed out is put at a random place on black.
        shift: further shift, as a fraction of height and width.
        rotate: degrees, to both sides.
        gain, gamma, saturation: relative changes; 0.2 stands for factors (and, for gamma,
            exponents) from 1 / 1.2 to 1.2.
        hue: degrees of the colour circle, to both sides.
    """

    flip: float = 0.5
    scale: tuple[float, float] = (0.8, 1.25)
    shift: float = 0.0
    rotate: float = 0.0
    gain: float = 0.2
    gamma: float = 0.2
    saturation: float = 0.2
    hue: float = 0.0

    def __call__(
        self, image: np.ndarray, masks: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Change an image and its masks; at least one instance stays in the image.

        Args:
            image: `[H, W, channels]`. Colours change in uint8 RGB images only.
            masks: `[H, W, K]` uint8 of any bits.
            rng: source of all random numbers.

        Returns:
            New arrays of the same shapes and types.
        """
        if rng.random() < self.flip:
            image, masks = image[:, ::-1], masks[:, ::-1]
        for _ in range(_TRIES):
            matrix = self._draw_matrix(image.shape, rng)
            moved = _warp(masks, matrix, smooth=False)
            if moved.any() or not masks.any():
                image, masks = _warp(image, matrix, smooth=True), moved
                break
        if image.dtype == np.uint8 and image.shape[2] == 3:
            image = self._change_colours(image, rng)
        return np.ascontiguousarray(image), np.ascontiguousarray(masks)

    def _draw_matrix(self, shape, rng):
        """Draw a map `[2, 3]` from places (x, y) of the image to those of the result."""
        size = np.array([shape[1], shape[0]], float)
        scale = math.exp(rng.uniform(*np.log(self.scale)))
        angle = math.radians(rng.uniform(-self.rotate, self.rotate))
        turn = scale * np.array(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        )
        centre = (size - 1) / 2
        shift = rng.uniform(-1, 1, 2) * (abs(scale - 1) / 2 + self.shift) * size
        return np.column_stack([turn, centre + shift - turn @ centre])

    def _change_colours(self, image, rng):
        gain, gamma, saturation = (
            (1 + limit) ** rng.uniform(-1, 1) for limit in (self.gain, self.gamma, self.saturation)
        )
        # Black, which is the padding too, stays black.
        curve = gain * 255 * (np.arange(256) / 255) ** gamma
        image = np.round(curve).clip(0, 255).astype(np.uint8)[image]
        hue = math.radians(rng.uniform(-self.hue, self.hue))
        return _mix_channels(image, _colour_matrix(saturation, hue))


PRESETS = {
    "default": Preset(),
    "strong": Preset(
        scale=(0.6, 1.67), shift=0.1, rotate=15, gain=0.4, gamma=0.3, saturation=0.5, hue=15
    ),
}


def _colour_matrix(saturation, hue):
    """Return the map `[3, 3]` of RGB that turns colours about grey and scales their distance."""
    third, root = 1 / 3, math.sqrt(1 / 3)
    grey = np.full((3, 3), third)
    cross = root * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return grey + saturation * (math.cos(hue) * (np.eye(3) - grey) + math.sin(hue) * cross)


def _mix_channels(image, matrix):
    """Multiply each colour of `[H, W, 3]` uint8 by `matrix [3, 3]`."""
    try:
        import cv2
    except ImportError:
        # Not `@`: on a busy machine, BLAS may wait for its threads for longer than it computes.
        mixed = np.einsum("hwc,dc->hwd", image, matrix)
        return np.rint(mixed).clip(0, 255).astype(np.uint8)
    return cv2.transform(image, matrix)


def _warp(array, matrix, smooth):
    """Move the pixels of `[H, W, channels]`; what comes from outside is 0.

    `smooth` mixes neighbouring pixels; without it, pixels are copied.
    """
    height, width = array.shape[:2]
    try:
        import cv2
    except ImportError:
        from skimage import transform

        inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
        moved = transform.warp(array, inverse, order=int(smooth), preserve_range=True)
        is_integer = array.dtype.kind in "ui"
        return (np.rint(moved) if is_integer else moved).astype(array.dtype)
    flags = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    known = array if array.dtype in (np.uint8, np.uint16, np.float32) else array.astype(np.float64)
    parts = [
        cv2.warpAffine(
            np.ascontiguousarray(known[..., start : start + _CV_CHANNELS]),
            matrix,
            (width, height),
            flags=flags,
        ).reshape(height, width, -1)
        for start in range(0, array.shape[2], _CV_CHANNELS)
    ]
    moved = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
    return moved.astype(array.dtype)
