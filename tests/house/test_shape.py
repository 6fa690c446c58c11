"""The shape of the package's modules: short files, short functions, one name for one thing.

Each table holds the exceptions with their reasons. An exception that is no longer one must leave its table.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import memocache

PACKAGE = Path(memocache.__file__).parent
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
MODULES = {
    path.relative_to(PACKAGE).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(text) for name, text in MODULES.items()}

MOST_LINES = 400
LONG_MODULES: dict[str, str] = {}

MOST_LINES_OF_A_FUNCTION = 60
LONG_FUNCTIONS: dict[str, str] = {}

ONE_NAME_FOR_TWO = {
    **dict.fromkeys(
        ("alike", "make_frame", "make_series", "parts_of_frame", "parts_of_series"),
        "the same job for pandas and for polars, chosen by library",
    ),
    **dict.fromkeys(
        ("Shape", "shape_of"), "how a class is taken apart: once for a key, which needs all of it, once for a payload"
    ),
    "lowered": "the same question of two tables: known types, and those of libraries",
    "kind_of": "the same question of two tables: known types, and those of frames",
    "key_of": "the same question of two tables: known types, and those of `Cache.register`",
}


def functions(tree: ast.AST, outer: str = "") -> Iterator[tuple[str, Function]]:
    """Yield each function of a module with its qualified name, nested ones included."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function):
            yield outer + node.name, node
            yield from functions(node, f"{outer}{node.name}.")
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{outer}{node.name}.")
        else:
            yield from functions(node, outer)


def lines_of_code(function: Function) -> int:
    """Return the lines after signature and docstring: a declaration may be as long as what it declares."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]  # parsed: it has lines


def test_modules_are_short() -> None:
    """No module has more than 400 lines, but those of the table."""
    long = {name for name, text in MODULES.items() if len(text.splitlines()) > MOST_LINES}
    assert long == LONG_MODULES.keys()


def test_functions_are_short() -> None:
    """No function has more than 60 lines after its signature and docstring, but those of the table."""
    long = {
        f"{module}:{name}"
        for module, tree in TREES.items()
        for name, function in functions(tree)
        if lines_of_code(function) > MOST_LINES_OF_A_FUNCTION
    }
    assert long == LONG_FUNCTIONS.keys()


def test_one_name_is_one_thing() -> None:
    """No two modules define a class, or a public function, of one name, but those of the table.

    A command of the command line has the name of what it does, so the room `cli` takes no part.
    """
    places: dict[str, set[str]] = defaultdict(set)
    for module, tree in TREES.items():
        for node in tree.body:
            named = isinstance(node, ast.ClassDef) or (isinstance(node, Function) and not node.name.startswith("_"))
            if named and not module.startswith("cli/"):
                places[node.name].add(module)
    twice = {name: modules for name, modules in places.items() if len(modules) > 1}
    assert twice.keys() == ONE_NAME_FOR_TWO.keys(), twice


def test_every_module_opens_in_words() -> None:
    """Every module opens with a docstring that is more than a title; an `__init__` may be empty."""
    short = [
        name
        for name, tree in TREES.items()
        if tree.body and len((ast.get_docstring(tree) or "").split()) < 8 and not name.endswith("__init__")
    ]
    assert not short
