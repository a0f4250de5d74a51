"""The yardstick: BPR matrix factorisation in one loop, fused and tuned by hand.

The best we can write in Numba for this one model and no other: negatives drawn in
advance, examples already shuffled, gradient, rule and three rows in one pass, bounds
known only at run time (`16 * blocks`; a literal bound is unrolled into scalar code),
unsigned indices, NumPy's error model, no alias checks. wyrm_py, which prints its loop
from the user's graph and draws negatives itself, has to stay within 1.5 times of it.

For tables that no longer fit the caches each loop has a second form, which asks for the
rows of the example four ahead.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.compiler import Compiler
from numba.extending import intrinsic
from numpy.typing import NDArray

from .datasets import Dataset
from .measure import Mark, mark
from .quality import Scores

f4, u64 = np.float32, np.uint64
EPSILON = f4(1e-10)
AHEAD = 4

# Everything but nnan and ninf; contraction and reassociation let the sums run packed.
FAST = {"reassoc", "contract", "arcp", "nsz"}


class _NoAlias(Compiler):
    """Promises LLVM that no two arrays overlap (they never do here)."""

    def define_pipelines(self) -> Any:
        self.state.flags.noalias = True
        return super().define_pipelines()  # type: ignore[no-untyped-call]


def native(function: Any) -> Any:
    return njit(
        error_model="numpy", fastmath=FAST, nogil=True, pipeline_class=_NoAlias
    )(function)


@intrinsic
def _prefetch(typing_context, table, row, column):  # type: ignore[no-untyped-def]
    """Ask for the cache line that holds `table[row, column]`, to be written."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        width = builder.extract_value(array.shape, 1)
        offset = builder.add(builder.mul(args[1], width), args[2])
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.bitcast(builder.gep(array.data, [offset]), byte)
        shape = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = builder.module.declare_intrinsic("llvm.prefetch", (byte,), shape)
        builder.call(function, [address, word(1), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(table, types.uint64, types.uint64), generate


def _sgd(ahead: bool) -> Any:
    """Return the loop for SGD; it trains one pass and returns the summed loss.

    The tables are float32, shape (R, 16 * blocks), the columns uint64, shape (N,).
    """

    @native
    def loop(U, V, users, items, negatives, blocks, rate):  # type: ignore[no-untyped-def]
        total = 0.0
        width = u64(16) * blocks
        last = u64(users.shape[0] - 1)
        for k in range(u64(users.shape[0])):
            if ahead:  # known when this is compiled
                soon = min(k + u64(AHEAD), last)
                u, i, j = users[soon], items[soon], negatives[soon]
                for block in range(blocks):  # sixteen float32 are one cache line
                    _prefetch(U, u, u64(16) * block)
                    _prefetch(V, i, u64(16) * block)
                    _prefetch(V, j, u64(16) * block)
            u, i, j = users[k], items[k], negatives[k]
            score = f4(0)
            for c in range(width):
                score += U[u, c] * (V[i, c] - V[j, c])
            e = math.exp(-score)
            total += math.log(f4(1) + e)
            g = rate * e / (f4(1) + e)
            if i == j:  # the difference is zero, and so is every gradient
                continue
            for c in range(width):
                x, p, q = U[u, c], V[i, c], V[j, c]
                U[u, c] = x + g * (p - q)
                V[i, c] = p + g * x
                V[j, c] = q - g * x
        return total

    return loop


def _adagrad(ahead: bool) -> Any:
    """Return the loop for Adagrad; GU and GV hold the sums of squares."""

    @native
    def loop(U, V, GU, GV, users, items, negatives, blocks, rate):  # type: ignore[no-untyped-def]
        total = 0.0
        width = u64(16) * blocks
        last = u64(users.shape[0] - 1)
        for k in range(u64(users.shape[0])):
            if ahead:
                soon = min(k + u64(AHEAD), last)
                u, i, j = users[soon], items[soon], negatives[soon]
                for block in range(blocks):
                    _prefetch(U, u, u64(16) * block)
                    _prefetch(GU, u, u64(16) * block)
                    _prefetch(V, i, u64(16) * block)
                    _prefetch(GV, i, u64(16) * block)
                    _prefetch(V, j, u64(16) * block)
                    _prefetch(GV, j, u64(16) * block)
            u, i, j = users[k], items[k], negatives[k]
            score = f4(0)
            for c in range(width):
                score += U[u, c] * (V[i, c] - V[j, c])
            e = math.exp(-score)
            total += math.log(f4(1) + e)
            g = -e / (f4(1) + e)
            if i == j:
                continue
            for c in range(width):
                x, p, q = U[u, c], V[i, c], V[j, c]
                a, b = g * (p - q), g * x
                s = GU[u, c] + a * a
                GU[u, c] = s
                U[u, c] = x - rate * a / (EPSILON + math.sqrt(s))
                s = GV[i, c] + b * b
                GV[i, c] = s
                V[i, c] = p - rate * b / (EPSILON + math.sqrt(s))
                s = GV[j, c] + b * b
                GV[j, c] = s
                V[j, c] = q + rate * b / (EPSILON + math.sqrt(s))
        return total

    return loop


@functools.cache
def _loop(optimizer: str, ahead: bool) -> Any:
    return {"sgd": _sgd, "adagrad": _adagrad}[optimizer](ahead)


class HandFused:
    """The loops above as a system; shuffling and drawing are not on its clock."""

    system = "hand-fused Numba"

    def __init__(
        self, optimizer: str, *, ahead: bool, learning_rate: float = 0.05
    ) -> None:
        self.config: dict[str, Any] = {
            "optimizer": optimizer,
            "workers": 1,
            "batch": 1,
            "prefetch": ahead,
        }
        self._rate = f4(learning_rate)
        self._tables: list[NDArray[np.float32]] = []

    def train(self, dataset: Dataset, epochs: int, seed: int) -> list[Mark]:
        """Run the epochs; between them the clock stops for the next negatives."""
        rng = np.random.default_rng(seed)
        shapes = [(rows, dataset.width) for rows in (dataset.n_users, dataset.n_items)]
        self._tables = [aligned(shape) for shape in shapes]
        for table in self._tables:
            table[:] = rng.standard_normal(table.shape, f4) * f4(0.1)
        users, items = (column.astype(u64) for column in dataset.columns())
        marks = [Mark(0, 0)]
        loop = self._bound()
        for _ in range(epochs):
            order = _order(rng, dataset.examples)
            negatives = rng.integers(0, dataset.n_items, dataset.examples, dtype=u64)
            columns = (users[order], items[order], negatives)
            before = mark()
            loop(*columns, u64(dataset.width // 16), self._rate)
            spent, last = mark() - before, marks[-1]
            marks.append(Mark(*(a + b for a, b in zip(last, spent, strict=True))))
        return marks

    def _bound(self) -> Any:
        """Bind tables and new optimizer state to the compiled function."""
        optimizer = str(self.config["optimizer"])
        function = _loop(optimizer, self.config["prefetch"])
        arrays = list(self._tables)
        if optimizer == "adagrad":
            arrays += [aligned(table.shape) for table in self._tables]
        return lambda *columns: function(*arrays, *columns)

    def examples(self, dataset: Dataset) -> int:
        """Return the examples between two marks."""
        return dataset.examples

    def scores(self) -> Scores:
        """Inner products of the tables."""
        users, items = self._tables
        return lambda block: np.asarray(users[block] @ items.T, f4)


def _order(rng: np.random.Generator, examples: int) -> NDArray[np.int64]:
    """Shuffle as wyrm_py does: runs of 16 over everything, then within blocks.

    Positives are sorted by user, so the order decides how often a user's row is still
    in the cache; both sides get the same mercy.
    """
    run, block = 16, 2**16
    runs = rng.permutation(examples // run)
    order = (runs[:, None] * run + np.arange(run)).ravel()
    order = np.concatenate([order, np.arange(len(order), examples)])
    for start in range(0, examples, block):
        rng.shuffle(order[start : start + block])
    return order


def aligned(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Zeros whose rows start on cache lines."""
    size = math.prod(shape)
    memory = np.zeros(size + 16, f4)
    start = (-memory.ctypes.data % 64) // 4
    return memory[start : start + size].reshape(shape)
