"""Keys of values at the edges: too large, too deep, foreign, or made so that they have no name."""

from __future__ import annotations

import inspect
import struct
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import msgpack
import pytest

from memocache._calls.keys import canonical as _canonical
from memocache._calls.keys import standard_types as _canonical_types
from memocache._calls.keys.canonical import canonical, canonical_args
from memocache._runtime.object_identity import Identities, NoIdentity, Recorder

ZONE_FILE = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + bytes(6) + b"UTC\0"
ZONE_FILE += b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + bytes(6) + b"UTC\0\nUTC0\n"


def test_ints_beyond_64_bits_are_arguments_like_others() -> None:
    """The quick way of plain scalars and the way of everything else give an int of any size one key, its own."""
    assert canonical_args((2**70,)) == canonical((2**70,))
    assert canonical_args((2**70,)) != canonical_args((2**70 + 1,))


def test_dicts_of_huge_int_keys_are_sorted_too() -> None:
    """Their order takes no part in the key either, and each key and value does."""
    assert canonical({2**70: 1, 2**71: 2}) == canonical({2**71: 2, 2**70: 1})
    assert canonical({2**70: 1, 2**71: 2}) != canonical({2**70: 2, 2**71: 1})


def test_what_msgpack_finds_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of 4 GiB is a NoIdentity that says so, and no error of msgpack's."""

    def too_large(value: object) -> NoReturn:
        raise ValueError

    monkeypatch.setattr(_canonical, "_packers", [too_large])
    with pytest.raises(NoIdentity, match="4 GiB"):
        canonical((1, 2))


def test_depth_tells_before_a_local_class_does() -> None:
    """Beside a class that only this process knows, what has no key at all is named as the reason."""

    class Local:
        pass

    cyclic: list[Any] = []
    cyclic.append(cyclic)
    with pytest.raises(NoIdentity, match="too deep"):
        canonical((Local, cyclic))


def test_little_room_on_the_stack_beside_a_local_class() -> None:
    """Where the stack ends while the rest of a value is looked through, that is what is said."""

    class Local:
        pass

    nest: Any = ()
    for _ in range(150):
        nest = (nest,)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        with pytest.raises(RecursionError):
            canonical((Local, nest))
    finally:
        sys.setrecursionlimit(limit)
    with pytest.raises(NoIdentity, match="imported by its name"):
        canonical((Local, nest))


def nested(levels: int, hold: Callable[[Any], Any] = lambda inner: (inner,)) -> Any:
    """A tuple in a tuple, and so on."""
    nest: Any = ()
    for _ in range(levels):
        nest = hold(nest)
    return nest


