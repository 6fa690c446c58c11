"""The pages, asked over ASGI: what they show, who may ask, and what an attacker's request comes to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx2")
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from memocache import BackendError, Cache, ConfigurationError
from memocache.backends.memory import MemoryBackend
from memocache.dashboard import dashboard
from memocache.dashboard._sessions import HELD_SECONDS

HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "a\x00b",
    "line\nend\r\n",
    "\u202egnp.exe",
    "x" * 10_000,
    "../../etc/passwd",
    "?q=1#f&kind=glob",
    "{{ 7 * 7 }}",
)
PAGES = ("/", "/functions", "/processes", "/key", "/health", "/audit", "/data")


@pytest.fixture
def cache() -> Iterator[Cache]:
    """A cache of the test's own, in the process."""
    with Cache() as made:
        yield made


async def _until(true: Callable[[], bool]) -> None:
    """Wait for something on the application's loop."""
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


def client_of(app: Any, *, base: str = "http://localhost", address: str = "127.0.0.1", **more: Any) -> TestClient:
    """A client at `address` that calls the server by the name in `base`."""
    return TestClient(app, base_url=base, client=(address, 50_000), follow_redirects=False, **more)


@pytest.fixture
def client(cache: Cache) -> Iterator[TestClient]:
    """A client of a dashboard without a token, on this machine."""
    with client_of(dashboard(cache)) as made:
        yield made


def csrf_of(page: str) -> str:
    """What the forms of a page repeat."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def forget(client: TestClient, kind: str, target: str, *, root: str = "", **headers: str) -> Any:
    """Ask, then confirm, as the pages do."""
    query = urlencode({"kind": kind, "target": target}, errors="surrogatepass")
    asked = client.get(f"{root}/invalidate?{query}")
    fields = {"csrf": csrf_of(asked.text), "kind": kind, "target": quote(target, safe="", errors="surrogatepass")}
    return client.post(f"{root}/invalidate", data=fields, headers=headers)


class Tags(HTMLParser):
    """Elements and attributes of a page, as a browser would see them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_pages_show_what_was_counted(cache: Cache, client: TestClient) -> None:
    """Overview, table, function and key show the cache's own figures."""

    @cache.cached(name="shop.price", tags="item:{item}")
    def price(item: int) -> int:
        return item

    for item in (1, 1, 1, 2):
        price(item)
    key = price.key_for(1)
    assert "shop.price" in client.get("/").text
    table = client.get("/functions").text
    assert 'title="4"' in table
    assert "50.0%" in table
    page = client.get("/function", params={"name": "shop.price", "keys": "1"}).text
    assert key in page
    shown = client.get("/key", params={"key": key}).text
    assert "item:{item}" in shown
    assert "shop.price" in shown
    assert "memory" not in client.get("/key", params={"key": "no such"}).text
    assert client.get("/key", params={"key": "no such"}).status_code == 404


def test_a_function_is_shown_in_detail(cache: Cache, client: TestClient) -> None:
    """Times, causes of misses, what entries have left, settings and hottest keys are the cache's own."""
    price = cache.cached(name="shop.price", ttl="5m", tags="item:{item}")(lambda item: item)
    for item in (1, 1, 2):
        price(item)
    price.invalidate(1)
    price(1)
    details = cache.details("shop.price", "fleet")
    assert details is not None
    assert details.causes["cold"] == 2
    assert details.causes["invalidated"] == 1
    text = client.get("/function", params={"name": "shop.price"}).text
    assert "The function itself: 3 in all" in text
    assert "1 more hits" in re.sub("<[^>]+>", "", text)
    for cause, number in (("cold", 2), ("invalidated", 1)):
        assert f'<th scope="row">{cause}</th>' in text
        assert f'title="{number}"' in text
    assert "evicted</th>" not in text
    assert "Time to live of 2 entries" in text
    assert "half have less" in text, "entries have it left, calls took it"
    assert ">item:{item}</dd>" in text
    assert details.hottest
    assert details.hottest[0] in text


