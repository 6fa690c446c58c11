"""Responses in Django's cache: the middleware and `cache_page` work, on what is sent of a response."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from memocache import EncodeError
from tests.django_backend.conftest import BACKEND, Place


def sent(response: Any) -> tuple[Any, ...]:
    """What a client is sent."""
    headers = sorted(item for item in response.headers.items() if item[0] != "Age")  # which the middleware adds
    return response.status_code, response.reason_phrase, headers, response.cookies, response.content


def test_a_page_is_cached(place: Place) -> None:
    """`cache_page` runs its view once; what a hit sends is what was sent first, cookies and reason included."""
    from django.core.cache import caches
    from django.http import HttpResponse
    from django.test import RequestFactory, override_settings
    from django.views.decorators.cache import cache_page

    calls: list[int] = []

    @cache_page(60)
    def view(request: Any) -> Any:
        calls.append(1)
        made = HttpResponse(f"<b>é {len(calls)}</b>", reason="As told", headers={"X-One": "1"})
        made.set_cookie("lang", "de fr", max_age=60, secure=True, samesite="Lax")
        return made

    ours = {"BACKEND": BACKEND, "LOCATION": place.location, "OPTIONS": {"prefix": place.prefix}}
    with override_settings(CACHES={"default": ours}, ALLOWED_HOSTS=["testserver"]):
        first, second = (view(RequestFactory().get("/page?x=1")) for _ in range(2))
        third = view(RequestFactory().get("/page?x=2"))
        assert caches["default"].memocache.stats().hits >= 1
    assert sent(second) == sent(first)
    assert type(second) is HttpResponse
    assert second.charset == first.charset
    assert second is not first
    assert calls == [1, 1]
    assert third.content != second.content
    second.write("more")  # as any response
    assert second.content.endswith(b"more")
    second.close()


def test_responses_of_djangos_classes_come_back_as_they_are(place: Place) -> None:
    """Redirects, JSON, errors, and templates once they are rendered."""
    from django import http
    from django.template.response import SimpleTemplateResponse, TemplateResponse

    text = SimpleNamespace(render=lambda *_: "rendered")
    cache = place.new()
    for made in (
        http.HttpResponse(b"\xff\x00", content_type="image/png"),
        http.HttpResponse("é", charset="latin-1"),
        http.HttpResponseRedirect("/there"),
        http.HttpResponsePermanentRedirect("/there"),
        http.HttpResponseNotModified(),
        http.HttpResponseNotAllowed(["GET"]),
        http.JsonResponse({"a": [1, None]}),
        SimpleTemplateResponse(text).render(),
        TemplateResponse(None, text).render(),
    ):
        place.ask(cache, "set", "k", made)
        again = place.ask(cache, "get", "k")
        assert type(again) is type(made)
        assert sent(again) == sent(made)
        assert getattr(again, "url", None) == getattr(made, "url", None)
        assert again is not made
    assert again.render() is again  # no template is asked again
    assert list(again) == [b"rendered"]


def test_a_response_of_a_class_of_its_own_is_stored_as_what_is_sent(place: Place) -> None:
    """As those of REST frameworks are: a plain HttpResponse comes back, from `get_or_set` too."""
    from django.http import HttpResponse

    class Own(HttpResponse):
        """A response that remembers more than is sent."""

        def __init__(self, data: Any) -> None:
            super().__init__(str(data), status=201)
            self.data = data

    cache = place.new()
    place.ask(cache, "set_many", {"a": Own([1])})
    place.ask(cache, "add", "b", Own([1]))
    place.ask(cache, "get_or_set", "c", lambda: Own([1]))
    for key in "abc":
        found = place.ask(cache, "get", key)
        assert type(found) is HttpResponse
        assert sent(found) == sent(Own([1]))


def test_what_has_no_content_is_refused(place: Place) -> None:
    """Streams, files and templates that are not rendered: each error says what to do instead."""
    from django.http import FileResponse, StreamingHttpResponse
    from django.template.response import SimpleTemplateResponse

    cache = place.new()
    for made, way_out in (
        (StreamingHttpResponse([b"a"]), "return an HttpResponse with the whole content"),
        (FileResponse(open(__file__, "rb")), "return an HttpResponse with the whole content"),  # noqa: SIM115  # closed below
        (SimpleTemplateResponse("page.html"), r"return response.render\(\)"),
        (type("Own", (SimpleTemplateResponse,), {})("page.html"), r"return response.render\(\)"),
    ):
        with pytest.raises(EncodeError, match=way_out):
            place.ask(cache, "set", "k", made)
        made.close()
    assert place.ask(cache, "has_key", "k") is False


def test_damaged_responses_are_misses(place: Place) -> None:
    """No class but Django's own is built, and no header or cookie that Django would not send."""
    from django.http import HttpResponse

    from memocache.codecs.known.django import apart, together
    from memocache.exceptions import DecodeError

    good = apart(HttpResponse("x"))
    assert together(good).content == b"x"
    for at, bad in ((0, "StreamingHttpResponse"), (0, "os:system"), (1, 99), (1, "200"), (2, 1), (3, b""), (6, "text")):
        with pytest.raises(DecodeError):
            together([*good[:at], bad, *good[at + 1 :]])
    for at, bad in (
        (4, [["A", "b\r\nSet-Cookie: c=d"]]),
        (5, [["a b", "c", "c", {}]]),
        (5, [["a", "c", "c", {"x": 1}]]),
    ):
        with pytest.raises(Exception, match=r".*"):
            together([*good[:at], bad, *good[at + 1 :]])
