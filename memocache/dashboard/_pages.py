"""The pages and where they are. Every page is complete without JavaScript; the script only asks for it again."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from math import isinf
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from memocache._cache.cache import Cache
from memocache._cache.doctor import examine
from memocache._runtime.drivers import arun
from memocache.dashboard import _template_filters as _show
from memocache.dashboard._actions import KINDS, Actions, matching, named
from memocache.dashboard._history import RANGES
from memocache.dashboard._poller import HotKey, Poller
from memocache.dashboard._rendering import Answers
from memocache.dashboard._requests import address, asked, base, every, form, integer
from memocache.dashboard._sessions import HELD_SECONDS, MOST_HELD, Session, Sessions, Throttle, same
from memocache.exceptions import ConfigurationError, MemocacheError
from memocache.typing import MISSING

COOKIE = "memocache_session"
ROWS = 100
KEYS = 100
MAX_SHOWN = 4096
SORTS: dict[str, Callable[[Any], Any]] = {
    "name": lambda one: one.name,
    "calls": lambda one: one.hits + one.misses,
    "rate": lambda one: one.hits / (one.hits + one.misses) if one.hits + one.misses else -1.0,
    "misses": lambda one: one.misses,
    "computing": lambda one: one.compute_seconds,
    "saved": lambda one: one.saved_seconds,
    "faults": lambda one: one.faults,
}
Page = Callable[[Request], Awaitable[Response]]
Siblings = Sequence[tuple[str, str]]
"""Where the pages of several caches are, and what each is called."""


class LogIns(NamedTuple):
    """Who has come in, and who tried to."""

    sessions: Sessions
    throttle: Throttle


class Pages:
    """What each address answers."""

    def __init__(
        self,
        cache: Cache,
        token: str | None,
        read_only: bool,
        show_values: bool,
        title: str,
        poller: Poller,
        log_ins: LogIns | None = None,
        siblings: Siblings = (),
    ) -> None:
        """Several caches share `log_ins`; `siblings` are where the pages of each are, of this one too."""
        self.cache = cache
        self.poller = poller
        self._token = token
        self._show_values = show_values
        self._log_ins = log_ins or LogIns(Sessions(), Throttle())
        self._own = next((f"/{slug}" for slug, name in siblings if name == title), "")
        self._actions = Actions(cache)
        self._read_only = read_only
        answers = Answers(
            poller,
            read_only=read_only,
            show_values=show_values,
            title=title,
            has_token=token is not None,
            siblings=siblings,
            own=self._own,
        )
        self._page, self._message = answers.page, answers.message

    def routes(self) -> list[Route | Mount]:
        """All addresses."""
        page = functools.partial(Route, methods=["GET"])
        return [
            page("/", self._known(self.overview)),
            page("/data", self._known(self.data)),
            page("/functions", self._known(self.functions)),
            page("/function", self._known(self.function)),
            page("/processes", self._known(self.processes)),
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
            session = self._log_ins.sessions.find(request.cookies.get(COOKIE, ""), now)
            fresh = session is None
            if session is None:
                if self._token is not None:
                    if request.url.path.endswith("/data"):
                        return JSONResponse({"error": "log in"}, 401)
                    return RedirectResponse(base(request) + "/login", 303)
                session = self._log_ins.sessions.begin(now)
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
        request.state.form = await form(request)
        if request.state.form is None:
            return self._message(request, 413, "Too much", "The form is larger than any of ours.")
        if not same(request.state.form.get("csrf", ""), session.csrf):
            return self._message(request, 403, "Refused", "The form was not made in this session. Load its page again.")
        return None

    def _root(self, request: Request) -> str:
        """The path under which all pages are, those of other caches too: a session is for all."""
        return base(request).removesuffix(self._own)

    def _give(self, request: Request, response: Response, session: Session) -> None:
        response.set_cookie(
            COOKIE,
            session.id,
            path=self._root(request) + "/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )

    async def login_page(self, request: Request) -> Response:
        """The form for the token."""
        if self._token is None:
            return RedirectResponse(base(request) + "/", 303)
        return self._page(request, "login.html", problem="")

    async def login(self, request: Request) -> Response:
        """A session for who knows the token. After five wrong tries a minute from an address, its next ones are
        answered late.
        """
        now, who, throttle = time.monotonic(), address(request), self._log_ins.throttle
        given = await form(request)
        if self._token is None or given is None or not same(given.get("token", ""), self._token):
            wait = throttle.wait(who, now)
            throttle.failed(who, now)
            if wait <= 0:
                return self._page(request, "login.html", 401, problem="That is not the token.")
            if throttle.waiting < MOST_HELD:
                throttle.waiting += 1
                try:
                    await asyncio.sleep(HELD_SECONDS)
                finally:
                    throttle.waiting -= 1
            answer = self._page(request, "login.html", 429, problem="That is not the token, and there were many tries.")
            answer.headers["Retry-After"] = str(int(wait) + 1)
            return answer
        response = RedirectResponse(base(request) + "/", 303)
        self._give(request, response, self._log_ins.sessions.begin(now))
        return response

    async def logout(self, request: Request) -> Response:
        """Forget the session."""
        self._log_ins.sessions.end(request.state.session)
        response = RedirectResponse(base(request) + "/login", 303)
        response.delete_cookie(COOKIE, path=self._root(request) + "/")
        return response

    # -- pages

    async def overview(self, request: Request) -> Response:
        """The fleet at a glance."""
        await self.poller.watch()
        stats = self.poller.stats
        best = sorted(stats.functions.values(), key=SORTS["saved"], reverse=True)[:8] if stats else []
        span = RANGES.get(asked(request).get("range", ""), RANGES["1h"])
        points = self.poller.history.since(0, time.time(), span.name)
        looks = self.poller.history.looks.points
        last = looks[-1] if looks else None
        if "x-live" in request.headers:  # the script draws the plots itself, from `data`
            points = []
        breakers = [(name, state, self.cache._connections()[name]) for name, state in self.cache.breaker().items()]
        shown: dict[str, Any] = {"points": points, "last": last, "span": span, "ranges": RANGES}
        return self._page(request, "overview.html", **shown, best=best, breakers=breakers)

    async def data(self, request: Request) -> Response:
        """The points of the plots, as columns, after the one of number `since`; 0: all of them."""
        await self.poller.watch()
        query = asked(request)
        span = RANGES.get(query.get("range", ""), RANGES["1h"])
        points = self.poller.history.since(integer(query.get("since", "")), time.time(), span.name)
        columns = {name: [getattr(one, name) for one in points] for name in _show.COLUMNS}
        return JSONResponse({"points": columns, "trouble": self.poller.trouble is not None})

    async def functions(self, request: Request) -> Response:
        """The table of functions, sorted, searched and paged by the server."""
        await self.poller.watch()
        query = asked(request).get("q", "")
        sort = asked(request).get("sort", "calls")
        sort = sort if sort in SORTS else "calls"
        up = asked(request).get("up", "1" if sort == "name" else "") == "1"
        every = self.poller.stats.functions.values() if self.poller.stats else ()
        found = [one for one in every if query.casefold() in one.name.casefold()]
        found.sort(key=SORTS[sort], reverse=not up)
        last = max(0, (len(found) - 1) // ROWS)
        number = min(last, max(0, integer(asked(request).get("page", ""))))
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
        """One function: its figures, what they are made of, and its keys by pages."""
        await self.poller.watch()
        name = asked(request).get("name", "")
        one = self.poller.stats.functions.get(name) if self.poller.stats else None
        if one is None:
            return self._message(request, 404, "No such function", "No process of the fleet has counted calls of it.")
        details, page, trouble = None, None, ""
        hot: list[HotKey] = []
        try:
            details, hot = await self.poller.details(name)
            if asked(request).get("keys") == "1":
                page = await self.cache.aio.keys_page(name, asked(request).get("cursor"), KEYS)
        except ConfigurationError:
            trouble = "The list has moved on meanwhile: look for keys again"
        except MemocacheError as error:
            trouble = f"The backend does not answer: {error}"
        spark = self.poller.history.spark(name)
        shown: dict[str, Any] = {"one": one, "details": details, "hot": hot, "page": page, "spark": spark}
        return self._page(request, "function.html", **shown, problem=trouble)

    async def processes(self, request: Request) -> Response:
        """Who calls: a row for each process."""
        await self.poller.watch()
        try:
            rows, problem = await self.poller.processes(), ""
        except (MemocacheError, OSError) as error:
            rows, problem = [], str(error)
        now = time.time()
        return self._page(
            request, "processes.html", rows=rows[:ROWS], more=max(0, len(rows) - ROWS), problem=problem, now=now
        )

    async def key(self, request: Request) -> Response:
        """All that is known of one entry."""
        key = asked(request).get("key", "")
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
                held = await arun(self.cache._operations.inspector.value(key))
                value = "a remembered error, or nothing" if held is MISSING else repr(held)
            except Exception as error:  # whatever a stored class does in repr, or what cannot be decoded here
                value = f"cannot be shown: {type(error).__name__}"
            if len(value) > MAX_SHOWN:
                value = f"{value[:MAX_SHOWN]}… ({len(value):,} characters)"
        left = None if isinf(info.expires_at) else info.expires_at - time.time()
        return self._page(request, "key.html", key=key, info=info, left=left, value=value)

    async def health(self, request: Request) -> Response:
        """What `doctor` finds, and what was asked of the backend."""
        await self.poller.watch()
        try:
            findings, problem = await run_in_threadpool(examine, self.cache), ""
        except (MemocacheError, OSError) as error:
            findings, problem = [], str(error)
        operations = list(self.poller.stats.operations.items()) if self.poller.stats else []
        status = 503 if problem else 200
        return self._page(request, "health.html", status, findings=findings, problem=problem, operations=operations)

    async def audit(self, request: Request) -> Response:
        """What was done from here."""
        await self.poller.watch()
        last = integer(asked(request).get("done", ""))
        first = integer(asked(request).get("from", "")) or last
        fresh = [one for one in self._actions.done if first <= one.number <= last]
        return self._page(request, "audit.html", done=list(self._actions.done), fresh=fresh)

    # -- actions

    async def ask(self, request: Request) -> Response:
        """What an invalidation would affect, and the button that does it."""
        await self.poller.watch()
        kind, target = asked(request).get("kind", ""), asked(request).get("target", "")
        if kind == "functions":
            target = " ".join(every(request, "target")[:ROWS])
        if kind not in KINDS or not target:
            return self._page(request, "find.html")
        names = self.poller.stats.functions if self.poller.stats else {}
        reached = named(target) if kind == "functions" else matching(target, names)
        return self._page(request, "ask.html", kind=kind, target=target, reached=reached)

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
        each = [("function", name) for name in named(target)[:ROWS]] if kind == "functions" else [(kind, target)]
        done = [await self._actions.invalidate(one, what, address(request), names) for one, what in each]
        return RedirectResponse(f"{base(request)}/audit?from={done[0].number}&done={done[-1].number}", 303)
