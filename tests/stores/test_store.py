"""What a shared store makes of others who come in between, of leases that nobody keeps, and of odd entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from memocache import BackendError, Cache, UnsharedWarning
from memocache._runtime.drivers import run
from memocache._runtime.effects import Wait
from memocache._runtime.outcome import Outcome
from memocache._runtime.singleflight import Flight
from memocache._stores.remote import lease as _leases
from memocache._stores.remote.envelope import HEAD_BYTES
from memocache._stores.remote.lease import LEASE_SECONDS, SharedLease
from memocache._stores.remote.store import SharedStore
from memocache._stores.store import Address, Found, Record
from memocache.backends.memory import MemoryBackend
from memocache.testing import FakeClock
from memocache.typing import Pieces, Put
from tests.patience import patient  # noqa: F401  # autouse


class Between(MemoryBackend):
    """Lets somebody else act before it does the next writing."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[Callable[[], Any]] = []

    def transact(self, *args: Any, **kwargs: Any) -> Any:
        if self.others:
            self.others.pop(0)()
        return super().transact(*args, **kwargs)


@pytest.fixture
def backend() -> Between:
    """A backend that two caches may share, as two processes would."""
    return Between()


@pytest.fixture
def make(backend: Between) -> Iterator[Callable[..., Cache]]:
    """Makes caches of the backend."""
    made: list[Cache] = []

    def make(**options: Any) -> Cache:
        made.append(Cache(options.pop("backend", backend), **options))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


class Call:
    """One call of a function that a cache has, with a flight of its own to compute it in."""

    def __init__(self, cache: Cache, argument: Any = 1) -> None:
        self.function = cache.cached(name="f")(lambda x: x)
        _, binding = self.function._self_state.bound()
        self.address: Address
        self.address, store = binding.address((argument,))
        self.store: Any = store
        self.shared: SharedStore = cache._places.shared  # type: ignore[assignment]  # the cache has a backend
        self.spot = self.shared.spot(self.address)
        self.flights = cache._flights
        self.flight: Flight
        self.flight, self._token = self.flights.solo("key", ())

    def look(self) -> Found:
        return run(self.store.look(self.address))

    def begin(self, seconds: float | None, on_wait: Callable[[Wait], bool] | None = None, **more: Any) -> Any:
        """What beginning with `seconds` of patience comes to; what is to be waited for goes to `on_wait`."""
        steps = self.store.begin(self.address, self.look(), self.flight, patient=seconds, **more)
        reply = None
        while True:
            try:
                effect = steps.send(reply)
            except StopIteration as stop:
                return stop.value
            if isinstance(effect, Wait):
                assert on_wait is not None, "it waits"
                reply = on_wait(effect)
            else:
                reply = effect.blocking()


class Passing:
    """The store's clock: a wait lasts as long as it may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(_leases, "time", SimpleNamespace(monotonic=lambda: self.now))

    def wait(self, effect: Wait) -> bool:
        assert effect.timeout is not None
        self.now += max(effect.timeout, 0.001)
        return False


def change_marker(backend: Between, call: Call) -> None:
    """Invalidate the function, and make its marker anew, as another process would."""
    backend.transact([], [Put(call.spot.markers[1], b"another.")])


def foreign_lease(backend: Between, call: Call, beat: int = 0) -> bytes:
    """The lease of somebody else's computation, as it stands in the backend then."""
    lease = b"somebody" + beat.to_bytes(8) + run(call.shared.ensure_generations(call.address))
    backend.transact([], [Put(call.spot.lease, lease)])
    return lease


# -- others come in between


def test_markers_that_another_makes_are_those_that_stand(make: Callable[..., Cache], backend: Between) -> None:
    """Who finds that somebody else has made the missing markers meanwhile goes by theirs."""
    ours, theirs = Call(make()), Call(make())
    backend.others.append(lambda: run(theirs.shared.ensure_generations(theirs.address)))
    assert run(ours.shared.ensure_generations(ours.address)) == b"".join(backend.read(ours.spot.markers))  # type: ignore[arg-type]  # they stand


@pytest.mark.filterwarnings("ignore::memocache.exceptions.DuplicateNameWarning")
def test_a_forced_refresh_goes_on_under_the_markers_that_stand(make: Callable[..., Cache], backend: Between) -> None:
    """An invalidation between its look and its beginning makes it begin again, and what it stores is valid."""
    values = iter(range(10))
    cache = make()
    f = cache.cached(name="f")(lambda x: next(values))
    assert f(1) == 0
    backend.others.append(lambda: change_marker(backend, Call(cache)))
    assert f.refresh(1) == 1
    assert f(1) == 1


