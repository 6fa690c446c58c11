"""Values that show something else than they are: what is odd about them comes back, or they are refused."""

from __future__ import annotations

import dataclasses
import functools
import platform
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import pydantic
import pytest

from memocache._calls.keys.canonical import NoIdentity, canonical
from memocache.codecs import Codec, copier
from memocache.codecs.writer import ext_header
from memocache.exceptions import DecodeError, EncodeError

T = TypeVar("T")


@pytest.fixture
def codec() -> Codec:
    return Codec()


def refused(codec: Codec, value: object) -> None:
    """`value` cannot be stored."""
    with pytest.raises(EncodeError):
        codec.encode(value)


def test_an_ordered_dict_keeps_its_attributes(codec: Codec) -> None:
    """As torch notes the versions of a model on its `state_dict()`; without any it is written as ever."""
    value = OrderedDict(a=1, b=[2])
    plain = codec.encode(value)
    value._metadata = OrderedDict(v=1)  # type: ignore[attr-defined]
    payload = codec.encode(value)
    again: Any = codec.decode(payload)
    assert (again, vars(again), type(again)) == (value, vars(value), OrderedDict)
    assert codec.decode(plain) == value
    assert plain != payload
    for parts in ([{}, {1: 2}], [{}, []], [[], {}], [{}], 5):
        with pytest.raises(DecodeError):
            codec.decode(ext_header(7, len(codec.encode(parts))) + codec.encode(parts))


def test_a_factory_that_is_a_partial_of_a_built_in_type(codec: Codec) -> None:
    """A defaultdict of one comes back with it; of a partial of anything else it is refused, and held in the process."""
    value = defaultdict(functools.partial(int, "7"), a=1)
    again: Any = codec.decode(codec.encode([value]))
    assert again == [value]
    assert again[0]["new"] == 7
    refused(codec, defaultdict(functools.partial(defaultdict, int), a=1))
    refused(codec, defaultdict(functools.partial(defaultdict, int), a=defaultdict(int, b=2)))
    held, thaw = copier([value, defaultdict(functools.partial(defaultdict, int), a=defaultdict(int, b=2))], codec)
    assert thaw is not None
    assert thaw(held)[1]["new"]["newer"] == 0


class One(NamedTuple):
    a: int


class Longer(One):
    """A namedtuple that shows more than it holds, as `platform.uname_result` does."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[Any]:
        yield from (1, 2)


def test_a_namedtuple_is_the_items_that_it_holds(codec: Codec) -> None:
    """Whatever its class says of its length and its items; one whose fields are others than its items is refused."""
    value = Longer(5)
    again = codec.decode(codec.encode(value))
    assert type(again) is Longer
    assert tuple.__eq__(value, again)
    assert tuple.__len__(again) == 1
    refused(codec, platform.uname())


@dataclasses.dataclass
class Page(Generic[T]):
    items: list[T]


def test_a_generic_dataclass_made_as_of_a_class(codec: Codec) -> None:
    """What `typing` notes on the instance is no state of it."""
    again = codec.decode(codec.encode(Page[int]([1])))
    assert again == Page([1])
    assert type(again) is Page


def test_an_error_that_holds_more_than_python_sees_is_refused(codec: Codec) -> None:
    """It would come back without it, and two of them would be one argument."""
    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(int).validate_python("x")
    refused(codec, caught.value)
    with pytest.raises(NoIdentity):
        canonical(caught.value)


class Refusal(Exception):
    """An error with an attribute of its own."""

    def __init__(self, *args: object, code: int = 0) -> None:
        super().__init__(*args)
        self.code = code


def test_errors_are_arguments() -> None:
    """By class, args and attributes, notes too; not by what led to them."""
    noted = ValueError("a")
    noted.add_note("n")
    errors: list[BaseException] = [
        ValueError("a"), ValueError("b"), TypeError("a"), noted, OSError(2, "x"), OSError(2, "x", "f"),
        OSError(2, "x", "g"), ImportError("x", name="a"), ImportError("x", name="b"), Refusal(1), Refusal(1, code=1),
        ExceptionGroup("a", [ValueError(1)]), ExceptionGroup("a", [ValueError(2)]), KeyboardInterrupt(),
    ]  # fmt: skip
    assert len({canonical(error) for error in errors}) == len(errors)
    raised = ValueError("a")
    raised.__cause__ = KeyError("b")
    assert canonical(raised) == canonical(ValueError("a"))
    with pytest.raises(NoIdentity):
        canonical(ValueError(object()))
