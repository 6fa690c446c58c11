"""``nox``: the tests on every supported Python at hand; ``nox -s docs``: the site, with warnings as errors."""

import nox

nox.options.sessions = ["tests"]


@nox.session(python=["3.11", "3.12", "3.13", "3.14", "3.15"])
def tests(session: nox.Session) -> None:
    """Run the suite, or what is named after ``--``."""
    session.install("-e", ".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into site/."""
    session.install("-e", ".[docs,prometheus,opentelemetry]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "site")
