"""Samplers: what they draw, what they never draw, and the same in both engines."""

from unittest import mock

import numpy as np
import pytest
from scipy import sparse
from stepping import numpy_step, plain_step, updates

import wyrm_py as wp
from wyrm_py import errors, samplers
from wyrm_py.graph.stream import start
from wyrm_py.ops import warp as warp_op

DRAWS = 4000


def shares(node, rows):
    """Return how often each row is among a node's draws."""
    return np.bincount(node.value.reshape(-1), minlength=rows) / node.value.size


def many(row=0):
    return wp.IndexInputNode(np.full(DRAWS, row))


def known_positives():
    """Return 3 users x 5 rows: the first knows 1 and 3, the second 0, 1, 2, 4."""
    return sparse.csr_array(
        np.array([[0, 1, 0, 2, 0], [1, 1, 1, 0, 1], [0, 0, 0, 0, 0]], np.float32)
    )


def test_uniform_draws_are_even():
    found = shares(wp.sample_uniform(many(), 8), 8)
    np.testing.assert_allclose(found, 1 / 8, atol=4 / np.sqrt(8 * DRAWS))


def test_uniform_draws_are_even_among_what_is_not_known():
    for user, free in enumerate([[0, 2, 4], [3], [0, 1, 2, 3, 4]]):
        users = many(user)
        found = shares(wp.sample_uniform(users, 5, known_positives(), users), 5)
        expected = np.zeros(5)
        expected[free] = 1 / len(free)
        np.testing.assert_allclose(found, expected, atol=4 / np.sqrt(DRAWS) / 2)
        assert not found[expected == 0].any()


def test_popular_draws_are_in_proportion_to_the_counts():
    counts = np.array([5.0, 0.0, 1.0, 2.0])
    found = shares(wp.sample_popular(many(), counts), 4)
    np.testing.assert_allclose(found, counts / 8, atol=0.03)
    assert found[1] == 0


def test_popular_draws_are_never_known():
    counts = np.array([1.0, 90.0, 4.0, 90.0, 5.0])
    users = many(0)
    found = shares(wp.sample_popular(users, counts, known_positives(), users), 5)
    assert found[1] == found[3] == 0
    np.testing.assert_allclose(found, [0.1, 0, 0.4, 0, 0.5], atol=0.05)
    users = many(1)
    only = wp.sample_popular(users, counts, known_positives(), users)
    assert set(only.value) == {3}


def test_draws_up_to_a_last_row_are_even_and_each_example_has_its_own():
    last = wp.IndexInputNode(np.repeat([0, 3, 7], DRAWS))
    drawn = wp.sample_uniform(wp.IndexInputNode(np.zeros(3 * DRAWS, int)), last=last)
    for newest, mine in zip([0, 3, 7], drawn.value.reshape(3, DRAWS), strict=True):
        found = np.bincount(mine, minlength=newest + 1) / DRAWS
        assert len(found) == newest + 1
        np.testing.assert_allclose(found, 1 / len(found), atol=4 / np.sqrt(8 * DRAWS))


def test_the_search_goes_up_to_the_last_row_and_weighs_by_it():
    last = wp.IndexInputNode([2])
    row, weight = warp(np.ones(100), 1.0, last=last)  # every row is within the margin
    drawn = set()
    for _ in range(50):
        weight.forward()
        drawn.add(row.value.item())
        assert weight.value.item() == pytest.approx(np.log(2))
    assert drawn == {0, 1, 2}


def test_a_last_row_beyond_the_table_is_refused_before_a_run():
    table = wp.ParameterNode(np.ones((4, 2)))
    like, last = wp.IndexInputNode([0]), wp.IndexInputNode([3])
    loss = table.index(wp.sample_uniform(like, last=last)).sum()
    columns = {like: np.zeros(3, int), last: np.array([0, 3, 4])}
    with pytest.raises(errors.IndexRangeError, match=r"\[0, 4\), got 4 in example 2"):
        wp.fit(loss, wp.SGD(), columns)
    query, score = wp.InputNode([[1.0, 1.0]]), wp.InputNode([[1.0]])
    row, weight = wp.sample_warp(query, table, score, last=last)
    loss = (weight * table.index(row).sum()).sum()
    columns = {query: np.ones((1, 2)), score: [1.0], last: [4]}
    with pytest.raises(errors.IndexRangeError, match=r"\[0, 4\), got 4 in example 0"):
        wp.fit(loss, wp.SGD(), columns)


