"""Every code block of README.md and docs/*.md runs; a page's Python blocks are one program, in order."""

from __future__ import annotations

import ast
import inspect
import os
import re
import runpy
import shlex
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import memocache
import memocache.exceptions
import memocache.testing
from memocache.testing import servers

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OURS = "https://github.com/memocache/memocache/blob/main/"
_FENCE = re.compile(
    r"^(?P<why><!-- not run: [^\n]+ -->\n)?(?:<!-- needs: (?P<needs>\w+) -->\n)?"
    r"```(?P<language>\w+)\n(?P<code>.*?)^```$",
    re.M | re.S,
)
_LOCAL_SERVER = re.compile(r"(redis|valkey)://localhost(:6379)?(/0)?")


def at_hand(code: str, server_url: str, tmp_path: Path) -> str:
    """`code` on a server and in directories of the test's own."""
    return re.sub(r"/var/cache/app|/tmp/rates", str(tmp_path / "cache"), _LOCAL_SERVER.sub(server_url, code))


class Block(NamedTuple):
    """A fenced block: where it begins, its language, its text, whether the page says that it is not to be run, and
    the package that it and the following ones need.
    """

    line: int
    language: str
    code: str
    skipped: bool
    needs: str | None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start("code")) + 1
        yield Block(line, found["language"], found["code"], found["why"] is not None, found["needs"])


@pytest.fixture
def server_url(running_server: Callable[[str], servers.Server]) -> str:
    """What stands for the reader's own server."""
    kinds = servers.available_servers()
    if not kinds:
        pytest.skip("no server on this machine")
    server = running_server(kinds[0])
    with server.client() as client:
        client.flushall()
    return server.url


def _with_python(page: Path) -> bool:
    return any(block.language == "python" and not block.skipped for block in blocks(page))


def _shows_tests(page: Path) -> bool:
    return any(re.search(r"^(def test_|class Test)", block.code, re.M) for block in blocks(page))


_ALONE = {"django": "its settings are for good, and other tests have others"}
"""Pages whose program runs in a Python of its own, and why."""


def _run_alone(page: Path, server_url: str, tmp_path: Path) -> None:
    found = [block for block in blocks(page) if block.language == "python" and not block.skipped]
    for needed in filter(None, (block.needs for block in found)):
        pytest.importorskip(needed)
    program = at_hand("\n".join(block.code for block in found), server_url, tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if _with_python(page)], ids=lambda page: page.stem)
