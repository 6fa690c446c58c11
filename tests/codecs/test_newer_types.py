"""Values of newer Pythons: each comes back as it is, is known by value, and is refused where Python lacks its type."""

from __future__ import annotations

import builtins
import functools
import sys
import types
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from memocache import Cache
from memocache._calls.keys.canonical import canonical
from memocache._runtime.object_identity import NoIdentity
from memocache.codecs import Codec
from memocache.codecs.copying import copier
from memocache.codecs.writer import NATIVE, SILENT
from memocache.exceptions import DecodeError, EncodeError

frozendict: Any = getattr(builtins, "frozendict", None)
sentinel: Any = getattr(builtins, "sentinel", None)
needs_315 = pytest.mark.skipif(frozendict is None, reason="Python 3.15's types")
needs_314 = pytest.mark.skipif(sys.version_info < (3, 14), reason="Python 3.14's types")
MODULE = types.ModuleType("newer_types_module")


@pytest.fixture(autouse=True)
def module() -> Iterator[None]:
    sys.modules[MODULE.__name__] = MODULE
    yield
    del sys.modules[MODULE.__name__]


def named(name: str, found_as: str | None = None) -> Any:
    """A sentinel that `MODULE` holds."""
    namespace: dict[str, Any] = {"__name__": MODULE.__name__}
    exec(f"made = sentinel({name!r})", namespace)
    setattr(MODULE, found_as or name, namespace["made"])
    return namespace["made"]


def template(value: Any) -> Any:
    from string.templatelib import Interpolation, Template

    return Template("price ", Interpolation(value, "value", "r", ">9"), " EUR")


def parts_of(value: Any) -> Any:
    return value.strings, [(i.value, i.expression, i.conversion, i.format_spec) for i in value.interpolations]


def instances() -> dict[type, object]:
    """One instance of each built-in class that can be made without arguments, or nearly."""
    made: dict[type, object] = {memoryview: memoryview(b""), range: range(1), slice: slice(1), type: type}
    for cls in vars(builtins).values():
        if isinstance(cls, type) and cls not in made and cls not in (property, super):
            try:
                made[cls] = cls()
            except TypeError:
                continue
    return made


@pytest.mark.parametrize("cls", instances(), ids=lambda cls: cls.__name__)
def test_the_packer_hides_no_type(cls: type) -> None:
    """msgpack asks about every built-in type that is not its own and every subclass, or the codec knows better."""
    asked: list[object] = []
    packer = msgpack.Packer(strict_types=True, default=lambda value: asked.append(type(value)))
    value = instances()[cls]
    if cls not in NATIVE | SILENT:
        packer.pack(value)
        assert asked == [cls]
    try:
        below: Any = type("Below", (cls,), {})
        made = below(value) if cls in (int, float, complex) else below()
    except TypeError:
        return  # a class that has no subclasses, or needs arguments
    asked.clear()
    packer.pack(made)
    assert asked == [below]


@needs_315
@pytest.mark.parametrize("around", [list, tuple, frozenset, lambda parts: {parts[0]: 1}, lambda parts: {"a": parts}])
def test_a_frozendict_comes_back(around: Any) -> None:
    """Alone, in any container and as the key of a dict, a frozendict stays one, whatever msgpack makes of it."""
    codec = Codec()
    for value in (frozendict(a=(1,), b="x"), around([frozendict(a=1)])):
        back: Any = codec.decode(codec.encode(value))
        assert back == value
        assert repr(back) == repr(value)
        held, copy = copier(value, codec)
        assert repr(held if copy is None else copy(held)) == repr(value)


@needs_315
def test_a_frozendict_is_shared_only_if_all_in_it_is_immutable() -> None:
    """What can be changed inside a frozendict is copied for each caller."""
    codec = Codec()
    value = frozendict(a=1)
    assert copier(value, codec) == (value, None)
    assert copier(frozendict(a=[1]), codec)[1] is not None


@needs_315
def test_a_frozendict_of_one_s_own_is_no_frozendict() -> None:
    """A subclass is refused, not stored as its base."""
    below = type("Below", (frozendict,), {})
    with pytest.raises(EncodeError):
        Codec().encode([below(a=1)])


