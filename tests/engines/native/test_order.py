"""The order of examples: every one once, other ones each epoch, in runs of 16."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wyrm_py.engines.native.order import RUN, Order, block_size_for


def blocks(total, size, seed=0, epoch=0, shuffle=True, compiled=False):
    """Return the examples of each block of an epoch."""
    array = np.full(size, 2**32 - 1, np.uint32)
    order = Order(array, total, size, seed, shuffle, compiled)
    found = []
    for block in range(-(-total // size)):
        count = order.fill(epoch, block)
        assert count == min(size, total - block * size)
        found.append(array[:count].copy())
    return found


sizes = st.one_of(
    st.sampled_from([16, 32, 64, 128]),  # shuffled by a mask
    st.integers(1, 9).map(lambda runs: RUN * runs),  # shuffled element by element
    st.integers(1, 40),  # no whole runs
)


@settings(max_examples=60)
@given(st.integers(1, 700), sizes, st.integers(0, 2**63 - 1), st.integers(0, 2**40))
def test_every_example_comes_once_an_epoch(total, size, seed, epoch):
    found = np.concatenate(blocks(total, size, seed, epoch))
    np.testing.assert_array_equal(np.sort(found), np.arange(total))


@settings(max_examples=200)
@given(st.integers(1, 30_000), sizes, st.integers(0, 2**63 - 1), st.integers(0, 99))
def test_every_example_comes_once_an_epoch_compiled(total, size, seed, epoch):
    found = np.concatenate(blocks(total, size, seed, epoch, compiled=True))
    np.testing.assert_array_equal(np.sort(found), np.arange(total))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(
    ("total", "size"), [(1, 16), (100, 48), (300, 64), (1040, 1024)]
)
def test_plain_python_gives_the_same_order(total, size, shuffle):
    for epoch in range(2):
        given = (total, size, 7, epoch, shuffle)
        plain, compiled = blocks(*given), blocks(*given, compiled=True)
        for a, b in zip(plain, compiled, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("total", "size"), [(4096, 256), (5000, 256), (5000, 240)])
def test_blocks_hold_whole_runs_from_everywhere(total, size):
    found = blocks(total, size, compiled=True)
    for examples in found[:-1]:
        runs, counts = np.unique(examples // RUN, return_counts=True)
        assert (counts == RUN).all()  # whole cache lines of the columns
        assert not np.array_equal(np.sort(runs), np.arange(len(runs)) + runs.min())
    where = np.argsort(np.concatenate(found))  # position of each example
    distance = np.abs(where[::RUN][1:] - where[::RUN][:-1])
    assert np.median(distance) > total / 10  # neighbouring runs come far apart


@pytest.mark.parametrize("size", [256, 240])
def test_examples_within_a_block_are_shuffled(size):
    for examples in blocks(4096, size, compiled=True)[:4]:
        neighbours = np.abs(np.diff(examples.astype(int))) == 1
        assert neighbours.mean() < 0.15  # all but one in 16, were they not


def test_another_epoch_or_seed_is_another_order():
    for size in (256, 240):
        given = {
            (s, e): np.concatenate(blocks(2000, size, s, e, compiled=True))
            for s in range(3)
            for e in range(3)
        }
        keys = list(given)
        for k, first in enumerate(keys):
            for second in keys[:k]:
                same = (given[first] == given[second]).mean()
                assert same < 0.05
        again = np.concatenate(blocks(2000, size, 1, 2, compiled=True))
        np.testing.assert_array_equal(again, given[1, 2])


def test_positions_are_even_over_epochs():
    """Each example comes about as often in the first half as in the second."""
    total, epochs = 1024, 300
    early = np.zeros(total)
    array = np.empty(128, np.uint32)
    order = Order(array, total, 128, 5, True)
    for epoch in range(epochs):
        for block in range(4):
            order.fill(epoch, block)
            early[array] += 1
    # binomial (300, 1/2) has a deviation of 8.7
    assert abs(early.mean() - epochs / 2) < 1e-9
    assert np.abs(early - epochs / 2).max() < 5 * 8.7


def test_a_block_is_the_same_whoever_makes_it_and_when():
    whole = blocks(1000, 64, 3, 2, compiled=True)
    array = np.empty(64, np.uint32)
    order = Order(array, 1000, 64, 3, True)
    for epoch, block in [(0, 4), (2, 9), (1, 0), (2, 3), (2, 9), (2, 15)]:
        count = order.fill(epoch, block)
        if epoch == 2:
            np.testing.assert_array_equal(array[:count], whole[block])


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("total", "size"), [(1, 16), (50, 16), (50, 48), (64, 64)])
def test_unshuffled_is_ascending(total, size, compiled):
    found = blocks(total, size, shuffle=False, compiled=compiled)
    np.testing.assert_array_equal(np.concatenate(found), np.arange(total))


@given(
    st.integers(1, 2**32 - 1),
    st.integers(1, 200),
    st.integers(1, 10_000),
    st.integers(64, 4096),
)
def test_block_sizes_are_whole_runs_and_batches(examples, workers, batch, most):
    size = block_size_for(examples, workers, batch, most)
    assert size % batch == 0  # so that only the last batch is shorter
    if -(-examples // workers) >= RUN:
        assert size % RUN == 0
    assert size <= max(most, np.lcm(RUN, batch))


@given(st.integers(1, 5000), st.integers(1, 40))
def test_small_data_are_shared_by_all_workers(examples, workers):
    size = block_size_for(examples, workers, 1, 4096)
    assert -(-examples // size) >= min(workers, -(-examples // -(-examples // workers)))


def test_blocks_are_enough_for_all_workers():
    for workers in (1, 2, 8):
        size = block_size_for(1_000_000, workers, 1, 4096)
        assert size & (size - 1) == 0  # shuffled packed
        assert 1_000_000 / size > 16 * workers