def test_keys_come_by_pages(cache: Cache, client: TestClient) -> None:
    """Each page leads to the next until every key was shown once; a cursor of another time says so."""
    price = cache.cached(name="shop.price")(lambda item: item)
    keys = {price.key_for(item) for item in range(250) if price(item) >= 0}
    query: dict[str, str] = {"name": "shop.price", "keys": "1"}
    shown: list[str] = []
    while True:
        text = client.get("/function", params=query).text.partition('<h2 id="keys">')[2]
        shown += re.findall(r"<li><a [^>]*>([^<]+)</a>", text)
        found = re.search(r"cursor=(\w+)", text)
        if found is None:
            break
        query["cursor"] = found[1]
    assert sorted(shown) == sorted(keys)
    assert "The list has moved on" in client.get("/function", params={**query, "cursor": "none"}).text


def test_what_is_not_known_yet_is_being_collected(client: TestClient) -> None:
    """A rate needs two looks at the backend: until then a tile says so, and whose memory is shown."""
    page = client.get("/").text
    assert page.count("collecting") >= 4
    assert "Memory of the entries" in page


def test_the_breaker_is_shown(url: str) -> None:
    """The overview says of each backend whether this process asks it; if not, since when and why."""
    with Cache(f"{url}?timeout=30") as cache, client_of(dashboard(cache)) as client:
        assert "redis: connected" in client.get("/").text
    with Cache("redis://127.0.0.1:1?timeout=30") as cache, client_of(dashboard(cache)) as client:
        while cache.breaker() == {"redis": "closed"}:
            with contextlib.suppress(BackendError):
                cache.get("k")
        page = client.get("/").text
        assert re.search(r"redis: not asking the server since \d+ s: connection refused", page)


def test_what_the_script_draws_is_not_sent_twice(cache: Cache, client: TestClient) -> None:
    """The overview's own lines are left out where the script asks, which draws them from the data."""
    cache.set("k", 1)
    pages = next(route for route in client.app.routes if route.path == "/login").endpoint.__self__
    for at in (0, 2, 4):
        pages.poller.history.seen(cache.stats(), time.time() - 10 + at)
    assert re.search(r'points="[0-9]', client.get("/").text)
    assert not re.search(r'points="[0-9]', client.get("/", headers={"X-Live": "1"}).text)


def test_hot_keys_have_hits_and_size(url: str) -> None:
    """Each of a function's hottest keys is shown with its hits and the size of its entry; one that is gone with a dash,
    and no more than a bounded number of bytes is read for it.
    """
    with Cache(f"{url}?timeout=30") as cache, client_of(dashboard(cache)) as client:
        price = cache.cached(name="shop.price")(lambda item: "x" * 300_000)
        for item in range(12):
            for _ in range(item + 2):
                price(item)
        cache.delete(price.key_for(11))
        rows = re.findall(r'<tr><th scope="row" class="keyof">.*?</tr>', client.get("/function?name=shop.price").text)
        cells = [re.findall(r'<td class="n"[^>]*>([^<]+)</td>', row) for row in rows]
    assert price.key_for(11) in rows[0]
    assert cells[0][1] == "-"
    assert cells[1] == ["11", "293.0 KiB"]
    assert ["-", "-"] in cells[7:], "seven of them are 2 MiB"


def test_each_process_has_a_row(url: str) -> None:
    """Host, process, version, hit rate and when it was last seen, of each process that told of itself; whoever calls
    is told apart from whoever looks on.
    """
    with Cache(f"{url}?timeout=30") as worker, Cache(f"{url}?timeout=30") as cache:
        price = worker.cached(name="shop.price")(lambda: 1)
        for _ in range(4):
            price()
            worker.stats("fleet")  # it tells of itself from the second time on
        with client_of(dashboard(cache)) as client:
            text = client.get("/processes").text
    assert socket.gethostname() in text
    assert f'<td class="n">{os.getpid()}</td>' in text
    assert "75.0%" in text
    assert re.search(r">(now|\d+ s ago)</td>", text)


def test_in_a_process_of_its_own_it_is_the_one_row(cache: Cache, client: TestClient) -> None:
    """On memory:// the process that serves is the only one."""
    cache.cached(name="f")(lambda: 1)()
    text = client.get("/processes").text
    assert text.count('<th scope="row"') == 1
    assert f'<td class="n">{os.getpid()}</td>' in text


