"""Charts and tables: precision against recall, overlaps, losses, weights."""

import re

import numpy as np

from mrcnn.drawing.figures import canvas

TRAIN_COLOR, VAL_COLOR = "tab:blue", "tab:orange"

# A weight beyond this size has most likely run away; trained ones are smaller by two orders.
OVERFLOW_SIZE = 1000


def plot_precision_recall(AP, precisions, recalls, *, save_to=None) -> None:
    """Draw precision against recall.

    Args:
        AP: average precision at IoU 0.5, for the title.
        precisions: [n] precision at each step, as `utils.compute_ap` returns.
        recalls: [n] recall at each step.
        save_to: path of the picture to write; None draws a pyplot figure.
    """
    with canvas((6, 5), save_to=save_to, layout="constrained") as figure:
        ax = figure.subplots()
        ax.plot(recalls, precisions, color=TRAIN_COLOR)
        ax.fill_between(recalls, precisions, color=TRAIN_COLOR, alpha=0.15)
        ax.set(xlim=(0, 1.05), ylim=(0, 1.05), xlabel="recall", ylabel="precision")
        ax.set_title(f"Precision-Recall Curve. AP@50 = {AP:.3f}")
        ax.grid(alpha=0.3)


def plot_overlaps(
    gt_class_ids,
    pred_class_ids,
    pred_scores,
    overlaps,
    class_names,
    threshold=0.5,
    *,
    save_to=None,
) -> None:
    """Draw the table of IoUs between detections (rows) and ground truth (columns).

    Cells above the threshold also say whether the classes are the same.

    Args:
        gt_class_ids: [G] class ids; zeros (padding) are left out.
        pred_class_ids: [P] class ids.
        pred_scores: [P] scores.
        overlaps: [P, G] IoU of each detection with each object.
        class_names: names by class id.
        threshold: IoU from which on a cell is judged.
        save_to: path of the picture to write; None draws a pyplot figure.

    Raises:
        ValueError: overlaps has not one row a detection and one column an object.
    """
    gt_class_ids = np.asarray(gt_class_ids)
    gt_class_ids = gt_class_ids[gt_class_ids != 0]
    overlaps = np.asarray(overlaps, np.float64)
    expected = (len(pred_class_ids), len(gt_class_ids))
    if overlaps.shape != expected:
        raise ValueError(
            f"overlaps has shape {overlaps.shape}; {expected[0]} detections and {expected[1]} "
            f"ground truth objects need {expected}"
        )
    rows = [f"{class_names[c]} ({s:.2f})" for c, s in zip(pred_class_ids, pred_scores, strict=True)]
    columns = [class_names[c] for c in gt_class_ids]
    size = (min(3 + 0.8 * len(columns), 20), min(2 + 0.5 * len(rows), 20))
    with canvas(size, save_to=save_to, layout="constrained") as figure:
        ax = figure.subplots()
        ax.set_title("IoU of detections with ground truth")
        ax.set(xlabel="ground truth", ylabel="detections")
        if not overlaps.size:
            ax.set_axis_off()
            ax.set_title(f"{len(rows)} detections, {len(columns)} ground truth objects")
            return
        ax.imshow(overlaps, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        ax.set_yticks(range(len(rows)), rows)
        ax.set_xticks(range(len(columns)), columns, rotation=90)
        for (i, j), iou in np.ndenumerate(overlaps):
            verdict = ""
            if iou > threshold:
                verdict = "\nmatch" if gt_class_ids[j] == pred_class_ids[i] else "\nwrong"
            shade = "white" if iou > 0.6 else "black"
            ax.text(j, i, f"{iou:.2f}{verdict}", ha="center", va="center", fontsize=9, color=shade)


def plot_losses(history, *, first_epoch=None, save_to=None) -> None:
    """Draw each loss over the epochs, one small chart a loss, training beside validation.

    Args:
        history: dict of name -> one value an epoch, or an object with such a dict as `.history`
            (what `train` returns). `val_<name>` is drawn in the chart of `<name>`. The epochs
            are those of an `.epoch` list (0 first) where the object has one, else 1, 2, 3...
        first_epoch: number of the first epoch, for a dict that does not begin with epoch 1.
        save_to: path of the picture to write; None draws a pyplot figure.

    Raises:
        ValueError: there is nothing to draw.
    """
    curves = getattr(history, "history", history)
    names = [name for name in curves if name.removeprefix("val_") == name or name[4:] not in curves]
    if not any(len(curves[name]) for name in names):
        raise ValueError("the history has no values to draw: it holds one list a loss, all empty")
    first_epoch = first_epoch or (getattr(history, "epoch", None) or [0])[0] + 1
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    size = (3.6 * columns, 2.6 * rows)
    with canvas(size, save_to=save_to, layout="constrained") as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax in axes[len(names) :]:
            ax.set_axis_off()
        for ax, name in zip(axes, names, strict=False):
            for curve in (name, f"val_{name}"):
                if curve in curves:
                    _curve(ax, curve, curves[curve], first_epoch)
            ax.set_title(name, fontsize=10)
            if ax.dataLim.ymin >= 0:
                # From zero on, so that the slopes of two charts can be compared.
                ax.set_ylim(0, 1.1 * ax.dataLim.ymax or None)
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.tick_params(labelsize=8)
            ax.grid(alpha=0.3)
        for ax in axes[max(0, len(names) - columns) : len(names)]:
            ax.set_xlabel("epoch", fontsize=9)
        axes[0].legend(fontsize=8, frameon=False)


def _curve(ax, name, values, first_epoch):
    validation = name.startswith("val_")
    color, label = (VAL_COLOR, "validation") if validation else (TRAIN_COLOR, "training")
    epochs = np.arange(first_epoch, first_epoch + len(values))
    # One value makes no line: it needs a dot to be seen.
    marker = "o" if len(values) < 20 else ""
    ax.plot(epochs, values, color=color, label=label, marker=marker, markersize=3)


class _Table:
    """Rows of cells that a notebook shows as HTML and everything else as text."""

    def __init__(self, table):
        self.rows = [[str(cell) for cell in row] for row in table]

    def _repr_html_(self):
        rows = ("".join(f"<td>{cell}</td>" for cell in row) for row in self.rows)
        return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"

    def __repr__(self):
        # Cells may carry HTML for notebooks; a terminal is better off without the tags.
        rows = [[re.sub(r"</?[a-z][^<>]*>", "", cell) for cell in row] for row in self.rows]
        widths = {}
        for row in rows:
            for i, cell in enumerate(row):
                widths[i] = max(widths.get(i, 0), len(cell))
        lines = ("  ".join(c.ljust(widths[i]) for i, c in enumerate(row)).rstrip() for row in rows)
        return "\n".join(lines)


def display_table(table) -> None:
    """Show a table: as HTML in a notebook, as aligned text elsewhere or without IPython.

    Args:
        table: list of rows, each a list of cells; cells may hold HTML.
    """
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        shell = None
    else:
        shell = get_ipython()
    if shell is None:
        print(_Table(table))
    else:
        display(_Table(table))


def display_weight_stats(model) -> None:
    """Show the shape, range and spread of every weight, and point at the suspicious ones.

    All values equal means that a weight was never trained (biases are exempt, they start equal);
    not a number, or a size over 1000 (but for moving statistics), that training has diverged.

    Args:
        model: a `MaskRCNN`, or any Keras model.
    """
    rows = [["WEIGHT NAME", "SHAPE", "MIN", "MAX", "STD", ""]]
    for name, values in _weights(model):
        verdict = _verdict(name, values)
        rows.append(
            [
                name,
                str(tuple(values.shape)),
                f"{values.min():+10.4f}",
                f"{values.max():+10.4f}",
                f"{values.std():+9.4f}",
                f"<span style='color:red'>{verdict}</span>" if verdict else "",
            ]
        )
    display_table(rows)


def plot_weight_histograms(model, weight_regex=".*/kernel", *, save_to=None) -> None:
    """Draw how the values of weights are spread, one small chart a weight.

    Values that are no finite numbers are left out.

    Args:
        model: a `MaskRCNN`, or any Keras model.
        weight_regex: of whole names as `display_weight_stats` lists them: layer/weight.
        save_to: path of the picture to write; None draws a pyplot figure.

    Raises:
        ValueError: no weight has such a name.
    """
    chosen = [(n, values) for n, values in _weights(model) if re.fullmatch(weight_regex, n)]
    if not chosen:
        raise ValueError(f"no weight has a name that matches {weight_regex!r} as a whole")
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    with canvas((3.4 * columns, 2.1 * rows), save_to=save_to, layout="constrained") as figure:
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax in axes[len(chosen) :]:
            ax.set_axis_off()
        for ax, (name, values) in zip(axes, chosen, strict=False):
            # Between neighbours in float32, such as a gamma that has hardly learned, no bins fit.
            finite = values[np.isfinite(values)].astype(np.float64)
            ax.hist(finite, bins=50, color=TRAIN_COLOR)
            ax.set_title(f"{name}, std {finite.std():.3g}", fontsize=9)
            ax.set_yticks([])
            ax.locator_params(axis="x", nbins=5)
            ax.tick_params(labelsize=8)


def _weights(model):
    """(layer/weight, values) of every weight of a `MaskRCNN` or a Keras model."""
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
    if "/moving_" not in name and np.abs(values).max() > OVERFLOW_SIZE:
        return "overflow?"
    if values.min() == values.max() and not name.endswith("/bias"):
        return "dead?"
    return ""
