"""Values that Python 3.14 and 3.15 brought: template strings, and the built-in types frozendict and sentinel.

The codes belong to the closed table of `memocache.codecs.ext_types` on every Python. An interpreter that lacks a type
refuses a payload that holds one, and the call computes anew. A sentinel is known by its name: it is looked up among the
modules that are loaded, and nothing is imported or made for it.
"""

from __future__ import annotations

import builtins
import sys
from typing import Any, Final

from memocache.codecs.ext_types import Buffer, Kind, Load, Pack, Unfit, Unpack, expect, expect_list
from memocache.exceptions import DecodeError

FROZENDICT: Final[Any] = getattr(builtins, "frozendict", None)
SENTINEL: Final[Any] = getattr(builtins, "sentinel", None)
_Template: Any = None
_Interpolation: Any = None
if sys.version_info >= (3, 14):
    from string.templatelib import Interpolation as _Interpolation
    from string.templatelib import Template as _Template

_CONVERSIONS: Final = (None, "a", "r", "s")


def _dump_frozendict(value: Any, pack: Pack) -> bytes:
    return pack(dict(value))


def _load_frozendict(data: Buffer, unpack: Unpack) -> Any:
    return FROZENDICT(expect(dict, unpack(data)))


def _dump_sentinel(value: Any, pack: Pack) -> bytes:
    module, name = value.__module__, value.__name__
    if type(module) is not str or _found(module, name) is not value:
        raise Unfit(value, "a sentinel that its module does not hold under its name cannot be stored; return None")
    return pack([module, name])


def _load_sentinel(data: Buffer, unpack: Unpack) -> Any:
    module, name = (expect(str, part) for part in expect_list(unpack(data), 2))
    value = _found(module, name)
    if value is None:
        raise DecodeError("payload names a sentinel that is not there")
    return value


def _found(module: str, name: str) -> Any:
    """The sentinel that goes by `name` in a loaded module, or None. No attribute hooks run."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        try:
            found = vars(found).get(part)
        except TypeError:  # no module or class
            return None
    return found if type(found) is SENTINEL and (found.__module__, found.__name__) == (module, name) else None


def _dump_template(value: Any, pack: Pack) -> bytes:
    parts = [[part.value, part.expression, part.conversion, part.format_spec] for part in value.interpolations]
    return pack([list(value.strings), parts])


def _load_template(data: Buffer, unpack: Unpack) -> Any:
    strings, interpolations = (expect(list, part) for part in expect_list(unpack(data), 2))
    if len(strings) != len(interpolations) + 1:
        raise DecodeError("payload holds a malformed template")
    parts: list[Any] = []
    for text, interpolation in zip(strings, interpolations, strict=False):
        value, expression, conversion, spec = expect_list(interpolation, 4)
        if conversion not in _CONVERSIONS:
            raise DecodeError("payload holds a malformed template")
        parts += expect(str, text), _Interpolation(value, expect(str, expression), conversion, expect(str, spec))
    return _Template(*parts, expect(str, strings[-1]))


_TYPES: Final[tuple[tuple[Any, int, Any, Load], ...]] = (
    (FROZENDICT, 23, _dump_frozendict, _load_frozendict),
    (SENTINEL, 24, _dump_sentinel, _load_sentinel),
    (_Template, 25, _dump_template, _load_template),
)
DUMPS: Final[dict[type, Kind]] = {cls: Kind(code, dump) for cls, code, dump, _ in _TYPES if cls is not None}
LOADS: Final[dict[int, Load]] = {code: load for cls, code, _, load in _TYPES if cls is not None}
SILENT: Final = frozenset({FROZENDICT} - {None})
"""What msgpack's packer writes as a dict without asking, ``strict_types`` or not."""
