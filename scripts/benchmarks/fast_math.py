"""What cheaper exp, ln, tanh and sigmoid would gain: alone, and in whole steps.

The cheap forms keep an error of a few 1e-6 or less where the package's own stay
within two ulps: shorter polynomials, no care for subnormal, infinite and undefined
results, no float64. Run as a module it is one process with one set of formulas,
which prints its readings as a line of JSON; `measure` starts both.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wyrm_py.engines import functions
from wyrm_py.engines.native import formulas
from wyrm_py.engines.native import functions as native_functions
from wyrm_py.engines.native.strict import Real, fma, polynomial, select

from . import datasets
from .hand_fused import native, u64
from .measure import Measurement, Recorder, in_new_process, mark, per_example

ELEMENTS = 4096
RANGES = {  # those for which the seed systems' errors were measured
    "exp": (-20.0, 20.0),
    "ln": (1e-6, 1e6),
    "tanh": (-10.0, 10.0),
    "sigmoid": (-20.0, 20.0),
}
ACCURATE: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "ln": np.log,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


def _fitted(function: Callable[..., Any], low: float, high: float, degree: int) -> Any:
    """Return the coefficients, lowest first, of Chebyshev's interpolation."""
    fit = np.polynomial.Chebyshev.interpolate(function, degree, domain=[low, high])
    return fit.convert(kind=np.polynomial.Polynomial).coef.tolist()


_EXP = _fitted(np.exp, -math.log(2) / 2, math.log(2) / 2, 4)
_LOG1P = _fitted(lambda f: np.log1p(f) / f, -0.25, 0.5, 6)


def cheap_exp(x: Real) -> Real:
    """Return e**x for x in [-87, 88], and the value at the end beyond."""
    clipped = select(x < -87.0, -87.0, select(x > 88.0, 88.0, x))
    f, n = formulas._reduced(clipped)
    return polynomial(f, *_EXP) * formulas._power_of_two(n)


def cheap_ln(x: Real) -> Real:
    """Return ln x for normal positive numbers; -87.3 or so for zero."""
    exponent = formulas._exponent_bits(x)
    f = (x.bits() - exponent).as_real() - 1.0
    return fma((exponent >> 23).to_real(), math.log(2), f * polynomial(f, *_LOG1P))


def cheap_tanh(x: Real) -> Real:
    """Return 1 - 2 / (e**2x + 1): small absolute, not relative error near zero."""
    return x.constant(1.0) - x.constant(2.0) / (cheap_exp(x + x) + 1.0)


def cheap_sigmoid(x: Real) -> Real:
    """Return 1 / (1 + e**-x)."""
    return x.constant(1.0) / (cheap_exp(-x) + 1.0)


def cheap_softplus(x: Real) -> Real:
    """Return max(x, 0) + ln(1 + e**-|x|)."""
    return select(x < 0.0, 0.0, x) + cheap_ln(cheap_exp(-x.magnitude()) + 1.0)


CHEAP = {
    "exp": cheap_exp,
    "ln": cheap_ln,
    "tanh": cheap_tanh,
    "sigmoid": cheap_sigmoid,
    "softplus": cheap_softplus,
}


def measure(recorder: Recorder, data: Path, quick: bool) -> None:
    """Record the readings of both sets of formulas, each the best of a few."""
    readings: dict[str, list[dict[str, float]]] = {"accurate": [], "cheap": []}
    for _ in range(1 if quick else 3):
        for kind, found in readings.items():
            with tempfile.TemporaryDirectory() as folder:
                found.append(
                    in_new_process("fast_math", kind, data, WYRM_CACHE_DIR=folder)
                )
    best = {
        kind: {what: min(r[what] for r in found) for what in found[0]}
        for kind, found in readings.items()
    }
    for what, accurate in best["accurate"].items():
        cheap = best["cheap"][what]
        record = Measurement("transcendentals", "wyrm_py", {"what": what})
        record.extra = {"accurate": f"{accurate:.3g}", "cheap": f"{cheap:.3g}"}
        if what.endswith("_ns"):
            record.extra["gain"] = round(accurate / cheap, 2)
        recorder.add(record)


def _alone(name: str) -> dict[str, float]:
    """Time a packed loop over ELEMENTS values and find the largest error."""
    function, twin = getattr(functions, name), ACCURATE[name]

    @native
    def loop(x, out, times):  # type: ignore[no-untyped-def]
        for _ in range(times):
            for i in range(u64(x.shape[0])):
                out[i] = function(x[i])

    low, high = RANGES[name]
    x = np.linspace(low, high, ELEMENTS, dtype=np.float32)
    out = np.empty_like(x)
    readings = _timed(lambda times: loop(x, out, times), ELEMENTS, 500)
    truth = twin(x.astype(np.float64))
    error = np.abs(out - truth)
    if name == "exp":
        error /= truth
    return {f"{name}_ns": readings, f"{name}_error": float(error.max())}


def _timed(body: Callable[[Any], object], examples: int, times: int) -> float:
    """Return the least CPU time an example of a body run `times` times at once."""
    body(u64(times))
    marks = [mark()]
    for _ in range(9):
        body(u64(times))
        marks.append(mark())
    return min(cpu for cpu, _ in per_example(marks, examples * times))


def _child(kind: str, data: Path) -> None:
    if kind == "cheap":
        _use_cheap()
    from .lstm import HandSmall, WyrmSmall  # after the functions are settled
    from .wyrm import Wyrm

    readings: dict[str, float] = {}
    for name in RANGES:
        readings |= _alone(name)
    dataset = datasets.movielens(data / "ml-100k")
    marks = Wyrm("adagrad").train(dataset, 41, 0)
    epochs = per_example(marks[1:], dataset.examples, 4)
    readings["BPR, width 32, Adagrad_ns"] = min(cpu for cpu, _ in epochs)
    for system in (HandSmall, WyrmSmall):
        contender = system()
        passes = per_example(contender.marks(10)[1:], contender.examples)
        title = f"LSTM step, {contender.system}_ns"
        readings[title] = min(cpu for cpu, _ in passes)
    print(json.dumps(readings))


def _use_cheap() -> None:
    """Let emitted text call the cheap forms, in this process for good."""
    for name, formula in CHEAP.items():
        twin = _twin(getattr(functions, name))
        native_functions._FORMULAS[twin] = formula, formula
        native_functions._register(twin)
        setattr(functions, name, twin)


def _twin(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of its own that NumPy computes as the given one."""

    def same(x: Any) -> Any:
        return function(x)

    return same


if __name__ == "__main__":
    _child(sys.argv[1], Path(sys.argv[2]))