def test_each_forward_draws_anew_and_backward_does_not():
    table = wp.ParameterNode(np.zeros((1000, 1)), np.float64)
    rows = wp.sample_uniform(wp.IndexInputNode([0, 0]), 1000)
    loss = table.index(rows).sum()
    seen = []
    for _ in range(5):
        loss.forward()
        drawn = rows.value.copy()
        loss.backward()
        assert np.array_equal(rows.value, drawn)
        assert set(np.flatnonzero(table.gradient.toarray())) == set(drawn)
        loss.zero_gradient()
        seen.append(tuple(drawn))
    assert len(set(seen)) == 5


def test_a_draw_has_the_shape_of_the_node_it_is_like():
    like = wp.IndexInputNode([[0, 0, 0], [0, 0, 0]])
    assert wp.sample_uniform(like, 10).shape == (2, 3)
    users = wp.IndexInputNode([0, 1])
    drawn = wp.sample_uniform(like, 5, known_positives(), users).value
    assert set(drawn[1]) == {3}
    assert not {1, 3} & set(drawn[0])


# -- WARP ------------------------------------------------------------------------


def warp(scores, positive, **more):
    """Return the result of one search over a table of width one."""
    table = wp.ParameterNode(np.reshape(scores, (-1, 1)), np.float64)
    query = wp.InputNode([[1.0]], np.float64)
    score = wp.InputNode([[positive]], np.float64)
    return wp.sample_warp(query, table, score, **more)


