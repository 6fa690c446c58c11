"""Django's own cache tests, run against `memocache.django.MemocacheCache`: ``python -m tests.django_suite``.

The tests come from the source distribution of the Django that is installed, which is downloaded to a temporary folder
(or to `--keep`); nothing of it is in this repository. Each place is one run: the process, a disk, a server. A case of
`DIFFERENT` must fail, any other must pass. The status is the number of places where that was not so.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
import unittest
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.test.runner import DiscoverRunner
from django.test.utils import override_settings, setup_test_environment

from memocache.testing import servers

BACKEND = "memocache.django.MemocacheCache"
_CODEC = "values go through a codec that executes nothing, and not through pickle: "
DIFFERENT = {
    "test_data_types": _CODEC + "functions and classes are refused (the other types of the case are stored)",
    "test_add_fail_on_pickleerror": _CODEC + "`EncodeError` is raised where pickle's own error is expected",
    "test_set_fail_on_pickleerror": _CODEC + "`EncodeError` is raised where pickle's own error is expected",
    "test_cache_read_for_model_instance": _CODEC + "a model instance is refused; store its values()",
    "test_cache_read_for_model_instance_with_deferred": _CODEC + "a QuerySet is refused; store list(queryset.values())",
    "test_cache_write_for_model_instance_with_deferred": _CODEC + "a QuerySet is refused; store its values()",
}
"""Cases of Django's that fail here, and why they are to."""
WITHOUT = ("cull", "zero_cull")
"""Aliases of Django's tests for backends that count their entries: tests of its Redis backend leave them out too."""


def main() -> int:
    """Run the places that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.django_suite", description=__doc__)
    parser.add_argument("places", nargs="*", help="memory, disk, or a kind of server (default: all)")
    parser.add_argument("--keep", type=Path, help="a folder that stays, for the download")
    parser.add_argument("--run", nargs=2, metavar=("FOLDER", "URL"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        return run(Path(given.run[0]), given.run[1])
    wrong = 0
    with ExitStack() as stack:
        folder = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="memocache-django-")))
        tests = download(folder)
        for place in given.places or ["memory", "disk", *servers.available_servers()]:
            url = {"memory": "memory://", "disk": f"disk://{folder / 'store'}"}.get(place)
            if url is None:
                url = stack.enter_context(servers.start(place)).url
            print(f"== Django {django.__version__} on {place}", flush=True)
            words = [sys.executable, "-m", "tests.django_suite", "--run", str(tests), url]
            wrong += subprocess.run(words, cwd=Path(__file__).parents[1], check=False).returncode != 0
    return wrong


def download(folder: Path) -> Path:
    """The folder of the tests of the Django that is installed."""
    wanted = f"django=={django.__version__}"
    if not list(folder.glob("django-*.tar.gz")):
        words = ["download", "--no-deps", "--no-build-isolation", "--no-binary", ":all:", "-d", str(folder), wanted]
        subprocess.run([sys.executable, "-m", "pip", "-q", *words], check=True, timeout=600)
    (archive,) = folder.glob("django-*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    (unpacked,) = (found for found in folder.glob("django-*") if found.is_dir())
    return unpacked / "tests"


def run(folder: Path, url: str) -> int:
    """Run the cases on the backend of a URL; whether one did what it was not to."""
    sys.path.insert(0, str(folder))
    settings.configure(
        SECRET_KEY="of the tests",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sites", "cache"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        MIGRATION_MODULES={"auth": None, "contenttypes": None, "sites": None},
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        ROOT_URLCONF="urls",
        LANGUAGE_CODE="en",
        SITE_ID=1,
        USE_TZ=False,
        CACHES={"default": {"BACKEND": BACKEND, "LOCATION": url}},
    )
    django.setup()
    setup_test_environment()
    runner = DiscoverRunner(verbosity=0, interactive=False)
    databases = runner.setup_databases()
    suite = unittest.TestSuite()
    for case in cases(url):
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    result = unittest.TextTestRunner(verbosity=0, stream=io.StringIO()).run(suite)
    runner.teardown_databases(databases)
    traces = {_name(test): trace for test, trace in (*result.failures, *result.errors)}
    failed = traces.keys()
    for name in sorted(failed & DIFFERENT.keys()):
        print(f"as the table says: {name}: {DIFFERENT[name]}")
    for name in sorted(failed - DIFFERENT.keys()):
        print(f"FAILED: {name}\n{traces[name]}")
    for name in sorted(DIFFERENT.keys() - failed):
        print(f"PASSED, so the table is to leave it out: {name}")
    print(f"{result.testsRun} run, {len(failed)} differ, {len(result.skipped)} skipped: {_reasons(result)}", flush=True)
    return int(failed != DIFFERENT.keys())


def cases(url: str) -> list[type[unittest.TestCase]]:
    """Django's cases about backends, and those of the middleware and of responses, each on this backend."""
    from cache import tests  # of the folder that was downloaded
    from django.test import TestCase

    theirs: Any = tests
    own = theirs.caches_setting_for_tests(BACKEND=BACKEND, LOCATION=url, exclude=set(WITHOUT))
    made = [override_settings(CACHES=own)(type("MemocacheTests", (theirs.BaseCacheTests, TestCase), {}))]
    for name in ("CacheHEADTest", "CacheI18nTest", "CacheMiddlewareTest", "TestWithTemplateResponse"):
        base = getattr(theirs, name)
        given = {
            alias: {**one, "BACKEND": BACKEND, "LOCATION": url, "OPTIONS": {"prefix": one.get("LOCATION", "default")}}
            for alias, one in base._overridden_settings["CACHES"].items()
        }
        made.append(override_settings(CACHES=given)(type(f"Memocache{name}", (base,), {})))
    return made


def _name(test: Any) -> str:
    return str(getattr(test, "test_case", test)._testMethodName)


def _reasons(result: unittest.TestResult) -> str:
    return "; ".join(sorted({why for _, why in result.skipped})) or "none"


if __name__ == "__main__":
    raise SystemExit(main())
