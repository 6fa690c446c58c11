"""Flask: a view over cached data, and a view that writes and invalidates.

``python flask_app.py`` serves http://localhost:5000/articles/hello; write another text with
``curl -X PUT -d 'Bye' http://localhost:5000/articles/hello``. ``MEMOCACHE_URL=redis://…`` shares the cache between the
workers of a server such as gunicorn.
"""

from __future__ import annotations

from flask import Flask, abort, request

from memocache import cached

app = Flask(__name__)
ARTICLES = {"hello": "Hello, world"}  # stands for a database


@cached(ttl="10m")
def article(slug: str) -> str:
    """The slow query; a KeyError is not remembered."""
    return ARTICLES[slug]


@app.get("/articles/<slug>")
def show(slug: str) -> str:
    """Read through the cache."""
    try:
        return article(slug)
    except KeyError:
        abort(404)


@app.put("/articles/<slug>")
def save(slug: str) -> tuple[str, int]:
    """Write, then invalidate."""
    ARTICLES[slug] = request.get_data(as_text=True)
    article.invalidate(slug)
    return "", 204


if __name__ == "__main__":
    app.run()
