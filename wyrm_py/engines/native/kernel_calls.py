"""What emitted modules import to call kernels: products and copies.

Each function stands for a kernel of `kernels.py`: natively it calls the address it
is handed, as plain Python it computes the same with NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

__all__ = ["block_copy", "gemm", "listed_product"]

u64 = np.uint64


@intrinsic
def call_kernel(_typing: Any, address: Any, *arguments: Any) -> Any:
    """Call the C function of u64 at an address."""

    def generate(context: Any, builder: Any, _signature: Any, given: Any) -> Any:
        values = cgutils.unpack_tuple(builder, given[1])
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(given[0], kind.as_pointer()), values)
        return context.get_dummy_value()

    numbers = types.StarArgTuple([types.uint64] * len(arguments))
    return types.void(address, numbers), generate


@intrinsic
def place_of(_typing: Any, array: Any, position: Any) -> Any:
    """Return the address of array[position]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.gep(arguments[0], [arguments[1]])
        return builder.ptrtoint(place, ir.IntType(64))

    return types.uint64(array, types.uint64), generate


def gemm(
    kernel: Any,
    c: Any, c_start: Any, c_row: Any,
    a: Any, a_start: Any, a_row: Any, a_column: Any,
    b: Any, b_start: Any, b_row: Any, b_column: Any,
    rows: Any, columns: Any, depth: Any, more: Any,
) -> None:  # fmt: skip
    """Write the matrix product of a and b into c, or add it where `more` is 1.

    All are parts of flat arrays: where they start, and how far apart rows and
    columns are; c's columns lie side by side. `kernel` holds an address.
    """
    left = _part_of(a, a_start, (rows, depth), (a_row, a_column))
    right = _part_of(b, b_start, (depth, columns), (b_row, b_column))
    out = _part_of(c, c_start, (rows, columns), (c_row, 1))
    np.add(left @ right, out if more else 0, out=out)


def _part_of(flat: Any, start: Any, shape: Any, strides: Any) -> Any:
    """Return a part of a flat array, or raise if it leaves the array."""
    size = flat.itemsize
    lengths = tuple(int(n) for n in shape)
    steps = tuple(int(step) * size for step in strides)
    return np.ndarray(lengths, flat.dtype, flat, int(start) * size, steps)


@overload(gemm)
def _gemm(
    kernel: Any,
    c: Any, c_start: Any, c_row: Any,
    a: Any, a_start: Any, a_row: Any, a_column: Any,
    b: Any, b_start: Any, b_row: Any, b_column: Any,
    rows: Any, columns: Any, depth: Any, more: Any,
) -> Any:  # fmt: skip
    def native(
        kernel: Any,
        c: Any, c_start: Any, c_row: Any,
        a: Any, a_start: Any, a_row: Any, a_column: Any,
        b: Any, b_start: Any, b_row: Any, b_column: Any,
        rows: Any, columns: Any, depth: Any, more: Any,
    ) -> None:  # fmt: skip
        call_kernel(
            kernel[0],
            place_of(c, c_start), c_row,
            place_of(a, a_start), a_row, a_column,
            place_of(b, b_start), b_row, b_column,
            rows, columns, depth, more,
        )  # fmt: skip

    return native


def listed_product(
    kernel: Any,
    c: Any, c_start: Any, c_row: Any,
    a: Any, a_start: Any, a_rows: Any, a_columns: Any,
    b: Any, b_start: Any, b_rows: Any,
    rows: Any, columns: Any, depth: Any, more: Any,
) -> None:  # fmt: skip
    """Write a product into c, or add it where `more` is 1; see `gemm`.

    The tables `a_rows`, `a_columns` and `b_rows` hold how far from the start each row
    and column of a and each row of b lies; the columns of b lie side by side.
    """
    listed = np.add.outer(a_rows[: int(rows)], a_columns[: int(depth)])
    left = a[int(a_start) + listed.astype(np.int64)]
    beside = np.add.outer(b_rows[: int(depth)], np.arange(int(columns), dtype=u64))
    right = b[int(b_start) + beside.astype(np.int64)]
    out = _part_of(c, c_start, (rows, columns), (c_row, 1))
    np.add(left @ right, out if more else 0, out=out)


@overload(listed_product)
def _listed_product(
    kernel: Any,
    c: Any, c_start: Any, c_row: Any,
    a: Any, a_start: Any, a_rows: Any, a_columns: Any,
    b: Any, b_start: Any, b_rows: Any,
    rows: Any, columns: Any, depth: Any, more: Any,
) -> Any:  # fmt: skip
    def native(
        kernel: Any,
        c: Any, c_start: Any, c_row: Any,
        a: Any, a_start: Any, a_rows: Any, a_columns: Any,
        b: Any, b_start: Any, b_rows: Any,
        rows: Any, columns: Any, depth: Any, more: Any,
    ) -> None:  # fmt: skip
        call_kernel(
            kernel[0],
            place_of(c, c_start), c_row,
            place_of(a, a_start), place_of(a_rows, u64(0)), place_of(a_columns, u64(0)),
            place_of(b, b_start), place_of(b_rows, u64(0)),
            rows, columns, depth, more,
        )  # fmt: skip

    return native


def block_copy(
    kernel: Any,
    to: Any, to_start: Any, t0: Any, t1: Any, t2: Any, t3: Any,
    b: Any, b_start: Any, s0: Any, s1: Any, s2: Any, s3: Any,
    n0: Any, n1: Any, n2: Any, n3: Any,
) -> None:  # fmt: skip
    """Copy a part of b with four axes of any strides into such a part of `to`."""
    lengths = (n0, n1, n2, n3)
    source = _part_of(b, b_start, lengths, (s0, s1, s2, s3))
    _part_of(to, to_start, lengths, (t0, t1, t2, t3))[...] = source


@overload(block_copy)
def _block_copy(
    kernel: Any,
    to: Any, to_start: Any, t0: Any, t1: Any, t2: Any, t3: Any,
    b: Any, b_start: Any, s0: Any, s1: Any, s2: Any, s3: Any,
    n0: Any, n1: Any, n2: Any, n3: Any,
) -> Any:  # fmt: skip
    def native(
        kernel: Any,
        to: Any, to_start: Any, t0: Any, t1: Any, t2: Any, t3: Any,
        b: Any, b_start: Any, s0: Any, s1: Any, s2: Any, s3: Any,
        n0: Any, n1: Any, n2: Any, n3: Any,
    ) -> None:  # fmt: skip
        call_kernel(
            kernel[0], place_of(to, to_start), place_of(b, b_start),
            n0, n1, n2, n3, t0, t1, t2, t3, s0, s1, s2, s3,
        )  # fmt: skip

    return native
