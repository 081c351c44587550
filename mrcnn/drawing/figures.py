"""Matplotlib figures: opened for a file or for the screen, written whole, never leaked.

A picture that goes to a file is drawn on a figure that pyplot never hears of: no display is needed
and nothing has to be closed. A picture for the screen is a pyplot figure, as scripts expect.
"""

import os
import weakref
from contextlib import contextmanager
from pathlib import Path

from mrcnn.files import replacing

DPI = 100
TITLE_INCHES = 0.45
GAP_INCHES = 0.1

# Backends that only write files: plt.show() does nothing there, and pyplot keeps every figure.
_FILE_BACKENDS = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}

_last_shown = None


@contextmanager
def canvas(figsize, *, ax=None, save_to=None, show=False, layout=None):
    """The figure to draw on, as a context: saved or shown when the block ends.

    With `ax` it is the figure of those axes and stays the caller's: it is saved if asked, but
    neither shown nor closed. With `save_to` alone it is a figure outside pyplot. With neither it
    is a new pyplot figure, which is the current one after the block, so that `plt.savefig` works;
    under a backend that writes files it replaces the one that the last call opened, so that a loop
    over a thousand images keeps one figure, not a thousand.

    Args:
        figsize: (width, height) in inches of a new figure.
        ax: Matplotlib axes of the caller, or None.
        save_to: path of the picture to write, or None.
        show: call `plt.show()` on a new pyplot figure at the end.
        layout: Matplotlib layout engine of a new figure, such as "constrained".
    """
    if ax is not None:
        figure = ax.figure.figure  # the whole figure, where the axes sit in a part of one
        yield figure
        if save_to is not None:
            save_figure(figure, save_to)
    elif save_to is not None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=figsize, dpi=DPI, layout=layout)
        FigureCanvasAgg(figure)
        yield figure
        save_figure(figure, save_to)
        figure.clear()  # breaks reference cycles, so that the arrays go now and not at the next gc
    else:
        import matplotlib.pyplot as plt

        figure = _pyplot_figure(figsize, layout)
        try:
            yield figure
        except BaseException:
            plt.close(figure)
            raise
        if show and not _writes_files_only():
            plt.show()


@contextmanager
def image_canvas(figsize, image_shape, title, *, ax=None, save_to=None, show=False):
    """Axes for one image, as a context that behaves like `canvas`.

    Args:
        figsize: (width, height) in inches; of a picture for a file, the limits.
        image_shape: (height, width, ...) pixels.
        title: the text that the image will have above it, or "".
        ax: Matplotlib axes of the caller, or None.
        save_to: path of the picture to write, or None.
        show: call `plt.show()` on a new pyplot figure at the end.
    """
    to_file = ax is None and save_to is not None
    if to_file:
        figsize = fitted_size(figsize, image_shape, title=bool(title))
    with canvas(figsize, ax=ax, save_to=save_to, show=show) as figure:
        if to_file:
            yield image_axes(figure, title=bool(title))[0]
        else:
            yield figure.subplots() if ax is None else ax


def _writes_files_only() -> bool:
    import matplotlib

    return matplotlib.get_backend().lower() in _FILE_BACKENDS


def _pyplot_figure(figsize, layout):
    """A new current pyplot figure; closes the last one of ours where nobody can see it."""
    global _last_shown
    import matplotlib.pyplot as plt

    previous = _last_shown() if _last_shown is not None else None
    if previous is not None and _writes_files_only():
        plt.close(previous)
    figure = plt.figure(figsize=figsize, layout=layout)
    _last_shown = weakref.ref(figure)
    return figure


def save_figure(figure, path: str | os.PathLike) -> None:
    """Write a figure to a file as a whole, making its folder where needed.

    Args:
        figure: Matplotlib figure.
        path: file name; its ending chooses the format (png where there is none).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        figure.savefig(partial, dpi="figure", format=path.suffix[1:].lower() or "png")


def fitted_size(figsize, image_shape, panels: int = 1, title: bool = False):
    """The largest (width, height) in inches within figsize that images side by side fill.

    Args:
        figsize: (width, height) limits in inches.
        image_shape: (height, width, ...) of every image, pixels.
        panels: number of images in the row.
        title: leave a band for a line of text above the images.
    """
    height, width = image_shape[:2]
    gaps, band = (panels - 1) * GAP_INCHES, TITLE_INCHES * title
    scale = min((figsize[0] - gaps) / (panels * width), (figsize[1] - band) / height)
    return panels * width * scale + gaps, height * scale + band


def image_axes(figure, panels: int = 1, title: bool = False) -> list:
    """Axes without frames that fill a figure of `fitted_size`, left to right."""
    gap = GAP_INCHES / figure.get_figwidth()
    top = 1 - TITLE_INCHES * title / figure.get_figheight()
    width = (1 - (panels - 1) * gap) / panels
    return [figure.add_axes((i * (width + gap), 0, width, top)) for i in range(panels)]
