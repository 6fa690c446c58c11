"""Pages made of templates. Whatever a name or key holds, it reaches a page as text."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from memocache.dashboard import _template_filters as _show
from memocache.dashboard._poller import Poller
from memocache.dashboard._requests import base, query, quoted


class Answers:
    """Makes pages; `settings` are what every template may ask."""

    def __init__(self, poller: Poller, **settings: Any) -> None:
        self._poller = poller
        self._templates = Environment(
            loader=PackageLoader("memocache.dashboard"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._templates.filters.update(_show.FILTERS)
        self._templates.globals.update(settings, urlencode=query, quote=quoted)

    def page(self, request: Request, template: str, status: int = 200, **shown: Any) -> Response:
        """A template with what is known of the visitor and of the last look at the backend."""
        session = getattr(request.state, "session", None)
        under = base(request)
        text = self._templates.get_template(template).render(
            base=under,
            here=request.url.path.removeprefix(under),
            csrf=session.csrf if session else "",
            logged_in=session is not None,
            stats=self._poller.stats,
            trouble=self._poller.trouble,
            looked_at=self._poller.looked_at,
            **shown,
        )
        return HTMLResponse(text.encode("utf-8", "replace"), status)

    def message(self, request: Request, status: int, heading: str, text: str) -> Response:
        """A page that says one thing."""
        return self.page(request, "message.html", status, heading=heading, text=text)
