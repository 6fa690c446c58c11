"""Where no thread can start (a browser, a limit): refreshes run in the caller, and timeouts are said to be off."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import pytest

from memocache import Cache
from memocache._runtime import drivers as effects
from memocache.testing import FakeClock


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    monkeypatch.setattr(effects, "_warned_of_timeouts", False)


@pytest.mark.usefixtures("no_threads")
def test_a_refresh_runs_in_the_caller() -> None:
    """A stale value is served once more while its caller computes the new one, which all later callers get."""
    clock = FakeClock()
    calls: list[int] = []

    @Cache(clock=clock).cached(ttl=1, stale=60)
    def f() -> int:
        calls.append(1)
        return len(calls)

    assert f() == 1
    clock.advance(2)
    assert f() == 1
    assert len(calls) == 2
    assert f() == 2
    assert effects._background == 0


@pytest.mark.usefixtures("no_threads")
def test_a_refresh_that_fails_is_nobody_s_error() -> None:
    """What a refresh raises does not reach the caller for whom it ran; the stale value does."""
    clock = FakeClock()
    calls: list[int] = []

    @Cache(clock=clock).cached(ttl=1, stale=60)
    def f() -> int:
        calls.append(1)
        if len(calls) == 2:
            raise OSError("away")
        return len(calls)

    assert f() == 1
    clock.advance(2)
    assert f() == 1
    assert len(calls) == 2
    assert effects._background == 0


@pytest.mark.usefixtures("no_threads")
def test_timeouts_are_said_to_be_off() -> None:
    """A sync function with a timeout is computed all the same, and one warning says that the timeout has no effect."""
    cache = Cache()
    f: Any = cache.cached(hard_timeout=5, name="f")(lambda x: x)
    g: Any = cache.cached(soft_timeout=5, stale=60, name="g")(lambda x: x)
    with pytest.warns(RuntimeWarning, match="hard_timeout") as seen:
        assert [f(1), f(2), g(1), f(1)] == [1, 2, 1, 1]
    assert len(seen) == 1


@pytest.mark.usefixtures("no_threads")
def test_a_warning_made_an_error_breaks_no_call() -> None:
    """With warnings as errors the call still returns its value, and the key is not left locked."""
    f: Any = Cache().cached(hard_timeout=5, name="f")(lambda x: x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [f(1), f(1)] == [1, 1]
    assert f(2) == 2
