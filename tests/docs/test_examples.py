"""The example programs run, each on the framework that it is about."""

from __future__ import annotations

import asyncio
import importlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import memocache
from memocache import Cache
from memocache._cache import default as _default
from memocache.testing import assert_computed, assert_hits, servers

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """A function that imports an example by its name, on a default cache of the test's own."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    with Cache() as fresh, _default.replaced(fresh):
        yield importlib.import_module
    memocache.configure("memory://").close()


def test_fastapi(example: Callable[[str], Any]) -> None:
    """A read is served from the cache, its dependency too, and a write is seen by the next read."""
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx2")
    from fastapi.testclient import TestClient

    module = example("fastapi_app")
    with TestClient(module.app) as client:
        with assert_computed(module.stock_of, 1), assert_computed(module.settings_of, 1):
            for _ in range(3):
                assert client.get("/items/1").json() == {"item": 1, "stock": 10, "currency": "EUR"}
        assert client.get("/items/1").headers["Cache-Status"].startswith("memocache; hit; ttl=")
        assert client.put("/items/1", params={"stock": 9}).status_code == 200
        assert client.get("/items/1").json()["stock"] == 9
        assert client.get("/items/3").status_code == 404


def test_dashboard(example: Callable[[str], Any]) -> None:
    """The mounted dashboard shows what the application's own page counted."""
    pytest.importorskip("starlette")
    pytest.importorskip("httpx2")
    from starlette.testclient import TestClient

    module = example("dashboard_app")
    with TestClient(module.app, base_url="http://localhost", client=("127.0.0.1", 1)) as client:
        assert client.get("/prices/7").status_code == 200
        assert "shop.price" in client.get("/cache/functions").text


def test_token_stream(example: Callable[[str], Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Three readers have the whole answer, and the model was asked once."""
    module = example("token_stream")
    asyncio.run(module.main())
    shown = capsys.readouterr().out
    for reader in ("first", "second", "later"):
        assert f"{reader}: You asked: why cache? \n" in shown
    assert "asked 1 time" in shown


def test_flask(example: Callable[[str], Any]) -> None:
    """A read is served from the cache, a write is seen by the next read, and an error is not remembered."""
    pytest.importorskip("flask")
    module = example("flask_app")
    client = module.app.test_client()
    with assert_computed(module.article, 1), assert_hits(module.article, 1):
        assert client.get("/articles/hello").text == client.get("/articles/hello").text == "Hello, world"
    assert client.put("/articles/hello", data="Bye").status_code == 204
    assert client.get("/articles/hello").text == "Bye"
    assert client.get("/articles/none").status_code == 404
    assert client.put("/articles/none", data="there now").status_code == 204
    assert client.get("/articles/none").text == "there now"


def test_django() -> None:
    """A view reads through the cache, `post_save` invalidates, and so does the command; in a process of its own, since
    Django's settings are for good.
    """
    pytest.importorskip("django")
    program = """
import django_app as app
from django.core.management import call_command
from django.test import Client
from memocache.testing import assert_computed

app.make_tables()
row = app.Price.objects.get(item=7)
get = lambda: Client().get("/prices/7").json()["cents"]
with assert_computed(app.cents_of, 1):
    assert get() == get() == 119
row.cents = 99
row.save()
assert get() == 99
assert Client().post("/prices/7?cents=98").json()["cents"] == 98 == get()
row.save()
assert get() == 99
app.Price.objects.filter(item=7).update(cents=1)  # no signal: this is what the command is for
assert get() == 99
call_command(app.Command())
assert get() == 1
assert Client().get("/prices/8").status_code == 404
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=EXAMPLES, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_workers(running_server: Callable[[str], servers.Server]) -> None:
    """Eight processes share what they compute (each report once, unless the machine is too busy to ask in time)."""
    kinds = servers.available_servers()
    if not kinds:
        pytest.skip("no server on this machine")
    url = f"{running_server(kinds[0]).url}?timeout=30&connect_timeout=30"
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "workers.py"), url], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told = [
        re.fullmatch(r"report (\d): computed by (\d+) process(?:es)?, served 4 times", line)
        for line in done.stdout.splitlines()
    ]
    assert [one and one[1] for one in told] == ["1", "2", "3", "4"]
    assert sum(int(one[2]) for one in told if one) < 16


def test_workers_need_no_server() -> None:
    """Without a URL the workers share a directory, which is gone afterwards, and nothing is complained of."""
    pytest.importorskip("lmdb")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / "workers.py")], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("served 4 times") == 4


@pytest.mark.parametrize(
    ("name", "server"),
    [
        ("fastapi_app", "uvicorn.run"),
        ("dashboard_app", "uvicorn.run"),
        ("flask_app", "flask.Flask.run"),
        ("django_app", "django.core.management.execute_from_command_line"),
    ],
)
def test_run_as_a_program_it_serves(name: str, server: str) -> None:
    """``python flask_app.py`` and the like end in the framework's server, and not silently at once; in a process of
    its own, since Django's settings are for good.
    """
    pytest.importorskip(name.partition("_")[0] if name != "dashboard_app" else "starlette")
    pytest.importorskip(server.partition(".")[0])
    module, _, function = server.rpartition(".")
    program = f"""
import runpy, sys
from pkgutil import resolve_name

setattr(resolve_name({module!r}), {function!r}, lambda *args, **_: print("served by", {server!r}, args[1:] or args[0]))
sys.argv = [{name + ".py"!r}]
runpy.run_path({str(EXAMPLES / name) + ".py"!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"served by {server}")
    assert name != "django_app" or "'runserver', '--noreload'" in done.stdout
