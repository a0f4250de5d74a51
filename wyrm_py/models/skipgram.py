"""Word vectors by skip-gram with negative sampling.

The model is the graph of `skip_gram_loss`: copy it and change it. Pairs of words are
made natively while it trains (data/word_pairs.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from wyrm_py.data.corpus import Corpus, Sentences
from wyrm_py.data.ids import IdMap
from wyrm_py.data.rows import whole
from wyrm_py.data.word_pairs import Pairs
from wyrm_py.errors import DataError, SettingError
from wyrm_py.leaves import IndexInputNode, ParameterNode
from wyrm_py.models.base import Estimator
from wyrm_py.models.word_answers import WordAnswers
from wyrm_py.nodes import Node
from wyrm_py.optim import SGD, Optimizer
from wyrm_py.optim.schedules import Linear, Schedule
from wyrm_py.parallel.history import History
from wyrm_py.parallel.learner import Learned, Learner
from wyrm_py.parallel.pools import resolve_jobs
from wyrm_py.samplers import sample_popular
from wyrm_py.seeds import RandomState, seed_of

Floats = NDArray[np.float32]
FIRST_RATE = 0.025
LEAST_RATE = 1e-30  # where a schedule says zero: it changes no vector
LAST_RATE = 1 / 250
"""What an evenly falling learning rate ends at, times the first: word2vec's."""

SUBSAMPLE = 1e-3
"""Share of all words above which a word is thinned out, as in word2vec."""


def skip_gram_loss(
    vectors: ParameterNode,
    context_vectors: ParameterNode,
    center: Node,
    context: Node,
    weights: NDArray[np.float64],
    negatives: int,
) -> Node:
    """Return -ln sigmoid(u . v) - sum over negatives n of ln sigmoid(-u . n).

    Parameters
    ----------
    vectors, context_vectors : parameter nodes, shape (V, D)
        Of u, the center, and of v and n.
    center, context : index nodes, shape (1,)
    weights : (V,), to which negatives are drawn in proportion
    negatives : int >= 1

    Returns
    -------
    node, shape (1, 1)

    Source: Mikolov, Sutskever, Chen, Corrado, Dean, "Distributed representations of
    words and phrases and their compositionality", NIPS 2013, equation 4.
    """
    u = vectors.index(center)
    loss = -u.vector_dot(context_vectors.index(context)).sigmoid().ln()
    drawn = sample_popular(context, weights, draws=negatives)
    for k in range(negatives):
        against = u.vector_dot(context_vectors.index(drawn[:, k]))
        loss = loss - (-against).sigmoid().ln()
    return loss


class Before(NamedTuple):
    """What was learned of the first words of a vocabulary."""

    vectors: Floats
    context_vectors: Floats
    counts: NDArray[np.int64]


