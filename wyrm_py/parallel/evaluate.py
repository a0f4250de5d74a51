"""`evaluate`: a node's values over columns, natively."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from wyrm_py.data.columns import take_columns
from wyrm_py.engines.native.kernel import bind
from wyrm_py.engines.native.settings import Settings
from wyrm_py.engines.native.source import generate
from wyrm_py.engines.plan import Plan
from wyrm_py.errors import SettingError, ShapeError
from wyrm_py.graph.limits import row_limits
from wyrm_py.graph.op import Array
from wyrm_py.leaves import require_node
from wyrm_py.nodes import Node
from wyrm_py.parallel.pools import resolve_jobs

CHUNK = 4096
"""Examples of one native call: a stop is noticed between calls."""


def evaluate(
    node: Node,
    inputs: Mapping[Any, Any],
    batch_size: int | None = None,
    n_jobs: int = 1,
) -> Array:
    """Return the values of a node over columns, one row an example.

    Parameters
    ----------
    node : any node
    inputs : {node: column} for every input under it, as for `fit`
    batch_size : examples computed at once, or None for one at a time; with it
        the first axis of every fed node, and of `node`, stands for the batch
    n_jobs : threads; -1 takes all cores

    Returns
    -------
    array of the node's dtype, shape (N, *node.shape), with `batch_size`
    (N, *node.shape[1:])

    Raises
    ------
    The errors of `fit` about inputs and settings.
    """
    whole = isinstance(batch_size, int | np.integer) and not isinstance(
        batch_size, bool
    )
    if batch_size is not None and (not whole or batch_size < 1):
        raise SettingError(
            "evaluate: batch_size must be an integer of at least 1, "
            f"got {batch_size!r}."
        )
    require_node("evaluate", "node", node)
    plan = Plan.evaluation(node)
    batched = batch_size is not None
    columns = take_columns(plan.leaves(), inputs, batched, "evaluate")
    total = next(iter(columns.values())).count if columns else 1
    batch = min(int(batch_size or 1), total)  # it sizes the scratch
    for leaf, limit in row_limits(plan.forward).items():
        if leaf.application.owner in columns:
            columns[leaf.application.owner].check_rows(leaf, limit)
    int32 = frozenset(
        (leaf, part)
        for leaf, column in columns.items()
        for part, array in column.arrays.items()
        if array.dtype == np.int32
    )
    source = generate(plan, None, Settings(batched=batched, int32=int32))
    shape = source.extents.shapes[node]
    if batched and (not shape or shape[0].text != "batch"):
        raise ShapeError(
            f"evaluate: with `batch_size` the first axis of {node!r} must be the "
            "batch. Leave `batch_size` out."
        )
    if any(extent.fixed is None for extent in shape[int(batched) :]):
        raise ShapeError(
            f"evaluate: the shape of {node!r} varies from example to example or with "
            "the batch, so its values are no rows of one array. Sum over the axis "
            "that varies."
        )
    output = np.empty((total, *node.shape[int(batched) :]), node.dtype)
    symbols = {"batch": batch}
    for ragged, name in source.extents.ragged.items():
        symbols[name] = columns[ragged].longest * batch
    binding = bind(
        source,
        {
            (leaf, part): array
            for leaf, column in columns.items()
            for part, array in column.arrays.items()
        },
        symbols,
        output=output.reshape(-1),
    )
    size = -(-CHUNK // batch) * batch
    starts = range(0, total, size)
    jobs = max(1, min(resolve_jobs(n_jobs), len(starts)))

    def work(first: int) -> None:
        kernel = binding.open()
        for begin in starts[first::jobs]:
            kernel.run(begin, min(begin + size, total), block=begin)

    if jobs == 1:
        work(0)
    else:
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(work, range(jobs)))
    return output
