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
_DERIVED: Final = (
    "a {name} of a class of its own cannot be stored; return {name}(value), or teach the cache its class with "
    "Cache.register(type, encode, decode)"
)
_ROW: Final = (
    "a row that is bound to its ORM's session cannot be stored; return plain data (a dict, a dataclass, a pydantic "
    "model) made of its fields"
)
_MODEL: Final = "a model cannot be stored; keep it outside of the cache, and pass key= where it is an argument"
_SECRET: Final = (
    "a secret is not put into a backend where others can read it; leave it out, or return what get_secret_value() gives"
)
_GEOMETRY: Final = "geometry cannot be stored; return its WKB (geometry.wkb, frame.to_wkb())"
_LABELLED: Final = "arrays with labels cannot be stored; return to_pandas(), to_dict(), or .values"
_ANSWER: Final = "a response cannot be stored; return response.json(), or its status, headers and content"
_MASKED: Final = "a masked array of a class of its own cannot be stored; return its data and mask"
_GROUPS: Final = "a grouping is a plan, and not data; return its sum(), agg() or the like"
_CLASSES: Final = "a class cannot be stored; return its name"
_FUNCTIONS: Final = "a function cannot be stored; return what it gives, or its name"
# By module and name of the class or of one of its bases.
WORDS: Final[dict[str, str]] = {
    "sqlalchemy.orm.decl_api.DeclarativeBase": _ROW,
    "sqlmodel.main.SQLModel": _ROW,
    "django.db.models.base.Model": _ROW,
    "django.db.models.query.QuerySet": "a query runs when it is read; return list(queryset.values())",
    "django.http.response.StreamingHttpResponse": (
        "a response that streams is read once; return an HttpResponse with the whole content"
    ),
    "django.http.response.HttpResponseBase": (
        "a response of a class of its own cannot be stored; return an HttpResponse, or cache the data of it"
    ),
    "starlette.responses.Response": "a response cannot be stored; return its body, or cache the data of it",
    "sqlalchemy.engine.result.Result": "it can be read once; return its rows, as result.all() gives them",
    "sqlalchemy.sql.elements.ClauseElement": "a query is a plan, and not data; return its rows",
    "polars.lazyframe.frame.LazyFrame": "a LazyFrame is a plan, and not data; collect() first",
    "polars.expr.expr.Expr": "an expression is a plan, and not data; return the frame that it makes",
    "pandas.core.groupby.groupby.GroupBy": _GROUPS,
    "polars.dataframe.group_by.GroupBy": _GROUPS,
    "pandas.core.window.rolling.BaseWindow": "a window is a plan, and not data; return its sum(), mean() or agg()",
    "torch.nn.modules.module.Module": _MODEL,
    "sklearn.base.BaseEstimator": _MODEL,
    "PIL.ImageFile.ImageFile": "a picture that was opened from a file cannot be stored; return picture.copy()",
    "jax._src.prng.PRNGKeyArray": "a key of jax cannot be stored; return jax.random.key_data(key)",
    "jax._src.random.prng.PRNGKeyArray": "a key of jax cannot be stored; return jax.random.key_data(key)",
    "xarray.core.dataarray.DataArray": _LABELLED,
    "xarray.core.dataset.Dataset": _LABELLED,
    "xarray.core.variable.Variable": _LABELLED,
    "geopandas.geoseries.GeoSeries": _GEOMETRY,
    "geopandas.geodataframe.GeoDataFrame": _GEOMETRY,
    "geopandas.array.GeometryArray": _GEOMETRY,
    "shapely.geometry.base.BaseGeometry": _GEOMETRY,
    "shapely.lib.Geometry": _GEOMETRY,
    "pydantic.types._SecretBase": _SECRET,
    "pydantic.types.SecretStr": _SECRET,
    "pydantic.types.SecretBytes": _SECRET,
    "starlette.datastructures.Secret": "a secret is not put into a backend where others can read it; leave it out",
    "httpx.Response": _ANSWER,
    "requests.models.Response": _ANSWER,
    "scipy.sparse._base._spbase": "a sparse array of this format cannot be stored; return tocsr()",
    "sqlite3.Row": "a row of sqlite3 cannot be stored; return dict(row)",
    "re.Pattern": "a pattern cannot be stored; return pattern.pattern",
    "re.Match": "a match cannot be stored; return match.groupdict(), or match.group()",
    "xml.etree.ElementTree.Element": "an element cannot be stored; return what tostring() gives",
    "email.message.Message": "a message of parts cannot be stored; return message.as_bytes()",
    "http.cookies.BaseCookie": "cookies cannot be stored; return cookie.output(), or a dict of their values",
    "http.cookies.Morsel": "a cookie cannot be stored; return its value",
    "builtins.type": _CLASSES,
    "builtins.function": _FUNCTIONS,
    "builtins.builtin_function_or_method": _FUNCTIONS,
    "builtins.method": _FUNCTIONS,
    "builtins.module": "a module cannot be stored; return its name",
    "numpy.ufunc": _FUNCTIONS,
    "numpy.ma.MaskedArray": _MASKED,
    "numpy.ma.core.MaskedArray": _MASKED,
    "numpy.ndarray": "an array of a class of its own cannot be stored; return numpy.asarray(array)",
}
_PLAIN: Final = ("dict", "list", "tuple", "set", "frozenset", "str", "bytes", "int", "float")


def refusal(value: object) -> str:
    """Why `value`, which has no code, is refused, and the way out: what follows its path in a message."""
    known = _known(type(value)) or reason(value)
    if known is not None:
        return known
    for base in type(value).__mro__:
        if base.__module__ == "builtins" and base.__name__ in _PLAIN:
            return _DERIVED.format(name=base.__name__)
    return _ANY


def way_out(cls: type) -> str:
    """What to pass in place of an instance of a class that has no value; "" where nothing is known of it."""
    return as_argument(_known(cls) or "")


def as_argument(refusal: str) -> str:
    """The way out that a refusal tells, said of an argument."""
    way = refusal.partition("; ")[2].replace("return ", "pass ")
    return "" if "key=" in way or "Cache.register" in way else way


def _known(cls: type) -> str | None:
    if is_mapped(cls):
        return _ROW
    names = (f"{base.__module__}.{base.__qualname__}" for base in type.__dict__["__mro__"].__get__(cls))
    return next((WORDS[name] for name in names if name in WORDS), None)


def is_mapped(cls: type) -> bool:
    """Whether SQLAlchemy maps a class to a table: its instances belong to a session, whatever else they are."""
    return any("_sa_class_manager" in vars(base) for base in type.__dict__["__mro__"].__get__(cls))
