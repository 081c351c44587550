"""Charts show the given numbers."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from skimage.io import imread

from mrcnn.drawing.charts import (
    plot_confusion_matrix,
    plot_f1,
    plot_losses,
    plot_overlaps,
    plot_precision_recall,
    plot_precision_recall_curves,
)
from mrcnn.evaluation.coco_stats import F1Curve


def test_precision_against_recall():
    plot_precision_recall(0.8125, [1, 0.75, 0], [0, 0.5, 1])
    ax = plt.gcf().axes[0]
    assert ax.lines[0].get_xydata().tolist() == [[0, 1], [0.5, 0.75], [1, 0]]
    assert ax.get_title() == "Precision-Recall Curve. AP@50 = 0.812"


def test_overlaps_are_judged_above_the_threshold():
    # Two objects and a padding row; the second detection lies on the first object.
    overlaps = np.array([[0.9, 0.1], [0.6, 0.0], [0.5, 0.7]])
    plot_overlaps([2, 1, 0], [2, 1, 1], [0.99, 0.8, 0.7], overlaps, ["BG", "cat", "dog"])
    ax = plt.gcf().axes[0]
    assert [text.get_text() for text in ax.texts] == [
        "0.90\nmatch",
        "0.10",
        "0.60\nwrong",
        "0.00",
        "0.50",
        "0.70\nmatch",
    ]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["dog", "cat"]
    rows = ["dog (0.99)", "cat (0.80)", "cat (0.70)"]
    assert [label.get_text() for label in ax.get_yticklabels()] == rows
    assert np.array_equal(ax.images[0].get_array(), overlaps)


def test_overlaps_without_objects_or_detections():
    plot_overlaps([1, 1], [], [], np.zeros((0, 2)), ["BG", "cat"])
    ax = plt.gcf().axes[0]
    assert ax.get_title() == "0 detections, 2 ground truth objects"
    assert not ax.images


def test_overlaps_of_another_size_are_named():
    with pytest.raises(ValueError, match=r"shape \(2, 3\); 3 detections and 2 ground truth"):
        plot_overlaps([1, 1], [1, 1, 1], [1, 1, 1], np.zeros((2, 3)), ["BG", "cat"])


def test_every_chart_names_its_curves_and_the_losses_come_first():
    history = {name: [2.0, 1.0] for name in ("gradient_norm", "val_mAP", "rpn_class_loss")}
    plot_losses(history | {"loss": [3.0, 2.0], "val_loss": [4.0, 3.0]})
    named = {
        ax.get_title(): [text.get_text() for text in ax.get_legend().get_texts()]
        for ax in plt.gcf().axes
        if ax.lines
    }
    assert list(named.items()) == [
        ("loss", ["training", "validation"]),
        ("rpn_class_loss", ["training"]),
        ("gradient_norm", ["training"]),
        ("val_mAP", ["validation"]),
    ]


def test_one_epoch_is_a_dot_in_the_middle_of_its_axis():
    for values in ([2.0], [float("nan")]):
        plot_losses({"loss": values}, first_epoch=2)
        ax = plt.gcf().axes[0]
        assert ax.get_xlim() == (1.5, 2.5)
        ticks = [tick for tick in ax.get_xticks() if 1.5 <= tick <= 2.5]
        assert ticks == [2]
        assert ax.lines[0].get_marker() == "o"


def test_training_and_validation_losses_share_a_chart():
    history = {
        "loss": [3.0, 2.0],
        "rpn_class_loss": [1.0, 0.5],
        "val_loss": [4.0, 3.5],
        "val_only": [7.0, 8.0],
    }
    plot_losses(history)
    drawn = {
        ax.get_title(): {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
        for ax in plt.gcf().axes
    }
    assert drawn == {
        "loss": {"training": [[1, 3], [2, 2]], "validation": [[1, 4], [2, 3.5]]},
        "rpn_class_loss": {"training": [[1, 1], [2, 0.5]]},
        "val_only": {"validation": [[1, 7], [2, 8]]},
    }


def test_losses_of_a_resumed_run_keep_their_epochs():
    history = keras.callbacks.History()
    history.history, history.epoch = {"loss": [1.0, float("nan")]}, [5, 6]
    for arguments in ((history,), (history.history, 6)):
        plot_losses(*arguments)
        assert plt.gcf().axes[0].lines[0].get_xdata().tolist() == [6, 7]


def test_four_losses_take_two_rows(tmp_path):
    plot_losses({name: [1.0] for name in "abcd"}, save_to=tmp_path / "l.png")
    assert imread(tmp_path / "l.png").shape[:2] == (520, 1080)


@pytest.mark.parametrize("history", [{}, {"loss": []}])
def test_history_without_values_is_refused(history):
    with pytest.raises(ValueError, match="no values to draw"):
        plot_losses(history)


CURVE = F1Curve(
    thresholds=np.array([0.9, 0.5]),
    precision=np.array([1.0, 0.5]),
    recall=np.array([0.25, 0.5]),
    f1=np.array([0.4, 0.5]),
    best_f1=0.5,
    best_threshold=0.5,
)


def test_one_curve_per_class_with_its_mean():
    curves = {"cat": [1.0, 0.5], "dog": [-1.0, -1.0], "owl": [0.25, 0.25]}
    plot_precision_recall_curves([0.0, 1.0], curves)
    figure = plt.gcf()
    drawn = [line.get_xydata().tolist() for line in figure.axes[0].lines]
    assert drawn == [[[0, 1], [1, 0.5]], [[0, 0.25], [1, 0.25]]]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["cat (0.750)", "owl (0.250)"]


def test_classes_without_objects_have_no_curve():
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
    assert ax.get_title() == "best F1 0.500 with scores of 0.50 and more"


def test_f1_of_nothing_marks_no_point():
    none = np.zeros(0)
    plot_f1(F1Curve(none, none, none, none, best_f1=0.0, best_threshold=1.0))
    ax = plt.gcf().axes[0]
    assert ax.get_title() == "best F1: none, nothing was detected"
    assert len(ax.lines) == 3


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
