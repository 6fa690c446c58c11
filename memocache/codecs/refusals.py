"""Why a value has no code, and what to do about it, said of values that people return.

A class is recognised by its name and its bases' names: nothing is imported, and nothing of the value is called.
"""

from __future__ import annotations

from typing import Final

from memocache.codecs.single_use import reason

_ANY: Final = (
    "a value of this type cannot be stored; teach the cache its class with Cache.register(type, encode, decode), or "
    "return plain data (a dict, a tuple, a dataclass)"
)
_ROW: Final = (
    "a row that is bound to its ORM's session cannot be stored; return plain data (a dict, a dataclass, a pydantic "
    "model) made of its fields"
)
_MODEL: Final = "a model cannot be stored; keep it outside of the cache, and pass key= where it is an argument"
# By module and name of the class or of one of its bases.
_KNOWN: Final[dict[str, str]] = {
    "sqlalchemy.orm.decl_api.DeclarativeBase": _ROW,
    "sqlmodel.main.SQLModel": _ROW,
    "django.db.models.base.Model": _ROW,
    "django.db.models.query.QuerySet": "a query runs when it is read; return list(queryset.values())",
    "sqlalchemy.engine.result.Result": "it can be read once; return its rows, as result.all() gives them",
    "polars.lazyframe.frame.LazyFrame": "a LazyFrame is a plan, and not data; collect() first",
    "torch.nn.modules.module.Module": _MODEL,
    "sklearn.base.BaseEstimator": _MODEL,
    "email.message.Message": "a message of parts cannot be stored; return message.as_bytes()",
    "http.cookies.BaseCookie": "cookies cannot be stored; return cookie.output(), or a dict of their values",
    "http.cookies.Morsel": "a cookie cannot be stored; return its value",
}


def refusal(value: object) -> str:
    """Why `value`, which has no code, is refused, and the way out: what follows its path in a message."""
    once = reason(value)
    if once is not None:
        return once
    if is_mapped(type(value)):
        return _ROW
    for base in type(value).__mro__:
        known = _KNOWN.get(f"{base.__module__}.{base.__qualname__}")
        if known is not None:
            return known
    return _ANY


def is_mapped(cls: type) -> bool:
    """Whether SQLAlchemy maps a class to a table: its instances belong to a session, whatever else they are."""
    return any("_sa_class_manager" in vars(base) for base in type.__dict__["__mro__"].__get__(cls))
