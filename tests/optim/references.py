"""Update rules in plain float64 NumPy, written from the papers.

A reference is called with t (the update's number, from 1), w, g and a dict of state
that it fills; it returns the new w. It knows nothing of how wyrm_py says it.
"""

from collections import defaultdict

import numpy as np

import wyrm_py as wp


def sgd(t, w, g, state, rate=0.1):
    return w - rate * g


def momentum(t, w, g, state, rate=0.1, mu=0.9, damp=0.0, nesterov=False):
    state["v"] = mu * state["v"] + (1 - damp) * g
    return w - rate * (g + mu * state["v"] if nesterov else state["v"])


def adagrad(t, w, g, state, rate=0.1, eps=1e-3, decay=0.0):
    state["sum"] = state["sum"] + g**2
    return w - rate / (1 + (t - 1) * decay) * g / (np.sqrt(state["sum"]) + eps)


def rmsprop(t, w, g, state, rate=0.02, alpha=0.9, eps=1e-3, mu=0.0, centered=False):
    state["square"] = alpha * state["square"] + (1 - alpha) * g**2
    variance = state["square"]
    if centered:
        state["mean"] = alpha * state["mean"] + (1 - alpha) * g
        variance = variance - state["mean"] ** 2
    state["v"] = mu * state["v"] + g / (np.sqrt(variance) + eps)
    return w - rate * state["v"]


def adam(t, w, g, state, rate=0.05, b1=0.8, b2=0.95, eps=1e-3, ams=False, decay=0.0):
    state["m"] = b1 * state["m"] + (1 - b1) * g
    state["v"] = b2 * state["v"] + (1 - b2) * g**2
    state["max"] = np.maximum(state["max"], state["v"])
    v = state["max"] if ams else state["v"]
    step = state["m"] / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
    return w - rate * decay * w - rate * step


def adadelta(t, w, g, state, rate=1.0, rho=0.9, eps=1e-2):
    state["g2"] = rho * state["g2"] + (1 - rho) * g**2
    step = np.sqrt(state["x2"] + eps) / np.sqrt(state["g2"] + eps) * g
    state["x2"] = rho * state["x2"] + (1 - rho) * step**2
    return w - rate * step


def ftrl(t, w, g, state, alpha=0.3, beta=0.5, l1=0.4, l2=0.1):
    sigma = (np.sqrt(state["n"] + g**2) - np.sqrt(state["n"])) / alpha
    state["z"] = state["z"] + g - sigma * w
    state["n"] = state["n"] + g**2
    eta = (beta + np.sqrt(state["n"])) / alpha + l2
    shrunk = np.sign(state["z"]) * np.maximum(np.abs(state["z"]) - l1, 0)
    return -shrunk / eta


def _pair(make, reference, **settings):
    return make, lambda t, w, g, state: reference(t, w, g, state, **settings)


RULES = {
    "sgd": _pair(lambda **k: wp.SGD(0.1, **k), sgd),
    "momentum": _pair(lambda **k: wp.SGD(0.1, momentum=0.9, **k), momentum),
    "dampened": _pair(
        lambda **k: wp.SGD(0.1, momentum=0.8, dampening=0.3, **k),
        momentum,
        mu=0.8,
        damp=0.3,
    ),
    "nesterov": _pair(
        lambda **k: wp.SGD(0.1, momentum=0.7, nesterov=True, **k),
        momentum,
        mu=0.7,
        nesterov=True,
    ),
    "adagrad": _pair(lambda **k: wp.Adagrad(0.1, epsilon=1e-3, **k), adagrad),
    "adagrad, decay": _pair(
        lambda **k: wp.Adagrad(0.1, epsilon=1e-3, learning_rate_decay=0.5, **k),
        adagrad,
        decay=0.5,
    ),
    "rmsprop": _pair(
        lambda **k: wp.RMSProp(0.02, alpha=0.9, epsilon=1e-3, **k), rmsprop
    ),
    "rmsprop, all": _pair(
        lambda **k: wp.RMSProp(
            0.02, alpha=0.9, epsilon=1e-3, momentum=0.6, centered=True, **k
        ),
        rmsprop,
        mu=0.6,
        centered=True,
    ),
    "adam": _pair(
        lambda **k: wp.Adam(0.05, beta1=0.8, beta2=0.95, epsilon=1e-3, **k), adam
    ),
    "amsgrad": _pair(
        lambda **k: wp.Adam(
            0.05, beta1=0.8, beta2=0.95, epsilon=1e-3, amsgrad=True, **k
        ),
        adam,
        ams=True,
    ),
    "adamw": _pair(
        lambda **k: wp.AdamW(
            0.05, beta1=0.8, beta2=0.95, epsilon=1e-3, weight_decay=0.3, **k
        ),
        adam,
        decay=0.3,
    ),
    "adadelta": _pair(lambda **k: wp.Adadelta(rho=0.9, epsilon=1e-2, **k), adadelta),
    "ftrl": _pair(lambda **k: wp.FTRL(0.3, beta=0.5, l1=0.4, l2=0.1, **k), ftrl),
}


def trained(reference, value, gradients, penalty=lambda w: 0.0, touched=None):
    """Return the value after dense gradients.

    touched : for each step the rows that take part; state of the others rests
    """
    value = np.array(value, np.float64)
    state = defaultdict(lambda: np.zeros_like(value))
    for t, gradient in enumerate(gradients, 1):
        rows = ... if touched is None else touched[t - 1]
        part = {name: array[rows] for name, array in state.items()}
        held = defaultdict(lambda n=value[rows]: np.zeros_like(n), part)
        w = value[rows]
        after = reference(t, w, gradient[rows] + penalty(w), held)
        value[rows] = after
        for name, array in held.items():
            state[name][rows] = array
    return value
