"""Open addressing over flat arrays: which number a 64-bit or a text key has.

The hash table is an array of int32 slots, a power of two long and at most half full,
with the number of a key or -1; collisions go to the next slot. Everything here is
vectorised, works on memory maps and touches a few pages a key. Hashes are part of
the file format: the same on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wyrm_py.data.ragged import gather_spans

Bits = NDArray[np.uint64]
Codes = NDArray[np.int64]
Slots = NDArray[np.int32]

PAD = 8
"""Zero bytes after the last text, so that whole words can be read anywhere."""

_U64 = np.uint64
_FIRST, _SECOND = _U64(0xBF58476D1CE4E5B9), _U64(0x94D049BB133111EB)
_KEPT = np.array([2 ** (8 * n) - 1 for n in range(9)], _U64)  # the first n bytes


def mixed(bits: Bits) -> Bits:
    """Return hashes of 64-bit numbers, one to one: the finaliser of SplitMix64.

    Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014),
    figure 17, variant 13 of Stafford.
    """
    bits = (bits ^ (bits >> _U64(30))) * _FIRST
    bits = (bits ^ (bits >> _U64(27))) * _SECOND
    return bits ^ (bits >> _U64(31))


class Texts:
    """Keys of bytes: spans of an arena that ends with `PAD` more bytes."""

    def __init__(self, arena: NDArray[np.uint8], starts: Codes, ends: Codes) -> None:
        self.arena, self.starts, self.ends = arena, starts, ends

    @classmethod
    def joined(cls, content: bytes, lengths: Codes) -> Texts:
        """Return the texts that stand in `content` one after the other."""
        arena = np.frombuffer(content + bytes(PAD), np.uint8)
        ends = np.cumsum(lengths)
        return cls(arena, ends - lengths, ends)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, rows: Any) -> Texts:
        return Texts(self.arena, self.starts[rows], self.ends[rows])

    def hashes(self) -> Bits:
        words = _words(self.arena)
        place, left, rows = self.starts, self.ends - self.starts, np.arange(len(self))
        hashes = mixed(left.astype(_U64))
        while len(rows):
            more = left > 0
            if not more.all():
                place, left, rows = place[more], left[more], rows[more]
            word = words[place] & _KEPT[np.minimum(left, 8)]
            hashes[rows] = mixed(hashes[rows] ^ word)
            place, left = place + 8, left - 8
        return hashes

    def same(self, rows: Codes, others: Texts, other_rows: Codes) -> Any:
        here, there = _words(self.arena), _words(others.arena)
        a, b = self.starts[rows], others.starts[other_rows]
        left = self.ends[rows] - a
        equal = left == others.ends[other_rows] - b
        pairs = np.flatnonzero(equal & (left > 0))
        left, a, b = left[pairs], a[pairs], b[pairs]
        while len(pairs):
            differ = (here[a] ^ there[b]) & _KEPT[np.minimum(left, 8)] != 0
            equal[pairs[differ]] = False
            more = ~differ & (left > 8)
            pairs, left, a, b = pairs[more], left[more] - 8, a[more] + 8, b[more] + 8
        return equal

    def content(self) -> NDArray[np.uint8]:
        """Return the bytes of all texts one after the other."""
        return gather_spans(self.arena, self.starts, self.ends - self.starts)[0]


class Keys:
    """Keys by row: 64 bits each, which are the hash where the key is a text."""

    def __init__(self, bits: Bits, texts: Texts | None = None) -> None:
        self.bits, self.texts = bits, texts

    @classmethod
    def of_texts(cls, texts: Texts) -> Keys:
        """Return the keys of texts, hashed."""
        return cls(texts.hashes(), texts)

    def __len__(self) -> int:
        return len(self.bits)

    def __getitem__(self, rows: Any) -> Keys:
        return Keys(self.bits[rows], None if self.texts is None else self.texts[rows])

    def same(self, rows: Codes, others: Keys, other_rows: Codes) -> NDArray[np.bool_]:
        """Tell which keys equal the ones beside them among others of their type."""
        equal: NDArray[np.bool_] = self.bits[rows] == others.bits[other_rows]
        if self.texts is not None and others.texts is not None:
            like = np.flatnonzero(equal)
            equal[like] = self.texts.same(rows[like], others.texts, other_rows[like])
        return equal


class Grown:
    """An array in one dimension with room to append at amortised cost O(1)."""

    def __init__(self, held: NDArray[Any]) -> None:
        self._room, self._count = held, len(held)

    def __len__(self) -> int:
        return self._count

    @property
    def held(self) -> NDArray[Any]:
        """What was appended; a view, which stays as it is when more is."""
        return self._room[: self._count]

    def extend(self, values: NDArray[Any], after: int | None = None) -> None:
        """Append values, after dropping all but the first `after`."""
        begin = self._count if after is None else after
        end = begin + len(values)
        if end > len(self._room) or not self._room.flags.writeable:
            room = np.empty(max(end, 2 * len(self._room)), self._room.dtype)
            room[:begin] = self._room[:begin]
            self._room = room
        self._room[begin:end] = values
        self._count = end


def _words(arena: NDArray[np.uint8]) -> NDArray[Any]:
    """Return a view of the eight bytes that begin at each byte."""
    return np.ndarray((len(arena) - PAD + 1,), "<u8", arena, 0, (1,))


def flat(array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Return an array as it is, or raise a ValueError if it is none of its kind."""
    if array.dtype != dtype or array.ndim != 1 or not array.flags.c_contiguous:
        raise ValueError(f"{dtype} in one dimension is required")
    return array


