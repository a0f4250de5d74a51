"""A kernel's memory: cache lines of its own, one slot for each writable array."""

import itertools
import pickle

import numpy as np
import pytest

import wyrm_py as wp
from wyrm_py.engines.native import source as source_module
from wyrm_py.engines.native.extents import Extents
from wyrm_py.engines.native.kernel import LINE, Scratch, aligned, bind
from wyrm_py.engines.native.settings import Settings
from wyrm_py.engines.native.source import generate
from wyrm_py.engines.plan import Plan
from wyrm_py.graph.order import topological_order

BATCH = 3


@pytest.mark.parametrize("dtype", [np.uint32, np.float32, np.float64, np.uint64])
@pytest.mark.parametrize("length", [0, 1, 7, 64, 1001])
def test_aligned_arrays_start_at_a_line_and_share_none(dtype, length):
    arrays = [aligned(length, dtype) for _ in range(5)]
    lines = []
    for array in arrays:
        assert array.dtype == dtype and len(array) == max(length, 1)
        assert array.ctypes.data % LINE == 0
        array[:] = 1  # all of it is there
        last = array.ctypes.data + array.nbytes - 1
        lines.append(set(range(array.ctypes.data // LINE, last // LINE + 1)))
    assert sum(map(len, lines)) == len(set().union(*lines))


def deep_model():
    """Rows, a sampler, dense parts: every kind of slot."""
    rng = np.random.default_rng(0)
    table = wp.ParameterNode(rng.normal(size=(7, 4)), name="table")
    weights = wp.ParameterNode(rng.normal(size=(4, 4)), name="weights")
    row = wp.IndexInputNode([0], name="row")
    other = wp.sample_uniform(row, 7)
    x = table.index(row).dot(weights).tanh()
    y = table.index(other).dot(weights).tanh()
    for _ in range(4):
        x, y = (x * y).dot(weights).sigmoid(), (y - x).dot(weights).tanh()
    return (x - y).square().sum(axis=1), row, [table, weights]


def binding_of(loss, row, rows, compiled=False, **settings):
    plan = Plan.training(loss)
    optimizer = wp.Adagrad(0.1)
    wanted = Settings(shuffled=True, **settings)
    source = generate(plan, optimizer, wanted)
    batch = BATCH if wanted.batched else 1
    return source, bind(
        source,
        {(row, ""): np.asarray(rows, np.int64)},
        {"batch": batch},
        settings=list(optimizer.settings().values()),
        block_size=16,
        compiled=compiled,
    )


@pytest.mark.parametrize("batched", [False, True])
def test_no_two_arrays_of_a_step_overlap(batched):
    """What lets the step be compiled without alias checks."""
    loss, row, _ = deep_model()
    _, binding = binding_of(loss, row, np.arange(6), batched=batched)
    kernel = binding.open()
    spans = sorted((a.ctypes.data, a.ctypes.data + a.nbytes) for a in kernel.arrays)
    for (_, end), (begin, _) in itertools.pairwise(spans):
        assert end <= begin


@pytest.mark.parametrize("batched", [False, True])
def test_workers_share_values_and_columns_but_no_scratch(batched):
    loss, row, parameters = deep_model()
    _, binding = binding_of(loss, row, np.arange(6), batched=batched)
    first, second = binding.open(), binding.open()
    owned = 0
    for entry, a, b in zip(binding.entries, first.arrays, second.arrays, strict=True):
        if not isinstance(entry, Scratch) and a is not first.control:
            continue
        owned += 1
        assert not np.shares_memory(a, b)
        assert a.ctypes.data % LINE == 0 and b.ctypes.data % LINE == 0
        ends = [x.ctypes.data + max(x.nbytes, 1) - 1 for x in (a, b)]
        lines = [
            range(x.ctypes.data // LINE, e // LINE + 1)
            for x, e in zip((a, b), ends, strict=True)
        ]
        assert not set(lines[0]) & set(lines[1])
    assert owned > 1
    assert not np.shares_memory(first.order, second.order)
    for node in parameters:
        for kernel in (first, second):
            assert any(array is node.value for array in kernel.arrays)


def test_scratch_is_as_long_as_the_largest_batch_needs():
    loss, row, _ = deep_model()
    source, binding = binding_of(loss, row, np.arange(6), batched=True)
    extents = Extents.of(topological_order([loss]), True)
    assert extents.shapes[loss][0].length({"batch": BATCH}) == BATCH
    lengths = {
        slot.name: entry.length
        for slot, entry in zip(source.slots.slots, binding.entries, strict=True)
        if isinstance(entry, Scratch) and slot.kind == "workspace"
    }
    assert lengths and all(length >= BATCH for length in lengths.values())


def test_binding_travels_as_a_pickle_and_runs_there():
    loss, row, parameters = deep_model()
    start = [node.value.copy() for node in parameters]
    _, binding = binding_of(loss, row, np.arange(6))
    copy = pickle.loads(pickle.dumps(binding))  # private blocks are copied along
    kernel = copy.open()
    kernel.order[:6] = np.arange(6)
    assert np.isfinite(kernel.run(0, 6, seed=1))
    for node, before in zip(parameters, start, strict=True):
        np.testing.assert_array_equal(node.value, before)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("most", [2, 9])
def test_cut_step_is_the_whole_step(batched, most, monkeypatch):
    """Cut anywhere, the plain-Python run gives the same bits."""
    results = []
    for limit in (10**6, most):
        monkeypatch.setattr(source_module, "MOST_LOOPS", limit)
        monkeypatch.setattr(source_module, "PIECE_LOOPS", limit)
        loss, row, parameters = deep_model()
        source, binding = binding_of(loss, row, [1, 5, 2, 2, 6, 0, 3], batched=batched)
        kernel = binding.open()
        kernel.order[:7] = np.arange(7)
        total = kernel.run(0, 7, seed=4, epoch=1, block=2)
        results.append((total, *(node.value.copy() for node in parameters)))
        assert ("def piece1(" in source.text) == (limit == most)
    for whole, cut in zip(*results, strict=True):
        np.testing.assert_allclose(cut, whole, rtol=2e-6, atol=1e-7)


def test_cut_step_reads_ragged_batches(monkeypatch):
    results = []
    lists = wp.RaggedColumn.of([[3, 1], [], [0], [2, 2, 2, 4], [1]])
    for limit in (10**6, 2):
        monkeypatch.setattr(source_module, "MOST_LOOPS", limit)
        monkeypatch.setattr(source_module, "PIECE_LOOPS", limit)
        rng = np.random.default_rng(3)
        table = wp.ParameterNode(rng.normal(size=(5, 3)), np.float64)
        bag = wp.IndexInputNode([0], capacity=4)
        mean = table.index(bag).tanh().segment_sum(bag)
        loss = (mean.sigmoid() * mean).square().sum(axis=1)
        optimizer = wp.SGD(0.1)
        settings = Settings(shuffled=True, batched=True)
        source = generate(Plan.training(loss), optimizer, settings)
        columns = {(bag, "indices"): lists.values, (bag, "offsets"): lists.offsets}
        name = source.extents.ragged[bag]
        binding = bind(
            source,
            columns,
            {"batch": 2, name: 8},
            settings=list(optimizer.settings().values()),
            block_size=16,
            compiled=False,
        )
        kernel = binding.open()
        kernel.order[:5] = [4, 3, 1, 0, 2]
        results.append((kernel.run(0, 5), table.value.copy()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-12)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-12)


def test_memory_of_a_step_starts_with_zeros():
    for _ in range(20):  # what was written and given back must not come again
        memory = aligned(100, np.float32)
        assert memory.ctypes.data % 64 == 0
        assert not memory.any()
        memory.fill(1e-40)