def test_several_functions_are_forgotten_together(cache: Cache, client: TestClient) -> None:
    """Those that were selected, whatever their names, and no other; each is a line of the audit."""
    names = ["shop.price", "two words", "l\nine\x00", "é\ud800", "left alone"]
    functions = [cache.cached(name=name)(lambda: object()) for name in names]
    before = [function() for function in functions]
    quoted = re.findall(r'name="target" value="([^"]*)"', client.get("/functions", params={"sort": "name"}).text)
    assert len(quoted) == 5
    chosen = [quote(name, safe="", errors="surrogatepass") for name in names[:-1]]
    assert set(chosen) < set(quoted)
    asked = client.get("/invalidate?" + urlencode([("kind", "functions"), *(("target", one) for one in chosen)]))
    assert asked.text.count("<li ") == 4
    assert "left alone" not in asked.text
    fields = dict(re.findall(r'name="(csrf|kind|target)" value="([^"]*)"', asked.text))
    done = client.post("/invalidate", data=fields)
    page = client.get(done.headers["location"]).text
    assert page.count("<strong>Done:</strong>") == 4
    after = [function() for function in functions]
    assert [new is old for new, old in zip(after, before, strict=True)] == [False] * 4 + [True]


def test_several_caches_have_one_door() -> None:
    """Each cache has its pages under its number, a switch leads to the others, and who logged in is in everywhere."""
    with Cache() as shop, Cache() as blog:
        shop.cached(name="shop.price")(lambda: 1)()
        blog.cached(name="blog.post")(lambda: 1)()
        app = dashboard({"shop": shop, "<blog>": blog}, token="s3cret")
        client = client_of(Starlette(routes=[Mount("/ops", app)]))
        assert client.get("/ops/").headers["location"] == "/ops/1/"
        assert client.get("/ops/2/functions").headers["location"] == "/ops/2/login"
        into = client.post("/ops/2/login", data={"token": "s3cret"})
        assert "path=/ops/;" in into.headers["set-cookie"].lower()
        first, second = (client.get(f"/ops/{number}/functions").text for number in (1, 2))
        assert "shop.price" in first
        assert "blog.post" not in first
        assert "blog.post" in second
        switch = second.partition('aria-label="Caches"')[2].partition("</nav>")[0]
        assert re.findall(r'<a href="(/ops/\d/)"( aria-current="true")?>([^<]+)</a>', switch) == [
            ("/ops/1/", "", "shop"),
            ("/ops/2/", ' aria-current="true"', "&lt;blog&gt;"),
        ]
        assert forget(client, "function", "blog.post", root="/ops/2").status_code == 303
        page = client.get("/ops/1/")
        assert client.post("/ops/1/logout", data={"csrf": csrf_of(page.text)}).status_code == 303
        assert client.get("/ops/2/").status_code == 303
    with pytest.raises(ValueError, match="at least one"):
        dashboard({})


def test_a_cache_with_tenants_is_refused() -> None:
    """A cache with tenants is refused with the way out: nobody is bound where the pages look, alone or with others."""
    for refused in (Cache(tenants=True), {"one": Cache(), "two": Cache(tenants=True)}):
        with pytest.raises(ConfigurationError, match="prefix='memo/acme'"):
            dashboard(refused)


def test_alerts_are_linked_and_sound(client: TestClient) -> None:
    """The health page links rules for Prometheus; each names only metrics that are exported, and says what is wrong."""
    yaml = pytest.importorskip("yaml")
    prometheus = pytest.importorskip("memocache.instrumentation.prometheus")
    link = re.search(r'href="(/static/[^"]+\.yml)"', client.get("/health").text)
    assert link is not None
    rules = yaml.safe_load(client.get(link[1]).text)["groups"][0]["rules"]
    with Cache(MemoryBackend()) as cache:
        cache.cached(name="f")(lambda: 1)()
        families = [
            family
            for scope in ("process", "fleet")
            for family in prometheus.PrometheusCollector(cache, scope=scope).collect()
        ]
    suffixes = {"counter": ["_total"], "histogram": ["_bucket"], "gauge": [""]}
    exported = {family.name + suffix for family in families for suffix in suffixes[family.type]}
    assert len(rules) > 5
    for rule in rules:
        assert set(re.findall(r"memocache_\w+", rule["expr"])) <= exported
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_history_begins_with_the_application(cache: Cache) -> None:
    """Without a page asked for, the figures are looked at, from the start of the application on."""
    cache.set("k", 1)
    with client_of(dashboard(cache, watched=0.01, idle=0.01)) as client:
        history = _pages(client).poller.history
        client.portal.call(_until, lambda: len(history.looks.points) > 2)