def first_slots(count: int) -> Slots:
    """Return a table that `count` keys fill by half at most."""
    return np.full(1 << max(2 * count - 1, 7).bit_length(), -1, np.int32)


def find(slots: Slots, known: Keys, keys: Keys) -> Codes:
    """Return the numbers of keys, shape (K,), -1 where they are not in the table.

    Parameters
    ----------
    slots : int32 array, a power of two long
    known : Keys by number
    keys : Keys, shape (K,)

    Raises
    ------
    IndexError
        The table is damaged: it holds a number that no key has.
    """
    codes = np.full(len(keys), -1, np.int64)
    rows, places = np.arange(len(keys)), _first_places(slots, keys)
    for _ in range(len(slots)):  # a damaged table may have no empty slot
        held = slots[places].astype(np.int64)
        full = held >= 0
        if not full.all():
            rows, places, held = rows[full], places[full], held[full]
        if not len(rows):
            break
        hit = known.same(held, keys, rows)
        codes[rows[hit]] = held[hit]
        rows, places = rows[~hit], (places[~hit] + 1) & (len(slots) - 1)
    return codes


def insert(slots: Slots, first: int, keys: Keys) -> tuple[Codes, Codes]:
    """Number keys that are not in the table from `first`, by first appearance.

    All rows go for their slots at once: of those at an empty one the first row gets
    it, and those with the same key see that; the others go on to the next slot.

    Parameters
    ----------
    slots : int32 array, changed
        At most half full when all are in.
    first : int
        One more than the largest number in the table.
    keys : Keys, shape (K,)

    Returns
    -------
    codes : int64 array, shape (K,)
    rows : int64 array
        Those that came first, rising: row j stands for the key `first + j`.

    Raises
    ------
    IndexError
        The table is damaged: it has no empty slot.
    """
    owners, slot_of = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    rows, places = np.arange(len(keys)), _first_places(slots, keys)
    tries = 0
    while len(rows):
        tries += 1
        if tries > len(slots):
            raise IndexError("no slot is empty")
        empty = slots[places] < 0
        slots[places[empty][::-1]] = (rows[empty] + first)[::-1]  # the last one stays
        owner = slots[places].astype(np.int64) - first
        hit = np.flatnonzero(owner >= 0)
        hit = hit[keys.same(owner[hit], keys, rows[hit])]
        owners[rows[hit]], slot_of[rows[hit]] = owner[hit], places[hit]
        rest = np.ones(len(rows), bool)
        rest[hit] = False
        rows, places = rows[rest], (places[rest] + 1) & (len(slots) - 1)
    fresh = np.flatnonzero(owners == np.arange(len(owners)))
    codes = np.empty(len(keys), np.int64)
    codes[fresh] = first + np.arange(len(fresh))
    slots[slot_of[fresh]] = codes[fresh]
    return codes[owners], fresh


def _first_places(slots: Slots, keys: Keys) -> Codes:
    bits = len(slots).bit_length() - 1
    return (mixed(keys.bits) >> _U64(64 - bits)).astype(np.int64)
