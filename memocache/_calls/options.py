"""The options of `cached`, checked when decorating: every mistake names its parameter and the way out."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, NoReturn, TypeAlias

from memocache._calls.exclusions import checked_exclusions
from memocache._calls.parse_duration import seconds
from memocache._calls.signature import Signature
from memocache.exceptions import ConfigurationError
from memocache.typing import MISSING, Missing

Duration: TypeAlias = float | timedelta | str
Ttl: TypeAlias = Duration | Callable[[Any], "Duration | None"] | None
Coalesce: TypeAlias = Literal["fleet", "process"] | None


@dataclass(frozen=True, slots=True)
class Options:
    """Checked options. Durations are seconds, 0 for off; `ttl` is infinite for never, MISSING for the default."""

    ttl: float | Callable[[Any], Any] | Any
    idle: float
    stale: float
    stale_if_error: float
    early: float
    jitter: float
    soft_timeout: float
    hard_timeout: float
    key: str | Callable[..., Any] | None
    exclude: tuple[str | type, ...]
    tags: tuple[str, ...] | Callable[..., Any]
    condition: Callable[..., object] | None
    errors: tuple[type[Exception], ...]
    error_ttl: float | None
    name: str | None
    version: str | None
    maxsize: int | Missing | None
    coalesce: Coalesce
    share: bool
    stream: bool
    strict: bool


def check(
    signature: Signature,
    *,
    ttl: Any = MISSING,
    idle: Any = None,
    stale: Any = None,
    stale_if_error: Any = None,
    early: Any = 0.0,
    jitter: Any = 0.0,
    soft_timeout: Any = None,
    hard_timeout: Any = None,
    key: Any = None,
    exclude: Any = (),
    tags: Any = (),
    condition: Any = None,
    errors: Any = (),
    error_ttl: Any = None,
    name: Any = None,
    version: Any = None,
    maxsize: Any = MISSING,
    coalesce: Any = "fleet",
    share: Any = False,
    stream: Any = False,
    strict: Any = False,
) -> Options:
    """Check the options of `cached` against the function's signature.

    Raises `ConfigurationError` (unknown names, values that make no sense) or `ValueError` (durations).
    """
    if condition is not None and not callable(condition):
        _refuse("condition", "takes a callable of the result, or None")
    if key is not None and not callable(key):
        if not isinstance(key, str):
            _refuse("key", 'takes a template such as "{user_id}:{lang}", or a callable of the call\'s arguments')
        template_fields(key, signature, "key")
    for flag, value in (("share", share), ("stream", stream), ("strict", strict)):
        if not isinstance(value, bool):
            _refuse(flag, "takes True or False")
    if stream and (soft_timeout is not None or hard_timeout is not None):
        _refuse("stream", "takes no soft_timeout and no hard_timeout: bound the time of its reader, who can stop")
    if coalesce not in ("fleet", "process", None):
        _refuse("coalesce", 'takes "fleet", "process" or None')
    if name is not None and (not isinstance(name, str) or not name):
        _refuse("name", "takes a text that is not empty, or None for module.qualname")
    if maxsize is not None and maxsize is not MISSING and (type(maxsize) is not int or maxsize < 1):
        _refuse(
            "maxsize", "takes an int of at least 1, or None for unbounded; to store nothing use null:// or disabled()"
        )
    if version is not None and (isinstance(version, bool) or not isinstance(version, str | int)):
        _refuse("version", 'takes a str or an int, "auto" among them')
    return Options(
        ttl=ttl_setting(ttl),
        idle=_optional(idle, "idle"),
        stale=_optional(stale, "stale"),
        stale_if_error=_optional(stale_if_error, "stale_if_error"),
        early=_share(early, "early", None),
        jitter=_share(jitter, "jitter", 1.0),
        soft_timeout=_optional(soft_timeout, "soft_timeout"),
        hard_timeout=_optional(hard_timeout, "hard_timeout"),
        key=key,
        exclude=_excluded(exclude, signature),
        tags=_tags(tags, signature),
        condition=condition,
        errors=_errors(errors),
        error_ttl=None if error_ttl is None else seconds(error_ttl, "error_ttl"),
        name=name,
        version=None if version is None else str(version),
        maxsize=maxsize,
        coalesce=coalesce,
        share=share,
        stream=stream,
        strict=strict,
    )


def ttl_setting(ttl: Any, name: str = "ttl", *, show: bool = True) -> Any:
    """A ttl as seconds (infinite for None), or the callable or MISSING that it is.

    Raises `ValueError`, whose text repeats a wrong ttl only with `show`.
    """
    if ttl is MISSING or (callable(ttl) and not isinstance(ttl, type)):
        return ttl
    return float("inf") if ttl is None else seconds(ttl, name, show=show)


def template_fields(template: str, signature: Signature, where: str) -> list[str]:
    """The fields of a template over parameter names; raises `ConfigurationError` for names that are no parameters."""
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        _refuse(where, f"has a template that cannot be read: {error}")
    fields = []
    for _, field, spec, conversion in parsed:
        if field is None:
            continue
        if (spec or conversion) and where == "key":
            _refuse(
                where, f"takes plain fields: {{{field}}} must not have a conversion or format; use a callable for that"
            )
        base = field.replace("[", ".").split(".")[0]
        if base not in signature.names:
            choices = ", ".join(signature.names) or "none"
            _refuse(where, f"names {{{base}}}, which is no parameter of {signature.qualname} (it has: {choices})")
        fields.append(field)
    return fields


def _refuse(name: str, why: str) -> NoReturn:
    raise ConfigurationError(f"{name}= {why}")


def _several(value: Any, one: type, name: str, why: str) -> tuple[Any, ...]:
    try:
        return (value,) if isinstance(value, one) else tuple(value)
    except TypeError:
        _refuse(name, why)


def _optional(value: Any, name: str) -> float:
    return 0.0 if value is None else seconds(value, name)


def _share(value: Any, name: str, most: float | None) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= (most or 1e6):
        _refuse(name, f"takes a number from 0 to {most:g}" if most else "takes a number that is 0 (off) or more")
    return float(value)


def _excluded(exclude: Any, signature: Signature) -> tuple[str | type, ...]:
    names = checked_exclusions(exclude)
    for name in names:
        if isinstance(name, str) and not signature.known(name):
            choices = ", ".join(signature.names) or "none"
            _refuse("exclude", f"names {name!r}, which is no parameter of {signature.qualname} (it has: {choices})")
    return names


def _tags(tags: Any, signature: Signature) -> tuple[str, ...] | Callable[..., Any]:
    if callable(tags):
        return tags  # type: ignore[no-any-return]  # callable() of Any stays Any
    texts = plain_tags(tags)
    for text in texts:
        template_fields(text, signature, "tags")
    return texts


def plain_tags(tags: str | Iterable[str]) -> tuple[str, ...]:
    """Tags as a tuple of texts; raises `ConfigurationError` for anything else."""
    texts = _several(tags, str, "tags", "takes texts that are not empty")
    if not all(isinstance(text, str) and text for text in texts):
        _refuse("tags", "takes texts that are not empty")
    return tuple(dict.fromkeys(texts))


def _errors(errors: Any) -> tuple[type[Exception], ...]:
    classes = _several(errors, type, "errors", "takes exception classes")
    if not all(isinstance(cls, type) and issubclass(cls, Exception) for cls in classes):
        _refuse("errors", "takes exception classes")
    return classes
