"""docs/values.md lists the known types and the refusals as the code has them:
``python -m tests.codecs.test_known_values_page``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from memocache.codecs.known.table import TABLE
from memocache.codecs.refusals import WORDS
from tests.codecs.test_refusals import reasons

PAGE = Path(__file__).parents[2] / "docs" / "values.md"
_SHOWN = {"builtins": "Python", "typing": "Python", "types": "Python"}


def types() -> str:
    """The known types as a table, a row for each entry."""
    lines = ["| library | type | |", "| --- | --- | --- |"]
    for known in TABLE:
        library = known.classes[0].partition(":")[0].partition(".")[0]
        names = dict.fromkeys(name.partition(":")[2].removeprefix("_") for name in known.classes)
        lines.append(f"| {_SHOWN.get(library, library)} | {', '.join(f'`{name}`' for name in names)} | {known.note} |")
    return "".join(f"{line}\n" for line in lines)


def classes() -> str:
    """The refused classes as a table, a row for each refusal."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, words in WORDS.items():
        library, _, qualname = name.partition(".")
        row = found.setdefault((_SHOWN.get(library, library), words), [])
        row.append(qualname.rpartition(".")[2].removeprefix("_"))
    lines = ["| library | class or its subclass | why | what to do |", "| --- | --- | --- | --- |"]
    for (library, words), names in found.items():
        why, _, way = words.partition("; ")
        lines.append(f"| {library} | {', '.join(f'`{name}`' for name in dict.fromkeys(names))} | {why} | {way} |")
    return "".join(f"{line}\n" for line in lines)


def values() -> str:
    """The refused values of classes that are stored otherwise, by what is said of them."""
    told = dict.fromkeys(words for _, words in reasons())
    rows = [(words.partition("; ")[0].removesuffix(" cannot be stored"), words.partition("; ")[2]) for words in told]
    lines = ["| what | what to do |", "| --- | --- |", *(f"| {what} | {way} |" for what, way in rows)]
    return "".join(f"{line}\n" for line in lines)


TABLES: dict[str, Callable[[], str]] = {"known types": types, "refused classes": classes, "refused values": values}


def begin(name: str) -> str:
    return f"<!-- {name}: made by python -m tests.codecs.test_known_values_page -->\n"


def end(name: str) -> str:
    return f"<!-- end of {name} -->\n"


@pytest.mark.parametrize("name", TABLES)
def test_the_page_has_a_line_for_each(name: str) -> None:
    """Nothing that the code knows is missing from the page, and nothing stands there that the code has not."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(f"{re.escape(begin(name))}(.*?){re.escape(end(name))}", text, re.DOTALL)
    assert found is not None
    assert found[1] == TABLES[name]()


if __name__ == "__main__":
    for name, rows in TABLES.items():
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin(name))
        PAGE.write_text(before + begin(name) + rows() + end(name) + rest.partition(end(name))[2], encoding="utf-8")
