"""Caches of one backend and prefix, patient with a busy machine; see `tests.promises.flight.conftest`."""

from __future__ import annotations

from tests.promises.flight.conftest import make_cache, patient, valkey  # noqa: F401  # fixtures are found by name
