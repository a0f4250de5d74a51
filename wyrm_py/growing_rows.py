"""CSR rows in shared memory, to which more are appended while steps read them.

Where the features of new users and items are kept: `sparse_rows` and `sample_warp` take
them in place of a constant matrix. Rows never change, so readers need no lock.
"""

from __future__ import annotations

import weakref
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse

from wyrm_py.errors import (
    DataError,
    DTypeError,
    IndexRangeError,
    ParameterError,
    SettingError,
    ShapeError,
    SharedMemoryFullError,
)
from wyrm_py.graph.op import Array, Spec
from wyrm_py.leaves import Constant, LeafNode
from wyrm_py.nodes import Node
from wyrm_py.parameters.segment import SharedSegment
from wyrm_py.parameters.storage import SegmentHandle
from wyrm_py.values import INDEX, as_csr

ENTRIES = 16
"""Entries that address space is set aside for, a row."""

_KIND = b"rows"
_HEADER = np.dtype(
    [("kind", "S16"), ("capacity", "u8"), ("columns", "u8"), ("rows", "u8")]
)
_DTYPES: tuple[np.dtype[Any], ...] = (
    np.dtype(INDEX),
    np.dtype(np.int32),
    np.dtype(np.float32),
)
_MOST = np.iinfo(np.int32).max
_PAGE = 1 << 16  # bytes that get memory at a time

Views = tuple[Array, Array, Array]


