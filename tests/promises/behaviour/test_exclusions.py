"""`exclude=`: parameters by name, and sessions, requests and their like by class."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Annotated, Any, Optional

import pytest

from memocache import Cache, ConfigurationError
from tests.promises.behaviour.world import World

if TYPE_CHECKING:
    from sqlalchemy.orm import Session as Elsewhere


class Session:
    """What frameworks inject: without a value, and another one each time."""


class Request(Session):
    """A subclass."""


class Lying:
    """What stands for a session that is not there."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("outside of a request")


LOG: list[int] = []


def by_class(x: int, session: Session) -> int:
    LOG.append(x)
    return x


def optional(x: int, session: Optional[Session] = None) -> int:  # noqa: UP045  # as many spell it
    LOG.append(x)
    return x


def annotated(x: int, *, session: Annotated[Request | None, "injected"] = None) -> int:
    LOG.append(x)
    return x


def unannotated(x: int, session: Any) -> int:
    LOG.append(x)
    return x


def many(x: int, *sessions: Any) -> int:
    LOG.append(x)
    return x


def named(x: int, **sessions: Any) -> int:
    LOG.append(x)
    return x


@pytest.fixture(autouse=True)
def _fresh() -> None:
    LOG.clear()


@pytest.mark.parametrize("of_cache", [False, True], ids=["function", "cache"])
@pytest.mark.parametrize("function", [by_class, optional, annotated, unannotated, many, named])
def test_an_injected_object_changes_no_key(world: World, function: Any, of_cache: bool) -> None:
    """However it is annotated and passed, on the function or for every function of the cache."""
    if of_cache:
        f = world.cached(function, cache=world.new_cache(exclude=Session))
    else:
        f = world.cached(function, exclude=(Session,))
    for make in (Session, Request, Request):
        for x in (1, 2):
            assert (
                world.call(f, x, make()) == x
                if function in (by_class, unannotated, many)
                else world.call(f, x, session=make())
            )
    assert LOG == [1, 2]
    assert f.cache_info()[:2] == (4, 2)


def test_an_annotated_parameter_is_left_out_whatever_it_holds(world: World) -> None:
    """None in place of a session is the same call."""
    f = world.cached(optional, exclude=Session)
    assert [world.call(f, 1), world.call(f, 1, None), world.call(f, 1, session=Session())] == [1, 1, 1]
    assert LOG == [1]


def test_a_name_for_type_checkers_alone(world: World) -> None:
    """An annotation that cannot be looked up counts by its words."""

    class Elsewhere_(Session):
        pass

    Elsewhere_.__name__ = "Elsewhere"

    def f(x: int, db: Elsewhere | None = None) -> int:
        LOG.append(x)
        return x

    g = world.cached(f, exclude=Elsewhere_, name="elsewhere")
    assert [world.call(g, 1), world.call(g, 1, "anything")] == [1, 1]
    assert LOG == [1]


def test_names_and_classes_together(world: World) -> None:
    """Both in one `exclude`, and what the cache says besides."""

    def f(x: int, trace: str, session: Session) -> int:
        LOG.append(x)
        return x

    g = world.cached(f, exclude=("trace", Request), name="both", cache=world.new_cache(exclude=[Session]))
    assert [world.call(g, 1, str(n), Session()) for n in range(3)] == [1, 1, 1]
    assert LOG == [1]


def test_names_of_the_cache_that_a_function_does_not_have(world: World) -> None:
    """A name in the cache's `exclude` is for the functions that have such a parameter."""
    cache = world.new_cache(exclude=["trace"])
    f = world.cached(lambda x: x, name="without", cache=cache)
    g = world.cached(lambda x, trace: LOG.append(x) or x, name="with", cache=cache)
    assert [world.call(f, 1), world.call(g, 1, "a"), world.call(g, 1, trace="b")] == [1, 1, 1]
    assert LOG == [1]


@pytest.mark.filterwarnings("ignore::memocache.UnsharedWarning")  # the class is nowhere to be imported from
def test_a_method_and_a_cache_that_excludes(world: World) -> None:
    """The look-up of a method is made anew when its cache leaves out a parameter."""
    cache = world.new_cache(exclude=Session)

    class Shop:
        def __cache_key__(self) -> int:
            return 1

        @cache.cached(name="shop.price")
        def price(self, x: int, session: Session) -> int:
            LOG.append(x)
            return x

        @cache.cached(name="shop.rate")
        @classmethod
        def rate(cls, x: int, session: Session) -> int:
            LOG.append(x)
            return x

    shop = Shop()
    bound = shop.price
    assert [bound(1, Session()), bound(1, Session()), shop.price(1, Session()), Shop.rate(2, Session())] == [1, 1, 1, 2]
    assert [Shop.rate(2, Session()), LOG] == [2, [1, 2]]


def test_scalars_by_class(world: World) -> None:
    """A class that plain values are instances of leaves these out too."""
    f = world.cached(lambda x, note: LOG.append(x) or x, exclude=str, name="scalars")
    assert [world.call(f, 1, note) for note in ("a", "b", "c")] == [1, 1, 1]
    assert world.call(f, 1, 5) == 1
    assert LOG == [1, 1]


def test_what_raises_when_asked_for_its_class() -> None:
    """Such a proxy is no session; it is what it is as an argument."""
    f = Cache().cached(lambda x, session: x, exclude=Session)
    with pytest.raises(Exception, match=r"."):
        f(1, Lying())


@pytest.mark.parametrize("bad", [5, [5], [""], None, typing.Any])
def test_neither_name_nor_class(bad: Any) -> None:
    """Anything else is refused when decorating, and when making the cache."""
    with pytest.raises(ConfigurationError, match="exclude="):
        Cache().cached(exclude=bad)(by_class)
    with pytest.raises(ConfigurationError, match="exclude="):
        Cache(exclude=bad)
