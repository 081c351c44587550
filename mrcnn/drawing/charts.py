"""Charts of a training and of an evaluation: losses, precision over recall, overlaps, confusion."""

import numpy as np

from mrcnn.constants import LOSS_NAMES
from mrcnn.drawing.figures import grid_canvas

TRAIN_COLOR, VAL_COLOR = "tab:blue", "tab:orange"

# Beyond this many classes, numbers in cells would be too small to read.
_MOST_CELLS = 30


def curve_names(logs) -> list[str]:
    """Return the names in logs of an epoch without "val_": the total, its five parts, others."""
    names = dict.fromkeys(name.removeprefix("val_") for name in logs)
    first = [name for name in ("loss", *LOSS_NAMES) if name in names]
    return [*first, *(name for name in names if name not in first)]


def plot_losses(history, first_epoch=None, *, save_to=None) -> None:
    """Draw each loss over the epochs, one small chart per loss, training beside validation.

    The total comes first, then its parts, then all other values, as in `losses.png` of a run.

    Args:
        history: the `keras.callbacks.History` that `train` returns, or a dict from name to one
            value per epoch, NaN for a gap. `val_<name>` is drawn in the chart of `<name>`.
        first_epoch: number of the first value; by default that of the History, or 1 for a dict.

    Raises:
        ValueError: if there is nothing to draw.
    """
    curves = getattr(history, "history", history)
    names = curve_names(curves)
    if not any(map(len, curves.values())):
        raise ValueError("the history has no values to draw: it holds one list per loss, all empty")
    if first_epoch is None:
        # Keras counts epochs from 0.
        first_epoch = (getattr(history, "epoch", None) or [0])[0] + 1
    columns = min(3, len(names))
    with grid_canvas(len(names), columns, (3.6, 2.6), save_to=save_to) as axes:
        for ax, name in zip(axes, names, strict=True):
            for curve in (name, f"val_{name}"):
                if curve in curves:
                    _curve(ax, curve, curves[curve], first_epoch)
            # A value that only validation has keeps its whole name.
            ax.set_title(name if name in curves else f"val_{name}", fontsize=10)
            if ax.dataLim.ymin >= 0:
                # From zero, so that the slopes of two charts can be compared.
                ax.set_ylim(0, 1.1 * ax.dataLim.ymax or None)
            # Half an epoch of room: a single epoch is in the middle of its axis.
            count = max(len(line.get_xdata()) for line in ax.lines)
            ax.set_xlim(first_epoch - 0.5, first_epoch + max(count, 1) - 0.5)
            ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            ax.tick_params(labelsize=8)
            ax.grid(alpha=0.3)
            ax.legend(fontsize=8, frameon=False)
        for ax in axes[-columns:]:
            ax.set_xlabel("epoch", fontsize=9)


def _curve(ax, name, values, first_epoch):
    validation = name.startswith("val_")
    color, label = (VAL_COLOR, "validation") if validation else (TRAIN_COLOR, "training")
    epochs = np.arange(first_epoch, first_epoch + len(values))
    # A single value makes no line, nor does one between gaps; a dot shows it.
    marker = "o" if len(values) < 20 else ""
    ax.plot(epochs, values, color=color, label=label, marker=marker, markersize=4)


def plot_precision_recall(AP, precisions, recalls, *, save_to=None) -> None:
    """Draw precision over recall.

    Args:
        AP: average precision at IoU 0.5, for the title.
        precisions: [n] precision at each step, as `utils.compute_ap` returns.
        recalls: [n] recall at each step.
    """
    with grid_canvas(1, 1, (6, 5), save_to=save_to) as (ax,):
        ax.plot(recalls, precisions, color=TRAIN_COLOR)
        ax.fill_between(recalls, precisions, color=TRAIN_COLOR, alpha=0.15)
        ax.set(xlim=(0, 1.05), ylim=(0, 1.05), xlabel="recall", ylabel="precision")
        ax.set_title(f"Precision-Recall Curve. AP@50 = {AP:.3f}")
        ax.grid(alpha=0.3)


