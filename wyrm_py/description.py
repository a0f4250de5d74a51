"""Optimizers, schedules and layers as readable JSON, and back.

An object is written as the name of its class and the settings its constructor
takes. Reading calls constructors of known classes with those settings, and runs
nothing else: the classes of wyrm_py and those that the reader passes. Functions that
stand by themselves in a module go by their names too.

Every JSON object says what it is by its keys:

- {"class": name, "settings": {...}}: ours are named "wyrm_py.Adam", yours "Adam"
- {"same": k}: the k-th object of the file again, from 0, in the order they begin
- {"tuple": [...]}, {"dict": {...}}, {"dtype": name}, {"function": name}
- {"generator": state}: a numpy Generator as it was when it was given
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata as distributions
from typing import Any, TypeAlias

import numpy as np

from wyrm_py import nn, optim
from wyrm_py.errors import (
    CorruptCheckpointError,
    SettingError,
    UnknownClassError,
    UnsavableError,
    WyrmError,
)
from wyrm_py.nn.layer import Layer, NotKept, is_importable
from wyrm_py.optim import Optimizer, schedules
from wyrm_py.optim.schedules import Schedule
from wyrm_py.random_state import generator_state, new_generator

Known: TypeAlias = type | Callable[..., Any]
FORMAT = 1
_OURS = "wyrm_py."
_BASES = (Layer, Optimizer, Schedule)


def to_json(thing: Any) -> str:
    """Return an optimizer, a schedule or a layer as readable JSON.

    A layer's arrays are not in it, see `save_model`.

    Parameters
    ----------
    thing : Optimizer, Schedule or Layer; its settings are numbers, text, dtypes,
        functions of a module, lists, tuples and dicts of them, and other such objects.
        A layer is written as its constructor was called; an argument named
        `...initialiser` that is a function of yours and has a default is left out: a
        file has the values

    Raises
    ------
    UnsavableError
        If a setting is something else (a lambda, an array), NaN or infinite.
    """
    head = {"format": FORMAT, "library": distributions.version("wyrm-py")}
    return json.dumps(head | describe("to_json", thing), indent=2, allow_nan=False)


def from_json(text: str, known: Iterable[Known] = ()) -> Any:
    """Build what `to_json` wrote.

    Parameters
    ----------
    text : str
    known : your own classes and functions that may be used, besides wyrm_py's

    Raises
    ------
    CorruptCheckpointError
        If the text is not from `to_json`, or from a newer version.
    UnknownClassError
        If it names a class that is not known.
    SettingError
        If settings are missing, unknown or impossible.
    """
    try:
        document = json.loads(text)
        version, library = document.pop("format"), str(document.pop("library"))
        if type(version) is not int or version < 1:
            raise ValueError(f"format {version!r}")
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise CorruptCheckpointError(
            "from_json: text written by `to_json` is required; this has no such "
            f"JSON ({type(error).__name__}: {error})."
        ) from error
    if version > FORMAT:
        raise CorruptCheckpointError(
            f"from_json: the text has format {version} of wyrm_py {library}, this "
            f"version reads up to {FORMAT}: update wyrm-py."
        )
    return build("from_json", document, known)


def describe(who: str, thing: Any) -> dict[str, Any]:
    """Return an object as JSON values."""
    if not isinstance(thing, _BASES):
        raise UnsavableError(
            f"{who}: an optimizer, a schedule or a layer is required, got "
            f"{type(thing).__name__}."
        )
    described: dict[str, Any] = _Writer(who).value(thing, type(thing).__name__)
    return described


def build(who: str, description: Any, known: Iterable[Known] = ()) -> Any:
    """Build the object of a description."""
    if not isinstance(description, dict) or "class" not in description:
        raise CorruptCheckpointError(
            f"{who}: an object with a class and settings is required, got "
            f"{str(description)[:100]!r}."
        )
    try:
        return _Reader(who, known).value(description)
    except RecursionError as error:
        raise CorruptCheckpointError(f"{who}: it is nested too deeply.") from error


def known_in(thing: Any) -> list[Known]:
    """Return what an object is made of that is not ours: classes and functions."""
    writer = _Writer("load")
    writer.value(thing, type(thing).__name__)
    kinds = {type(part) for part in writer.objects} - writer.own_classes.keys()
    return [*kinds, *writer.functions.difference(writer.own_functions)]


class _Writer:
    """Writes one object with all objects in it."""

    def __init__(self, who: str) -> None:
        self.who = who
        self.own_classes = {thing: name for name, thing in _own_classes().items()}
        self.own_functions = {f: name for name, f in _own_functions().items()}
        self.objects: list[Any] = []
        self.functions: set[Callable[..., Any]] = set()

    def value(self, value: Any, place: str) -> Any:
        """Return any setting as JSON; `place` is its path, for messages."""
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and not math.isfinite(value):
            raise UnsavableError(
                f"{self.who}: finite numbers are required, {place} is {value!r}."
            )
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if type(value) is list:
            return self._parts(value, place)
        if type(value) is tuple:
            return {"tuple": self._parts(value, place)}
        if type(value) is dict and all(isinstance(key, str) for key in value):
            parts = {key: self.value(v, f"{place}.{key}") for key, v in value.items()}
            return {"dict": parts}
        if isinstance(value, np.dtype) or (
            isinstance(value, type) and issubclass(value, np.generic)
        ):
            return {"dtype": np.dtype(value).name}
        if isinstance(value, np.random.Generator):
            return {"generator": generator_state(value)}
        if isinstance(value, _BASES):
            return self._object(value, place)
        if callable(value) and not isinstance(value, type) and is_importable(value):
            self.functions.add(value)
            return {"function": self.own_functions.get(value, value.__name__)}
        raise self._unsavable(value, place)

    def _unsavable(self, value: Any, place: str) -> UnsavableError:
        """Return the error about a setting that is no JSON."""
        kind = value.kind if isinstance(value, NotKept) else type(value).__name__
        return UnsavableError(
            f"{self.who}: no file can hold {place}, which is {kind}. Give a name "
            "('relu'), plain numbers, a function that stands by itself in a module, or "
            "a layer class that makes it; or keep the values alone with "
            "`wp.save(path, layer)` and build the layer yourself."
        )

    def _parts(self, values: Iterable[Any], place: str) -> list[Any]:
        return [self.value(v, f"{place}[{k}]") for k, v in enumerate(values)]

    def _object(self, thing: Any, place: str) -> dict[str, Any]:
        for number, other in enumerate(self.objects):
            if other is thing:
                return {"same": number}
        self.objects.append(thing)
        name = self.own_classes.get(type(thing), type(thing).__name__)
        try:
            held = (_given if isinstance(thing, Layer) else _attributes)(thing)
        except AttributeError as error:
            raise UnsavableError(
                f"{self.who}: {place} must keep what its constructor is given as "
                f"attributes of the same names: {error}."
            ) from error
        settings = {
            key: self.value(value, f"{place}.{key}")
            for key, value in held.items()
            if not self._is_left_out(type(thing), key, value)
        }
        return {"class": name, "settings": settings}

    def _is_left_out(self, kind: type, key: str, value: Any) -> bool:
        """Tell whether a setting only made first values, which a file replaces."""
        if not key.endswith("initialiser"):
            return False
        parameter = _signature(kind).parameters.get(key)
        optional = parameter is not None and parameter.default is not parameter.empty
        function = callable(value) or isinstance(value, NotKept)
        return optional and function and value not in self.own_functions


class _Reader:
    """Builds one object with all objects in it."""

    def __init__(self, who: str, known: Iterable[Known]) -> None:
        self.who = who
        self.classes, self.functions = _with_known(who, known)
        self.seen: list[Any] = []

    def value(self, value: Any) -> Any:
        """Return a setting from its JSON."""
        if isinstance(value, list):
            return [self.value(part) for part in value]
        if not isinstance(value, dict):
            return value
        if "class" in value:
            return self._object(value)
        ((tag, held),) = value.items() if len(value) == 1 else [("", None)]
        if tag == "tuple" and isinstance(held, list):
            return tuple(self.value(held))
        if tag == "dict" and isinstance(held, dict):
            return {key: self.value(part) for key, part in held.items()}
        if tag == "dtype" and isinstance(held, str) and held in np.sctypeDict:
            return np.dtype(held)
        if tag == "function" and isinstance(held, str):
            return self._named(held, self.functions, "function")
        if tag == "generator":
            return new_generator(self.who, held)
        if tag == "same" and type(held) is int and 0 <= held < len(self.seen):
            if self.seen[held] is not None:  # it is not within itself
                return self.seen[held]
        raise CorruptCheckpointError(
            f"{self.who}: `to_json` writes nothing like {str(value)[:100]!r}."
        )

    def _named(self, name: Any, known: Mapping[str, Any], kind: str) -> Any:
        if name in known:
            return known[name]
        raise UnknownClassError(
            f"{self.who}: the {kind} {name!r} is not known here, and nothing is built "
            "from a name alone. If it is your own, pass it: `known=[...]`."
        )

    def _object(self, value: dict[str, Any]) -> Any:
        name, settings = value["class"], value.get("settings")
        if not isinstance(settings, dict) or not isinstance(name, str):
            raise CorruptCheckpointError(
                f"{self.who}: a class name with settings is required, got "
                f"{str(value)[:100]!r}."
            )
        kind = self._named(name, self.classes, "class")
        place = len(self.seen)
        self.seen.append(None)
        built = self._call(kind, {key: self.value(v) for key, v in settings.items()})
        self.seen[place] = built
        return built

    def _call(self, kind: type, settings: dict[str, Any]) -> Any:
        """Call a constructor with settings by name, whatever kinds it has."""
        signature = _signature(kind)
        parameters = signature.parameters
        several, rest = _collecting(signature)
        required = {
            name
            for name, parameter in parameters.items()
            if parameter.default is parameter.empty and name not in (several, rest)
        }
        missing = sorted(required - settings.keys())
        unknown = sorted(settings.keys() - parameters.keys())
        if missing or (unknown and rest is None):
            raise SettingError(
                f"{self.who}: the settings of {kind.__name__} do not fit it; missing: "
                f"{missing}, unknown: {unknown}. They are of another version of it."
            )
        arguments = {name: settings[name] for name in parameters if name in settings}
        if rest is not None:
            arguments[rest] = {name: settings[name] for name in unknown}
        bound = inspect.BoundArguments(signature, arguments)
        bound.apply_defaults()
        try:
            if several is not None:
                bound.arguments[several] = tuple(bound.arguments[several])
            return kind(*bound.args, **bound.kwargs)
        except (TypeError, ValueError, OverflowError, MemoryError) as error:
            if isinstance(error, WyrmError):
                raise
            raise SettingError(
                f"{self.who}: {kind.__name__} cannot be built with these settings, "
                f"{str(settings)[:100]}: {type(error).__name__}: {error}."
            ) from error


def _given(layer: Any) -> dict[str, Any]:
    """Return the arguments a layer was built with, by name."""
    given, named = layer._given
    signature = _signature(type(layer))
    several, rest = _collecting(signature)
    bound = signature.bind(*given, **named)
    bound.apply_defaults()
    settings = dict(bound.arguments)
    more = settings.pop(rest, {}) if rest is not None else {}
    if several is not None:
        settings[several] = list(settings[several])
    return settings | more


def _attributes(thing: Any) -> dict[str, Any]:
    """Return the constructor's arguments as they are now: attributes of their names."""
    return {name: getattr(thing, name) for name in _signature(type(thing)).parameters}


