"""LLVM values that combine with Python operators, without fast-math flags.

`formulas.py` and `wide_formulas.py` are written with `Real` (float32 or float64)
and `Bits` (int32 or int64). Each operator appends one LLVM instruction to the
function being lowered. Emitted steps are compiled with `reassoc` and `contract`;
these would rewrite compensated sums and roundings, so every instruction here is
sealed against the flags that Numba adds to unflagged float instructions.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from llvmlite.ir.instructions import FastMathFlags

FLOAT32, FLOAT64 = ir.FloatType(), ir.DoubleType()
INT32, INT64 = ir.IntType(32), ir.IntType(64)
# Lists of flags that are not empty, so that Numba adds none: the first prints as
# nothing; comparisons check the name, and signs of zeros do not matter to them.
_SEALED, _SEALED_COMPARISON = ("",), ("nsz",)


class _NoFlags(frozenset[str]):
    """Fast-math flags of a call that stay empty."""

    def add(self, _flag: str) -> None:
        """Ignore a flag."""


class Truth:
    """A boolean (i1) value."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def __and__(self, other: "Truth") -> "Truth":
        return Truth(self.builder, self.builder.and_(self.value, other.value))

    def __or__(self, other: "Truth") -> "Truth":
        return Truth(self.builder, self.builder.or_(self.value, other.value))

    def __invert__(self) -> "Truth":
        return Truth(self.builder, self.builder.not_(self.value))


