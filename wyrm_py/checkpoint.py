"""Parameters, layers and models in a file: never half written, checked before use.

`save` and `load` keep parameters with their optimizer state, and beside them what a
training goes on from; `save_model` and `load_model` also keep how a layer is built.
All four use one format, version 1: safetensors, which any of its readers opens, with
a manifest of readable JSON and SHA-256 sums (see `wyrm_py.arrayfile`).

Arrays are named "value:NAME" and "RULE.SLOT:NAME", such as "adagrad.sum:users".
The manifest's "metadata" has the keys

- kind: "parameters"
- slots: {NAME: [RULE.SLOT, ...]}
- optimizer: as `to_json` writes it; history: the attributes of a History
- random_state: states in the order given; extra: the caller's own JSON
- model: a layer as `to_json` writes it; frozen: names not trained (`save_model`)

Opening a foreign file runs nothing: there are only numbers and text in it, and
objects are built from classes that the reader knows, never from names alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from wyrm_py.arrayfile import read_arrays, write_arrays
from wyrm_py.atomic_file import require_writable
from wyrm_py.description import Known, build, describe, known_in
from wyrm_py.engines.plan import require_optimizer
from wyrm_py.errors import (
    CorruptCheckpointError,
    DataError,
    SettingError,
    UnsavableError,
)
from wyrm_py.nn.layer import Layer
from wyrm_py.optim import Optimizer
from wyrm_py.parallel.history import History
from wyrm_py.parameter_arrays import (
    blocks_by_name,
    finite_arrays,
    restoring_values,
    slot_names,
)
from wyrm_py.random_state import RandomState, describe_states, restoring

_KIND = "parameters"

__all__ = ["load", "load_model", "read_arrays", "require_writable", "save"]
__all__ += ["save_model", "write_arrays"]


def save(
    path: str | os.PathLike[str],
    what: Any,
    *,
    optimizer: Optimizer | None = None,
    history: History | None = None,
    random_state: RandomState | Sequence[RandomState] | None = None,
    extra: Any = None,
) -> None:
    """Write values and optimizer state of parameters to a file, atomically.

    Whatever happens, `path` afterwards holds the old file or the complete new one.
    While other threads or processes train the same parameters, each number is
    from some moment during the call; the file is whole and usable.

    A training that is saved with `optimizer` and `history` goes on as if it had
    never been interrupted: see `load`.

    Parameters
    ----------
    path : str or path-like
        In an existing folder; conventionally `*.safetensors`.
    what : Layer, dict of str to parameter, sequence of parameters, or one
        A parameter is a ParameterNode, a HogwildParameter or a PlainParameter. Those
        of a layer go by their paths, frozen ones too. In a sequence, nodes go by
        `.name` if each has a different one, otherwise all by position: "0", "1", ...
    optimizer : its settings are kept, with its schedule and epoch
    history : of the run of `fit` to go on with later
    random_state : a numpy Generator, a node, a CompiledStep or a sequence of them
        What they draw next: a node stands for all samplers and dropouts below it, as
        `forward` draws. `fit` needs none, it draws by its History's seed.
    extra : anything JSON has

    Raises
    ------
    ParameterError
        If something else is given, or nothing.
    UnsavableError, SettingError
        If a setting of the optimizer cannot be kept, or an argument is impossible.
    DivergenceError
        If a value or its state is NaN or infinite; nothing is written.
    DTypeError
        If `extra` is not JSON.
    OSError
        If the folder is missing or cannot be written to, or the disk is full.
    """
    _save("save", path, what, {}, optimizer, history, random_state, extra)


def load(
    path: str | os.PathLike[str],
    what: Any,
    *,
    optimizer: Optimizer | None = None,
    history: History | None = None,
    random_state: RandomState | Sequence[RandomState] | None = None,
    known: Iterable[Known] = (),
) -> Any:
    """Read what `save` or `save_model` wrote, in place; return its `extra`.

    Optimizer state that the file does not have is set to zero, as it was when saved.
    What is not asked for stays as it is. The whole file is checked first: after an
    error nothing has changed.

    A run is resumed so, on the same graph over the same data, and gives the same
    bits as without the interruption, with one worker or in synchronous mode::

        history = wp.fit(loss, optimizer, inputs, epochs=3)
        wp.save(path, loss.parameters(), optimizer=optimizer, history=history)

        history = wp.History()  # later, in another process
        wp.load(path, loss.parameters(), optimizer=optimizer, history=history)
        wp.fit(loss, optimizer, inputs, epochs=3, resume=history)

    Parameters
    ----------
    path : str or path-like
    what : as for `save`
        Exactly those that were saved, with the same names, shapes and dtypes.
    optimizer : of the class that was saved; takes the saved settings
    history : takes the saved losses, seconds and seed
    random_state : as for `save`, in the same order
    known : your own schedules and functions that the saved optimizer may have, besides
        wyrm_py's and those that `optimizer` has

    Raises
    ------
    CorruptCheckpointError
        If the file is damaged, truncated, of a newer format or not from `save`.
    ParameterError
        If names are missing or unexpected, or another optimizer's state takes
        the room for that in the file.
    ShapeError, DTypeError
        If a shape or a dtype is another.
    SettingError, UnknownClassError
        If the file does not hold what is asked for, or another optimizer.
    OSError
        If the file cannot be read.
    """
    blocks = blocks_by_name(what, "load")
    arrays, metadata = _read(path)
    steps = restoring_values(path, arrays, metadata.get("slots"), blocks)
    if optimizer is not None:
        steps.append(_restoring_optimizer(path, metadata, optimizer, known))
    if history is not None:
        steps.append(_restoring_history(path, metadata, history))
    if random_state is not None:
        saved = _held(path, metadata, "random_state")
        steps.append(restoring("load", saved, random_state))
    for step in steps:
        step()
    return metadata.get("extra")


def save_model(
    path: str | os.PathLike[str],
    layer: Layer,
    *,
    optimizer: Optimizer | None = None,
    history: History | None = None,
    random_state: RandomState | Sequence[RandomState] | None = None,
    extra: Any = None,
) -> None:
    """Write a layer to a file: its values as `save` does, and how it is built.

    The file names each layer's class and what its constructor was called with; see
    `to_json`. Whatever else a layer holds must follow from that.

    Parameters
    ----------
    layer : Layer
    path, optimizer, history, random_state, extra : as for `save`

    Raises
    ------
    UnsavableError
        If an argument of a constructor cannot be kept, such as a lambda or an
        array, or if the layer is none; otherwise as `save`.
    """
    if not isinstance(layer, Layer):
        raise UnsavableError(
            f"save_model: a Layer is required, got {type(layer).__name__}. Use `save` "
            "for parameters; a graph is built by your own code."
        )
    named = layer.named_parameters()
    more = {
        "model": describe("save_model", layer),
        "frozen": [name for name, node in named.items() if not node.trainable],
    }
    _save("save_model", path, layer, more, optimizer, history, random_state, extra)


def load_model(path: str | os.PathLike[str], known: Iterable[Known] = ()) -> Layer:
    """Build the layer of a file of `save_model`, with its values and optimizer state.

    Parameters are private, of the saved dtypes, and frozen if they were. The layer
    is in training mode. An optimizer, a history and random states that were saved
    with it come by `load(path, layer, ...)`.

    Parameters
    ----------
    path : str or path-like
    known : your own classes and functions that may be used, besides wyrm_py's

    Raises
    ------
    UnknownClassError
        If the file names a class that is not known: nothing is built or run.
    SettingError
        If a class does not take the saved settings.
    ParameterError, ShapeError, DTypeError
        If the layer that is built has other parameters: it was changed after it was
        built, or its class was.
    CorruptCheckpointError
        If the file is damaged, truncated, of a newer format or has no model.
    OSError
        If the file cannot be read.
    """
    arrays, metadata = _read(path)
    layer = build("load_model", _held(path, metadata, "model"), known)
    if not isinstance(layer, Layer):
        raise CorruptCheckpointError(f"load_model: {Path(path)} holds no layer.")
    blocks = blocks_by_name(layer, "load_model")
    for step in restoring_values(path, arrays, metadata.get("slots"), blocks):
        step()
    frozen = _held(path, metadata, "frozen")
    for name, node in layer.named_parameters().items():
        node.trainable = not (isinstance(frozen, list) and name in frozen)
    return layer


def _save(
    who: str,
    path: str | os.PathLike[str],
    what: Any,
    more: dict[str, Any],
    optimizer: Any,
    history: Any,
    random_state: Any,
    extra: Any,
) -> None:
    require_writable(path)
    blocks = blocks_by_name(what, who)
    metadata = {"kind": _KIND, **more}
    metadata["slots"] = slot_names(blocks)
    if optimizer is not None:
        require_optimizer(who, optimizer)
        metadata["optimizer"] = describe(who, optimizer)
    if history is not None:
        _require_history(who, history)
        metadata["history"] = history.to_dict()
    if random_state is not None:
        metadata["random_state"] = describe_states(who, random_state)
    if extra is not None:
        metadata["extra"] = extra
    write_arrays(path, finite_arrays(who, blocks), metadata)


def _read(path: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return arrays and metadata of a file of `save`."""
    arrays, metadata = read_arrays(path)
    if metadata.get("kind") != _KIND:
        raise CorruptCheckpointError(
            f"load: {Path(path)} holds {metadata.get('kind', 'other arrays')!r}, not "
            "parameters written by `save`."
        )
    return arrays, metadata


