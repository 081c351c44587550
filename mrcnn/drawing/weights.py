"""The weights of a model as a table and as histograms."""

import itertools
import re
import sys

import numpy as np

from mrcnn.drawing.charts import TRAIN_COLOR
from mrcnn.drawing.figures import grid_canvas

# A weight beyond this size has most likely diverged; trained ones are a hundred times smaller.
_OVERFLOW_SIZE = 1000


def display_table(table) -> None:
    """Show a list of rows of cells, which may hold HTML: a table in notebooks, text elsewhere."""
    rows = [[str(cell) for cell in row] for row in table]
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from IPython.display import HTML, display

        lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
        html = "".join(f"<tr>{line}</tr>" for line in lines)
        display(HTML(f"<table>{html}</table>"))
        return
    # Cells may carry HTML for notebooks; a terminal gets the text alone.
    rows = [[re.sub(r"</?[a-z][^<>]*>", "", cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in itertools.zip_longest(*rows, fillvalue="")]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        print("  ".join(cells).rstrip())


def display_weight_stats(model) -> None:
    """Show shape, range and spread of every weight of a `MaskRCNN` or a Keras model, and warnings.

    "dead?": all values are equal, as in a weight that was never trained (biases are exempt, they
    start equal). "not finite" and "overflow?" (a size over 1000, except moving statistics): the
    training has diverged.
    """
    rows = [["WEIGHT NAME", "SHAPE", "MIN", "MAX", "STD", ""]]
    for name, values in _weights(model):
        verdict = _verdict(name, values)
        numbers = [f"{values.min():+10.4f}", f"{values.max():+10.4f}", f"{values.std():+9.4f}"]
        marked = f"<span style='color:red'>{verdict}</span>" if verdict else ""
        rows.append([name, str(tuple(values.shape)), *numbers, marked])
    display_table(rows)


def plot_weight_histograms(model, weight_regex=".*/kernel", *, save_to=None) -> None:
    """Draw the distribution of the values of weights, one small chart per weight.

    Values that are not finite are left out.

    Args:
        model: a `MaskRCNN`, or any Keras model.
        weight_regex: matches whole names as `display_weight_stats` lists them: layer/weight.

    Raises:
        ValueError: if no weight has such a name.
    """
    chosen = [(n, values) for n, values in _weights(model) if re.fullmatch(weight_regex, n)]
    if not chosen:
        raise ValueError(f"no weight has a name that matches {weight_regex!r} as a whole")
    with grid_canvas(len(chosen), min(4, len(chosen)), (3.4, 2.1), save_to=save_to) as axes:
        for ax, (name, values) in zip(axes, chosen, strict=True):
            # Between neighbours in float32, such as a gamma that has hardly learned, no bins fit.
            finite = values[np.isfinite(values)].astype(np.float64)
            ax.hist(finite, bins=50, color=TRAIN_COLOR)
            ax.set_title(f"{name}, std {finite.std():.3g}", fontsize=9)
            ax.set_yticks([])
            ax.locator_params(axis="x", nbins=5)
            ax.tick_params(labelsize=8)


def _weights(model):
    """Yield (layer/weight, values) of every weight of a `MaskRCNN` or a Keras model."""
    if hasattr(model, "get_trainable_layers"):
        layers = model.get_trainable_layers()
    else:
        layers = [layer for layer in model.layers if layer.weights]
    for layer in layers:
        for weight, values in zip(layer.weights, layer.get_weights(), strict=True):
            yield f"{layer.name}/{weight.name.split(':')[0].split('/')[-1]}", values


def _verdict(name, values) -> str:
    if not np.isfinite(values).all():
        return "not finite"
    # Moving statistics are those of a layer's outputs, which may well be large.
    if "/moving_" not in name and np.abs(values).max() > _OVERFLOW_SIZE:
        return "overflow?"
    if values.min() == values.max() and not name.endswith("/bias"):
        return "dead?"
    return ""