def test_a_plain_value_is_stored_under_the_markers_that_stand(make: Callable[..., Cache], backend: Between) -> None:
    """A marker that changes while a value is being put does not make it a value of before."""
    cache = make()
    cache.set("k", 0)
    backend.others.append(lambda: backend.transact([], [Put("memo:g:p", b"another.")]))
    cache.set("k", 1)
    assert cache.get("k") == 1


@pytest.mark.parametrize("change", ["removed", "replaced", "spoiled"])
def test_no_other_ttl_for_what_has_changed(make: Callable[..., Cache], backend: Between, change: str) -> None:
    """What was removed, replaced or spoiled since it was found keeps the ttl that it has."""
    cache = make()
    call = Call(cache)
    run(call.shared.put(call.address, Record(Outcome("value"), 60.0)))
    found, entry = call.look(), call.spot.entry
    (raw,) = backend.read([entry])
    assert raw is not None
    if change == "removed":
        backend.delete([entry])
    elif change == "replaced":
        run(call.shared.put(call.address, Record(Outcome("value"), 60.0)))
    else:
        backend.transact([], [Put(entry, raw[:HEAD_BYTES] + b"spoiled")])
    before = backend.read([entry])
    assert not run(call.shared.expire(call.address, found, 5.0))
    assert backend.read([entry]) == before


def test_what_stays_in_the_process_is_taken_from_who_stored_it_meanwhile(make: Callable[..., Cache]) -> None:
    """A call that nobody else could name computes nothing that was stored since it looked, and counts its hits right
    also on an entry that has left.
    """

    @dataclass(frozen=True)
    class Thing:
        """A value of a class that no other process could find."""

        number: int

    with pytest.warns(UnsharedWarning):
        call = Call(make(), Thing(1))
    assert call.store is not call.shared
    steps = call.store.begin(call.address, call.look(), call.flight, patient=0.0)
    run(call.store.put(call.address, Record(Outcome("value"), 60.0)))
    got = run(steps)
    assert isinstance(got, Found)
    assert got.load is not None
    assert got.load() == Outcome("value")
    call.store.touch(call.address, got)
    assert run(call.store.forget(call.address))
    call.store.touch(call.address, got)
    assert call.function.stats().hits == 2


# -- leases


def test_a_refresh_in_the_background_waits_for_nobody(make: Callable[..., Cache]) -> None:
    """While somebody computes there is nothing for it to do."""
    ours, theirs = Call(make()), Call(make())
    lease = theirs.begin(None)
    assert isinstance(lease, SharedLease)
    assert lease.held is not None
    assert ours.begin(None) is None


