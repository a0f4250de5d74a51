"""Beyond 2**31 interactions: offsets are right, on arrays that take no memory.

The columns are files with holes, of which only the touched pages exist. What would
have to read all of them, such as the checks for NaN, is left out.
"""

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py.data import RaggedColumn, hash_table
from wyrm_py.data.columns import MOST_EXAMPLES, Column
from wyrm_py.data.ids import IdMap
from wyrm_py.data.ragged import gather_spans
from wyrm_py.engines.native.kernel import bind
from wyrm_py.engines.native.order import Order
from wyrm_py.engines.native.settings import Settings
from wyrm_py.engines.native.source import generate
from wyrm_py.engines.plan import Plan
from wyrm_py.errors import DataError

COUNT = 2**31 + 16
LAST = [0, 3, 2**31 - 1, 2**31, 2**31 + 1, COUNT - 1]
"""Examples that hold something else than zeros."""


def virtual(path, shape, dtype):
    """Return zeros of any size in a file with holes."""
    return np.memmap(path, dtype, "w+", shape=shape)


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    """Rows (N,), numbers (N, 2) and, of six examples, ragged tags in a long array."""
    folder, rng = tmp_path_factory.mktemp("large"), np.random.default_rng(0)
    rows = virtual(folder / "rows", (COUNT,), np.int32)
    numbers = virtual(folder / "numbers", (COUNT, 2), np.float32)
    tags = virtual(folder / "tags", (COUNT,), np.int32)
    rows[LAST] = rng.integers(0, 5, len(LAST))
    numbers[LAST] = rng.normal(size=(len(LAST), 2))
    tags[2**31 - 3 :] = np.arange(19) % 5
    offsets = np.array([0, 2, 2**31 - 2, 2**31, 2**31 + 3, 2**31 + 3, COUNT])
    return rows, numbers, tags, offsets


def kernel_of(loss, arrays, symbols=None):
    """Return the native step of a loss over columns that nobody looks through."""
    int32 = frozenset(key for key, array in arrays.items() if array.dtype == np.int32)
    wanted = Settings(shuffled=True, int32=int32)
    source = generate(Plan.training(loss), wp.SGD(1e-30), wanted)
    longest = {name: 20 for name in source.extents.ragged.values()}
    return bind(source, arrays, longest, settings=[1e-30], block_size=16).open()


def parameter_of():
    values = np.random.default_rng(1).normal(size=(5, 2)).astype(np.float32)
    return values, wp.ParameterNode(values)


def test_a_native_step_reads_the_examples_asked_for(columns):
    rows, numbers, _, _ = columns
    values, table = parameter_of()
    row, x = wp.IndexInputNode([0]), wp.InputNode(np.zeros((1, 2)))
    loss = table.index(row).vector_dot(x)
    kernel = kernel_of(loss, {(row, ""): rows, (x, ""): numbers.reshape(-1)})
    for example in LAST:
        kernel.order[0] = example
        expected = values[rows[example]] @ numbers[example]
        assert kernel.run(0, 1) == pytest.approx(float(expected), rel=1e-5)
    kernel.order[: len(LAST)] = LAST
    together = (values[rows[LAST]] * numbers[LAST]).sum()
    assert kernel.run(0, len(LAST)) == pytest.approx(float(together), rel=1e-5)


def test_a_native_step_reads_lists_that_begin_beyond(columns):
    _, _, tags, offsets = columns
    values, table = parameter_of()
    tag = wp.IndexInputNode([0], capacity=20)
    loss = table.index(tag).sum()
    kernel = kernel_of(loss, {(tag, "indices"): tags, (tag, "offsets"): offsets})
    for example in (0, 2, 3, 4, 5):  # the other one has 2**31 - 4 entries
        kernel.order[0] = example
        mine = tags[offsets[example] : offsets[example + 1]]
        assert kernel.run(0, 1) == pytest.approx(values[mine].sum(), rel=1e-5)


