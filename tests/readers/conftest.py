"""Datasets made of arrays for the tests here."""

from tests.array_data import *  # noqa: F403