def _signature(kind: type) -> inspect.Signature:
    """Return the signature of a constructor, without self."""
    if kind.__init__ is object.__init__:  # type: ignore[misc]
        return inspect.Signature()
    signature = inspect.signature(kind.__init__)  # type: ignore[misc]
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def _collecting(signature: inspect.Signature) -> tuple[str | None, str | None]:
    """Return the names of `*args` and `**kwargs`, if there are any."""
    kinds = {p.kind: name for name, p in signature.parameters.items()}
    Kind = inspect.Parameter
    return kinds.get(Kind.VAR_POSITIONAL), kinds.get(Kind.VAR_KEYWORD)


def _own_classes() -> dict[str, type]:
    """Return the classes of wyrm_py that a file may name, by their names there."""
    return {
        f"{_OURS}{name}": thing
        for module in (optim, schedules, nn)
        for name, thing in vars(module).items()
        if isinstance(thing, type) and issubclass(thing, _BASES) and thing not in _BASES
    }


def _own_functions() -> dict[str, Callable[..., Any]]:
    """Return the functions of wyrm_py that a file may name, by their names there."""
    return {
        f"{_OURS}{name}": thing
        for module in (nn.initialisers, nn.losses)
        for name, thing in vars(module).items()
        if inspect.isfunction(thing) and not name.startswith("_")
    }


def _with_known(
    who: str, known: Iterable[Known]
) -> tuple[dict[str, type], dict[str, Callable[..., Any]]]:
    """Return classes and functions that may be named: ours and those passed."""
    classes, functions = _own_classes(), _own_functions()
    for thing in known:
        fits = issubclass(thing, _BASES) if isinstance(thing, type) else callable(thing)
        if not fits or not hasattr(thing, "__name__"):
            raise SettingError(
                f"{who}: known must be a list of functions and of classes of layers, "
                f"optimizers or schedules, got {thing!r} in it."
            )
        names: dict[str, Any] = classes if isinstance(thing, type) else functions
        if names.setdefault(thing.__name__, thing) is not thing:
            raise SettingError(
                f"{who}: known has two things of the name {thing.__name__!r}. Rename "
                "one."
            )
    return classes, functions
