"""Datasets: shuffles are uniform and seeded, parts, batches and folds lose nothing."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

import wyrm_py as wp
from wyrm_py.data import Dataset, RaggedColumn
from wyrm_py.errors import (
    DataError,
    DTypeError,
    IndexRangeError,
    SettingError,
    ShapeError,
)


def numbered(count: int) -> Dataset:
    """Return records 0, 1, ... of two equal columns with labels ten times as large."""
    records = np.arange(count)
    return Dataset(np.stack([records, records], axis=1), 10 * records)


def rows(data: Dataset) -> list[int]:
    assert (data.records[:, 0] == data.records[:, 1]).all()
    assert (data.labels == 10 * data.records[:, 0]).all()  # labels go along
    return data.records[:, 0].tolist()


def test_every_order_is_as_likely_as_another():
    """Also those in which a record stays where it was."""
    data, draws = numbered(4), 24 * 250
    rng = np.random.default_rng(7)
    orders = [tuple(rows(data.shuffle(rng))) for _ in range(draws)]
    counts = [orders.count(order) for order in itertools.permutations(range(4))]
    assert sum(counts) == draws
    assert stats.chisquare(counts).pvalue > 1e-3
    stays = np.mean([order[k] == k for order in orders for k in range(4)])
    assert stays == pytest.approx(1 / 4, abs=0.02)
    deranged = np.mean([all(o[k] != k for k in range(4)) for o in orders])
    assert deranged == pytest.approx(9 / 24, abs=0.03)


def test_a_seed_gives_one_order():
    data = numbered(50)
    first = rows(data.shuffle(3))
    assert sorted(first) == list(range(50))
    assert rows(data.shuffle(3)) == first
    assert rows(data.shuffle(np.random.default_rng(3))) == first
    assert rows(data.shuffle(4)) != first
    assert rows(data.shuffle()) != rows(data.shuffle())
    assert rows(data) == list(range(50))  # left as it was
    for seed in (-1, 0.5, True, "1"):
        with pytest.raises(SettingError, match="random_state"):
            data.shuffle(seed)


@pytest.mark.parametrize(
    ("parts", "lengths"),
    [
        ([10], [10]),
        ([7, 2, 1], [7, 2, 1]),
        ([0.7, 0.2, 0.1], [7, 2, 1]),
        ([0.25, 0.75], [2, 8]),
        ([1.0], [10]),
        ([1 / 3] * 3, [3, 4, 3]),
        (np.array([5, 5]), [5, 5]),
    ],
)
def test_parts_cover_all(parts, lengths):
    found = numbered(10).split(parts)
    assert [len(part) for part in found] == lengths
    assert list(itertools.chain(*map(rows, found))) == list(range(10))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([7, 2], "cover all 10 rows"),
        ([7, 4], "cover all 10 rows"),
        ([0.5, 0.4], "add up to 1"),
        ([0.7, 0.7], "add up to 1"),
        ([math.nan, 0.5], "add up to 1"),
        ([0, 10], "every part needs a row"),
        ([11, -1], "every part needs a row"),
        ([0.99, 0.01], "every part needs a row"),
        ([1.5, -0.5], "every part needs a row"),
        ([], "lengths or of fractions"),
        (10, "lengths or of fractions"),
        (["a"], "lengths or of fractions"),
    ],
)
def test_parts_that_do_not_cover_all_are_refused(parts, message):
    with pytest.raises(SettingError, match=message):
        numbered(10).split(parts)


@settings(max_examples=60)
@given(count=st.integers(1, 40), size=st.integers(1, 45), drop=st.booleans())
def test_batches_lose_only_what_is_asked_for(count, size, drop):
    data = numbered(count)
    if drop and size > count:
        with pytest.raises(SettingError, match="drop_last"):
            data.batches(size, drop_last=True)
        return
    found = [rows(batch) for batch in data.batches(size, drop_last=drop)]
    kept = count - count % size if drop else count
    assert list(itertools.chain(*found)) == list(range(kept))
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    assert len(found) == (count // size if drop else -(-count // size))


def test_impossible_batches_are_refused_at_once():
    for size in (0, -1, 2.0, True, None):
        with pytest.raises(SettingError, match="size must be a whole number"):
            numbered(3).batches(size)


@settings(max_examples=60)
@given(count=st.integers(2, 40), data=st.data(), shuffle=st.booleans())
def test_folds_partition_exactly(count, data, shuffle):
    k = data.draw(st.integers(2, count))
    seed = 5 if shuffle else None
    pairs = list(numbered(count).k_fold(k, shuffle=shuffle, random_state=seed))
    assert len(pairs) == k
    tests = [rows(test) for _, test in pairs]
    assert sorted(itertools.chain(*tests)) == list(range(count))
    sizes = [len(test) for test in tests]
    assert max(sizes) - min(sizes) <= 1
    for train, test in pairs:
        assert sorted(rows(train) + rows(test)) == list(range(count))
        assert rows(train) == sorted(rows(train))
    if not shuffle:
        assert list(itertools.chain(*tests)) == list(range(count))


def test_folds_are_seeded_and_refuse_the_impossible():
    data = numbered(12)

    def drawn(seed):
        return [rows(test) for _, test in data.k_fold(3, True, random_state=seed)]

    assert drawn(1) == drawn(1) != drawn(2)
    for k in (1, 0, 2.5):
        with pytest.raises(SettingError, match="k must be a whole number of 2"):
            data.k_fold(k)
    with pytest.raises(SettingError, match="at most the 12 rows"):
        data.k_fold(13)
    with pytest.raises(SettingError, match="only with shuffle=True"):
        data.k_fold(3, random_state=1)


def test_columns_of_every_kind_go_along():
    count = 6
    lists = RaggedColumn.of([list(range(k)) for k in range(count)])
    matrix = sparse.csr_array(np.diag(np.arange(1.0, count + 1)))
    for records in (np.arange(count), lists, matrix, np.ones((count, 2, 3))):
        data = Dataset(records, np.arange(count))
        part = data.take(np.array([4, 1]))
        assert len(part) == 2
        assert part.labels.tolist() == [4, 1]
        assert repr(part).startswith("Dataset(")
    assert [part.tolist() for part in Dataset(lists).take([3, 0, 2]).records] == [
        [0, 1, 2],
        [],
        [0, 1],
    ]
    assert Dataset(matrix).take(slice(1, 3)).records.toarray()[:, 1:3].tolist() == [
        [2, 0],
        [0, 3],
    ]
    mask = np.arange(count) % 2 == 0
    assert rows(numbered(count).take(mask)) == [0, 2, 4]


def test_one_list_of_a_ragged_column():
    column = RaggedColumn.of([[5, 6], [], [7]])
    assert column[0].tolist() == [5, 6]
    assert column[np.int64(1)].tolist() == []
    assert [part.tolist() for part in column] == [[5, 6], [], [7]]
    for row in (3, -1):
        with pytest.raises(IndexRangeError, match=r"\[0, 3\)"):
            column[row]


def test_what_is_no_dataset_is_refused():
    with pytest.raises(DataError, match="at least one record"):
        Dataset([])
    with pytest.raises(DataError, match="at least one record"):
        Dataset(RaggedColumn.of([]))
    with pytest.raises(ShapeError, match="3 records and 2 labels"):
        Dataset([1, 2, 3], [1, 2])
    with pytest.raises(ShapeError, match="axis of length zero"):
        Dataset(np.ones((3, 0)))
    with pytest.raises(ShapeError, match="axis of length zero"):
        Dataset(3.0)
    with pytest.raises(ShapeError, match="cannot be made an array"):
        Dataset([[1, 2], [3]])
    with pytest.raises(DTypeError, match=r"labels must be numbers.*return_inverse"):
        Dataset([1, 2], ["a", "b"])


def test_rows_that_are_not_there_are_refused():
    data = numbered(3)
    for chosen in ([3], [-1], np.array([0, 5])):
        with pytest.raises(IndexRangeError, match=r"\[0, 3\)"):
            data.take(chosen)
    with pytest.raises(ShapeError, match="mask of 3 rows"):
        data.take([True, False])
    for chosen in ([[0, 1]], [0.5], 1):
        with pytest.raises(ShapeError, match="one dimension"):
            data.take(chosen)
    for chosen in ([], slice(0, 0), np.zeros(3, bool)):
        with pytest.raises(DataError, match="at least one record"):
            data.take(chosen)


def test_a_dataset_trains_a_graph():
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(200, 3)), rng.normal(size=200))
    data.labels[:] = data.records @ [1.0, -2.0, 0.5]
    x, y = wp.InputNode(np.zeros((1, 3))), wp.InputNode(np.zeros((1, 1)))
    slopes = wp.ParameterNode(np.zeros((3, 1)))
    train, test = data.shuffle(0).split([0.8, 0.2])
    loss = (y - x.dot(slopes)).square()
    wp.fit(
        loss,
        wp.SGD(0.05),
        {x: train.records, y: train.labels},
        epochs=20,
        engine="numpy",
        random_state=0,
        progress=False,
    )
    assert slopes.value[:, 0] == pytest.approx([1, -2, 0.5], abs=1e-3)
    left = wp.evaluate(loss, {x: test.records, y: test.labels})
    assert float(left.max()) < 1e-4


def test_fit_names_the_example_that_is_nan():
    x = wp.InputNode(np.zeros((1, 1)))
    loss = (x * wp.ParameterNode(np.ones((1, 1)))).square()
    data = Dataset([1.0, np.nan, 2.0]).take([2, 1])
    with pytest.raises(DataError, match="nan in example 1"):
        wp.fit(loss, wp.SGD(0.1), {x: data.records}, progress=False)
