"""Types that a program or a library teaches: as results and as arguments, by entry points too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from memocache import Cache
from memocache._calls.keys.canonical import NoIdentity, canonical
from memocache.backends.memory import MemoryBackend


class Degrees:
    def __init__(self, value: float, label: str = "") -> None:
        self.value = value
        self.label = label


class Other(Degrees):
    """A subclass, which is not taught."""


class Strict(type):
    """A metaclass whose classes cannot be compared or hashed."""

    def __eq__(cls, other: object) -> bool:
        raise AssertionError

    __hash__ = None  # type: ignore[assignment]


def test_a_taught_class_is_an_argument_on_every_backend() -> None:
    """By what `encode` makes of it, or by `key`; its subclasses are not."""
    for backend in ("memory://", MemoryBackend()):
        with Cache(backend) as cache:
            cache.register(Degrees, lambda value: [value.value, value.label], lambda parts: Degrees(*parts))
            f = cache.cached(name="f")(lambda value: value.value * 2)
            assert [f(Degrees(1)), f(Degrees(1)), f(Degrees(1, "x")), f([Degrees(2)][0])] == [2, 2, 2, 4]
            assert f.cache_info().hits == 1
            cache.register(Degrees, lambda value: value.value, Degrees, key=lambda value: value.value)
            g = cache.cached(name="g")(lambda value: value.value * 2)
            assert [g(Degrees(1)), g(Degrees(1, "x"))] == [2, 2]
            assert g.cache_info().hits == 1
    with pytest.raises(NoIdentity):
        canonical(Other(1))


def test_what_cannot_be_hashed_as_a_class_is_asked_nothing() -> None:
    """Classes are told apart by being what they are: a metaclass's methods are not called."""
    made: Any = Strict("Made", (), {})
    with pytest.raises(NoIdentity):
        canonical(made())


PACKAGE = {
    "shop/__init__.py": "",
    "shop/money.py": "class Money:\n    def __init__(self, cents):\n        self.cents = cents\n",
    "shop/caching.py": (
        "from shop.money import Money\n"
        "class money:\n"
        "    encode = staticmethod(lambda value: value.cents)\n"
        "    decode = staticmethod(Money)\n"
    ),
    "shop-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n",
    "shop-1.0.dist-info/entry_points.txt": "[memocache.types]\nshop.money.Money = shop.caching:money\n",
}


def in_package(folder: Path, script: str) -> str:
    """What a script prints in a process that has the package installed."""
    for name, text in PACKAGE.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[2])])
    run = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    return run.stdout + run.stderr


def test_a_library_publishes_its_types(tmp_path: Path) -> None:
    """As results and as arguments, with nothing said to the cache."""
    script = (
        "from memocache import Cache\n"
        "from memocache.backends.memory import MemoryBackend\n"
        "from shop.money import Money\n"
        "cache = Cache(MemoryBackend())\n"
        "f = cache.cached(name='f')(lambda money: Money(money.cents * 2))\n"
        "print([f(Money(cents)).cents for cents in (1, 1, 2)], f.cache_info().hits)\n"
    )
    assert in_package(tmp_path, script) == "[2, 2, 4] 1\n"


def test_a_payload_of_a_published_type_imports_nothing(tmp_path: Path) -> None:
    """It is refused while the program has not imported the class, and read once it has."""
    payload = b"\xc7\x13&" + b"\x92\xb0shop.money:Money\x07"
    script = (
        "import sys\n"
        "from memocache.codecs import Codec\n"
        "from memocache.exceptions import DecodeError\n"
        f"payload = {payload!r}\n"
        "try: Codec().decode(payload)\n"
        "except DecodeError: print('refused', 'shop' in sys.modules)\n"
        "import shop.money\n"
        "print(Codec().decode(payload).cents)\n"
    )
    assert in_package(tmp_path, script) == "refused False\n7\n"
