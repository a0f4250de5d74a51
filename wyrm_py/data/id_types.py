"""What ids can be, as keys of 64 bits or of bytes, and the way back.

Numbers, dates of NumPy and booleans are keys of 64 bits; strings, bytes and what
Python writes as text and reads again (UUIDs, decimals, dates) are keys of bytes. A
type has a name, which files keep: "int64", "str", "datetime64[s]", ...
"""

from __future__ import annotations

import datetime
import decimal
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wyrm_py.data.hash_table import Keys, Texts
from wyrm_py.errors import DataError, DTypeError, ShapeError
from wyrm_py.values import as_array

Ids = Sequence[Any] | ArrayLike

LONGEST = 1 << 16
"""Bytes of text that one id may have."""

_TEXT: dict[str, Callable[[str], Any]] = {  # from text; the way there is `str`
    "str": str,
    "uuid": uuid.UUID,
    "decimal": decimal.Decimal,
    "date": datetime.date.fromisoformat,
    "datetime": datetime.datetime.fromisoformat,
}
_CLASSES = {
    uuid.UUID: "uuid",
    decimal.Decimal: "decimal",
    datetime.date: "date",
    datetime.datetime: "datetime",
}
_NUMBERS = re.compile(
    r"int64|uint64|float64|bool|datetime64\[(Y|M|W|D|h|m|s|ms|us|ns)\]"
)
_DTYPES = {"i": "int64", "u": "uint64", "f": "float64", "b": "bool"}


class Typed(NamedTuple):
    """Ids of one type as keys; `missing` is a mask, (K,), or None if none is."""

    type: str | None
    keys: Keys
    missing: NDArray[np.bool_] | None = None


def is_number_type(name: str) -> bool:
    """Tell whether ids of a type are keys of 64 bits."""
    return _NUMBERS.fullmatch(name) is not None


def is_text_type(name: str) -> bool:
    """Tell whether ids of a type are keys of bytes."""
    return name in _TEXT or name == "bytes"


def to_keys(who: str, ids: Ids) -> Typed:
    """Return ids of one type as keys. The keys of missing ones mean nothing.

    Raises
    ------
    DTypeError
        The ids are of several types or of an unusable one.
    ShapeError
        They are not in one dimension.
    DataError
        One is longer than `LONGEST`, or the array masks some.
    """
    if isinstance(ids, str | bytes) or not hasattr(ids, "__len__"):
        raise DTypeError(f"{who} must be an array or a list, got {ids!r}.")
    if isinstance(ids, list | tuple):
        return _listed(who, ids)
    array = as_array(who, ids)
    if array.ndim != 1:
        raise ShapeError(
            f"{who} in one dimension are required, got shape {array.shape}."
        )
    if array.dtype.kind in "iufbM":
        return _numbers(who, array)
    if array.dtype.kind not in "OUST":
        raise DTypeError(_unusable(who, str(array.dtype)))
    return _listed(who, array.tolist())


def _numbers(who: str, ids: NDArray[Any]) -> Typed:
    kind = ids.dtype.kind
    if kind == "M":
        name, missing = f"datetime64[{np.datetime_data(ids.dtype)[0]}]", np.isnat(ids)
        if np.datetime_data(ids.dtype)[1] != 1 or not is_number_type(name):
            raise DTypeError(_unusable(who, str(ids.dtype)))
    elif kind == "f" and ids.dtype.itemsize > 8:
        raise DTypeError(_unusable(who, str(ids.dtype)))
    else:
        name = _DTYPES[kind]
        missing = np.isnan(ids) if kind == "f" else np.zeros(1, bool)
    values = ids.astype(name)
    if kind == "f":
        values += 0.0  # -0.0 is 0.0
    bits = values.astype(np.uint64) if kind == "b" else values.view(np.uint64)
    return Typed(name, Keys(bits), missing if missing.any() else None)


def _listed(who: str, ids: Sequence[Any]) -> Typed:
    classes = set(map(type, ids))
    if classes <= {str}:
        return Typed("str" if ids else None, _texts(who, ids))
    if all(issubclass(one, int | np.integer) for one in classes):
        if bool in classes and len(classes) > 1:
            raise DTypeError(_mixed(who, classes))
        values = np.asarray(ids)
        if values.dtype.kind == "O" or values.dtype.kind == "f":
            raise DTypeError(
                f"{who}: integers of one 64-bit type are required, got "
                f"{min(ids)} to {max(ids)}. Convert them with `str`."
            )
        return _numbers(who, values)
    for names in (float | np.floating, np.bool_, np.datetime64):
        if all(issubclass(one, names) for one in classes):
            return _numbers(who, np.asarray(ids))
    missing = np.fromiter(map(_is_missing, ids), bool, len(ids))
    if missing.any():
        return _with_missing(who, ids, missing)
    if all(issubclass(one, str) for one in classes):
        return Typed("str", _texts(who, ids))
    if all(issubclass(one, bytes) for one in classes):
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        return Typed("bytes", _keys(who, b"".join(ids), lengths))
    if len(classes) > 1:
        raise DTypeError(_mixed(who, classes))
    (only,) = classes
    if only not in _CLASSES:
        raise DTypeError(_unusable(who, only.__name__))
    return Typed(_CLASSES[only], _texts(who, [str(one) for one in ids]))


