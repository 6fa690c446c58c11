"""Responses of Django: status, reason, headers, cookies and content, which is all that is sent of one.

A response comes back as the class it was, one of Django's own, built without its constructor. A streaming one, or one
whose template is not rendered yet, has no content to store.
"""

from __future__ import annotations

from typing import Any, Final

from memocache.codecs.ext_types import Unfit, expect, expect_list
from memocache.codecs.known.known_type import KnownType, loaded
from memocache.exceptions import DecodeError

_HTTP: Final = (
    "HttpResponse", "HttpResponseRedirect", "HttpResponsePermanentRedirect", "HttpResponseNotModified",
    "HttpResponseBadRequest", "HttpResponseNotFound", "HttpResponseForbidden", "HttpResponseNotAllowed",
    "HttpResponseGone", "HttpResponseServerError", "JsonResponse",
)  # fmt: skip
_TEMPLATE: Final = ("SimpleTemplateResponse", "TemplateResponse")
_CLASSES: Final = {
    **{name: f"django.http.response:{name}" for name in _HTTP},
    **{name: f"django.template.response:{name}" for name in _TEMPLATE},
}


def apart(value: Any) -> list[Any]:
    """The parts of any response of Django's that has its content: class, status, reason, charset, headers, cookies and
    content. Raises `Unfit`.
    """
    if getattr(value, "is_rendered", True) is not True:
        raise Unfit(value, "a response whose template is not rendered cannot be stored; return response.render()")
    headers = [[str.__str__(name), str.__str__(text)] for name, text in value.headers.items()]
    cookies = [
        [one.key, one.value, one.coded_value, {name: held for name, held in one.items() if held != ""}]
        for one in value.cookies.values()
    ]
    name = type(value).__name__
    return [name, value.status_code, value._reason_phrase, value._charset, headers, cookies, bytes(value.content)]


def together(parts: Any) -> Any:
    """The response of `apart`. Raises `DecodeError`."""
    name, status, reason, charset, headers, cookies, content = expect_list(parts, 7)
    if _CLASSES.get(name) is None or not 100 <= expect(int, status) <= 599:
        raise DecodeError("payload holds a response of an unknown kind")
    if not {str, type(None)}.issuperset((type(reason), type(charset))):
        raise DecodeError("payload holds a malformed response")
    cls = loaded(_CLASSES[name])
    made = cls.__new__(cls)
    made.headers = loaded("django.http.response:ResponseHeaders")({})
    for header in expect(list, headers):
        key, text = (expect(str, part) for part in expect_list(header, 2))
        made.headers[key] = text
    made.cookies = loaded("http.cookies:SimpleCookie")()
    for cookie in expect(list, cookies):
        key, text, coded, about = expect_list(cookie, 4)
        morsel = loaded("http.cookies:Morsel")()
        morsel.set(*(expect(str, part) for part in (key, text, coded)))
        morsel.update(expect(dict, about))
        dict.__setitem__(made.cookies, key, morsel)
    made.status_code, made._reason_phrase, made._charset = status, reason, charset
    made._resource_closers, made._handler_class, made.closed = [], None, False
    made._container = [expect(bytes, content)]
    if name in _TEMPLATE:
        made._is_rendered = True
    return made


TYPES: Final = (
    KnownType(104, tuple(_CLASSES.values()), apart, together,
              note="status, reason, headers, cookies and content, of a template the rendered text; what a view set on "
                   "one besides is not kept"),
)  # fmt: skip
