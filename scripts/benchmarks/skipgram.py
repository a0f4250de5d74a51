"""Skip-gram on the Brown corpus, beside gensim: words a second, and held-out loss.

Both learn the same 95 % of the sentences with the same settings: vocabulary, window,
negatives, subsampling, epochs, and a learning rate that falls evenly from 0.025 to
0.0001. Words are tokens of the text, before rare and frequent ones are dropped. The
loss is that of the model, unscaled, on the pairs of words in the other sentences, with
the same negatives for both.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .measure import Mark, Measurement, Recorder, mark, per_example, summarise
from .verdict import Verdict, cpu_ns, missing

WIDTHS = (32, 100)
EPOCHS = 5
SHOWN = ("monday", "water", "three", "france")

Sentences = list[list[str]]


class Trained(NamedTuple):
    """What a system has learned: rows of u and v by word, and marks by epoch."""

    words: list[str]
    vectors: NDArray[np.float32]
    context_vectors: NDArray[np.float32]
    marks: list[Mark]


def measure(recorder: Recorder, data: Path, quick: bool) -> None:
    """Record speed, held-out loss and some neighbours of both systems."""
    import wyrm_py as wp

    text = wp.data.read_text(data / "brown" / "brown.tokens.txt.gz")
    sentences = [line.split() for line in text.lower().splitlines()]
    if quick:
        sentences = sentences[:5000]
    out = np.random.default_rng(0).random(len(sentences)) < 0.05
    parts = {
        kind: [s for s, is_out in zip(sentences, out, strict=True) if is_out == kind]
        for kind in (False, True)
    }
    n_words = sum(map(len, parts[False]))
    judge = Judge(parts[False], parts[True])
    for width in WIDTHS:
        for system, train in SYSTEMS.items():
            train(parts[False][:2000], width, 1)  # compiles
            trained = train(parts[False], width, EPOCHS)
            config = {"optimizer": "sgd", "width": width, "workers": 1}
            record = Measurement(f"skipgram-{width}", system, config)
            record.timed(summarise(per_example(trained.marks, n_words)))
            record.extra["held_out_loss"] = round(judge.loss(trained), 4)
            for word in SHOWN:
                record.extra[word] = nearest(trained, word)
            recorder.add(record)


def wyrm(sentences: Sentences, width: int, epochs: int) -> Trained:
    """Train `SkipGram` with its defaults."""
    from wyrm_py.models import SkipGram

    model = SkipGram(width=width, epochs=epochs, random_state=1)
    # what comes before the first mark, such as numbering the words, is not counted
    marks: list[Mark] = []
    model.fit(sentences, callbacks=[lambda _: marks.append(mark())])
    return Trained(list(model.words_), model.vectors_, model.context_vectors_, marks)


def gensim(sentences: Sentences, width: int, epochs: int) -> Trained:
    """Train gensim's Word2Vec with the same settings, by one worker."""
    from gensim.models import Word2Vec
    from gensim.models.callbacks import CallbackAny2Vec

    marks: list[Mark] = []

    class Marks(CallbackAny2Vec):  # type: ignore[misc]
        def on_epoch_end(self, _model: Any) -> None:
            marks.append(mark())

    model = Word2Vec(
        sentences,
        vector_size=width,
        epochs=epochs,
        window=5,
        sg=1,
        negative=5,
        min_count=5,
        sample=1e-3,
        workers=1,
        seed=1,
        callbacks=[Marks()],
    )
    return Trained(model.wv.index_to_key, model.wv.vectors, model.syn1neg, marks)


SYSTEMS: dict[str, Callable[[Sentences, int, int], Trained]] = {
    "wyrm_py": wyrm,
    "gensim": gensim,
}


class Judge:
    """The pairs of the held-out sentences, and negatives for them."""

    def __init__(self, training: Sentences, test: Sentences) -> None:
        from wyrm_py.data import Corpus

        known = Corpus.read(training, 5)
        self.words = list(known.vocabulary.ids)
        wanted = set(self.words)
        held = Corpus.read(
            [[word for word in s if word in wanted] for s in test], 1, known.vocabulary
        )
        held.counts = known.counts  # what subsampling goes by
        chunks = list(held.pairs(5, 1e-3))
        self.centers = np.concatenate([chunk.centers for chunk in chunks])
        self.contexts = np.concatenate([chunk.contexts for chunk in chunks])
        weights = known.counts**0.75
        size, share = (len(self.centers), 5), weights / weights.sum()
        self.negatives = np.random.default_rng(0).choice(len(share), size, p=share)

    def loss(self, trained: Trained) -> float:
        """Return the mean loss of a pair with its negatives."""
        row = {word: k for k, word in enumerate(trained.words)}
        order = np.array([row[word] for word in self.words])
        u, v = trained.vectors[order], trained.context_vectors[order]
        total = 0.0
        for begin in range(0, len(self.centers), 10_000):
            part = slice(begin, begin + 10_000)
            center = u[self.centers[part]]
            yes = np.einsum("nd,nd->n", center, v[self.contexts[part]])
            no = np.einsum("nd,nkd->nk", center, v[self.negatives[part]])
            total += np.logaddexp(0, -yes).sum() + np.logaddexp(0, no).sum()
        return float(total) / len(self.centers)


def nearest(trained: Trained, word: str) -> str:
    """Return the four words nearest to one by cosine."""
    if word not in trained.words:
        return ""
    lengths = np.linalg.norm(trained.vectors, axis=1)
    unit = trained.vectors / np.maximum(lengths, 1e-12)[:, None]
    order = np.argsort(-unit @ unit[trained.words.index(word)])
    return " ".join(trained.words[k] for k in order[1:5])


def verdicts(recorder: Recorder) -> list[Verdict]:
    """Compare both at both widths."""
    found = []
    for width in WIDTHS:
        what = f"skip-gram on Brown, width {width}: words/s against gensim, one worker"
        target = ">= 1.3x at no higher held-out loss"
        ours, theirs = (
            recorder.find(f"skipgram-{width}", system) for system in SYSTEMS
        )
        if ours is None or theirs is None:
            found.append(missing(what, target))
            continue
        ratio = cpu_ns(theirs) / cpu_ns(ours)
        loss, other = (r.extra["held_out_loss"] for r in (ours, theirs))
        measured = (
            f"{ratio:.1f}x ({1e9 / cpu_ns(ours):,.0f} words/s), loss {loss:.3f} "
            f"against {other:.3f}"
        )
        found.append(Verdict(what, target, measured, ratio >= 1.3 and loss <= other))
    return found
