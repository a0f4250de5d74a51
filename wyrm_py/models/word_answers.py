"""What fitted word vectors answer: neighbours, analogies, how well words fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wyrm_py.data.id_types import Ids
from wyrm_py.data.ids import IdMap
from wyrm_py.data.rows import whole
from wyrm_py.errors import ShapeError
from wyrm_py.models.ranked import Ranked
from wyrm_py.retrieval import best

Floats = NDArray[np.float32]


class WordAnswers:
    """The answers of an estimator that has learned words: a mixin.

    Attributes
    ----------
    vectors_, context_vectors_ : float32 arrays, shape (V, D)
    vocabulary_ : IdMap of V words
    """

    n_jobs: int
    vectors_: Floats
    context_vectors_: Floats
    vocabulary_: IdMap

    if TYPE_CHECKING:  # the estimator's own

        def _require_fitted(self, who: str) -> None: ...

    @property
    def words_(self) -> NDArray[Any]:
        """All words, most frequent first, shape (V,)."""
        return self.vocabulary_.ids

    def vector(self, words: Any) -> Floats:
        """Return the vector of a word, shape (D,), or of some words, (K, D).

        Raises
        ------
        NotFittedError
            The model was neither fitted nor loaded.
        UnknownIdError
            A word is not in the vocabulary; the message names similar ones.
        """
        self._require_fitted("vector")
        single = np.ndim(words) == 0
        codes = self.vocabulary_.require([words] if single else words, "vector")
        return self.vectors_[codes[0]] if single else self.vectors_[codes]

    def predict(self, words: Ids, others: Ids) -> Floats:
        """Return how much more often pairs stand together than by chance.

        The inner product u . v of a word's and its neighbour's vector, which learns
        ln(P(word, other) / (P(word) P(other))) - ln(negatives) if power is 1.

        Parameters
        ----------
        words, others : lists of N words

        Returns
        -------
        float32 array, shape (N,)

        Raises
        ------
        NotFittedError, UnknownIdError
            As `vector`.
        ShapeError
            There are not as many others as words.

        Source: Levy and Goldberg, "Neural word embedding as implicit matrix
        factorization", NIPS 2014, equation 7.
        """
        self._require_fitted("predict")
        codes = self.vocabulary_.require(words, "predict")
        other_codes = self.vocabulary_.require(others, "predict")
        if len(codes) != len(other_codes):
            raise ShapeError(
                "predict: as many others as words are required, got "
                f"{len(other_codes)} and {len(codes)}."
            )
        pairs = self.vectors_[codes], self.context_vectors_[other_codes]
        scores: Floats = np.einsum("nd,nd->n", *pairs)
        return scores

    def similar(self, words: Any, n: int = 10) -> Ranked:
        """Return the n words whose vectors point most in the same direction.

        Parameters
        ----------
        words : word or list of Q words
        n : int >= 1

        Returns
        -------
        Ranked
            Scores are cosines; the word itself is left out.

        Raises
        ------
        NotFittedError, UnknownIdError
            As `vector`.
        SettingError
            `n` is below one.
        """
        self._require_fitted("similar")
        n = whole("similar", "n", n, least=1)
        single = np.ndim(words) == 0
        codes = self.vocabulary_.require([words] if single else words, "similar")
        found = self._nearest(self.vectors_[codes], codes[:, None], n)
        return Ranked(found.ids[0], found.scores[0]) if single else found

    def analogy(self, positive: Ids, negative: Ids, n: int = 10) -> Ranked:
        """Return the n words nearest to the sum of some vectors less that of others.

        `analogy(["king", "woman"], ["man"])` asks what is to woman as king is to man.
        All vectors are taken at length one, and the words given are left out.

        Parameters, result and errors as of `similar`.

        Source: Mikolov, Yih, Zweig, "Linguistic regularities in continuous space word
        representations", NAACL 2013, section 4.
        """
        self._require_fitted("analogy")
        n = whole("analogy", "n", n, least=1)
        more = self.vocabulary_.require(positive, "analogy")
        less = self.vocabulary_.require(negative, "analogy")
        codes = np.concatenate([more, less])
        signs = np.repeat(np.array([1, -1], np.float32), [len(more), len(less)])
        direction = signs @ _unit(self.vectors_[codes])
        found = self._nearest(direction[None], np.unique(codes)[None], n)
        return Ranked(found.ids[0], found.scores[0])

    def _nearest(
        self, directions: Floats, without: NDArray[np.int64], n: int
    ) -> Ranked:
        """Return the words nearest to directions, (Q, D), by cosine.

        without : codes, shape (Q, K), rising in each row
        """
        starts = np.arange(len(without) + 1) * without.shape[1]
        codes, scores = best(
            *(_unit(directions), self.vectors_, None, n),
            excluded=(starts, without.ravel()),
            scales=_scales(self.vectors_),
            n_jobs=self.n_jobs if len(directions) > 1 else 1,
        )
        return Ranked(self.vocabulary_.take(codes), scores)


def _scales(vectors: Floats) -> Floats:
    """Return one over the length of each vector; 0 for one that has no direction."""
    lengths = np.sqrt(np.einsum("rd,rd->r", vectors, vectors))
    scales = 1 / np.where(lengths > 0, lengths, np.inf)
    return scales.astype(np.float32)


def _unit(vectors: Floats) -> Floats:
    return vectors * _scales(vectors)[:, None]
