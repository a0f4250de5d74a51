"""One network of every kind of layer, trained in every way `fit` knows."""

import numpy as np
import pytest
from waiting import together

import wyrm_py as wp
from wyrm_py import nn

WORDS, LENGTH, EXAMPLES, BATCH = 20, 6, 200, 16


class Reader(nn.Layer):
    """Looks words up, convolves them, reads both ways, drops, and decides."""

    def __init__(self, random_state=0):
        rng = np.random.default_rng(random_state)
        self.embedding = nn.Embedding(WORDS, 5, random_state=rng)
        self.convolution = nn.Conv1d(
            5, 6, 3, padding=1, activation="relu", channels_last=True, random_state=rng
        )
        self.onwards = nn.LSTM(6, 4, random_state=rng)
        self.back = nn.GRU(6, 4, random_state=rng)
        self.dropout = nn.Dropout(0.1)
        self.out = nn.Dense(8, 2, random_state=rng)

    def forward(self, words):
        x = self.convolution(self.embedding(words))
        _, (h, _) = self.onwards(x)
        _, g = self.back(x, reverse=True)
        return self.out(self.dropout(h.concatenate(g, axis=-1)))


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    words = rng.integers(0, WORDS, (EXAMPLES, LENGTH))
    return words, (words < 4).any(axis=1).astype(int)


def built():
    """Return (logits, loss, words, labels) over a new network."""
    words = wp.IndexInputNode(np.zeros((2, LENGTH), int))
    labels = wp.IndexInputNode(np.zeros(2, int))
    logits = Reader()(words)
    return logits, nn.losses.cross_entropy(logits, labels), words, labels


@pytest.mark.parametrize(
    ("n_jobs", "backend", "mode"),
    [
        (1, "processes", "hogwild"),
        (2, "threads", "hogwild"),
        (2, "processes", "hogwild"),
        (2, "processes", "synchronous"),
    ],
)
def test_every_way_of_training_learns(data, n_jobs, backend, mode):
    logits, loss, words, labels = built()
    history = wp.fit(
        loss,
        wp.Adam(0.02),
        {words: data[0], labels: data[1]},
        epochs=12,
        n_jobs=n_jobs,
        backend=backend,
        mode=mode,
        batch_size=BATCH,
        callbacks=[together],
        random_state=1,
        progress=False,
    )
    assert history.losses[-1] < 0.5 * history.losses[0]
    values = wp.evaluate(logits, {words: data[0]}, batch_size=64)  # another batch
    assert wp.evaluation.accuracy(values, data[1]) > 0.9


@pytest.mark.parametrize("mode", ["hogwild", "synchronous"])
def test_both_engines_train_alike(data, mode):
    """With the same draws and the same order; the last batch is a short one."""
    values = []
    for engine in ("native", "numpy"):
        _, loss, words, labels = built()
        wp.fit(
            loss,
            wp.SGD(0.05),
            {words: data[0][:40], labels: data[1][:40]},
            n_jobs=1 if mode == "hogwild" else 2,
            mode=mode,
            engine=engine,
            batch_size=BATCH,
            random_state=1,
            progress=False,
        )
        values.append([node.value.copy() for node in loss.parameters()])
    for one, other in zip(*values, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
