"""Messages of protobuf: by their own serialisation.

A message comes back as the class that the program has loaded under its full name; none is imported or made for it.
"""

from __future__ import annotations

from typing import Any, Final

from memocache.codecs.ext_types import Unfit, expect, expect_list
from memocache.codecs.known.known_type import KnownType, loaded
from memocache.exceptions import DecodeError


def _message_apart(value: Any) -> list[Any]:
    name = value.DESCRIPTOR.full_name
    if _message_class(name) is not type(value):
        raise Unfit(value, "a message whose class no loaded module declares cannot be stored; return its bytes")
    return [name, value.SerializePartialToString(deterministic=True)]


def _message_class(name: str) -> Any:
    """The class that goes by a full name, which a loaded module has declared, or None."""
    pool = loaded("google.protobuf.descriptor_pool:Default")()
    try:
        descriptor = pool.FindMessageTypeByName(name)
    except KeyError:
        return None
    return getattr(descriptor, "_concrete_class", None)


def _message_together(parts: Any) -> Any:
    name, content = expect_list(parts, 2)
    cls = _message_class(expect(str, name))
    if cls is None:
        raise DecodeError("payload names a message that no loaded module declares")
    made = cls()
    made.MergeFromString(expect(bytes, content))
    return made


TYPES: Final = (
    KnownType(78, ("google.protobuf.message:Message",), _message_apart, _message_together, family=True,
              note="of protobuf, by their own serialisation; of any module that is loaded"),
)  # fmt: skip
