"""A value of every class whose refusal has words of its own, by the library that must be installed for it."""

from __future__ import annotations

import math
import re
import sqlite3
import tempfile
import types
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


def _named(cls: Any) -> Any:
    """A class that goes by its name in this module."""
    globals()[cls.__name__] = cls
    return cls


@cache
def _own(base: Any) -> Any:
    """A class of this module's own."""
    return _named(type(f"Own{base.__name__}", (base,), {"__module__": __name__}))


def _connected() -> Any:
    return import_module("sqlalchemy").create_engine("sqlite://").connect()


@cache
def _mapped() -> Any:
    """A class that SQLAlchemy maps to a table, by the way of its base."""
    orm: Any = import_module("sqlalchemy.orm")
    base = type("Base", (orm.DeclarativeBase,), {"__module__": __name__})
    column = orm.mapped_column(primary_key=True)
    body = {"__tablename__": "row", "__annotations__": {"id": orm.Mapped[int]}, "id": column}
    return _named(type("Mapped", (base,), body))


@cache
def _sqlmodel() -> Any:
    sqlmodel: Any = import_module("sqlmodel")
    body = {"__module__": __name__, "__annotations__": {"id": int}, "id": sqlmodel.Field(primary_key=True)}
    return _named(type(sqlmodel.SQLModel)("NeverStored", (sqlmodel.SQLModel,), body, table=True))


def _django() -> None:
    settings = import_module("django.conf").settings
    if not settings.configured:
        settings.configure()
    import_module("django").setup()


@cache
def _django_model() -> Any:
    _django()
    models: Any = import_module("django.db.models")
    meta = type("Meta", (), {"app_label": "refusals"})
    return _named(type("Thing", (models.Model,), {"__module__": __name__, "Meta": meta}))


def _query_set() -> Any:
    return import_module("django.db.models").query.QuerySet(_django_model())


def _django_response(kind: str) -> Any:
    _django()
    http: Any = import_module("django.http")
    return http.StreamingHttpResponse([b"x"]) if kind == "streams" else _own(http.HttpResponse)()


def _quantised(torch: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8)


def _opened(image: Any) -> Any:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "a.png")
        image.new("L", (1, 1)).save(path)
        found = image.open(path)
        found.load()
        return found


def _geo(kind: str) -> Any:
    series = import_module("geopandas").GeoSeries([import_module("shapely").Point(1, 2)])
    return {"series": series, "frame": series.to_frame("geometry"), "array": series.array}[kind]


def _own_array() -> Any:
    numpy: Any = import_module("numpy")
    return numpy.arange(2).view(_own(numpy.ndarray))


def _own_masked() -> Any:
    numpy: Any = import_module("numpy")
    return numpy.ma.array([1]).view(_own(numpy.ma.MaskedArray))


def _sklearn() -> Any:
    return import_module("sklearn.linear_model").LinearRegression()


def _mail() -> Any:
    return import_module("email.message").Message()


def _cookies() -> Any:
    return import_module("http.cookies").SimpleCookie("a=b")


def _sql_row() -> Any:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute("select 1").fetchone()
    finally:
        connection.close()


# By the name that the refusal goes by; a library that is imported first, and a value of that class.
REFUSED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "sqlalchemy.orm.decl_api.DeclarativeBase": ("sqlalchemy", lambda _: _mapped()()),
    "sqlmodel.main.SQLModel": ("sqlmodel", lambda _: _sqlmodel()()),
    "django.db.models.base.Model": ("django", lambda _: _django_model()()),
    "django.db.models.query.QuerySet": ("django", lambda _: _query_set()),
    "django.http.response.StreamingHttpResponse": ("django", lambda _: _django_response("streams")),
    "django.http.response.HttpResponseBase": ("django", lambda _: _django_response("own")),
    "starlette.responses.Response": ("starlette.responses", lambda m: m.Response(b"x")),
    "sqlalchemy.engine.result.Result": ("sqlalchemy", lambda m: _connected().execute(m.text("select 1"))),
    "sqlalchemy.sql.elements.ClauseElement": ("sqlalchemy", lambda m: m.select(m.literal(1))),
    "polars.lazyframe.frame.LazyFrame": ("polars", lambda m: m.LazyFrame({"a": [1]})),
    "polars.expr.expr.Expr": ("polars", lambda m: m.col("a")),
    "polars.dataframe.group_by.GroupBy": ("polars", lambda m: m.DataFrame({"a": [1]}).group_by("a")),
    "pandas.core.groupby.groupby.GroupBy": ("pandas", lambda m: m.DataFrame({"a": [1]}).groupby("a")),
    "pandas.core.window.rolling.BaseWindow": ("pandas", lambda m: m.Series([1]).rolling(1)),
    "torch.nn.modules.module.Module": ("torch", lambda m: m.nn.Linear(1, 1)),
    "sklearn.base.BaseEstimator": ("sklearn", lambda _: _sklearn()),
    "PIL.ImageFile.ImageFile": ("PIL.Image", _opened),
    "jax._src.random.prng.PRNGKeyArray": ("jax", lambda m: m.random.key(0)),
    "xarray.core.dataarray.DataArray": ("xarray", lambda m: m.DataArray([1])),
    "xarray.core.dataset.Dataset": ("xarray", lambda m: m.Dataset({"a": ("x", [1])})),
    "xarray.core.variable.Variable": ("xarray", lambda m: m.Variable("x", [1])),
    "geopandas.geoseries.GeoSeries": ("geopandas", lambda _: _geo("series")),
    "geopandas.geodataframe.GeoDataFrame": ("geopandas", lambda _: _geo("frame")),
    "geopandas.array.GeometryArray": ("geopandas", lambda _: _geo("array")),
    "shapely.geometry.base.BaseGeometry": ("shapely", lambda m: m.Point(1, 2)),
    "pydantic.types._SecretBase": ("pydantic", lambda m: m.SecretStr("x")),
    "starlette.datastructures.Secret": ("starlette.datastructures", lambda m: m.Secret("x")),
    "httpx.Response": ("httpx", lambda m: m.Response(200, content=b"x")),
    "requests.models.Response": ("requests", lambda m: m.Response()),
    "scipy.sparse._base._spbase": ("scipy.sparse", lambda m: m.lil_array((1, 1))),
    "sqlite3.Row": ("", lambda _: _sql_row()),
    "re.Pattern": ("", lambda _: re.compile("a")),
    "re.Match": ("", lambda _: re.match("a", "a")),
    "xml.etree.ElementTree.Element": ("xml.etree.ElementTree", lambda m: m.Element("a")),
    "email.message.Message": ("", lambda _: _mail()),
    "http.cookies.BaseCookie": ("", lambda _: _cookies()),
    "http.cookies.Morsel": ("", lambda _: _cookies()["a"]),
    "builtins.type": ("", lambda _: int),
    "builtins.function": ("", lambda _: _mail),
    "builtins.builtin_function_or_method": ("", lambda _: math.sin),
    "builtins.method": ("", lambda _: Path("a").exists),
    "builtins.module": ("", lambda _: types),
    "numpy.ufunc": ("numpy", lambda m: m.sin),
    "numpy.ma.MaskedArray": ("numpy", lambda _: _own_masked()),
    "numpy.ndarray": ("numpy", lambda _: _own_array()),
}
# What goes by the same words under another name, in another version of its library.
OTHER_NAMES = {
    "jax._src.prng.PRNGKeyArray",
    "numpy.ma.core.MaskedArray",
    "shapely.lib.Geometry",
    "pydantic.types.SecretStr",
    "pydantic.types.SecretBytes",
}
