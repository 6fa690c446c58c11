"""The dashboard in a real browser: live figures, finding, forgetting, an attacker's page, and accessibility."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from memocache import Cache

AXE = Path(__file__).with_name("axe") / "axe.min.js"
PAGES = (
    "",
    "functions",
    "processes",
    "function?name=shop.price&keys=1",
    "key",
    "key?key={key}",
    "health",
    "audit",
    "invalidate?kind=glob&target=shop.*",
    "function?name=none",
)


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page whose errors, console messages and refused resources fail the test."""
    context = browser.new_context()
    made = context.new_page()
    made.set_default_timeout(30_000)
    said: list[str] = []
    made.on("console", lambda message: said.append(message.text))
    made.on("pageerror", lambda error: said.append(str(error)))
    yield made
    context.close()
    assert said == []


def test_figures_live(served: Callable[..., str], load: subprocess.Popen[bytes], page: Any) -> None:
    """As a load runs in another process the number of calls changes and plots appear, without a reload."""
    from playwright.sync_api import expect

    page.goto(served())
    page.evaluate("window.never = 'reloaded'")
    page.locator(".plot canvas").nth(5).wait_for()
    before = page.locator("#v-calls").get_attribute("title")
    expect(page.locator("#v-calls")).not_to_have_attribute("title", before or "", timeout=30_000)
    assert page.evaluate("window.never") == "reloaded"


def test_pause_holds_the_figures(served: Callable[..., str], load: subprocess.Popen[bytes], page: Any) -> None:
    """While paused nothing is asked for and nothing changes; then the figures go on. A range is chosen by its link,
    and a page without figures has nothing to pause.
    """
    from playwright.sync_api import expect

    address = served()
    page.goto(address + "audit")
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    page.goto(address + "?range=24h")
    assert page.get_by_role("link", name="24 h").get_attribute("aria-current") == "true"
    page.get_by_role("link", name="15 min").click()
    page.locator(".plot canvas").nth(5).wait_for()
    page.get_by_role("button", name="Pause").click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    before = page.locator("#v-calls").get_attribute("title") or ""
    page.wait_for_timeout(4_500)  # two of its rounds
    assert asked == []
    assert page.locator("#v-calls").get_attribute("title") == before
    page.get_by_role("button", name="Paused").click()
    expect(page.locator("#v-calls")).not_to_have_attribute("title", before, timeout=30_000)


def test_sort_search_and_drill_down(served: Callable[..., str], load: subprocess.Popen[bytes], page: Any) -> None:
    """Sorting and searching happen in place and keep the keyboard's place; a row leads to its function and its key."""
    from playwright.sync_api import expect

    page.goto(served() + "functions")
    expect(page.locator("tbody tr")).to_have_count(4, timeout=30_000)
    page.evaluate("window.never = 'reloaded'")
    page.get_by_role("link", name="Function", exact=True).press("Enter")
    page.locator("[aria-sort]", has_text="Function").wait_for()
    names = page.locator("tbody th a").all_inner_texts()
    assert names == sorted(names)
    page.get_by_label("Search by name").fill("PRICE")
    expect(page.locator("tbody tr")).to_have_count(1, timeout=30_000)
    assert page.evaluate("window.never") == "reloaded"
    page.get_by_role("link", name="shop.price").click()
    page.get_by_role("link", name="Look for keys").click()
    page.locator(".keys a").first.click()
    assert "item:{item}" in page.locator("main").inner_text()


def test_forgetting_makes_the_next_call_compute(served: Callable[..., str], url: str, page: Any) -> None:
    """By mouse, through the question, to a function of another process; the trail says what was done."""
    ran = []
    with Cache(f"{url}?timeout=30") as cache:
        price = cache.cached(name="shop.price")(lambda item: ran.append(item))
        price(7)
        cache.stats("fleet")
        address = served()
        page.goto(address + "function?name=shop.price")
        page.get_by_role("link", name="Forget every call").click()
        price(7)
        assert ran == [7]
        page.get_by_role("button", name="Forget").click()
        page.wait_for_url(re.compile(r"/audit\?"))
        assert "Done" in page.locator("main").inner_text()
        price(7)
        assert ran == [7, 7]


def test_a_selection_outlasts_new_figures(served: Callable[..., str], load: subprocess.Popen[bytes], page: Any) -> None:
    """What was ticked stays ticked while figures come in, and is what is asked about."""
    page.goto(served() + "functions")
    page.get_by_label("Select shop.price").check()
    page.get_by_label("Select users.profile").check()
    page.get_by_role("heading", name="Functions").click()  # the table has the focus no more
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(4_500)  # two of its rounds
    page.get_by_role("button", name="Forget selected").click()
    page.locator("ul.keys li").nth(1).wait_for()
    assert sorted(page.locator("ul.keys li").all_inner_texts()) == ["shop.price", "users.profile"]