def _with_missing(who: str, ids: Sequence[Any], missing: NDArray[np.bool_]) -> Typed:
    there = np.flatnonzero(~missing).tolist()
    if len(there) == 0:
        return Typed(None, Keys(np.zeros(len(ids), np.uint64)), missing)
    typed = _listed(who, [ids[row] for row in there])
    stand_in = np.zeros(len(ids), np.int64)
    stand_in[there] = np.arange(len(there))
    return Typed(typed.type, typed.keys[stand_in], missing)


def _is_missing(one: Any) -> bool:
    nan = isinstance(one, float | np.floating) and one != one
    return one is None or nan or type(one).__name__ in ("NAType", "NaTType")


def _texts(who: str, ids: Sequence[str]) -> Keys:
    content = "".join(ids)
    if content.isascii():
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        return _keys(who, content.encode(), lengths)
    parts = [one.encode(errors="surrogatepass") for one in ids]
    lengths = np.fromiter(map(len, parts), np.int64, len(ids))
    return _keys(who, b"".join(parts), lengths)


def _keys(who: str, content: bytes, lengths: NDArray[np.int64]) -> Keys:
    if lengths.max(initial=0) > LONGEST:
        row = int(np.argmax(lengths > LONGEST))
        raise DataError(
            f"{who}: at most {LONGEST:,} bytes an id are allowed, row {row} has "
            f"{lengths[row]:,}. Is this the right column?"
        )
    return Keys.of_texts(Texts.joined(content, lengths))


def _mixed(who: str, classes: set[type]) -> str:
    names = " and ".join(sorted(one.__name__ for one in classes))
    return f"{who}: ids of one type are required, got {names}. Convert with `str`."


def _unusable(who: str, name: str) -> str:
    return (
        f"{who}: ids of one type are required, integers, strings, bytes, dates, UUIDs "
        f"or other numbers, got {name}. Convert them with `str`."
    )


def as_type(wanted: str | None, typed: Typed) -> Typed:
    """Return ids as those of a type that differs in width only, else as they are.

    What the type does not hold counts as missing.
    """
    if wanted is None or typed.type is None or typed.type == wanted:
        return typed
    bits, missing = typed.keys.bits, typed.missing
    if {wanted, typed.type} == {"int64", "uint64"}:
        beyond = bits.view(np.int64) < 0  # what only one of the types holds
    elif wanted[:10] == typed.type[:10] == "datetime64":
        given = bits.view(typed.type)
        own = given.astype(wanted)
        bits, beyond = own.view(np.uint64), own != given
    else:
        return typed
    if missing is not None:
        beyond = beyond | missing
    return Typed(wanted, Keys(bits), beyond if beyond.any() else None)


def from_bits(type_name: str, bits: NDArray[np.uint64]) -> NDArray[Any]:
    """Return the ids of keys of 64 bits, shape (K,)."""
    if type_name == "bool":
        return bits.astype(bool)
    return bits.view(type_name)


def from_texts(type_name: str, texts: Texts) -> NDArray[Any]:
    """Return the ids of keys of bytes, an object array of shape (K,)."""
    ids = np.empty(len(texts), object)
    content = texts.arena.tobytes() if len(texts) > 64 else texts.arena
    spans = zip(texts.starts.tolist(), texts.ends.tolist(), strict=True)
    parts = [bytes(content[begin:end]) for begin, end in spans]
    ids[:] = [from_text(type_name, part) for part in parts]
    return ids


def from_text(type_name: str, part: bytes) -> Any:
    """Return the id of one key of bytes.

    Raises
    ------
    ValueError
        The bytes are not what that type is written as.
    """
    if type_name == "bytes":
        return part
    try:
        return _TEXT[type_name](part.decode(errors="surrogatepass"))
    except decimal.InvalidOperation as error:
        raise ValueError(str(error)) from error


def typed_from_text(type_name: str, text: str) -> list[Any]:
    """Return the id, in a list, whose `str` is a text; none if no id has it."""
    try:
        if type_name == "bytes":
            return [text.encode()]
        if type_name in _TEXT:
            one: Any = _TEXT[type_name](text)
        elif type_name == "bool":
            one = np.bool_(text == "True")
        else:
            one = np.dtype(type_name).type(text)
    except (ValueError, OverflowError, decimal.InvalidOperation):
        return []
    return [one] if str(one) == text else []


def missing_id(type_name: str | None) -> Any:
    """Return what stands for no id in an array: -1, NaN, NaT, or else None."""
    if type_name in ("int64", "uint64"):
        return np.int64(-1).view(type_name)
    if type_name == "float64":
        return np.nan
    if type_name is not None and type_name.startswith("datetime64"):
        return np.datetime64("NaT")
    return None
