"""Charts of an evaluation: precision over recall by class, F1 over the score, confusion."""

import numpy as np

from mrcnn.drawing.charts import TRAIN_COLOR, VAL_COLOR
from mrcnn.drawing.figures import canvas

# Beyond this, numbers in cells would be smaller than one can read.
_MOST_CELLS = 30


def plot_precision_recall_curves(
    recalls, curves, title="Precision over recall", *, save_to=None
) -> None:
    """Draw precision over recall, a curve a class, with its mean in the legend.

    Args:
        recalls: [R] recalls, as `CocoStats.precision_recall` returns.
        curves: dict of name -> [R] precisions. Classes without objects (-1) are left out.
        title: line of text above the chart.
        save_to: path of the picture to write; None draws a pyplot figure.

    Raises:
        ValueError: no class has objects.
    """
    curves = {name: np.asarray(values) for name, values in curves.items()}
    curves = {name: values for name, values in curves.items() if values[0] > -1}
    if not curves:
        raise ValueError("there is no curve to draw: no class has objects")
    with canvas((7, 5), save_to=save_to, layout="constrained") as figure:
        ax = figure.subplots()
        for name, values in curves.items():
            ax.plot(recalls, values, label=f"{name} ({values.mean():.3f})")
        ax.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title=title)
        ax.grid(alpha=0.3)
        figure.legend(loc="outside right upper", fontsize=8, ncols=-(-len(curves) // 25))


def plot_f1(curve, title="", *, save_to=None) -> None:
    """Draw F1, precision and recall over the score threshold, and mark the best F1.

    Args:
        curve: what `CocoStats.f1_curve` returns.
        title: line of text above the chart; by default it tells the best F1.
        save_to: path of the picture to write; None draws a pyplot figure.
    """
    with canvas((6, 4.5), save_to=save_to, layout="constrained") as figure:
        ax = figure.subplots()
        ax.plot(curve.thresholds, curve.f1, color=TRAIN_COLOR, label="F1")
        ax.plot(curve.thresholds, curve.precision, color="gray", ls="--", label="precision")
        ax.plot(curve.thresholds, curve.recall, color="gray", ls=":", label="recall")
        ax.plot([curve.best_threshold], [curve.best_f1], "o", color=VAL_COLOR)
        best = f"best F1 {curve.best_f1:.3f} from score {curve.best_threshold:.2f} on"
        ax.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="score threshold", title=title or best)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=9, frameon=False)


def plot_confusion_matrix(matrix, class_names, title="Confusion matrix", *, save_to=None) -> None:
    """Draw a confusion matrix: numbers of objects, shaded by their share of the row.

    Args:
        matrix: [classes, classes] counts, rows truth, columns predicted; class 0 is the background.
        class_names: names by class id.
        title: line of text above the chart.
        save_to: path of the picture to write; None draws a pyplot figure.

    Raises:
        ValueError: the matrix has not one row and one column a name.
    """
    matrix = np.asarray(matrix)
    count = len(class_names)
    if matrix.shape != (count, count):
        raise ValueError(f"the matrix has shape {matrix.shape}; there are {count} class names")
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(2.5 + 0.6 * count, 20)
    with canvas((side, side), save_to=save_to, layout="constrained") as figure:
        ax = figure.subplots()
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        ax.set(xlabel="predicted", ylabel="truth", title=title)
        ax.set_xticks(range(count), ["missed", *class_names[1:]], rotation=90)
        ax.set_yticks(range(count), ["no object", *class_names[1:]])
        if count > _MOST_CELLS:
            return
        for (i, j), number in np.ndenumerate(matrix):
            if i or j:
                shade = "white" if shares[i, j] > 0.6 else "black"
                ax.text(j, i, str(number), ha="center", va="center", fontsize=9, color=shade)