def test_it_is_whole_without_a_script(served: Callable[..., str], url: str, browser: Any) -> None:
    """With scripts off: figures, search, the question and the action all work."""
    with Cache(f"{url}?timeout=30") as cache:
        cache.cached(name="shop.price")(lambda: 1)()
        cache.stats("fleet")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    address = served()
    page.goto(address + "functions")
    page.get_by_label("Search by name").fill("shop")
    page.get_by_role("button", name="Search").click()
    assert "1 function matches" in page.locator("main").inner_text()
    page.get_by_label("Functions by pattern").fill("shop.*")
    page.get_by_role("button", name="Ask").first.click()
    page.get_by_role("button", name="Forget").click()
    page.goto(address + "functions")
    page.get_by_label("Select shop.price").check()
    page.get_by_role("button", name="Forget selected").click()
    page.get_by_role("button", name="Forget").click()
    assert "Done" in page.locator("main").inner_text()
    context.close()


def test_another_site_forgets_nothing(served: Callable[..., str], url: str, browser: Any) -> None:
    """A foreign page that posts our form or frames our page gets nowhere, though the browser holds a session."""
    address = served()
    context = browser.new_context()
    page = context.new_page()
    page.goto(address + "audit")
    evil = f"""<form method=post action="{address}invalidate"><input name=kind value=glob><input name=target value="*">
    <button>win</button></form><iframe src="{address}"></iframe>"""
    context.route("http://evil.example/**", lambda route: route.fulfill(body=evil, content_type="text/html"))
    page.goto("http://evil.example/")
    page.wait_for_timeout(300)
    assert not [frame for frame in page.frames if frame.url.startswith(address) and "Overview" in frame.content()]
    with page.expect_response(lambda answer: answer.request.method == "POST") as posted:
        page.get_by_role("button").click()
    assert posted.value.status == 403
    page.goto(address + "audit")
    assert "Nothing was done from here" in page.locator("main").inner_text()
    context.close()


def test_the_policy_holds_in_the_browser(served: Callable[..., str], browser: Any) -> None:
    """Script put into a page, inline or from elsewhere, does not run; the token gates the way in, and out."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(served(MEMOCACHE_DASHBOARD_TOKEN="s3cret"))
    assert page.url.endswith("/login")
    page.get_by_label("Token").fill("s3cret")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Overview").wait_for()
    ran = page.evaluate(
        """() => { for (const make of [s => s.textContent = "window.evil = 1", s => s.src = "data:,window.evil=1"]) {
        const s = document.createElement("script"); make(s); document.body.append(s); }
        document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.evil=1'>");
        return new Promise(done => setTimeout(() => done(window.evil), 300)); }"""
    )
    assert ran is None
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    context.close()


def test_read_only_in_the_browser(served: Callable[..., str], url: str, page: Any) -> None:
    """No page of a read-only dashboard offers to forget anything, and its function page shows figures all the same."""
    with Cache(f"{url}?timeout=30") as cache:
        cache.cached(name="shop.price")(lambda: 1)()
        cache.stats("fleet")
    address = served("--read-only")
    for path in ("", "functions", "function?name=shop.price", "audit"):
        page.goto(address + path)
        assert page.get_by_text("read only").count() == 1
        assert page.get_by_role("button", name="Forget").count() == 0
        assert page.get_by_role("link", name="Forget").count() == 0
    page.goto(address + "function?name=shop.price")
    page.get_by_role("heading", name="Why calls missed").wait_for()
    assert page.get_by_role("row", name="cold").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_accessible(served: Callable[..., str], url: str, browser: Any, scheme: str, width: int) -> None:
    """axe-core finds nothing serious, and nothing is wider than the screen, on any page."""
    with Cache(f"{url}?timeout=30") as cache:
        price = cache.cached(name="shop.price", tags="item:{item}")(lambda item: 1)
        price(1)
        key = price.key_for(1)
        cache.stats("fleet")
    address = served("--show-values")
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page = context.new_page()
    login = served(MEMOCACHE_DASHBOARD_TOKEN="s3cret") + "login"
    for path in (*(address + path.format(key=quote(key)) for path in PAGES), login):
        page.goto(path)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate("axe.run().then(r => r.violations.map(v => [v.impact, v.id, v.nodes[0].html]))")
        assert [one for one in found if one[0] in ("serious", "critical")] == [], path
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
        if path.endswith(("functions", "processes")):  # the columns that count are seen without scrolling
            assert page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('.scroll'))") <= 0, path
    context.close()
