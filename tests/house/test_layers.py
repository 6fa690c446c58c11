"""Who imports what, read from the source and from a fresh interpreter (docs/architecture.md says why).

The tables are data: a new room gets a place in `LAYERS`, a new wing one in `WINGS`.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import memocache

PACKAGE = Path(memocache.__file__).parent

# From the ground up; a room imports only from rooms below its own. "" is the face. Within a room the files may import
# each other as long as no circle comes of it. Imports for type checkers and inside functions count like all others.
LAYERS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            {"exceptions", "stats"},
            {"typing"},
            {"_runtime", "codecs"},
            {"backends"},
            {"_stores"},
            {"_calls"},
            {"_cache"},
            {""},
            {"django", "instrumentation"},
            {"dashboard", "testing"},
            {"cli"},
        ),
    )
)

# The same for the wings inside a room, where there are any: the files beside them stand in the layer of their name.
WINGS: dict[str, tuple[frozenset[str], ...]] = {
    "backends": tuple(
        map(
            frozenset,
            (
                {"_settings", "base"},
                {"_threads"},
                {"_error_messages"},
                {"_disk", "_redis", "memory", "null"},
                {"_cluster", "disk", "redis"},
                {"cluster", "sentinel"},
                {"_registry"},
            ),
        )
    ),
    "_stores": tuple(map(frozenset, ({"s3fifo"}, {"entry"}, {"store"}, {"memory", "remote"}, {"layered"}))),
}

# Who may import a dependency: the only places that know it. A room or a wing stands for all its modules.
OWNERS = {
    "wrapt": {"_calls"},
    "redis": {"backends", "testing"},  # testing: the plain client that looks at a server from outside
    "hiredis": {"backends"},
    "msgpack": {"_calls.keys", "_stores.remote", "codecs"},
    "trio": {"_runtime"},  # no dependency: where the program has it
    "asyncio": {"_runtime", "backends", "dashboard", "testing"},
    "cryptography": {"_stores.remote"},
    "lmdb": {"backends"},
    "xxhash": {"backends"},
}

# Packages of extras: free to import what their extra installs.
EXTRAS = {"cli", "dashboard", "django", "testing", "instrumentation"}


class Import(NamedTuple):
    """One import statement: who, what (absolute), where, and whether it runs when the module is loaded."""

    importer: str
    imported: str
    line: int
    on_load: bool


def module_name(path: Path) -> str:
    """Return the dotted name below `memocache` of the module at `path`; "" is the face."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[Import]:
    """Yield the imports in the file at `path`, those for type checkers and inside functions included."""
    importer = module_name(path)
    package = ["memocache", *importer.split(".")] if importer else ["memocache"]
    if path.name != "__init__.py":
        package = package[:-1]

    def visit(node: ast.AST, on_load: bool) -> Iterator[Import]:
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                for child in node.body:
                    yield from visit(child, False)
                for child in node.orelse:
                    yield from visit(child, on_load)
                return
            case ast.Import():
                for alias in node.names:
                    yield Import(importer, alias.name, node.lineno, on_load)
            case ast.ImportFrom():
                base = package[: len(package) + 1 - node.level] if node.level else []
                source = ".".join([*base, *([node.module] if node.module else [])])
                for alias in node.names:
                    place = PACKAGE.parent.joinpath(*source.split("."), alias.name)
                    submodule = place.with_suffix(".py").exists() or (place / "__init__.py").exists()
                    yield Import(importer, f"{source}.{alias.name}" if submodule else source, node.lineno, on_load)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                on_load = False
        for child in ast.iter_child_nodes(node):
            yield from visit(child, on_load)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), True)


FILES = sorted(PACKAGE.rglob("*.py"))
IMPORTS = [found for path in FILES for found in imports_of(path)]


def below(module: str) -> str:
    """Return the dotted name below the first part: ``_redis.pool`` of ``backends._redis.pool``."""
    return module.partition(".")[2]


def first(module: str) -> str:
    """Return the room of a module; the wing, of a name that `below` gave."""
    return module.partition(".")[0]


def rank(name: str, layers: tuple[frozenset[str], ...]) -> int:
    """Return the height of the layer that `name` stands in."""
    return next(height for height, layer in enumerate(layers) if name in layer)


def ours() -> Iterator[tuple[Import, str]]:
    """Yield each import of one of memocache's modules, and that module's name below `memocache`."""
    for found in IMPORTS:
        top, _, imported = found.imported.partition(".")
        if top == "memocache":
            yield found, imported