class GrowingRows:
    """Rows of a sparse matrix (R, F) in shared memory, where R and F grow.

    Parameters
    ----------
    rows : scipy.sparse matrix of finite numbers, (R, F), or None
        Rows to begin with; copied as float32.
    capacity : int >= 1
        Rows that address space is set aside for, with 16 entries each; it costs
        nothing before it is used. Beyond it everything moves to a larger place.

    Raises
    ------
    DTypeError, DataError, IndexRangeError
        If these are no scipy rows of finite numbers, or no well-formed ones.
    SettingError
        If the capacity is impossible.
    SharedMemoryFullError
        If the system has no room.

    Attributes
    ----------
    segment : SharedSegment
        Where they are; another one after they have moved.

    Notes
    -----
    A `Learner` sees new rows from its next call on. What was compiled before by
    `compile`, or runs in `fit`, goes on with the rows that there were.
    """

    _views: Views
    _viewed: int  # how many rows they show
    _attached: bool = False

    def __init__(self, rows: Any = None, capacity: int = 1 << 20) -> None:
        whole = isinstance(capacity, int | np.integer) and capacity is not True
        if not whole or not 1 <= capacity < 1 << 31:
            raise SettingError(
                "GrowingRows: capacity must be a number of rows in [1, 2**31), got "
                f"{capacity!r}."
            )
        self.moves, self.longest = 0, 1
        self._tables: list[weakref.ref[Node]] = []
        self._map(_reserve(int(capacity), least=1))
        if rows is not None:
            self.append(rows)

    @classmethod
    def attach(cls, address: str) -> Self:
        """Return the rows of another process of the same user, for reading only.

        Raises
        ------
        StaleParameterError
            If there are no such rows.
        """
        made = cls.__new__(cls)
        made._attached = True
        made._map(SharedSegment.attach_to_read(SegmentHandle.from_address(address)))
        return made

    def __reduce__(self) -> Any:
        """Refuse: a copy would write to memory of its own, and nobody would know."""
        raise TypeError(
            "GrowingRows: no copies are made of shared rows. Give `csr()`, or the "
            "`address` to `attach` by."
        )

    @property
    def address(self) -> str:
        """Text to `attach` by, while this process keeps the rows where they are."""
        return self.segment.handle.address

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns so far, (R, F)."""
        return int(self._header["rows"][0]), int(self._header["columns"][0])

    def has_room(self, rows: Any) -> bool:
        """Whether `append` of such rows leaves everything in its place."""
        wanted = _room(*self._after(rows))
        return wanted <= self._capacity

    def append(self, rows: Any) -> None:
        """Append rows; what they hold of one column is added up.

        In place while there is room: steps go on. Without room everything moves, which
        nobody may be working on meanwhile.

        Parameters
        ----------
        rows : scipy.sparse matrix of finite numbers, (K, any F)

        Raises
        ------
        DTypeError, DataError
            If these are no scipy rows of finite numbers, or no well-formed ones.
        IndexRangeError
            If rows have columns beyond the rows of a table they are multiplied with.
        SettingError
            If these are the rows of another process.
        SharedMemoryFullError
            If the system has no room. In all of these cases nothing was changed.
        """
        self._require_own("append")
        more = _checked(rows)
        self._require_tables(more.shape[1])
        before, (count, entries) = self.shape, self._after(more)
        if not self.has_room(more):
            self._move(_room(count, entries))
        self._commit(count + 1, entries)
        starts, indices, data = self._parts
        stored = slice(entries - more.nnz, entries)
        indices[stored], data[stored] = more.indices, more.data
        starts[before[0] + 1 : count + 1] = more.indptr[1:] + stored.start
        longest = int(np.diff(more.indptr).max(initial=1))
        if longest > self.longest:  # to a power of two: steps make room for it
            self.longest = 1 << (longest - 1).bit_length()
        self._header["columns"] = max(before[1], more.shape[1])
        self._header["rows"] = count  # last: other processes look at it first

    def views(self) -> Views:
        """Return starts (R + 1,), column numbers and values (n,), for reading only.

        Before the first row has come it stands there as an empty one.
        """
        rows = self.shape[0]
        if rows != self._viewed:
            entries = int(self._parts[0][rows])
            lengths = max(rows, 1) + 1, entries, entries
            starts, indices, data = (
                _read_only(part[:n])
                for part, n in zip(self._parts, lengths, strict=True)
            )
            self._views, self._viewed = (starts, indices, data), rows
        return self._views

    def csr(self) -> Any:
        """Return a copy of the rows as a scipy.sparse.csr_array."""
        shape = self.shape
        starts, indices, data = self.views()
        entries = int(starts[shape[0]])
        parts = data[:entries], indices[:entries], starts[: shape[0] + 1]
        return sparse.csr_array(parts, shape=shape, copy=True)

    def __repr__(self) -> str:
        return f"GrowingRows({self.shape})"

    # -- in a graph -------------------------------------------------------------------

    def leaves(
        self, who: str, dtype: np.dtype[Any]
    ) -> tuple[Constant, Constant, Constant]:
        """Return leaves over the starts, column numbers and values, as they grow.

        Raises
        ------
        DTypeError
            The values are wanted in another dtype than float32.
        SettingError
            These are the rows of another process.
        """
        self._require_own(who)
        if dtype != np.float32:
            raise DTypeError(f"{who}: GrowingRows hold float32, got {dtype} beside.")
        return GrowingLeaf(self, 0), GrowingLeaf(self, 1), GrowingLeaf(self, 2)

    def require_table(self, who: str, table: Node) -> None:
        """See to it that no column is ever beyond a table's rows.

        Native code trusts it: rows are checked against the table when they come.

        Raises
        ------
        ShapeError
            The table has fewer rows already.
        """
        if len(table.shape) != 2 or table.shape[0] < self.shape[1]:
            raise ShapeError(
                f"{who}: rows with {self.shape[1]} columns need a table of at least as "
                f"many rows, got {table.shape}."
            )
        if all(known() is not table for known in self._tables):
            self._tables.append(weakref.ref(table))

    def _require_own(self, who: str) -> None:
        if self._attached:
            raise SettingError(
                f"{who}: these rows are of another process, for reading only. Take a "
                "copy: `GrowingRows(rows.csr())`."
            )

    def _require_tables(self, columns: int) -> None:
        for known in self._tables:
            table = known()
            if table is not None and table.shape[0] < columns:
                raise IndexRangeError(
                    f"GrowingRows.append: rows with {columns} columns came, {table!r}, "
                    f"which they are multiplied with, has {table.shape[0]} rows. Let "
                    "it grow first."
                )

    # -- memory -----------------------------------------------------------------------

    def _map(self, segment: SharedSegment) -> None:
        self.segment, self._header = segment, segment.user_header(_HEADER)
        if self._header["kind"][0] != _KIND:
            raise ParameterError("GrowingRows: the shared segment holds no rows.")
        self._capacity = int(self._header["capacity"][0])
        self._committed = [0, 0, 0]
        starts, indices, data = (
            segment.view(*part) for part in _layout(self._capacity)
        )
        self._parts: Views = starts, indices, data
        self._viewed = -1

    def _after(self, more: Any) -> tuple[int, int]:
        """Return how many rows and entries there will be."""
        rows = self.shape[0]
        return rows + more.shape[0], int(self._parts[0][rows]) + more.nnz

    def _commit(self, starts: int, entries: int) -> None:
        """Give memory to so many elements of each part."""
        for k, (dtype, most, offset) in enumerate(_layout(self._capacity)):
            wanted = (starts, entries, entries)[k] * dtype.itemsize
            before = self._committed[k]
            if wanted > before:
                wanted = -(-max(wanted, before + before // 4) // _PAGE) * _PAGE
                wanted = min(wanted, most * dtype.itemsize)
                self.segment.commit(offset + before, wanted - before, "GrowingRows")
                self._committed[k] = wanted

    def _move(self, room: int) -> None:
        """Move to a place with room for four times that many rows, if that can be."""
        rows, columns = self.shape
        held, moves = self._parts, self.moves
        lengths = rows + 1, int(held[0][rows]), int(held[0][rows])
        before = self.segment
        self._map(_reserve(4 * room, least=room))
        try:
            self._commit(*lengths[:2])
        except SharedMemoryFullError:
            self._map(before)
            raise
        for part, old, length in zip(self._parts, held, lengths, strict=True):
            part[:length] = old[:length]
        self._header["columns"], self._header["rows"] = columns, rows
        self.moves = moves + 1


class GrowingLeaf(Constant):
    """One of the arrays of growing rows, as it is at any moment."""

    __slots__ = ("part", "rows")
    grows: ClassVar[bool] = True

    def __init__(self, rows: GrowingRows, part: int) -> None:
        self.rows, self.part = rows, part
        view = rows.views()[part]
        LeafNode.__init__(self, Spec(view.shape, view.dtype), view, None)

    @property
    def value(self) -> Array:
        """The live array."""
        view = self.rows.views()[self.part]
        if view is not self._value:
            self._held(view)
        return view

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value, which may have grown."""
        return self.value.shape


