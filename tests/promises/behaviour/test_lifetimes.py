"""What the cache keeps alive (promise 2.6): an argument goes with its entry, a function with its last user; and how
often it asks an argument's own code.
"""

from __future__ import annotations

import gc
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from memocache import Cache, UnsharedWarning, UnstableKeyError
from memocache.testing import FakeClock
from tests.promises.behaviour.world import World

N = 40
pytestmark = pytest.mark.filterwarnings("ignore::memocache.UnsharedWarning")


class Valued:
    """Known by its own equality."""

    asked = 0

    def __init__(self, number: Any) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Valued) and self.number == other.number

    def __hash__(self) -> int:
        type(self).asked += 1
        return hash(self.number)


def living(watched: list[weakref.ref[Any]]) -> int:
    """How many of the objects are alive."""
    gc.collect()
    return sum(watch() is not None for watch in watched)


def called(function: Callable[[Any], Any], wrap: Callable[[Any], Any] = lambda key: key) -> list[weakref.ref[Any]]:
    """Call a function with N objects of their own equality, and watch these."""
    watched = []
    for number in range(N):
        key = Valued(number)
        function(wrap(key))
        watched.append(weakref.ref(key))
    return watched


WRAPS = {"alone": lambda key: key, "in a list": lambda key: [key], "in a tuple": lambda key: (1, key)}
ENDS: dict[str, Callable[[Cache, Any, FakeClock], Any]] = {
    "cache_clear": lambda cache, f, clock: f.cache_clear(),
    "invalidate_all": lambda cache, f, clock: f.invalidate_all(),
    "clear": lambda cache, f, clock: cache.clear(),
    "close": lambda cache, f, clock: cache.close(),
    "expiry": lambda cache, f, clock: (clock.advance(61), cache.purge()),
}


@pytest.mark.parametrize("end", [*ENDS, "invalidate"])
@pytest.mark.parametrize("wrap", WRAPS)
def test_arguments_go_with_their_entries(wrap: str, end: str) -> None:
    """Those known by their own equality are held while their entry is there, and not a moment longer."""
    clock = FakeClock()
    cache = Cache(clock=clock)
    f = cache.cached(ttl=60, name="f")(lambda key: 1)
    other = cache.cached(ttl=600, name="other")(lambda key: 2)
    other(Valued("stays"))
    watched = called(f, WRAPS[wrap])
    assert living(watched) == N
    assert f(WRAPS[wrap](Valued(3))) == 1
    assert f.cache_info().hits == 1
    if end == "invalidate":
        for number in range(N):
            f.invalidate(WRAPS[wrap](Valued(number)))
            assert living(watched) == N - 1 - number
    else:
        ENDS[end](cache, f, clock)
    assert living(watched) == 0
    other(Valued("stays"))
    assert other.cache_info().hits == (end not in ("clear", "close"))


@pytest.mark.parametrize("maxsize", [1, 5])
def test_arguments_go_with_evicted_entries(maxsize: int) -> None:
    """At most as many are alive as there may be entries."""
    f = Cache().cached(maxsize=maxsize)(lambda key: 1)
    assert living(called(f)) <= maxsize


def test_instances_go_with_the_entries_of_their_methods(world: World) -> None:
    """Of any backend: a `self` with an equality of its own is held for its entries at most."""

    class Service(Valued):
        m = world.cached(lambda self: 1, name="Service.m", maxsize=2)

    watched = []
    for number in range(10):
        service = Service(number)
        world.call(service.m)
        watched.append(weakref.ref(service))
    assert living(watched[:-1]) <= 2
    world.call(service.m.cache_clear)
    del service
    assert living(watched) == 0