class Bits:
    """An int32 or int64 value; arithmetic wraps around and `>>` keeps the sign."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def _combine(self, name: str, other: "Bits | int") -> "Bits":
        right = self.value.type(other) if isinstance(other, int) else other.value
        return Bits(self.builder, getattr(self.builder, name)(self.value, right))

    def __add__(self, other: "Bits | int") -> "Bits":
        return self._combine("add", other)

    def __sub__(self, other: "Bits | int") -> "Bits":
        return self._combine("sub", other)

    def __and__(self, other: "Bits | int") -> "Bits":
        return self._combine("and_", other)

    def __or__(self, other: "Bits | int") -> "Bits":
        return self._combine("or_", other)

    def __lshift__(self, count: int) -> "Bits":
        return self._combine("shl", count)

    def __rshift__(self, count: int) -> "Bits":
        return self._combine("ashr", count)

    def __neg__(self) -> "Bits":
        return Bits(self.builder, self.builder.neg(self.value))

    def as_real(self) -> "Real":
        """Return the float of this width with this bit pattern."""
        return Real(self.builder, self.builder.bitcast(self.value, self._real_type()))

    def to_real(self) -> "Real":
        """Return the float of this width nearest to this number."""
        return Real(self.builder, self.builder.sitofp(self.value, self._real_type()))

    def _real_type(self) -> Any:
        return FLOAT32 if self.value.type == INT32 else FLOAT64

    def looked_up(self, name: str, table: Sequence[float]) -> "Real":
        """Return the float64 at this index of a constant table, unchecked."""
        module = self.builder.module
        constant = module.globals.get(name)
        if constant is None:
            kind = ir.ArrayType(FLOAT64, len(table))
            constant = ir.GlobalVariable(module, kind, name)
            constant.initializer = kind([FLOAT64(number) for number in table])
            constant.linkage, constant.global_constant = "internal", True
        place = self.builder.gep(constant, [INT32(0), self.value], inbounds=True)
        return Real(self.builder, self.builder.load(place))

    def equals(self, other: int) -> Truth:
        """Return whether the value is `other`."""
        right = self.value.type(other)
        compared = self.builder.icmp_signed("==", self.value, right)
        return Truth(self.builder, compared)


class Real:
    """A float32 or float64 value under exact IEEE arithmetic."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def constant(self, number: float) -> "Real":
        """Return a constant of this value's type."""
        return Real(self.builder, self.value.type(number))

    def _right(self, other: "Real | float") -> Any:
        return other.value if isinstance(other, Real) else self.value.type(other)

    def _combine(self, name: str, other: "Real | float") -> "Real":
        operate = getattr(self.builder, name)
        right = self._right(other)
        return Real(self.builder, operate(self.value, right, flags=_SEALED))

    def __add__(self, other: "Real | float") -> "Real":
        return self._combine("fadd", other)

    def __sub__(self, other: "Real | float") -> "Real":
        return self._combine("fsub", other)

    def __mul__(self, other: "Real | float") -> "Real":
        return self._combine("fmul", other)

    def __truediv__(self, other: "Real | float") -> "Real":
        return self._combine("fdiv", other)

    def __neg__(self) -> "Real":
        return Real(self.builder, self.builder.fneg(self.value))

    def _compare(self, sign: str, other: "Real | float") -> Truth:
        compared = self.builder.fcmp_ordered(
            sign, self.value, self._right(other), flags=_SEALED_COMPARISON
        )
        return Truth(self.builder, compared)

    def __lt__(self, other: "Real | float") -> Truth:
        return self._compare("<", other)

    def __gt__(self, other: "Real | float") -> Truth:
        return self._compare(">", other)

    def equals(self, other: "Real | float") -> Truth:
        """Return whether the values are equal; NaN equals nothing."""
        return self._compare("==", other)

    def bits(self) -> Bits:
        """Return the bit pattern."""
        kind = INT32 if self.value.type == FLOAT32 else INT64
        return Bits(self.builder, self.builder.bitcast(self.value, kind))

    def widened(self) -> "Real":
        """Return the same number as float64."""
        return Real(self.builder, self.builder.fpext(self.value, FLOAT64))

    def narrowed(self) -> "Real":
        """Return the nearest float32."""
        return Real(self.builder, self.builder.fptrunc(self.value, FLOAT32))

    def call(self, name: str, *others: "Real") -> "Real":
        """Return a function of libm or an LLVM intrinsic, of this value's type."""
        values = [self.value, *(other.value for other in others)]
        kind = self.value.type
        signature = ir.FunctionType(kind, [kind] * len(values))
        module = self.builder.module
        function = module.globals.get(name) or ir.Function(module, signature, name)
        result = self.builder.call(function, values)
        result.fastmath = _NoFlags()
        return Real(self.builder, result)

    def intrinsic(self, name: str, *others: "Real") -> "Real":
        """Return the LLVM intrinsic `name` (without type suffix) of the values."""
        suffix = "f32" if self.value.type == FLOAT32 else "f64"
        return self.call(f"llvm.{name}.{suffix}", *others)

    def extreme(self, name: str, other: "Real") -> "Real":
        """Return llvm.maximum or llvm.minimum: NaN if either is, any sign of zero.

        Unlike selects it is a reduction that LLVM packs without giving up NaN: the
        largest of 1,000 float32 takes 0.1 ns an element instead of 1.6. To order
        the signs of zeros as well would make it slower than selects below 16.
        """
        result = self.intrinsic(name, other)
        result.value.fastmath = FastMathFlags(["nsz"])
        return result

    def magnitude(self) -> "Real":
        """Return the value without its sign."""
        return self.intrinsic("fabs")

    def with_sign_of(self, other: "Real") -> "Real":
        """Return this magnitude with the sign of `other`."""
        return self.intrinsic("copysign", other)


def fma(a: Real, b: Real | float, c: Real | float) -> Real:
    """Return a * b + c, rounded once."""
    right, addend = (
        value if isinstance(value, Real) else a.constant(value) for value in (b, c)
    )
    return a.intrinsic("fma", right, addend)


def select(condition: Truth, a: Real | float, b: Real | float) -> Real:
    """Return `a` where the condition holds and `b` elsewhere; at least one is Real."""
    like = a if isinstance(a, Real) else b
    if not isinstance(like, Real):
        raise TypeError("select: one of the two values must be a Real")
    left, right = (
        value if isinstance(value, Real) else like.constant(value) for value in (a, b)
    )
    chosen = like.builder.select(condition.value, left.value, right.value)
    return Real(like.builder, chosen)


def polynomial(x: Real, *coefficients: float) -> Real:
    """Return c0 + c1 x + c2 x**2 + ... by G. Estrin's scheme with fused steps.

    Neighbours are joined in pairs, pairs of pairs, ...: the chain of dependent steps
    is half of Horner's or less, which counts when one value at a time is computed.
    """
    terms: list[Real] = [x.constant(coefficient) for coefficient in coefficients]
    while len(terms) > 1:
        joined = [
            fma(x, odd, even)
            for even, odd in zip(terms[::2], terms[1::2], strict=False)
        ]
        terms = joined + terms[2 * len(joined) :]
        x = x * x
    return terms[0]
