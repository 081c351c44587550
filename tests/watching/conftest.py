"""A training model for the tests here."""

from tests.trained_model import *  # noqa: F403
