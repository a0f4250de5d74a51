"""Events from Python objects: tuples, dictionaries, dataclasses."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np

from wyrm_py.data.delimited import shorten
from wyrm_py.data.events import Events
from wyrm_py.data.roles import ROLES, Wanted, find_columns, is_number
from wyrm_py.errors import DataError, DTypeError


def events_of_records(
    who: str, records: Sequence[Any], wanted: dict[str, Wanted], first: int = 0
) -> Events:
    """Return events that are objects of one kind.

    Parameters
    ----------
    records : list of tuples, lists, dictionaries or objects with attributes, (N,)
        Tuples without names are (user, item[, rating[, timestamp[, weight]]]).
    wanted : dict of role to name, position (from 0) or None
    first : int
        Number of the first one in messages.

    Raises
    ------
    MissingColumnError
        The first one lacks a user or an item, or what was asked for.
    DataError
        There are none, another one is not like the first, or a value is missing.
    """
    if not records:
        raise DataError(f"{who}: at least one is required, got no interactions.")
    kinds = set(map(type, records))
    one = records[0]
    if len(kinds) > 1:
        row = next(
            k for k, record in enumerate(records) if type(record) is not type(one)
        )
        raise DataError(
            f"{who}: events of one kind are required, the first is a "
            f"{type(one).__name__}, found {shorten(records[row])} in row {row + first}."
        )
    if isinstance(one, tuple | list):
        columns = _of_tuples(who, records, wanted, first)
    else:
        columns = _of_names(who, records, wanted, first)
    for role in ("rating", "weight"):
        if role in columns:
            columns[role] = _numbers(who, role, columns[role], first)
    if "timestamp" in columns:
        columns["timestamp"] = _times(who, columns["timestamp"], first)
    for role in ("user", "item"):
        if None in columns[role]:
            raise DataError(
                f"{who}: the {role} of every event is required, the one in row "
                f"{columns[role].index(None) + first} has none."
            )
    return Events(*(columns.get(role) for role in ROLES), first=first, who=who)  # type: ignore[arg-type]


def _of_tuples(
    who: str, records: Sequence[Any], wanted: dict[str, Wanted], first: int
) -> dict[str, Any]:
    width = len(records[0])
    if len(set(map(len, records))) > 1:
        row = next(k for k, record in enumerate(records) if len(record) != width)
        raise DataError(
            f"{who}: {width} values are required as in the first event, found "
            f"{shorten(records[row])} in row {row + first}."
        )
    names = getattr(records[0], "_fields", None)
    if names is None and not any(want is not None for want in wanted.values()):
        places = dict(zip(ROLES, range(width), strict=False))
        if not 2 <= width <= len(ROLES):
            raise DataError(
                f"{who}: an event is (user, item[, rating[, timestamp[, weight]]]), "
                f"found {shorten(records[0])} in row {first}. Name the positions."
            )
    else:
        places = find_columns(who, names, width, wanted)
    # Not `zip(*records)`: one iterator an event keeps the garbage collector busy.
    return {
        role: list(map(itemgetter(place), records)) for role, place in places.items()
    }


def _of_names(
    who: str, records: Sequence[Any], wanted: dict[str, Wanted], first: int
) -> dict[str, Any]:
    one = records[0]
    getter: Callable[[Any], Callable[[Any], Any]] = attrgetter
    if isinstance(one, Mapping):
        names, getter = list(one), itemgetter
    elif dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
    elif hasattr(one, "__dict__"):
        names = list(vars(one))
    else:
        raise DTypeError(
            f"{who}: an event must be a tuple, a dictionary or an object with "
            f"attributes, got {shorten(one)}."
        )
    places = find_columns(who, names, len(names), wanted)
    columns = {}
    for role, place in places.items():
        get = getter(names[place])
        try:
            columns[role] = list(map(get, records))
        except (KeyError, AttributeError):
            row = next(k for k, record in enumerate(records) if not _has(get, record))
            raise DataError(
                f"{who}: {names[place]!r} is required in every event, found "
                f"{shorten(records[row])} in row {row + first}."
            ) from None
    return columns


def _has(get: Any, record: Any) -> bool:
    try:
        get(record)
    except (KeyError, AttributeError):
        return False
    return True


def _numbers(who: str, role: str, values: Sequence[Any], first: int) -> Any:
    """Return float64 numbers, NaN for None; texts of numbers are read."""
    try:
        return np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        row = next(k for k, value in enumerate(values) if not _is_float(value))
        raise DataError(
            f"{who}: {role}s must be numbers, found {shorten(values[row])} in row "
            f"{row + first}."
        ) from None


def _is_float(value: Any) -> bool:
    try:
        np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):
        return False
    return np.ndim(value) == 0


def _times(who: str, values: Sequence[Any], first: int) -> Any:
    """Return numbers or `datetime64` from numbers, dates or their text."""
    one = values[0]
    try:
        if isinstance(one, datetime.datetime) and one.tzinfo is not None:
            return np.array([value.timestamp() for value in values])
        if isinstance(one, datetime.date | np.datetime64):
            return np.array(values, "datetime64[us]")
        if isinstance(one, str) and not is_number(one):
            dates = [datetime.datetime.fromisoformat(value) for value in values]
            return _times(who, dates, first)
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{who}: timestamps must be numbers or dates of one kind ({error}), in "
            f"rows {first} to {first + len(values) - 1}."
        ) from error
    if isinstance(one, int):
        return np.asarray(values)  # float64 would round large ones
    return _numbers(who, "timestamp", values, first)
