"""Losses: functions from nodes to a node.

`reduction` is "mean" (shape ()), "sum" (shape ()) or "none". The mean is over the
losses that "none" gives: one per element where a loss compares element by element,
one per line where it compares distributions along an axis. So it does not change
with the batch size, and its gradient is that of the mean.

No loss holds a shape, so the same graph trains with any `batch_size`. Targets are
nodes, or numbers and arrays that stay; a number stands for all elements. That
probabilities and targets are in their range is not checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from wyrm_py.errors import GraphError, SettingError, ShapeError
from wyrm_py.nodes import Node
from wyrm_py.ops.clamped import ClampedLn
from wyrm_py.ops.pick import CrossEntropy
from wyrm_py.ops.pointwise import Ln, Select, Sigmoid

if TYPE_CHECKING:
    from wyrm_py.ops.methods import Value

Reduction: TypeAlias = Literal["mean", "sum", "none"]


# -- classes ------------------------------------------------------------------


def cross_entropy(
    logits: Node, labels: Value, reduction: Reduction = "mean", axis: int = -1
) -> Node:
    """Return -ln softmax(logits)[label], from logits and integer labels.

    The exponentials are shifted by the largest logit, so nothing overflows. To read
    predictions take `logits.softmax(axis)` or `logits.log_softmax(axis)`.

    Parameters
    ----------
    logits : node, shape (..., C); with `axis` the classes may stand elsewhere
    labels : index node or integers in [0, C), of the shape of `logits` without
        `axis`: (B, C) takes (B,), (C,) takes one number, (T, B, C) takes (T, B)
    reduction : "mean", "sum" or "none", over the losses, one per label
    axis : int, of the classes, 1 for (B, C, H, W)

    Returns
    -------
    Node, shape (), or that of `labels`, with reduction "none"

    Raises
    ------
    GraphError, ShapeError, DTypeError, SettingError
        If the logits are no node, shapes or axis do not fit, labels are no integers,
        or the reduction is unknown.
    IndexRangeError
        When values are computed, if a label is none of the C classes.
    """
    classes = _require_node("cross_entropy", logits)
    numbers = _labels(classes, labels)
    loss = classes.apply(CrossEntropy(axis), numbers)
    return _reduced("cross_entropy", loss, reduction)


def nll(
    log_probabilities: Node,
    labels: Value,
    reduction: Reduction = "mean",
    axis: int = -1,
) -> Node:
    """Return -log_probabilities[label], the negative log-likelihood.

    With `x.log_softmax()` it is the cross-entropy of x; `cross_entropy` is faster.

    Parameters
    ----------
    log_probabilities : node, shape (..., C), for instance `x.log_softmax()`
    labels : index node or integers in [0, C), of the shape of `log_probabilities`
        without `axis`
    reduction : "mean", "sum" or "none", over the losses, one per label; the
        mean is over all of them, also where an example has several, (N, d1, ...)
    axis : int, of the classes

    Returns
    -------
    Node, shape (), or that of `labels`, with reduction "none"

    Raises
    ------
    GraphError, ShapeError, DTypeError, SettingError, IndexRangeError
        As for `cross_entropy`.
    """
    given = _require_node("nll", log_probabilities)
    loss = -given.pick(_labels(given, labels), axis)
    return _reduced("nll", loss, reduction)


def categorical_cross_entropy(
    probabilities: Node, targets: Value, reduction: Reduction = "mean", axis: int = -1
) -> Node:
    """Return -sum(targets * ln(probabilities)) along an axis.

    Of a softmax node it is computed from the logits, exactly. Otherwise logarithms
    are clamped at -100.

    Parameters
    ----------
    probabilities : node, shape (..., C), in [0, 1]
    targets : node or array of the same shape: one-hot rows, or any distributions
    reduction : "mean", "sum" or "none", over the losses, one per distribution
    axis : int, of the classes

    Returns
    -------
    Node, shape (), or the inputs' shape without `axis`, with reduction "none"

    Raises
    ------
    GraphError, ShapeError, DTypeError, SettingError
        Unless the first is a node, shapes fit, all are floats, `reduction` is known.
    """
    given, wanted = _pair("categorical_cross_entropy", probabilities, targets)
    loss = -(wanted * _ln(given)).sum(axis)
    return _reduced("categorical_cross_entropy", loss, reduction)


def kl_divergence(
    log_probabilities: Node,
    targets: Value,
    reduction: Reduction = "mean",
    axis: int = -1,
) -> Node:
    """Return sum(targets * (ln(targets) - log_probabilities)) along an axis.

    Where a target is 0 the term is 0. The mean is over distributions ("by batch"),
    which is the divergence; it is not divided by the number of classes.

    Parameters
    ----------
    log_probabilities : node, shape (..., C), for instance `x.log_softmax()`
    targets : node or array of the same shape: distributions
    reduction : "mean", "sum" or "none", over the losses, one per distribution
    axis : int, of the classes

    Returns
    -------
    Node, shape (), or the inputs' shape without `axis`, with reduction "none"

    Raises
    ------
    GraphError, ShapeError, DTypeError, SettingError
        Unless the first is a node, shapes fit, all are floats, `reduction` is known.

    Source: Kullback and Leibler, "On information and sufficiency", 1951.
    """
    given, wanted = _pair("kl_divergence", log_probabilities, targets)
    terms = wanted * (_ln(wanted) - given)
    loss = terms.apply(Select(), wanted).sum(axis)
    return _reduced("kl_divergence", loss, reduction)


# -- yes or no ----------------------------------------------------------------


def bce(probabilities: Node, targets: Value, reduction: Reduction = "mean") -> Node:
    """Return -(t ln(p) + (1 - t) ln(1 - p)), the binary cross-entropy.

    Of a sigmoid node it is computed from the logits, exactly. Otherwise logarithms
    are clamped at -100.

    Parameters
    ----------
    probabilities : node of any shape, in [0, 1]
    targets : node or array of the same shape, in [0, 1]
    reduction : "mean" or "sum" over the elements, which returns shape (), or
        "none", which returns the shape of the inputs

    Raises
    ------
    GraphError, ShapeError, DTypeError, SettingError
        Unless the first is a node, shapes fit, all are floats, `reduction` is known.
    """
    given, wanted = _pair("bce", probabilities, targets)
    if isinstance(given.op, Sigmoid):
        return bce_with_logits(given.application.inputs[0], wanted, reduction)
    loss = -(wanted * _ln(given) + (1.0 - wanted) * _ln(1.0 - given))
    return _reduced("bce", loss, reduction)


def bce_with_logits(
    logits: Node, targets: Value, reduction: Reduction = "mean"
) -> Node:
    """Return t softplus(-z) + (1 - t) softplus(z), the binary cross-entropy.

    It is that of sigmoid(z), without overflow and exact to the last place for
    targets of 0 and 1, however large the logits.

    Parameters
    ----------
    logits : node of any shape
    targets : node or array of the same shape, in [0, 1]
    reduction : "mean" or "sum" over the elements, which returns shape (), or
        "none", which returns the shape of the inputs

    Raises
    ------
    GraphError, ShapeError, DTypeError, SettingError
        Unless the first is a node, shapes fit, all are floats, `reduction` is known.
    """
    z, wanted = _pair("bce_with_logits", logits, targets)
    loss = wanted * (-z).softplus() + (1.0 - wanted) * z.softplus()
    return _reduced("bce_with_logits", loss, reduction)


# -- distances ----------------------------------------------------------------


def mse(prediction: Node, target: Value, reduction: Reduction = "mean") -> Node:
    """Return (prediction - target)**2, the squared error.

    Parameters
    ----------
    prediction : node of any shape
    target : node or array of the same shape, or one number for all
    reduction : "mean" or "sum" over the elements, which returns shape (), or
        "none", which returns the shape of the inputs

    Raises
    ------
    GraphError, ShapeError, DTypeError, SettingError
        Unless the first is a node, shapes fit, all are floats, `reduction` is known.
    """
    given, wanted = _pair("mse", prediction, target)
    return _reduced("mse", (given - wanted).square(), reduction)


def mae(prediction: Node, target: Value, reduction: Reduction = "mean") -> Node:
    """Return |prediction - target|, the absolute error.

    Its gradient is 0 where both are equal.

    Parameters
    ----------
    prediction : node of any shape
    target : node or array of the same shape, or one number for all
    reduction : "mean" or "sum" over the elements, which returns shape (), or
        "none", which returns the shape of the inputs

    Raises
    ------
    GraphError, ShapeError, DTypeError, SettingError
        Unless the first is a node, shapes fit, all are floats, `reduction` is known.
    """
    given, wanted = _pair("mae", prediction, target)
    return _reduced("mae", (given - wanted).absolute(), reduction)


def huber(
    prediction: Node, target: Value, reduction: Reduction = "mean", delta: float = 1.0
) -> Node:
    """Return d**2 / 2 up to |d| = delta, beyond it delta (|d| - delta / 2).

    d is prediction - target.

    Parameters
    ----------
    prediction : node of any shape
    target : node or array of the same shape, or one number for all
    reduction : "mean" or "sum" over the elements, which returns shape (), or
        "none", which returns the shape of the inputs
    delta : float > 0, where the square turns into a line

    Raises
    ------
    GraphError, ShapeError, DTypeError, SettingError
        Unless the first is a node, shapes fit, all are floats, `reduction` is known
        and delta > 0.

    Source: Huber, "Robust estimation of a location parameter", 1964.
    """
    if not (isinstance(delta, int | float | np.floating) and delta > 0):
        raise SettingError(f"huber: delta must be above zero, got {delta!r}.")
    given, wanted = _pair("huber", prediction, target)
    distance = (given - wanted).absolute()
    inner = distance.minimum(delta)
    loss = inner.square() * 0.5 + (distance - inner) * delta
    return _reduced("huber", loss, reduction)


# -- ranking ------------------------------------------------------------------


def bpr(positive: Node, negative: Node, reduction: Reduction = "mean") -> Node:
    """Return -ln sigmoid(positive - negative): the positive is to score higher.

    Parameters
    ----------
    positive, negative : nodes of one shape, scores of an item that was chosen and
        of one that was drawn, see `sample_uniform`
    reduction : "mean" or "sum" over the elements, which returns shape (), or
        "none", which returns the shape of the inputs

    Raises
    ------
    GraphError, ShapeError, DTypeError, SettingError
        Unless the first is a node, shapes fit, all are floats, `reduction` is known.

    Source: Rendle et al., "BPR: Bayesian personalized ranking from implicit
    feedback", UAI 2009, section 4.1.
    """
    better, worse = _pair("bpr", positive, negative)
    return _reduced("bpr", (worse - better).softplus(), reduction)


def hinge(
    positive: Node,
    negative: Node,
    reduction: Reduction = "mean",
    margin: float = 1.0,
    weight: Value = 1.0,
) -> Node:
    """Return weight * max(0, margin - positive + negative).

    With the row and the weight of `sample_warp` it is the WARP loss.

    Parameters
    ----------
    positive, negative : nodes of one shape, scores
    reduction : "mean" or "sum" over the elements, which returns shape (), or
        "none", which returns the shape of the inputs
    margin : float, by how much the positive is to score higher
    weight : node of the same shape, or a number

    Raises
    ------
    GraphError, ShapeError, DTypeError, SettingError
        Unless the first is a node, shapes fit, all are floats, `reduction` is known.

    Source: Weston et al., "WSABIE: scaling up to large vocabulary image annotation",
    IJCAI 2011, section 3.
    """
    better, worse = _pair("hinge", positive, negative)
    loss = (margin - better + worse).relu()
    if not (isinstance(weight, int | float) and weight == 1):
        loss = loss * _pair("hinge", loss, weight)[1]
    return _reduced("hinge", loss, reduction)


# -- shared -------------------------------------------------------------------


def _require_node(who: str, given: Node) -> Node:
    if not isinstance(given, Node):
        raise GraphError(f"{who}: takes a node first, got {type(given).__name__}.")
    return given


def _pair(who: str, given: Node, target: Value) -> tuple[Node, Node]:
    """Return both as nodes of one shape; broadcasting would hide a mistake."""
    first = _require_node(who, given)
    other = first._constant(target)
    if other.shape not in (first.shape, ()):
        raise ShapeError(
            f"{who}: both must have one shape, got {first.shape} and {other.shape}. "
            "Reshape one of them with `.reshape(...)`?"
        )
    return first, other


def _labels(classes: Node, labels: Value) -> Node:
    numbers = classes._row_numbers(labels)
    if len(classes.shape) == 1 and numbers.shape == (1,):
        return numbers.squeeze(0)  # one line of classes, one label
    return numbers


def _ln(probabilities: Node) -> Node:
    """Return a logarithm that is finite: exact where the node knows how."""
    built = probabilities.ln()
    plain = isinstance(built.op, Ln)
    return probabilities.apply(ClampedLn()) if plain else built


def _reduced(who: str, loss: Node, reduction: str) -> Node:
    if reduction == "none":
        return loss
    if reduction == "sum":
        return loss.sum()
    if reduction == "mean":
        return loss.mean()
    raise SettingError(
        f'{who}: reduction must be "mean", "sum" or "none", got {reduction!r}.'
    )
