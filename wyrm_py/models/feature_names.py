"""Features by their names: what a user or an item is said to have.

The features of one are a list of names (each with the value 1), text with names between
"|", or a mapping of names to numbers; {"genre": "Drama|War"} stands for the names
"genre:Drama" and "genre:War". None has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from wyrm_py.data.delimited import shorten
from wyrm_py.data.feature_files import SEPARATOR
from wyrm_py.data.id_types import Ids
from wyrm_py.data.ids import IdMap
from wyrm_py.errors import DataError, DTypeError


class Described(NamedTuple):
    """Features of K users or items.

    Attributes
    ----------
    names : IdMap of the F features that occur, in order of first appearance
    matrix : float32 CSR matrix, shape (K, F), with one entry of a feature a row
    """

    names: IdMap
    matrix: Any

    @classmethod
    def of(cls, who: str, kind: str, rows: Iterable[Any]) -> Described:
        """Return the features of each row.

        Raises
        ------
        DTypeError, DataError
            These are no rows, a row is none of the forms, a name none of those an id
            may be, or a value no finite number.
        """
        names: list[Any] = []
        values: list[Any] = []
        ends = [0]
        if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
            raise DTypeError(
                f"{who}: a list of what each has is required, also of one alone, got "
                f"{shorten(rows)}."
            )
        for row in rows:
            some, weights = _features(who, row)
            names += some
            values += weights
            ends.append(len(names))
        known = IdMap(kind=kind)
        try:
            codes = known.add(names) if names else np.empty(0, np.int64)
        except (DTypeError, DataError) as error:
            raise type(error)(f"{who}: {error}") from None
        parts = _finite(who, names, values), codes, np.array(ends)
        matrix = scipy.sparse.csr_array(parts, shape=(len(ends) - 1, len(known)))
        matrix.sum_duplicates()
        return cls(known, matrix)

    def under(self, names: IdMap, columns: int) -> Any:
        """Return the matrix with the columns of other names; what is new has none."""
        matrix, codes = self.matrix, names.codes(self.names.ids)
        places = codes[matrix.indices]
        known = (places >= 0) & (places < columns)
        starts = np.append(0, np.cumsum(known))[matrix.indptr]
        parts = matrix.data[known], places[known], starts
        return scipy.sparse.csr_array(parts, shape=(matrix.shape[0], columns))


def require_source(who: str, given: Any) -> None:
    """Raise a DTypeError unless features come as a mapping or a function of ids."""
    if not isinstance(given, Mapping) and not callable(given):
        raise DTypeError(
            f"{who} must be a mapping or a function of an id, got {shorten(given)}."
        )


def look_up(source: Any, ids: Iterable[Any]) -> list[Any]:
    """Return the features that a mapping or a function has for ids."""
    find: Callable[[Any], Any] = source.get if isinstance(source, Mapping) else source
    return [find(one) for one in ids]


def newcomers(known: Any, given: Ids) -> list[Any]:
    """Return those of some ids that are not known yet, each once, in their order.

    Raises
    ------
    DTypeError, ShapeError, DataError
        As `IdMap.add`.
    """
    unknown = np.flatnonzero(known.codes(given) < 0)
    if not len(unknown):
        return []
    column: Any = given
    if hasattr(column, "dictionary_encode"):  # of Arrow
        column = column.to_numpy(zero_copy_only=False)
    elif hasattr(column, "to_numpy"):
        column = column.to_numpy()
    return in_python(IdMap([column[k] for k in unknown], known.kind))


def in_python(ids: IdMap) -> list[Any]:
    """Return ids as features are looked up by: whole numbers as int, text as str."""
    found = ids.ids
    return list(found) if found.dtype.kind == "M" else list(found.tolist())


def _features(who: str, row: Any) -> tuple[list[Any], list[Any]]:
    """Return names and values."""
    if row is None or (isinstance(row, float) and np.isnan(row)):
        return [], []
    if isinstance(row, str):
        row = _words(row)
    if isinstance(row, Mapping):
        pairs = [pair for item in row.items() for pair in _pairs(*item)]
        return [name for name, _ in pairs], [value for _, value in pairs]
    if isinstance(row, Iterable) and not isinstance(row, bytes):
        names = list(row)
        return names, [1.0] * len(names)
    raise DTypeError(
        f"{who}: the features of one must be a list of names, a mapping of names to "
        f'numbers, or text with names between "{SEPARATOR}", got {shorten(row)}.'
    )


def _pairs(name: Any, value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, str):
        return [(f"{name}:{word}", 1.0) for word in _words(value)]
    return [(name, value)]


def _words(text: str) -> list[str]:
    return [word for part in text.split(SEPARATOR) if (word := part.strip())]


def _finite(who: str, names: list[Any], values: list[Any]) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold is named below
            found = np.array(values, np.float64).astype(np.float32)
        if found.ndim != 1:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise DTypeError(f"{who}: values of features must be numbers.") from None
    if not np.isfinite(found).all():
        bad = int(np.argmin(np.isfinite(found)))
        raise DataError(
            f"{who}: finite values are required, found {values[bad]} of {names[bad]!r}."
        )
    return found
