"""Methods of every kind: whose entries they are, what their attributes are about, and that objects may die."""

from __future__ import annotations

import gc
import inspect
import pickle
import sys
import weakref
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from memocache import MISSING
from tests.promises.behaviour.world import World

pytestmark = pytest.mark.filterwarnings("ignore::memocache.UnsharedWarning")
LOG: list[Any] = []


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    LOG.clear()


def plain_m(self: Any, x: int, *, y: int = 0) -> tuple[int, int]:
    """A method's body."""
    LOG.append((x, y))
    return x, y


@dataclass(frozen=True)
class Point:
    """A `self` with a value identity."""

    n: int


def thing(world: World, **settings: Any) -> Any:
    """A class with one cached method."""

    class Thing:
        m = world.cached(plain_m, name="Thing.m", **settings)

    return Thing


def test_two_instances_are_apart(world: World) -> None:
    """Objects without a value identity each have their own entries."""
    kind = thing(world)
    a, b = kind(), kind()
    for one in (a, b, a, b):
        assert world.call(one.m, 1) == (1, 0)
    assert len(LOG) == 2
    assert a.m.key_for(1) != b.m.key_for(1)


def test_every_way_to_call_a_method_is_one_call(world: World) -> None:
    """Through the object, through the class, by keyword, through a kept bound method."""
    kind = thing(world)
    a = kind()
    kept = a.m
    for _ in range(2):
        assert world.call(a.m, 1) == world.call(kind.m, a, 1) == world.call(kept, x=1, y=0) == (1, 0)
        assert world.call(kind.m, self=a, x=1) == (1, 0)
    assert len(LOG) == 1
    assert a.m.key_for(1) == kind.m.key_for(a, 1) == kept.key_for(y=0, x=1)


def test_the_instance_is_not_kept_alive(world: World) -> None:
    """Nothing of the cache refers to an object because its methods were called; its entries go with it."""
    kind = thing(world)
    a = kind()
    world.call(a.m, 1)
    world.call(a.m, [2].__len__())
    world.call(a.m.put, "v", 3)
    world.call(a.m.peek, 3)
    watch = weakref.ref(a)
    del a
    gc.collect()
    assert watch() is None
    b = kind()
    world.call(b.m, 1)
    assert kind.m.cache_info().currsize == 1


def test_a_new_object_never_finds_the_entries_of_a_dead_one(world: World) -> None:
    """Addresses are reused by Python, identities are not."""
    kind = thing(world)
    for n in range(50):
        world.call(kind().m, 1)
        assert len(LOG) == n + 1


def test_the_attributes_of_a_bound_method_are_about_its_object(world: World) -> None:
    """`obj.m.invalidate(x)` and its kin take the arguments of `obj.m(x)`."""
    kind = thing(world)
    a, b = kind(), kind()
    for one in (a, b):
        world.call(one.m, 1)
    world.call(a.m.invalidate, 1)
    assert world.call(a.m.peek, 1) is MISSING
    assert world.call(b.m.peek, 1) == (1, 0)
    world.call(b.m, 1)
    assert len(LOG) == 2
    world.call(a.m.put, "put", 1, y=2)
    assert world.call(a.m, 1, y=2) == "put"
    assert world.call(b.m, 1, y=2) == (1, 2)
    assert world.call(a.m.refresh, 1, y=2) == (1, 2)
    assert world.call(a.m.map, [1, 5]) == [(1, 0), (5, 0)]
    assert a.m.cache_info() == kind.m.cache_info()
    assert a.m.stats().name == "Thing.m"
    assert a.m.cache_parameters()["name"] == "Thing.m"
    assert world.run(a.m.__wrapped__(9)) == (9, 0)
    world.call(a.m.invalidate_all)
    assert world.call(b.m.peek, 1) is MISSING
    world.call(b.m.cache_clear)
    assert kind.m.cache_info()[:2] == (0, 0)


def test_a_bound_method_looks_like_one(world: World) -> None:
    """Signature without `self`, `__self__`, `__func__`, names, documentation, colour and equality."""
    kind = thing(world)
    a, b = kind(), kind()
    assert list(inspect.signature(a.m).parameters) == ["x", "y"]
    assert inspect.ismethod(a.m)
    assert inspect.iscoroutinefunction(a.m) is world.is_async
    assert a.m.__self__ is a
    assert a.m.__func__ is kind.__dict__["m"]
    assert a.m.__name__ == "plain_m"
    assert a.m.__doc__ == "A method's body."
    assert a.m == a.m
    assert a.m != b.m
    assert len({a.m, a.m, b.m}) == 2
    assert list(inspect.signature(kind.m).parameters) == ["self", "x", "y"]


