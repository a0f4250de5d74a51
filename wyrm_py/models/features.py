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

from wyrm_py.data.ids import IdMap
from wyrm_py.errors import DataError, DTypeError, ShapeError
from wyrm_py.models.feature_names import Described, look_up
from wyrm_py.models.feature_places import Places
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
    with np.errstate(over="ignore"):  # too large for float32 is infinite
        matrix = as_csr(f"{who}: {name}", matrix).astype(np.float32)
        if not matrix.has_canonical_format:
            matrix = matrix.copy()
            matrix.sum_duplicates()
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


def require_columns(who: str, name: str, rows: Any, columns: int) -> None:
    """Raise a ShapeError unless rows have the columns of training."""
    if rows.shape[1] != columns:
        raise ShapeError(
            f"{who}: {name} must have the {columns} columns of the training data, got "
            f"{rows.shape[1]}."
        )


NamedPlaces = tuple[Places, IdMap | None]


def described(
    who: str, side: str, given: Any, ids: NDArray[Any], identity: bool
) -> NamedPlaces:
    """Return where features given to `fit` lie in the table, and their names, if any.

    Raises
    ------
    ShapeError, DTypeError, DataError, IndexRangeError
        They are not one row an id, or not of finite numbers.
    """
    name, names = f"{side}_features", None
    if isinstance(given, Mapping) or callable(given):
        rows = look_up(given, list(ids) if ids.dtype.kind == "M" else ids.tolist())
        names, given = Described.of(f"{who}: {name}", f"{side}_feature", rows)
    matrix = feature_rows(who, name, given, len(ids), f"{side}s")
    return Places.first(matrix, identity), names


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
    places : Places
        Where all of these lie in the tables that were trained.
    names : IdMap of the F features, or None where they are columns of a matrix
    """

    vectors: Floats
    biases: Floats
    own_vectors: Floats
    own_biases: Floats
    places: Places
    names: IdMap | None = None

    @classmethod
    def taken(
        cls, vectors: Floats, biases: Floats, places: Places, names: IdMap | None
    ) -> Self:
        """Return the parts of trained tables, (T, D) and (T,)."""
        return cls(
            vectors=places.of_features(vectors),
            biases=places.of_features(biases),
            own_vectors=places.of_own(vectors),
            own_biases=places.of_own(biases),
            places=places,
            names=names,
        )

    def table(self, part: str) -> Floats:
        """Return the table that "vectors" or "biases" were taken from."""
        return self.places.table(getattr(self, part), getattr(self, f"own_{part}"))

    def matrix(self, who: str, name: str, features: Any, rows: int | None) -> Any:
        """Return features of Q users (items) as float32 CSR, shape (Q, F).

        Parameters
        ----------
        who, name : str, for messages
        features : matrix, shape (Q, F), or of the model's names: the features of each
        rows : int, Q, or None for as many as there are

        Raises
        ------
        ShapeError
            There are others than Q rows.
        DTypeError, DataError
            They are not of finite numbers.
        """
        if self.names is None or is_matrix(features):
            count = np.shape(features)[0] if rows is None else rows
            return feature_rows(who, name, features, count, "ids")
        given = Described.of(who, self.names.kind, features)
        matrix = given.under(self.names, len(self.vectors))
        count = matrix.shape[0] if rows is None else rows
        return feature_rows(who, name, matrix, count, "ids")

    def of(
        self, who: str, name: str, features: Any, codes: NDArray[np.int64]
    ) -> tuple[Floats, Floats]:
        """Return vectors (Q, D) and biases (Q,) of Q rows of features.

        Parameters
        ----------
        who, name : str, for messages
        features : as for `matrix`
        codes : int64 array, shape (Q,); -1 for who was not in the training data
        """
        rows = self.matrix(who, name, features, len(codes))
        require_columns(who, name, rows, len(self.vectors))
        vectors, biases = rows @ self.vectors, rows @ self.biases
        known = codes >= 0
        vectors[known] += self.own_vectors[codes[known]]
        biases[known] += self.own_biases[codes[known]]
        return vectors, biases

    def grown(self, who: str, name: str, features: Any, count: int) -> FeatureVectors:
        """Return the same with `count` further rows of features, without own vectors.

        Raises
        ------
        ShapeError, DTypeError, DataError
            As `of`.
        """
        matrix = self.matrix(who, name, features, count)
        return FeatureVectors(
            self.vectors,
            self.biases,
            np.pad(self.own_vectors, ((0, count), (0, 0))),
            np.pad(self.own_biases, (0, count)),
            self.places.and_rows(matrix, identity=bool((self.places.own >= 0).any())),
            self.names,
        )

    def to_arrays(self, prefix: str) -> dict[str, Any]:
        """Return the arrays for a file."""
        arrays = {f"{prefix}.{name}": getattr(self, name) for name in _PARTS}
        names = {} if self.names is None else self.names.to_arrays()
        return arrays | names | self.places.to_arrays(prefix)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, Any], prefix: str, rows: int, width: int
    ) -> Self | None:
        """Return what `to_arrays` gave, None if it is not there, or a ValueError."""
        if f"{prefix}.vectors" not in arrays:
            return None
        parts = [arrays[f"{prefix}.{name}"] for name in _PARTS]
        count = len(parts[0])
        wanted = [(count, width), (count,), (rows, width), (rows,)]
        found = [array.shape for array in parts]
        if found != wanted:
            raise ValueError(f"{prefix} of shapes {found}, not {wanted}")
        places = Places.from_arrays(arrays, prefix)
        kind, names = prefix.removesuffix("s"), None
        if f"{kind}_ids.slots" in arrays:
            names = IdMap.from_arrays(arrays, kind)
        lengths = len(places.own), len(places.features), len(names or range(count))
        if lengths != (rows, count, count):
            raise ValueError(f"{prefix} in places of lengths {lengths}")
        return cls(**dict(zip(_PARTS, parts, strict=True)), places=places, names=names)


_PARTS = ("vectors", "biases", "own_vectors", "own_biases")


def is_matrix(features: Any) -> bool:
    """Whether features are rows of numbers rather than of names."""
    return scipy.sparse.issparse(features) or isinstance(features, np.ndarray)
