"""Django in one file: settings, a model whose `post_save` invalidates, and a management command.

``python django_app.py`` serves one price (119 cents, in a database that ends with it): ask for it at
http://localhost:8000/prices/7, and save another with ``curl -X POST 'http://localhost:8000/prices/7?cents=99'``.
With ``MEMOCACHE_URL=redis://…`` for both, ``python django_app.py forget_prices`` is the command.

In a project of yours the parts live in ``settings.py``, ``apps.py`` (``ready``), ``signals.py`` and
``management/commands/forget_prices.py``.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import django
from django.conf import settings

from memocache import cached, configure, default_cache

if not settings.configured:
    settings.configure(
        DEBUG=True,
        SECRET_KEY="only for this example",
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["testserver", "localhost"],
        INSTALLED_APPS=[],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:shop?mode=memory&cache=shared"}},
        USE_TZ=True,
        MEMOCACHE_URL=os.environ.get("MEMOCACHE_URL", "memory://"),
    )
    django.setup()
configure(settings.MEMOCACHE_URL)  # in AppConfig.ready()

from django.core.management.base import BaseCommand  # noqa: E402  # Django's own modules need its settings first
from django.db import connection, models  # noqa: E402
from django.db.models.signals import post_save  # noqa: E402
from django.http import Http404, HttpRequest, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402


class Price(models.Model):
    """A row that many requests read and few write."""

    item = models.IntegerField(unique=True)
    cents = models.IntegerField()

    class Meta:
        app_label = "shop"


@cached(ttl="10m", name="shop.cents_of")
def cents_of(item: int) -> int:
    """The query. What is remembered is a number, not a model instance: instances belong to their request."""
    return Price.objects.get(item=item).cents


def forget_price(sender: type[Price], instance: Price, **_: Any) -> None:
    """After each save: no request that begins from now on sees the old price."""
    cents_of.invalidate(instance.item)


post_save.connect(forget_price, sender=Price)


class Command(BaseCommand):
    """``manage.py forget_prices``: by name, so that it need not import what it forgets."""

    help = "Forget every cached price."

    def handle(self, *args: Any, **options: Any) -> None:
        default_cache().invalidate("shop.cents_of")
        self.stdout.write("forgotten")


def price(request: HttpRequest, item: int) -> JsonResponse:
    """Read through the cache; a POST saves another price, and what it saves is what the next read finds."""
    try:
        if request.method == "POST":
            row = Price.objects.get(item=item)
            row.cents = int(request.GET["cents"])
            row.save()
        return JsonResponse({"item": item, "cents": cents_of(item)})
    except Price.DoesNotExist:
        raise Http404 from None


urlpatterns = [path("prices/<int:item>", price)]


def make_tables() -> None:
    """What ``migrate`` does in a project, and a row to look at."""
    with connection.schema_editor() as editor:
        editor.create_model(Price)
    Price.objects.create(item=7, cents=119)


if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    if sys.argv[1:2] == ["forget_prices"]:
        Command().run_from_argv(sys.argv)
    else:
        make_tables()
        # not reloading: the second process would find no database
        execute_from_command_line(sys.argv if sys.argv[1:] else [*sys.argv, "runserver", "--noreload"])
