"""What a request says: its query and form, whatever bytes they are made of, and where it came from."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, urlencode

from starlette.requests import ClientDisconnect, Request

MAX_FORM = 64 * 1024
MAX_FIELDS = 120


def base(request: Request) -> str:
    """The path under which the dashboard is mounted."""
    return str(request.scope.get("root_path", "")).rstrip("/")


async def form(request: Request) -> dict[str, str] | None:
    """The fields of an urlencoded form; None for one that is too large, or that its sender gave up."""
    body = b""
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_FORM:
                return None
    except ClientDisconnect:  # nobody reads the answer
        return None
    return fields_of(body.decode("utf-8", "replace"))


def asked(request: Request) -> dict[str, str]:
    """The query parameters."""
    return fields_of(request.scope["query_string"].decode("latin-1"))


def every(request: Request, name: str) -> list[str]:
    """All query parameters of a name."""
    return _all_of(request.scope["query_string"].decode("latin-1")).get(name, [])


def fields_of(text: str) -> dict[str, str]:
    """What is urlencoded in `text`, lone surrogates too; nothing where it is nonsense."""
    return {name: values[0] for name, values in _all_of(text).items()}


def _all_of(text: str) -> dict[str, list[str]]:
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="surrogatepass")
    except ValueError:
        return {}


def query(fields: dict[str, object]) -> str:
    """Fields urlencoded, for a link."""
    return urlencode(fields, errors="surrogatepass")


def quoted(text: str) -> str:
    """Any text as plain ASCII, which a browser sends back as it was."""
    return quote(text, safe="", errors="surrogatepass")


def address(request: Request) -> str:
    """Where a request came from."""
    return request.client.host if request.client else "unknown"


def integer(text: str) -> int:
    """A number that is not negative; 0 for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