def _held(path: Any, metadata: dict[str, Any], what: str) -> Any:
    """Return an entry of the metadata, or raise a SettingError."""
    if what not in metadata:
        saved = "`save_model`" if what == "model" else f"`save(..., {what}=...)`"
        raise SettingError(
            f"load: {Path(path)} holds no {what}. Write it with {saved}, or do not ask "
            "for it."
        )
    return metadata[what]


def _require_history(who: str, history: Any) -> None:
    if not isinstance(history, History):
        raise SettingError(
            f"{who}: history must be the History of a run of `fit`, or an empty one "
            f"to be filled, got {history!r}."
        )


def _restoring_optimizer(
    path: Any, metadata: dict[str, Any], optimizer: Any, known: Iterable[Known]
) -> Callable[[], None]:
    require_optimizer("load", optimizer)
    described = _held(path, metadata, "optimizer")
    saved = build("load", described, [*known_in(optimizer), *known])
    if type(saved) is not type(optimizer):
        raise SettingError(
            f"load: {Path(path)} holds the settings of {type(saved).__name__}, got "
            f"an optimizer {type(optimizer).__name__}. Make one of the same class."
        )

    def restore() -> None:  # at once: each change alone might not be consistent
        settings = vars(saved) | {"version": optimizer.version + 1}
        vars(optimizer).update(settings)

    return restore


def _restoring_history(
    path: Any, metadata: dict[str, Any], history: Any
) -> Callable[[], None]:
    _require_history("load", history)
    saved = _held(path, metadata, "history")
    try:
        found = History.from_dict(saved)
    except DataError as error:
        raise CorruptCheckpointError(
            f"load: the history in {Path(path)} is none. {error}"
        ) from error

    def restore() -> None:
        vars(history).update(vars(found))

    return restore
