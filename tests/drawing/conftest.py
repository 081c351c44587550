"""Drawing is tested without a display."""

import matplotlib
import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def file_backend():
    """Use the backend of machines without a display, and close all figures after a test."""
    previous = matplotlib.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(previous)