def test_the_numpy_engine_reads_the_same_examples(columns):
    rows, numbers, tags, offsets = columns
    row, x = wp.IndexInputNode([0]), wp.InputNode(np.zeros((1, 2)))
    tag = wp.IndexInputNode([0], capacity=20)
    fed = {
        row: Column.over(row, (COUNT,), {"": rows}),
        x: Column.over(x, (COUNT, 2), {"": numbers.reshape(-1)}),
    }
    for example in LAST:
        for column in fed.values():
            column.feed(np.array([example], np.uint32), batched=False)
        assert row.value == rows[example]
        np.testing.assert_array_equal(x.value.reshape(-1), numbers[example])
    lists = Column.over(tag, (6,), {"indices": tags, "offsets": offsets})
    lists.feed(np.array([5], np.uint32), batched=False)
    np.testing.assert_array_equal(tag.value, tags[2**31 + 3 :])


def test_lists_beyond_are_gathered(columns):
    _, _, tags, offsets = columns
    column = RaggedColumn(tags, offsets)
    assert column[5].tolist() == tags[2**31 + 3 :].tolist()
    assert column[[3, 4, 0]].values.tolist() == [*tags[2**31 : 2**31 + 3], 0, 0]
    values, edges = gather_spans(tags, np.array([2**31 + 1]), np.array([2]))
    assert values.tolist() == tags[2**31 + 1 : 2**31 + 3].tolist()
    assert edges.tolist() == [0, 2]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("total", [2**31 + 5, MOST_EXAMPLES - 1])
def test_orders_have_examples_beyond(total, compiled):
    size = 64 if compiled else 16
    blocks = -(-total // size)
    array = np.empty(size, np.uint32)
    plain = Order(array, total, size, 0, shuffle=False, compiled=compiled)
    for block in (0, blocks // 2, blocks - 2, blocks - 1):
        count = plain.fill(0, block)
        expected = np.arange(block * size, min(block * size + size, total))
        np.testing.assert_array_equal(array[:count], expected)
    mixed = Order(array, total, size, 0, shuffle=True, compiled=compiled)
    found = set()
    for block in range(200 if compiled else 5):
        count = mixed.fill(0, block)
        assert count == size and array.max() < total
        assert found.isdisjoint(array.tolist())
        found |= set(array.tolist())
    share = np.mean(np.array(sorted(found)) >= 2**31)
    if compiled:  # 12,800 examples in runs of 16
        assert share == pytest.approx(1 - 2**31 / total, abs=0.09)


def test_more_examples_than_can_be_ordered_are_refused_before_they_are_read():
    row, x = wp.IndexInputNode([0]), wp.InputNode(np.zeros((1, 1)))
    loss = wp.ParameterNode(np.zeros((5, 1))).index(row).vector_dot(x)
    inputs = {
        row: np.broadcast_to(np.int32(0), (MOST_EXAMPLES,)),
        x: np.broadcast_to(np.float32(0), (MOST_EXAMPLES,)),
    }
    with pytest.raises(DataError, match=r"below 2\*\*32 examples.* in parts"):
        wp.fit(loss, wp.SGD(0.1), inputs, progress=False)


def test_a_map_of_a_billion_ids_is_taken_at_once(tmp_path):
    """Loading reads none of 16 GB, and looking up reads what it needs."""
    count = 2**30
    bits, slots = np.array([5], np.uint64), 2**31
    place = int(hash_table.mixed(bits)[0] >> np.uint64(64 - 31))
    arrays = {
        "item_ids.int64": virtual(tmp_path / "ids", (count,), np.int64),
        "item_ids.slots": virtual(tmp_path / "slots", (slots,), np.int32),
    }
    arrays["item_ids.int64"][count - 1] = 5
    arrays["item_ids.slots"][place] = count - 1
    arrays["item_ids.slots"][place + 1] = -1
    table = IdMap.from_arrays(arrays, "item")
    assert len(table) == count
    assert table.codes([5]).tolist() == [count - 1]
    assert table.take([count - 1, 0]).tolist() == [5, 0]


def test_more_ids_than_codes_are_refused(monkeypatch):
    monkeypatch.setattr("wyrm_py.data.ids.MOST_IDS", 5)
    table = IdMap([1, 2, 3, 4], "item")
    assert table.add([1, 5]).tolist() == [0, 4]
    with pytest.raises(DataError, match="there can be 5 items, got more"):
        table.add([6])
    assert table.codes([6, 5]).tolist() == [-1, 4]