def _checked(rows: Any) -> Any:
    """Return rows as canonical CSR of finite float32; never the matrix given."""
    given = as_csr("GrowingRows.append", rows)
    if given.shape[1] > _MOST:
        raise IndexRangeError(
            f"GrowingRows.append: {_MOST} columns at most are possible, got "
            f"{given.shape[1]}."
        )
    with np.errstate(over="ignore"):  # too large for float32 is infinite
        more = given.astype(np.float32, copy=True)
        more.sum_duplicates()
    if not np.isfinite(more.data).all():
        bad = int(np.argmin(np.isfinite(more.data)))
        row = int(np.searchsorted(more.indptr, bad, side="right")) - 1
        raise DataError(
            f"GrowingRows.append: finite numbers are required, found {more.data[bad]} "
            f"in row {row}."
        )
    return more


def _room(rows: int, entries: int) -> int:
    """Return the capacity that so many rows and entries need."""
    return max(rows, -(-entries // ENTRIES))


def _layout(capacity: int) -> list[tuple[np.dtype[Any], int, int]]:
    """Return the dtype, length and offset of each part."""
    lengths = capacity + 1, ENTRIES * capacity, ENTRIES * capacity
    parts: list[tuple[np.dtype[Any], int, int]] = []
    offset = 0
    for dtype, length in zip(_DTYPES, lengths, strict=True):
        parts.append((dtype, length, offset))
        offset += -(-length * dtype.itemsize // _PAGE) * _PAGE
    return parts


def _reserve(capacity: int, least: int) -> SharedSegment:
    """Return a segment with room for that many rows, or for as many as can be."""
    while True:
        dtype, length, offset = _layout(capacity)[-1]
        try:
            size = offset + length * dtype.itemsize
            segment = SharedSegment.create(size, 0, owner="GrowingRows")
            break
        except SharedMemoryFullError:  # a limit of address space or of file sizes
            if capacity // 4 < least:
                raise
            capacity //= 4
    header = segment.user_header(_HEADER)
    header["capacity"], header["kind"] = capacity, _KIND
    return segment


def _read_only(view: Array) -> Array:
    view.flags.writeable = False
    return view