def plot_precision_recall_curves(
    recalls, curves, title="Precision over recall", *, save_to=None
) -> None:
    """Draw precision over recall, one curve per class, with its mean in the legend.

    Args:
        recalls: [R] recalls, as `CocoStats.precision_recall` returns.
        curves: dict from name to [R] precisions. Classes without objects (-1) are left out.

    Raises:
        ValueError: if no class has objects.
    """
    curves = {name: np.asarray(values) for name, values in curves.items()}
    curves = {name: values for name, values in curves.items() if values[0] > -1}
    if not curves:
        raise ValueError("there is no curve to draw: no class has objects")
    with grid_canvas(1, 1, (7, 5), save_to=save_to) as (ax,):
        for name, values in curves.items():
            ax.plot(recalls, values, label=f"{name} ({values.mean():.3f})")
        ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title=title)
        ax.grid(alpha=0.3)
        ax.figure.legend(loc="outside right upper", fontsize=8, ncols=-(-len(curves) // 25))


def plot_f1(curve, title="", *, save_to=None) -> None:
    """Draw the result of `CocoStats.f1_curve`, and mark the best F1, which is the default title."""
    with grid_canvas(1, 1, (6, 4.5), save_to=save_to) as (ax,):
        ax.plot(curve.thresholds, curve.f1, color=TRAIN_COLOR, label="F1")
        ax.plot(curve.thresholds, curve.precision, color="gray", ls="--", label="precision")
        ax.plot(curve.thresholds, curve.recall, color="gray", ls=":", label="recall")
        if curve.best_f1:
            ax.plot([curve.best_threshold], [curve.best_f1], "o", color=VAL_COLOR)
        best = curve.summary().replace(", with", " with")
        title = title or (f"best F1 {best}" if curve.best_f1 else f"best F1: {best}")
        ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="score threshold", title=title)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=9, frameon=False)


def plot_overlaps(
    gt_class_ids, pred_class_ids, pred_scores, overlaps, class_names, threshold=0.5, *, save_to=None
) -> None:
    """Draw the table of IoUs between detections (rows) and ground truth (columns).

    Cells above the threshold also say whether the classes are the same.

    Args:
        gt_class_ids: [G] class ids; zeros (padding) are left out.
        pred_class_ids, pred_scores: [P].
        overlaps: [P, G] IoU of each detection with each object.
        threshold: IoU above which a cell says "match" or "wrong".

    Raises:
        ValueError: if overlaps does not have one row per detection and one column per object.
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
    texts = [
        [_verdict(iou, threshold, gt == pred) for iou, gt in zip(ious, gt_class_ids, strict=True)]
        for ious, pred in zip(overlaps, pred_class_ids, strict=True)
    ]
    with grid_canvas(1, 1, size, save_to=save_to) as (ax,):
        if overlaps.size:
            _heat_map(ax, overlaps, rows, columns, texts)
            ax.set(title="IoU of detections with ground truth")
            ax.set(xlabel="ground truth", ylabel="detections")
        else:
            ax.set_axis_off()
            ax.set_title(f"{len(rows)} detections, {len(columns)} ground truth objects")


def _verdict(iou, threshold, is_same_class):
    if iou <= threshold:
        return f"{iou:.2f}"
    return f"{iou:.2f}\n{'match' if is_same_class else 'wrong'}"


def plot_confusion_matrix(matrix, class_names, title="Confusion matrix", *, save_to=None) -> None:
    """Draw a confusion matrix: numbers of objects, shaded by their share of the row.

    Args:
        matrix: [classes, classes] counts, rows truth, columns predicted; class 0 is the background.

    Raises:
        ValueError: if the matrix does not have one row and one column per name.
    """
    matrix = np.asarray(matrix)
    count = len(class_names)
    if matrix.shape != (count, count):
        raise ValueError(f"the matrix has shape {matrix.shape}; there are {count} class names")
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    texts = matrix.astype(str)
    # No count exists of background that is predicted as background.
    texts[0, 0] = ""
    side = min(2.5 + 0.6 * count, 20)
    with grid_canvas(1, 1, (side, side), save_to=save_to) as (ax,):
        rows, columns = (["no object", *class_names[1:]], ["missed", *class_names[1:]])
        _heat_map(ax, shares, rows, columns, texts if count <= _MOST_CELLS else ())
        ax.set(xlabel="predicted", ylabel="truth", title=title)


def _heat_map(ax, values, rows, columns, texts):
    """Shade cells by values from 0 to 1, and write a text into each."""
    ax.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks(range(len(columns)), columns, rotation=90)
    for i, row in enumerate(texts):
        for j, text in enumerate(row):
            shade = "white" if values[i][j] > 0.6 else "black"
            if text:
                ax.text(j, i, text, ha="center", va="center", fontsize=9, color=shade)
