"""The order of examples, made natively block by block.

An epoch shuffles runs of 16 neighbouring examples (a cache line of int32) over
all blocks, by a bijection that needs no memory, and then the examples within
each block. So a block reads whole cache lines, holds examples from everywhere,
and is the same whoever makes it. NumPy's permutation costs 9 ns an example.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.engines.native import build
from wyrm_py.graph.op import Array

if TYPE_CHECKING:
    from wyrm_py.engines.native.extents import Extent
    from wyrm_py.nodes import Application, Node

BLOCK_WORK = 100_000_000
"""Elements computed in a block at most: about a tenth of a second."""
RUN = 16
"""Examples that stay together when runs are shuffled over the blocks."""

SOURCE = '''\
"""The order of one block of examples, printed by wyrm_py; safe to delete."""

from wyrm_py.engines.native.runtime import *


@part([u4], [u4], [u4], [u8])
def fill(order, runs, pattern, numbers):
    total = numbers[u64(0)]
    size = numbers[u64(1)]
    seed = numbers[u64(2)]
    epoch = numbers[u64(3)]
    block = numbers[u64(4)]
    shuffled = numbers[u64(5)]
    run = numbers[u64(7)]
    begin = block * size
    count = min(size, total - begin)
    if shuffled == u64(0):
        for p in range(count):
            order[p] = u4(begin + u64(p))
        return f8(count)
    # which runs: a bijection of [0, 2**bits), walked until it is a run's number
    limit = total // run
    bits = u64(2)
    while (u64(1) << bits) < limit:
        bits = bits + u64(1)
    mask = (u64(1) << bits) - u64(1)
    half = (bits + u64(1)) >> u64(1)
    key = stream_start(seed, epoch, u64(0), u64(0))
    a = mix(key + u64(1)) | u64(1)
    b = mix(key + u64(2)) | u64(1)
    c = mix(key + u64(3)) | u64(1)
    first = begin // run
    here = min(count // run, limit - first)
    for r in range(here):
        x = first + u64(r)
        walking = True
        while walking:
            x = (x * a + key) & mask
            x = ((x ^ (x >> half)) * b + (key >> u64(20))) & mask
            x = ((x ^ (x >> half)) * c + (key >> u64(40))) & mask
            x = x ^ (x >> half)
            walking = x >= limit
        runs[u64(r)] = u4(x * run)
    key = stream_start(seed, epoch, block, u64(1) << u64(40))
    whole = run == u64(16) and here * run == count
    if whole and count == size and size & (size - u64(1)) == u64(0):
        # a power of two: one shuffle an epoch, and for each block another mask
        if numbers[u64(6)] != epoch + u64(1):
            numbers[u64(6)] = epoch + u64(1)
            state = stream_start(seed, epoch, u64(0), u64(1) << u64(41))
            for t in range(size):
                last = u64(t)
                state = state + GAMMA
                other = ((mix(state) >> u64(32)) * (last + u64(1))) >> u64(32)
                pattern[last] = pattern[other]
                pattern[other] = u4(last)
        mask = key & (size - u64(1))
        for p in range(count):
            x = u64(pattern[p]) ^ mask
            order[p] = u4(u64(runs[x >> u64(4)]) + (x & u64(15)))
        return f8(count)
    for r in range(here):
        for q in range(run):
            order[u64(r) * run + u64(q)] = u4(u64(runs[u64(r)]) + u64(q))
    # what does not fill a run is in the last block
    for q in range(here * run, count):
        order[u64(q)] = u4(begin + u64(q))
    state = key
    for t in range(u64(1), count):
        last = count - u64(t)
        state = state + GAMMA
        other = ((mix(state) >> u64(32)) * (last + u64(1))) >> u64(32)
        held = order[last]
        order[last] = order[other]
        order[other] = held
    return f8(count)


@entry
def run(address):
    table = array_at(address, u64(8), u64)
    order = array_at(table[0], table[1], u4)
    runs = array_at(table[2], table[3], u4)
    pattern = array_at(table[4], table[5], u4)
    numbers = array_at(table[6], table[7], u8)
    return fill(order, runs, pattern, numbers)
'''


class Order:
    """Fills an array with the examples of a block.

    Parameters
    ----------
    order : uint32 array, shape (block_size,)
    total : number of examples, below 2**32
    block_size : any length; examples stay together in runs if RUN divides it
    """

    def __init__(
        self,
        order: Array,
        total: int,
        block_size: int,
        seed: int,
        shuffle: bool,
        compiled: bool = True,
    ) -> None:
        self.order = order
        run = RUN if block_size % RUN == 0 else 1
        self.numbers = np.array(
            [total, block_size, seed, 0, 0, int(shuffle), 0, run], np.uint64
        )
        self._runs = np.empty(max(block_size // run, 1), np.uint32)
        self._pattern = np.empty(block_size, np.uint32)
        arrays: list[Any] = [order, self._runs, self._pattern, self.numbers]
        self._table = np.array(
            [n for array in arrays for n in (array.ctypes.data, array.size)], np.uint64
        )
        self._address = int(self._table.ctypes.data)
        load = build.load if compiled else build.run_in_python
        self._fill = load(SOURCE)

    def fill(self, epoch: int, block: int) -> int:
        """Write the examples of a block; return how many they are."""
        self.numbers[3], self.numbers[4] = epoch, block
        return int(self._fill(self._address))


def step_work(
    applications: Iterable[Application],
    shapes: Mapping[Node, Sequence[Extent]],
    symbols: Mapping[str, int],
) -> int:
    """Return how many elements one step takes, roughly."""
    sizes = (
        math.prod(extent.length(symbols) for extent in shapes[out])
        for application in applications
        for out in application.outputs
        if not application.is_leaf and out in shapes
    )
    return max(1, sum(sizes))


def most_examples(work: int, batch_size: int) -> int:
    """Return how many examples a block may have at most, given a step's work."""
    return max(64, min(4096, BLOCK_WORK * batch_size // work))


def block_size_for(examples: int, workers: int, batch_size: int, most: int) -> int:
    """Return how many examples make a block.

    Enough blocks that workers end together, large enough that handing them out
    costs nothing, at most `most`, whole runs and whole batches, and a power of
    two if it can be: those are shuffled packed (0.7 ns an example).
    """
    share = -(-examples // workers)  # every worker gets a block, however few there are
    step = math.lcm(RUN, batch_size) if share >= RUN else batch_size
    wanted = min(max(examples // (16 * workers), 1024), most, share)
    power = 1 << (max(wanted, 1).bit_length() - 1)
    if power % step == 0:
        return power
    return max(step, wanted // step * step)
