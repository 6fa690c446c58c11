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
from memocache.codecs import Codec
from memocache.exceptions import EncodeError


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


class Late(Degrees):
    """Another, which is taught late."""


class Shape:
    """What comes in kinds, each of which can be made from its name and size."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # can be changed


class Circle(Shape):
    pass


class Square(Shape):
    pass


class Disc(Shape):
    """Taught by itself as well."""


def parts(shape: Shape) -> list[object]:
    return [type(shape).__name__, shape.size]


def shape(held: list[Any]) -> Shape:
    kinds: dict[str, type[Shape]] = {"Shape": Shape, "Circle": Circle, "Square": Square}
    return kinds[held[0]](held[1])


def test_subclasses_are_taught_only_when_asked() -> None:
    """As results and as arguments, also those that were refused before; the last teaching is believed."""
    codec, one = Codec(), Circle(1)
    codec.register(Shape, parts, shape)
    for asked in (False, True, False):
        codec.register(Shape, parts, shape, subclasses=asked)
        if asked:
            made = [Shape(1), one, Square(1), Circle(2)]
            assert codec.decode(codec.encode(made)) == made
            assert len(set(map(canonical, made))) == len(made)
            assert canonical(one) == canonical(Circle(1))
            continue
        with pytest.raises(EncodeError):
            codec.encode(one)
        with pytest.raises(NoIdentity):
            canonical(one)


def test_a_subclass_that_is_taught_itself_is_known_by_that() -> None:
    """Whether it is taught before its base or after."""
    for taught in ([Shape, Disc], [Disc, Shape]):
        codec = Codec()
        for cls in taught:
            if cls is Shape:
                codec.register(Shape, parts, shape, subclasses=True)
            else:
                codec.register(Disc, lambda value: value.size, lambda size: Disc(-size), key=lambda value: 0)
        assert codec.decode(codec.encode([Disc(1), Square(1)])) == [Disc(-1), Square(1)]
        assert canonical(Disc(1)) == canonical(Disc(2)) != canonical(Square(1))


def test_subclasses_known_by_identity_until_now_are_known_by_value() -> None:
    """In the process too, which remembers how instances of a class are told apart."""
    with Cache("memory://") as cache:
        f = cache.cached(name="f")(lambda value: 0)
        late = Late(1)
        f(late), f(Late(1))
        assert f.cache_info().hits == 0
        cache.register(Degrees, lambda value: value.value, Late, subclasses=True)
        f(Late(2)), f(Late(2))
        assert f.cache_info().hits == 1


def test_what_cannot_be_hashed_as_a_class_is_asked_nothing() -> None:
    """Classes are told apart by being what they are: a metaclass's methods are not called."""
    made: Any = Strict("Made", (), {})
    with pytest.raises(NoIdentity):
        canonical(made())


PACKAGE = {
    "shop/__init__.py": "",
    "shop/money.py": (
        "class Money:\n    def __init__(self, cents):\n        self.cents = cents\n"
        "class Dear(Money): pass\n"
        "class Ware(Money): pass\n"
        "class Book(Ware): pass\n"
    ),
    "shop/caching.py": (
        "from shop.money import Book, Money, Ware\n"
        "class wares:\n"
        "    subclasses = True\n"
        "    encode = staticmethod(lambda value: [type(value).__name__, value.cents])\n"
        "    decode = staticmethod(lambda held: {'Ware': Ware, 'Book': Book}[held[0]](held[1]))\n"
        "class money:\n"
        "    encode = staticmethod(lambda value: value.cents)\n"
        "    decode = staticmethod(Money)\n"
    ),
    "shop-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n",
    "shop-1.0.dist-info/entry_points.txt": (
        "[memocache.types]\nshop.money.Money = shop.caching:money\nshop.money.Ware = shop.caching:wares\n"
    ),
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


def test_a_library_publishes_a_type_with_its_subclasses(tmp_path: Path) -> None:
    """Where it says so, and not else."""
    script = (
        "from memocache import Cache\n"
        "from memocache.backends.memory import MemoryBackend\n"
        "from shop.money import Book, Dear, Ware\n"
        "from memocache._calls.keys.canonical import NoIdentity, canonical\n"
        "cache = Cache(MemoryBackend())\n"
        "f = cache.cached(name='f')(lambda ware: type(ware)(ware.cents * 2))\n"
        "made = [f(ware) for ware in (Book(1), Ware(1), Book(1), Ware(1))]\n"
        "print([(type(one).__name__, one.cents) for one in made], f.cache_info().hits)\n"
        "try: canonical(Dear(1))\n"
        "except NoIdentity: print('refused')\n"
    )
    assert in_package(tmp_path, script) == "[('Book', 2), ('Ware', 2), ('Book', 2), ('Ware', 2)] 2\nrefused\n"


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
