"""Times and zones of dateutil, pytz, pendulum, whenever, pydantic and bson.

A zone goes by its name, which is never a path to a file.
"""

from __future__ import annotations

import os
import re
import zoneinfo
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from memocache.codecs.ext_types import Unfit, expect, expect_list
from memocache.codecs.known.known_type import KnownType, loaded
from memocache.exceptions import DecodeError

_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]{1,64}(?:/[A-Za-z0-9_+-]{1,64}){0,4}")


def _zone_name(name: object) -> str:
    if not _ZONE.fullmatch(expect(str, name)):
        raise DecodeError("payload holds a malformed zone name")
    return str(name)


# dateutil


def _tzfile_apart(value: Any) -> str:
    """The name by which `gettz` finds the zone: the end of its path, or what the tar file of dateutil calls it."""
    steps = str(getattr(value, "_filename", None) or "").split("/")
    for start in range(max(0, len(steps) - 5), len(steps)):
        name = "/".join(steps[start:])
        if _ZONE.fullmatch(name) and _has_file(name) and loaded("dateutil.tz:gettz")(name) == value:
            return name
    raise Unfit(value, "a zone that has no name cannot be stored; use zoneinfo.ZoneInfo")


def _tzfile_together(parts: Any) -> Any:
    name = _zone_name(parts)
    # asked for another, `gettz` would import an archive of them and read that
    if not _has_file(name):
        raise DecodeError("payload names an unknown zone")
    return loaded("dateutil.tz:gettz")(name)


def _has_file(name: str) -> bool:
    return any(os.path.isfile(os.path.join(folder, name)) for folder in zoneinfo.TZPATH)


def _offset_together(parts: Any) -> Any:
    name, offset = expect_list(parts, 2)
    return loaded("dateutil.tz.tz:tzoffset")(name if name is None else expect(str, name), expect(timedelta, offset))


_RELATIVE: Final = (
    "years", "months", "days", "leapdays", "hours", "minutes", "seconds", "microseconds",
    "year", "month", "day", "hour", "minute", "second", "microsecond",
)  # fmt: skip


def _relative_apart(value: Any) -> list[Any]:
    weekday = value.weekday
    said = None if weekday is None else [weekday.weekday, weekday.n]
    return [*(getattr(value, name) for name in _RELATIVE), said]


def _relative_together(parts: Any) -> Any:
    *numbers, weekday = expect_list(parts, len(_RELATIVE) + 1)
    if not {int, float, type(None)}.issuperset(map(type, numbers)):
        raise DecodeError("payload holds a malformed relativedelta")
    made = loaded("dateutil.relativedelta:relativedelta")(**dict(zip(_RELATIVE, numbers, strict=True)))
    if weekday is not None:
        day, number = expect_list(weekday, 2)
        made.weekday = loaded("dateutil._common:weekday")(expect(int, day), number)
    return made


# pytz


def _pytz_apart(value: Any) -> Any:
    """The name of a zone; of one that `localize` chose, its offsets and its abbreviation too."""
    _, parts = value.__reduce__()
    if parts[0] not in loaded("pytz:all_timezones_set"):
        raise Unfit(value, "a zone that pytz does not know by name cannot be stored; use zoneinfo.ZoneInfo")
    return list(parts)


def _pytz_together(parts: Any) -> Any:
    name, *chosen = expect(list, parts)
    zone = loaded("pytz:timezone")(_zone_name(name))
    if not chosen:
        return zone
    offset, saving, label = expect_list(chosen, 3)
    return zone._tzinfos[timedelta(seconds=expect(int, offset)), timedelta(seconds=expect(int, saving)), label]


# pendulum


def _moment(name: str, number: int, base: type, taken: Any) -> KnownType:
    """A time of pendulum: the standard library's, and the zone."""
    cls = f"pendulum.{name.lower()}:{name}"

    def together(parts: Any) -> Any:
        plain, zone = expect_list(parts, 2)
        made = expect(base, plain)
        fields = taken(made)
        if base is date:
            return loaded(cls)(*fields)
        return loaded(cls)(*fields, tzinfo=zone, fold=made.fold)

    def apart(value: Any) -> Any:
        fields = taken(value)
        if base is date:
            return [date(*fields), None]
        return [base(*fields, fold=value.fold), value.tzinfo]

    return KnownType(number, (cls,), apart, together, immutable=True)


def _date_fields(value: Any) -> tuple[int, ...]:
    return value.year, value.month, value.day


def _time_fields(value: Any) -> tuple[int, ...]:
    return value.hour, value.minute, value.second, value.microsecond


def _duration_apart(value: Any) -> list[Any]:
    return [value.years, value.months, value.as_timedelta() - timedelta(days=value.years * 365 + value.months * 30)]


def _duration_together(parts: Any) -> Any:
    years, months, rest = expect_list(parts, 3)
    rest = expect(timedelta, rest)
    return loaded("pendulum.duration:Duration")(
        days=rest.days, seconds=rest.seconds, microseconds=rest.microseconds, years=expect(int, years),
        months=expect(int, months),
    )  # fmt: skip


