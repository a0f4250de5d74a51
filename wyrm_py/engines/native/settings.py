"""What decides the text of a step beside its plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from wyrm_py.leaves import LeafNode


@dataclass(frozen=True)
class Settings:
    """What decides the text beside the plan itself.

    batched : the fed nodes' first axis is the batch
    shuffled : examples are taken in the order of an array
    prefetch : rows are asked for ahead of their use
    gradients : what becomes of them; a synchronous round collects the gradients
        of every worker before it applies any
    cut : the step is printed as several functions
    int32 : columns of row numbers that are int32 rather than int64
    distinct : sparse leaves of which no example names a column twice
    resumed : streams go on where the call before left them, rather than start anew
    """

    batched: bool = False
    shuffled: bool = False
    prefetch: bool = False
    gradients: Literal["apply", "collect", "apply collected"] = "apply"
    cut: bool = False
    int32: frozenset[tuple[LeafNode, str]] = frozenset()
    distinct: frozenset[LeafNode] = frozenset()
    resumed: bool = False
