"""Tokens and names: who a value is when its content does not say."""

from __future__ import annotations

import collections
import gc
import operator
import re
import sys
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from memocache._calls.keys.canonical import canonical_args
from memocache._runtime.object_identity import Held, Identities, NoIdentity, Recorder, class_path, function_path


class Plain:
    pass


class Slotted:
    __slots__ = ()


class Valued:
    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Valued) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


class Equal(Valued):
    """Calls itself equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = Valued.__hash__


def test_token_is_steady_while_the_object_lives() -> None:
    """One object has one token, and no two living objects share one."""
    registry, kept = Identities(), [Plain() for _ in range(100)]
    tokens = [registry.token(obj) for obj in kept]
    assert tokens == [registry.token(obj) for obj in kept]
    assert len(set(tokens)) == len({registry.spell(token) for token in tokens}) == 100
    assert {len(registry.spell(token)) for token in tokens} == {16}


def test_token_dies_with_the_object_and_is_never_reused() -> None:
    """A later object at the same address gets a new number, and the dead number is reported once."""
    registry = Identities()
    tokens, addresses = [], set()
    for _ in range(300):
        obj = Plain()
        addresses.add(id(obj))
        tokens.append(registry.token(obj))
        del obj
    assert len(addresses) < 300  # addresses were reused
    assert len(set(tokens)) == 300
    assert registry.drain_dead() == tokens
    assert registry.drain_dead() == []


def test_registry_keeps_nothing_alive() -> None:
    """Objects known by identity are freed at once, those in cycles by the collector, and both are reported."""
    registry, obj, loop = Identities(), Plain(), Plain()
    loop.loop = loop  # type: ignore[attr-defined]
    numbers = {registry.token(each) for each in (obj, loop)}
    gone = weakref.ref(obj)
    del obj
    assert gone() is None
    del loop
    gc.collect()
    assert set(registry.drain_dead()) == numbers


@pytest.mark.parametrize("make", [object, Slotted, lambda: operator.itemgetter(1), lambda: re.match("a", "a")])
def test_object_without_weak_references_is_held(make: Callable[[], Any]) -> None:
    """Nothing would tell that it died: it is itself and nobody else for as long as its token is held."""
    registry, one, other = Identities(), make(), make()
    token = registry.identity(one)
    assert isinstance(token, Held)
    assert registry.token(one) is token is registry.identity(one)
    assert registry.spell(registry.token(other)) != registry.spell(token)
    kept, number = sys.getrefcount(one), registry.spell(token)
    del token
    assert sys.getrefcount(one) == kept - 1
    assert registry.spell(registry.token(one)) != number, "a number is never used again"


def test_object_revived_by_its_finalizer_gets_another_token_or_keeps_its_own() -> None:
    """Revival never leads to one token for two objects."""
    revived: list[Any] = []

    class Phoenix:
        def __del__(self) -> None:
            revived.append(self)

    registry, bird = Identities(), Phoenix()
    first = registry.token(bird)
    bird.loop = bird  # type: ignore[attr-defined]
    del bird
    gc.collect()
    dead = first in registry.drain_dead()
    assert dead == (registry.token(revived[0]) != first)
    assert registry.token(Plain()) not in (first, registry.token(revived[0]))


def test_equal_objects_are_interned_under_their_exact_class() -> None:
    """Equality is the object's own, but never across classes, even if it claims to equal everything."""
    registry = Identities()
    kept = [registry.token(value) for value in (Valued(1), Valued(2), Equal(1))]
    assert [registry.token(value) for value in (Valued(1), Valued(2), Equal(1))] == kept
    assert len({registry.spell(token) for token in kept}) == 3
    assert registry.drain_dead() == []


def test_interned_objects_go_with_who_holds_them() -> None:
    """One that is held keeps its number however many come after; the others are let go of, and leave nothing behind."""
    registry, watched = Identities(), []
    used = registry.token(Valued(-1))
    for value in range(1000):
        obj = Valued(value)
        watched.append(weakref.ref(obj))
        registry.token(obj)
        assert registry.token(Valued(-1)) is used
    del obj
    assert not any(watch() for watch in watched)
    registry.drain_dead()
    assert len(registry._held) == 1
    del used
    registry.drain_dead()
    assert registry._held == {}


def test_objects_of_one_hash_are_apart() -> None:
    """Those that share a hash are told apart by their equality, and one of them leaves the others as they are."""

    class Crowd(Valued):
        def __hash__(self) -> int:
            return 1

    registry = Identities()
    kept = [registry.token(Crowd(value)) for value in range(5)]
    numbers = [registry.spell(token) for token in kept]
    assert len(set(numbers)) == 5
    del kept[2]
    registry.drain_dead()
    assert [registry.spell(registry.token(Crowd(value))) for value in (0, 1, 3, 4)] == numbers[:2] + numbers[3:]
    assert registry.spell(registry.token(Crowd(2))) not in numbers