def test_destructors_run_outside_the_lock(world: World) -> None:
    """What an argument's finalizer calls may use the cache, also where another thread is needed for that."""
    if world.is_async:
        pytest.skip("a finalizer awaits nothing")
    owned: list[bool] = []
    f = world.cached(lambda self: 1, name="f", cache=world.cache)
    tier = world.cache._tier

    class Last(Valued):
        m = f

        def __del__(self) -> None:
            owned.append(tier.lock._is_owned())  # type: ignore[attr-defined]  # as the lock itself asks

    one = Last(1)
    world.call(one.m)
    del one
    gc.collect()
    assert owned == []
    world.call(f.cache_clear)
    gc.collect()
    assert owned == [False]


def test_functions_made_at_run_time_go_with_their_last_user() -> None:
    """A bound method that is cached and kept on its object, and a closure over an object, with all they captured."""

    class Service:
        def __init__(self, cache: Cache, how: str) -> None:
            if how == "bound":
                self.get = cache.cached(self.raw)
            elif how == "closure":
                self.get = cache.cached(lambda x: self.raw(x))
            else:
                self.get = cache.cached(lambda x, held=self: held.raw(x))

        def raw(self, x: int) -> Any:
            return x

    for how in ("bound", "closure", "default"):
        cache, watched = Cache(), []
        for _ in range(N):
            service = Service(cache, how)
            service.get(1)
            watched.append(weakref.ref(service))
        del service
        assert living(watched) <= 1, how
        cache.clear()
        assert living(watched) == 0, how


def test_what_such_a_function_returned_goes_with_it() -> None:
    """Nobody can ask for it again."""

    class Service:
        def raw(self, x: int) -> Any:
            return Valued(x)

    cache, watched = Cache(), []
    for _ in range(N):
        service = Service()
        service.get = cache.cached(share=True)(service.raw)  # type: ignore[attr-defined]
        watched.append(weakref.ref(service.get(1)))  # type: ignore[attr-defined]
    del service
    gc.collect()
    cache.cached(lambda x: x)([1])
    assert living(watched) == 0
    assert len(cache._tier.tables()) < 10
    assert cache.stats().misses == N + 1, "what they counted stays counted"


@pytest.mark.parametrize(
    "wrap", [lambda key: key, lambda key: [key], lambda key: (key,)], ids=["alone", "in a list", "in a tuple"]
)
def test_a_hash_is_asked_once_a_hit_and_twice_a_miss(wrap: Callable[[Any], Any]) -> None:
    """However the call is spelled and wherever the argument stands."""
    cache = Cache()
    f = cache.cached(ttl=60, name="f")(lambda a, b=1, *rest, **more: 1)

    class Service(Valued):
        @cache.cached(ttl=60)
        def m(self, x: int) -> int:
            return x

    calls = [
        lambda: f(wrap(Valued(1))),
        lambda: f(1, wrap(Valued(2))),
        lambda: f(a=wrap(Valued(3))),
        lambda: f(1, 2, wrap(Valued(4))),
        lambda: f(1, key=wrap(Valued(5))),
        lambda: Service(6).m(1),
    ]
    for call in calls:
        Valued.asked = Service.asked = 0
        call()
        assert Valued.asked + Service.asked <= 2
        for _ in range(3):
            Valued.asked = Service.asked = 0
            call()
            assert Valued.asked + Service.asked <= 1


@pytest.mark.parametrize("error", [RecursionError, ValueError, KeyError, MemoryError, OverflowError, KeyboardInterrupt])
@pytest.mark.parametrize("what", ["__hash__", "__eq__"])
def test_what_an_argument_raises_is_raised(local: World, what: str, error: type[BaseException]) -> None:
    """As it is: the function has not run, and neither is anything said of the key."""

    class Bad(Valued):
        bad = False

    def raises(*_: Any) -> Any:
        if Bad.bad:
            raise error("of its own")
        return 1 if what == "__hash__" else False

    setattr(Bad, what, raises)
    if what == "__eq__":
        Bad.__hash__ = lambda self: 1  # type: ignore[method-assign]
    f = local.cached(lambda x: 1, name="bad")
    local.call(f, Bad(0))
    Bad.bad = True
    for argument in (Bad(1), [Bad(1)], {"k": (Bad(1),)}):
        with pytest.raises(error, match="of its own"):
            local.call(f, argument)


