"""Parameters as named arrays: what a file holds of them, and what fits back.

A value is "value:NAME", optimizer state "RULE.SLOT:NAME".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wyrm_py.errors import (
    CorruptCheckpointError,
    DivergenceError,
    DTypeError,
    ParameterError,
    ShapeError,
)
from wyrm_py.nn.layer import Layer
from wyrm_py.parameters import ParameterBlock
from wyrm_py.parameters.block import COUNT, ROOM, slot_kind


def slot_names(blocks: Mapping[str, ParameterBlock]) -> dict[str, list[str]]:
    """Return the names of all optimizer state, by name of its parameter."""
    return {name: sorted(block.slots()) for name, block in blocks.items()}


def finite_arrays(
    who: str, blocks: Mapping[str, ParameterBlock]
) -> dict[str, NDArray[Any]]:
    """Return values and optimizer state under the names of a file.

    Raises
    ------
    DivergenceError
        If there is NaN or infinity among them.
    ParameterError
        If two come to the same name.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for name, block in blocks.items():
        for key, array in _state(name, block).items():
            if not _is_finite(array):
                raise DivergenceError(
                    f"{who}: finite numbers are required, {key} has NaN or infinity. "
                    "Train again with a lower learning rate, or load the last "
                    "checkpoint."
                )
            if key in arrays:
                raise ParameterError(
                    f"{who}: the parameters' names contain ':' and collide in {key!r}."
                )
            arrays[key] = array
    return arrays


def restoring_values(
    path: Any,
    arrays: Mapping[str, NDArray[Any]],
    slots: Any,
    blocks: Mapping[str, ParameterBlock],
) -> list[Callable[[], None]]:
    """Check arrays of a file against parameters; return what puts them there.

    The first step makes room and may fail for want of memory, the second sets the
    values. Raises as `load` does.
    """
    _require_listed(path, arrays, slots)
    _require_same_names(path, list(slots), list(blocks))
    for name, block in blocks.items():
        _require_fit(path, name, block, arrays, slots[name])

    def make_room() -> None:
        for name, block in blocks.items():
            for slot in slots[name]:
                block.slot(slot, slot_kind(arrays[_slot_key(slot, name)]))

    def set_values() -> None:
        for name, block in blocks.items():
            np.copyto(block.value, arrays[_value_key(name)])
            for slot, state in block.slots().items():
                state[...] = arrays.get(_slot_key(slot, name), 0)

    return [make_room, set_values]


def blocks_by_name(parameters: Any, who: str) -> dict[str, ParameterBlock]:
    """Return the memory of parameters by name; see `save` for what may be given."""
    if isinstance(parameters, Layer):
        nodes = parameters.named_parameters()
        return {name: node.block for name, node in nodes.items()}
    if isinstance(parameters, Mapping):
        named = dict(parameters)
    else:
        several = isinstance(parameters, Sequence) and not isinstance(parameters, str)
        given = list(parameters) if several else [parameters]
        named = dict(zip(_names(given), given, strict=True))
    if not named:
        raise ParameterError(f"{who}: at least one parameter is required, got none.")
    blocks = {}
    for name, parameter in named.items():
        block = getattr(parameter, "block", parameter)
        if not isinstance(name, str) or not isinstance(block, ParameterBlock):
            raise ParameterError(
                f"{who}: a ParameterNode, HogwildParameter or PlainParameter under a "
                f"str is required, got {type(parameter).__name__} under {name!r}."
            )
        blocks[name] = block
    return blocks


def _names(parameters: list[Any]) -> list[str]:
    # The `.name` of a shared block is that of its memory: only nodes are asked.
    names = [getattr(p, "name", None) for p in parameters if hasattr(p, "block")]
    chosen = [name for name in names if isinstance(name, str) and name]
    if len(set(chosen)) == len(parameters):
        return chosen
    return [str(position) for position in range(len(parameters))]


def _value_key(name: str) -> str:
    return f"value:{name}"


def _slot_key(slot: str, name: str) -> str:
    return f"{slot}:{name}"