def test_a_hash_is_asked_once() -> None:
    """Also when the object is let go of, which asks nothing of it."""
    asked: list[str] = []

    class Asked(Valued):
        def __hash__(self) -> int:
            asked.append("hash")
            return 1

        def __eq__(self, other: object) -> bool:
            asked.append("eq")
            return super().__eq__(other)

    registry, obj = Identities(), Asked(1)
    token = registry.token(obj)
    assert asked == ["hash"]
    assert registry.token(obj) is token
    assert asked == ["hash", "hash"]
    del token
    registry.drain_dead()
    assert asked == ["hash", "hash"]


def test_what_its_own_code_raises_is_raised() -> None:
    """Only an object without a hash is without identity: what its ``__hash__`` or ``__eq__`` raises is its own."""

    class Raises(Valued):
        def __eq__(self, other: object) -> bool:
            raise KeyboardInterrupt if self.value < 0 else LookupError

        def __hash__(self) -> int:
            if self.value > 2:
                raise TypeError("of its own") if self.value > 3 else TypeError(f"unhashable type: {[]!r}")
            return 1

    registry = Identities()
    for unhashable in (collections.deque(), Raises(3)):
        with pytest.raises(NoIdentity) as refused:
            registry.token(unhashable)
        assert refused.value.unhashable
    with pytest.raises(TypeError, match="of its own"):
        registry.token(Raises(4))
    kept = registry.token(Raises(1))
    with pytest.raises(LookupError):
        registry.token(Raises(2))
    assert kept is registry.token(kept.value)  # type: ignore[union-attr]  # it is held


def test_threads_agree_on_equal_objects() -> None:
    """Equal objects that threads bring at one moment are one: whoever comes second finds the first."""
    registry, gate = Identities(), threading.Barrier(4)
    found: list[list[Any]] = []

    def work() -> None:
        mine = []
        for value in range(300):
            if value % 50 == 0:
                gate.wait()
            mine.append(registry.token(Valued(value)))
        found.append(mine)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert all(tokens == found[0] for tokens in found)
    assert len({registry.spell(token) for token in found[0]}) == 300


def test_tokens_of_two_registries_differ() -> None:
    """A token means nothing to another registry, so none may be taken for one of its own."""
    obj = Plain()
    first, second = Identities(), Identities()
    assert first.spell(first.token(obj)) != second.spell(second.token(obj))


def test_classes_are_known_by_identity_whatever_their_metaclass_says() -> None:
    """A metaclass that defines equality cannot merge two classes."""

    class Meta(type):
        def __eq__(cls, other: object) -> bool:
            return True

        def __hash__(cls) -> int:
            return 1

    first, second, registry = Meta("A", (), {}), Meta("A", (), {}), Recorder(Identities())
    assert registry.identity(first) == registry.identity(first) != registry.identity(second)
    assert canonical_args((first,), registry) != canonical_args((second,), registry)


def test_recorder_lists_the_tokens_of_a_key() -> None:
    """The tokens that went into one key are known, so its entry can go when one of their objects dies."""
    registry, obj = Identities(), Plain()
    recorder = Recorder(registry)
    canonical_args((obj, [obj], Valued(1)), recorder)
    number, again, held = recorder.tokens
    assert number == again == registry.token(obj)
    assert isinstance(held, Held)
    assert held.value == Valued(1)
    del obj
    assert registry.drain_dead() == [number]


def test_names_must_lead_back_to_the_very_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class or function counts by name only while its module still holds it under that name."""
    assert class_path(Plain) == (__name__, "Plain")
    assert class_path(type(None)) == ("types", "NoneType")
    assert function_path(len) == ("builtins", "len")
    assert function_path(str.lower) == ("builtins", "str.lower")
    assert function_path(lambda: 0) is None
    module = types.ModuleType("fleeting")
    monkeypatch.setitem(sys.modules, "fleeting", module)
    owner = type("Owner", (), {"__module__": "fleeting"})
    assert class_path(owner) is None
    module.Owner = owner  # type: ignore[attr-defined]
    assert class_path(owner) == ("fleeting", "Owner")
    monkeypatch.delitem(sys.modules, "fleeting")
    assert class_path(owner) is None


def test_module_that_raises_on_look_up_names_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module's own ``__getattr__`` may raise anything."""
    module = types.ModuleType("thorny")

    def refuse(name: str) -> Any:
        raise RuntimeError

    module.__getattr__ = refuse  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "thorny", module)
    assert class_path(type("Rose", (), {"__module__": "thorny"})) is None


def test_threads_agree_on_tokens_and_lose_no_death() -> None:
    """Under contention one object has one token everywhere, and every death is reported once."""
    registry, kept, gate = Identities(), [Plain() for _ in range(200)], threading.Barrier(4)
    found: list[list[Any]] = []
    died: list[Any] = []

    def work() -> None:
        gate.wait()
        tokens = [registry.token(obj) for obj in kept]
        for _ in range(2000):
            died.append(registry.token(Plain()))
        found.append(tokens)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        drained = []
        while any(thread.is_alive() for thread in threads):
            drained += registry.drain_dead()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    drained += registry.drain_dead()
    assert all(tokens == found[0] for tokens in found)
    assert sorted(drained) == sorted(died)
    assert len(set(died)) == 8000
