"""States of random numbers as JSON: numpy Generators, graphs and compiled steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from wyrm_py.engines.native.step import CompiledStep
from wyrm_py.errors import CorruptCheckpointError, SettingError
from wyrm_py.graph.order import topological_order
from wyrm_py.graph.stream import Stream
from wyrm_py.nodes import Node

RandomState: TypeAlias = np.random.Generator | Node | CompiledStep

_BIT_GENERATORS = {
    kind.__name__: kind
    for kind in (
        np.random.PCG64,
        np.random.PCG64DXSM,
        np.random.MT19937,
        np.random.Philox,
        np.random.SFC64,
    )
}

_LARGEST = {"pos": 624, "buffer_pos": 4, "has_uint32": 1, "uinteger": (1 << 32) - 1}


def generator_state(generator: np.random.Generator) -> dict[str, Any]:
    """Return the state of a Generator as JSON values: whole numbers and text."""
    state: dict[str, Any] = _plain(generator.bit_generator.state)
    return state


def new_generator(who: str, state: Any) -> np.random.Generator:
    """Return a new Generator in a state, or raise a CorruptCheckpointError."""
    try:
        generator = np.random.Generator(_BIT_GENERATORS[state["bit_generator"]]())
        _require_alike(state, generator_state(generator))
        generator.bit_generator.state = state
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CorruptCheckpointError(
            f"{who}: no state of a numpy Generator: {type(error).__name__}: {error}."
        ) from error
    return generator


def describe_states(who: str, given: Any) -> list[dict[str, Any]]:
    """Return what the random numbers of each thing given come from next."""
    return [_describe(thing) for thing in _listed(who, given)]


def restoring(who: str, saved: Any, given: Any) -> Callable[[], None]:
    """Check saved states against what is given; return what sets them."""
    things = _listed(who, given)
    if not isinstance(saved, list) or len(saved) != len(things):
        count = len(saved) if isinstance(saved, list) else 0
        raise SettingError(
            f"{who}: the file holds {count} random states, random_state has "
            f"{len(things)}. Give the same ones to `save` and `load`."
        )
    setters = [_setter(who, s, t) for s, t in zip(saved, things, strict=True)]

    def restore() -> None:
        for setter in setters:
            setter()

    return restore


def _listed(who: str, given: Any) -> Sequence[RandomState]:
    several = isinstance(given, list | tuple)
    things: Sequence[Any] = given if several else [given]
    for thing in things:
        if not isinstance(thing, RandomState):
            raise SettingError(
                f"{who}: random_state must be a numpy Generator, a node, a compiled "
                f"step or a list of them, got {thing!r}. A run of `fit` keeps its seed "
                "in its History: pass `history=`."
            )
    return things


def _describe(thing: RandomState) -> dict[str, Any]:
    if isinstance(thing, np.random.Generator):
        return {"generator": generator_state(thing)}
    if isinstance(thing, CompiledStep):
        return {"steps": thing.drawn}
    return {"draws": [[name, stream.state] for name, stream in _drawing(thing)]}


def _setter(who: str, saved: Any, thing: RandomState) -> Callable[[], None]:
    """Check one state; return what sets it."""
    current = _describe(thing)
    if not isinstance(saved, dict):
        raise CorruptCheckpointError(f"{who}: no random state: {saved!r}.")
    if saved.keys() != current.keys():
        raise SettingError(
            f"{who}: random_state must have the kinds that were saved, here "
            f"{list(saved)}, got {type(thing).__name__}."
        )
    if isinstance(thing, np.random.Generator):
        state, wanted = saved["generator"], current["generator"]["bit_generator"]
        fresh = new_generator(who, state)
        if state["bit_generator"] != wanted:
            raise SettingError(
                f"{who}: the saved Generator has the bits of {state['bit_generator']}, "
                f"this one of {wanted}. Make it of the same kind."
            )

        def set_generator() -> None:
            thing.bit_generator.state = fresh.bit_generator.state

        return set_generator
    if isinstance(thing, CompiledStep):
        steps = _whole(who, saved["steps"])

        def set_steps() -> None:
            thing.drawn = steps

        return set_steps
    return _draws_setter(who, saved["draws"], _drawing(thing))


def _draws_setter(
    who: str, saved: Any, drawing: list[tuple[str, Stream]]
) -> Callable[[], None]:
    names = [name for name, _ in drawing]
    try:
        pairs = [(str(name), _whole(who, state)) for name, state in saved]
    except (TypeError, ValueError) as error:
        raise CorruptCheckpointError(
            f"{who}: no states of a graph: {error}."
        ) from error
    if [name for name, _ in pairs] != names:
        raise SettingError(
            f"{who}: the graph draws by {names}, the saved one by "
            f"{[name for name, _ in pairs]}. Build the same graph."
        )

    def set_draws() -> None:
        for (_, stream), (_, state) in zip(drawing, pairs, strict=True):
            stream.state = state

    return set_draws


def _drawing(root: Node) -> list[tuple[str, Stream]]:
    """Return the streams below a node, each with its op's name, in a fixed order."""
    order = topological_order([root])
    return [(type(a.op).__name__, a.stream) for a in order if a.stream is not None]


def _whole(who: str, number: Any) -> int:
    if type(number) is int and 0 <= number < 1 << 64:
        return number
    raise CorruptCheckpointError(
        f"{who}: a state must be an integer in [0, 2**64), got {number!r}."
    )


def _require_alike(state: Any, other: Any, name: str = "state") -> None:
    """Raise a ValueError unless a state has the form and the range of another.

    NumPy itself does not look: with a position beyond its buffer it reads memory
    that is not its own.
    """
    if type(state) is not type(other):
        raise ValueError(f"{name} is {state!r}")
    if isinstance(other, dict):
        if state.keys() != other.keys():
            raise ValueError(f"{name} has {list(state)} instead of {list(other)}")
        for key, part in other.items():
            _require_alike(state[key], part, key)
    elif isinstance(other, list):
        if len(state) != len(other):
            raise ValueError(f"{name} has {len(state)} numbers")
        for number in state:
            _require_alike(number, 0, name)
    elif isinstance(other, int) and not 0 <= state <= _LARGEST.get(name, 1 << 128):
        raise ValueError(f"{name} is {state}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
