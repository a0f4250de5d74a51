"""Features of users and items: checked matrices, and what each feature came to mean.

With features a user (an item) is the sum of the vectors of its features, and, with
`identity`, of one vector of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from wyrm_py.errors import DataError, DTypeError, ShapeError
from wyrm_py.values import as_array, as_csr

Floats = NDArray[np.float32]


def feature_rows(who: str, name: str, given: Any, rows: int, what: str) -> Any:
    """Return features as float32 CSR, one row each.

    Raises
    ------
    ShapeError
        There is another number of rows.
    DTypeError, DataError, IndexRangeError
        These are no rows of finite numbers.
    """
    matrix = given
    if not scipy.sparse.issparse(given):
        array = np.atleast_2d(as_array(f"{who}: {name}", given))
        if array.dtype.kind not in "fiub" or array.ndim != 2:
            raise DTypeError(
                f"{who}: {name} must be a sparse matrix or a table of numbers, got "
                f"dtype {array.dtype} and shape {array.shape}."
            )
        matrix = scipy.sparse.csr_array(array.astype(np.float32))
    matrix = as_csr(f"{who}: {name}", matrix).astype(np.float32)
    if matrix.shape[0] != rows:
        raise ShapeError(
            f"{who}: {name} must have one row for each of the {rows} {what}, got "
            f"{matrix.shape[0]}."
        )
    if not np.isfinite(matrix.data).all():
        bad = int(np.argmin(np.isfinite(matrix.data)))
        row = int(np.searchsorted(matrix.indptr, bad, side="right")) - 1
        raise DataError(
            f"{who}: finite {name} are required, found {matrix.data[bad]} in row {row}."
        )
    return matrix


def with_identity(features: Any) -> Any:
    """Return features with a column of its own for each row, before the others."""
    own = scipy.sparse.eye_array(features.shape[0], dtype=np.float32)
    return scipy.sparse.hstack([own, features], format="csr")


@dataclass(frozen=True)
class FeatureVectors:
    """What features came to mean in training.

    Attributes
    ----------
    vectors : float32 array, shape (F, D)
    biases : float32 array, shape (F,)
    own_vectors : float32 array, shape (R, D)
        What is added for those who were in the training data; zeros without identity.
    own_biases : float32 array, shape (R,)
    """

    vectors: Floats
    biases: Floats
    own_vectors: Floats
    own_biases: Floats

    @classmethod
    def split(cls, vectors: Floats, biases: Floats, rows: int, identity: bool) -> Self:
        """Return the parts of trained tables, (F, D) or, with identity, (R + F, D)."""
        if identity:
            return cls(vectors[rows:], biases[rows:], vectors[:rows], biases[:rows])
        own = np.zeros((rows, vectors.shape[1]), np.float32), np.zeros(rows, np.float32)
        return cls(vectors, biases, *own)

    def of(
        self, who: str, name: str, features: Any, codes: NDArray[np.int64]
    ) -> tuple[Floats, Floats]:
        """Return vectors (Q, D) and biases (Q,) of Q rows of features.

        Parameters
        ----------
        who, name : str, for messages
        features : sparse matrix or array, shape (Q, F)
        codes : int64 array, shape (Q,); -1 for who was not in the training data
        """
        rows = feature_rows(who, name, features, len(codes), "ids")
        if rows.shape[1] != len(self.vectors):
            raise ShapeError(
                f"{who}: {name} must have the {len(self.vectors)} columns of the "
                f"training data, got {rows.shape[1]}."
            )
        vectors, biases = rows @ self.vectors, rows @ self.biases
        known = codes >= 0
        vectors[known] += self.own_vectors[codes[known]]
        biases[known] += self.own_biases[codes[known]]
        return vectors, biases

    def grown(self, rows: int) -> FeatureVectors:
        """Return the same with zeros for further rows, in all `rows`."""
        more = rows - len(self.own_biases)
        return FeatureVectors(
            self.vectors,
            self.biases,
            np.pad(self.own_vectors, ((0, more), (0, 0))),
            np.pad(self.own_biases, (0, more)),
        )

    def to_arrays(self, prefix: str) -> dict[str, Floats]:
        """Return the arrays for a file."""
        return {f"{prefix}.{name}": array for name, array in vars(self).items()}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Any], prefix: str, rows: int, width: int
    ) -> Self | None:
        """Return what `to_arrays` gave, None if it is not there, or a ValueError."""
        if f"{prefix}.vectors" not in arrays:
            return None
        names = ("vectors", "biases", "own_vectors", "own_biases")
        made = cls(*(arrays[f"{prefix}.{name}"] for name in names))
        count = len(made.vectors)
        wanted = ((count, width), (count,), (rows, width), (rows,))
        found = tuple(array.shape for array in vars(made).values())
        if found != wanted:
            raise ValueError(f"{prefix} of shapes {found}, not {wanted}")
        return made
