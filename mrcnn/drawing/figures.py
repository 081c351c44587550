"""Matplotlib figures: opened for a file or for the screen, written whole, never leaked.

A picture for a file is drawn on a figure outside pyplot, which needs no display and no closing. A
picture for the screen is a pyplot figure, as scripts expect.
"""

import weakref
from contextlib import contextmanager
from pathlib import Path

from mrcnn.files import replacing

DPI = 100
TITLE_INCHES = 0.45
GAP_INCHES = 0.1

# Pixels of the longer side below which a saved image is magnified, so that captions have room.
_READABLE = 400

# Backends that only write files: plt.show() does nothing there, and pyplot keeps every figure.
_FILE_BACKENDS = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}

_last_shown = None


@contextmanager
def canvas(figsize, *, ax=None, save_to=None, show=False, layout=None):
    """Open a figure to draw on, and save or show it when the block ends.

    With `ax` it is the figure of those axes, which the caller shows and closes. With `save_to`
    alone it is a figure outside pyplot. With neither it is a new pyplot figure, which is the
    current one after the block, so that `plt.savefig` works; under a backend that only writes files
    it replaces the figure of the last call, so that a loop over a thousand images keeps one figure.

    Args:
        show: call `plt.show()` on a new pyplot figure at the end.
        layout: Matplotlib layout engine of a new figure, such as "constrained".
        The others: see `mrcnn.drawing`.
    """
    if ax is not None:
        # The whole figure, where the axes are in a subfigure.
        figure = ax.figure.figure
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
        # Breaks reference cycles, so that the arrays are freed now, not at the next collection.
        figure.clear()
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
def image_canvas(
    figsize, image_shape, *, own=False, title=False, panels=1, ax=None, save_to=None, show=False
):
    """Open axes for images of one size side by side; otherwise as `canvas`.

    Args:
        figsize: (width, height) in inches; of a file or of several panels, the limits.
        own: save the images in their own pixels, see `own_size`, if they fit into `figsize`.
        image_shape: (height, width, ...) pixels.
        title: leave a band for a line of text above the images.
        panels: number of images in the row.
        ax, save_to, show: see `canvas`.

    Yields:
        List of Matplotlib axes from left to right.
    """
    fitted = ax is None and (panels > 1 or save_to is not None)
    if fitted:
        size = own_size if own and save_to is not None else fitted_size
        figsize = size(figsize, image_shape, panels, title)
    with canvas(figsize, ax=ax, save_to=save_to, show=show) as figure:
        if fitted:
            yield image_axes(figure, panels, title)
        else:
            yield [figure.subplots() if ax is None else ax]


@contextmanager
def grid_canvas(count, columns, cell, *, save_to=None, show=False):
    """Open axes in a grid, row by row; otherwise as `canvas`.

    Args:
        count: number of axes; the rest of the last row stays blank.
        columns: axes per row.
        cell: (width, height) in inches of each.
        save_to, show: see `canvas`.

    Yields:
        `[count]` array of Matplotlib axes.
    """
    rows = max(1, -(-count // columns))
    size = (columns * cell[0], rows * cell[1])
    with canvas(size, save_to=save_to, show=show, layout="constrained") as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax in axes[count:]:
            ax.set_axis_off()
        yield axes[:count]


def _writes_files_only() -> bool:
    import matplotlib

    return matplotlib.get_backend().lower() in _FILE_BACKENDS


def _pyplot_figure(figsize, layout):
    """Open a new current pyplot figure; close our last one where no window shows it."""
    global _last_shown
    import matplotlib.pyplot as plt

    previous = _last_shown() if _last_shown is not None else None
    if previous is not None and _writes_files_only():
        plt.close(previous)
    figure = plt.figure(figsize=figsize, layout=layout)
    _last_shown = weakref.ref(figure)
    return figure


def save_figure(figure, path) -> None:
    """Write a figure to a file, whole or not at all.

    The ending of `path` chooses the format (png without one), and missing folders are made. An open
    binary file gets a png.
    """
    if hasattr(path, "write"):
        figure.savefig(path, dpi="figure", format="png")
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        figure.savefig(partial, dpi="figure", format=path.suffix[1:].lower() or "png")


def fitted_size(figsize, image_shape, panels: int = 1, title: bool = False):
    """Return the largest (width, height) in inches within `figsize` that the images fill.

    Arguments are those of `image_canvas`.
    """
    height, width = image_shape[:2]
    gaps, band = (panels - 1) * GAP_INCHES, TITLE_INCHES * title
    scale = min((figsize[0] - gaps) / (panels * width), (figsize[1] - band) / height)
    return panels * width * scale + gaps, height * scale + band


def magnification(image_shape) -> int:
    """Return the whole number by which a saved image is magnified: above 1 for small ones."""
    return max(1, -(-_READABLE // max(image_shape[:2])))


def own_size(limit, image_shape, panels: int = 1, title: bool = False):
    """Return the (width, height) in inches at which images have their own pixels.

    Small images are magnified by a whole number, large ones reduced to the limit. Arguments are
    those of `image_canvas`.
    """
    height, width = image_shape[:2]
    factor = magnification(image_shape)
    gaps, band = (panels - 1) * GAP_INCHES, TITLE_INCHES * title
    size = panels * width * factor / DPI + gaps, height * factor / DPI + band
    if size[0] > limit[0] or size[1] > limit[1]:
        return fitted_size(limit, image_shape, panels, title)
    # Matplotlib rounds down, and 4.35 inches are 434.99 pixels.
    return tuple(side + 1e-6 for side in size)


def image_axes(figure, panels: int = 1, title: bool = False) -> list:
    """Add axes without frames that fill a figure of `fitted_size`, from left to right."""
    gap = GAP_INCHES / figure.get_figwidth()
    top = 1 - TITLE_INCHES * title / figure.get_figheight()
    width = (1 - (panels - 1) * gap) / panels
    return [figure.add_axes((i * (width + gap), 0, width, top)) for i in range(panels)]
