"""What a model's parameters and their optimizer have learned, as named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wyrm_py.nn.layer import Layer
from wyrm_py.parameters.block import clock_of, slot_kind

Learned = Mapping[str, NDArray[Any]]


def learned_of(model: Layer) -> dict[str, NDArray[Any]]:
    """Return values by the name of the parameter, state as "slot:name"."""
    learned: dict[str, NDArray[Any]] = {}
    for name, node in model.named_parameters().items():
        learned[name] = node.value
        for slot, state in node.block.slots().items():
            learned[f"{slot}:{name}"] = state
    return learned


def restore(model: Layer, learned: Learned) -> None:
    """Write learned arrays into the parameters of a model of that form."""
    for name, node in model.named_parameters().items():
        node.set_value(learned[name])
    for key, state in learned.items():
        slot, _, name = key.rpartition(":")
        if slot:
            block = model.named_parameters()[name].block
            block.slot(slot, slot_kind(state))[...] = state


def require_shapes(learned: Learned, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise a ValueError unless arrays are those of parameters of such shapes."""
    if missing := set(shapes) - set(learned):
        raise ValueError(f"no parameters {', '.join(sorted(missing))}")
    for key, array in learned.items():
        shape = shapes.get(key.rpartition(":")[2], (-1,))
        kinds = (shape, shape[:1], ()) if ":" in key else (shape,)
        if array.shape not in kinds:
            raise ValueError(f"{key} of shape {array.shape} for parameters {shape}")


def grown(learned: Learned, vectors: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return arrays with more rows for items: vectors (K, D), biases and state of zero.

    What counts the steps of a row begins with the steps of the parameter.
    """
    longer = dict(learned)
    for key, array in learned.items():
        slot, _, name = key.rpartition(":")
        if name not in ("items", "biases") or array.ndim == 0:
            continue
        more = np.zeros((len(vectors), *array.shape[1:]), array.dtype)
        if key == "items":
            more = vectors
        elif array.ndim == 1:
            more += learned.get(f"{clock_of(slot)}:{name}", 0)
        longer[key] = np.concatenate([array, more])
    return longer