HOLDERS: dict[str, Callable[[Any], Any]] = {
    "tuple": lambda inner: (inner,),
    "list": lambda inner: [inner],
    "frozenset": lambda inner: frozenset((inner,)),
    "dict": lambda inner: {"a": inner},
    "mixed dict": lambda inner: {None: inner},
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_values_may_be_nested_two_hundred_levels(holder: str) -> None:
    """One level more is refused, whatever it is of."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 4000)  # else a stack that ends before may be what refuses it
    try:
        assert canonical(nested(200, HOLDERS[holder]))
        with pytest.raises(NoIdentity, match="is cyclic or nested too deep"):
            canonical(nested(201, HOLDERS[holder]))
    finally:
        sys.setrecursionlimit(limit)


class Keyed:
    """An object that is known by what is in it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __cache_key__(self) -> Any:
        return self.inner


@pytest.mark.parametrize(
    ("hold", "levels"),
    [
        (Keyed, 100),
        (lambda inner: types.MethodType(len, inner), 200),
        (lambda inner: types.MethodType(inner or len, 1), 200),
    ],
    ids=["object", "bound method", "its function"],
)
def test_objects_are_levels_too(hold: Callable[[Any], Any], levels: int) -> None:
    """An object is two levels, itself and what it is made of; a bound method, where one has a key, is one."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + 8000)
    try:
        process = Recorder(Identities())
        deepest = next(n for n in range(1, 500) if not _has_key(nested(n, hold), process))
    finally:
        sys.setrecursionlimit(limit)
    assert deepest == levels + 1


def _has_key(value: Any, process: Recorder) -> bool:
    try:
        canonical(value, process)
    except NoIdentity as refusal:
        if "too deep" not in str(refusal):
            raise
        return False
    return True


@dataclass
class Titled(list[int]):
    """A list with a title."""

    title: str


class Moment(datetime):
    """A datetime of one's own."""


def test_what_a_dataclass_inherits_is_part_of_it() -> None:
    """Fields do not say everything of a dataclass that is a list besides."""
    one, other = Titled("same"), Titled("same")
    other.append(1)
    assert canonical(one) == canonical(Titled("same"))
    assert canonical(one) != canonical(other)


def test_subclasses_of_types_that_are_taken_apart() -> None:
    """A subclass of a type that is known by its parts is known by its class and those."""
    assert canonical(Moment(2026, 1, 1)) == canonical(Moment(2026, 1, 1))
    assert canonical(Moment(2026, 1, 1)) != canonical(Moment(2026, 1, 2))
    assert canonical(Moment(2026, 1, 1)) != canonical(datetime(2026, 1, 1))


def test_the_fold_of_a_time() -> None:
    """A time of the hour that comes twice is another argument than its twin."""
    assert canonical(time(1, fold=1)) != canonical(time(1))


def test_what_stands_for_a_field_that_is_not_set() -> None:
    """Its name is part of stored keys."""
    absent = _canonical_types._ABSENT
    assert _canonical_types.lowered(absent, type(absent)) == ("absent",)


def test_a_local_class_does_not_make_room() -> None:
    """Where a class without a name is met first, the rest may be as deep as without it."""

    class Local:
        pass

    with pytest.raises(NoIdentity, match="imported by its name"):
        canonical((Local, nested(199)))
    with pytest.raises(NoIdentity, match="too deep"):
        canonical((Local, nested(200)))


def test_what_has_no_key_tells_before_a_local_class_does() -> None:
    """Beside a class that only this process knows, an object without identity is named as the reason."""

    class Local:
        pass

    with pytest.raises(NoIdentity) as caught:
        canonical((Local, object()))
    assert (caught.value.type_name, caught.value.local_class) == ("builtins.object", False)


def test_little_room_on_the_stack_is_never_a_shorter_key() -> None:
    """Where the stack ends in the middle of a value there is no key: half of its bytes are another value's."""
    limit, value = sys.getrecursionlimit(), nested(150)
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        with pytest.raises(RecursionError):
            canonical(value)
    finally:
        sys.setrecursionlimit(limit)
    assert canonical(value)


def test_a_packer_is_kept_unless_it_grew(monkeypatch: pytest.MonkeyPatch) -> None:
    """One packer serves one value after another; one that packed a megabyte would keep its buffer for ever."""
    kept: list[Any] = []
    monkeypatch.setattr(_canonical, "_packers", kept)
    canonical(bytes((1 << 20) - 5))  # with its length, a megabyte
    assert kept == []
    canonical(bytes((1 << 20) - 6))
    assert len(kept) == 1
    canonical("a")
    assert len(kept) == 1


def test_a_memoryview_of_objects_has_no_key() -> None:
    """Its bytes are addresses, which mean nothing later."""
    numpy = pytest.importorskip("numpy")
    with pytest.raises(NoIdentity):
        canonical(memoryview(numpy.array(["x"], object)))


def test_a_zone_without_a_name_has_no_key() -> None:
    """A ZoneInfo read from a stream cannot be told from another."""
    import io

    with pytest.raises(NoIdentity):
        canonical(ZoneInfo.from_file(io.BytesIO(ZONE_FILE)))


def test_without_numpy_an_unknown_object_is_refused_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """What libraries are loaded does not matter to an object that is none of theirs."""
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    with pytest.raises(NoIdentity):
        canonical(object())


def test_numpy_types_of_several_elements_are_told_apart() -> None:
    """A subarray's type is its element's type and its shape."""
    numpy = pytest.importorskip("numpy")
    kinds = [numpy.dtype(kind) for kind in ("<i4", ("<i4", (2,)), ("<i4", (3,)), ("<i8", (2,)))]
    assert len({canonical(kind) for kind in kinds}) == len(kinds)


def test_a_foreign_numpy_type_has_no_key() -> None:
    """What its bytes mean is somebody else's: they may be addresses."""
    numpy = pytest.importorskip("numpy")
    own = type("Own", (numpy.void,), {})
    with pytest.raises(NoIdentity):
        canonical(numpy.dtype((own, 8)))


def test_a_foreign_pandas_column_has_no_key() -> None:
    """Columns of an extension type that is not pandas' own have state that nobody here knows."""
    pd = pytest.importorskip("pandas")
    numpy = pytest.importorskip("numpy")

    class OwnDtype(pd.api.extensions.ExtensionDtype):  # type: ignore[misc]  # pandas has no types here
        name = "own"
        type = object

    class OwnArray(pd.api.extensions.ExtensionArray):  # type: ignore[misc]
        dtype = OwnDtype()

        def __len__(self) -> int:
            return 1

        def __getitem__(self, item: Any) -> Any:
            return self if isinstance(item, slice) else 0

        def copy(self) -> Any:
            return self

    assert numpy is not None
    with pytest.raises(NoIdentity):
        canonical(pd.Series(OwnArray()))


def test_an_address_that_another_object_has_now_is_a_new_identity() -> None:
    """A token never passes on: where the death of the address's former owner was not noted yet, the new owner gets a
    number of its own, and the late note takes nothing from it.
    """

    class Thing:
        pass

    identities = Identities()
    former, later = Thing(), Thing()
    first = identities.identity(former)
    stale = identities._tracked.pop(id(former))
    stale.address = id(later)
    identities._tracked[id(later)] = stale
    second = identities.identity(later)
    assert second != first
    assert identities.identity(later) == second
    identities._forget(stale)
    assert identities.drain_dead() == []
    assert identities.identity(later) == second


class Thing:
    """Known in this process only."""

    def go(self) -> None:
        """A method."""


class Broken:
    """Its key cannot be made."""

    def __cache_key__(self) -> str:
        raise ValueError


def test_tokens_and_methods_of_this_process() -> None:
    """An object or class without a name is its token, and a bound method is its function and its object."""

    class Local:
        pass

    process, thing = Recorder(Identities()), Thing()
    assert canonical(thing, process) == b"@" + process.token(thing)
    assert canonical(Local, process) == b"@" + process.identity(Local)
    assert canonical(thing.go, process) == b"M" + canonical(Thing.go) + canonical(thing, process)
    with pytest.raises(NoIdentity):
        canonical(Broken(), process)


def test_long_bytes_are_spelled_as_msgpack_spells_them() -> None:
    """They are not copied into a packer, and their encoding is the same."""
    for length in ((1 << 20) - 1, 1 << 20, (1 << 20) + 1):
        value = bytes(length)
        assert canonical(value) == b"." + msgpack.packb(value)
        assert canonical([value, (1,)]) == b"L\x02" + canonical(value) + canonical((1,))