@pytest.mark.parametrize("outer", ["cached", "descriptor"])
def test_classmethods_and_staticmethods_in_either_order(world: World, outer: str) -> None:
    """`@cached` above or below `@classmethod` and `@staticmethod` works, through class and object."""

    def c(cls: type, x: int) -> tuple[str, int]:
        LOG.append(x)
        return cls.__name__, x

    def s(x: int) -> int:
        LOG.append(x)
        return x * 2

    class Base:
        made = world.cached(classmethod(c), name="c") if outer == "cached" else classmethod(world.cached(c, name="c"))
        static = (
            world.cached(staticmethod(s), name="s") if outer == "cached" else staticmethod(world.cached(s, name="s"))
        )

    class Child(Base):
        pass

    for _ in range(2):
        assert world.call(Base.made, 1) == world.call(Base().made, 1) == world.call(Base().made, x=1) == ("Base", 1)
        assert world.call(Child.made, 1) == ("Child", 1)
    assert len(LOG) == 2
    LOG.clear()
    for _ in range(2):
        assert world.call(Base.static, 1) == world.call(Base().static, 1) == world.call(Child.static, x=1) == 2
    assert len(LOG) == 1
    # from Python 3.13 on classmethod no longer asks what it wraps to bind itself, so that the class must be named
    named = outer == "descriptor" and sys.version_info >= (3, 13)
    base, child = ([Base], [Child]) if named else ([], [])
    world.call(Base.made.invalidate, *base, 1)
    assert world.call(Base.made.peek, *base, 1) is MISSING
    assert world.call(Child.made.peek, *child, 1) == ("Child", 1)
    world.call(Base.static.invalidate, 1)
    assert world.call(Child.static.peek, 1) is MISSING


@pytest.mark.skipif(sys.version_info < (3, 13), reason="here classmethod tells what it wraps of the class")
def test_a_class_that_python_does_not_tell_must_be_given(world: World) -> None:
    """Under `@classmethod` `C.m.invalidate(x)` and its like raise rather than be about a call that nobody makes."""

    class Base:
        @classmethod
        @world.cached
        def m(cls, x: int = 1, y: int = 2) -> int:
            return x + y

    assert world.call(Base.m, 5) == world.call(Base.m.peek, Base, 5) == 7
    for ask in (Base.m.invalidate, Base.m.peek, Base.m.refresh, Base.m.key_for, partial(Base.m.put, 8)):
        for args in ((), (5,), (5, 2)):
            with pytest.raises(TypeError, match="give the class first"):
                world.call(ask, *args)
    with pytest.raises(TypeError, match="give the class first"):
        world.call(Base.m.map, [5, 6])
    world.call(Base.m.invalidate, Base, 5)
    assert world.call(Base.m.peek, cls=Base, x=5) is MISSING


def test_inheritance_and_super(world: World) -> None:
    """An overriding cached method may call the cached method it overrides; an inherited one is one function."""

    class Base:
        n = world.cached(lambda self, x: LOG.append("n") or x, name="Base.n")

    if world.is_async:

        class Mid(Base):
            @world.cache.cached(name="Mid.n")
            async def n(self, x: int) -> int:
                return await super().n(x) + 1
    else:

        class Mid(Base):  # type: ignore[no-redef]  # the same class in the other colour
            @world.cache.cached(name="Mid.n")
            def n(self, x: int) -> int:
                return super().n(x) + 1

    class Leaf(Mid):
        pass

    a = Leaf()
    assert [world.call(a.n, 1) for _ in range(2)] == [2, 2]
    assert world.call(Base.n, a, 1) == 1
    assert LOG == ["n"]
    assert (Mid.n.cache_info()[:2], Base.n.cache_info()[:2]) == ((1, 1), (1, 1))


