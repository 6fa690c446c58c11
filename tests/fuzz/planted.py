"""Bugs to plant in memocache, one of each kind that the fuzzer is there to find: it must find every one."""

from __future__ import annotations

import io
import json
import math
import re
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from memocache._calls import parse_duration as _duration
from memocache._stores.remote import envelope as _envelope
from memocache._stores.remote import signing as seal
from memocache.backends import _settings, base
from memocache.backends._redis import connection as _wire
from memocache.codecs import classes as _classes
from memocache.codecs import standard_types as _types
from memocache.exceptions import ConfigurationError
from tests.fuzz import shapes, targets
from tests.fuzz.watch import SECONDS


class Plant(NamedTuple):
    """A bug: the target and the kind of finding that must tell, and what makes it."""

    target: str
    kind: str
    bug: Callable[[], AbstractContextManager[Any]]


def _replaced(owner: Any, name: str, value: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.object(owner, name, value)


def _code(code: int, load: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.dict(targets._codec()._loads, {code: load})


def _builds_by_calling(code: int, cls: type, *_: Any) -> Any:
    return lambda held, attributes: cls(**held)


def _dawdle() -> None:
    begun = time.thread_time()
    while time.thread_time() < begun + 1.1 * SECONDS:
        pass


def _with_url(url: str) -> Any:
    raise ConfigurationError(f"cannot read {url}")


@contextmanager
def _built_by_calling() -> Iterator[None]:
    with patch.object(_classes, "_builder", _builds_by_calling):
        _forget_shapes()
        yield
    _forget_shapes()


def _forget_shapes() -> None:
    """Have the codec look at every class anew."""
    codec = targets._codec()
    codec._shapes.clear()
    for cls in [cls for cls in codec._kinds if cls not in _types.DUMPS and cls is not shapes.Registered]:
        del codec._kinds[cls]


PLANTS = {
    "a foreign error escapes": Plant("envelope", "crash", _replaced(_envelope, "unpack", _envelope._unpack)),
    "a foreign seal is believed": Plant(
        "signed", "crash", _replaced(seal.Signed, "open", lambda self, raw, read: read)
    ),
    "a class's own code runs": Plant("payload", "executed", _built_by_calling),
    "a payload is evaluated": Plant(
        "payload", "executed", _code(5, lambda body, unpack: eval(bytes(body) or b"0", {"__builtins__": {}}))
    ),
    "a payload opens a file": Plant(
        "payload", "executed", _code(13, lambda body, unpack: io.FileIO(bytes(body[1:]) + b"/x"))
    ),
    "a length is taken on trust": Plant(
        "values", "memory", _code(14, lambda body, unpack: bytearray(struct.unpack_from(">I", body)[0] & 0xFFFFFFF))
    ),
    "a walk takes for ever": Plant("values", "hang", _code(15, lambda body, unpack: _dawdle())),
    "a password is told": Plant("url", "crash", _replaced(_settings, "_split", _with_url)),
    "a duration has no bound": Plant("duration", "crash", _replaced(_duration, "_LONGEST", math.inf)),
    "a damaged blob is an error": Plant("blob", "crash", _replaced(base, "_unpack", json.loads)),
    "a huge array is made room for": Plant("resp", "memory", _replaced(_wire, "_BOMB", re.compile(rb"(?!)"))),
    "any array is refused": Plant("resp", "crash", _replaced(_wire, "_BOMB", re.compile(rb"[*]([0-9]+)"))),
}
