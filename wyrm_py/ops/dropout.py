"""Dropout: a value times a mask that is drawn once a forward pass.

The mask is a node of its own, so the gradient uses the very mask of the value
and draws nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.errors import SettingError
from wyrm_py.graph.mode import Mode
from wyrm_py.graph.op import Array, Op, Spec, require_floats
from wyrm_py.ops.methods import Methods

if TYPE_CHECKING:
    from wyrm_py.engines.native.operands import Operand
    from wyrm_py.engines.native.writer import Writer
    from wyrm_py.nodes import Node


@dataclass(frozen=True)
class DropoutMask(Op):
    """Zeros with probability p, else 1 / (1 - p); ones when evaluating.

    One draw of the op's stream an element. Its upper 32 bits, as a number in
    [0, 2**32), are kept from `limit` = p * 2**32 on.
    """

    p: float
    mode: Mode
    random = True
    shape_only = (0,)

    @property
    def limit(self) -> int:
        """Numbers below it, of 32 bits, are dropped."""
        return round(self.p * 2**32)

    @property
    def kept(self) -> float:
        """What a kept element is multiplied with."""
        return 1.0 / (1.0 - self.p) if self.p < 1.0 else 0.0

    def infer(self, *inputs: Spec) -> Spec:
        require_floats("dropout", *inputs)
        return inputs[0]

    def forward(self, out: Array, *inputs: Any) -> None:
        stream, _ = inputs
        if not self.mode.is_training:
            out[...] = 1
            return
        bits = stream.draws(out.size).reshape(out.shape) >> np.uint64(32)
        out[...] = np.where(bits < np.uint64(self.limit), 0.0, self.kept)

    def emit(self, writer: Writer, out: Operand, *inputs: Operand) -> None:
        if not writer.training:
            writer.fill(out, "1")
            return
        kept = f"{out.type}({self.kept!r})"
        with writer.loops(out.extents) as index:
            dropped = f"({writer.draw()} >> u64(32)) < u64({self.limit})"
            text = f"where({dropped}, {out.type}(0), {kept})"
            writer.line(f"{out.at(*index)} = {text}")


class DropoutMethods(Methods):
    """Dropout of a node."""

    __slots__ = ()

    def dropout(self, p: float, mode: Mode | None = None) -> Node:
        """Return a with each element zero with probability p, else a / (1 - p).

        A mask is drawn at each forward pass in training and the value passes
        as it is in evaluation: see `Mode`, of which each call has its own unless
        one is given. With p = 1 all is zero.
        Source: Srivastava et al., "Dropout: a simple way to prevent neural networks
        from overfitting", JMLR 15 (2014), section 10 for the scale in training.

        Raises
        ------
        SettingError
            If p is not a number in [0, 1].
        """
        if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
            raise SettingError(f"dropout: p must be a number in [0, 1], got {p!r}.")
        mask = self._apply(DropoutMask(float(p), mode or Mode()))
        return self._operand() * mask

    if TYPE_CHECKING:

        def _operand(self) -> Node: ...
