"""Arguments that are not what they seem: proxies, which speak for another object, and functions in wrappers."""

from __future__ import annotations

import contextvars
import weakref
from typing import Any
from unittest import mock

import pytest
import wrapt

from memocache import Cache, UnstableKeyError
from memocache._calls.keys.canonical import canonical
from memocache._runtime.object_identity import Identities, NoIdentity, Recorder


class User:
    """Hashes by identity."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def greet(self) -> str:
        """A method."""
        return self.name


current: contextvars.ContextVar[Any] = contextvars.ContextVar("current")


class HandMade:
    """A proxy as people write them, which hashes as whatever it stands for."""

    @property
    def __class__(self) -> type:
        return type(current.get())

    def __getattr__(self, name: str) -> Any:
        return getattr(current.get(), name)

    def __hash__(self) -> int:
        return hash(current.get())

    def __eq__(self, other: object) -> bool:
        return bool(current.get() == other)


class ByIdentity:
    """The same without a hash of its own."""

    @property
    def __class__(self) -> type:
        return type(current.get())

    def __getattr__(self, name: str) -> Any:
        return getattr(current.get(), name)


def proxy_of(kind: str) -> Any:
    """A proxy of the current object."""
    if kind == "werkzeug":
        return pytest.importorskip("werkzeug.local").LocalProxy(current)
    return HandMade() if kind == "hand-made" else ByIdentity()


@pytest.mark.parametrize("wrap", [lambda user: user, lambda user: [user], lambda user: {"user": user}])
@pytest.mark.parametrize("kind", ["hand-made", "by identity", "werkzeug"])
def test_a_proxy_never_gives_anothers_answer(kind: str, wrap: Any) -> None:
    """Whoever stands behind it dies and another takes the address: each gets what is about them, or a refusal."""
    proxy = proxy_of(kind)
    name = Cache().cached(lambda given: _first(given).name)
    for number in range(60):
        current.set(None)
        current.set(User(f"user {number}"))
        try:
            assert name(wrap(proxy)) == f"user {number}"
        except UnstableKeyError as refused:
            assert kind != "werkzeug"
            assert "is a proxy" in str(refused)  # noqa: PT017  # one of the two outcomes


def _first(given: Any) -> Any:
    kind = type(given)
    return given[0] if kind is list else given["user"] if kind is dict else given


def test_a_proxy_of_werkzeug_is_what_it_stands_for() -> None:
    """By value, so that a server may hold it; unbound it is refused."""
    local = pytest.importorskip("werkzeug.local")
    proxy, process = local.LocalProxy(current), Recorder(Identities())
    current.set("a")
    first = canonical(proxy)
    current.set("b")
    assert canonical(proxy) != first
    current.set("a")
    assert canonical(proxy) == first != canonical("a")
    for registry in (None, process):
        with pytest.raises(NoIdentity):
            canonical(local.LocalProxy(contextvars.ContextVar("unbound")), registry)


def test_a_lazy_object_of_django_is_what_it_stands_for() -> None:
    """It is asked for then, as by any other use of it."""
    functional = pytest.importorskip("django.utils.functional")
    made: list[int] = []
    lazy = functional.SimpleLazyObject(lambda: made.append(1) or "a")
    assert canonical(lazy) == canonical(functional.SimpleLazyObject(lambda: "a"))
    assert canonical(lazy) != canonical(functional.SimpleLazyObject(lambda: "b"))
    assert made == [1]


def test_a_proxy_of_wrapt_is_what_it_wraps() -> None:
    """A class of one's own may hold more than that, and is refused."""

    class Tenant(wrapt.ObjectProxy):  # type: ignore[misc]  # wrapt has no types for it
        """Speaks for an object, and has a state."""

    assert canonical(wrapt.ObjectProxy(1)) == canonical(wrapt.ObjectProxy(1)) != canonical(wrapt.ObjectProxy(2))
    with pytest.raises(NoIdentity, match="is a proxy"):
        canonical(Tenant(1), Recorder(Identities()))


def test_a_weak_proxy_is_refused() -> None:
    """It stands for an object that may go at any moment."""
    user = User()
    with pytest.raises(NoIdentity, match="is a proxy"):
        canonical(weakref.proxy(user), Recorder(Identities()))


def test_a_mock_is_itself() -> None:
    """Whatever class it was made after: tests pass them where a session is expected."""
    process = Recorder(Identities())
    one, other = mock.Mock(spec=User), mock.MagicMock(spec=User)
    assert canonical(one, process) == canonical(one, process) != canonical(other, process)


@wrapt.decorator
def shouting(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """A decorator of wrapt."""
    return wrapped(*args, **kwargs).upper()


@shouting
def greet() -> str:
    """A function in a wrapper that its name leads to."""
    return "hello"


def test_functions_in_wrappers_are_apart() -> None:
    """Two wrappers of one function are equal, and may do different things; a name that leads to a wrapper is its."""
    process = Recorder(Identities())
    plain = greet.__wrapped__
    assert canonical(greet) not in (canonical(shouting(plain), process), canonical(plain, process))
    one, two = shouting(plain), shouting(plain)
    assert one == two
    assert canonical(one, process) == canonical(one, process) != canonical(two, process)
    with pytest.raises(NoIdentity):
        canonical(one)


def test_decorated_methods_as_arguments() -> None:
    """A cached method of an object is that method and that object, on each access anew."""
    cache, process = Cache(), Recorder(Identities())

    class Service(User):
        @cache.cached
        def one(self) -> int:
            return 1

        @cache.cached
        def two(self) -> int:
            return 2

        @shouting
        def three(self) -> str:
            return "three"

    service = Service()
    keys = [
        [canonical(method, process) for method in (owner.one, owner.two, owner.three)]
        for owner in (service, service, Service())
    ]
    assert keys[0] == keys[1]
    assert len({*keys[0], *keys[2]}) == 6
