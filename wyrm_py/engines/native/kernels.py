"""Functions compiled once and called by emitted steps through their addresses.

Each is a module of its own in the folder of compiled steps, so that no step pays
for compiling it again, and a step without it loads nothing. A step finds the
address in a slot of kind "kernel", named `<family>_<dtype>`, and calls it with
`kernel_calls.call_kernel`. Sums run in one order: equal shapes give equal bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import cfunc, njit, types

from wyrm_py.engines.native import build
from wyrm_py.engines.native.block_copy import TEXT as BLOCK_COPY
from wyrm_py.engines.native.listed_product import TEXT as LISTED_PRODUCT
from wyrm_py.engines.native.matrix_product import TEXT as MATRIX_PRODUCT

u64 = np.uint64

TEXTS = {
    "gemm": MATRIX_PRODUCT,
    "listed_product": LISTED_PRODUCT,
    "block_copy": BLOCK_COPY,
}
"""The source of each family; {kind} is f4 or f8. It defines `run`."""


@cache
def address(name: str) -> int:
    """Return where a kernel ("gemm_f4") is in this process; compile it if new."""
    family, _, kind = name.rpartition("_")
    return int(build.load_module(TEXTS[family].format(kind=kind)).run.address)


def part(function: Callable[..., Any]) -> Any:
    """Put a function into each place of a kernel that calls it."""
    return njit(error_model="numpy", inline="always")(function)


def kernel(count: int) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function of `count` u64, addresses and numbers, with C's calls.

    No flag lets sums be reordered.
    """
    signature = types.void(*[types.uint64] * count)
    return cfunc(signature, cache=True, error_model="numpy")  # type: ignore[no-any-return]
