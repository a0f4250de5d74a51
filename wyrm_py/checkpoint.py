"""Parameters and arrays in a file: never half written, checked before use.

`save` and `load` keep parameters with their optimizer state; `write_arrays` and
`read_arrays` below them keep any named arrays with a JSON manifest (model files).
The format is safetensors: numbers and JSON only, so that opening a foreign file
runs nothing. Safetensors has no checksum of its own; the manifest brings SHA-256.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wyrm_py.arrayfile import read_arrays, require_writable, write_arrays
from wyrm_py.errors import (
    CorruptCheckpointError,
    DivergenceError,
    DTypeError,
    ParameterError,
    ShapeError,
)
from wyrm_py.parameters import ParameterBlock
from wyrm_py.parameters.block import MAX_SLOTS

__all__ = ["load", "read_arrays", "require_writable", "save", "write_arrays"]

_KIND = "parameters"


def save(path: str | os.PathLike[str], parameters: Any) -> None:
    """Write values and optimizer state of parameters to a file, atomically.

    Whatever happens, `path` afterwards holds the old file or the complete new one.
    While other threads or processes train the same parameters, each number is
    from some moment during the call; the file is whole and usable.

    Parameters
    ----------
    path : str or path-like
        In an existing folder; conventionally `*.safetensors`.
    parameters : dict of str to parameter, or sequence of parameters, or one
        A parameter is a ParameterNode, a HogwildParameter or a PlainParameter. In a
        sequence, nodes go by `.name` if each has a different one, otherwise all
        go by position: "0", "1", ...

    Raises
    ------
    ParameterError
        If something else is given, or nothing.
    DivergenceError
        If a value or its state is NaN or infinite; nothing is written.
    OSError
        If the folder is missing or cannot be written to, or the disk is full.
    """
    require_writable(path)
    blocks = _blocks_by_name(parameters, "save")
    arrays: dict[str, NDArray[Any]] = {}
    for name, block in blocks.items():
        for key, array in _state(name, block).items():
            if not _is_finite(array):
                raise DivergenceError(
                    f"save: finite numbers are required, {key} has NaN or infinity. "
                    "Train again with a lower learning rate, or load the last "
                    "checkpoint."
                )
            arrays[key] = array
    slots = {name: sorted(block.slots()) for name, block in blocks.items()}
    if len(arrays) < len(blocks) + sum(map(len, slots.values())):
        raise ParameterError("save: the parameters' names contain ':' and collide.")
    write_arrays(path, arrays, {"kind": _KIND, "slots": slots})


def load(path: str | os.PathLike[str], parameters: Any) -> None:
    """Read values and optimizer state from a file into parameters, in place.

    State that the file does not have is set to zero, as it was when saved. The
    whole file is checked first: after an error no value has changed.

    Parameters
    ----------
    path : str or path-like
        A file written by `save`.
    parameters : as for `save`
        Exactly those that were saved, with the same names, shapes and dtypes.

    Raises
    ------
    CorruptCheckpointError
        If the file is damaged, truncated, of a newer format or not from `save`.
    ParameterError
        If names are missing or unexpected, or another optimizer's state takes
        the room for that in the file.
    ShapeError, DTypeError
        If a shape or a dtype is another.
    OSError
        If the file cannot be read.
    """
    blocks = _blocks_by_name(parameters, "load")
    arrays, metadata = read_arrays(path)
    slots = _saved_slots(path, arrays, metadata)
    _require_same_names(path, list(slots), list(blocks))
    for name, block in blocks.items():
        _require_fit(path, name, block, arrays, slots[name])
    # Making a slot may fail for want of memory, so all are made before any is set.
    for name, block in blocks.items():
        for slot in slots[name]:
            block.slot(slot)
    for name, block in blocks.items():
        np.copyto(block.value, arrays[_value_key(name)])
        for slot, state in block.slots().items():
            state[...] = arrays.get(_slot_key(slot, name), 0)


def _blocks_by_name(parameters: Any, who: str) -> dict[str, ParameterBlock]:
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


def _saved_slots(
    path: Any, arrays: dict[str, NDArray[Any]], metadata: dict[str, Any]
) -> dict[str, list[str]]:
    """Return the names of slots by the name of their parameter, checked."""
    slots = metadata.get("slots")
    if (
        metadata.get("kind") != _KIND
        or not isinstance(slots, dict)
        or not all(isinstance(names, list) for names in slots.values())
    ):
        raise CorruptCheckpointError(
            f"load: {Path(path)} holds {metadata.get('kind', 'other arrays')!r}, not "
            "parameters written by `save`."
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
    return slots


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
    arrays: dict[str, NDArray[Any]],
    slots: list[str],
) -> None:
    for key in [_value_key(name), *(_slot_key(slot, name) for slot in slots)]:
        saved = arrays[key]
        if saved.shape != block.shape:
            raise ShapeError(
                f"load: parameter {name!r} has shape {block.shape}, {key} in "
                f"{Path(path)} has {saved.shape}. Build it with the saved shape."
            )
        if saved.dtype != block.dtype:
            raise DTypeError(
                f"load: parameter {name!r} has dtype {block.dtype}, {key} in "
                f"{Path(path)} has {saved.dtype}. Build it with the saved dtype."
            )
    present = sorted(set(block.slots()) | set(slots))
    if len(present) > MAX_SLOTS:
        raise ParameterError(
            f"load: parameter {name!r} has room for {MAX_SLOTS} arrays of optimizer "
            f"state, {', '.join(present)} are needed. Load into a fresh parameter."
        )
