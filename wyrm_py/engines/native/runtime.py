"""What emitted modules import: types, decorators, memory, random bits.

Everything here runs natively inside emitted functions and as plain Python
outside them, so that the same source can be run without compiling it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, typed_passes, untyped_passes
from numba.core.compiler import CompilerBase
from numba.core.compiler_machinery import PassManager
from numba.extending import intrinsic, overload, register_jitable
from numba.np.numpy_support import from_dtype

from wyrm_py.engines.functions import linear_power
from wyrm_py.engines.native import functions as _functions  # noqa: F401 registers
from wyrm_py.engines.native import short_loops
from wyrm_py.engines.native.short_loops import short_range

__all__ = [
    "GAMMA",
    "add_up",
    "advance",
    "array_at",
    "call",
    "entry",
    "f4",
    "f8",
    "find_places",
    "i4",
    "i8",
    "inf",
    "linear_power",
    "mix",
    "part",
    "prefetch",
    "short_range",
    "stream_start",
    "u4",
    "u8",
    "u64",
]

f4, f8, i4, i8 = np.float32, np.float64, np.int32, np.int64
u4, u8, u64 = np.uint32, np.uint64, np.uint64
inf = np.inf
GAMMA = u64(0x9E3779B97F4A7C15)

# No nnan or ninf: finite checks and NaN propagation must survive.
FASTMATH = {"reassoc", "nsz", "arcp", "contract", "afn"}
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": FASTMATH}


_PASSES = (
    untyped_passes.TranslateByteCode,
    untyped_passes.FixupArgs,
    untyped_passes.IRProcessing,
    untyped_passes.ReconstructSSA,
    typed_passes.NopythonTypeInference,
    typed_passes.PreLowerStripPhis,
    typed_passes.IRLegalization,
    typed_passes.AnnotateTypes,
    short_loops.Lowering,
    typed_passes.NoPythonBackend,
)
"""What emitted text needs of Numba's pipeline: it has no closures, no literals to
unroll and no array expressions (a fifth of the time of long steps)."""


class NoAlias(CompilerBase):
    """Compiles a function whose array arguments never overlap.

    Spares the alias checks at the entry of each short loop (LSTM step 8.4 to
    3.65 microseconds); sound because a plan passes every buffer once.
    """

    def define_pipelines(self) -> list[Any]:
        self.state.flags.noalias = True
        self.state.flags.no_cpython_wrapper = True
        manager = PassManager("step")
        for each in _PASSES:
            manager.add_pass(each, each.__name__)
        manager.finalize()
        return [manager]


def part(*kinds: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile an inner function of a step; its arrays must not overlap.

    kinds : types of the arguments, pointers to those in brackets
    """
    arguments = [
        types.CPointer(from_dtype(np.dtype(kind[0])))
        if isinstance(kind, list)
        else from_dtype(np.dtype(kind))
        for kind in kinds
    ]
    signature = types.float64(*arguments)
    return njit(signature, pipeline_class=NoAlias, cache=True, **_OPTIONS)  # type: ignore[no-any-return]


