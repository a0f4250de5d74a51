"""Axis lengths as run-time values.

Emitted text names lengths, it does not contain them: one function serves any
table, width and batch, and loops with run-time bounds stay packed (literal
bounds are unrolled into scalar code). Which lengths are equal, and which vary
with the batch or with a ragged node, is found by inferring the shapes of the
whole plan several times with large primes in place of what varies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from wyrm_py.engines.native.short_loops import short_lengths
from wyrm_py.errors import CompileError, ShapeError
from wyrm_py.graph.op import Spec
from wyrm_py.leaves import (
    Constant,
    IndexInputNode,
    LeafNode,
    ParameterNode,
    SparseInputNode,
)
from wyrm_py.ops.scan import Scan
from wyrm_py.sparse_rows import Entries

if TYPE_CHECKING:
    from wyrm_py.nodes import Application, Node

_PRIMES = (10007, 10037, 10061, 10079, 10093, 10103, 10133, 10141, 10159, 10169)
_OTHERS = (20011, 20021, 20029, 20047, 20051, 20063, 20071, 20089, 20101, 20107)
RAGGED = (IndexInputNode, SparseInputNode)
WIDE = 16
"""Lengths that this divides are written as 16 * m: LLVM drops the scalar tail."""


@dataclass(frozen=True)
class Extent:
    """Length of one axis: text for code, `fixed` where it does not vary.

    A varying one is rest + sum(slope * symbol) over `slopes`.
    """

    text: str
    fixed: int | None
    rest: int = 0
    slopes: tuple[tuple[str, int], ...] = ()

    def length(self, symbols: Mapping[str, int]) -> int:
        """Return the number, given the batch size and the ragged lengths."""
        if self.fixed is not None:
            return self.fixed
        return self.rest + sum(slope * symbols[s] for s, slope in self.slopes)

    @property
    def is_one(self) -> bool:
        """Whether the length is the literal 1."""
        return self.fixed == 1

    @classmethod
    def product(cls, extents: Sequence[Extent]) -> Extent:
        """Return the length of axes in one row, as the bound of a loop."""
        if len(extents) == 1:
            return extents[0]
        lengths = [extent.fixed for extent in extents if extent.fixed is not None]
        if len(lengths) == len(extents):
            return fixed(prod(lengths))
        return cls(" * ".join(extent.text for extent in extents), None)


_PLACEHOLDER = re.compile(r"\blength(\d+)_\b")


_BOUND = re.compile(r"range\(.*?\b(length\d+_)\b")


_OPENED = re.compile(r"\brange\(length(\d+)_\):$")


def _opening(short: set[int], match: re.Match[str]) -> str:
    """Return the range of a loop, as a short one if its length is."""
    return f"short_{match.group()}" if int(match.group(1)) in short else match.group()


def _placeholder(length: int) -> str:
    return f"length{length}_"


ONE = Extent("u64(1)", 1)


def fixed(length: int) -> Extent:
    """Return a length that does not vary."""
    return ONE if length == 1 else Extent(_placeholder(length), length)


class Varying(NamedTuple):
    """A length derived within a step: its name, its text, and what it depends on."""

    name: str
    text: str
    symbols: frozenset[str]


@dataclass
class Extents:
    """The axis lengths of all values of a plan.

    `sizes` are the numbers the host passes in, in order; `varying` holds the lengths
    that are derived within a step, `named` the fixed lengths that the text names. Of
    `ragged` leaves the lengths come with each example, those of `found` leaves are
    worked out by an op of the step.
    """

    shapes: dict[Node, tuple[Extent, ...]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    varying: list[Varying] = field(default_factory=list)
    ragged: dict[LeafNode, str] = field(default_factory=dict)
    found: dict[Entries, str] = field(default_factory=dict)
    _rows: dict[Entries, Node] = field(default_factory=dict)
    batch: str | None = None
    named: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, applications: Sequence[Application], batched: bool) -> Extents:
        """Find the lengths of all outputs of applications, and within their bodies."""
        found = cls(batch="batch" if batched else None)
        ragged = [n for n in map(_ragged_owner, applications) if n is not None]
        found.ragged = {node: f"entries{k}" for k, node in enumerate(ragged)}
        for application in applications:
            leaf = sized(application)
            if leaf is not None:
                found.found[leaf] = f"entries{len(found.ragged) + len(found.found)}"
                found._rows[leaf] = application.inputs[0]
        symbols = (["batch"] if batched else []) + list(found.ragged.values())
        symbols += found.found.values()
        if len(symbols) > len(_PRIMES):
            raise CompileError(
                f"a step may have up to {len(_PRIMES)} lengths that vary (batch, "
                f"ragged nodes and sparse rows), got {len(symbols)}."
            )
        base = dict(zip(symbols, _PRIMES, strict=False))
        probes = [base]
        probes += [{**base, s: _OTHERS[k]} for k, s in enumerate(symbols)]
        probes.append(dict(zip(symbols, _OTHERS, strict=False)))
        runs = [_infer(applications, found, probe) for probe in probes]
        names: dict[tuple[int, ...], Extent] = {}
        for node in runs[0]:
            shapes = [run[node].shape for run in runs]
            found.shapes[node] = tuple(
                found._extent(names, symbols, probes, lengths, node)
                for lengths in zip(*shapes, strict=True)
            )
        return found

    def with_found(self, symbols: Mapping[str, int]) -> dict[str, int]:
        """Return largest lengths with those that ops of the step may come to."""
        largest = dict(symbols)
        for leaf, name in self.found.items():
            (rows,) = self.shapes[self._rows[leaf]]
            largest[name] = leaf.longest * rows.length(symbols)
        return largest

    def known(self) -> list[Varying]:
        """Return the derived lengths that are known from the start of an example."""
        late = set(self.found.values())
        return [one for one in self.varying if not one.symbols & late]

    def after(self, leaf: Entries, done: Iterable[Entries]) -> list[Varying]:
        """Return the derived lengths that are known once that of a leaf is."""
        late = {self.found[other] for other in self.found if other not in done}
        mine = self.found[leaf]
        late.discard(mine)
        return [v for v in self.varying if mine in v.symbols and not v.symbols & late]

    def require_known_limits(self, applications: Sequence[Application]) -> None:
        """Raise a CompileError if the bound of row numbers is known only at run time.

        They are checked once, before native code, which trusts them.
        """
        symbols = [*([self.batch] if self.batch else []), *self.ragged.values()]
        symbols += self.found.values()

        def spec(node: Node, length: int) -> Spec:
            known = dict.fromkeys(symbols, length)
            return Spec(tuple(e.length(known) for e in self.shapes[node]), node.dtype)

        for application in applications:
            op = application.op
            if isinstance(op, Scan):
                self.require_known_limits(op.body.order)
                continue
            one, two = (
                op.row_limits(*(spec(node, length) for node in application.inputs))
                for length in (1, 2)
            )
            if one != two:
                raise CompileError(
                    f"{op.name}: an axis whose length is known only at run time (of a "
                    "batch, or of ragged entries) cannot be looked up natively: the "
                    "row numbers are checked before. Look up in a parameter, or train "
                    'with engine="numpy".'
                )

    def _extent(
        self,
        names: dict[tuple[int, ...], Extent],
        symbols: list[str],
        probes: list[dict[str, int]],
        lengths: tuple[int, ...],
        node: Node,
    ) -> Extent:
        if lengths in names:
            return names[lengths]
        if len(set(lengths)) == 1:
            extent = fixed(lengths[0])
        else:
            extent = self._affine(symbols, probes, lengths, node)
        names[lengths] = extent
        return extent

    def resolve(self, lines: list[str]) -> tuple[list[str], list[str]]:
        """Name the fixed lengths that lines use, in the order of appearance.

        Returns the lines and those that unpack the names; fills `sizes`. Only
        what is used is named, and only bounds of loops are told apart, by WIDE and as
        short ones: the number of rows of a looked-up table leaves no trace in the text.
        """
        bounds = {m for line in lines for m in _BOUND.findall(line)}
        short = short_lengths(lines)
        names: dict[str, str] = {}
        unpacking: list[str] = []

        def name(match: re.Match[str]) -> str:
            placeholder, length = match.group(), int(match.group(1))
            if placeholder not in names:
                self.named.add(length)
                names[placeholder] = f"d{len(names)}"
                if length in short:
                    number = f"u64({length})"
                else:
                    number = self._unpacked(length, placeholder in bounds)
                unpacking.append(f"{names[placeholder]} = {number}")
            return names[placeholder]

        opened = [_OPENED.sub(partial(_opening, short), line) for line in lines]
        return [_PLACEHOLDER.sub(name, line) for line in opened], unpacking

    def _unpacked(self, length: int, is_bound: bool) -> str:
        """Pass a length in, and return the text that reads it."""
        slot = f"sizes[u64({len(self.sizes)})]"
        wide = is_bound and length % WIDE == 0
        self.sizes.append(length // WIDE if wide else length)
        return f"u64({WIDE}) * {slot}" if wide else slot

    def _affine(
        self,
        symbols: list[str],
        probes: list[dict[str, int]],
        lengths: tuple[int, ...],
        node: Node,
    ) -> Extent:
        """Write a length as c0 + c1 * batch + c2 * entries0 + ..."""
        base = probes[0]
        rest, terms, check = lengths[0], [], 0
        slopes: list[tuple[str, int]] = []
        for k, symbol in enumerate(symbols):
            change = lengths[1 + k] - lengths[0]
            slope, remainder = divmod(change, probes[1 + k][symbol] - base[symbol])
            if remainder:
                raise CompileError(_NOT_AFFINE.format(node))
            rest -= slope * base[symbol]
            check += slope * probes[-1][symbol]
            if slope:
                slopes.append((symbol, slope))
            if slope == 1:
                terms.append(symbol)
            elif slope:
                terms.append(f"{_placeholder(slope)} * {symbol}")
        if rest + check != lengths[-1] or rest < 0:
            raise CompileError(_NOT_AFFINE.format(node))
        if rest:
            terms.append(_placeholder(rest))
        if len(terms) == 1 and terms[0] in symbols:
            return Extent(terms[0], None, rest, tuple(slopes))
        name = f"n{len(self.varying)}"
        known = frozenset(symbol for symbol, _ in slopes)
        self.varying.append(Varying(name, " + ".join(terms), known))
        return Extent(name, None, rest, tuple(slopes))


_NOT_AFFINE = (
    "{}: its shape does not grow in proportion with the batch or a ragged length, "
    "so it has no native form. Sum over the ragged axis first, or train with "
    'engine="numpy".'
)


def sized(application: Application) -> Entries | None:
    """Return the leaf whose length an application finds when it runs."""
    position = application.op.sizes_input
    leaf = None if position is None else application.inputs[position]
    return leaf if isinstance(leaf, Entries) else None


def _ragged_owner(application: Application) -> LeafNode | None:
    owner = application.owner
    if isinstance(owner, SparseInputNode):
        return owner
    if isinstance(owner, IndexInputNode) and owner.capacity is not None:
        return owner
    return None


def _infer(
    applications: Sequence[Application], found: Extents, probe: dict[str, int]
) -> dict[Node, Spec]:
    specs: dict[Node, Spec] = {}
    for application in applications:
        if application.is_leaf:
            for node in application.outputs:
                specs[node] = Spec(_leaf_shape(node, found, probe), node.spec.dtype)
            continue
        given = [specs[node] for node in application.inputs]
        try:
            inferred = application.op.infer(*given)
        except ShapeError as error:  # a literal length where a varying one comes
            message = str(error)
            for symbol, length in probe.items():
                message = message.replace(str(length), symbol)
            raise ShapeError(message) from None
        several = (inferred,) if isinstance(inferred, Spec) else inferred
        specs.update(zip(application.outputs, several, strict=True))
        specs.update(application.op.inner_specs(*given))
    return specs


def _leaf_shape(node: Node, found: Extents, probe: dict[str, int]) -> tuple[int, ...]:
    owner = node.application.owner
    batch = probe.get("batch")
    if (
        isinstance(owner, RAGGED)
        and owner in found.ragged
        and node.spec.shape[1:] == ()
    ):
        if node is owner.lengths:
            return (batch or node.shape[0],)
        return (probe[found.ragged[owner]],)
    if isinstance(owner, Entries):
        return (probe[found.found[owner]],)
    if batch is None or isinstance(owner, ParameterNode | Constant):
        return node.shape
    return (batch, *node.shape[1:])