def _state(name: str, block: ParameterBlock) -> dict[str, NDArray[Any]]:
    slots = {_slot_key(slot, name): state for slot, state in block.slots().items()}
    return {_value_key(name): block.value} | slots


def _is_finite(array: NDArray[Any]) -> bool:
    # Minimum and maximum carry NaN through and need no array of their own.
    return array.size == 0 or bool(
        np.isfinite(array.min()) and np.isfinite(array.max())
    )


def _require_listed(path: Any, arrays: Mapping[str, Any], slots: Any) -> None:
    """Raise a CorruptCheckpointError unless the arrays are those of the list."""
    if not isinstance(slots, dict) or not all(
        isinstance(names, list) for names in slots.values()
    ):
        raise CorruptCheckpointError(
            f"load: {Path(path)} does not list its parameters."
        )
    keys = [_value_key(name) for name in slots]
    keys += [_slot_key(slot, name) for name in slots for slot in slots[name]]
    if sorted(keys) != sorted(arrays):
        raise CorruptCheckpointError(
            f"load: the arrays in {Path(path)} are not those its manifest lists."
        )
    damaged = [key for key, array in arrays.items() if not _is_finite(array)]
    if damaged:
        raise CorruptCheckpointError(
            f"load: finite numbers are required, {damaged[0]} in {Path(path)} has NaN "
            "or infinity."
        )


def _require_same_names(path: Any, saved: list[str], wanted: list[str]) -> None:
    missing, unexpected = sorted(set(wanted) - set(saved)), set(saved) - set(wanted)
    if missing or unexpected:
        raise ParameterError(
            f"load: {Path(path)} must hold exactly the parameters given; missing "
            f"there: {missing}, unexpected: {sorted(unexpected)}. Give the same names "
            "to `save` and `load`."
        )


def _require_fit(
    path: Any,
    name: str,
    block: ParameterBlock,
    arrays: Mapping[str, NDArray[Any]],
    slots: list[str],
) -> None:
    """Raise unless arrays of a file have a place in a parameter."""
    present = block.slots()
    saved = {slot: arrays[_slot_key(slot, name)] for slot in slots}
    kinds = {slot: slot_kind(array) for slot, array in (present | saved).items()}
    element = block.shape, block.dtype
    wanted = {
        "element": element,
        "row": ((block.rows,), COUNT),
        "parameter": ((), COUNT),
    }
    _require_alike(path, name, _value_key(name), arrays[_value_key(name)], *element)
    for slot, array in saved.items():
        if slot in present and slot_kind(present[slot]) != kinds[slot]:
            raise ParameterError(
                f"load: parameter {name!r} has {slot!r} per "
                f"{slot_kind(present[slot])}, {Path(path)} has it per {kinds[slot]}. "
                "Load into a fresh parameter."
            )
        _require_alike(path, name, _slot_key(slot, name), array, *wanted[kinds[slot]])
        if array.dtype == COUNT and array.min(initial=0) < 0:
            raise CorruptCheckpointError(
                f"load: {_slot_key(slot, name)} in {Path(path)} counts below zero."
            )
    for kind, room in ROOM.items():
        held = sorted(slot for slot in kinds if kinds[slot] == kind)
        if len(held) > room:
            raise ParameterError(
                f"load: parameter {name!r} has room for {room} arrays of optimizer "
                f"state per {kind}, {', '.join(held)} are needed. Load into a fresh "
                "parameter."
            )


def _require_alike(
    path: Any,
    name: str,
    key: str,
    saved: NDArray[Any],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> None:
    if saved.shape != shape:
        raise ShapeError(
            f"load: parameter {name!r} takes shape {shape}, {key} in {Path(path)} has "
            f"{saved.shape}. Build it with the saved shape."
        )
    if saved.dtype != dtype:
        raise DTypeError(
            f"load: parameter {name!r} takes dtype {dtype}, {key} in {Path(path)} has "
            f"{saved.dtype}. Build it with the saved dtype."
        )
