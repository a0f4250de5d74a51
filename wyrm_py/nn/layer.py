"""`Layer`: parameters with a forward, the base of all layers and of your own.

A layer is a Python object whose attributes are parameters and other layers. It
builds graphs from ops when it is called; it has no gradient code and no engine.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from wyrm_py.errors import GraphError
from wyrm_py.graph.mode import Mode
from wyrm_py.leaves import ParameterNode
from wyrm_py.optim import Optimizer
from wyrm_py.parameters import HogwildParameter


def _no_forward(self: Layer, *inputs: Any) -> Any:
    """Build the graph of the layer on nodes: what a subclass writes."""
    name = type(self).__name__
    raise GraphError(
        f"{name}: a layer says what it computes in a method `forward`. Give the class "
        "`def forward(self, x): ...` that returns a node."
    )


def _with_parameters(own: str | None, base: str | None) -> str | None:
    """Return the text of a class built like its base, with the base's parameters."""
    text, head = inspect.cleandoc(own or ""), "Parameters\n----------\n"
    _, _, parameters = inspect.cleandoc(base or "").partition(head)
    if not parameters or head in text:
        return own
    return f"{text}\n\n{head}{parameters}".strip()


class Layer:
    """Base of layers: subclass it, set attributes, write `forward`.

    Attributes that are a ParameterNode or a Layer, also within lists, tuples and
    dicts, are the layer's parts: they are found, named, copied and shared without
    being registered. A layer may be called many times, in one graph or in several;
    all of them train the same parameters.

    Examples
    --------
    >>> class Scale(Layer):
    ...     def __init__(self, width):
    ...         self.weight = ParameterNode(np.ones(width))
    ...
    ...     def forward(self, x):
    ...         return x * self.weight
    """

    __slots__ = ("__dict__", "__weakref__", "_given")  # what is given is no part

    _named = False
    _mode: Mode
    _given: tuple[tuple[Any, ...], dict[str, Any]]

    forward: Callable[..., Any] = _no_forward

    __signature__: inspect.Signature

    def __init_subclass__(cls, **options: Any) -> None:
        """Show the constructor's arguments; some Pythons would show `__new__`'s."""
        super().__init_subclass__(**options)
        whole = inspect.signature(cls.__init__)
        arguments = list(whole.parameters.values())[1:]
        cls.__signature__ = whole.replace(parameters=arguments)
        if "__init__" not in vars(cls):
            cls.__doc__ = _with_parameters(cls.__doc__, cls.__mro__[1].__doc__)

    def __new__(cls, *given: Any, **named: Any) -> Self:
        """Remember the constructor's arguments: a file keeps them (`save_model`)."""
        if (given or named) and cls.__init__ is object.__init__:  # it would not look
            raise TypeError(f"{cls.__name__}() takes no arguments")
        layer = super().__new__(cls)
        layer._given = _as_given(given), _as_given(named)
        layer._mode = Mode()
        return layer

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Build the graph of `forward` on nodes and return its value, a node."""
        if not self._named:
            self._named = True
            self.named_parameters()  # errors and printed steps show the names
        return self.forward(*inputs, **options)

    # -- parts ------------------------------------------------------------

    def named_parameters(self) -> dict[str, ParameterNode]:
        """Return all parameters, frozen ones too, each once, by their path.

        The path is made of attribute names, positions in lists and keys of dicts:
        "dense.weight", "steps.0.bias". The order is that in which the attributes
        were set. Parameters without a name take the path as their name.
        """
        found: dict[str, ParameterNode] = {}
        for path, part in self._walk():
            if isinstance(part, ParameterNode):
                found[path] = part
                part.name = part.name or path
        return found

    def parameters(self) -> list[ParameterNode]:
        """Return the trainable parameters, each once, in a fixed order."""
        found = self.named_parameters().values()
        return [node for node in found if node.trainable]

    def layers(self) -> list[Layer]:
        """Return this layer and all layers in it, each once, outer ones first."""
        inner = [part for _, part in self._walk() if isinstance(part, Layer)]
        return [self, *inner]

    def _walk(self) -> Iterator[tuple[str, ParameterNode | Layer]]:
        """Yield every part below this layer once, with its path."""
        seen = {id(self)}
        held = list(reversed(list(_parts("", vars(self)))))
        while held:
            path, part = held.pop()
            if id(part) in seen:
                continue
            seen.add(id(part))
            yield path, part
            if isinstance(part, Layer):
                held.extend(reversed(list(_parts(f"{path}.", vars(part)))))

    # -- modes ------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """The switch of `train` and `eval`: give it to `x.dropout(p, self.mode)`."""
        return self._mode

    @property
    def training(self) -> bool:
        """Whether the layer computes as in training; see `train` and `eval`."""
        return self._mode.training

    def train(self) -> Self:
        """Compute as in training (dropout drops), in graphs already built too.

        `fit` and `compile` always train and `evaluate` always evaluates; the switch
        decides for values computed in Python, by `forward`. Returns the layer.
        """
        return self._switch(True)

    def eval(self) -> Self:
        """Compute as in evaluation (dropout passes everything); see `train`."""
        return self._switch(False)

    def _switch(self, training: bool) -> Self:
        for layer in self.layers():
            layer._mode.training = training
        return self

    # -- copies and workers -----------------------------------------------

    def copy(self) -> Self:
        """Return a deep copy: the same values in parameters of its own.

        Optimizer state is copied, gradients are not. Parameters that this layer
        uses in several places are one parameter in the copy too; those in shared
        memory get shared memory of their own.
        """
        return copy.deepcopy(self)

    def replica(self) -> Self:
        """Return a layer over the same parameters, with nodes of its own.

        Nodes hold gradients, so each worker thread that builds its own graph takes
        one. A worker process gets one by pickling, after `share`.
        """
        nodes = self.named_parameters().values()
        return copy.deepcopy(self, {id(node.block): node.block for node in nodes})

    def share(self) -> Self:
        """Move the parameters, with their optimizer state, to shared memory.

        From then on pickling the layer sends handles, so every worker that gets it
        builds its own graphs over the same parameters. Graphs built before go on
        with the shared ones; steps compiled before do not: compile anew. Returns
        the layer.

        Raises
        ------
        SharedMemoryFullError
            If the system has no room; parameters moved so far stay usable.
        """
        shared: dict[int, HogwildParameter] = {}
        for node in self.named_parameters().values():
            block = node.block
            if not isinstance(block, HogwildParameter):
                if id(block) not in shared:
                    shared[id(block)] = HogwildParameter.share(block)
                node.move(shared[id(block)])
        return self

    # -- printing ---------------------------------------------------------

    def __repr__(self) -> str:
        return "\n".join(self._lines(""))

    def _lines(self, indent: str) -> Iterator[str]:
        """Yield the layer as a tree: settings, parameter counts, shapes."""
        nodes = self.named_parameters().values()
        count = sum(node.value.size for node in nodes)
        settings = ", ".join(
            f"{name}={value!r}"
            for name, value in vars(self).items()
            if _shown(name, value)
        )
        plural = "parameter" if count == 1 else "parameters"
        shown = f"({settings})" if settings else ""
        yield f"{type(self).__name__}{shown}: {count:,} {plural}"
        for path, part in _parts("", vars(self)):
            if isinstance(part, ParameterNode):
                frozen = "" if part.trainable else ", frozen"
                yield f"{indent}  {path}: {part.spec}{frozen}"
            else:
                first, *rest = part._lines(f"{indent}  ")
                yield f"{indent}  {path}: {first}"
                yield from rest


def _parts(prefix: str, held: Any) -> Iterator[tuple[str, ParameterNode | Layer]]:
    """Yield the parameters and layers in an attribute dict, list, tuple or dict."""
    pairs = held.items() if isinstance(held, dict) else enumerate(held)
    for key, value in pairs:
        if isinstance(value, ParameterNode | Layer):
            yield f"{prefix}{key}", value
        elif isinstance(value, list | tuple | dict):
            yield from _parts(f"{prefix}{key}.", value)


@dataclass(frozen=True)
class NotKept:
    """Stands for a constructor's argument that no file can hold."""

    kind: str