@dataclass(eq=False, repr=False)
class SkipGram(WordAnswers, Estimator):
    """Vectors of words from the company they keep.

    Parameters
    ----------
    width : int >= 1
        Length of a vector, D.
    window : int >= 1
        Words to each side that are paired with a word.
    negatives : int >= 1
        Words drawn against each pair.
    min_count : int >= 1
        Words that occur less often are left out.
    subsample : float >= 0, or None
        Share of all words above which a word is dropped at some of its places (see
        `wp.data.keep_probabilities`); 0 drops none. None is 0.001, or the share of an
        average word if that is more: a toy corpus would lose nearly all its words.
    power : float
        Negatives are drawn in proportion to counts ** power.
    shrink_windows : bool
        Draw the window of each word evenly from 1 to `window`, anew each epoch.
    optimizer : "sgd", "adagrad", ..., or an Optimizer
    learning_rate : float > 0, a schedule of `wp.schedules` by epochs, or None
        The rate of "sgd", by default 0.025, falls evenly, to a 250th at the end.
    l2 : float >= 0, or None
        Penalty on the rows of each pair.
    epochs : int >= 0
    n_jobs : int
        Worker threads; -1 is one a core. With one worker a seed gives one result.
    random_state : int >= 0, Generator, RandomState or None

    Attributes
    ----------
    vectors_, context_vectors_ : float32 arrays, shape (V, D)
        Of words as centers, which is what is used, and as neighbours.
    words_ : array, shape (V,)
        Most frequent first.
    counts_ : int64 array, shape (V,)
        How often each occurred.
    vocabulary_ : IdMap
        From words to rows.
    history_ : History
        Mean loss of a pair in each epoch; samples are pairs. `seconds` include making
        pairs and, at first, compiling the step.

    Notes
    -----
    Each pair is one step, so a word is one example for each of its neighbours.

    Source: Mikolov et al. (2013), see `skip_gram_loss`, with the windows, the
    subsampling and the learning rate of their program, word2vec.c.
    """

    _kind: ClassVar[str] = "skip-gram"

    width: int = 100
    window: int = 5
    negatives: int = 5
    min_count: int = 5
    subsample: float | None = None
    power: float = 0.75
    shrink_windows: bool = True
    optimizer: str | Optimizer = "sgd"
    learning_rate: float | Schedule | None = None
    l2: float | None = None
    epochs: int = 5
    n_jobs: int = 1
    random_state: RandomState = None

    def fit(
        self,
        sentences: Sentences,
        y: None = None,
        callbacks: Sequence[Callable[[History], object]] = (),
    ) -> Self:
        """Learn words and their vectors.

        Parameters
        ----------
        sentences : iterable of sentences, or path
            Lists of words, or strings that are split at blanks; read once, so that a
            generator will do. A path names a text file with a sentence on each line,
            which may be gzipped.
        y : ignored
        callbacks : each is called with the History after each epoch; one that returns
            True ends the training

        Raises
        ------
        SettingError
            A setting is impossible.
        DataError
            There is nothing to learn from: no words, none often enough, or none
            beside another.
        DivergenceError
            The learning rate is too high.
        """
        self._require_settings()
        optimizer = self._make_optimizer(SGD(FIRST_RATE))
        first = optimizer.learning_rate
        if self.optimizer == "sgd" and not isinstance(first, Schedule):
            epochs = max(self.epochs, 1)
            optimizer.learning_rate = Linear(first, epochs, end=first * LAST_RATE)
        corpus = Corpus.read(sentences, self.min_count)
        self._learn(corpus, _nothing(self.width), optimizer, self.epochs, callbacks)
        return self

    def partial_fit(self, sentences: Sentences, y: None = None) -> Self:
        """Go on with more sentences, in one pass at a learning rate that stays.

        New words that occur `min_count` times in these sentences get vectors, too.
        Without an earlier `fit` this is the first. The state of an optimizer, such as
        Adagrad's, starts anew in each call.

        Parameters and errors as of `fit`.
        """
        known, before = None, _nothing(self.width)
        if self.__sklearn_is_fitted__():
            known = self.vocabulary_
            before = Before(self.vectors_, self.context_vectors_, self.counts_)
        self._require_settings()
        if before.vectors.shape[1] != self.width:
            raise SettingError(
                f"partial_fit: the vectors are of width {before.vectors.shape[1]}, the "
                f"setting says {self.width}. Call `fit` to begin anew."
            )
        optimizer = self._make_optimizer(SGD(FIRST_RATE))
        corpus = Corpus.read(sentences, self.min_count, known)
        self._learn(corpus, before, optimizer, 1, ())
        return self

    def _learn(
        self,
        corpus: Corpus,
        before: Before,
        optimizer: Optimizer,
        epochs: int,
        callbacks: Sequence[Callable[[History], object]],
    ) -> None:
        """Train from earlier vectors of the first words on; set what is fitted."""
        if np.diff(corpus.offsets).max() < 2:
            raise DataError(
                "SkipGram: sentences of two words or more are required, got none with "
                f"two of the {len(corpus.counts)} words that occur {self.min_count} "
                "times. Give a list of sentences, not one sentence; or lower min_count."
            )
        # the words so far are in it: each call draws anew
        drawn_from = [seed_of("SkipGram", self.random_state), int(before.counts.sum())]
        rng = np.random.default_rng(drawn_from)
        shape = len(corpus.counts) - len(before.counts), self.width
        fresh = (2 * rng.random(shape, np.float32) - 1) / self.width
        inner = ParameterNode(np.concatenate([before.vectors, fresh]), name="vectors")
        zeros = np.zeros(shape, np.float32)
        contexts = np.concatenate([before.context_vectors, zeros])
        outer = ParameterNode(contexts, name="context vectors")
        counts = corpus.counts + np.pad(before.counts, (0, shape[0]))
        center, context = IndexInputNode([0]), IndexInputNode([0])
        weights = np.power(counts, float(self.power))
        loss = skip_gram_loss(inner, outer, center, context, weights, self.negatives)
        seed = int(rng.integers(1 << 63))
        learner = Learner(loss, optimizer, n_jobs=self.n_jobs, random_state=seed)
        history = History(workers=resolve_jobs(self.n_jobs), seed=seed)
        share = self.subsample
        if share is None:
            share = max(SUBSAMPLE, 1 / len(corpus.counts))
        for epoch in range(epochs):
            pairs = corpus.pairs(self.window, share, self.shrink_windows, seed, epoch)
            _run_epoch(learner, pairs, (center, context), len(corpus), history)
            if any([callback(history) is True for callback in callbacks]):
                break
        self._keep(corpus.vocabulary, counts, inner.value, outer.value)
        self.history_ = history

    def _keep(
        self,
        vocabulary: IdMap,
        counts: NDArray[np.int64],
        vectors: Floats,
        context_vectors: Floats,
    ) -> None:
        """Set what is fitted, the most frequent word first."""
        order = np.argsort(-counts, kind="stable")
        if (np.diff(order) < 0).any():
            vocabulary = IdMap(vocabulary.take(order), kind="word")
        self.vocabulary_, self.counts_ = vocabulary, counts[order]
        self.vectors_, self.context_vectors_ = vectors[order], context_vectors[order]

    # -- settings and files ---------------------------------------------------------

    def _require_settings(self) -> None:
        for name in ("width", "window", "negatives", "min_count"):
            whole("SkipGram", name, getattr(self, name), least=1)
        whole("SkipGram", "epochs", self.epochs, least=0)
        if not isinstance(self.shrink_windows, bool | np.bool_):
            raise SettingError(
                "SkipGram: shrink_windows must be True or False, got "
                f"{self.shrink_windows!r}."
            )
        for name, low in (("subsample", 0.0), ("power", -np.inf)):
            value = getattr(self, name)
            if value is None and name == "subsample":
                continue
            real = isinstance(value, int | float | np.number)
            if not real or not low <= value < np.inf or value == -np.inf:
                raise SettingError(
                    f"SkipGram: {name} must be a finite number"
                    f"{' of 0 or more' if low == 0 else ''}, got {value!r}."
                )

    def _to_arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "vectors": self.vectors_,
            "context_vectors": self.context_vectors_,
            "counts": self.counts_,
            **self.vocabulary_.to_arrays(),
        }

    def _take(
        self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
    ) -> None:
        self.vocabulary_ = IdMap.from_arrays(arrays, "word")
        self.vectors_ = arrays["vectors"]
        self.context_vectors_ = arrays["context_vectors"]
        self.counts_ = arrays["counts"]
        size = len(self.vocabulary_)
        found = [array.shape for array in (self.vectors_, self.context_vectors_)]
        kinds = [self.vectors_.dtype, self.context_vectors_.dtype, self.counts_.dtype]
        if (
            found != [(size, self.width)] * 2
            or self.counts_.shape != (size,)
            or kinds != [np.float32, np.float32, np.int64]
            or self.counts_.min(initial=0) < 0
        ):
            raise ValueError(f"{found} {kinds} for {size} words")