def entry(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile the function that Python calls, with the address of its table."""
    return njit("float64(uint64)", nogil=True, cache=True, **_OPTIONS)(function)  # type: ignore[no-any-return]


def place_of_part(compiled: Any) -> int:
    """Return the address of the machine code of a `part`."""
    (result,) = compiled.overloads.values()
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name))


def call(functions: Any, number: Any, *arguments: Any) -> Any:
    """Call a part by its address: Numba would copy it and optimise it once more.

    Plain Python gets another `call`, see `build.run_in_python`.
    """
    raise NotImplementedError


@intrinsic
def _call(_typing: Any, functions: Any, number: Any, arguments: Any) -> Any:
    def generate(_context: Any, builder: Any, signature: Any, given: Any) -> Any:
        functions, number, packed = given
        values = cgutils.unpack_tuple(builder, packed, len(signature.args[2].types))
        result = cgutils.alloca_once(builder, ir.DoubleType())
        error = cgutils.alloca_once(builder, cgutils.voidptr_t)  # parts raise nothing
        taken = [result, error, *values]
        kind = ir.FunctionType(ir.IntType(32), [value.type for value in taken])
        address = builder.load(builder.gep(functions, [number]))
        builder.call(builder.inttoptr(address, kind.as_pointer()), taken)
        return builder.load(result)

    return types.float64(functions, types.uint64, arguments), generate


@overload(call)
def _call_overload(functions: Any, number: Any, *arguments: Any) -> Any:
    def native(functions: Any, number: Any, *arguments: Any) -> Any:
        return _call(functions, number, arguments)

    return native


# -- memory ------------------------------------------------------------------


def array_at(address: Any, length: Any, like: Any) -> Any:
    """Return the array of `length` numbers of type `like` at an address."""
    dtype = np.dtype(like)
    raw = (ctypes.c_char * (int(length) * dtype.itemsize)).from_address(int(address))
    return np.frombuffer(raw, dtype)


@intrinsic
def _pointer_at(_typing: Any, address: Any, like: Any) -> Any:
    kind = types.CPointer(like.dtype)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(kind))

    return kind(address, like), generate


@overload(array_at)
def _array_at(address: Any, length: Any, like: Any) -> Any:
    # a bare pointer: Numba's arrays are structs of seven fields, with which a step
    # of fifty arrays takes half as long again to compile (LSTM: 2.9 to 1.9 s)
    def native(address: Any, length: Any, like: Any) -> Any:
        return _pointer_at(address, like)

    return native


def prefetch(array: Any, position: Any) -> None:
    """Ask for the cache line of array[position] ahead of its use."""


@intrinsic
def _prefetch(_typing: Any, array: Any, position: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.gep(arguments[0], [arguments[1]])
        address = builder.bitcast(place, cgutils.voidptr_t)
        flag = ir.IntType(32)
        hint = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, flag, flag, flag]),
            "llvm.prefetch.p0i8"
            if "*" in str(cgutils.voidptr_t)
            else "llvm.prefetch.p0",
        )
        # rw=1: the row will be written; locality 3; data cache
        builder.call(hint, [address, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.none(array, position), generate


@overload(prefetch)
def _prefetch_overload(array: Any, position: Any) -> Any:
    def native(array: Any, position: Any) -> None:
        _prefetch(array, position)

    return native


# -- counts of steps -----------------------------------------------------------


def advance(counter: Any) -> Any:
    """Add one to a counter and return its new value; no other worker gets the same."""
    counter[0] += 1
    return counter[0]


@intrinsic
def _advance(_typing: Any, counter: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        one = ir.Constant(ir.IntType(64), 1)
        before = builder.atomic_rmw("add", arguments[0], one, "monotonic")
        return builder.add(before, one)

    return types.int64(counter), generate


@overload(advance)
def _advance_overload(counter: Any) -> Any:
    def native(counter: Any) -> Any:
        return _advance(counter)

    return native


@overload(linear_power, jit_options=_OPTIONS)
def _linear_power(a: Any, b: Any, c: Any, d: Any, count: Any) -> Any:
    def native(a: Any, b: Any, c: Any, d: Any, count: Any) -> Any:
        left = i8(count)
        e, f, g, h = f8(1), f8(0), f8(0), f8(1)
        while left > 0:
            if left & 1:
                e, f, g, h = e * a + f * c, e * b + f * d, g * a + h * c, g * b + h * d
            a, b, c, d = a * a + b * c, a * b + b * d, c * a + d * c, c * b + d * d
            left = left >> 1
        return e, f, g, h

    return native


# -- random bits: wyrm_py.graph.stream in native integers ----------------------


@register_jitable(**_OPTIONS)
def mix(x: Any) -> Any:
    """Return SplitMix64's finaliser of a u64."""
    x = (x ^ (x >> u64(30))) * u64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> u64(27))) * u64(0x94D049BB133111EB)
    return x ^ (x >> u64(31))


@register_jitable(**_OPTIONS)
def stream_start(seed: Any, epoch: Any, block: Any, number: Any) -> Any:
    """Return the state of stream `number` at the start of a block."""
    state = mix(seed + GAMMA)
    state = mix((state ^ epoch) + GAMMA)
    state = mix((state ^ block) + GAMMA)
    return mix((state ^ number) + GAMMA)


# -- rows ----------------------------------------------------------------------


@register_jitable(**_OPTIONS)
def find_places(rows: Any, count: Any, slots: Any, places: Any) -> Any:
    """Leave each row once, in the order of first arrival; return how many are left.

    places[k] is where row k stands afterwards. `slots` is scratch for a hash table of
    row positions, a power of two and at least twice `count` long.
    """
    mask = u64(2)
    while mask < count + count:
        mask = mask + mask
    for s in range(mask):
        slots[s] = u64(0)
    mask = mask - u64(1)
    left = u64(0)
    for k in range(count):
        row = rows[k]
        s = (row * GAMMA >> u64(32)) & mask
        while slots[s] != u64(0) and rows[slots[s] - u64(1)] != row:
            s = (s + u64(1)) & mask
        if slots[s] == u64(0):
            rows[left] = row
            left = left + u64(1)
            slots[s] = left
        places[k] = slots[s] - u64(1)
    return left


@register_jitable(**_OPTIONS)
def add_up(values: Any, places: Any, count: Any, width: Any) -> Any:
    """Sum the values of repeated rows in place, as `find_places` has placed them."""
    left = u64(0)
    for k in range(count):
        into = places[k]
        if into == left:
            if into != u64(k):
                for j in range(width):
                    values[into * width + j] = values[k * width + j]
            left = left + u64(1)
        else:
            for j in range(width):
                values[into * width + j] = (
                    values[into * width + j] + values[k * width + j]
                )
