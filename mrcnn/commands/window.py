"""The window of `--show`."""

import contextlib
import os
import sys

_TITLE = "mrcnn"
_QUIT = (ord("q"), 27)
# Milliseconds between looks at keys and at the window itself.
_LOOK = 50


def check_screen():
    """Raise RuntimeError where there is no screen: OpenCV would end the program without a word."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in screens):
        raise RuntimeError("--show needs a screen, and this machine or session has none.")


class Window:
    """A window that shows one picture after the other. A context manager.

    Args:
        is_shown: False shows nothing.
    """

    def __init__(self, is_shown):
        self.is_shown = is_shown

    def show(self, picture, wait):
        """Show a picture.

        Args:
            picture: `[height, width, 3]` uint8 RGB; None without a window.
            wait: True waits for a key, as after a photo, but not after a frame of a video.

        Returns:
            False once q or Escape was pressed, or the window was closed.
        """
        if not self.is_shown:
            return True
        import cv2

        try:
            cv2.imshow(_TITLE, picture[..., ::-1])
            key = cv2.waitKey(_LOOK if wait else 1)
            while wait and key == -1 and self._is_open(cv2):
                key = cv2.waitKey(_LOOK)
            return key not in _QUIT and self._is_open(cv2)
        except cv2.error:
            raise RuntimeError(
                "--show needs an OpenCV with windows, which opencv-python-headless does not have."
            ) from None

    def _is_open(self, cv2):
        return cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.is_shown:
            import cv2

            with contextlib.suppress(cv2.error):
                cv2.destroyAllWindows()