def test_patience_ends_before_the_lease_does(
    make: Callable[..., Cache], backend: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has waited as long as they would computes beside the other, whose lease is left alone."""
    call, clock = Call(make()), Passing(monkeypatch)
    lease = foreign_lease(backend, call)
    begun = clock.now
    granted = call.begin(2.0, clock.wait)
    assert isinstance(granted, SharedLease)
    assert granted.token
    assert granted.held is None
    assert clock.now - begun == pytest.approx(2.0, abs=0.01)
    assert backend.read([call.spot.lease]) == [lease]
    call.store.give_up(granted)
    assert call.shared.keeper._doomed == {}, "there is no lease to give back"


@pytest.mark.parametrize("beats", [0, 3])
def test_a_lease_without_a_sign_of_life_is_taken(
    make: Callable[..., Cache], backend: Between, monkeypatch: pytest.MonkeyPatch, beats: int
) -> None:
    """One that stands, but has not changed for its time, has a dead holder; one that was renewed has one that lives."""
    call, clock = Call(make()), Passing(monkeypatch)
    foreign_lease(backend, call)
    renewed = [clock.now]

    def wait(effect: Wait) -> bool:
        clock.wait(effect)
        if len(renewed) <= beats and clock.now - renewed[-1] >= 5.0:
            foreign_lease(backend, call, len(renewed))
            renewed.append(clock.now)
        return False

    granted = call.begin(300.0, wait)
    assert isinstance(granted, SharedLease)
    assert granted.held is not None
    assert len(renewed) == beats + 1
    assert LEASE_SECONDS <= clock.now - renewed[-1] <= LEASE_SECONDS + 2 * _leases.POLL_WITH_MESSAGES
    (lease,) = backend.read([call.spot.lease])
    assert lease is not None
    assert lease.startswith(granted.held)
    call.store.give_up(granted)


def test_a_flight_that_ends_while_it_waits_waits_for_nobody(make: Callable[..., Cache]) -> None:
    """Who waits in this process for another's flight, and is ended meanwhile, leaves nothing behind."""
    ours, theirs = Call(make()), Call(make())
    lease = theirs.begin(None)

    def wait(effect: Wait) -> bool:
        assert effect.signal is theirs.flight.signal
        assert ours.flight.blocked_on == [theirs.flight]
        ours.flights.finish(ours.flight, None)
        return False

    granted = ours.begin(60.0, wait)
    assert granted.held is None
    assert ours.flight.blocked_on == []
    assert lease.held is not None


@pytest.mark.parametrize("ended", [True, False])
def test_waiting_in_the_process_leaves_nothing_behind(make: Callable[..., Cache], ended: bool) -> None:
    """Whether the other's flight ended or patience did, nobody seems to wait afterwards."""
    ours, theirs = Call(make()), Call(make())
    lease = theirs.begin(None)

    def wait(effect: Wait) -> bool:
        if ended:
            assert run(theirs.store.commit(theirs.address, lease, None, theirs.flight))
            theirs.flights.finish(theirs.flight, None)
        return ended

    granted = ours.begin(60.0, wait)
    assert (granted.held is not None) == ended
    assert ours.flight.blocked_on == []


def test_a_beginning_that_fails_has_a_lease_to_give_back_only_if_it_asked_for_one(
    make: Callable[..., Cache], backend: Between
) -> None:
    """Who leaves the lease alone has nothing that might be theirs when the answer is lost."""

    def lose() -> None:
        raise ConnectionError

    call = Call(make())
    for patience, doomed in ((0.0, 0), (60.0, 1)):
        backend.others.append(lose)
        call.shared.keeper._start = lambda: None  # type: ignore[method-assign]  # what is to be given back stays
        with pytest.raises(BackendError):
            run(call.store.begin(call.address, call.look(), call.flight, patient=patience))
        assert len(call.shared.keeper._doomed) == doomed


# -- odd entries


@pytest.mark.filterwarnings("ignore::memocache.exceptions.DuplicateNameWarning")
def test_an_entry_over_the_reader_s_bound_is_a_miss(make: Callable[..., Cache], backend: Between) -> None:
    """Whatever another cache may store, a reader decodes no more than its own `max_value_bytes` allow; nor does it look
    further into what was invalidated.
    """
    large, small = make(), make(max_value_bytes=1000)
    values = iter(range(10))
    f = large.cached(name="f")(lambda x: bytes(200_000))
    g = small.cached(name="f")(lambda x: next(values))
    f(1)
    assert g(1) == 0
    assert g.stats().decode_errors == 1
    f.refresh(1)
    change_marker(backend, Call(large))
    assert g(1) == 1
    assert g.stats().decode_errors == 2


def test_what_is_known_to_be_absent_is_remembered(make: Callable[..., Cache]) -> None:
    """With `cache_missing` an id without a value is loaded once, by whichever cache."""
    loads: list[list[int]] = []

    def load(ids: Sequence[int]) -> dict[int, int]:
        loads.append(list(ids))
        return {}

    for cache in (make(), make()):
        loader = cache.cached_many(name="load", cache_missing=True)(load)
        assert loader([1]) == {}
        assert loader([1]) == {}
    assert loads == [[1]]


def test_a_large_value_goes_in_pieces_to_who_takes_them(make: Callable[..., Cache]) -> None:
    """A backend that says from how many bytes on is given them unjoined, and what it joins is the value."""

    class Joining(MemoryBackend):
        pieces_from = 1000
        largest = 0

        def transact(self, guards: Any, puts: Sequence[Put] = (), *args: Any, **kwargs: Any) -> Any:
            joined = []
            for put in puts:
                if isinstance(put.value, Pieces):
                    self.largest = max(self.largest, len(put.value.pieces))
                    put = put._replace(value=b"".join(put.value.pieces))
                joined.append(put)
            return super().transact(guards, joined, *args, **kwargs)

    backend = Joining()
    calls: list[int] = []

    def compute(size: int) -> bytes:
        calls.append(size)
        return bytes(size)

    for cache in (make(backend=backend), make(backend=backend)):
        f = cache.cached(name="f")(compute)
        assert [f(10), f(5000)] == [bytes(10), bytes(5000)]
    assert calls == [10, 5000]
    assert backend.largest > 1


def test_in_a_cluster_all_of_an_entry_is_in_one_bucket(make: Callable[..., Cache]) -> None:
    """Entries, plain ones too, their markers and what goes with them have the hash tag of one bucket."""

    class Clustered(MemoryBackend):
        clustered = True

    backend = Clustered()
    cache = make(backend=backend)
    f = cache.cached(name="f")(lambda x: x)
    cache.set("k", 1)
    assert [f(1), f(1), cache.get("k")] == [1, 1, 1]
    assert f.stats().hits == 1
    for key in (f.key_for(1), next(key for key in backend._cells if key.startswith("memo:k:"))):
        tag = key[key.index("{") : key.index("}") + 1]
        assert f"memo:g:{tag}:p" in backend._cells


# -- copies in the process


@pytest.fixture
def tiered(make: Callable[..., Cache]) -> Call:
    """A call of a cache that holds copies of what it reads, which has one of this."""
    call = Call(make(local=10, clock=FakeClock()))
    run(call.shared.put(call.address, Record(Outcome(["value"]), 60.0)))
    found = call.look()
    assert found.load is not None
    assert found.load() == Outcome(["value"])
    return call


def test_two_threads_make_one_table_of_copies(make: Callable[..., Cache], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes for it as another makes it takes the other's."""
    cache = make(local=10)
    store: Any = cache._places.shared
    table, lock, made = cache._tier.table("f", 1), cache._tier.lock, []

    class Late:
        def __enter__(self) -> None:
            cache._tier.lock = lock
            made.append(store.beside(table))
            lock.acquire()

        def __exit__(self, *exc: object) -> None:
            lock.release()

    monkeypatch.setattr(cache._tier, "lock", Late())
    assert store.beside(table) is made[0]
    assert table.beside is made[0]


def test_a_copy_that_goes_as_it_is_found_is_not_served(tiered: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between finding it and looking at its time it may be removed: then the backend is asked."""
    store: Any = tiered.shared
    held = store.held

    def remove(address: Address) -> Any:
        entry = held(address)
        store.near.changed([tiered.spot.entry])
        return entry

    assert held(tiered.address) is not None
    monkeypatch.setattr(store, "held", remove)
    tiered.store.guard.backend.delete([tiered.spot.entry])
    assert tiered.look().load is None


def test_a_hit_on_a_copy_that_goes_before_it_is_counted_is_counted(
    tiered: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may remove a copy between finding it and counting the hit: no hit is lost, on either path."""
    store: Any = tiered.shared
    table = tiered.address.table
    held = store.held
    before = store._tier.counted(table)["hits"]
    found = tiered.look()
    store.near.changed([tiered.spot.entry])
    store.touch(tiered.address, found)
    assert store._tier.counted(table)["hits"] == before + 1

    def remove(address: Address) -> Any:
        entry = held(address)
        store.near.changed([tiered.spot.entry])
        return entry

    again = tiered.look()
    assert again.load is not None
    again.load()  # makes a copy
    assert held(tiered.address) is not None
    monkeypatch.setattr(store, "held", remove)
    assert store.near_outcome(tiered.address) == Outcome(["value"])
    assert store._tier.counted(table)["hits"] == before + 2


def test_what_cannot_be_copied_is_not_held(tiered: Call) -> None:
    """A value that can be used once is asked of the backend each time."""
    store: Any = tiered.shared
    store.near.changed([tiered.spot.entry])
    expected = store.expect(tiered.address)
    store.keep(tiered.address, expected, Outcome(iter([])), 60.0, 0.0)
    assert store.held(tiered.address) is None
    store.keep(tiered.address, expected, Outcome(["value"]), 60.0, 0.0)
    assert store.held(tiered.address) is not None


def test_copies_that_nobody_vouches_for_are_not_looked_at(tiered: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the channel is lost the backend is asked."""
    near: Any = tiered.shared.near  # type: ignore[attr-defined]  # it is tiered
    monkeypatch.setattr(near, "watch", lambda backend: None)
    assert tiered.shared.near_outcome(tiered.address) == Outcome(["value"])
    monkeypatch.setattr(near, "until", float("-inf"))
    assert tiered.shared.near_outcome(tiered.address) is None


def test_another_key_s_envelope_is_a_miss(make: Callable[..., Cache], backend: Between) -> None:
    """What stands under a key and says that it is another's is not served, and the connection is doubted."""
    cache = make()
    f = cache.cached(name="f")(lambda x: -x)
    f(1)
    (raw,) = backend.read([f.key_for(1)])
    assert raw is not None
    backend.transact([], [Put(f.key_for(2), raw)])
    before = cache._guard._doubted_at  # type: ignore[union-attr]  # the cache has a backend
    assert f(2) == -2
    assert f.stats().decode_errors == 1
    assert cache._guard._doubted_at > before  # type: ignore[union-attr]  # the cache has a backend
