"""Text as numbered words: from lists, iterators and files, in memory and outside."""

import gzip
from collections import Counter

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py.data import Corpus, corpus, keep_probabilities
from wyrm_py.data.ids import IdMap
from wyrm_py.errors import DataError, DTypeError, MissingFileError, SettingError

TEXT = """the cat sat on the mat
a dog sat by the door

the dog and the cat met
ünder"""
SENTENCES = [line.split() for line in TEXT.splitlines()]


def decoded(found):
    """Return the sentences of a corpus as words."""
    words = found.vocabulary.ids[found.words]
    spans = zip(found.offsets[:-1], found.offsets[1:], strict=True)
    return [words[begin:end].tolist() for begin, end in spans]


@pytest.fixture
def path(tmp_path):
    where = tmp_path / "text.txt"
    where.write_text(TEXT, encoding="utf-8")
    return where


def test_words_are_numbered_by_frequency_and_rare_ones_left_out():
    found = Corpus.read(SENTENCES, min_count=2)
    counts = Counter(word for sentence in SENTENCES for word in sentence)
    frequent = {word: n for word, n in counts.items() if n >= 2}
    assert dict(zip(found.vocabulary.ids, found.counts, strict=True)) == frequent
    assert (np.diff(found.counts) <= 0).all()
    kept = [[word for word in s if word in frequent] for s in SENTENCES if s]
    assert decoded(found) == kept
    assert found.words.dtype == np.int32
    assert (len(found), found.n_read) == (4, counts.total())


@pytest.mark.parametrize("kind", ["strings", "tuples", "generator", "path", "gzip"])
def test_every_source_gives_the_same(kind, path):
    if kind == "gzip":
        packed = path.with_suffix(".gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
    given = {
        "strings": lambda: TEXT.splitlines(),
        "tuples": lambda: [tuple(s) for s in SENTENCES],
        "generator": lambda: (word for word in [iter(s) for s in SENTENCES]),
        "path": lambda: str(path),
        "gzip": lambda: packed,
    }[kind]()
    found, wanted = Corpus.read(given), Corpus.read(SENTENCES)
    assert decoded(found) == decoded(wanted) == [s for s in SENTENCES if s]
    np.testing.assert_array_equal(found.counts, wanted.counts)


def test_words_may_be_other_ids():
    found = Corpus.read([np.array([7, 5, 7]), [5, 7]])
    assert found.vocabulary.ids.tolist() == [7, 5]
    assert found.words.tolist() == [0, 1, 0, 1, 0]


def test_many_words_are_kept_in_a_file(monkeypatch):
    rng = np.random.default_rng(0)
    sentences = [rng.integers(0, 50, 30) for _ in range(40)]
    wanted = Corpus.read(sentences, 25)
    monkeypatch.setattr(corpus, "HELD", 100)
    monkeypatch.setattr(corpus, "_BLOCK", 64)
    found = Corpus.read(sentences, 25)
    assert isinstance(found.words, np.memmap)
    assert 0 < len(found.vocabulary) < 50
    for name in ("words", "offsets", "counts"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_long_sentences_are_cut(monkeypatch):
    monkeypatch.setattr(corpus, "LONGEST", 3)
    found = Corpus.read([["a"] * 7, ["a"] * 3])
    assert np.diff(found.offsets).tolist() == [3, 3, 1, 3]


def test_lines_longer_than_the_memory_come_in_pieces(path, monkeypatch):
    monkeypatch.setattr(corpus, "_LINE", 10)
    words = [word for sentence in decoded(Corpus.read(path)) for word in sentence]
    assert words == TEXT.split()


def test_words_of_a_vocabulary_stay_and_keep_their_codes():
    known = IdMap(["mouse", "mat"], kind="word")
    found = Corpus.read(SENTENCES, 3, known)
    assert found.vocabulary.ids.tolist() == ["mouse", "mat", "the"]
    assert found.counts.tolist() == [0, 1, 5]
    assert len(known) == 2


def test_probabilities_to_be_kept_follow_the_formula():
    counts = np.array([900, 90, 10])
    found = keep_probabilities(counts, 0.009)
    wanted = [0.1 + 0.01, np.sqrt(0.1) + 0.1, min(1, np.sqrt(0.9) + 0.9)]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_pairs_of_a_corpus_are_subsampled_by_its_counts():
    times = 20_000
    found = Corpus.read([["often", "rare"]] * times + [["often", "often"]] * times)
    pairs = list(found.pairs(1, subsample=0.01, shrink=False, seed=5))
    both = sum((p.centers != p.contexts).sum() for p in pairs) / 2
    often, rare = keep_probabilities(found.counts, 0.01)
    share = often * rare
    assert abs(both / times - share) < 5 * np.sqrt(share * (1 - share) / times)
    assert sum(len(p.centers) for p in found.pairs(1)) == 4 * times


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ([], DataError, "at least one word is required"),
        (["", " "], DataError, "at least one word is required"),
        ([["a"], 3], DataError, "got int as sentence 1"),
        ([b"a b"], DataError, "got bytes as sentence 0"),
        (7, DataError, "an iterable of sentences or a path is required"),
        ("no such file", MissingFileError, "there is no such file"),
        ([["a", 1]], DTypeError, "of one type are required"),
    ],
)
def test_what_is_no_text_is_refused(given, kind, message):
    with pytest.raises(kind, match=message):
        Corpus.read(given)


def test_files_that_are_no_text_are_refused(tmp_path):
    latin, damaged = tmp_path / "latin.txt", tmp_path / "damaged.gz"
    latin.write_bytes("fünf".encode("latin-1"))
    damaged.write_bytes(gzip.compress(TEXT.encode() * 9)[:60])
    with pytest.raises(DataError, match="UTF-8 is required, found byte 0xfc"):
        Corpus.read(latin)
    with pytest.raises(DataError, match="damaged"):
        Corpus.read(damaged)


def test_impossible_settings_are_refused():
    with pytest.raises(DataError, match="no word occurs 9 times"):
        Corpus.read(SENTENCES, 9)
    with pytest.raises(SettingError, match="min_count must be"):
        Corpus.read(SENTENCES, 0)
    assert wp.data.Corpus is Corpus
