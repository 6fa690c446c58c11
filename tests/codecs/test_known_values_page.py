"""docs/values.md lists the known types as the table has them: ``python -m tests.codecs.test_known_values_page``."""

from __future__ import annotations

import re
from pathlib import Path

from memocache.codecs.known.table import TABLE

PAGE = Path(__file__).parents[2] / "docs" / "values.md"
BEGIN = "<!-- known types: made by python -m tests.codecs.test_known_values_page -->\n"
END = "<!-- end of known types -->\n"
_SHOWN = {"builtins": "Python", "typing": "Python", "types": "Python"}


def rows() -> str:
    """The known types as a table, a row for each entry."""
    lines = ["| library | type | |", "| --- | --- | --- |"]
    for known in TABLE:
        library = known.classes[0].partition(":")[0].partition(".")[0]
        names = dict.fromkeys(name.partition(":")[2].removeprefix("_") for name in known.classes)
        lines.append(f"| {_SHOWN.get(library, library)} | {', '.join(f'`{name}`' for name in names)} | {known.note} |")
    return "".join(f"{line}\n" for line in lines)


def test_the_page_has_a_line_for_every_known_type() -> None:
    """No entry of the table is missing from the page, and none stands there that the table has not."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(f"{re.escape(BEGIN)}(.*?){re.escape(END)}", text, re.DOTALL)
    assert found is not None
    assert found[1] == rows()


if __name__ == "__main__":
    written = PAGE.read_text(encoding="utf-8")
    before, _, rest = written.partition(BEGIN)
    PAGE.write_text(before + BEGIN + rows() + END + rest.partition(END)[2], encoding="utf-8")
