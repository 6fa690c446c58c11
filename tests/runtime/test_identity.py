"""Tokens and names: who a value is when its content does not say."""

from __future__ import annotations

import collections
import gc
import sys
import threading
import types
import weakref
from typing import Any

import pytest

from memocache._calls.keys.canonical import canonical_args
from memocache._runtime.identity import Identities, NoIdentity, Recorder, class_path, function_path


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
    assert len(set(tokens)) == 100
    assert {len(token) for token in tokens} == {16}


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
    assert registry.drain_dead() == [Identities.number(token) for token in tokens]
    assert registry.drain_dead() == []


def test_registry_keeps_nothing_alive() -> None:
    """Objects known by identity are freed at once, those in cycles by the collector, and both are reported."""
    registry, obj, loop = Identities(), Plain(), Plain()
    loop.loop = loop  # type: ignore[attr-defined]
    numbers = {Identities.number(registry.token(each)) for each in (obj, loop)}
    gone = weakref.ref(obj)
    del obj
    assert gone() is None
    del loop
    gc.collect()
    assert set(registry.drain_dead()) == numbers


def test_object_without_weak_references_has_no_token() -> None:
    """Nothing would tell that it died, so it is refused."""
    for obj in (object(), Slotted()):
        with pytest.raises(NoIdentity):
            Identities().token(obj)


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
    dead = Identities.number(first) in registry.drain_dead()
    assert dead == (registry.token(revived[0]) != first)
    assert registry.token(Plain()) not in (first, registry.token(revived[0]))


def test_equal_objects_are_interned_under_their_exact_class() -> None:
    """Equality is the object's own, but never across classes, even if it claims to equal everything."""
    registry = Identities()
    assert registry.token(Valued(1)) == registry.token(Valued(1)) != registry.token(Valued(2))
    assert registry.token(Equal(1)) == registry.token(Equal(1)) != registry.token(Valued(1))
    assert registry.drain_dead() == []


def test_interning_is_bounded_and_numbers_are_never_reused() -> None:
    """Past the bound the oldest are forgotten, at the cost of a new number; those in use stay."""
    registry = Identities(interned=100)
    used, first = registry.token(Valued(-1)), registry.token(Valued(0))
    seen = {used, first}
    for value in range(1, 1000):
        token = registry.token(Valued(value))
        assert token not in seen
        seen.add(token)
        assert registry.token(Valued(-1)) == used
    assert registry.token(Valued(0)) not in seen
    assert len(registry._young) + len(registry._old) <= 100


def test_unhashable_and_raising_objects_have_no_token() -> None:
    """Without a working hash and equality there is no identity, whatever they raise."""

    class Raises(Valued):
        def __eq__(self, other: object) -> bool:
            raise KeyboardInterrupt if self.value < 0 else LookupError

        def __hash__(self) -> int:
            return 1

    registry = Identities()
    with pytest.raises(NoIdentity):
        registry.token(collections.deque())
    registry.token(Raises(1))
    with pytest.raises(NoIdentity) as caught:
        registry.token(Raises(2))
    assert isinstance(caught.value.__cause__, LookupError)


def test_tokens_of_two_registries_differ() -> None:
    """A token means nothing to another registry, so none may be taken for one of its own."""
    obj = Plain()
    assert Identities().token(obj) != Identities().token(obj)


def test_classes_are_known_by_identity_whatever_their_metaclass_says() -> None:
    """A metaclass that defines equality cannot merge two classes."""

    class Meta(type):
        def __eq__(cls, other: object) -> bool:
            return True

        def __hash__(cls) -> int:
            return 1

    first, second, registry = Meta("A", (), {}), Meta("A", (), {}), Identities()
    assert registry.identity(first) == registry.identity(first) != registry.identity(second)
    assert canonical_args((first,), registry) != canonical_args((second,), registry)


def test_recorder_lists_the_numbers_of_a_key() -> None:
    """The tokens that went into one key are known, so its entry can go when one of their objects dies."""
    registry, obj = Identities(), Plain()
    recorder = Recorder(registry)
    assert canonical_args((obj, [obj], 1), recorder) == canonical_args((obj, [obj], 1), registry)
    assert set(recorder.numbers) == {Identities.number(registry.token(obj))}
    del obj
    assert registry.drain_dead() == recorder.numbers[:1]


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
    found: list[list[bytes]] = []
    died: list[int] = []

    def work() -> None:
        gate.wait()
        tokens = [registry.token(obj) for obj in kept]
        for _ in range(2000):
            died.append(Identities.number(registry.token(Plain())))
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
