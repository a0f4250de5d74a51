"""What every optimizer is: plain settings, and a rule as a few lines of text.

The rule is elementwise Python over `value`, `gradient`, the names of its state
slots and its settings. NumPy runs it over arrays (update.py), native code puts it
inside the loops of `wyrm_py.engines.native.updates`. State lives with the
parameter, under "<rule>.<slot>".
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, Self

from wyrm_py.errors import SettingError
from wyrm_py.graph.op import Array
from wyrm_py.leaves import ParameterNode
from wyrm_py.optim.bounds import (
    ABOVE_ZERO_OR_NONE,
    EXPRESSION,
    NOT_BELOW_ZERO,
    RATE,
    Bound,
)
from wyrm_py.optim.formula import Formula, Formulas, formula
from wyrm_py.optim.schedules import Schedule
from wyrm_py.optim.update import Gradient, apply, catch_up, summed
from wyrm_py.parameters import ParameterBlock

_PREPARED = "_formulas"  # kept until a setting changes


@dataclass(eq=False, repr=False)
class Optimizer:
    """Base of the optimizers, with the settings that all of them have.

    Every setting is a plain attribute that can be read and set at any time; a new
    value is checked and takes effect with the next step, also in compiled ones.

    Parameters
    ----------
    learning_rate : float > 0, or a schedule from `wyrm_py.schedules`
    l1 : float >= 0, adds l1 * sign(w) to the gradient; nothing where w is zero
    l2 : float >= 0, adds l2 * w to the gradient
    penalty : str or None, an expression of `value` that is added to the gradient,
        such as "0.1 * value / (1 + value * value)"
    clip : float > 0 or None, each gradient element is cut to [-clip, clip]
    clip_norm : float > 0 or None, the gradients of a step are scaled down
        together to at most this Euclidean norm
    epoch : float >= 0, where a schedule stands: complete epochs. `fit` starts
        there and adds one after each epoch; in a loop of your own, set it

    Raises
    ------
    SettingError
        If a setting is impossible, now or when it is set later.

    Notes
    -----
    A gradient is clipped, then scaled, then gets the penalties, then meets the rule.
    On rows all of it happens only to the rows that a step looked up: l1, l2 and
    `penalty` are lazy, and so is what a rule does to its state. l1 and l2 together
    are the elastic net.

    Steps are counted per parameter where a rule needs it (Adam's t). The count lives
    with the parameter, all workers advance it, and it is saved with the state. It is
    exact in native code; workers of the NumPy engine may lose a count.

    Examples
    --------
    A rule of one's own is a subclass; both engines run its text:

    >>> class SignDescent(wp.Optimizer):
    ...     rule = "value = value - learning_rate * sign(gradient)"

    With state and a setting:

    >>> from wyrm_py.optim.bounds import BELOW_ONE
    >>> @dataclass(eq=False, repr=False)
    ... class Signum(wp.Optimizer):
    ...     bounds = {**wp.Optimizer.bounds, "beta": BELOW_ONE}
    ...     beta: float = 0.9
    ...     slots = ("average",)
    ...     once = "fresh = 1 - beta"
    ...     rule = (
    ...         "average = beta * average + fresh * gradient\\n"
    ...         "value = value - learning_rate * sign(average)"
    ...     )
    """

    bounds: ClassVar[dict[str, Bound]] = {
        "learning_rate": RATE,
        "l1": NOT_BELOW_ZERO,
        "l2": NOT_BELOW_ZERO,
        "penalty": EXPRESSION,
        "clip": ABOVE_ZERO_OR_NONE,
        "clip_norm": ABOVE_ZERO_OR_NONE,
        "epoch": NOT_BELOW_ZERO,
    }
    """All settings, and what each must be."""
    version: ClassVar[int] = 0
    """Grows with every setting that is changed: compiled steps look at it."""

    learning_rate: float | Schedule = 0.05
    _: KW_ONLY
    l1: float = 0.0
    l2: float = 0.0
    penalty: str | None = None
    clip: float | None = None
    clip_norm: float | None = None
    epoch: float = 0.0

    # -- what a rule says ---------------------------------------------------------

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the state that each element has; it starts at zero."""
        return ()

    @property
    def rule(self) -> str:
        """Lines that give `value` and the slots new values, elementwise.

        They may use `value`, `gradient`, the slots, settings that are numbers, what
        `once` assigns, and the functions that pointwise ops may use.
        """
        raise NotImplementedError(f"{type(self).__name__} has no rule.")

    @property
    def once(self) -> str:
        """Lines worked out once per update of a parameter, in float64.

        They may use settings and `step`, the number of updates that the parameter
        has had by this rule, this one included.
        """
        return ""

    @property
    def missed_once(self) -> str:
        """Lines worked out once per row, in float64, for `missed`.

        They may use settings and `missed`, the number of updates that passed a row
        by. Optimizers whose rows are lazy have none.
        """
        return ""

    @property
    def missed(self) -> str:
        """Lines that do to a row what the updates it missed would have done."""
        return ""

    @property
    def penalties(self) -> str:
        """Lines before the rule that add the penalties in use to `gradient`."""
        terms = ["l1 * sign(value)"] if self.l1 else []
        terms += ["l2 * value"] if self.l2 else []
        terms += [f"({self.penalty})"] if self.penalty else []
        return "".join(f"gradient = gradient + {term}\n" for term in terms)

    def require_consistent(self) -> None:
        """Raise a SettingError if settings contradict each other."""

    # -- settings -----------------------------------------------------------------

    def __post_init__(self) -> None:
        self.require_consistent()

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a setting, checked, at any time: also steps made before follow it."""
        if name not in self.bounds:
            raise SettingError(
                f"{type(self).__name__}: has no setting {name!r}; there are "
                f"{', '.join(self.bounds)}."
            )
        before = dict(self.__dict__)
        checked = self.bounds[name].checked(type(self).__name__, name, value)
        super().__setattr__(name, checked)
        super().__setattr__("version", self.version + 1)
        if name in before:  # not while the first settings come in
            try:
                self.require_consistent()
            except SettingError:
                self.__dict__.update(before)
                raise

    @property
    def rate(self) -> float:
        """The learning rate now: that of the schedule, if there is one, at `epoch`."""
        held = self.learning_rate
        return held(self.epoch) if isinstance(held, Schedule) else held

    def settings(self) -> dict[str, float]:
        """Return the numbers a step uses, by name, as they are now."""
        held = {name: getattr(self, name) for name in self.bounds if name != "epoch"}
        held["learning_rate"] = self.rate
        return {name: v for name, v in held.items() if isinstance(v, float)}

    def with_numbers(self, numbers: Iterable[float]) -> Self:
        """Return a copy with these for `settings`, in that order, unchecked."""
        made = copy.copy(self)
        made.__dict__.update(zip(self.settings(), map(float, numbers), strict=True))
        return made

    def structure(self) -> tuple[Any, ...]:
        """Return what decides the text of a step, beside numbers."""
        clips = self.clip is not None, self.clip_norm is not None
        texts = self.penalties, self.rule, self.once, self.missed_once, self.missed
        return *clips, self.slots, *texts

    def formulas(self) -> Formulas:
        """Return the lines of the rule with the settings in use, checked.

        Raises
        ------
        SettingError
            If a line is not an assignment of an elementwise expression of names
            that the optimizer has, or a slot has the name of something else.
        """
        held: tuple[int, Formulas] | None = self.__dict__.get(_PREPARED)
        if held is None or held[0] != self.version:
            held = self.version, self._prepare()
            self.__dict__[_PREPARED] = held
        return held[1]

    def _prepare(self) -> Formulas:
        once, numbers = self._formula("once", self.once), [*self.settings()]
        rule = self._formula("rule", self.penalties + self.rule)
        missed_once = self._formula("missed_once", self.missed_once)
        missed = self._formula("missed", self.missed)
        state = (*numbers, *self.slots, "value")
        taken = {*self.bounds, "value", "gradient"}
        wrong = [s for s in self.slots if s in taken or not s.isidentifier()]
        if wrong:
            raise SettingError(
                f"{type(self).__name__}: slots must be names of their own, not those "
                f"of settings, `value` or `gradient`, got {', '.join(wrong)}."
            )
        for lines, names in [
            (once, (*numbers, "step")),
            (rule, (*state, "gradient", *once.assigns)),
            (missed_once, (*numbers, "missed")),
            (missed, (*state, *missed_once.assigns)),
        ]:
            unknown = [name for name in lines.reads if name not in names]
            if unknown:
                raise SettingError(
                    f"{type(self).__name__}: {', '.join(unknown)} is used and not "
                    f"known there; known are {', '.join(names)}."
                )
        return Formulas(once, rule, missed_once, missed)

    def _formula(self, which: str, text: str) -> Formula:
        return formula(text, f"{type(self).__name__}: {which}")

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != _PREPARED}

    def __repr__(self) -> str:
        differing = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if field.name == "learning_rate"
            or getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(differing)})"

    # -- state --------------------------------------------------------------------

    def slot_name(self, slot: str) -> str:
        """Return the name of a state slot on the parameter."""
        return f"{type(self).__name__.lower()}.{slot}"

    def state(self, block: ParameterBlock) -> list[Array]:
        """Return the state of a parameter: `slots`, and the counters in use."""
        found = [block.slot(self.slot_name(slot)) for slot in self.slots]
        formulas = self.formulas()
        if formulas.counts:
            found.append(block.slot(self.slot_name("step"), "parameter"))
        if formulas.catches_up:
            found.append(block.slot(self.slot_name("row_step"), "row"))
        return found

    # -- steps --------------------------------------------------------------------

    def step(self, parameters: Iterable[ParameterNode]) -> None:
        """Apply and clear the gradients of some parameter nodes.

        Nodes over one block are summed first; a node without gradient is left
        alone.
        """
        nodes = [node for node in parameters if node.trainable]
        joined: dict[int, tuple[ParameterBlock, Gradient]] = {}
        for node in dict.fromkeys(nodes):
            if node._gradient is None:
                continue
            before = joined.get(id(node.block))
            total = (
                node._gradient if before is None else summed(before[1], node._gradient)
            )
            joined[id(node.block)] = (node.block, total)
        self.apply(list(joined.values()))
        for node in nodes:
            node._gradient = None

    def apply(self, gradients: Sequence[tuple[ParameterBlock, Gradient]]) -> None:
        """Update parameters by gradients: clip, then penalties, then the rule."""
        apply(self, gradients)

    def catch_up(
        self, parameters: Iterable[ParameterNode | ParameterBlock], rows: Any = ...
    ) -> None:
        """Do to rows what the updates that they missed would have done to them.

        Does nothing for rules whose rows are lazy. Missed updates count with the
        settings of this moment: catch up before changing one.

        Parameters
        ----------
        parameters : parameter nodes or blocks
        rows : int array of row numbers, in [0, R); all rows by default

        Raises
        ------
        IndexRangeError
            If a row number is negative or past the last row.
        """
        for given in parameters:
            block = given.block if isinstance(given, ParameterNode) else given
            if self.formulas().catches_up:
                catch_up(self, block, rows)