def test_every_room_and_wing_has_a_layer() -> None:
    """Each room of the package, and each wing of a room with wings, stands in exactly one layer: no new one escapes."""
    names = {module_name(path) for path in FILES}
    placed = [name for layer in LAYERS for name in layer]
    assert len(placed) == len(set(placed))
    assert {first(name) for name in names} == set(placed)
    for room, layers in WINGS.items():
        wings = [name for layer in layers for name in layer]
        assert len(wings) == len(set(wings))
        assert {first(below(name)) for name in names if first(name) == room} - {""} == set(wings)


def test_imports_point_down() -> None:
    """A module imports only from rooms below its own, and within a room only from wings below or from its own wing."""
    wrong = []
    for found, imported in ours():
        layers, a, b = LAYERS, found.importer, imported
        if first(a) == first(b) and first(a) in WINGS:
            layers, a, b = WINGS[first(a)], below(a), below(b)
        if first(a) != first(b) and rank(first(b), layers) >= rank(first(a), layers):
            wrong.append(f"{found.importer or '__init__'}:{found.line} imports {found.imported}")
    assert not wrong


def test_no_files_import_each_other_in_a_circle() -> None:
    """No module leads back to itself through imports, those for type checkers and inside functions included."""
    importers: dict[str, set[str]] = {}
    for found, imported in ours():
        importers.setdefault(found.importer, set()).add(imported)
    left = {name: importers.get(name, set()) for name in map(module_name, FILES)}
    while ends := [name for name, others in left.items() if not others & left.keys() - {name}]:
        for name in ends:
            del left[name]
    assert not left


@pytest.mark.parametrize("dependency", OWNERS)
def test_a_dependency_is_known_to_its_owners_alone(dependency: str) -> None:
    """Each dependency is imported where `OWNERS` says, and nowhere else."""
    importers = {f"{i.importer}:{i.line}" for i in IMPORTS if i.imported.partition(".")[0] == dependency}
    owners = tuple(f"{owner}{end}" for owner in OWNERS[dependency] for end in ".:")
    assert {place for place in importers if not place.startswith(owners)} == set()


def test_the_core_loads_no_other_dependency() -> None:
    """Outside the extras' packages, what is imported on load is the standard library and the three dependencies."""
    known = sys.stdlib_module_names | {"annotationlib"} | OWNERS.keys() | {"memocache"}  # 3.14 brought it
    others = {
        f"{i.importer}:{i.line} imports {i.imported}"
        for i in IMPORTS
        if i.on_load and first(i.importer) not in EXTRAS and i.imported.partition(".")[0] not in known
    }
    assert not others


def test_nothing_imports_pickle() -> None:
    """There is no pickle anywhere, nor anything that unpickles."""
    banned = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "copyreg"}
    assert {i.imported for i in IMPORTS} & banned == set()


def test_the_face_is_short_and_sorted() -> None:
    """`__init__.py` has under 45 lines; `__all__` is sorted (constants, classes, functions) and every name is there."""
    assert len((PACKAGE / "__init__.py").read_text(encoding="utf-8").splitlines()) < 45
    order = sorted(memocache.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert list(memocache.__all__) == order
    assert all(hasattr(memocache, name) for name in memocache.__all__)


PROBE = """
import json, sys, threading
before = set(sys.modules)
events = []
def hook(name, arguments):
    writes = name == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or name.startswith(("socket.", "subprocess.", "os.fork", "os.exec", "os.mkdir", "os.remove", "urllib.")):
        events.append(name)
sys.addaudithook(hook)
import memocache
added = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps({"added": sorted(added), "events": events, "threads": threading.active_count()}))
"""


def test_importing_is_light_and_without_effect() -> None:
    """`import memocache` adds neither redis nor asyncio nor an extra's packages, opens no socket or file to write,
    starts no process and no thread."""
    done = subprocess.run([sys.executable, "-B", "-c", PROBE], capture_output=True, text=True, check=True, timeout=60)
    seen = json.loads(done.stdout)
    # asyncio comes with wrapt too (from 2.2 on), so the wrapper must wait for the first decoration.
    heavy = {"redis", "hiredis", "asyncio", "typer", "rich", "numpy", "pandas", "polars", "pydantic", "attr", "msgspec"}
    heavy |= {"cryptography", "lz4", "backports"}
    assert heavy & set(seen["added"]) == set()
    assert seen["events"] == []
    assert seen["threads"] == 1