def test_a_class_cell_needs_no_name(world: World) -> None:
    """A method that uses `super()` or `__class__` captured its own class, which does not change with use."""

    class Own:
        @world.cached
        def m(self, x: int) -> str:
            LOG.append(x)
            return __class__.__name__ + str(x)  # type: ignore[name-defined]  # the compiler's own cell

    a = Own()
    assert [world.call(a.m, 1) for _ in range(2)] == ["Own1", "Own1"]
    assert len(LOG) == 1


def test_slotted_classes(world: World) -> None:
    """Objects with slots and weak references are told apart by identity."""

    class Slotted:
        __slots__ = ("__weakref__",)
        m = world.cached(plain_m, name="Slotted.m")

    a, b = Slotted(), Slotted()
    for one in (a, b, a, b):
        world.call(one.m, 1)
    assert len(LOG) == 2


def test_objects_without_weak_references(world: World) -> None:
    """Slots without `__weakref__` and identity hashing leave no way to see an object die: its entry holds it."""

    class Closed:
        __slots__ = ()
        m = world.cached(plain_m, name="Closed.m")

    one, kept = Closed(), sys.getrefcount(Closed)
    for _ in range(2):
        assert world.call(one.m, 1) == world.call(one.m, 1)
        world.call(Closed().m, 1)
    assert len(LOG) == 3
    assert Closed.m.cache_info().currsize == 3
    world.call(Closed.m.cache_clear)
    assert sys.getrefcount(Closed) == kept, "its instances are gone"


def test_unhashable_objects(world: World) -> None:
    """An object with `__eq__` and no hash is refused, naming `self`, unless `exclude=` or `key=` says what identifies
    the call.
    """

    class Unhashable:
        def __eq__(self, other: object) -> bool:
            return True

        m = world.cached(plain_m, name="Unhashable.m")
        free = world.cached(plain_m, name="Unhashable.free", exclude="self")

    with pytest.raises(TypeError, match="self"):
        world.call(Unhashable().m, 1)
    assert world.call(Unhashable().free, 1) == world.call(Unhashable().free, 1) == (1, 0)


def test_a_self_with_a_value(world: World) -> None:
    """Equal frozen dataclasses share entries, and the shared backend holds them."""

    @dataclass(frozen=True)
    class Local:
        n: int
        m = world.cached(plain_m, name="Local.m")

    for _ in range(2):
        world.call(Local(1).m, 1)
        world.call(Local(2).m, 1)
    assert len(LOG) == 2


def test_cache_key_of_self(world: World) -> None:
    """`__cache_key__` names an object across caches and processes."""

    class Keyed:
        def __cache_key__(self) -> str:
            return "one"

        m = world.cached(plain_m, name="Keyed.m")

    for _ in range(2):
        world.call(Keyed().m, 1)
    assert len(LOG) == 1


def test_excluding_self(world: World) -> None:
    """With `exclude="self"` all objects share the entries."""
    kind = thing(world, exclude="self")
    for _ in range(3):
        world.call(kind().m, 1)
    assert len(LOG) == 1


def test_a_property_over_a_cached_method(world: World) -> None:
    """A property may be made of a decorated function."""

    class Thing:
        value = property(world.cached(lambda self: LOG.append(1) or 7, name="Thing.value"))

    a, b = Thing(), Thing()
    assert [world.run(one.value) for one in (a, a, b)] == [7, 7, 7]
    assert len(LOG) == 2


def test_a_function_put_on_a_class_later(world: World) -> None:
    """Assigned to a class after use as a function, it works as a method."""
    f = world.cached(plain_m, name="later")

    class Thing:
        pass

    Thing.m = f  # type: ignore[attr-defined]  # that is the point
    a, b = Thing(), Thing()
    for one in (a, b, a, b):
        assert world.call(one.m, 1) == (1, 0)
    assert len(LOG) == 2


class Pickled:
    """A class whose bound methods are pickled."""

    def __eq__(self, other: object) -> bool:
        return type(other) is Pickled

    def __hash__(self) -> int:
        return 1


def test_bound_methods_pickle(local: World) -> None:
    """A bound method is pickled as its object and its name."""
    Pickled.plain_m = local.cached(plain_m, name="Pickled.m")  # type: ignore[attr-defined]  # as decorated in the class
    try:
        again = pickle.loads(pickle.dumps(Pickled().plain_m))  # type: ignore[attr-defined]
        assert again.__self__ == Pickled()
        assert local.call(again, 1) == (1, 0)
    finally:
        del Pickled.plain_m  # type: ignore[attr-defined]