def test_history_outlives_the_process(url: str) -> None:
    """What one application saw is shown by the next one on this backend, in each range."""
    with Cache(f"{url}?timeout=30") as cache, client_of(dashboard(cache)) as client:
        poller = _pages(client).poller
        now = time.time()
        for ago in (900, 600, 300):
            poller.history.seen(cache.stats("fleet"), now - ago)
        client.portal.call(poller._note, False, now)
        client.portal.call(poller._note, True, now)
    with Cache(f"{url}?timeout=30") as cache, client_of(dashboard(cache)) as client:
        client.get("/")
        for span in ("1h", "24h"):
            points = client.get("/data", params={"range": span}).json()["points"]
            assert [round(now - at) for at in points["at"][:2]] == [600, 300]


def test_a_range_can_be_chosen(client: TestClient) -> None:
    """Four ranges are offered as links, the chosen one is marked, and one that is none is the hour."""
    for asked, shown in (("15m", "15m"), ("1h", "1h"), ("24h", "24h"), ("7d", "7d"), ("<b>", "1h"), ("", "1h")):
        page = client.get("/", params={"range": asked}).text
        assert re.findall(r'range=(\w+)" aria-current="true"', page) == [shown]
        assert f'data-range="{shown}"' in page
        assert client.get("/data", params={"range": asked, "since": "-1"}).status_code == 200


def test_functions_are_sorted_and_searched_without_a_script(cache: Cache, client: TestClient) -> None:
    """Query parameters sort either way and search regardless of case."""
    for name, calls in (("shop.a", 1), ("shop.b", 3), ("blog.c", 2)):
        decorated = cache.cached(name=name)(lambda: 1)
        for _ in range(calls):
            decorated()

    def names(**query: str) -> list[str]:
        return re.findall(r'title="((?:shop|blog)\.\w)"', client.get("/functions", params=query).text)

    assert names() == ["shop.b", "blog.c", "shop.a"]
    assert names(sort="calls", up="1") == ["shop.a", "blog.c", "shop.b"]
    assert names(sort="name") == ["blog.c", "shop.a", "shop.b"]
    assert names(q="SHOP", sort="name") == ["shop.a", "shop.b"]
    assert names(q="nothing") == []
    assert names(sort="<script>", page="-1") == ["shop.b", "blog.c", "shop.a"]


@pytest.mark.parametrize("kind", ["key", "function", "glob", "tag"])
def test_each_action_forgets(cache: Cache, client: TestClient, kind: str) -> None:
    """After a confirmed action the next call computes; asking alone changes nothing."""
    ran: list[int] = []

    @cache.cached(name="shop.price", tags="item:{item}")
    def price(item: int) -> int:
        ran.append(item)
        return item

    price(7)
    target = {"key": price.key_for(7), "function": "shop.price", "glob": "shop.*", "tag": "item:7"}[kind]
    client.get("/invalidate", params={"kind": kind, "target": target})
    price(7)
    assert ran == [7]
    done = forget(client, kind, target)
    assert done.status_code == 303
    assert "Done" in client.get(done.headers["location"]).text
    price(7)
    assert ran == [7, 7]


