"""Text as sentences of numbered words: from lists, iterators and files of any size.

Sentences are read once and kept as int32 codes, in memory or, if they are many, in a
temporary file without a name; what they came from is not needed again.
"""

from __future__ import annotations

import copy
import gzip
import os
import tempfile
import zlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from wyrm_py.data.ids import IdMap
from wyrm_py.data.rows import whole
from wyrm_py.data.word_pairs import Pairs, word_pairs
from wyrm_py.errors import DataError, MissingFileError

LONGEST = 10_000
"""Words of a sentence; longer ones are cut."""
HELD = 1 << 26
"""Words kept in memory (256 MiB); more are kept in a temporary file."""
_BLOCK = 1 << 16  # words numbered at a time
_LINE = 1 << 20  # characters of a line read at a time

Sentences = str | os.PathLike[str] | Iterable[str | Iterable[Any]]


@dataclass
class Corpus:
    """Sentences of words that occur often enough.

    Attributes
    ----------
    vocabulary : IdMap of V words
        `Corpus.read` numbers new ones by falling frequency.
    counts : int64 array, shape (V,)
        How often each word occurs here.
    words : int32 array, shape (T,)
        Codes in [0, V), sentence after sentence.
    offsets : int64 array, shape (S + 1,)
        Sentence k is words[offsets[k]:offsets[k + 1]]; rare words are left out of it.
    n_read : int
        Words that were read, with rare ones.
    """

    vocabulary: IdMap
    counts: NDArray[np.int64]
    words: NDArray[np.int32]
    offsets: NDArray[np.int64]
    n_read: int

    @classmethod
    def read(
        cls,
        sentences: Sentences,
        min_count: int = 1,
        vocabulary: IdMap | None = None,
    ) -> Self:
        """Read sentences, once.

        Parameters
        ----------
        sentences : iterable of sentences, or path
            Sentences are lists of words, or strings that are split at blanks. Words
            are strings, or ids of any other type that `IdMap` takes. A path names a
            text file in UTF-8 with a sentence on each line; it may be gzipped.
        min_count : int >= 1
            Words that occur less often are left out.
        vocabulary : IdMap, or None
            Words that are kept in any case, with their codes; it stays as it is.

        Raises
        ------
        DataError
            There are no words, none occurs `min_count` times, or a sentence is no
            list of words; the file is damaged or not in UTF-8.
        MissingFileError
            There is no such file.
        DTypeError
            Words are of several types.
        """
        least = whole("Corpus", "min_count", min_count, least=1)
        known = IdMap(kind="word") if vocabulary is None else vocabulary
        every = copy.deepcopy(known)
        lengths = array("i")
        with _Store() as store:
            for block, ends in _blocks(_sentences(sentences)):
                store.append(every.add(block))
                lengths.extend(ends)
            raw = store.words()
        if not len(raw):
            raise DataError(
                "Corpus: at least one word is required, got none. Give a list of "
                "sentences, each a list of words or a string, or the path of a file."
            )
        counts = _counted(raw, len(every))
        kept = _kept_words(counts, least, len(known))
        if not len(kept):
            raise DataError(
                f"Corpus: no word occurs {least} times, the most frequent one of "
                f"{len(every)} does {counts.max()} times. Lower min_count."
            )
        codes = np.full(len(every), -1, np.int32)
        codes[kept] = np.arange(len(kept))
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        words = _recode(raw, offsets, codes)
        made = copy.deepcopy(known)
        made.add(every.take(kept[len(known) :]))
        return cls(made, counts[kept], words, offsets, len(raw))

    def __len__(self) -> int:
        """Return the number of sentences, S."""
        return len(self.offsets) - 1

    def pairs(
        self,
        window: int,
        subsample: float = 0.0,
        shrink: bool = True,
        seed: int = 0,
        epoch: int = 0,
    ) -> Iterator[Pairs]:
        """Yield chunks of all pairs of words at most a window apart.

        Parameters
        ----------
        window : int >= 1
            Words to each side.
        subsample : float >= 0
            Share of all words above which a word is dropped at some of its places,
            by `keep_probabilities`; 0 keeps all.
        shrink : bool
            Draw the window of each word evenly from 1 to `window`.
        seed, epoch : int >= 0
            What is drawn depends on both.
        """
        kept = keep_probabilities(self.counts, subsample) if subsample else None
        drawn = (kept, shrink, seed, epoch)
        return word_pairs(self.words, self.offsets, window, *drawn)


