"""Which row numbers a plan may be fed: the check before native code.

Native code does not check indices (its memory would be corrupted silently), so
every input of row numbers gets the smallest number of rows among the tables it
reaches, through any ops that only move indices about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from wyrm_py.errors import CompileError, IndexRangeError
from wyrm_py.graph.op import Spec

if TYPE_CHECKING:
    from wyrm_py.nodes import Application, Node


def row_limits(
    applications: Sequence[Application], inner: Mapping[Node, Spec] | None = None
) -> dict[Node, int]:
    """Return, for each leaf output of row numbers, the bound it must stay below.

    `inner` gives shapes and dtypes of the values of a loop's body.

    Raises
    ------
    IndexRangeError
        If a sampler draws from more rows than a table has that it feeds.
    """
    limits: dict[Node, int] = {}
    for application in applications:
        if application.is_leaf:
            continue
        known = inner or {}
        specs = [known.get(n, Spec(n.shape, n.dtype)) for n in application.inputs]
        for position, limit in application.op.row_limits(*specs).items():
            _bound(application.inputs[position], limit, application, limits)
    return limits


def _bound(
    node: Node, limit: int, reader: Application, limits: dict[Node, int]
) -> None:
    application = node.application
    if application.is_leaf:
        limits[node] = min(limit, limits.get(node, limit))
        return
    specs = [Spec(n.shape, n.dtype) for n in application.inputs]  # tables may grow
    drawn = application.op.rows_below(*specs)
    if drawn > limit:
        raise IndexRangeError(
            f"{application.op.name}: draws from {drawn} rows, but "
            f"{reader.op.name} looks them up among {limit}. Give the sampler the "
            "table's number of rows."
        )
    if not drawn and not application.op.moves_rows:
        raise CompileError(
            f"{application.op.name}: gives row numbers that {reader.op.name} looks up "
            "without a check. Tell their bound by the op's `rows_below`."
        )
    if not drawn:
        for place, below in enumerate(application.inputs):
            if below.spec.is_index and place not in application.op.shape_only:
                _bound(below, limit, reader, limits)
