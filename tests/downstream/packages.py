"""Packages that use `functools.lru_cache`, pinned, and which of their own tests are run.

Where a package is large only the tests about its cached parts are run; `tests` says which.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """A package, its modules whose decorations are exchanged, and its tests: of the sdist, or inside the package."""

    name: str
    version: str
    modules: tuple[str, ...]
    tests: tuple[str, ...]
    needs: tuple[str, ...] = ()
    inside: bool = False
    """Whether `tests` are modules that are installed with it (as ``pytest --pyargs`` takes them)."""
    skip: str = ""
    """An expression of ``pytest -k``: tests that need a network, a clock or minutes."""


PACKAGES = (
    Package(
        "cattrs",
        "26.2.1",
        ("cattr", "cattrs"),
("tests/test_function_dispatch.py", "tests/test_generics.py", "tests/test_factory_hooks.py", "tests/test_copy.py"),
        ("attrs", "hypothesis", "immutables", "typing_extensions"),
    ),
    Package("yarl", "1.25.1", ("yarl",), ("tests",), ("hypothesis",), skip="not benchmark"),
    Package(
        "networkx",
        "3.6.1",
        ("networkx",),
        ("networkx.algorithms.community", "networkx.algorithms.tree", "networkx.classes.tests.test_graph"),
        inside=True,
    ),
    Package("babel", "2.19.0", ("babel",), ("tests",), ("pytz", "freezegun"), skip="not frontend and not setuptools"),
    Package(
        "packaging",
        "26.4",
        ("packaging",),
        ("tests/test_tags.py", "tests/test_manylinux.py", "tests/test_musllinux.py"),
        ("pretend",),
    ),
    Package("soupsieve", "4.1.3", ("soupsieve",), ("tests/test_level3",), ("beautifulsoup4",)),
    Package("jsonschema", "4.26.0", ("jsonschema", "jsonschema_specifications"), ("jsonschema.tests",), inside=True),
    Package("referencing", "0.37.0", ("referencing",), ("referencing.tests",), ("jsonschema",), inside=True),
    Package("pint", "0.25.3", ("pint",), ("pint.testsuite",), inside=True, skip="not benchmark and not babel"),
    Package("more-itertools", "11.2.1", ("more_itertools",), ("tests",), skip="not stub"),
    Package("pygments", "2.21.0", ("pygments",), ("tests/test_basic_api.py", "tests/test_regexlexer.py")),
    Package(
        "sympy",
        "1.14.0",
        ("sympy",),
        ("sympy.core.tests.test_cache", "sympy.core.tests.test_basic", "sympy.sets.tests.test_sets"),
        ("mpmath",),
        inside=True,
    ),
    Package("sqlglot", "30.30.0", ("sqlglot",), ("tests/test_optimizer.py", "tests/test_expressions.py")),
)  # fmt: skip
