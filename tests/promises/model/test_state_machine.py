"""The state machine of `machine` on every backend and in both colours; and broken builds that it must catch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from memocache._stores.memory.tier import LocalTier
from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote.store import SharedStore
from memocache.testing import servers
from tests.patience import patient, unhurried  # noqa: F401  # the first is autouse
from tests.promises.model.machine import Machine, SharedMachine
from tests.promises.near.support import believing  # noqa: F401  # autouse
from tests.scratch import scratch
from tests.worlds import FLEETS, SERVERS, TIERED, worlds

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
_KINDS = ("memory", "object", "disk", *SERVERS, *TIERED, *FLEETS)


@pytest.fixture
def directory() -> Iterator[str]:
    """An empty directory, gone after the test."""
    made = scratch()
    yield made
    shutil.rmtree(made)


def _machine(kind: str, colour: str, running_server: Callable[[str], servers.Server], directory: str) -> type[Machine]:
    base = Machine if kind == "memory" else SharedMachine
    body: dict[str, Any] = {"colour": colour}
    if kind == "disk":
        body["backend"] = lambda self: f"disk://{directory}"
    elif kind not in ("memory", "object"):
        url = unhurried(running_server(SERVERS[0] if kind == "tiered" else kind).url)
        body["backend"] = lambda self: url
        body["local"] = 10 if kind == "tiered" else 0
    return type(f"{kind}_{colour}", (base,), body)


@pytest.mark.parametrize("world", worlds(_KINDS))
def test_a_cache_is_a_dict_and_a_clock(
    world: str, running_server: Callable[[str], servers.Server], directory: str
) -> None:
    """Calls, puts, invalidations, plain keys and time come out as in the model, and hits + misses = calls."""
    kind, _, colour = world.partition("-")
    examples = 40 if kind in ("memory", "object") else 12
    run_state_machine_as_test(
        _machine(kind, colour, running_server, directory),
        settings=settings(
            max_examples=examples, stateful_step_count=40, deadline=None, database=None, suppress_health_check=_QUIET
        ),
    )


def _must_fail(machine: type[Machine]) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=300,
                stateful_step_count=40,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                report_multiple_bugs=False,
                suppress_health_check=_QUIET,
            ),
        )


def test_a_build_that_ignores_generations_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking an envelope's own generations for the markers that stand fails the machine."""
    honest = SharedStore.read

    def read(self: SharedStore, address: Any, spot: Any, values: Any) -> Any:
        try:
            sealed = _envelope.unpack(values[0]).generations
        except Exception:
            return honest(self, address, spot, values)
        size = _envelope.MARKER_BYTES
        return honest(self, address, spot, [values[0], *(sealed[i : i + size] for i in range(0, len(sealed), size))])

    monkeypatch.setattr(SharedStore, "read", read)
    _must_fail(SharedMachine)


def test_a_build_that_ignores_the_echo_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking whatever key an envelope names for ours fails the machine."""
    honest = SharedStore.read

    def read(self: SharedStore, address: Any, spot: Any, values: Any) -> Any:
        try:
            key = _envelope.unpack(values[0]).key
        except Exception:
            return honest(self, address, spot, values)
        other = type("Spot", (), {name: getattr(spot, name) for name in spot.__slots__})()
        other.entry, other.key = key, key.encode()
        return honest(self, address, other, values)

    monkeypatch.setattr(SharedStore, "read", read)
    _must_fail(SharedMachine)


def test_a_build_that_ignores_tag_marks_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries in the process that never ask their tags' marks fail the machine."""
    monkeypatch.setattr(LocalTier, "_revalidate", lambda self, entry: True)
    _must_fail(Machine)


def test_a_build_that_keeps_values_too_long_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend's entry served one second past its ttl fails the machine."""
    honest = SharedStore.read

    def read(self: SharedStore, address: Any, spot: Any, values: Any) -> Any:
        found = honest(self, address, spot, values)
        found.expires += 1
        return found

    monkeypatch.setattr(SharedStore, "read", read)
    _must_fail(SharedMachine)
