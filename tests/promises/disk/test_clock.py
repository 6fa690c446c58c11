"""The store's clock: it does not step, whatever happens to the machine's wall clock."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from memocache.backends import disk
from memocache.backends._disk import environment, open_store
from memocache.backends.disk import DiskBackend
from memocache.typing import Put

DAY = 86_400.0


class Machine:
    """A machine whose wall clock can be set: seconds since it began, and what the wall clock is ahead of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed, self.began = 1000.0, 1_800_000_000.0
        for module in (disk, environment, open_store):
            monkeypatch.setattr(module, "since_boot", lambda: self.passed)
        monkeypatch.setattr(time, "time", lambda: self.began + self.passed)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.mark.parametrize("step", [-DAY, -8.0, 8.0, DAY])
def test_a_step_of_the_wall_clock_changes_no_life(directory: str, machine: Machine, step: float) -> None:
    """Entries live as long as was said though the wall clock is set meanwhile, for the process that wrote them and for
    one that opens the store afterwards.
    """
    first = DiskBackend(directory)
    first.transact([], [Put("short", b"1", 60_000), Put("long", b"2" * 100, 120_000)])
    machine.began += step
    machine.passed += 59.0
    assert first.read(["short", "long"]) == [b"1", b"2" * 100]
    first.close()
    second = DiskBackend(directory)
    assert second.read(["short", "long"]) == [b"1", b"2" * 100]
    machine.passed += 2.0
    assert second.read(["short", "long"]) == [None, b"2" * 100]
    second.transact([], [Put("new", b"3", 60_000)])
    machine.passed += 59.0
    assert second.read(["new", "long"]) == [b"3", None]
    machine.passed += 2.0
    assert second.read(["new"]) == [None]
    second.close()


def test_another_run_of_the_machine_takes_the_wall_clock(
    directory: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the machine began anew, time goes on by the wall clock, for what was stored before too."""
    first = DiskBackend(directory)
    first.transact([], [Put("short", b"1", 60_000), Put("long", b"2" * 100, 7_200_000)])
    janitor = first._janitor
    assert janitor is not None
    written = janitor.step(-1)
    janitor.step(written)  # at rest: a run that ended in the midst of writing would cost the store
    first.close()
    run: Callable[[], bytes] = lambda: b"another run"  # noqa: E731  # it has the type of what it stands for
    monkeypatch.setattr(environment, "boot_id", run)
    machine.began, machine.passed = machine.began + machine.passed + 3600.0, 0.0
    second = DiskBackend(directory)
    assert second.read(["short", "long"]) == [None, b"2" * 100]
    second.close()
