"""Every way to invalidate × everything that may be under way meanwhile × who invalidates × colour.

A call that begins after the invalidation returned computes anew, and what was computed from before it is not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from memocache import Cache
from memocache._runtime.singleflight import Flight
from memocache._stores.memory.store import LocalLease, LocalStore
from memocache._stores.remote.store import SharedStore
from tests.promises.flight.support import until
from tests.promises.invalidation.support import FLIGHTS, WAYS, Scene

PLACES = ("here", "elsewhere")


@pytest.fixture(params=PLACES)
def elsewhere(request: pytest.FixtureRequest, make_cache: Any) -> bool:
    """Whether the invalidation comes from another cache on the same backend."""
    if request.param == "elsewhere" and make_cache.kind == "memory":
        pytest.skip("nobody else shares it")
    return request.param == "elsewhere"


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> str:
    """The colour of the function and of who invalidates."""
    return str(request.param)


@pytest.fixture(params=FLIGHTS)
def scene(
    request: pytest.FixtureRequest, make_cache: Callable[..., Cache], elsewhere: bool, colour: str
) -> Iterator[Scene]:
    """A function in that colour, with something of it to be under way."""
    made = Scene(make_cache, request.param, colour, elsewhere)
    yield made
    made.close()


@pytest.mark.parametrize("way", WAYS)
def test_a_call_after_it_computes_while_the_old_one_runs(scene: Scene, way: str) -> None:
    """A call that begins while the old computation still runs waits for nothing of it, and its own value is kept."""
    old = scene.start_old()
    coalesced = scene.f.stats().coalesced
    scene.invalidate(way)
    later = scene.call()
    until(lambda: scene.body.calls[1] > old or scene.f.stats().coalesced > coalesced or len(scene.cache._flights) > 1)
    scene.body.go.set()
    assert scene.serial(later) == old + 1
    if scene.old is not None:
        assert scene.serial(scene.old) == old
    assert scene.serial(scene.call()) == old + 1
    assert scene.serial(scene.call(scene.g)) == old + 1
    until(scene.quiet)
    assert scene.body.calls[1] == old + 1


@pytest.mark.parametrize("way", WAYS)
def test_a_call_after_it_computes_once_the_old_one_ended(scene: Scene, way: str) -> None:
    """What was computed from before an invalidation is not stored when it comes to its end after it."""
    _old_ends_then_call(scene, way)


def _old_ends_then_call(scene: Scene, way: str) -> None:
    old = scene.start_old()
    scene.invalidate(way)
    scene.body.go.set()
    if scene.old is not None:
        assert scene.serial(scene.old) == old
    until(scene.quiet)
    assert scene.serial(scene.call()) == old + 1
    assert scene.serial(scene.call(scene.g)) == old + 1


@pytest.mark.parametrize("way", WAYS)
def test_markers_read_after_the_computation_fail(scene: Scene, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same check finds a build that seals the markers (and the witness) of after the computation."""
    monkeypatch.setattr(SharedStore, "commit", _late_shared(SharedStore.commit))
    monkeypatch.setattr(LocalStore, "commit", _late_local(LocalStore.commit))
    with pytest.raises(AssertionError):
        _old_ends_then_call(scene, way)


def _late_shared(commit: Any) -> Any:
    def late(store: Any, address: Any, lease: Any, record: Any, flight: Flight) -> Generator[Any, Any, bool]:
        lease.generations = yield from store.ensure_generations(address)
        names = [lease.spot.witness, lease.spot.lease]
        witness, held = yield store.guard.io("read", names, budget=address.budget)
        if witness is None:  # taken away by the invalidation of a call: this build would not know
            put = store.put_of(address, lease.spot, record, lease.generations)
            return (yield store.guard.io("transact", [], [put], budget=address.budget)) is None
        lease.token, lease.held = witness, held and held[:8]
        return (yield from commit(store, address, lease, record, flight))

    return late


def _late_local(commit: Any) -> Any:
    def late(store: Any, address: Any, lease: Any, record: Any, flight: Flight) -> Generator[Any, Any, bool]:
        flight.void, flight.marks = False, store.tier.marks(address.name, address.tags)
        return (yield from commit(store, address, LocalLease(flight.marks), record, flight))

    return late