def test_unhashable_is_said_as_by_hash(world: World) -> None:
    """The UnstableKeyError of what has no hash begins as the text of `hash`; another TypeError is the object's own."""

    class Unhashable(Valued):
        __hash__ = None  # type: ignore[assignment]

    class Holder(Valued):
        def __hash__(self) -> int:
            return hash([self.number])

    class Own(Valued):
        def __hash__(self) -> int:
            raise TypeError("of its own")

    f = world.cached(lambda x: 1, name="f")
    for argument in (Unhashable(1), [Unhashable(1)], *([] if world.shared else [Holder(1)])):
        with pytest.raises(UnstableKeyError, match=r"^unhashable type: .*parameter 'x'.*__cache_key__"):
            world.call(f, argument)
    if not world.shared:
        with pytest.raises(TypeError, match=r"^of its own"):
            world.call(f, Own(1))


def test_a_hash_that_calls_a_cached_method_of_its_own_ends(local: World) -> None:
    """In a RecursionError, as under `functools.lru_cache`."""
    if local.is_async:
        pytest.skip("a hash awaits nothing")

    class Item(Valued):
        def __hash__(self) -> int:
            return hash(self.fingerprint())

        @local.cached
        def fingerprint(self) -> str:
            return str(self.number)

    with pytest.raises(RecursionError):
        Item(1).fingerprint()
    f = local.cached(lambda item: 1, name="f")
    with pytest.raises(RecursionError):
        f(Item(1))


# -- calls that never hit


class Session:
    """Injected anew with each request."""


def never(caught: Any) -> list[str]:
    """The warnings about a function that is never served."""
    return [str(each.message) for each in caught if "hardly a call" in str(each.message)]


@pytest.mark.parametrize("make", [Session, lambda: Valued(Session()), object], ids=["identity", "equality", "held"])
@pytest.mark.parametrize("where", ["argument", "keyword", "list", "self"])
def test_a_function_that_never_hits_says_why(local: World, make: Callable[[], Any], where: str) -> None:
    """One warning, after a hundred misses, that names the parameter, the function's line and the ways out."""

    class Repository(Valued if make() is not None and isinstance(make(), Valued) else object):  # type: ignore[misc]
        def __init__(self) -> None:
            self.number = Session()

        m = local.cached(lambda self, number: 1, name="Repository.m")

    f = local.cached(lambda session, number, **more: 1, name="f")
    calls: dict[str, Callable[[], Any]] = {
        "argument": lambda: local.call(f, make(), 1),
        "keyword": lambda: local.call(f, 1, 2, given=make()),
        "list": lambda: local.call(f, [make()], 1),
        "self": lambda: local.call(Repository().m, 1),
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(99):
            calls[where]()
        assert never(caught) == []
        for _ in range(300):
            calls[where]()
    (said,) = never(caught)
    parameter = {"keyword": "more", "self": "self"}.get(where, "session")
    for part in (f"parameter {parameter!r}", "__cache_key__", "key=", "exclude=", "server"):
        assert part in said
    (warning,) = [each for each in caught if "hardly a call" in str(each.message)]
    assert issubclass(warning.category, UnsharedWarning)
    if not local.is_async:
        assert warning.filename == __file__


def test_functions_that_hit_say_nothing(local: World) -> None:
    """Nor do those whose misses are of values: new numbers, instances of a class that only this process knows."""

    @dataclass(frozen=True)
    class Local:
        number: int

    f = local.cached(lambda given, number: 1, name="f")
    kept = [Session() for _ in range(50)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(250):
            local.call(f, number, 1)
            local.call(f, Local(number), 1)
        for number in range(500):
            local.call(f, kept[number % 50], 2)
            local.call(f, kept[number % 50], 2)