def test_a_name_that_looks_like_a_pattern_is_only_itself(cache: Cache, client: TestClient) -> None:
    """Forgetting the function named ``f[ab]`` leaves ``fa`` alone."""
    odd, other = (cache.cached(name=name)(lambda: object()) for name in ("f[ab]", "fa"))
    before = odd(), other()
    assert forget(client, "function", "f[ab]").status_code == 303
    assert odd() is not before[0]
    assert other.cache_info().misses == 1
    other()
    assert other.cache_info().misses == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_only_text(cache: Cache, client: TestClient, name: str) -> None:
    """As a function's name, key or tag it makes no element, attribute or broken link, in any page."""
    cache.cached(name=name, tags=(name.replace("{", "").replace("}", ""),))(lambda: 1)()
    cache.set(name, 1)
    pages = [client.get(path).text for path in PAGES if path != "/data"]
    pages += [client.get("/functions", params={"q": name}).text]
    pages += [client.get("/function", params={"name": name, "keys": "1"}).text]
    pages += [client.get("/key", params={"key": name}).text]
    pages += [client.get("/invalidate", params={"kind": kind, "target": name}).text for kind in ("glob", "tag")]
    for page in pages:
        tags = Tags(page).seen
        assert {attrs.get("src") for tag, attrs in tags if tag in ("script", "img")} == {
            "/static/theme.js",
            "/static/vendor/uplot/uPlot.iife.min.js",
            "/static/app.js",
        }
        assert not [attrs for _, attrs in tags if any(a.startswith("on") or a == "style" for a in attrs)]
        assert "\x00" not in page
        assert "\u202e" not in re.sub(r'value="[^"]*"', "", page)
        assert ">49<" not in page
    assert f"/function?{urlencode({'name': name})}" in pages[1].replace("&amp;", "&")
    json.loads(client.get("/data").text)
    assert forget(client, "key", name).status_code == 303
    assert not cache.exists(name)


def test_a_lone_surrogate_is_a_key_like_any(cache: Cache, client: TestClient) -> None:
    """What UTF-8 cannot say is still found by its link, shown, and forgotten; a broken query is none."""
    cache.set("a\ud800", 1)
    page = client.get("/key?" + urlencode({"key": "a\ud800"}, errors="surrogatepass"))
    assert page.status_code == 200
    assert forget(client, "key", "a\ud800").status_code == 303
    assert not cache.exists("a\ud800")
    assert client.get("/key?key=%ff").status_code == 200


def test_every_answer_has_the_headers(client: TestClient) -> None:
    """Pages, data, assets, errors and refusals carry the policy; no page has inline script or style."""
    for path in (*PAGES, "/static/app.js", "/nowhere"):
        answer = client.get(path)
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        for tag, attrs in Tags(answer.text).seen if answer.headers["content-type"].startswith("text/html") else ():
            assert tag != "style"
            assert "style" not in attrs
            assert tag != "script" or attrs.get("src")
    refused = client.get("/", headers={"host": "evil.example"})
    assert refused.status_code == 403
    assert "content-security-policy" in refused.headers


def test_without_a_token_only_this_machine_is_answered(cache: Cache) -> None:
    """Another address, another name (a rebound one) and no name at all are refused, on every path."""
    app = dashboard(cache)
    for base, address in (("http://localhost", "10.0.0.9"), ("http://evil.example", "127.0.0.1"), ("http://0", "::1")):
        client = client_of(app, base=base, address=address)
        assert {client.get(path).status_code for path in (*PAGES, "/static/app.js")} == {403}
    assert client_of(app, base="http://[::1]:8787", address="::1").get("/audit").status_code == 200
    named = client_of(dashboard(cache, hosts=("ops.example",)), base="http://ops.example", address="10.0.0.9")
    assert named.get("/audit").status_code == 200


def test_a_token_is_demanded(cache: Cache) -> None:
    """Nothing but the form and the assets is shown without it; the cookie is as strict as can be."""
    client = client_of(dashboard(cache, token="s3cret"), base="https://ops.example", address="10.0.0.9")
    for path in PAGES:
        answer = client.get(path)
        assert answer.status_code in (303, 401)
        assert "set-cookie" not in answer.headers
    assert client.post("/invalidate", data={"kind": "glob", "target": "*"}).status_code == 303
    assert client.post("/login", data={"token": "wrong"}).status_code == 401
    assert client.get("/audit", headers={"cookie": "memocache_session=guess"}).status_code == 303
    assert client.post("/login", data={"token": "s3cret"}).status_code == 303
    inside = client_of(dashboard(cache, token="s3cret"), base="https://ops.example").post(
        "/login", data={"token": "s3cret"}
    )
    flags = inside.headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict", "secure"} <= {part.strip() for part in flags.split(";")}
    client.cookies.clear()


def test_a_session_ends(cache: Cache) -> None:
    """After logging out the cookie is worth nothing."""
    client = client_of(dashboard(cache, token="s3cret"), base="https://ops.example")
    client.post("/login", data={"token": "s3cret"})
    held = client.cookies["memocache_session"]
    page = client.get("/audit")
    assert page.status_code == 200
    assert client.post("/logout", data={"csrf": csrf_of(page.text)}).status_code == 303
    client.cookies.set("memocache_session", held, domain="ops.example", path="/")
    assert client.get("/audit").status_code == 303