def keep_probabilities(
    counts: NDArray[np.int64], subsample: float
) -> NDArray[np.float64]:
    """Return the probability that a word is kept at one of its places, shape (V,).

    With f the share of a word among all, min(1, sqrt(s / f) + s / f): the more
    frequent a word is, the less each place tells.

    Parameters
    ----------
    counts : integers, shape (V,)
    subsample : float > 0, the share s

    Source: word2vec.c of Mikolov et al. (2013), which gensim follows; the paper
    (section 2.3, equation 5) has sqrt(s / f) alone.
    """
    ratio = subsample * counts.sum() / np.maximum(counts, 1)
    kept: NDArray[np.float64] = np.minimum(1.0, np.sqrt(ratio) + ratio)
    return kept


# -- where sentences come from ------------------------------------------------------


def _sentences(given: Sentences) -> Iterator[list[Any]]:
    if isinstance(given, str | os.PathLike):
        yield from _lines(Path(given))
        return
    if not isinstance(given, Iterable):
        raise DataError(
            "Corpus: an iterable of sentences or a path is required, got "
            f"{type(given).__name__}."
        )
    for number, sentence in enumerate(given):
        if isinstance(sentence, str):
            yield sentence.split()
        elif isinstance(sentence, Iterable) and not isinstance(sentence, bytes):
            yield list(sentence)
        else:
            raise DataError(
                "Corpus: a sentence is a list of words or a string, got "
                f"{type(sentence).__name__} as sentence {number}."
            )


def _lines(path: Path) -> Iterator[list[str]]:
    """Yield the words of each line; very long lines come in pieces."""
    if not path.is_file():
        raise MissingFileError(
            f"{path}: there is no such file. Check the path; text itself goes into a "
            "list: `[text]`."
        )
    try:
        with path.open("rb") as probe:
            packed = probe.read(2) == b"\x1f\x8b"
        with (gzip.open if packed else open)(path, "rt", encoding="utf-8") as file:
            rest = ""
            while piece := file.readline(_LINE):
                words, rest = (rest + piece).split(), ""
                if len(piece) == _LINE and not piece[-1].isspace():
                    rest = words.pop()  # its end may be in the next piece
                yield words
            if rest:
                yield [rest]
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: text in UTF-8 is required, found byte "
            f"0x{error.object[error.start]:02x}. Convert the file."
        ) from error
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} is damaged or cannot be read ({error}).") from error


def _blocks(
    sentences: Iterable[list[Any]],
) -> Iterator[tuple[list[Any], list[int]]]:
    """Yield words of many sentences together, and the length of each sentence."""
    words: list[Any] = []
    lengths: list[int] = []
    for sentence in sentences:
        words += sentence
        full, left = divmod(len(sentence), LONGEST)
        lengths += [LONGEST] * full + [left] * (left > 0)
        if len(words) >= _BLOCK:
            yield words, lengths
            words, lengths = [], []
    if words:
        yield words, lengths


class _Store:
    """Codes of words, appended: in memory, in a file once they are many."""

    def __init__(self) -> None:
        self._parts: list[NDArray[np.int32]] = []
        self._file: Any = None
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, codes: NDArray[np.int64]) -> None:
        self._parts.append(codes.astype(np.int32))
        self._count += len(codes)
        if self._count > HELD:
            self._file = self._file or tempfile.TemporaryFile()
            self._file.writelines(part.data for part in self._parts)
            self._parts = []

    def words(self) -> NDArray[np.int32]:
        """Return all codes; they can be written to, and outlive the store."""
        if self._file is None:
            return np.concatenate([np.empty(0, np.int32), *self._parts])
        self._file.flush()
        return np.memmap(self._file, np.int32, "r+")


# -- codes of frequent words --------------------------------------------------------


def _counted(words: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    counts = np.zeros(size, np.int64)
    for begin in range(0, len(words), _BLOCK):
        counts += np.bincount(words[begin : begin + _BLOCK], minlength=size)
    return counts


def _kept_words(counts: NDArray[np.int64], least: int, known: int) -> NDArray[np.int64]:
    """Return the codes that stay: known ones, then frequent ones, frequent first."""
    new = known + np.flatnonzero(counts[known:] >= least)
    new = new[np.argsort(-counts[new], kind="stable")]
    return np.concatenate([np.arange(known), new])


def _recode(
    words: NDArray[np.int32], offsets: NDArray[np.int64], codes: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Give words their new codes and drop those of -1, in place; offsets follow."""
    written = 0
    ends = offsets[1:].copy()
    for begin in range(0, len(words), _BLOCK):
        new = codes[words[begin : begin + _BLOCK]]
        there = new >= 0
        done = written + np.cumsum(there)
        first, last = np.searchsorted(ends, [begin, begin + len(new)], side="right")
        offsets[1 + first : 1 + last] = done[ends[first:last] - begin - 1]
        words[written : done[-1]] = new[there]
        written = int(done[-1])
    return words[:written]
