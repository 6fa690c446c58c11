"""The rules of ARCHITECTURE.md about who imports what, read from the source and from a fresh interpreter.

The tables are data: a new module gets a line in `LAYERS`, an exception gets a line with its reason.
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

# From the ground up; a module imports only from layers below its own, or from its own package. "" is the face.
LAYERS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            {"exceptions", "typing"},
            {
                "_causes",
                "_disabled",
                "_duration",
                "_envelope",
                "_events",
                "_layout",
                "_marks",
                "_signature",
                "_sizeof",
                "_topk",
                "_units",
            },
            {"_breaker", "_eviction", "_identity", "_options", "_policy", "_spots", "stats"},
            {"_canonical_extra", "_entry"},
            {"_canonical_types", "_local"},
            {"_canonical", "_flight", "_near"},
            {"_function", "_runtime"},
            {"backends", "codecs"},
            {"_guard", "_settings", "instrumentation"},
            {"_keeper", "_store"},
            {"_shelf"},
            {"_binding", "_store_shared"},
            {"_questions"},
            {"_aio", "_engine", "_store_local", "_store_tiered", "_tally"},
            {"_finding", "_first", "_many"},
            {"_looking", "_operations"},
            {"_explain", "_memoize", "_statistics"},
            {"_loader"},
            {"_decorator", "_details", "_pages"},
            {"_cache"},
            {"_default"},
            {""},
            {"_examination"},
            {"dashboard"},
            {"cli", "testing"},
        ),
    )
)

# Who may import a dependency: the only places that know it. A package stands for all its modules.
OWNERS = {
    "wrapt": {"_memoize"},
    "redis": {"backends", "testing"},  # testing: the plain client that looks at a server from outside
    "hiredis": {"backends"},
    "msgpack": {"codecs", "_canonical", "_envelope"},
    "asyncio": {"_runtime", "backends", "dashboard", "testing"},
    "cryptography": {"codecs"},
    "lmdb": {"backends"},
    "xxhash": {"backends"},
}

# Packages of extras: free to import what their extra installs.
EXTRAS = {"cli", "dashboard", "testing", "instrumentation"}


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
    """Yield the imports in the file at `path`, except those for type checkers only."""
    importer = module_name(path)
    package = ["memocache", *importer.split(".")] if importer else ["memocache"]
    if path.name != "__init__.py":
        package = package[:-1]

    def visit(node: ast.AST, on_load: bool) -> Iterator[Import]:
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
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


def unit(module: str) -> str:
    """Return the module or package that `LAYERS` speaks of."""
    return module.partition(".")[0]


def rank(module: str) -> int:
    """Return the height of `module`'s layer."""
    return next(height for height, layer in enumerate(LAYERS) if unit(module) in layer)


def test_every_module_has_a_layer() -> None:
    """Each module of the package stands in exactly one layer, so no new one escapes the rules."""
    placed = [name for layer in LAYERS for name in layer]
    assert len(placed) == len(set(placed))
    assert {unit(module_name(path)) for path in FILES} <= set(placed)


def test_imports_point_down() -> None:
    """A module imports only from lower layers or its own package, at its top and inside functions alike."""
    wrong = []
    for found in IMPORTS:
        top, _, imported = found.imported.partition(".")
        if top != "memocache" or unit(imported) == unit(found.importer):
            continue
        if rank(imported) >= rank(found.importer):
            wrong.append(f"{found.importer or '__init__'}:{found.line} imports {found.imported}")
    assert not wrong


@pytest.mark.parametrize("dependency", OWNERS)
def test_a_dependency_is_known_to_its_owners_alone(dependency: str) -> None:
    """wrapt, redis, msgpack and asyncio are imported where ARCHITECTURE.md says, and nowhere else."""
    importers = {f"{i.importer}:{i.line}" for i in IMPORTS if i.imported.partition(".")[0] == dependency}
    assert {place for place in importers if unit(place.partition(":")[0]) not in OWNERS[dependency]} == set()


def test_the_core_loads_no_other_dependency() -> None:
    """Outside the extras' packages, what is imported on load is the standard library and the three dependencies."""
    known = sys.stdlib_module_names | OWNERS.keys() | {"memocache"}
    others = {
        f"{i.importer}:{i.line} imports {i.imported}"
        for i in IMPORTS
        if i.on_load and unit(i.importer) not in EXTRAS and i.imported.partition(".")[0] not in known
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
    # asyncio comes with wrapt too (from 2.2 on), so _memoize must wait for the first decoration.
    heavy = {"redis", "hiredis", "asyncio", "typer", "rich", "numpy", "pandas", "polars", "pydantic", "attr", "msgspec"}
    heavy |= {"cryptography", "lz4", "backports"}
    assert heavy & set(seen["added"]) == set()
    assert seen["events"] == []
    assert seen["threads"] == 1