@needs_315
def test_frozendicts_are_arguments_by_value() -> None:
    """Equal ones in any order share a key; True, 1 and 1.0 inside do not; nor does a dict, nor a subclass."""
    below = type("Below", (frozendict,), {})
    below.__module__, below.__qualname__ = MODULE.__name__, "Below"
    MODULE.Below = below  # type: ignore[attr-defined]
    assert canonical(frozendict(a=1, b=2)) == canonical(frozendict(b=2, a=1))
    apart = [frozendict(a=True), frozendict(a=1), frozendict(a=1.0), {"a": 1}, below(a=1)]
    assert len(set(map(canonical, apart))) == len(apart)
    calls: list[Any] = []
    f = Cache().cached(lambda value: calls.append(value), name="f")
    for value in apart:
        f(value), f(value)
    assert len(calls) == len(apart)


@needs_315
def test_a_sentinel_is_itself() -> None:
    """A sentinel that its module holds comes back as that very object, and is one argument."""
    value = named("ABSENT")
    other = named("OTHER")
    codec = Codec()
    assert codec.decode(codec.encode([value, {"a": value}])) == [value, {"a": value}]
    assert canonical(value) == canonical(value) != canonical(other)
    assert copier((value,), codec) == ((value,), None)


@needs_315
def test_a_sentinel_that_is_not_found_is_refused() -> None:
    """One that goes by another name cannot be stored, and one that went away cannot be read."""
    codec = Codec()
    for value in (named("HIDDEN", found_as="elsewhere"), sentinel("local")):
        with pytest.raises(EncodeError):
            codec.encode(value)
        with pytest.raises(NoIdentity):
            canonical(value)
    payload = codec.encode(named("GOING"))
    vars(MODULE)["GOING"] = "something else"
    with pytest.raises(DecodeError):
        codec.decode(payload)


@needs_315
def test_a_sentinel_is_a_default() -> None:
    """A function whose default is a sentinel can be cached; left out or passed, it is one call."""
    absent = named("DEFAULT")
    calls: list[Any] = []

    @Cache().cached(name="f")
    def f(value: Any = absent) -> Any:
        calls.append(value)
        return value

    assert f() is f(absent) is absent
    assert len(calls) == 1


@needs_314
def test_a_template_comes_back() -> None:
    """A template string is its text and its interpolations, as a result and as an argument."""
    codec = Codec()
    value = template((1, "x"))
    assert parts_of(codec.decode(codec.encode(value))) == parts_of(value)
    assert canonical(value) == canonical(template((1, "x"))) != canonical(template((1.0, "x")))
    with pytest.raises(EncodeError):
        codec.encode(template(object()))


@needs_314
def test_a_placeholder_is_itself() -> None:
    """A partial with a gap in it can be cached, and is apart from one without."""
    placeholder = getattr(functools, "Placeholder")  # noqa: B009 - no attribute for older type checkers
    assert canonical(placeholder) == canonical(placeholder)
    cache = Cache()
    first = cache.cached(functools.partial(pow, placeholder, 2))
    second = cache.cached(functools.partial(pow, 2))
    assert (first(3), second(3), first(3)) == (9, 8, 9)


@pytest.mark.parametrize("code", [23, 24, 25])
@pytest.mark.skipif(frozendict is not None, reason="this Python has the types")
def test_an_older_python_refuses_them(code: int) -> None:
    """A payload of a newer Python's type is a miss, and nothing worse, where the type is not there."""
    if code == 25 and sys.version_info >= (3, 14):
        pytest.skip("this Python has templates")
    payload: bytes = msgpack.packb(msgpack.ExtType(code, b"\x80"))
    with pytest.raises(DecodeError):
        Codec().decode(payload)


@needs_315
@pytest.mark.parametrize(
    "body", [(23, []), (24, ["sys", "path"]), (24, ["gone", "x"]), (24, ["sys", "path.x"]), (24, [1, "x"]),
             (25, [["a"], [[1, "x", None, ""]]]), (25, [["a", "b"], [[1, "x", "q", ""]]]), (25, [[1], []])],
)  # fmt: skip
def test_what_is_malformed_is_refused(body: tuple[int, Any]) -> None:
    """Anything but the three types under their codes is a DecodeError."""
    code, parts = body
    with pytest.raises(DecodeError):
        Codec().decode(msgpack.packb(msgpack.ExtType(code, msgpack.packb(parts))))
