"""The pages and where they are. Every page is complete without JavaScript; the script only asks for it again."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from math import isinf
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from memocache._cache import Cache
from memocache._examination import examine
from memocache._runtime import arun
from memocache.dashboard import _show
from memocache.dashboard._actions import KINDS, Actions, matching
from memocache.dashboard._poller import IDLE, WATCHED, Poller
from memocache.dashboard._security import Gate
from memocache.dashboard._sessions import Session, Sessions, Throttle, same
from memocache.exceptions import MemocacheError
from memocache.typing import MISSING

COOKIE = "memocache_session"
ROWS = 100
KEYS = 100
KEYS_SECONDS = 1.0
MAX_FORM = 64 * 1024
MAX_SHOWN = 4096
SORTS: dict[str, Callable[[Any], Any]] = {
    "name": lambda one: one.name,
    "calls": lambda one: one.hits + one.misses,
    "rate": lambda one: one.hits / (one.hits + one.misses) if one.hits + one.misses else -1.0,
    "misses": lambda one: one.misses,
    "computing": lambda one: one.compute_seconds,
    "saved": lambda one: one.saved_seconds,
    "faults": lambda one: one.rejected + one.backend_errors + one.decode_errors,
}
Page = Callable[[Request], Awaitable[Response]]


def dashboard(
    cache: Cache,
    *,
    token: str | None = None,
    read_only: bool = False,
    show_values: bool = False,
    hosts: Iterable[str] = (),
    title: str = "",
    watched: float = WATCHED,
    idle: float = IDLE,
) -> Starlette:
    """An ASGI application that shows `cache` and its fleet; serve it alone or mount it under any path.

    Args:
        token: what must be given to log in; None: only this machine is answered, unless `hosts` names others.
        read_only: refuse every action, on the server.
        show_values: show values of single keys (as ``repr``, at most 4,096 characters).
        hosts: the names by which it may be reached (the ``Host`` header); left out, this machine's own without a
            token, any with one. Give them without a token only where your application asks who it is before us.
        title: what is shown beside the name, such as where the backend is. Never give it a URL with a password.
        watched: seconds between looks at the backend while somebody watches.
        idle: the same while nobody does.

    Raises `ValueError` for an empty token.
    """
    if token is not None and not token.strip():
        raise ValueError("token= takes a text that is not empty")
    pages = Pages(cache, token, read_only, show_values, title, Poller(cache, watched=watched, idle=idle))

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        yield
        await pages.poller.stop()

    app = Starlette(routes=pages.routes(), lifespan=life)
    app.add_middleware(Gate, token=token is not None, hosts=tuple(hosts))
    return app


class Pages:
    """What each address answers."""

    def __init__(
        self, cache: Cache, token: str | None, read_only: bool, show_values: bool, title: str, poller: Poller
    ) -> None:
        self.cache = cache
        self.poller = poller
        self._token = token
        self._show_values = show_values
        self._sessions = Sessions()
        self._throttle = Throttle()
        self._actions = Actions(cache)
        self._templates = Environment(
            loader=PackageLoader("memocache.dashboard"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._templates.filters.update(_show.FILTERS)
        self._templates.globals.update(
            read_only=read_only,
            show_values=show_values,
            title=title,
            has_token=token is not None,
            urlencode=_query,
            quote=_quote,
        )
        self._read_only = read_only

    def routes(self) -> list[Route | Mount]:
        """All addresses."""
        page = functools.partial(Route, methods=["GET"])
        return [
            page("/", self._known(self.overview)),
            page("/data", self._known(self.data)),
            page("/functions", self._known(self.functions)),
            page("/function", self._known(self.function)),
            page("/key", self._known(self.key)),
            page("/health", self._known(self.health)),
            page("/audit", self._known(self.audit)),
            page("/invalidate", self._known(self.ask)),
            Route("/invalidate", self._known(self.invalidate), methods=["POST"]),
            page("/login", self.login_page),
            Route("/login", self.login, methods=["POST"]),
            Route("/logout", self._known(self.logout), methods=["POST"]),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ]

    # -- who asks

    def _known(self, page: Page) -> Page:
        """The page, for who has a session; without a token everybody that the gate lets in gets one."""

        @functools.wraps(page)
        async def answer(request: Request) -> Response:
            now = time.monotonic()
            session = self._sessions.find(request.cookies.get(COOKIE, ""), now)
            fresh = session is None
            if session is None:
                if self._token is not None:
                    if request.url.path.endswith("/data"):
                        return JSONResponse({"error": "log in"}, 401)
                    return RedirectResponse(self._base(request) + "/login", 303)
                session = self._sessions.begin(now)
            request.state.session = session
            if request.method == "POST":
                refused = await self._unfit(request, session)
                if refused is not None:
                    return refused
            response = await page(request)
            if fresh:
                self._give(request, response, session)
            return response

        return answer

    async def _unfit(self, request: Request, session: Session) -> Response | None:
        """Why a form is not obeyed, or None."""
        request.state.form = await _form(request)
        if request.state.form is None:
            return self._message(request, 413, "Too much", "The form is larger than any of ours.")
        if not same(request.state.form.get("csrf", ""), session.csrf):
            return self._message(request, 403, "Refused", "The form was not made in this session. Load its page again.")
        return None

    def _give(self, request: Request, response: Response, session: Session) -> None:
        response.set_cookie(
            COOKIE,
            session.id,
            path=(self._base(request) or "") + "/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )

    async def login_page(self, request: Request) -> Response:
        """The form for the token."""
        if self._token is None:
            return RedirectResponse(self._base(request) + "/", 303)
        return self._page(request, "login.html", problem="")

    async def login(self, request: Request) -> Response:
        """A session for who knows the token; five tries a minute for each address."""
        now, who = time.monotonic(), _address(request)
        wait = self._throttle.wait(who, now)
        if wait > 0:
            answer = self._page(request, "login.html", 429, problem=f"Too many tries. Wait {wait:.0f} s.")
            answer.headers["Retry-After"] = str(int(wait) + 1)
            return answer
        form = await _form(request)
        if self._token is None or form is None or not same(form.get("token", ""), self._token):
            self._throttle.failed(who, now)
            return self._page(request, "login.html", 401, problem="That is not the token.")
        response = RedirectResponse(self._base(request) + "/", 303)
        self._give(request, response, self._sessions.begin(now))
        return response

    async def logout(self, request: Request) -> Response:
        """Forget the session."""
        self._sessions.end(request.state.session)
        response = RedirectResponse(self._base(request) + "/login", 303)
        response.delete_cookie(COOKIE, path=self._base(request) + "/")
        return response

    # -- pages

    async def overview(self, request: Request) -> Response:
        """The fleet at a glance."""
        await self.poller.watch()
        stats = self.poller.stats
        best = sorted(stats.functions.values(), key=SORTS["saved"], reverse=True)[:8] if stats else []
        points = self.poller.history.since(0, time.time())
        return self._page(request, "overview.html", points=points, last=points[-1] if points else None, best=best)

    async def data(self, request: Request) -> Response:
        """The points of the plots, as columns, after the one of number `since`."""
        await self.poller.watch()
        try:
            since = int(_asked(request).get("since", "0"))
        except ValueError:
            since = 0
        points = self.poller.history.since(since, time.time())
        columns = {name: [getattr(one, name) for one in points] for name in _show.COLUMNS}
        return JSONResponse({"points": columns, "trouble": self.poller.trouble is not None})

    async def functions(self, request: Request) -> Response:
        """The table of functions, sorted, searched and paged by the server."""
        await self.poller.watch()
        query = _asked(request).get("q", "")
        sort = _asked(request).get("sort", "calls")
        sort = sort if sort in SORTS else "calls"
        up = _asked(request).get("up", "1" if sort == "name" else "") == "1"
        every = self.poller.stats.functions.values() if self.poller.stats else ()
        found = [one for one in every if query.casefold() in one.name.casefold()]
        found.sort(key=SORTS[sort], reverse=not up)
        last = max(0, (len(found) - 1) // ROWS)
        number = min(last, max(0, _integer(_asked(request).get("page", ""))))
        return self._page(
            request,
            "functions.html",
            rows=found[number * ROWS : (number + 1) * ROWS],
            sparks=self.poller.history.spark,
            found=len(found),
            query=query,
            sort=sort,
            up=up,
            number=number,
            last=last,
        )

    async def function(self, request: Request) -> Response:
        """One function: its figures, and the first of its keys."""
        await self.poller.watch()
        name = _asked(request).get("name", "")
        one = self.poller.stats.functions.get(name) if self.poller.stats else None
        if one is None:
            return self._message(request, 404, "No such function", "No process of the fleet has counted calls of it.")
        keys: list[str] = []
        whole, trouble = True, None
        if _asked(request).get("keys") == "1":
            try:
                async with asyncio.timeout(KEYS_SECONDS):
                    async for key in self.cache.aio.keys(name):
                        if len(keys) == KEYS:
                            whole = False
                            break
                        keys.append(key)
            except TimeoutError:
                whole = False
            except MemocacheError as error:
                trouble = str(error)
        asked = _asked(request).get("keys") == "1"
        return self._page(
            request,
            "function.html",
            one=one,
            asked=asked,
            keys=keys,
            whole=whole,
            keys_trouble=trouble,
            spark=self.poller.history.spark(name),
        )

    async def key(self, request: Request) -> Response:
        """All that is known of one entry."""
        key = _asked(request).get("key", "")
        if not key:
            return self._page(request, "find.html")
        try:
            info = await self.cache.aio.inspect(key)
        except MemocacheError as error:
            return self._message(request, 503, "The backend does not answer", str(error))
        if info is None:
            return self._message(request, 404, "No such entry", "It expired, was forgotten, or never was.")
        value = None
        if self._show_values:
            try:
                held = await arun(self.cache._operations.glimpse(key))
                value = "a remembered error, or nothing" if held is MISSING else repr(held)
            except Exception as error:  # whatever a stored class does in repr, or what cannot be decoded here
                value = f"cannot be shown: {type(error).__name__}"
            if len(value) > MAX_SHOWN:
                value = f"{value[:MAX_SHOWN]}… ({len(value):,} characters)"
        left = None if isinf(info.expires_at) else info.expires_at - time.time()
        return self._page(request, "key.html", key=key, info=info, left=left, value=value)

    async def health(self, request: Request) -> Response:
        """What `doctor` finds."""
        await self.poller.watch()
        try:
            findings, problem = await run_in_threadpool(examine, self.cache), ""
        except (MemocacheError, OSError) as error:
            findings, problem = [], str(error)
        return self._page(request, "health.html", 503 if problem else 200, findings=findings, problem=problem)

    async def audit(self, request: Request) -> Response:
        """What was done from here."""
        await self.poller.watch()
        number = _integer(_asked(request).get("done", ""))
        return self._page(request, "audit.html", done=list(self._actions.done), number=number)

    # -- actions

    async def ask(self, request: Request) -> Response:
        """What an invalidation would affect, and the button that does it."""
        await self.poller.watch()
        kind, target = _asked(request).get("kind", ""), _asked(request).get("target", "")
        if kind not in KINDS or not target:
            return self._page(request, "find.html")
        names = self.poller.stats.functions if self.poller.stats else {}
        return self._page(request, "ask.html", kind=kind, target=target, reached=matching(target, names))

    async def invalidate(self, request: Request) -> Response:
        """Do it, and show what came of it."""
        if self._read_only:
            return self._message(request, 403, "Read only", "This dashboard was started with --read-only.")
        kind = request.state.form.get("kind", "")
        # quoted once more: a browser would change line ends and NUL, and another thing would be forgotten
        target = unquote(request.state.form.get("target", ""), errors="surrogatepass")
        if kind not in KINDS or not target:
            return self._message(request, 400, "Nothing to do", "Say what is to be forgotten.")
        names = self.poller.stats.functions if self.poller.stats else {}
        action = await self._actions.invalidate(kind, target, _address(request), names)
        return RedirectResponse(f"{self._base(request)}/audit?done={action.number}", 303)

    # -- answers

    @staticmethod
    def _base(request: Request) -> str:
        return str(request.scope.get("root_path", "")).rstrip("/")

    def _page(self, request: Request, template: str, status: int = 200, **shown: Any) -> Response:
        session = getattr(request.state, "session", None)
        text = self._templates.get_template(template).render(
            base=self._base(request),
            here=request.url.path.removeprefix(self._base(request)),
            csrf=session.csrf if session else "",
            logged_in=session is not None,
            stats=self.poller.stats,
            trouble=self.poller.trouble,
            looked_at=self.poller.looked_at,
            **shown,
        )
        return HTMLResponse(text.encode("utf-8", "replace"), status)

    def _message(self, request: Request, status: int, heading: str, text: str) -> Response:
        return self._page(request, "message.html", status, heading=heading, text=text)


async def _form(request: Request) -> dict[str, str] | None:
    """The fields of an urlencoded form; None for one that is too large."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM:
            return None
    return _fields(body.decode("utf-8", "replace"))


def _asked(request: Request) -> dict[str, str]:
    """The query parameters."""
    return _fields(request.scope["query_string"].decode("latin-1"))


def _fields(text: str) -> dict[str, str]:
    """What is urlencoded in `text`, lone surrogates too; nothing where it is nonsense."""
    try:
        fields = parse_qs(text, keep_blank_values=True, max_num_fields=20, errors="surrogatepass")
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


def _query(fields: dict[str, object]) -> str:
    return urlencode(fields, errors="surrogatepass")


def _quote(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _integer(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
