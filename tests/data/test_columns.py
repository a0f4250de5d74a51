"""Ragged and sparse columns: what they hold, and training on them."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import sparse

import wyrm_py as wp
from wyrm_py.data.columns import Column, take_columns
from wyrm_py.errors import DataError, DTypeError, ShapeError

ENGINES = ("native", "numpy")
LISTS = [[3, 1], [], [0], [2, 2, 2, 4], [], [1, 0, 4], [4]]


@pytest.fixture(params=ENGINES)
def engine(request):
    return request.param


# -- RaggedColumn -----------------------------------------------------------------


def test_lists_become_values_and_offsets():
    column = wp.RaggedColumn.of(LISTS)
    assert column.values.tolist() == [row for part in LISTS for row in part]
    assert column.offsets.tolist() == [0, 2, 2, 3, 7, 7, 10, 11]
    assert len(column) == len(LISTS)


@pytest.mark.parametrize("lists", [[], [[]], [[], []], [np.array([]), []]])
def test_columns_of_no_rows_at_all(lists):
    column = wp.RaggedColumn.of(lists)
    assert len(column) == len(lists) and column.values.size == 0
    assert column.offsets.tolist() == [0] * (len(lists) + 1)


def test_scalars_count_as_lists_of_one():
    column = wp.RaggedColumn.of([3, [1, 2], np.int32(4)])
    assert column.values.tolist() == [3, 1, 2, 4]
    assert column.offsets.tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize(
    ("values", "offsets", "kind", "words"),
    [
        ([1, 2], [0, 1], DataError, "2"),
        ([1, 2], [1, 2], DataError, "start at 0"),
        ([1, 2], [0, 2, 1, 2], DataError, "never fall"),
        ([1, 2], [], (DataError, DTypeError), "offsets"),
        ([1, 2], [0.0, 2.0], DTypeError, "offsets.*float64"),
        ([1, 2], [[0, 2]], DTypeError, "offsets.*one-dimensional"),
        ([1.0], [0, 1], DTypeError, "values.*float64"),
        ([[1]], [0, 1], DTypeError, "values.*one-dimensional"),
        ([True], [0, 1], DTypeError, "values.*bool"),
        ([[1], [2, 3]], [0, 1], ShapeError, "RaggedColumn"),
    ],
)
def test_impossible_values_and_offsets_are_refused(values, offsets, kind, words):
    with pytest.raises(kind, match=words):
        wp.RaggedColumn(values, offsets)


# -- Column -----------------------------------------------------------------------


def test_nothing_is_copied_that_has_the_right_form():
    x, row = wp.InputNode(np.zeros((1, 3))), wp.IndexInputNode([0])
    floats, rows = np.ones((4, 3), np.float32), np.arange(4)
    found = take_columns([x, row], {x: floats, row: rows}, False)
    assert np.shares_memory(found[x].arrays[""], floats)
    assert np.shares_memory(found[row].arrays[""], rows)
    short = Column(row, rows.astype(np.int32), False)
    assert short.arrays[""].dtype == np.int32


def test_longest_list_is_known():
    bag = wp.IndexInputNode([0], capacity=4)
    assert Column(bag, LISTS, False).longest == 4
    assert Column(bag, [[], []], False).longest == 0


def test_sparse_column_wants_one_row_an_example_or_a_batch():
    two = wp.SparseInputNode(sparse.csr_array((2, 3)))
    with pytest.raises(ShapeError, match="batch_size"):
        Column(two, sparse.csr_array((4, 3)), False)
    assert Column(two, sparse.csr_array((4, 3)), True).count == 4


def test_batches_need_an_axis():
    x = wp.InputNode(np.float32(0))
    with pytest.raises(ShapeError, match=r"batch.*shape \(1,\)"):
        Column(x, np.ones(4), True)


# -- training ---------------------------------------------------------------------


class Bags:
    """Squared sum over the rows of a bag; float64, by hand in `step`."""

    def __init__(self, lists=LISTS, capacity=4):
        rng = np.random.default_rng(2)
        self.lists = lists
        self.start = rng.normal(size=(5, 3))
        self.table = wp.ParameterNode(self.start, np.float64)
        self.bag = wp.IndexInputNode([0], capacity=capacity)
        self.weights = rng.normal(size=(len(lists), 1))
        self.weight = wp.InputNode(np.zeros((1, 1)), np.float64)
        rows = self.table.index(self.bag)
        self.single = (
            (rows.sum(axis=0, keepdims=True) * self.weight).square().sum(axis=1)
        )
        self.batched = (rows.segment_sum(self.bag) * self.weight).square().sum(axis=1)

    def fit(self, loss, given=None, **settings):
        inputs = {self.bag: self.lists, self.weight: self.weights}
        return wp.fit(
            loss,
            wp.SGD(0.01),
            given or inputs,
            progress=False,
            shuffle=False,
            **settings,
        )

    def by_hand(self, batch, epochs):
        table, losses = self.start.copy(), []
        for _ in range(epochs):
            total = 0.0
            for begin in range(0, len(self.lists), batch):
                gradient = np.zeros_like(table)
                members = range(begin, min(begin + batch, len(self.lists)))
                for k in members:
                    bag = table[np.array(self.lists[k], int)].sum(axis=0)
                    total += ((bag * self.weights[k]) ** 2).sum()
                    for row in self.lists[k]:
                        gradient[row] += 2 * bag * self.weights[k] ** 2
                table -= 0.01 * gradient
            losses.append(total / len(self.lists))
        return table, losses


@pytest.mark.parametrize(
    ("name", "batch"),
    [("single", None), ("batched", None), ("batched", 3), ("batched", 99)],
)
def test_ragged_fit_is_the_loop_by_hand(engine, name, batch):
    model = Bags()
    history = model.fit(getattr(model, name), epochs=3, batch_size=batch, engine=engine)
    table, losses = model.by_hand(batch or 1, 3)
    np.testing.assert_allclose(model.table.value, table, rtol=1e-12)
    np.testing.assert_allclose(history.losses, losses, rtol=1e-12)


@pytest.mark.parametrize(("name", "batch"), [("single", None), ("batched", 3)])
def test_bags_that_are_all_empty_change_nothing(engine, name, batch):
    model = Bags([[], [], [], []])
    history = model.fit(getattr(model, name), batch_size=batch, engine=engine)
    np.testing.assert_array_equal(model.table.value, model.start)
    assert history.losses == [0.0]


def test_forms_of_a_ragged_column_are_one():
    def run(given):
        model = Bags()
        model.fit(model.batched, {model.bag: given, model.weight: model.weights})
        return model.table.value

    column = wp.RaggedColumn.of(LISTS)
    wanted = run(LISTS)
    for given in (
        column,
        (column.values, column.offsets),
        (column.values.astype(np.int32), column.offsets.astype(np.uint16)),
        (column.values[::-1][::-1], column.offsets.tolist()),
        [np.array(part, np.int16) for part in LISTS],
        tuple(LISTS),
    ):
        np.testing.assert_array_equal(run(given), wanted)


def test_workers_share_ragged_columns():
    rng = np.random.default_rng(1)
    table, bag = (
        wp.ParameterNode(np.zeros((3000, 1))),
        wp.IndexInputNode([0], capacity=9),
    )
    lists = np.split(rng.permutation(3000), np.sort(rng.integers(0, 3000, 2500)))
    loss = table.index(bag).sum()
    lists = [part[:9] for part in lists]
    # One epoch: workers may begin the second while the first ends, and then lose an
    # update of a row that both have in hand.
    wp.fit(loss, wp.SGD(1.0), {bag: lists}, 1, n_jobs=2, progress=False)
    taken = np.zeros(3000)
    taken[np.concatenate(lists)] = -1
    np.testing.assert_array_equal(table.value[:, 0], taken)


class Sparse:
    """Linear regression on CSR rows, float64."""

    def __init__(self, matrix):
        rng = np.random.default_rng(4)
        self.matrix = matrix
        self.start = rng.normal(size=(matrix.shape[1], 2))
        self.goal = rng.normal(size=(matrix.shape[0], 2))
        self.table = wp.ParameterNode(self.start, np.float64)
        self.rows = wp.SparseInputNode(
            sparse.csr_array((1, matrix.shape[1])), np.float64
        )
        self.target = wp.InputNode(np.zeros((1, 2)), np.float64)
        self.loss = (self.rows.dot(self.table) - self.target).square().sum(axis=1)

    def fit(self, given=None, **settings):
        inputs = {
            self.rows: self.matrix if given is None else given,
            self.target: self.goal,
        }
        return wp.fit(
            self.loss, wp.SGD(0.02), inputs, progress=False, shuffle=False, **settings
        )

    def by_hand(self, batch, epochs):
        table, dense, losses = self.start.copy(), self.matrix.toarray(), []
        for _ in range(epochs):
            total = 0.0
            for begin in range(0, len(dense), batch):
                x = dense[begin : begin + batch]
                residual = x @ table - self.goal[begin : begin + batch]
                total += (residual**2).sum()
                table -= 0.02 * 2 * x.T @ residual
            losses.append(total / len(dense))
        return table, losses


def matrix():
    """CSR with empty rows, unsorted indices, duplicates and a stored zero."""
    data = np.array([1.0, -2.0, 0.5, 3.0, 1.5, 0.0, 2.0, 1.0, -1.0])
    indices = np.array([2, 0, 3, 3, 1, 4, 0, 4, 2])
    indptr = np.array([0, 2, 2, 4, 6, 6, 9, 9])
    return sparse.csr_array((data, indices, indptr), shape=(7, 5))


@pytest.mark.parametrize("batch", [None, 1, 3, 99])
def test_sparse_fit_is_the_loop_by_hand(engine, batch):
    model = Sparse(matrix())
    history = model.fit(epochs=3, batch_size=batch, engine=engine)
    table, losses = model.by_hand(batch or 1, 3)
    np.testing.assert_allclose(model.table.value, table, rtol=1e-12)
    np.testing.assert_allclose(history.losses, losses, rtol=1e-12)


def test_unused_room_behind_sparse_rows_is_not_read():
    model, plain = Sparse(matrix()), Sparse(matrix())
    plain.fit()
    wide = matrix()
    wide.data = np.append(wide.data, [np.nan, np.inf])
    wide.indices = np.append(wide.indices, [-5, 99]).astype(wide.indices.dtype)
    model.fit(wide)
    np.testing.assert_array_equal(model.table.value, plain.table.value)


def test_sparse_column_is_not_written_to():
    given = matrix()
    Sparse(given).fit()
    held = matrix()
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(given, name), getattr(held, name))


def test_sparse_rows_with_adagrad_agree_between_engines():
    results = []
    for name in ENGINES:
        model = Sparse(matrix())
        inputs = {model.rows: model.matrix, model.target: model.goal}
        given = dict(epochs=3, batch_size=3, engine=name, random_state=1)
        wp.fit(model.loss, wp.Adagrad(0.1, l2=0.1), inputs, progress=False, **given)
        results.append(model.table.value)
    np.testing.assert_allclose(*results, rtol=1e-9)


# -- rows that rise within every example ------------------------------------------


def canonical():
    """CSR in order, with empty rows at the start, within and at the end."""
    dense = np.random.default_rng(8).normal(size=(9, 5))
    dense[np.random.default_rng(9).random((9, 5)) < 0.4] = 0
    dense[[0, 4, 8]] = 0
    return sparse.csr_array(dense)


@pytest.mark.parametrize(
    "optimizer", [wp.SGD(0.1, clip_norm=0.5), wp.FTRL(0.5, l1=0.1)]
)
def test_rows_that_rise_train_as_shuffled_ones_do(optimizer):
    """They skip the summing of repeated rows; the sums are the same without it."""
    given = canonical()
    turned = given.copy()
    for begin, end in pairwise(given.indptr):
        turned.indices[begin:end] = given.indices[begin:end][::-1]
        turned.data[begin:end] = given.data[begin:end][::-1]
    results = []
    for rows, distinct in ((given, True), (turned, False)):
        model = Sparse(given)
        leaves = {model.rows: rows, model.target: model.goal}
        assert (
            take_columns(list(leaves), leaves, False)[model.rows].distinct == distinct
        )
        wp.fit(model.loss, optimizer, leaves, epochs=3, random_state=1, progress=False)
        results.append(model.table.value)
    np.testing.assert_allclose(*results, rtol=1e-9)
    assert not np.allclose(results[0], model.start)


def test_columns_named_twice_after_scipy_looked_are_seen():
    given = canonical()
    assert given.has_canonical_format  # which scipy keeps in mind
    begin = given.indptr[1]
    given.indices[begin + 1] = given.indices[begin]
    assert not Column(Sparse(given).rows, given, False).distinct


def test_rows_that_rise_are_the_loop_by_hand(engine):
    model = Sparse(canonical())
    model.fit(epochs=2, engine=engine)
    np.testing.assert_allclose(model.table.value, model.by_hand(1, 2)[0], rtol=1e-12)


def test_int32_columns_of_sparse_rows_are_not_copied():
    given = canonical()
    given.indices = given.indices.astype(np.int32)
    column = Column(Sparse(given).rows, given, False)
    assert np.shares_memory(column.arrays["indices"], given.indices)
    assert np.shares_memory(column.arrays["data"], given.data)
