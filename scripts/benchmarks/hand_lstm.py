"""The yardstick of recurrence: one LSTM training step written by hand in Numba.

An embedding of width 16, four steps of an LSTM with 32 hidden values, ten classes,
softmax cross-entropy, plain SGD, one sequence a step. Nothing is general: the four
steps are written out where they share a pass over the weights, rows are taken four at
a time, all gates of a step lie side by side so that every inner loop runs packed. As
in `hand_fused`: unsigned indices, bounds known only at run time, no alias checks.
`tanh`, `sigmoid`, `exp` and `ln` are those of wyrm_py, whose packed forms nothing in
Numba matches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import wyrm_py.engines.native.functions  # noqa: F401 - gives Numba the packed forms
from wyrm_py.engines.functions import exp, ln, sigmoid, tanh

from .hand_fused import aligned, native

f4, u64 = np.float32, np.uint64
STEPS = 4
QUAD = u64(4)
ONE, TWO, THREE = u64(1), u64(2), u64(3)


@native
def _sequences(  # type: ignore[no-untyped-def]
    E, W, U, b, V, d, x, h, c, s, z, dz, dh, dc, dx, y, symbols, targets, blocks, rate
):
    """Train on every row of `symbols` once; return the summed loss.

    Parameters
    ----------
    E, W, U, b, V, d : embedding (symbols, D), weights of inputs (D, 4H) and of hidden
        values (H, 4H), their bias (4H,), weights (C, H) and bias (C,) of the classes.
        The gates are input, forget, output, candidate; H = 16 * blocks.
    x, h, c, s : the step's inputs (T, D), hidden values and cells (T + 1, H), tanh of
        the cells (T, H).
    z, dz, dh, dc, dx, y : gates and their gradients (T, 4H), gradients of h and c (H,)
        and of one x (D,), probabilities (C,).
    """
    total = 0.0
    H = u64(16) * blocks
    D, C = u64(x.shape[1]), u64(y.shape[0])
    T, G = u64(STEPS), u64(4) * H
    for k in range(u64(symbols.shape[0])):
        for t in range(T):
            symbol = symbols[k, t]
            for i in range(D):
                x[t, i] = E[symbol, i]
            for g in range(G):
                z[t, g] = b[g]
            for quad in range(D // QUAD):
                i = QUAD * quad
                p, q, r, v = x[t, i], x[t, i + ONE], x[t, i + TWO], x[t, i + THREE]
                for g in range(G):
                    z[t, g] += (p * W[i, g] + q * W[i + ONE, g]) + (
                        r * W[i + TWO, g] + v * W[i + THREE, g]
                    )
            for quad in range(H // QUAD):
                i = QUAD * quad
                p, q, r, v = h[t, i], h[t, i + ONE], h[t, i + TWO], h[t, i + THREE]
                for g in range(G):
                    z[t, g] += (p * U[i, g] + q * U[i + ONE, g]) + (
                        r * U[i + TWO, g] + v * U[i + THREE, g]
                    )
            for g in range(THREE * H):
                z[t, g] = sigmoid(z[t, g])
            for g in range(THREE * H, G):
                z[t, g] = tanh(z[t, g])
            for i in range(H):
                cell = z[t, H + i] * c[t, i] + z[t, i] * z[t, THREE * H + i]
                c[t + ONE, i] = cell
                squashed = tanh(cell)
                s[t, i] = squashed
                h[t + ONE, i] = z[t, TWO * H + i] * squashed

        most = f4(-np.inf)
        for j in range(C):
            p = d[j]
            for i in range(H):
                p += V[j, i] * h[T, i]
            y[j] = p
            most = max(most, p)
        whole = f4(0)
        target = targets[k]
        loss = most - y[target]
        for j in range(C):
            y[j] = exp(y[j] - most)
            whole += y[j]
        total += loss + ln(whole)
        for j in range(C):
            y[j] = y[j] / whole
        y[target] -= f4(1)

        for i in range(H):
            dh[i], dc[i] = f4(0), f4(0)
        for j in range(C):
            p = y[j]
            q = rate * p
            d[j] -= q
            for i in range(H):
                v = V[j, i]
                dh[i] += v * p
                V[j, i] = v - q * h[T, i]

        for back in range(T):
            t = T - ONE - back
            for i in range(H):
                entry, keep = z[t, i], z[t, H + i]
                exit_, candidate = z[t, TWO * H + i], z[t, THREE * H + i]
                squashed, upper = s[t, i], dh[i]
                cell = dc[i] + upper * exit_ * (f4(1) - squashed * squashed)
                dz[t, i] = cell * candidate * entry * (f4(1) - entry)
                dz[t, H + i] = cell * c[t, i] * keep * (f4(1) - keep)
                dz[t, TWO * H + i] = upper * squashed * exit_ * (f4(1) - exit_)
                dz[t, THREE * H + i] = cell * entry * (f4(1) - candidate * candidate)
                dc[i] = cell * keep
            if t == u64(0):
                continue
            for quad in range(H // QUAD):
                i = QUAD * quad
                p, q, r, v = f4(0), f4(0), f4(0), f4(0)
                for g in range(G):
                    slope = dz[t, g]
                    p += U[i, g] * slope
                    q += U[i + ONE, g] * slope
                    r += U[i + TWO, g] * slope
                    v += U[i + THREE, g] * slope
                dh[i], dh[i + ONE], dh[i + TWO], dh[i + THREE] = p, q, r, v

        # the four steps in one pass: W gives the rows' gradients and is then updated
        for t in range(T):
            symbol = symbols[k, t]
            for quad in range(D // QUAD):
                i = QUAD * quad
                p, q, r, v = f4(0), f4(0), f4(0), f4(0)
                for g in range(G):
                    slope = dz[t, g]
                    p += W[i, g] * slope
                    q += W[i + ONE, g] * slope
                    r += W[i + TWO, g] * slope
                    v += W[i + THREE, g] * slope
                dx[i], dx[i + ONE], dx[i + TWO], dx[i + THREE] = p, q, r, v
            for i in range(D):
                E[symbol, i] -= rate * dx[i]
        zero, one, two, three = u64(0), ONE, TWO, THREE
        for i in range(D):
            p, q = rate * x[zero, i], rate * x[one, i]
            r, v = rate * x[two, i], rate * x[three, i]
            for g in range(G):
                W[i, g] -= (p * dz[zero, g] + q * dz[one, g]) + (
                    r * dz[two, g] + v * dz[three, g]
                )
        for i in range(H):  # the first hidden values are zero
            q, r, v = rate * h[one, i], rate * h[two, i], rate * h[three, i]
            for g in range(G):
                U[i, g] -= q * dz[one, g] + (r * dz[two, g] + v * dz[three, g])
        for g in range(G):
            b[g] -= rate * ((dz[zero, g] + dz[one, g]) + (dz[two, g] + dz[three, g]))
    return total


class HandLSTM:
    """The loop above with its parameters: `step(symbols, targets)` trains one pass."""

    def __init__(
        self, symbols: int, width: int, hidden: int, classes: int, seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        scale = hidden**-0.5

        def uniform(*shape: int) -> NDArray[np.float32]:
            array = aligned(shape)
            array[:] = rng.uniform(-scale, scale, shape)
            return array

        gates = 4 * hidden
        self.parameters = [
            uniform(symbols, width),
            uniform(width, gates),
            uniform(hidden, gates),
            uniform(gates),
            uniform(classes, hidden),
            uniform(classes),
        ]
        shapes: list[tuple[int, ...]] = [
            (STEPS, width),
            (STEPS + 1, hidden),
            (STEPS + 1, hidden),
            (STEPS, hidden),
            (STEPS, gates),
            (STEPS, gates),
            (hidden,),
            (hidden,),
            (width,),
            (classes,),
        ]
        self._scratch = [aligned(shape) for shape in shapes]
        self._blocks = u64(hidden // 16)

    def train(self, symbols: NDArray[Any], targets: NDArray[Any], rate: float) -> float:
        """Train on each row of symbols (N, 4) with its target; return the mean loss."""
        columns = (symbols.astype(u64), targets.astype(u64), self._blocks, f4(rate))
        total: float = _sequences(*self.parameters, *self._scratch, *columns)
        return total / len(targets)
