"""Charts of an evaluation show the numbers that they were given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from skimage.io import imread

from mrcnn.drawing.metrics import plot_confusion_matrix, plot_f1, plot_precision_recall_curves
from mrcnn.evaluation.coco_stats import F1Curve

CURVE = F1Curve(
    thresholds=np.array([0.9, 0.5]),
    precision=np.array([1.0, 0.5]),
    recall=np.array([0.25, 0.5]),
    f1=np.array([0.4, 0.5]),
    best_f1=0.5,
    best_threshold=0.5,
)


def test_a_curve_a_class_with_its_mean():
    curves = {"cat": [1.0, 0.5], "dog": [-1.0, -1.0], "owl": [0.25, 0.25]}
    plot_precision_recall_curves([0.0, 1.0], curves)
    figure = plt.gcf()
    drawn = [line.get_xydata().tolist() for line in figure.axes[0].lines]
    assert drawn == [[[0, 1], [1, 0.5]], [[0, 0.25], [1, 0.25]]]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["cat (0.750)", "owl (0.250)"]


def test_classes_without_objects_make_no_chart():
    with pytest.raises(ValueError, match="no class has objects"):
        plot_precision_recall_curves([0, 1], {"dog": [-1, -1]})


def test_f1_over_the_threshold():
    plot_f1(CURVE)
    ax = plt.gcf().axes[0]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in ax.lines[:3]}
    assert drawn == {
        "F1": [[0.9, 0.4], [0.5, 0.5]],
        "precision": [[0.9, 1.0], [0.5, 0.5]],
        "recall": [[0.9, 0.25], [0.5, 0.5]],
    }
    assert ax.lines[3].get_xydata().tolist() == [[0.5, 0.5]]
    assert ax.get_title() == "best F1 0.500 from score 0.50 on"


def test_confusion_by_hand():
    plot_confusion_matrix([[0, 3, 1], [2, 6, 0], [0, 5, 0]], ["BG", "cat", "dog"])
    ax = plt.gcf().axes[0]
    assert [text.get_text() for text in ax.texts] == ["3", "1", "2", "6", "0", "0", "5", "0"]
    expected = [[0, 0.75, 0.25], [0.25, 0.75, 0], [0, 1, 0]]
    np.testing.assert_array_equal(ax.images[0].get_array(), expected)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["missed", "cat", "dog"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["no object", "cat", "dog"]


def test_many_classes_have_no_numbers():
    plot_confusion_matrix(np.eye(31, dtype=int), [str(i) for i in range(31)])
    assert not plt.gcf().axes[0].texts


def test_a_matrix_of_other_classes_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 3\); there are 3 class names"):
        plot_confusion_matrix(np.zeros((2, 3)), ["BG", "cat", "dog"])


def test_pictures_are_saved(tmp_path):
    plot_precision_recall_curves([0, 1], {"cat": [1, 1]}, save_to=tmp_path / "pr.png")
    plot_f1(CURVE, save_to=tmp_path / "f1.png")
    plot_confusion_matrix(np.eye(3), ["BG", "cat", "dog"], save_to=tmp_path / "confusion.png")
    shapes = [imread(tmp_path / f"{name}.png").shape[:2] for name in ("pr", "f1", "confusion")]
    assert shapes == [(500, 700), (450, 600), (430, 430)]
    assert not plt.get_fignums()