def test_guessing_is_slowed(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """After five wrong tokens in a minute the next ones are answered late; the right one gets in all the same, for
    behind a proxy everybody has one address.
    """
    held: list[float] = []

    async def hold(seconds: float) -> None:
        held.append(seconds)

    monkeypatch.setattr("memocache.dashboard._pages.asyncio", SimpleNamespace(sleep=hold))
    app = dashboard(cache, token="s3cret")
    client = client_of(app, address="10.0.0.9")
    answers = [client.post("/login", data={"token": "wrong"}) for _ in range(60)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 55
    assert held == [HELD_SECONDS] * 55
    assert int(answers[5].headers["retry-after"]) > 0
    assert client.post("/login", data={"token": "s3cret"}).status_code == 303


def test_behind_a_proxy(cache: Cache) -> None:
    """Where a proxy does not pass Host, hosts= says whose forms are ours; others' stay refused."""
    app = dashboard(cache, token="s3cret", hosts=("ops.example",))
    client = client_of(app, base="http://127.0.0.1")
    origins = ("https://ops.example", "https://evil.example")
    answers = [client.post("/login", data={"token": "s3cret"}, headers={"origin": origin}) for origin in origins]
    assert [answer.status_code for answer in answers] == [303, 403]
    assert client_of(app, base="http://ops.example").get("/login").status_code == 200
    assert client_of(app, base="http://evil.example").get("/login").status_code == 403


def test_a_form_that_its_sender_gives_up(cache: Cache) -> None:
    """A browser that leaves while it sends a form is no error of ours: nothing is raised, nothing is done."""
    app = dashboard(cache, token="s3cret")
    scope = {
        "type": "http", "method": "POST", "path": "/login", "raw_path": b"/login", "root_path": "", "query_string": b"",
        "scheme": "http", "http_version": "1.1", "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    messages = iter([{"type": "http.request", "body": b"token=s3", "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 401


def test_forms_of_others_are_refused(cache: Cache, client: TestClient) -> None:
    """Without the session's own csrf value, or from another origin, nothing is forgotten."""
    cached = cache.cached(name="shop.price")(lambda: 1)
    cached()
    asked = client.get("/invalidate", params={"kind": "glob", "target": "*"})
    right = {"csrf": csrf_of(asked.text), "kind": "glob", "target": "*"}
    other = client_of(dashboard(cache))
    stranger = csrf_of(other.get("/invalidate", params={"kind": "glob", "target": "*"}).text)
    attempts = [
        client.post("/invalidate", data={**right, "csrf": ""}),
        client.post("/invalidate", data={**right, "csrf": stranger}),
        client.post("/invalidate", data={**right, "csrf": "é"}),
        client.post("/invalidate", data=right, headers={"origin": "http://evil.example"}),
        client.post("/invalidate", data=right, headers={"origin": "null"}),
        client.post("/invalidate", data=right, headers={"sec-fetch-site": "cross-site"}),
        client.post("/invalidate", data=right, headers={"sec-fetch-site": "same-site"}),
    ]
    assert [answer.status_code for answer in attempts] == [403] * len(attempts)
    assert client.post("/invalidate", data={"csrf": "x" * 70_000}).status_code == 413
    cached()
    assert cached.cache_info().misses == 1
    assert client.post("/invalidate", data=right, headers={"origin": "http://localhost"}).status_code == 303


def test_read_only_refuses_on_the_server(cache: Cache) -> None:
    """A right form sent all the same changes nothing."""
    cached = cache.cached(name="shop.price")(lambda: 1)
    cached()
    with client_of(dashboard(cache, read_only=True)) as client:
        page = client.get("/invalidate", params={"kind": "glob", "target": "*"})
        assert 'action="/invalidate"' not in page.text
        session = next(iter(_pages(client)._log_ins.sessions._sessions.values()))
        answer = client.post("/invalidate", data={"csrf": session.csrf, "kind": "glob", "target": "*"})
    assert answer.status_code == 403
    assert "Read only" in answer.text
    cached()
    assert cached.cache_info().misses == 1


def _pages(client: TestClient) -> Any:
    app: Any = client.app
    return next(route for route in app.routes if getattr(route, "path", "") == "/login").endpoint.__self__


def test_values_are_shown_only_where_asked_for(cache: Cache) -> None:
    """A value shows with `show_values` alone, and looking at it is no hit."""
    cached = cache.cached(name="shop.price")(lambda item: "canary-value")
    cached("canary-argument")
    key = cached.key_for("canary-argument")
    for shown in (False, True):
        with client_of(dashboard(cache, show_values=shown)) as client:
            pages = "".join(client.get(path).text for path in PAGES)
            page = client.get("/key", params={"key": key}).text
        assert "canary-argument" not in pages + page
        assert "canary-value" not in pages
        assert ("canary-value" in page) is shown
    assert cached.cache_info().hits == 0


def test_one_line_is_logged_without_what_users_typed(
    cache: Cache, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Names are told, tags and plain keys are digested, and a line break in a name makes no second line."""
    with caplog.at_level(logging.INFO, logger="memocache.dashboard"):
        for kind, target in (("function", "a\nb"), ("tag", "canary:7"), ("key", "canary-key")):
            forget(client, kind, target)
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "memocache.dashboard"]
    assert [line["kind"] for line in lines] == ["function", "tag", "key"]
    assert lines[0]["what"] == "a\nb"
    assert lines[0]["by"] == "127.0.0.1"
    assert not any("\n" in record.getMessage() or "canary" in record.getMessage() for record in caplog.records)


def test_mounted_under_a_path(cache: Cache) -> None:
    """Every link, form, asset, redirect and cookie stays below the path, though no lifespan is forwarded."""
    cache.cached(name="shop.price")(lambda: 1)()
    client = client_of(Starlette(routes=[Mount("/ops/cache", dashboard(cache))]))
    for path in PAGES:
        answer = client.get("/ops/cache" + path)
        assert answer.status_code == 200
        for _, attrs in Tags(answer.text).seen if path != "/data" else ():
            for name in ("href", "src", "action"):
                link = attrs.get(name)
                assert link is None or link.startswith(("/ops/cache/", "?", "#", "data:")), link
    assert client.get("/ops/cache/static/app.js").status_code == 200
    done = forget(client, "glob", "shop.*", root="/ops/cache")
    assert done.headers["location"].startswith("/ops/cache/audit")
    assert "Path=/ops/cache/" in client_of(client.app).get("/ops/cache/audit").headers["set-cookie"]


def test_health_shows_what_was_asked_of_the_backend(cache: Cache, client: TestClient) -> None:
    """A row for each kind that was asked, with how often and how long; on memory:// it says that nothing was."""
    assert "No process has told" in client.get("/health").text
    with Cache(MemoryBackend()) as shared, client_of(dashboard(shared)) as other:
        shared.set("k", 1), shared.get("k"), shared.clear()
        page = other.get("/health").text
        for kind in ("get", "set", "flush"):
            assert f'<th scope="row">{kind}</th>' in page
        assert '<th scope="row">delete</th>' not in page


def test_a_backend_that_is_down_is_told(running_server: Any) -> None:
    """Pages answer, say so, keep what they knew, refuse to claim a success, and go on once it is back."""
    from memocache.testing import servers

    kinds = servers.available_servers()
    if not kinds:
        pytest.skip("no server on this machine")
    with servers.start(kinds[0]) as server, Cache(f"{server.url}?timeout=30") as cache:
        cache.cached(name="shop.price")(lambda: 1)()
        with client_of(dashboard(cache, watched=0.05)) as client:
            poller = _pages(client).poller
            assert "shop.price" in client.get("/functions").text
            server.stop()
            client.portal.call(poller.look)
            page = client.get("/functions")
            assert page.status_code == 200
            assert "The backend does not answer" in page.text
            assert "shop.price" in page.text
            failed = forget(client, "glob", "shop.*")
            assert "nothing may be believed forgotten" in client.get(failed.headers["location"]).text
            assert client.get("/health").status_code == 503


def test_an_empty_token_is_refused(cache: Cache) -> None:
    """A token that anybody could guess by giving none is an error when the application is made."""
    with pytest.raises(ValueError, match="token="):
        dashboard(cache, token=" ")