def test_the_search_finds_a_row_within_the_margin():
    scores = [0.0, 5.0, 0.0, 4.5, -3.0]
    for _ in range(20):
        row, weight = warp(scores, 5.4, max_tries=50)
        assert row.value.item() in (1, 3)
        assert weight.value.item() in np.log(np.maximum(4 // np.arange(1, 51), 1))


def test_the_weight_is_the_logarithm_of_the_estimated_rank():
    """Every row violates, so the first draw is taken: ln(floor((R - 1) / 1))."""
    row, weight = warp(np.ones(30), 0.0)
    assert 0 <= row.value.item() < 30
    assert weight.value.item() == pytest.approx(np.log(29))
    assert weight.shape == (1, 1)
    assert row.shape == (1,)


def test_a_search_that_finds_nothing_weighs_nothing():
    row, weight = warp(np.zeros(30), 10.0)
    assert weight.value.item() == 0.0
    assert 0 <= row.value.item() < 30


def test_a_row_on_the_margin_does_not_violate_it():
    assert warp([1.0, 1.0], 2.0)[1].value.item() == 0.0
    assert warp([1.0, 1.0], 2.0, margin=1.5)[0].value.item() in (0, 1)


def test_the_search_never_finds_a_known_row():
    user = wp.IndexInputNode([1])
    for _ in range(20):
        row, weight = warp(
            np.ones(5), 0.0, known=known_positives(), user=user, max_tries=60
        )
        assert row.value.item() == 3
        assert weight.value.item() <= np.log(4)


def test_the_search_adds_the_bias():
    bias = wp.ParameterNode([[0.0], [0.0], [9.0], [0.0]], np.float64)
    row, _ = warp(np.zeros(4), 5.0, bias=bias, max_tries=200)
    assert row.value.item() == 2


def test_the_search_passes_no_gradient():
    table = wp.ParameterNode(np.ones((4, 2)), np.float64)
    query = wp.ParameterNode(np.ones((1, 2)), np.float64)
    score = wp.InputNode([[0.0]], np.float64)
    row, weight = wp.sample_warp(query, table, score)
    (table.index(row).sum() * weight).sum().backward()
    assert query.gradient is None
    expected = np.zeros((4, 2))
    expected[row.value.item()] = np.log(3)
    np.testing.assert_allclose(table.gradient.toarray(), expected)


# -- both engines ----------------------------------------------------------------


FEATURES = sparse.csr_array(
    np.array(
        [
            [1.0, 0, 0, 0, 0.5],
            [0, 2, 0, 0, 0],
            [0, 0, 1, -1, 0],
            [0, 0, 0, 0, 0],
            [1, 1, 1, 1, 1],
        ]
    )
)
"""Of five items, in a table of five rows; the fourth has none."""


def sampled(kind):
    """Return a loss that tells which rows were drawn, and its parameters."""
    rng = np.random.default_rng(3)
    users = wp.ParameterNode(rng.standard_normal((3, 4)), np.float64, name="users")
    items = wp.ParameterNode(rng.standard_normal((5, 4)), np.float64, name="items")
    bias = wp.ParameterNode(rng.standard_normal((5, 1)), np.float64, name="bias")
    user, item = wp.IndexInputNode([1, 0]), wp.IndexInputNode([2, 1])
    query = users.index(user)

    def scored(rows):
        if kind != "warp, features":
            return query.vector_dot(items.index(rows)) + bias.index(rows)
        chosen = wp.sparse_rows(FEATURES, rows, np.float64)
        return query.vector_dot(chosen.dot(items)) + chosen.dot(bias)

    score = scored(item)
    known = {"known": known_positives(), "user": user}
    counts = [1.0, 9.0, 4.0, 2.0, 5.0]
    weight = 1.0
    if kind == "uniform":
        row = wp.sample_uniform(item, 5)
    elif kind == "uniform, known":
        row = wp.sample_uniform(item, 5, **known)
    elif kind == "uniform, last":
        row = wp.sample_uniform(item, last=wp.IndexInputNode([4, 1]))
    elif kind == "warp, last":
        last = wp.IndexInputNode([2, 3])
        row, weight = wp.sample_warp(query, items, score, bias, last=last, **known)
    elif kind == "warp, features":
        row, weight = wp.sample_warp(
            query, items, score, bias, features=FEATURES, **known
        )
    elif kind == "popular":
        row = wp.sample_popular(item, counts)
    elif kind == "popular, known":
        row = wp.sample_popular(item, counts, **known)
    elif kind == "warp":
        row, weight = wp.sample_warp(query, items, score, margin=0.2)
    else:
        row, weight = wp.sample_warp(query, items, score, bias, **known, max_tries=4)
    loss = ((1.0 - score + scored(row)).relu() * weight).sum()
    return loss, [users, items, bias], row


KINDS = (
    "uniform",
    "uniform, known",
    "uniform, last",
    "popular",
    "popular, known",
    "warp",
    "warp, all",
    "warp, last",
    "warp, features",
)


def follow(loss, block):
    """Start the streams of a graph where the compiled step number `block` does."""
    random = [a for a in loss._applications() if a.op.random]
    for number, application in enumerate(random):
        application.stream.state = start(0, 0, block, number)


@pytest.mark.parametrize("kind", KINDS)
def test_emitted_text_draws_the_same_rows_as_numpy(kind):
    loss, parameters, row = sampled(kind)
    step = plain_step(loss, wp.SGD(0.1))
    drawn = set()
    for block in range(1, 9):
        found, taken = updates(step, parameters)
        follow(loss, block)
        expected, wanted = updates(lambda: numpy_step(loss, wp.SGD(0.1)), parameters)
        drawn.add(tuple(row.value))
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
        for one, other in zip(taken, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    assert len(drawn) > 1


@pytest.mark.parametrize("kind", [k for k in KINDS if "," in k])
def test_native_steps_draw_the_same_rows_as_numpy(kind):
    loss, parameters, _ = sampled(kind)
    step = wp.compile(loss, wp.SGD(0.1))
    for block in range(1, 6):
        found, taken = updates(step, parameters)
        follow(loss, block)
        expected, wanted = updates(lambda: numpy_step(loss, wp.SGD(0.1)), parameters)
        assert found == pytest.approx(expected, rel=1e-12)
        for one, other in zip(taken, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_warp_scores_candidates_by_their_features():
    """Of the five items only those whose features add up to 2 or more violate."""
    table = wp.ParameterNode(np.array([[1.0], [0.5], [1], [0], [0.9]]), np.float64)
    scores = FEATURES.toarray() @ table.value[:, 0]
    found = set()
    for _ in range(40):
        row, weight = wp.sample_warp(
            wp.InputNode(np.ones((1, 1)), np.float64),
            table,
            wp.InputNode([[2.2]], np.float64),
            features=FEATURES,
            max_tries=50,
        )
        assert weight.value.item() >= 0
        found.add(row.value.item())
    assert found == set(np.flatnonzero(scores > 1.2))


def test_finite_differences_hold_the_draws_fixed():
    loss, (users, *_), _ = sampled("uniform")
    numeric, analytic = wp.finite_difference(users, loss)
    np.testing.assert_allclose(numeric, analytic, atol=1e-7)


# -- errors ----------------------------------------------------------------------


def item():
    return wp.IndexInputNode([0])


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (
            lambda: wp.sample_uniform(item(), 0),
            errors.SettingError,
            r"sample_uniform: the number of rows must be an integer in \[1, 2\*\*32\)",
        ),
        (lambda: wp.sample_uniform(item(), 2.0), errors.SettingError, "got 2.0"),
        (lambda: wp.sample_uniform(item(), 1 << 32), errors.SettingError, "got 4294"),
        (
            lambda: wp.sample_uniform(wp.InputNode([1.0]), 5),
            errors.DTypeError,
            "sample_uniform: takes an integer index node",
        ),
        (
            lambda: wp.sample_uniform(item(), 5, known_positives()),
            errors.GraphError,
            "`known` and `user` go together",
        ),
        (
            lambda: wp.sample_uniform(item(), 5, user=item()),
            errors.GraphError,
            "`known` and `user` go together",
        ),
        (
            lambda: wp.sample_uniform(item(), 5, last=item()),
            errors.GraphError,
            "`last` stands in place of `rows`",
        ),
        (
            lambda: wp.sample_uniform(item(), last=wp.IndexInputNode([0, 1])),
            errors.ShapeError,
            r"one last row an example is needed, got `last` of shape \(2,\)",
        ),
        (
            lambda: wp.sample_uniform(item(), 6, known_positives(), item()),
            errors.ShapeError,
            r"\(users, 6\), as rows are drawn from 6, got \(3, 5\)",
        ),
        (
            lambda: wp.sample_uniform(item(), 5, np.eye(5), item()),
            errors.DataError,
            r"must be a scipy\.sparse matrix .* got ndarray",
        ),
        (
            lambda: wp.sample_uniform(
                item(), 2, sparse.csr_array(np.array([[0, 1], [1, 1]])), item()
            ),
            errors.DataError,
            "user 1 knows all 2 rows",
        ),
        (
            lambda: wp.sample_uniform(
                item(), 5, known_positives(), wp.IndexInputNode([0, 1])
            ),
            errors.ShapeError,
            r"one user an example is needed, got users of shape \(2,\)",
        ),
        (
            lambda: wp.sample_uniform(
                item(), 5, known_positives(), wp.IndexInputNode([3])
            ),
            errors.IndexRangeError,
            r"sample_uniform: row numbers must be in \[0, 3\), got 3",
        ),
        (
            lambda: wp.sample_popular(item(), [1.0, -1.0]),
            errors.DataError,
            "sample_popular: counts must be finite, not negative",
        ),
        (lambda: wp.sample_popular(item(), []), errors.DataError, "counts must be"),
        (lambda: wp.sample_popular(item(), [0.0]), errors.DataError, "not all zero"),
        (lambda: wp.sample_popular(item(), [np.nan]), errors.DataError, "finite"),
        (
            lambda: warp(np.ones(3), 1.0, max_tries=0),
            errors.SettingError,
            "max_tries must be an integer above zero, got 0",
        ),
        (
            lambda: warp(np.ones(3), 1.0, features=FEATURES),
            errors.ShapeError,
            r"a column for each of the 3 rows of the table, got \(5, 5\)",
        ),
        (
            lambda: warp(np.ones(3), 1.0, margin=np.nan),
            errors.SettingError,
            "margin must be a finite number, got nan",
        ),
        (
            lambda: wp.sample_warp(
                wp.InputNode([[1.0, 2.0]]),
                wp.ParameterNode(np.ones((3, 1))),
                wp.InputNode([[1.0]]),
            ),
            errors.ShapeError,
            r"the query must be \(b, D\) for a table \(R, D\), got \(1, 2\)",
        ),
        (
            lambda: warp(np.ones(3), 1.0, bias=wp.ParameterNode(np.ones((2, 1)))),
            errors.ShapeError,
            r"the bias must be \(3, 1\), got \(2, 1\)",
        ),
    ],
)
def test_bad_settings_are_refused(build, kind, message):
    with pytest.raises(kind, match=message):
        build()


def test_drawing_from_more_rows_than_the_table_has_is_refused_before_a_run():
    table = wp.ParameterNode(np.ones((4, 2)))
    with pytest.raises(errors.IndexRangeError):
        loss = table.index(wp.sample_uniform(many(), 5)).sum()
        wp.compile(loss, wp.SGD())


# -- the sieve of known rows -------------------------------------------------------


def many_known(users=6, rows=1500):
    rng = np.random.default_rng(8)
    return sparse.csr_array((rng.random((users, rows)) < 0.3).astype(np.float32))


def test_a_sieve_has_the_bit_of_every_known_row():
    known = many_known()
    for words, most in ((32, warp_op.EXACT_WORDS), (8, 0)):
        with mock.patch.object(warp_op, "EXACT_WORDS", most):
            sieve = warp_op.known_sieve(known.indptr, known.indices, known.shape[1])
        bits = np.unpackbits(sieve.view(np.uint8), axis=1, bitorder="little")
        expected = np.zeros((known.shape[0], 64 * words), bool)
        users, rows = known.nonzero()
        expected[users, rows % (64 * words)] = True
        np.testing.assert_array_equal(bits.astype(bool), expected)


def test_a_sieve_larger_than_what_it_stands_for_is_not_made():
    starts = np.arange(1001)
    with mock.patch.object(warp_op, "EXACT_WORDS", 0):
        assert warp_op.known_sieve(starts, np.zeros(1000, np.int32), 10**6) is None


@pytest.mark.parametrize("most", [warp_op.EXACT_WORDS, 0])
def test_with_a_sieve_the_same_rows_are_found(most):
    """Exact, or one that only says who is certainly unknown."""
    known = many_known()
    rng = np.random.default_rng(2)
    items = rng.standard_normal((known.shape[1], 4))
    columns = {"user": rng.integers(0, 6, 500), "item": rng.integers(0, 1500, 500)}

    def trained():
        tables = [
            wp.ParameterNode(rng.standard_normal((6, 4))),
            wp.ParameterNode(items),
        ]
        tables[0].set_value(np.ones((6, 4)))
        user, item = wp.IndexInputNode([0]), wp.IndexInputNode([0])
        query = tables[0].index(user)
        score = query.vector_dot(tables[1].index(item))
        row, weight = wp.sample_warp(query, tables[1], score, known=known, user=user)
        other = query.vector_dot(tables[1].index(row))
        wp.fit(
            weight * (1.0 - score + other).relu(),
            wp.SGD(0.01),
            {user: columns["user"], item: columns["item"]},
            random_state=1,
            progress=False,
        )
        return [table.value.copy() for table in tables]

    with mock.patch.object(samplers, "known_sieve", lambda *_: None):
        expected = trained()
    with mock.patch.object(warp_op, "EXACT_WORDS", most):
        found = trained()
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
