"""Examples with or without labels: shuffled, split, cut into batches and folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from wyrm_py.data.ragged import RaggedColumn
from wyrm_py.data.rows import (
    as_rows,
    batch_rows,
    even_rows,
    fold_rows,
    part_rows,
)
from wyrm_py.errors import DataError, DTypeError, SettingError, ShapeError
from wyrm_py.seeds import RandomState, generator
from wyrm_py.values import as_array, as_csr


class Dataset:
    """N records and, if there are any, their labels.

    Both are columns as `wp.fit` takes them, so that
    `wp.fit(loss, optimizer, inputs={x: data.records, y: data.labels})` trains on
    them. Every method leaves the dataset as it is and returns a new one.

    Parameters
    ----------
    records : numbers of shape (N, ...), RaggedColumn of N lists, or scipy sparse
        matrix of N rows
    labels : likewise, or None

    Attributes
    ----------
    records, labels
        As given, arrays where they were lists, CSR where they were sparse.

    Raises
    ------
    ShapeError
        Records and labels differ in number, a list is uneven, or a record has no
        elements.
    DTypeError
        There is something else than numbers.
    DataError
        There are no records.
    """

    records: Any
    labels: Any

    def __init__(self, records: Any, labels: Any = None) -> None:
        self.records = _as_column("records", records)
        self.labels = None if labels is None else _as_column("labels", labels)
        if labels is not None and _count(self.labels) != len(self):
            raise ShapeError(
                f"Dataset: one label a record is required, got {len(self)} records and "
                f"{_count(self.labels)} labels."
            )
        if len(self) == 0:
            raise DataError("Dataset: at least one record is required, got none.")

    def __len__(self) -> int:
        """Return the number of records, N."""
        return _count(self.records)

    def __repr__(self) -> str:
        labels = "" if self.labels is None else f", labels {_form(self.labels)}"
        return f"Dataset({_form(self.records)}{labels})"

    def take(self, rows: Any) -> Dataset:
        """Return some of the records, in that order.

        Parameters
        ----------
        rows : slice, integers of shape (K,) in [0, N), or a mask of shape (N,)
            A slice of an array is a view, everything else a copy.

        Raises
        ------
        DataError
            No row is chosen.
        IndexRangeError, ShapeError
            The rows are not in the data.
        """
        chosen = as_rows("Dataset.take", rows, len(self))
        labels = None if self.labels is None else self.labels[chosen]
        return Dataset(self.records[chosen], labels)

    def shuffle(self, random_state: RandomState = None) -> Dataset:
        """Return the records in a random order, every order as likely as another.

        Parameters
        ----------
        random_state : int >= 0, Generator, RandomState or None
            The same seed gives the same order.
        """
        order = generator("Dataset.shuffle", random_state).permutation(len(self))
        return self.take(order)

    def split(self, parts: Sequence[int] | Sequence[float]) -> list[Dataset]:
        """Cut into consecutive parts that cover all records.

        Parameters
        ----------
        parts : lengths that add up to N, or fractions that add up to 1

        Raises
        ------
        SettingError
            They do not add up, or a part would be empty.
        """
        cuts = part_rows("Dataset.split", len(self), parts)
        return [self.take(rows) for rows in cuts]

    def batches(self, size: int, drop_last: bool = False) -> Iterator[Dataset]:
        """Return an iterator over consecutive batches.

        Parameters
        ----------
        size : int >= 1
        drop_last : bool
            Leave out a last batch of fewer than `size` records.

        Raises
        ------
        SettingError
            The size is impossible, or every record would be left out.
        """
        cuts = batch_rows("Dataset.batches", len(self), size, drop_last)
        return (self.take(rows) for rows in cuts)

    def k_fold(
        self, k: int, shuffle: bool = False, random_state: RandomState = None
    ) -> Iterator[tuple[Dataset, Dataset]]:
        """Return an iterator over k pairs (train, test).

        Every record is in the test part of exactly one fold; the sizes of the test
        parts differ by one at most.

        Parameters
        ----------
        k : int in [2, N]
        shuffle : bool
            Draw the folds at random; otherwise they are runs of consecutive records.
            In each part records keep the order they have here.
        random_state : int >= 0, Generator, RandomState or None
            Only with `shuffle`.

        Raises
        ------
        SettingError
            `k` is out of range, or a seed is given without `shuffle`.
        """
        parts = even_rows("Dataset.k_fold", "k", len(self), k, least=2)
        if random_state is not None and not shuffle:
            raise SettingError(
                "Dataset.k_fold: random_state is of use only with shuffle=True, got "
                f"{random_state!r}."
            )
        order = np.arange(len(self))
        if shuffle:
            order = generator("Dataset.k_fold", random_state).permutation(order)
        pairs = fold_rows(len(self), parts, order)
        return ((self.take(train), self.take(test)) for train, test in pairs)


def _as_column(name: str, given: Any) -> Any:
    who = f"Dataset: {name}"
    if isinstance(given, RaggedColumn):
        return given
    if sparse.issparse(given):
        return as_csr(who, given)
    array = as_array(who, given)
    if array.dtype.kind not in "fiub":
        raise DTypeError(
            f"{who} must be numbers, got dtype {array.dtype}. Text labels become "
            "numbers with `np.unique(labels, return_inverse=True)`."
        )
    if array.ndim == 0 or 0 in array.shape[1:]:
        raise ShapeError(
            f"{who} must have the shape (N, ...) with no axis of length zero after "
            f"the first, got {array.shape}."
        )
    return array


def _count(column: Any) -> int:
    return len(column) if isinstance(column, RaggedColumn) else int(column.shape[0])


def _form(column: Any) -> str:
    if isinstance(column, RaggedColumn):
        return f"{len(column)} lists"
    return f"{column.dtype} {column.shape}"
