"""SkipGram: its loss, what it finds, how it goes on, and its files."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

import wyrm_py as wp
from wyrm_py.arrayfile import read_arrays, write_arrays
from wyrm_py.data import Corpus
from wyrm_py.data.ids import IdMap
from wyrm_py.errors import (
    CorruptCheckpointError,
    DataError,
    DivergenceError,
    NotFittedError,
    SettingError,
    ShapeError,
    UnknownIdError,
)
from wyrm_py.models import SkipGram
from wyrm_py.models.skipgram import skip_gram_loss

GROUPS, MEMBERS = 4, 6


def planted(n_sentences=400, seed=0, groups=range(GROUPS)):
    """Return sentences that each have the words of one group, and a common one."""
    rng = np.random.default_rng(seed)
    return [
        [f"g{group}w{k}" for k in rng.integers(0, MEMBERS, 7)] + ["common"]
        for group in rng.choice(groups, n_sentences)
    ]


def skip_gram(**settings):
    """Return an estimator for the planted sentences."""
    own = dict(width=8, min_count=1, subsample=0, learning_rate=0.1, random_state=0)
    return SkipGram(**own | settings)


def finds_the_groups(model):
    """Tell whether the words nearest to each are those of its group."""
    words = [word for word in model.words_ if word != "common"]
    found = model.similar(words, MEMBERS - 1).ids
    return all(
        other[:2] == word[:2]
        for word, others in zip(words, found, strict=True)
        for other in others
    )


@pytest.fixture(scope="module")
def fitted():
    return skip_gram(epochs=8).fit(planted())


def test_the_loss_is_that_of_the_paper():
    rng = np.random.default_rng(1)
    u, v = rng.normal(size=(2, 5, 3))
    vectors, contexts = (wp.ParameterNode(table, np.float64) for table in (u, v))
    center, context = wp.IndexInputNode([1]), wp.IndexInputNode([2])
    only_4 = np.array([0.0, 0, 0, 0, 1])
    loss = skip_gram_loss(vectors, contexts, center, context, only_4, 3)
    wanted = np.log1p(np.exp(-u[1] @ v[2])) + 3 * np.log1p(np.exp(u[1] @ v[4]))
    assert loss.value.item() == pytest.approx(wanted, rel=1e-12)
    for table in (vectors, contexts):
        numeric, analytic = wp.finite_difference(table, loss)
        np.testing.assert_allclose(analytic, numeric, rtol=1e-6, atol=1e-8)


def test_words_of_one_company_are_found(fitted):
    assert finds_the_groups(fitted)
    assert fitted.words_[0] == "common"
    assert len(fitted.words_) == GROUPS * MEMBERS + 1
    assert (np.diff(fitted.counts_) <= 0).all()
    assert fitted.vectors_.shape == fitted.context_vectors_.shape == (25, 8)
    assert fitted.vectors_.dtype == np.float32


def test_the_history_has_the_true_loss():
    still = skip_gram(epochs=2, learning_rate=1e-12, negatives=3).fit(planted(50))
    # contexts begin at zero, so that every sigmoid is a half
    assert still.history_.losses == pytest.approx([4 * np.log(2)] * 2, rel=1e-6)
    pairs = sum(
        len(chunk.centers)
        for epoch in range(2)
        for chunk in Corpus.read(planted(50)).pairs(
            5, seed=still.history_.seed, epoch=epoch
        )
    )
    history = still.history_
    assert history.samples_per_second * history.seconds == pytest.approx(pairs)


def test_the_loss_of_sentences_held_out_falls():
    held = Corpus.read(planted(100, seed=9), vocabulary=IdMap(kind="word"))
    words = held.vocabulary.ids
    chunk = next(held.pairs(5, shrink=False))
    rng = np.random.default_rng(0)
    negatives = words[rng.integers(0, len(words), 5 * len(chunk.centers))]
    losses = []
    for epochs in (1, 3, 9):
        model = skip_gram(epochs=epochs).fit(planted())
        yes = model.predict(words[chunk.centers], words[chunk.contexts])
        no = model.predict(np.repeat(words[chunk.centers], 5), negatives)
        losses.append(np.logaddexp(0, -yes).mean() + 5 * np.logaddexp(0, no).mean())
    assert losses[0] - 0.1 > losses[1] > losses[2] + 0.02


def test_one_worker_and_one_seed_give_one_result(fitted):
    again = skip_gram(epochs=8).fit(" ".join(s) for s in planted())
    np.testing.assert_array_equal(again.vectors_, fitted.vectors_)
    np.testing.assert_array_equal(again.context_vectors_, fitted.context_vectors_)
    assert again.history_.losses == fitted.history_.losses
    other = skip_gram(epochs=8, random_state=1).fit(planted())
    assert (other.vectors_ != fitted.vectors_).any()


def test_a_file_is_as_good_as_a_list(fitted, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(" ".join(s) for s in planted()), encoding="utf-8")
    found = skip_gram(epochs=8).fit(path)
    np.testing.assert_array_equal(found.vectors_, fitted.vectors_)


@pytest.mark.parametrize("optimizer", ["adagrad", wp.SGD(0.1)])
def test_two_workers_find_the_same_groups_by_any_rule(optimizer):
    rate = 0.1 if isinstance(optimizer, str) else None
    model = skip_gram(epochs=8, n_jobs=2, optimizer=optimizer, learning_rate=rate)
    assert finds_the_groups(model.fit(planted()))
    assert model.history_.workers == 2


def test_the_learning_rate_follows_a_schedule_by_epochs():
    ends = wp.schedules.Linear(0.1, epochs=1)
    one, three = (
        skip_gram(epochs=n, learning_rate=ends).fit(planted()) for n in (1, 3)
    )
    np.testing.assert_array_equal(one.vectors_, three.vectors_)
    assert len(three.history_.losses) == 3


def test_callbacks_see_the_history_and_end_the_training():
    seen = []
    model = skip_gram(epochs=9)
    model.fit(planted(), callbacks=[lambda h: len(seen.append(h) or h.losses) == 2])
    assert len(seen) == len(model.history_.losses) == 2


def test_partial_fit_goes_on_and_takes_in_new_words():
    model = skip_gram(epochs=8, min_count=2).fit(planted(groups=[0, 1]))
    before, words, counts = model.vectors_, model.words_, model.counts_
    more = planted(700, seed=1, groups=[0, 2, 3])
    for _ in range(5):
        model.partial_fit([*more, ["once"]])
    assert set(model.words_) == {*words, *(word for s in more for word in s)}
    assert (np.diff(model.counts_) <= 0).all()
    assert finds_the_groups(model)
    rows = model.vocabulary_.require(words, "test")
    added = [sum(s.count(word) for s in more) for word in words]
    np.testing.assert_array_equal(model.counts_[rows] - counts, 5 * np.array(added))
    untouched = [k for k, word in enumerate(words) if word.startswith("g1")]
    np.testing.assert_array_equal(
        model.vectors_[rows[untouched]], before[untouched]
    )  # as centers, words that do not come again stay


def test_partial_fit_can_be_the_first():
    model = skip_gram()
    for _ in range(8):
        model.partial_fit(planted())
    assert finds_the_groups(model)
    model.set_params(width=4)
    with pytest.raises(SettingError, match="of width 8, the setting says 4"):
        model.partial_fit(planted())


def test_new_words_of_each_call_begin_with_vectors_of_their_own():
    model = skip_gram(learning_rate=1e-12)
    model.partial_fit([["a", "b"]]).partial_fit([["c", "d"]])
    vectors = model.vector(["a", "b", "c", "d"])
    assert len(np.unique(vectors, axis=0)) == 4
    assert np.abs(vectors).max() <= 1 / 8


def test_answers_are_cosines(fitted):
    unit = fitted.vectors_ / np.linalg.norm(fitted.vectors_, axis=1, keepdims=True)
    codes = fitted.vocabulary_.require(["g0w1", "g1w2"], "test")
    found = fitted.similar("g0w1", 24)
    cosines = unit @ unit[codes[0]]
    order = [k for k in np.argsort(-cosines) if k != codes[0]]
    assert found.ids.tolist() == fitted.words_[order].tolist()
    np.testing.assert_allclose(found.scores, cosines[order], atol=1e-6)
    two = fitted.similar(["g1w2", "g0w1"], 24)
    np.testing.assert_array_equal(two.ids[1], found.ids)
    np.testing.assert_array_equal(fitted.vector("g0w1"), fitted.vectors_[codes[0]])
    np.testing.assert_array_equal(
        fitted.vector(["g0w1", "g1w2"]), fitted.vectors_[codes]
    )
    scores = fitted.predict(["g0w1"], ["g1w2"])
    wanted = fitted.vectors_[codes[0]] @ fitted.context_vectors_[codes[1]]
    np.testing.assert_allclose(scores, [wanted], rtol=1e-5)


def test_an_analogy_is_a_sum_of_directions(fitted):
    unit = fitted.vectors_ / np.linalg.norm(fitted.vectors_, axis=1, keepdims=True)
    a, b, c = fitted.vocabulary_.require(["g0w1", "g1w2", "g2w0"], "test")
    wanted = unit @ (unit[a] + unit[b] - unit[c])
    wanted /= np.linalg.norm(unit[a] + unit[b] - unit[c])
    wanted[[a, b, c]] = -2
    found = fitted.analogy(["g0w1", "g1w2"], ["g2w0"], 3)
    assert found.ids.tolist() == fitted.words_[np.argsort(-wanted)[:3]].tolist()
    np.testing.assert_allclose(found.scores, np.sort(-wanted)[:3] * -1, atol=1e-6)


def test_unknown_words_are_named_with_similar_ones(fitted):
    for ask in (fitted.similar, fitted.vector):
        with pytest.raises(UnknownIdError, match="'g0w' is not among .* Did you mean"):
            ask("g0w")
    with pytest.raises(UnknownIdError, match="analogy: word 'x'"):
        fitted.analogy(["g0w1"], ["x"])
    with pytest.raises(ShapeError, match="as many others as words"):
        fitted.predict(["g0w1"], ["g0w1", "g0w2"])
    with pytest.raises(NotFittedError):
        SkipGram().similar("a")


@pytest.mark.parametrize(
    ("sentences", "message"),
    [
        ([], "at least one word"),
        ([["a", "b"]], "no word occurs 2 times"),
        (["one", "word", "one", "word"], "sentences of two words or more"),
        ([["a", "b"], ["a"]], "sentences of two words or more"),
    ],
)
def test_text_without_pairs_is_refused(sentences, message, fitted):
    model = skip_gram(min_count=2)
    with pytest.raises(DataError, match=message):
        model.fit(sentences)
    assert not model.__sklearn_is_fitted__()


def test_a_rate_that_is_too_high_is_an_error_and_changes_nothing(fitted):
    before = fitted.vectors_.copy()
    model = pickle.loads(pickle.dumps(fitted)).set_params(learning_rate=1e30)
    with pytest.raises(DivergenceError):
        model.partial_fit(planted())
    np.testing.assert_array_equal(model.vectors_, before)


def test_subsampling_that_leaves_nothing_is_refused():
    with pytest.raises(DataError, match="subsampling left no pair"):
        skip_gram(subsample=1e-12).fit(planted(20))


@pytest.mark.parametrize(
    "wrong",
    [
        dict(width=0),
        dict(window=0),
        dict(shrink_windows="no"),
        dict(negatives=1.5),
        dict(min_count=0),
        dict(epochs=-1),
        dict(subsample=-1.0),
        dict(subsample=np.nan),
        dict(power="a"),
        dict(power=np.inf),
        dict(optimizer="best"),
        dict(learning_rate=-1.0),
        dict(n_jobs=0),
        dict(random_state=-1),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(SettingError, match=name):
        skip_gram(**wrong).fit(planted(20))


def test_copies_and_files_answer_alike(fitted, tmp_path):
    fitted.save(tmp_path / "words.wyrm")
    wanted = fitted.similar("g0w1", 5)
    for copy in (
        SkipGram.load(tmp_path / "words.wyrm"),
        pickle.loads(pickle.dumps(fitted)),
    ):
        found = copy.similar("g0w1", 5)
        assert found.ids.tolist() == wanted.ids.tolist()
        np.testing.assert_array_equal(found.scores, wanted.scores)
        assert copy.get_params() == fitted.get_params()
        copy.partial_fit(planted(20))
    assert not clone(fitted).__sklearn_is_fitted__()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("vectors", lambda x: x[:-1]),
        ("counts", lambda x: x[:-1]),
        ("counts", np.negative),
    ],
)
def test_files_whose_parts_do_not_fit_are_refused(fitted, tmp_path, name, change):
    path = tmp_path / "words.wyrm"
    fitted.save(path)
    arrays, metadata = read_arrays(path)
    arrays = {key: np.array(array) for key, array in arrays.items()}
    arrays[name] = change(arrays[name])
    write_arrays(path, arrays, metadata)
    with pytest.raises(CorruptCheckpointError, match="do not fit together"):
        SkipGram.load(path)


def test_a_toy_corpus_keeps_its_words():
    """Each of three words is 300 times as frequent as the share to be thinned out."""
    toy = [["a", "b", "c"]] * 20
    found = SkipGram(width=4, min_count=1, epochs=1, random_state=0).fit(toy)
    assert found.vectors_.shape == (3, 4)
    with pytest.raises(DataError, match="subsample"):
        SkipGram(width=4, min_count=1, epochs=1, subsample=1e-12).fit(toy)
