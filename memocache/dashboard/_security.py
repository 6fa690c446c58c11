"""Who may ask, and what a browser may do with the answers.

Without a token only this machine is answered (by its address and by the name it calls us, so that no site can point a
name of its own at us), unless `hosts` names others. With one, every page but the log-in wants a session.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # not `no-referrer`: under it browsers send `Origin: null` with our own forms, and we could not tell whose they are
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_loopback(address: str) -> bool:
    """Whether an address or name is this machine's own, for itself alone."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def from_ourselves(headers: Headers, hosts: frozenset[str] = frozenset()) -> bool:
    """Whether a browser says that one of our pages sent this; what is no browser says nothing, and has no cookie.

    `hosts` are names of ours besides the ``Host`` header's, which a proxy may have changed.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and urlsplit(origin).netloc != headers.get("host") and _host_of(origin) not in hosts:
        return False
    return site in (None, "same-origin", "none" if origin is None else "same-origin")


def _host_of(url: str) -> str:
    """The name in a URL, in small letters; nothing where it is nonsense."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


class Gate:
    """Refuses who is not to be answered, before anything else is done, and gives every answer its headers."""

    def __init__(self, app: ASGIApp, *, token: bool, hosts: Iterable[str]) -> None:
        self._app = app
        self._token = token
        self._hosts = frozenset(map(str.lower, hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        app: ASGIApp = self._app if refusal is None else PlainTextResponse(refusal + "\n", 403)
        await app(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = _host_of("//" + headers.get("host", ""))
        if self._hosts:
            # a proxy of this machine that does not pass Host names it by its own address; a token is asked for anyway
            known = host in self._hosts or (self._token and host in LOOPBACK)
        elif self._token:
            known = True
        else:
            client = scope.get("client")
            known = host in LOOPBACK and client is not None and is_loopback(client[0])
        if not known:
            return "Without a token the dashboard answers its own machine alone: give it token= or hosts=."
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return "There is nothing here for this method."
        if scope["method"] == "POST" and not from_ourselves(headers, self._hosts):
            return "This form was sent from another site."
        return None