_KEPT = (bool, int, float, str, np.number, np.bool_, np.dtype, type(None))


def _as_given(value: Any) -> Any:
    """Return what a layer remembers of an argument.

    Plain values, layers, optimizers and functions that can be imported. Of the rest
    only the kind: an array would stay in memory for nothing, a function made in a
    function would keep the layer from being pickled. Lists and generators may
    change later, so these are copies.
    """
    if isinstance(value, np.random.Generator):
        return copy.deepcopy(value)
    if type(value) in (list, tuple):
        return type(value)(map(_as_given, value))
    if type(value) is dict:
        return {key: _as_given(part) for key, part in value.items()}
    if isinstance(value, (*_KEPT, Layer, Optimizer, NotKept)) or is_importable(value):
        return value
    return NotKept(getattr(value, "__qualname__", None) or type(value).__name__)


def is_importable(value: Any) -> bool:
    """Tell whether a function or a class is found under its module and name."""
    name, module = getattr(value, "__name__", None), getattr(value, "__module__", None)
    if not isinstance(name, str) or not isinstance(module, str):
        return False
    return getattr(sys.modules.get(module), name, None) is value


def _shown(name: str, value: Any) -> bool:
    """Tell whether an attribute is a setting that the tree shows."""
    plain = isinstance(value, str | int | float) or (
        isinstance(value, tuple) and all(isinstance(n, int) for n in value)
    )
    return plain and not name.startswith("_")
