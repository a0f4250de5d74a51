"""Events from tables in memory: Arrow columns, dataframes of any library, arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wyrm_py.data.arrow import missing_in
from wyrm_py.data.events import Events
from wyrm_py.data.records import events_of_records
from wyrm_py.data.roles import ROLES, Wanted, find_columns
from wyrm_py.errors import DataError, DTypeError, ShapeError


def events_of(who: str, data: Any, wanted: dict[str, Wanted]) -> Events:
    """Return the events in a dataframe, an Arrow table, an array, a list or events.

    Raises
    ------
    MissingColumnError
        A column is not there.
    DTypeError, DataError, ShapeError
        As for `Events`; or the data is of no such kind.
    """
    if isinstance(data, Events):
        return data
    if isinstance(data, list | tuple):
        return events_of_records(who, data, wanted)
    if isinstance(data, np.ndarray):
        return _events_of_array(who, data, wanted)
    return table_events(who, columns_of(who, data, wanted))


def is_table(data: Any) -> bool:
    """Tell whether something is a dataframe, an Arrow table or a record batch."""
    import narwhals

    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
        return True
    frame = narwhals.from_native(data, pass_through=True)
    return isinstance(frame, narwhals.DataFrame | narwhals.LazyFrame)


def columns_of(who: str, data: Any, wanted: dict[str, Wanted]) -> dict[str, Any]:
    """Return the Arrow columns of a dataframe or a table by role.

    Raises
    ------
    MissingColumnError
        A column is not there.
    DTypeError
        The data is no table, or a column is of mixed types.
    DataError
        Two columns have one name.
    """
    import narwhals

    try:
        frame = narwhals.from_native(_native(data), pass_through=True)
    except narwhals.exceptions.DuplicateError as error:
        raise DataError(
            f"{who}: each column needs a name of its own: {error}"
        ) from None
    if isinstance(frame, narwhals.LazyFrame):
        frame = frame.collect()
    if not isinstance(frame, narwhals.DataFrame):
        raise DTypeError(
            f"{who}: takes Interactions, a scipy sparse matrix, a dataframe, an Arrow "
            f"table, an (N, 2) array or a list of events, got {type(data).__name__}."
        )
    names = [str(name) for name in frame.columns]
    numbered = names == [str(k) for k in range(len(names))]  # as pandas does
    places = find_columns(who, None if numbered else names, len(names), wanted)
    return {role: _arrow(frame[:, place]) for role, place in places.items()}


def _native(data: Any) -> Any:
    """Return what narwhals does not know, such as a record batch, as an Arrow table."""
    import pyarrow as pa

    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    module = type(data).__module__.partition(".")[0]
    if module not in ("pandas", "polars") and hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    return data


def _arrow(series: Any) -> Any:
    """Return a column as Arrow holds it, or as a list where it cannot."""
    import pyarrow as pa

    try:
        return series.to_arrow()
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return series.to_list()


def table_events(who: str, columns: Mapping[str, Any], first: int = 0) -> Events:
    """Return the events of Arrow columns (or lists) by role.

    Raises
    ------
    DTypeError, DataError
        As for `Events`; an id is missing too. Rows are counted from `first`.
    """
    for role in ("user", "item"):
        if not isinstance(columns[role], list):
            missing = missing_in(columns[role])
            if missing.any():
                raise DataError(
                    f"{who}, column of the {role}s: an id is required in every row, "
                    f"row {int(np.argmax(missing)) + first} has none."
                )
    numbers = {
        role: read(who, role, columns[role])
        for role, read in (
            ("rating", _numbers),
            ("timestamp", _seconds),
            ("weight", _numbers),
        )
        if role in columns
    }
    return Events(
        columns["user"],
        columns["item"],
        *(numbers.get(role) for role in ROLES[2:]),
        first=first,
        who=who,
    )


def _numbers(who: str, role: str, column: Any) -> NDArray[Any]:
    """Return an Arrow column of numbers or of their text; NaN where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = pc.utf8_trim_whitespace(column)
        if not pa.types.is_floating(column.type):
            column = column.cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, AttributeError) as error:
        raise DTypeError(f"{who}: {role}s must be numbers ({error}).") from error
    numbers: NDArray[Any] = _to_numpy(column)
    return numbers


def _seconds(who: str, role: str, column: Any) -> NDArray[Any]:
    """Return seconds from an Arrow column of numbers, dates or their text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = pc.utf8_trim_whitespace(column)
            try:
                column = column.cast(pa.float64())
            except pa.ArrowInvalid:
                column = column.cast(pa.timestamp("ns"))
        if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())
        if pa.types.is_decimal(column.type):
            column = column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, AttributeError) as error:
        raise DTypeError(
            f"{who}: {role}s must be numbers or dates ({error})."
        ) from error
    return _to_numpy(column)


def _to_numpy(column: Any) -> NDArray[Any]:
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        array: NDArray[Any] = column.to_numpy()
        return array
    array = column.to_numpy(zero_copy_only=False)
    return array


def _events_of_array(who: str, data: NDArray[Any], wanted: dict[str, Wanted]) -> Events:
    if data.ndim != 2 or data.shape[1] < 2:
        raise ShapeError(
            f"{who}: an array of shape (N, 2) or wider is required, users and items, "
            f"got {data.shape}."
        )
    places = find_columns(who, None, data.shape[1], wanted)
    columns = {role: data[:, place] for role, place in places.items()}
    for role in ("user", "item"):
        if data.dtype.kind == "f":
            columns[role] = _whole(who, role, columns[role])
    if data.dtype.kind in "OUST":
        for role in places.keys() - {"user", "item"}:
            try:
                columns[role] = columns[role].astype(np.float64)
            except (TypeError, ValueError) as error:
                raise DTypeError(
                    f"{who}: {role}s must be numbers ({error})."
                ) from error
    return Events(*(columns.get(role) for role in ROLES), who=who)  # type: ignore[arg-type]


def _whole(who: str, role: str, ids: NDArray[Any]) -> NDArray[np.int64]:
    good = np.abs(ids) < 2.0**53
    with np.errstate(invalid="ignore"):
        whole = ids.astype(np.int64)
    good &= whole == ids
    if not good.all():
        row = int(np.argmin(good))
        raise DataError(
            f"{who}: whole numbers are required as ids in an array of floats, found "
            f"the {role} {ids[row]} in row {row}. Give users and items apart."
        )
    return whole