def _nothing(width: int) -> Before:
    none = np.empty((0, width), np.float32)
    return Before(none, none, np.empty(0, np.int64))


def _run_epoch(
    learner: Learner,
    chunks: Iterable[Pairs],
    nodes: tuple[IndexInputNode, IndexInputNode],
    sentences: int,
    history: History,
) -> None:
    """Learn the pairs of an epoch, and write it down."""
    optimizer, epoch = learner.optimizer, len(history.losses)
    schedule, done, before = optimizer.learning_rate, 0, learner.examples
    learned: list[Learned] = []
    began = time.perf_counter()
    try:
        for chunk in chunks:
            if isinstance(schedule, Schedule):
                rate = schedule(epoch + done / sentences)
                optimizer.learning_rate = max(rate, LEAST_RATE)
            done = chunk.sentences
            if len(chunk.centers):
                columns = dict(zip(nodes, (chunk.centers, chunk.contexts), strict=True))
                learned.append(learner.submit(columns, wait=True))
        total = sum(part.examples * part.loss() for part in learned)
    finally:
        learner.drain()
        optimizer.learning_rate = schedule
    if learner.examples == before:
        raise DataError(
            "SkipGram: subsampling left no pair of words. Lower the share of words "
            "that are dropped by a higher `subsample`, or give more text."
        )
    history.seconds += time.perf_counter() - began
    history.losses.append(total / (learner.examples - before))
    history.samples_per_second = learner.examples / history.seconds
