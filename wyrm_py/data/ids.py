"""Ids of users or items of any type: numbered in bulk, kept without pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from wyrm_py.data import hash_table, id_types
from wyrm_py.data.arrow import dictionaries, missing_in
from wyrm_py.data.hash_table import Codes, Grown, Keys, Slots, Texts
from wyrm_py.data.id_hints import similar_ids
from wyrm_py.data.id_types import Ids, Typed
from wyrm_py.errors import (
    CorruptCheckpointError,
    DataError,
    DTypeError,
    IndexRangeError,
    UnknownIdError,
)
from wyrm_py.values import as_integers

MOST_IDS = 2**31 - 1
"""Codes fit into int32."""

_BLOCK = 1 << 15  # ids looked up at a time: their temporaries stay in the cache
_COMPARED = 20_000  # ids looked through for similar ones, to answer at once


class IdMap:
    """Ids with the codes 0, 1, ... in order of first appearance.

    Ids of one map are of one type: integers (held as int64, or as uint64 where they
    need it), strings, bytes, floats, booleans, `datetime64`, or Python's UUID,
    Decimal, date and datetime. They come back as they were given, also from files;
    of other things, such as tuples, give the text. Two ids are the same if they are
    of one type and equal (decimals: if their text is).

    Parameters
    ----------
    ids : list, array, Arrow, pandas or polars column, shape (K,)
        May repeat.
    kind : str
        "user" or "item", for messages and the names of arrays.

    Raises
    ------
    DTypeError, DataError, ShapeError
        As for `add`.

    Notes
    -----
    A hash table with open addressing in flat arrays: adding is amortised O(1),
    `to_arrays` gives the arrays as they are, and looking up an id of a memory-mapped
    map reads a few pages. Threads may look up while none adds.
    """

    def __init__(self, ids: Ids = (), kind: str = "id") -> None:
        self.kind = kind
        self._type: str | None = None
        self._slots: Slots = hash_table.first_slots(0)
        self._bits = Grown(np.empty(0, np.uint64))  # numbers, or hashes of texts
        self._arena = Grown(np.zeros(hash_table.PAD, np.uint8))
        self._edges = Grown(np.zeros(1, np.int64))  # where each text ends, after a 0
        self._ids: NDArray[Any] | None = None
        self.add(ids)

    def __len__(self) -> int:
        """Return the number of ids, R."""
        return len(self._bits)

    def __repr__(self) -> str:
        return f"IdMap({len(self)} {self.kind}s, {self.type})"

    @property
    def type(self) -> str | None:
        """Type of the ids, such as "int64", "str", "datetime64[s]"; None if empty."""
        return self._type

    @property
    def ids(self) -> NDArray[Any]:
        """All ids by code, shape (R,), not to be written to.

        What is neither number nor `datetime64` stands in an object array. Made on
        first use, in time proportional to R; `take` reads only some.
        """
        if self._ids is None or len(self._ids) != len(self):
            self._ids = self.take(np.arange(len(self)))
            self._ids.flags.writeable = False
        return self._ids

    def take(self, codes: ArrayLike) -> NDArray[Any]:
        """Return the ids of some codes, in the shape of these.

        Parameters
        ----------
        codes : integers in [-1, R), any shape
            -1 gives -1 among integers, NaN among floats, NaT among dates, else None.

        Raises
        ------
        DTypeError, IndexRangeError
            These are no integers, or one is out of range.
        """
        wanted = as_integers("IdMap.take", codes)
        if wanted.size and not -1 <= wanted.min() <= wanted.max() < len(self):
            raise IndexRangeError(
                f"IdMap.take: codes of {self.kind}s must be in [-1, {len(self)}), got "
                f"{wanted.min()} to {wanted.max()}."
            )
        flat = wanted.reshape(-1)
        there = flat >= 0
        ids = self._read(flat[there])
        if not there.all():
            no_id = id_types.missing_id(self._type)
            whole = np.full(len(flat), no_id, object if no_id is None else ids.dtype)
            whole[there] = ids
            ids = whole
        return ids.reshape(wanted.shape)

    def codes(self, ids: Ids) -> Codes:
        """Return the codes of ids, int64, shape (K,); -1 where they are not known.

        Ids of another type are not known, nor are missing ones (None, NaN).

        Raises
        ------
        DTypeError, ShapeError
            The ids are of several types, or not in one dimension.
        """
        if hasattr(ids, "dictionary_encode"):
            return self._through_dictionary(ids, self.codes)
        typed = id_types.as_type(self._type, id_types.to_keys(f"{self.kind}s", ids))
        if typed.type != self._type or len(self) == 0:
            return np.full(len(typed.keys), -1, np.int64)
        codes = self._by_blocks(self._find, typed)
        if typed.missing is not None:
            codes[typed.missing] = -1
        return codes

    def add(self, ids: Ids) -> Codes:
        """Return the codes of ids, numbering those that are new; int64, shape (K,).

        Raises
        ------
        DTypeError
            The ids are of several types, of another one than those here, or of one
            that is not supported.
        DataError
            An id is missing (None, NaN), longer than 64 KiB, or one too many: there
            can be 2**31 - 1.
        ShapeError
            They are not in one dimension.
        """
        if hasattr(ids, "dictionary_encode"):
            return self._through_dictionary(ids, self.add)
        typed = id_types.to_keys(f"{self.kind}s", ids)
        if typed.missing is not None:
            raise self._nothing_in(int(np.argmax(typed.missing)))
        if typed.type is None:
            return np.empty(0, np.int64)
        alike = id_types.as_type(self._type, typed)
        self._take_type(alike, typed.type)
        return self._by_blocks(self._add, alike)

    def require(self, ids: Ids, who: str) -> Codes:
        """Return the codes of ids that must all be known; int64, shape (K,).

        Parameters
        ----------
        ids : shape (K,)
        who : str
            Begins the message, such as "recommend".

        Raises
        ------
        UnknownIdError
            One is not; the message names similar ones.
        DTypeError, ShapeError
            As for `codes`.
        """
        codes = self.codes(ids)
        if codes.min(initial=0) < 0:
            one = list(ids)[int(np.argmax(codes < 0))]  # type: ignore[arg-type]
            for plain in ("item", "as_py"):  # of NumPy, of Arrow
                one = getattr(one, plain)() if hasattr(one, plain) else one
            raise self._unknown(f"{who}: ", one)
        return codes

    def from_text(self, text: str) -> Any:
        """Return the id that is written so: "42" is the integer 42 among integers.

        Raises
        ------
        UnknownIdError
            There is none; the message names similar ones.
        """
        wanted = id_types.typed_from_text(self._type, text) if self._type else []
        codes = self.codes(wanted)
        if not len(codes) or codes[0] < 0:
            raise self._unknown("", text)
        return self.take(codes)[0]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays of numbers that hold the map, named `KIND_ids.*`.

        "KIND_ids.TYPE" are the ids, or the bytes of their texts and 8 more, with
        "KIND_ids.edges" and "KIND_ids.hashes"; "KIND_ids.slots" is the hash table.
        They are not copies: write or copy them before more ids are added.
        """
        prefix = f"{self.kind}_ids."
        slots = self._slots
        if len(slots) > 2 * len(hash_table.first_slots(len(self))):
            slots = self._filled_slots(len(self))
        name = f"{prefix}{self._type or 'none'}"
        arrays = {f"{prefix}slots": slots}
        if self._type is None or id_types.is_number_type(self._type):
            return arrays | {name: self._bits.held.view(_kept(self._type))}
        return arrays | {
            name: self._arena.held,
            f"{prefix}edges": self._edges.held,
            f"{prefix}hashes": self._bits.held,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], kind: str) -> Self:
        """Return the map of `to_arrays`, at once: the ids are not looked at.

        The arrays are taken over as they are; they can be memory maps.

        Raises
        ------
        CorruptCheckpointError
            The arrays do not belong together.
        """
        prefix = f"{kind}_ids."
        own = {
            name.removeprefix(prefix): np.asarray(array)
            for name, array in arrays.items()
            if name.startswith(prefix)
        }
        made = cls(kind=kind)
        try:
            (name,) = own.keys() - {"slots", "edges", "hashes"}
            made._hold(name, own)
        except (KeyError, ValueError) as error:
            raise made._damaged() from error
        return made

    def _hold(self, name: str, own: dict[str, NDArray[Any]]) -> None:
        """Take arrays after checks that do not depend on the number of ids."""
        if name == "none" or id_types.is_number_type(name):
            self._bits = Grown(hash_table.flat(own[name], _kept(name)).view(np.uint64))
        elif id_types.is_text_type(name):
            self._bits = Grown(hash_table.flat(own["hashes"], np.uint64))
            self._arena = Grown(hash_table.flat(own[name], np.uint8))
            self._edges = Grown(hash_table.flat(own["edges"], np.int64))
            edges, last = self._edges.held, len(self._arena) - hash_table.PAD
            if len(edges) != len(self) + 1 or (edges[0], edges[-1]) != (0, last):
                raise ValueError("the texts do not end where they should")
        else:
            raise ValueError(f"{name!r} is no type of ids")
        self._slots = hash_table.flat(own["slots"], np.int32)
        size = len(self._slots)
        if size & (size - 1) or size < max(2, 2 * len(self)):
            raise ValueError("the hash table has an impossible size")
        self._type = None if name == "none" else name

    def __getstate__(self) -> dict[str, Any]:
        arrays = self.to_arrays()
        slots = f"{self.kind}_ids.slots"  # the only array that is ever written to
        return {"kind": self.kind, "arrays": arrays | {slots: arrays[slots].copy()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        made = type(self).from_arrays(state["arrays"], state["kind"])
        self.__dict__.update(made.__dict__)

    @property
    def _keys(self) -> Keys:
        """Keys by code: views, whatever the number."""
        if self._type is None or id_types.is_number_type(self._type):
            return Keys(self._bits.held)
        edges = self._edges.held
        return Keys(self._bits.held, Texts(self._arena.held, edges[:-1], edges[1:]))

    def _read(self, codes: Codes) -> NDArray[Any]:
        if self._type is None:
            return np.empty(0, object)
        keys = self._keys[codes]
        if keys.texts is None:
            return id_types.from_bits(self._type, keys.bits)
        try:
            return id_types.from_texts(self._type, keys.texts)
        except ValueError as error:
            raise self._damaged() from error

    def _by_blocks(self, action: Callable[[Keys], Codes], typed: Typed) -> Codes:
        codes = np.empty(len(typed.keys), np.int64)
        try:
            for rows in _blocks(len(codes)):
                codes[rows] = action(typed.keys[rows])
        except IndexError as error:
            raise self._damaged() from error
        return codes

    def _find(self, keys: Keys) -> Codes:
        return hash_table.find(self._slots, self._keys, keys)

    def _add(self, keys: Keys) -> Codes:
        codes = self._find(keys)
        rows = np.flatnonzero(codes < 0)
        if not len(rows):
            return codes
        first, new = len(self), keys[rows]
        if first + len(new) > MOST_IDS:
            raise DataError(
                f"IdMap: there can be {MOST_IDS:,} {self.kind}s, got more. Use hashing "
                "or several maps."
            )
        if 2 * (first + len(new)) > len(self._slots):
            self._slots = self._filled_slots(first + len(new))
        elif not self._slots.flags.writeable:
            self._slots = self._slots.copy()
        codes[rows], fresh = hash_table.insert(self._slots, first, new)
        new = new[fresh]
        if new.texts is not None:
            edges = self._edges.held[-1] + np.cumsum(new.texts.ends - new.texts.starts)
            content = np.append(new.texts.content(), np.zeros(hash_table.PAD, np.uint8))
            self._arena.extend(content, after=len(self._arena) - hash_table.PAD)
            self._edges.extend(edges)
        self._bits.extend(new.bits)
        return codes

    def _filled_slots(self, count: int) -> Slots:
        """Return a table of the ids here, with room for `count`."""
        slots = hash_table.first_slots(count)
        for rows in _blocks(len(self)):
            hash_table.insert(slots, rows.start, self._keys[rows])
        return slots

    def _take_type(self, typed: Typed, given: str) -> None:
        """Take the type of ids to be added, or raise a DTypeError."""
        if self._type is None:
            self._type = typed.type
        elif typed.type != self._type or typed.missing is not None:
            raise DTypeError(
                f"IdMap: the {self.kind}s here are of type {self._type}, which does "
                f"not hold the {given} given. Give ids of that type, or begin anew "
                "with all of them as `str`."
            )

    def _through_dictionary(self, column: Any, action: Callable[[Ids], Codes]) -> Codes:
        """Return the codes of an Arrow column: each different id is looked up once."""
        codes, missing = np.full(len(column), -1, np.int64), missing_in(column)
        if action == self.add and missing.any():
            raise self._nothing_in(int(np.argmax(missing)))
        begin = 0
        for ids, indices in dictionaries(f"{self.kind}s", column):
            rows = slice(begin, begin + len(indices))
            there = ~missing[rows]
            codes[rows][there] = action(ids)[indices[there]]
            begin = rows.stop
        return codes

    def _nothing_in(self, row: int) -> DataError:
        return DataError(
            f"{self.kind}s: an id is required in every row, row {row} has none."
        )

    def _unknown(self, who: str, wanted: object) -> UnknownIdError:
        some = self.take(np.arange(min(len(self), _COMPARED))).tolist()
        return UnknownIdError(
            f"{who}{self.kind} {wanted!r} is not among the {len(self)} {self.kind}s of "
            f"the model. {similar_ids(str(wanted), some)}"
        )

    def _damaged(self) -> CorruptCheckpointError:
        return CorruptCheckpointError(
            f"The {self.kind} ids of the model are damaged. Use another copy of the "
            "file."
        )


def _blocks(count: int) -> list[slice]:
    return [slice(k, min(k + _BLOCK, count)) for k in range(0, count, _BLOCK)]


def _kept(type_name: str | None) -> DTypeLike:
    """Return the dtype that keys of 64 bits have in files."""
    return np.int64 if type_name == "int64" else np.uint64
