"""Charts and tables show the numbers that they were given."""

import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from skimage.io import imread

from mrcnn.drawing.charts import (
    display_table,
    display_weight_stats,
    plot_losses,
    plot_overlaps,
    plot_precision_recall,
    plot_weight_histograms,
)


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


def test_overlaps_of_nothing():
    plot_overlaps([1, 1], [], [], np.zeros((0, 2)), ["BG", "cat"])
    ax = plt.gcf().axes[0]
    assert ax.get_title() == "0 detections, 2 ground truth objects"
    assert not ax.images


def test_overlaps_of_another_size_are_named():
    with pytest.raises(ValueError, match=r"shape \(2, 3\); 3 detections and 2 ground truth"):
        plot_overlaps([1, 1], [1, 1, 1], [1, 1, 1], np.zeros((2, 3)), ["BG", "cat"])


def test_losses_and_their_validation_twins_share_a_chart():
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
    plot_losses(SimpleNamespace(history={"loss": [1.0, float("nan")]}, epoch=[5, 6]))
    assert plt.gcf().axes[0].lines[0].get_xdata().tolist() == [6, 7]


def test_four_losses_take_two_rows(tmp_path):
    plot_losses({name: [1.0] for name in "abcd"}, save_to=tmp_path / "l.png")
    assert imread(tmp_path / "l.png").shape[:2] == (520, 1080)


@pytest.mark.parametrize("history", [{}, {"loss": []}])
def test_history_without_values_is_refused(history):
    with pytest.raises(ValueError, match="no values to draw"):
        plot_losses(history)


TABLE = [["name", "std"], ["conv1", "<span style='color:red'>0.5</span>"], ["x < 3 > y", 7]]
TEXT = "name       std\nconv1      0.5\nx < 3 > y  7\n"


@pytest.mark.parametrize("missing", [True, False])
def test_table_is_text_outside_notebooks(capsys, monkeypatch, missing):
    if missing:
        monkeypatch.setitem(sys.modules, "IPython", None)
    display_table(TABLE)
    assert capsys.readouterr().out == TEXT


def test_table_is_html_in_notebooks(monkeypatch):
    ipython = pytest.importorskip("IPython")
    import IPython.display

    shown = []
    monkeypatch.setattr(ipython, "get_ipython", lambda: "a shell")
    monkeypatch.setattr(IPython.display, "display", shown.append)
    display_table(TABLE)
    (table,) = shown
    assert table._repr_html_() == (
        "<table><tr><td>name</td><td>std</td></tr>"
        "<tr><td>conv1</td><td><span style='color:red'>0.5</span></td></tr>"
        "<tr><td>x < 3 > y</td><td>7</td></tr></table>"
    )
    assert repr(table) + "\n" == TEXT


class Layer:
    def __init__(self, name, **weights):
        self.name = name
        self.weights = [SimpleNamespace(name=key) for key in weights]
        self.values = [np.array(value, np.float32) for value in weights.values()]

    def get_weights(self):
        return self.values


def test_suspicious_weights_are_pointed_at(capsys):
    layers = [
        Layer("fine", kernel=[[1, 2, 3]], bias=[0, 0]),
        Layer("bn", gamma=[1, 1], beta=[0.5, -1001], moving_variance=[1, 9000]),
        Layer("broken", kernel=[1, np.nan]),
        Layer("empty"),
    ]
    display_weight_stats(SimpleNamespace(layers=layers))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["WEIGHT", "NAME", "SHAPE", "MIN", "MAX", "STD"]
    # The standard deviation of 1, 2, 3 is the root of 2/3.
    assert lines[1] == ["fine/kernel", "(1,", "3)", "+1.0000", "+3.0000", "+0.8165"]
    assert [(line[0], line[6:] if line[2] == "3)" else line[5:]) for line in lines[1:]] == [
        ("fine/kernel", []),
        ("fine/bias", []),
        ("bn/gamma", ["dead?"]),
        ("bn/beta", ["overflow?"]),
        ("bn/moving_variance", []),
        ("broken/kernel", ["not", "finite"]),
    ]


def test_weights_of_a_mask_rcnn_are_those_that_it_trains(capsys):
    model = SimpleNamespace(get_trainable_layers=lambda: [Layer("head", kernel=[1, 2])])
    display_weight_stats(model)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["head/kernel"]


def test_histograms_count_every_finite_weight():
    layers = [
        Layer("a", kernel=[[0, 1, 1], [1, 1, np.inf]], bias=[5]),
        Layer("b", kernel=[-2, 2]),
        Layer("bn", gamma=[1]),
    ]
    plot_weight_histograms(SimpleNamespace(layers=layers))
    charts = [ax for ax in plt.gcf().axes if ax.axison]
    assert [ax.get_title().split(",")[0] for ax in charts] == ["a/kernel", "b/kernel"]
    heights = [[bar.get_height() for bar in ax.patches if bar.get_height()] for ax in charts]
    assert heights == [[1, 4], [1, 1]]
    first, last = charts[1].patches[0], charts[1].patches[-1]
    assert (first.get_x(), last.get_x() + last.get_width()) == pytest.approx((-2, 2))
    # The mean of -2 and 2 is 0, so both deviate by 2.
    assert charts[1].get_title() == "b/kernel, std 2"


def test_histogram_of_neighbouring_numbers():
    above = np.nextafter(np.float32(1), np.float32(2))
    layer = Layer("a", kernel=np.array([1, 1, above], np.float32))
    plot_weight_histograms(SimpleNamespace(layers=[layer]))
    heights = [bar.get_height() for bar in plt.gcf().axes[0].patches]
    assert (heights[0], heights[-1], sum(heights)) == (2, 1, 3)


def test_histograms_of_no_weight_are_refused():
    model = SimpleNamespace(layers=[Layer("a", kernel=[1])])
    with pytest.raises(ValueError, match="no weight has a name that matches 'kernel' as a whole"):
        plot_weight_histograms(model, "kernel")
