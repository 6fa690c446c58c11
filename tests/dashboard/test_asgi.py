"""The dashboard's pages and its gate, asked over ASGI as a server would ask."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest

from memocache import Cache

pytest.importorskip("starlette", reason="the dashboard needs the extra `dashboard`")

from memocache.dashboard import dashboard  # after the check above

HOSTILE = "<script>alert('\"x\"')</script>\u202e../?#%00"


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    cookie: str
    text: str


class Browser:
    """One visitor: keeps its cookie, speaks to the application without a server."""

    def __init__(self, app: Any, *, client: str = "127.0.0.1", host: str = "localhost:8787") -> None:
        self.app = app
        self.client = client
        self.host = host
        self.cookie = ""

    async def ask(self, path: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None) -> Answer:
        """GET a path, or POST a form to it."""
        path, _, query = path.partition("?")
        sent = {"host": self.host, "cookie": self.cookie, **(headers or {})}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET" if form is None else "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "client": (self.client, 50000),
            "server": ("127.0.0.1", 8787),
        }
        messages: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": urlencode(form or {}).encode(), "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        await self.app(scope, receive, send)
        start = messages[0]
        got = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        cookie = got.get("set-cookie", "")
        if cookie:
            self.cookie = cookie.partition(";")[0]
        body = b"".join(message.get("body", b"") for message in messages[1:])
        return Answer(start["status"], got, cookie, body.decode())

    async def csrf(self, path: str = "/invalidate?kind=glob&target=*") -> str:
        """What a form of this session must repeat."""
        found = re.search(r'name="csrf" value="([^"]+)"', (await self.ask(path)).text)
        assert found is not None
        return html.unescape(found[1])


@pytest.fixture
def cache() -> Iterator[Cache]:
    """A cache of this process."""
    with Cache("memory://") as made:
        yield made


def visit(app: Any, steps: Any, **about: str) -> Any:
    """Run the steps of one browser on a loop of its own."""

    async def whole() -> Any:
        async with app.router.lifespan_context(app):
            return await steps(Browser(app, **about))

    return asyncio.run(whole())


def test_pages_name_the_functions_and_escape_whatever_they_are_called(cache: Cache) -> None:
    """Every page answers, with a hostile function name, tag and key in it as text and never as markup."""
    calls = cache.cached(name=HOSTILE, tags=[HOSTILE])(lambda x: x)
    calls(1)
    calls(1)
    cache.set(HOSTILE, 1)
    paths = ["/", "/functions", "/health", "/audit", "/data", "/key"]
    paths += [f"/function?keys=1&name={quote(HOSTILE)}", f"/key?key={quote(HOSTILE)}"]
    paths += [f"/key?key={quote(calls.key_for(1))}", f"/invalidate?kind=tag&target={quote(HOSTILE)}"]

    async def steps(browser: Browser) -> list[Answer]:
        return [await browser.ask(path) for path in paths]

    answers = visit(dashboard(cache), steps)
    assert [answer.status for answer in answers] == [200] * len(paths)
    assert not any("<script>alert" in answer.text for answer in answers)
    assert html.escape("<script>alert") in answers[1].text


def test_no_page_has_inline_script_or_style(cache: Cache) -> None:
    """Pages keep to the policy that they are sent with, which allows nothing inline and nothing from elsewhere."""

    async def steps(browser: Browser) -> list[Answer]:
        return [await browser.ask(path) for path in ("/", "/functions", "/health", "/audit", "/key")]

    for answer in visit(dashboard(cache), steps):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|https?://", answer.text)


def test_an_invalidation_from_the_page_makes_the_next_call_compute(cache: Cache) -> None:
    """A form of this session forgets a function; the trail names it; the next call computes."""
    computed = []
    calls = cache.cached(name="shop.price")(lambda x: computed.append(x))
    calls(1)

    async def steps(browser: Browser) -> tuple[Answer, Answer]:
        csrf = await browser.csrf()
        done = await browser.ask("/invalidate", {"csrf": csrf, "kind": "function", "target": "shop.price"})
        return done, await browser.ask("/audit")

    done, audit = visit(dashboard(cache), steps)
    calls(1)
    assert done.status == 303
    assert "shop.price" in audit.text
    assert computed == [1, 1]


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ({"csrf": "guessed"}, {}),
        ({}, {"origin": "http://evil.example"}),
        ({}, {"sec-fetch-site": "cross-site"}),
    ],
    ids=["csrf", "origin", "cross-site"],
)
def test_forms_that_are_not_ours_change_nothing(cache: Cache, form: dict[str, str], headers: dict[str, str]) -> None:
    """Without this session's csrf text, or from another site, an action is refused."""
    computed = []
    calls = cache.cached(name="shop.price")(lambda x: computed.append(x))
    calls(1)

    async def steps(browser: Browser) -> Answer:
        csrf = await browser.csrf()
        return await browser.ask("/invalidate", {"csrf": csrf, "kind": "glob", "target": "*", **form}, headers)

    assert visit(dashboard(cache), steps).status == 403
    calls(1)
    assert computed == [1]


def test_a_read_only_dashboard_refuses_a_form_that_is_right(cache: Cache) -> None:
    """With read_only= the server itself refuses, whatever a browser sends; the form is this session's own."""
    computed = []
    calls = cache.cached(name="shop.price")(lambda x: computed.append(x))
    calls(1)

    async def steps(browser: Browser) -> Answer:
        await browser.ask("/login", {"token": "right"})
        csrf = await browser.csrf("/")  # the form that logs out has it
        return await browser.ask("/invalidate", {"csrf": csrf, "kind": "glob", "target": "*"})

    answer = visit(dashboard(cache, token="right", read_only=True), steps)
    calls(1)
    assert (answer.status, computed) == (403, [1])
    assert "Read only" in answer.text


def test_without_a_token_only_this_machine_is_answered(cache: Cache) -> None:
    """Another machine, and a name that a site pointed at us, are refused before any page is made."""

    async def steps(browser: Browser) -> int:
        return (await browser.ask("/")).status

    assert visit(dashboard(cache), steps) == 200
    assert visit(dashboard(cache), steps, client="10.0.0.9") == 403
    assert visit(dashboard(cache), steps, host="rebound.example") == 403


def test_a_token_opens_a_session_and_wrong_ones_are_counted(cache: Cache) -> None:
    """With a token no page is shown before it is given; five wrong ones close the door for a while."""

    async def steps(browser: Browser) -> tuple[Answer, Answer, Answer, list[int]]:
        before = await browser.ask("/")
        right = await browser.ask("/login", {"token": "right"})
        after = await browser.ask("/")
        other = Browser(browser.app, client="10.0.0.9")
        wrong = [(await other.ask("/login", {"token": "wrong"})).status for _ in range(6)]
        return before, right, after, wrong

    before, right, after, wrong = visit(dashboard(cache, token="right"), steps)
    assert (before.status, before.headers["location"]) == (303, "/login")
    assert right.status == 303
    assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in right.cookie.split(";")}
    assert after.status == 200
    assert wrong == [401] * 5 + [429]  # held back for a second


def test_values_are_shown_only_when_asked_for_at_start(cache: Cache) -> None:
    """The page of a key holds the value with show_values=, and never without."""
    cache.set("k", "canary-7351")

    async def steps(browser: Browser) -> str:
        return (await browser.ask("/key?key=k")).text

    assert "canary-7351" not in visit(dashboard(cache), steps)
    assert "canary-7351" in visit(dashboard(cache, show_values=True), steps)
