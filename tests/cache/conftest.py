"""The worlds of the behaviour suite, for the tests of what a `Cache` offers besides decorated functions.

Tests of figures and scans import the fewer worlds of `tests.promises.statistics.conftest`.
"""

from __future__ import annotations

from tests.promises.behaviour.conftest import (  # noqa: F401  # fixtures are found by name
    believing,
    local,
    patient,
    shared,
    world,
)
from tests.promises.flight.conftest import valkey  # noqa: F401  # as above
