"""Tables and histograms of weights show the given numbers."""

import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mrcnn.drawing.weights import display_table, display_weight_stats, plot_weight_histograms

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
    assert table.data == (
        "<table><tr><td>name</td><td>std</td></tr>"
        "<tr><td>conv1</td><td><span style='color:red'>0.5</span></td></tr>"
        "<tr><td>x < 3 > y</td><td>7</td></tr></table>"
    )


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
