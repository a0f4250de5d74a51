"""Native forms of `wyrm_py.engines.functions` for Numba.

Importing this module teaches Numba to compile calls of those function objects:
each becomes LLVM instructions in place of the call, so that a loop around it runs
packed and nothing extra is compiled. float32 transcendentals use `formulas` and
`wide_formulas`; float64 ones call libm.
"""

from collections.abc import Callable
from typing import Any

from numba import extending, types

from wyrm_py.engines import functions
from wyrm_py.engines.native import formulas, wide_formulas
from wyrm_py.engines.native.strict import Real, Truth, select

_Formula = Callable[..., Real]
_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

# Numba's decorators carry no types.
_lower: Callable[..., _Decorator] = extending.lower_builtin
_typed: Callable[..., _Decorator] = extending.type_callable


def _library(name: str) -> _Formula:
    """Return the libm function in float64."""
    return lambda x, *others: x.call(name, *others)


def _both(formula: _Formula) -> tuple[_Formula, _Formula]:
    return formula, formula


def _double_sigmoid(x: Real) -> Real:
    decay = (-x.magnitude()).call("exp")
    return select(x < 0.0, decay, 1.0) / (decay + 1.0)


def _double_softplus(x: Real) -> Real:
    return select(x < 0.0, 0.0, x) + (-x.magnitude()).call("exp").call("log1p")


def _sign(x: Real) -> Real:
    nonzero = select(x > 0.0, x.constant(1.0), select(x < 0.0, -1.0, x))
    return select(x.equals(0.0), 0.0, nonzero)


# function: its float32 and its float64 formula
_FORMULAS: dict[Callable[..., Any], tuple[_Formula, _Formula]] = {
    functions.exp: (formulas.exp, _library("exp")),
    functions.ln: (formulas.ln, _library("log")),
    functions.log1p: (formulas.log1p, _library("log1p")),
    functions.expm1: (formulas.expm1, _library("expm1")),
    functions.tanh: (formulas.tanh, _library("tanh")),
    functions.sigmoid: (wide_formulas.sigmoid, _double_sigmoid),
    functions.softplus: (wide_formulas.softplus, _double_softplus),
    functions.sin: (wide_formulas.sin, _library("sin")),
    functions.cos: (wide_formulas.cos, _library("cos")),
    functions.power: (wide_formulas.power, _library("pow")),
    functions.sqrt: _both(lambda x: x.intrinsic("sqrt")),
    functions.floor: _both(lambda x: x.intrinsic("floor")),
    functions.absolute: _both(Real.magnitude),
    functions.sign: _both(_sign),
    functions.maximum: _both(lambda a, b: a.extreme("maximum", b)),
    functions.minimum: _both(lambda a, b: a.extreme("minimum", b)),
}


def _register(function: Callable[..., Any]) -> None:
    """Teach Numba the type and the lowering of one function of reals."""
    count = function.__code__.co_argcount

    def one(x: Any) -> Any:
        return x if isinstance(x, types.Float) else None

    def two(a: Any, b: Any) -> Any:
        return a if isinstance(a, types.Float) and a == b else None

    _typed(function)(lambda context: one if count == 1 else two)
    for kind, formula in zip(
        (types.float32, types.float64), _FORMULAS[function], strict=True
    ):

        def lower(
            context: Any, builder: Any, signature: Any, arguments: Any, f: Any = formula
        ) -> Any:
            return f(*(Real(builder, value) for value in arguments)).value

        _lower(function, *[kind] * count)(lower)


for _function in _FORMULAS:
    _register(_function)


@_typed(functions.where)
def _type_where(context: Any) -> Any:
    def typer(condition: Any, a: Any, b: Any) -> Any:
        known = isinstance(condition, types.Boolean) and isinstance(a, types.Number)
        return a if known and a == b else None

    return typer


@_lower(functions.where, types.Boolean, types.Number, types.Number)
def _lower_where(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.select(*arguments)


@_typed(functions.is_finite)
def _type_is_finite(context: Any) -> Any:
    def typer(x: Any) -> Any:
        return types.boolean if isinstance(x, types.Float) else None

    return typer


@_lower(functions.is_finite, types.Float)
def _lower_is_finite(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    finite: Truth = Real(builder, arguments[0]).magnitude() < float("inf")
    return finite.value
