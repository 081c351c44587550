"""Fixtures that tests of one sample share."""

import pytest

from tests.samples.balloon_sample import load_sample, use_finder


@pytest.fixture(scope="module")
def balloon():
    return load_sample()


@pytest.fixture
def finder(monkeypatch):
    return use_finder(monkeypatch)
