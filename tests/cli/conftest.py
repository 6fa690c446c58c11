"""Patience for the commands that run in the tests' own process."""

from tests.patience import patient  # noqa: F401  # autouse
