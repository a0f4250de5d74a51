"""`evaluate`: a node's values over columns, natively."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from wyrm_py.data.columns import take_columns
from wyrm_py.engines.native.extents import Extent
from wyrm_py.engines.native.kernel import bind
from wyrm_py.engines.native.printed import printed
from wyrm_py.engines.native.settings import Settings
from wyrm_py.engines.plan import Plan
from wyrm_py.errors import SettingError, ShapeError
from wyrm_py.graph.op import Array
from wyrm_py.leaves import require_node
from wyrm_py.nodes import Node
from wyrm_py.parallel.pools import resolve_jobs
from wyrm_py.parameters import ParameterBlock

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
    return Evaluation(node, inputs, batch_size).run(n_jobs)


class Evaluation:
    """A node over columns, checked and printed once, run as often as one likes.

    Every run draws the same numbers, whatever the number of workers.
    """

    def __init__(
        self,
        node: Node,
        inputs: Mapping[Any, Any],
        batch_size: int | None = None,
        who: str = "evaluate",
    ) -> None:
        whole = isinstance(batch_size, int | np.integer) and not isinstance(
            batch_size, bool
        )
        if batch_size is not None and (not whole or batch_size < 1):
            raise SettingError(
                f"{who}: batch_size must be an integer of at least 1, got "
                f"{batch_size!r}."
            )
        require_node(who, "node", node)
        plan = Plan.evaluation(node)
        batched = batch_size is not None
        columns = take_columns(plan.leaves(), inputs, batched, who)
        self.total = next(iter(columns.values())).count if columns else 1
        self._batch = min(int(batch_size or 1), self.total)  # it sizes the scratch
        self._flat = {
            (leaf, part): array
            for leaf, column in columns.items()
            for part, array in column.arrays.items()
        }
        int32 = frozenset(k for k, array in self._flat.items() if array.dtype == "i4")
        evaluation = printed(plan, Settings(batched=batched, int32=int32))
        for leaf, limit in evaluation.limits.items():
            if leaf.application.owner in columns:
                columns[leaf.application.owner].check_rows(leaf, limit)
        self._source = evaluation.source
        _require_rows(who, node, self._source.extents.shapes[node], batched)
        self._symbols = {"batch": self._batch}
        for ragged, name in self._source.extents.ragged.items():
            self._symbols[name] = columns[ragged].longest * self._batch
        self._shape = (self.total, *node.shape[int(batched) :])
        self._dtype = node.dtype

    def run(
        self, n_jobs: int = 1, blocks: Mapping[int, ParameterBlock] | None = None
    ) -> Array:
        """Return the values with the parameters as they are now, or with `blocks`."""
        output = np.empty(self._shape, self._dtype)
        binding = bind(
            self._source,
            self._flat,
            self._symbols,
            output=output.reshape(-1),
            blocks=blocks,
        )
        size = -(-CHUNK // self._batch) * self._batch
        starts = range(0, self.total, size)
        jobs = max(1, min(resolve_jobs(n_jobs), len(starts)))

        def work(first: int) -> None:
            kernel = binding.open()
            for begin in starts[first::jobs]:
                kernel.run(begin, min(begin + size, self.total), block=begin)

        if jobs == 1:
            work(0)
        else:
            with ThreadPoolExecutor(jobs) as pool:
                list(pool.map(work, range(jobs)))
        return output


def _require_rows(
    who: str, node: Node, shape: tuple[Extent, ...], batched: bool
) -> None:
    """Raise a ShapeError unless the values are rows of one array."""
    if batched and (not shape or shape[0].text != "batch"):
        raise ShapeError(
            f"{who}: with `batch_size` the first axis of {node!r} must be the batch. "
            "Leave `batch_size` out."
        )
    if any(extent.fixed is None for extent in shape[int(batched) :]):
        raise ShapeError(
            f"{who}: the shape of {node!r} varies from example to example or with "
            "the batch, so its values are no rows of one array. Sum over the axis "
            "that varies."
        )
