"""Text as numbers: a vocabulary of characters, and windows to train sequences on."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from wyrm_py.data.dataset import Dataset
from wyrm_py.data.rows import whole
from wyrm_py.errors import (
    DataError,
    DTypeError,
    IndexRangeError,
    SettingError,
    ShapeError,
    UnknownIdError,
)
from wyrm_py.values import as_array


class Characters:
    """A vocabulary of V characters: text to numbers and back.

    Parameters
    ----------
    text : str
        Its different characters, in the order of their code points, are numbered from
        0; `Characters(other.symbols, other.unknown)` is the same vocabulary.
    unknown : str of one character, or None
        One more character, which stands for all that are not in the text. None
        refuses them.

    Attributes
    ----------
    symbols : str of V characters
    unknown : str or None

    Raises
    ------
    DataError
        The text is empty.
    SettingError
        `unknown` is not one character.
    """

    def __init__(self, text: str, unknown: str | None = None) -> None:
        if not isinstance(text, str):
            raise DTypeError(
                f"Characters: a string is required, got {type(text).__name__}. Read "
                "files with `wp.data.read_text`."
            )
        if not text:
            raise DataError("Characters: at least one character is required, got none.")
        if unknown is not None and not (isinstance(unknown, str) and len(unknown) == 1):
            raise SettingError(
                f"Characters: unknown must be one character or None, got {unknown!r}."
            )
        self.unknown = unknown
        self.symbols = "".join(sorted({*text, *(unknown or "")}))
        self._codes = _code_points(self.symbols)

    def __len__(self) -> int:
        """Return the number of characters, V."""
        return len(self.symbols)

    def __repr__(self) -> str:
        return f"Characters({self.symbols!r}, unknown={self.unknown!r})"

    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the number of each character, int32 in [0, V), shape (len(text),).

        Raises
        ------
        UnknownIdError
            A character is not in the vocabulary, and `unknown` is None.
        """
        wanted = _code_points(text)
        ids = np.searchsorted(self._codes, wanted).astype(np.int32)
        ids[ids == len(self)] = 0
        known = self._codes[ids] == wanted
        if not known.all():
            if self.unknown is None:
                first = int(np.argmin(known))
                raise UnknownIdError(
                    f"Characters: {text[first]!r}, at position {first}, is not among "
                    f"the {len(self)} characters. Make the vocabulary with `unknown`."
                )
            ids[~known] = self.symbols.index(self.unknown)
        return ids

    def decode(self, ids: ArrayLike) -> str:
        """Return the text of numbers in [0, V), shape (T,).

        Raises
        ------
        IndexRangeError
            A number is not in [0, V).
        """
        array = _ids("Characters.decode", ids)
        if array.size and (array.min() < 0 or array.max() >= len(self)):
            raise IndexRangeError(
                f"Characters.decode: numbers in [0, {len(self)}) are required, found "
                f"{array.min()} to {array.max()}."
            )
        return "".join(self.symbols[k] for k in array)


def windows(
    ids: ArrayLike, length: int, stride: int | None = None, streams: int = 1
) -> Dataset:
    """Cut a sequence into windows of one length, to learn what comes next.

    Parameters
    ----------
    ids : integers, shape (T,)
        Such as `Characters.encode` returns.
    length : int >= 1
        Elements of a window, L.
    stride : int >= 1, or None
        From the start of one window to that of the next; None takes `length`, so that
        windows follow each other without overlap.
    streams : int >= 1
        Read the sequence in so many places at once: it is cut into `streams` equal
        parts, and every `streams` consecutive records hold the same window of each
        part. `batches(streams)` then goes on, row by row, where the batch before
        ended, which a state carried from batch to batch requires.

    Returns
    -------
    Dataset of N windows
        Records, shape (N, L), and labels, shape (N, L): the element after each of the
        records'. Both are views of `ids` if `streams` is 1. What does not fill a
        window at the end of a part is left out.

    Raises
    ------
    DTypeError, ShapeError
        `ids` is not a sequence of integers.
    SettingError
        A number is below one.
    DataError
        The sequence is shorter than `streams * (length + 1)`.
    """
    array = _ids("windows", ids)
    length = whole("windows", "length", length, least=1)
    step = length if stride is None else whole("windows", "stride", stride, least=1)
    streams = whole("windows", "streams", streams, least=1)
    part = len(array) // streams
    if part <= length:
        raise DataError(
            f"windows: at least {streams * (length + 1)} elements are required for "
            f"{streams} windows of {length} and what follows them, got {len(array)}."
        )
    parts = array[: streams * part].reshape(streams, part)
    found = sliding_window_view(parts, length + 1, axis=1)[:, ::step]
    rows = found.swapaxes(0, 1).reshape(-1, length + 1)
    return Dataset(rows[:, :-1], rows[:, 1:])


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype("u4")


def _ids(who: str, given: ArrayLike) -> NDArray[np.integer]:
    array = as_array(who, given)
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int32)  # an empty list is float64 in NumPy
    if array.dtype.kind not in "iu":
        raise DTypeError(f"{who}: integers are required, got dtype {array.dtype}.")
    if array.ndim != 1:
        raise ShapeError(f"{who}: one dimension is required, got shape {array.shape}.")
    return array