def _fixed_together(parts: Any) -> Any:
    offset, name = expect_list(parts, 2)
    return loaded("pendulum.tz.timezone:FixedTimezone")(expect(int, offset), expect(str, name))


# whenever

_WHENEVER: Final = (
    "Instant", "ZonedDateTime", "OffsetDateTime", "PlainDateTime", "Date", "Time", "TimeDelta", "DateDelta",
    "DateTimeDelta", "ItemizedDelta", "ItemizedDateDelta", "YearMonth", "MonthDay", "IsoWeekDate",
)  # fmt: skip
_LONGEST_TEXT: Final = 200
_IN_BRACKETS: Final = re.compile(r"\[([^]]*)]")


def _whenever_apart(value: Any) -> list[str]:
    """The class and the text of a value: ISO 8601, which says everything but a zone that goes by no name."""
    parts = [type(value).__name__, ""]
    try:
        parts[1] = value.format_iso()
        same = _exactly(_whenever_together(parts)) == _exactly(value)
    except Exception:
        same = False
    if not same:
        raise Unfit(value, "a time of whenever whose text says less than it cannot be stored; return an Instant")
    return parts


def _exactly(value: Any) -> Any:
    return value.__reduce__()[1]


def _whenever_together(parts: Any) -> Any:
    name, text = expect_list(parts, 2)
    if name not in _WHENEVER or len(expect(str, text)) > _LONGEST_TEXT:
        raise DecodeError("payload holds a time of an unknown kind")
    for zone in _IN_BRACKETS.findall(text):
        _zone_name(zone)
    return loaded(f"whenever:{name}").parse_iso(text)


# pydantic


def _pydantic_zone_apart(value: Any) -> int:
    offset: timedelta = value.utcoffset(None)
    return offset.days * 86_400 + offset.seconds


def _pydantic_zone_together(parts: Any) -> Any:
    if not -86_400 < expect(int, parts) < 86_400:
        raise DecodeError("payload holds an impossible offset")
    return loaded("pydantic_core._pydantic_core:TzInfo")(parts)


# bson


def _bson_zone_apart(value: Any) -> list[Any]:
    return [value.utcoffset(None), value.tzname(None)]


def _bson_zone_together(parts: Any) -> Any:
    offset, name = expect_list(parts, 2)
    utc = loaded("bson.tz_util:utc")
    if (offset, name) == (timedelta(0), "UTC"):
        return utc
    return type(utc)(expect(timedelta, offset), name if name is None else expect(str, name))


TYPES: Final = (
    KnownType(32, ("dateutil.tz.tz:tzutc",), lambda value: None, lambda parts: loaded("dateutil.tz.tz:tzutc")(),
              immutable=True, note="which boto3 returns"),
    KnownType(33, ("dateutil.tz.tz:tzoffset",), lambda value: [value._name, value._offset], _offset_together,
              immutable=True),
    KnownType(34, ("dateutil.tz._tzfile:tzfile", "dateutil.tz.tz:tzfile"), _tzfile_apart, _tzfile_together,
              immutable=True, note="of `gettz`, by the zone's name"),
    KnownType(35, ("dateutil.relativedelta:relativedelta",), _relative_apart, _relative_together),
    KnownType(36, ("pytz:UTC",), lambda value: None, lambda parts: loaded("pytz:utc"), immutable=True),
    KnownType(37, ("pytz:_FixedOffset",), lambda value: value._minutes,
              lambda parts: loaded("pytz:FixedOffset")(expect(int, parts)), immutable=True),
    KnownType(38, ("pytz.tzinfo:BaseTzInfo",), _pytz_apart, _pytz_together, immutable=True, family=True,
              note="by the zone's name, localised or not"),
    _moment("DateTime", 40, datetime, lambda value: (*_date_fields(value), *_time_fields(value))),
    _moment("Date", 41, date, _date_fields),
    _moment("Time", 42, time, _time_fields),
    KnownType(43, ("pendulum.tz.timezone:Timezone",), lambda value: value.name,
              lambda parts: loaded("pendulum.tz.timezone:Timezone")(_zone_name(parts)), immutable=True),
    KnownType(44, ("pendulum.tz.timezone:FixedTimezone",), lambda value: [value._offset, value._name],
              _fixed_together, immutable=True),
    KnownType(45, ("pendulum.duration:Duration",), _duration_apart, _duration_together, immutable=True),
    KnownType(46, tuple(f"whenever:{name}" for name in _WHENEVER), _whenever_apart, _whenever_together, immutable=True,
              note="by their ISO 8601 texts; since whenever 0.9"),
    KnownType(56, ("pydantic_core._pydantic_core:TzInfo",), _pydantic_zone_apart, _pydantic_zone_together,
              immutable=True, note="the zone of a datetime that pydantic read"),
    KnownType(59, ("bson.tz_util:FixedOffset",), _bson_zone_apart, _bson_zone_together, immutable=True,
              note="the zone of a datetime of MongoDB's"),
)  # fmt: skip
