"""LLVM vectors for hand-written kernels: loads, masks, fused steps, loops.

LLVM's own vectoriser stores and loads a row of results again for each step along
the inner axis of a product; kernels written with these keep sums in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

INT, SHORT, BIT = ir.IntType(64), ir.IntType(32), ir.IntType(1)
REALS = {"f4": ir.FloatType(), "f8": ir.DoubleType()}
SIZES = {"f4": 4, "f8": 8}

Values = list[Any]


@cache
def has_avx512() -> bool:
    """Whether Numba compiles for 32 registers of 64 bytes (else 16 of 32)."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return "+avx512f" in features.split(",")


def lanes_of(kind: str) -> int:
    """Return how many numbers of a type (f4, f8) one register holds."""
    return (64 if has_avx512() else 32) // SIZES[kind]


class Vectors:
    """Appends instructions on vectors of `lanes` numbers of one type."""

    def __init__(self, builder: Any, kind: str, lanes: int | None = None) -> None:
        self.builder = builder
        self.real, self.size = REALS[kind], SIZES[kind]
        self.lanes = lanes or lanes_of(kind)
        self.type = ir.VectorType(self.real, self.lanes)
        self.zero = ir.Constant(self.type, None)
        self.everything = ir.Constant(ir.VectorType(BIT, self.lanes), [1] * self.lanes)
        self._suffix = f"v{self.lanes}f{8 * self.size}"

    def _call(
        self, name: str, result: Any, *values: Any, fastmath: Sequence[str] = ()
    ) -> Any:
        module = self.builder.module
        function = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(result, [value.type for value in values]), name
        )
        return self.builder.call(function, values, fastmath=fastmath)

    def first(self, count: Any) -> Any:
        """Return the mask of the first `count` lanes."""
        kind = ir.VectorType(INT, self.lanes)
        numbers = ir.Constant(kind, list(range(self.lanes)))
        return self.builder.icmp_unsigned("<", numbers, self.splat(count))

    def splat(self, value: Any) -> Any:
        """Return a vector of one value."""
        kind = ir.VectorType(value.type, self.lanes)
        blank = ir.Constant(kind, ir.Undefined)
        one = self.builder.insert_element(blank, value, SHORT(0))
        return self.shuffle(one, one, [0] * self.lanes)

    def broadcast(self, pointer: Any) -> Any:
        """Return a vector of the number at an address."""
        return self.splat(self.builder.load(pointer, align=self.size))

    def load(self, pointer: Any, mask: Any = None) -> Any:
        """Return the numbers at an address; zero, and not read, where masked."""
        place = self.builder.bitcast(pointer, self.type.as_pointer())
        if mask is None:
            return self.builder.load(place, align=self.size)
        name = f"llvm.masked.load.{self._suffix}.p0"
        return self._call(name, self.type, place, SHORT(self.size), mask, self.zero)

    def store(self, value: Any, pointer: Any, mask: Any = None) -> None:
        """Write the numbers that are not masked."""
        place = self.builder.bitcast(pointer, self.type.as_pointer())
        if mask is None:
            self.builder.store(value, place, align=self.size)
            return
        name = f"llvm.masked.store.{self._suffix}.p0"
        self._call(name, ir.VoidType(), value, place, SHORT(self.size), mask)

    def fused(self, a: Any, b: Any, c: Any) -> Any:
        """Return a * b + c, in one instruction where there is one."""
        return self._call(f"llvm.fmuladd.{self._suffix}", self.type, a, b, c)

    def total(self, value: Any) -> Any:
        """Return the sum of all lanes, in any order."""
        name = f"llvm.vector.reduce.fadd.{self._suffix}"
        first = ir.Constant(self.real, -0.0)
        return self._call(name, self.real, first, value, fastmath=("reassoc",))

    def shuffle(self, a: Any, b: Any, lanes: Sequence[int]) -> Any:
        """Return chosen lanes of a and b, those of b counted from `lanes`."""
        chosen = ir.Constant(ir.VectorType(SHORT, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(a, b, chosen)


def at(builder: Any, pointer: Any, *terms: Any) -> Any:
    """Return the address of an element: each term is a number or (number, stride)."""
    for term in terms:
        step = builder.mul(*term) if isinstance(term, tuple) else term
        pointer = builder.gep(pointer, [step])
    return pointer


def loop(
    builder: Any,
    start: Any,
    count: Any,
    step: int,
    carried: Values,
    body: Callable[[Any, Values], Values],
) -> tuple[Any, Values]:
    """Run `body` while index + step <= count; return the index and what it carried."""
    before, head, inside, after = (
        builder.block,
        *(builder.append_basic_block() for _ in range(3)),
    )
    builder.branch(head)
    builder.position_at_end(head)
    held = [builder.phi(value.type) for value in (start, *carried)]
    for phi, value in zip(held, (start, *carried), strict=True):
        phi.add_incoming(value, before)
    index, sums = held[0], held[1:]
    following = builder.add(index, INT(step))
    builder.cbranch(builder.icmp_unsigned("<=", following, count), inside, after)
    builder.position_at_end(inside)
    new = body(index, sums)
    for phi, value in zip(held, (following, *new), strict=True):
        phi.add_incoming(value, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return index, sums


def define(module: Any, name: str, arguments: Sequence[Any]) -> tuple[Any, Any]:
    """Add a private function without result; return it with its builder."""
    signature = ir.FunctionType(ir.VoidType(), arguments)
    function = ir.Function(module, signature, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    return function, ir.IRBuilder(function.append_basic_block("entry"))


def calling(build: Callable[[Any], Any], kind: str, pointers: Sequence[int]) -> Any:
    """Return an intrinsic over u64 that calls the function `build(module)` adds.

    The arguments at the positions `pointers` are addresses of numbers of type `kind`.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        values = list(cgutils.unpack_tuple(builder, arguments[0]))
        for k in pointers:
            values[k] = builder.inttoptr(values[k], REALS[kind].as_pointer())
        builder.call(build(builder.module), values)
        return context.get_dummy_value()

    @intrinsic
    def call(_typing: Any, *arguments: Any) -> Any:
        return types.void(types.StarArgTuple(arguments)), generate

    return call


def scratch(kind: str, count: int) -> Any:
    """Return an intrinsic for the address of `count` numbers on the stack."""

    @intrinsic
    def room(_typing: Any) -> Any:
        def generate(_context: Any, builder: Any, _sign: Any, _given: Any) -> Any:
            with builder.goto_entry_block():
                place = builder.alloca(REALS[kind], count)
                place.align = 64
            return builder.ptrtoint(place, INT)

        return types.uint64(), generate

    return room