def test_python_blocks(page: Path, server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run one after another, as one program."""
    monkeypatch.chdir(tmp_path)
    if page.stem in _ALONE:
        _run_alone(page, server_url, tmp_path)
        return
    module = types.ModuleType("__page__")
    module.__file__ = str(page)
    monkeypatch.setitem(sys.modules, "__page__", module)
    try:
        for block in blocks(page):
            if block.language == "python" and not block.skipped:
                if block.needs is not None:
                    pytest.importorskip(block.needs)
                code = at_hand(block.code, server_url, tmp_path)
                exec(compile("\n" * (block.line - 1) + code, str(page), "exec"), vars(module))
    finally:
        memocache.configure("memory://").close()


def test_the_tutorial_step_by_step(tmp_path: Path) -> None:
    """As a reader follows it: each block is added to one file, which is run each time, and once more at the end."""
    pytest.importorskip("lmdb")
    program = tmp_path / "rates.py"
    code = [b.code for b in blocks(ROOT / "docs" / "tutorial.md") if b.language == "python" and not b.skipped]
    for upto in (*range(1, len(code) + 1), len(code)):
        program.write_text(at_hand("\n\n".join(code[:upto]), "", tmp_path), encoding="utf-8")
        done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("page", [page for page in PAGES if _shows_tests(page)], ids=lambda page: page.stem)
def test_the_tests_that_pages_show(page: Path, server_url: str, tmp_path: Path) -> None:
    """A page's tests pass, under a pytest of their own that knows memocache's plugin."""
    code = "".join(block.code for block in blocks(page) if block.language == "python" and not block.skipped)
    (tmp_path / "test_page.py").write_text(at_hand(code, server_url, tmp_path), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        "test_page.py",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stdout


def _commands() -> list[tuple[str, str]]:
    return [
        (page.stem, line)
        for page in PAGES
        for block in blocks(page)
        if block.language == "bash" and not block.skipped
        for line in block.code.splitlines()
        if line.strip() and not line.startswith("#")
    ]


@pytest.mark.parametrize(("page", "command"), _commands())
def test_shell_lines(page: str, command: str, server_url: str, tmp_path: Path) -> None:
    """The commands of a page are memocache's own, and succeed."""
    command = at_hand(command, server_url, tmp_path)
    for url in re.findall(r"disk://\S+", command):
        with memocache.Cache(url) as cache:  # the program that the page is about has made its store
            cache.set("plain", 1)
    program, *arguments = shlex.split(command)
    assert program == "memocache", f"{page}: mark it <!-- not run: why -->"
    done = subprocess.run(
        [sys.executable, "-m", "memocache.cli", *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 0, done.stderr


def _heading_ids(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages() -> None:
    """Every relative link of README.md and the pages leads to a file that is there, and to a heading it has."""
    dead = []
    for page in PAGES:
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            ours = link.startswith(OURS)  # README.md is shown on PyPI too, where a relative link leads nowhere
            target, _, anchor = link.removeprefix(OURS).partition("#")
            found = (ROOT if ours else page.parent) / target if target else page
            link = target if ours else link
            if "://" in link or (found.exists() and (not anchor or anchor in _heading_ids(found))):
                continue
            dead.append(f"{page.name}: {link}")
    assert not dead


def test_the_links_of_the_readme_are_absolute() -> None:
    """PyPI shows README.md without the files beside it."""
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 10
    assert [link for link in links if not link.startswith("https://")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_block_is_overlooked(page: Path) -> None:
    """Every block of a page runs, says on the line before why not, or is none to run: a directive, or plain text."""
    text = page.read_text(encoding="utf-8")
    seen = {block.line for block in blocks(page)}
    fences = [(n, line) for n, line in enumerate(text.splitlines(), 2) if line.lstrip().startswith(("```", "~~~"))]
    assert len(fences) % 2 == 0
    overlooked = [n for n, line in fences[::2] if n not in seen and line != "```" and not line.startswith("```{")]
    assert not overlooked
    assert {block.language for block in blocks(page) if not block.skipped} <= {"python", "bash"}


def test_a_skipped_block_hides_no_other() -> None:
    """What stands between two blocks that are not to be run is seen."""
    why = "<!-- not run: because -->\n"
    text = f"{why}```bash\na\n```\n\n```python\nb\n```\n\n{why}```bash\nc\n```\n"
    assert [found["code"] for found in _FENCE.finditer(text)] == ["a\n", "b\n", "c\n"]


def _texts_of_the_package() -> str:
    """Every text that the package may say, what is filled in left out."""
    texts = []
    for source in (ROOT / "memocache").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                texts.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_messages_on_the_troubleshooting_page_are_said() -> None:
    """Each message that the page explains is a part of a text of the package, word for word."""
    page = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text(encoding="utf-8")
    said = _texts_of_the_package()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", re.sub(r"\(`\w+`\)", "", row))]
    assert len(messages) > 25
    assert [message for message in messages if message not in said] == []


def test_every_public_name_is_in_the_api_reference() -> None:
    """What the package and its test kit export is on docs/api.md, one by one or with its module."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"auto(?:class|function|data):: memocache(?:\.\w+)*\.(\w+)", page))
    with_their_module = set(vars(memocache.exceptions))
    assert set(memocache.__all__) - with_their_module - named == set()
    assert set(memocache.testing.__all__) - named == set()


def test_every_option_is_in_the_api_reference() -> None:
    """What the site shows of `cached` and `cached_many` names each of their options."""
    conf = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    for decorate in (memocache.cached, memocache.cached_many):
        lines: list[str] = []
        conf["with_options"](None, "function", repr(decorate)[1:-1], decorate, None, lines)
        told = set(re.findall(r"^ {4}(\w+): ", "\n".join(lines), re.M))
        options = set(inspect.signature(decorate).parameters)
        assert "tags" in told
        assert decorate is memocache.cached_many or options <= told  # the other's refer to `cached`
