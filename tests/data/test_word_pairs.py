"""Pairs of words for skip-gram: all of them, and how often when they are drawn."""

import numpy as np
import pytest

from wyrm_py.data.word_pairs import word_pairs


def corpus(sentences):
    """Return words and offsets of lists of codes."""
    offsets = np.cumsum([0, *map(len, sentences)]).astype(np.int64)
    return np.concatenate([np.asarray(s, np.int32) for s in sentences]), offsets


def listed(chunks):
    """Return all pairs of some chunks."""
    return [
        pair
        for chunk in chunks
        for pair in zip(chunk.centers.tolist(), chunk.contexts.tolist(), strict=True)
    ]


def by_hand(sentences, window):
    """Return all pairs, by the definition."""
    return [
        (center, context)
        for sentence in sentences
        for i, center in enumerate(sentence)
        for j, context in enumerate(sentence)
        if i != j and abs(i - j) <= window
    ]


def near(share, wanted, trials):
    """Tell whether a share is within five standard deviations of a probability."""
    return abs(share - wanted) <= 5 * np.sqrt(wanted * (1 - wanted) / trials)


@pytest.fixture
def sentences():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 9, rng.integers(0, 12)).tolist() for _ in range(40)]


@pytest.mark.parametrize("window", [1, 3, 20])
@pytest.mark.parametrize("chunk", [1, 50, 1 << 18])
def test_all_pairs_in_their_order_whatever_the_chunks(sentences, window, chunk):
    words, offsets = corpus(sentences)
    settings = dict(shrink=False, chunk=chunk)
    chunks = list(word_pairs(words, offsets, window, shuffle=False, **settings))
    assert listed(chunks) == by_hand(sentences, window)
    mixed = list(word_pairs(words, offsets, window, **settings))
    for one, other in zip(chunks, mixed, strict=True):
        assert sorted(listed([one])) == sorted(listed([other]))
        assert len(one.centers) < 50 or listed([one]) != listed([other])
    assert chunks[-1].sentences == len(sentences)
    assert (np.diff([c.sentences for c in chunks]) > 0).all()
    longest = max(map(len, sentences))
    assert max(len(c.centers) for c in chunks) <= max(chunk, 2 * window * longest)


@pytest.mark.parametrize("window", [12, 10**9, 2**70])
def test_windows_may_be_wider_than_sentences(sentences, window):
    pairs = listed(word_pairs(*corpus(sentences), window, shrink=False, shuffle=False))
    assert pairs == by_hand(sentences, 12)
    drawn = listed(word_pairs(*corpus(sentences), window, shrink=True))
    assert len(drawn) == len(pairs) or window == 12


def test_a_shuffled_chunk_has_no_order():
    words, offsets = corpus([range(10_000)])
    (chunk,) = word_pairs(words, offsets, 2, shrink=False)
    places = chunk.centers.astype(float)
    assert abs(np.corrcoef(places, np.arange(len(places)))[0, 1]) < 0.03
    assert abs(np.corrcoef(places[1:], places[:-1])[0, 1]) < 0.03


def test_nearer_words_are_paired_more_often():
    window, times = 4, 4000
    words, offsets = corpus([range(9)] * times)
    pairs = np.array(listed(word_pairs(words, offsets, window, seed=3)))
    distances = pairs[pairs[:, 0] == 4, 1] - 4  # the word in the middle
    for distance in range(1, window + 1):
        wanted = (window - distance + 1) / window
        for side in (-distance, distance):
            assert near((distances == side).sum() / times, wanted, times)
    assert abs(distances).max() == window


def test_words_are_kept_as_often_as_asked():
    kept, times = np.array([0.9, 0.3, 0.0, 1.0]), 20_000
    words, offsets = corpus([[0, 1]] * times + [[3, 0]] * times + [[3, 2]] * times)
    pairs = listed(word_pairs(words, offsets, 1, kept, shrink=False))
    assert len(pairs) % 2 == 0
    assert near(pairs.count((0, 1)) / times, 0.9 * 0.3, times)
    assert near(pairs.count((3, 0)) / times, 0.9, times)
    assert pairs.count((3, 2)) == 0


def test_windows_span_the_words_that_are_kept():
    words, offsets = corpus([[0, 1, 1, 2]])
    kept = np.array([1.0, 0.0, 1.0])
    pairs = listed(word_pairs(words, offsets, 1, kept, shrink=False))
    assert sorted(pairs) == [(0, 2), (2, 0)]


def test_draws_depend_on_seed_and_epoch_not_on_chunks(sentences):
    words, offsets = corpus(sentences)
    kept = np.full(9, 0.7)

    def drawn(**settings):
        return sorted(listed(word_pairs(words, offsets, 4, kept, **settings)))

    first = drawn(seed=1, epoch=0)
    assert drawn(seed=1, epoch=0, chunk=3) == first
    assert drawn(seed=1, epoch=1) != first
    assert drawn(seed=2, epoch=0) != first
    assert not set(first) - set(by_hand(sentences, 12))
