"""Metrics of predictions, one by one: of classes, probabilities, numbers, text."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wyrm_py.errors import DataError, DTypeError, IndexRangeError, ShapeError
from wyrm_py.values import as_array


def accuracy(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Return the share of targets that are predicted right.

    Parameters
    ----------
    predictions : labels of the shape of the targets, or finite scores (..., C)
        Integers, bools or strings are labels. Of scores, one axis more than the
        targets have, the class of the highest counts, the first one of a tie.
    targets : labels of any shape but an empty one; with scores, integers in [0, C)

    Raises
    ------
    ShapeError
        The shapes do not belong together, or there are no targets.
    DTypeError
        Predictions of the shape of the targets are floats, or targets are no labels.
    DataError
        A score is NaN or infinite.
    IndexRangeError
        A target is not in [0, C).
    """
    found = as_array("accuracy: predictions", predictions)
    wanted = as_array("accuracy: targets", targets)
    if wanted.size == 0 or found.shape[: wanted.ndim] != wanted.shape:
        raise ShapeError(
            "accuracy: labels of the shape of the targets, or scores with one axis "
            f"more, are required for at least one target, got {found.shape} for "
            f"{wanted.shape}."
        )
    for name, labels in (("targets", wanted), ("predictions", found)):
        if labels.ndim == wanted.ndim and labels.dtype.kind not in "iubUT":
            raise DTypeError(
                f"accuracy: {name} of shape {labels.shape} must be labels (integers, "
                f"bools or strings), got dtype {labels.dtype}. Compare with a "
                "threshold first, such as `scores > 0`, or use `.astype(int)`."
            )
    if found.ndim > wanted.ndim:
        found = _classes(found, wanted)
    return float(np.mean(found == wanted))


def _classes(scores: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.int64]:
    if scores.ndim != targets.ndim + 1 or scores.shape[-1] == 0:
        raise ShapeError(
            f"accuracy: scores of shape {targets.shape} and one axis of classes are "
            f"required, got {scores.shape}."
        )
    if scores.dtype.kind not in "fiu" or targets.dtype.kind not in "iu":
        raise DTypeError(
            "accuracy: scores are numbers and their targets integers, got "
            f"{scores.dtype} and {targets.dtype}."
        )
    if not np.isfinite(scores).all():
        place = tuple(int(k) for k in np.argwhere(~np.isfinite(scores))[0])
        raise DataError(
            f"accuracy: finite scores are required, found {scores[place]} at {place}. "
            "Has the training diverged? Lower the learning rate."
        )
    classes = scores.shape[-1]
    if targets.min() < 0 or targets.max() >= classes:
        raise IndexRangeError(
            f"accuracy: targets must be in [0, {classes}), the classes there are "
            f"scores of, found {targets.min()} to {targets.max()}."
        )
    found: NDArray[np.int64] = scores.argmax(axis=-1)
    return found


def perplexity(cross_entropy: float) -> float:
    """Return exp(cross entropy): between how many symbols a model hesitates.

    Parameters
    ----------
    cross_entropy : float >= 0
        Mean of -ln(probability of the right symbol) over the symbols, in nats, such as
        `History.losses` holds for the cross entropy of each symbol.

    Returns
    -------
    float in [1, inf]
        A uniform model over V symbols has perplexity V.

    Raises
    ------
    DataError
        It is negative or NaN.

    Notes
    -----
    Source: Jelinek, Mercer, Bahl and Baker, "Perplexity - a measure of the difficulty
    of speech recognition tasks", 1977.
    """
    if not cross_entropy >= 0:
        raise DataError(
            "perplexity: a mean cross entropy of zero or more is required, in nats, "
            f"got {cross_entropy}."
        )
    with np.errstate(over="ignore"):
        return float(np.exp(np.float64(cross_entropy)))


def rmse(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Return the square root of the mean squared difference, in float64.

    Parameters
    ----------
    predictions, targets : finite numbers, of one shape, at least one of each

    Raises
    ------
    ShapeError
        The shapes differ, or there are no targets.
    DTypeError
        Something is not a number.
    DataError
        Something is NaN or infinite.
    """
    found, wanted = _numbers("rmse", predictions, targets)
    return float(np.sqrt(np.mean((found - wanted) ** 2)))


def mae(predictions: ArrayLike, targets: ArrayLike) -> float:
    """Return the mean absolute difference, in float64.

    Parameters and errors are those of `rmse`.
    """
    found, wanted = _numbers("mae", predictions, targets)
    return float(np.mean(np.abs(found - wanted)))


def log_loss(probabilities: ArrayLike, targets: ArrayLike) -> float:
    """Return the mean of -ln(probability of what happened), in nats.

    Parameters
    ----------
    probabilities : numbers in [0, 1], shape (N,) or (N, C)
        Of class 1 of two, or of each of C classes; rows that do not sum to one are
        divided by their sums.
    targets : whole numbers or bools, shape (N,), in [0, 2) or [0, C)

    Returns
    -------
    float >= 0
        A probability of zero counts as the smallest step above it (2.2e-16), so that
        one sure mistake does not make the mean infinite.

    Raises
    ------
    ShapeError
        The shapes do not belong together, or there are no targets.
    DTypeError
        Targets are no integers, or probabilities no numbers.
    DataError
        A probability is NaN or not in [0, 1], or all of a row are zero.
    IndexRangeError
        A target is not one of the classes.
    """
    chances = as_array("log_loss: probabilities", probabilities)
    wanted = as_array("log_loss: targets", targets)
    if wanted.ndim != 1 or len(wanted) == 0 or chances.ndim not in (1, 2):
        raise ShapeError(
            "log_loss: targets of shape (N,) and probabilities of shape (N,) or (N, C) "
            f"are required, got {wanted.shape} and {chances.shape}."
        )
    whole = wanted.dtype.kind == "f" and not (wanted % 1).any()  # 1.0: a float column
    if wanted.dtype.kind not in "iub" and not whole:
        raise DTypeError(f"log_loss: targets must be integers, got {wanted.dtype}.")
    classes = 2 if chances.ndim == 1 else chances.shape[1]
    chances = _numbers("log_loss", chances, np.zeros(chances.shape))[0]
    if len(chances) != len(wanted):
        raise ShapeError(
            f"log_loss: one row of probabilities a target is required, got "
            f"{len(chances)} for {len(wanted)}."
        )
    if chances.min() < 0 or chances.max() > 1:
        raise DataError(
            "log_loss: probabilities in [0, 1] are required, found "
            f"{chances.min():g} to {chances.max():g}. Apply a sigmoid or a softmax?"
        )
    if wanted.min() < 0 or wanted.max() >= classes:
        raise IndexRangeError(
            f"log_loss: targets must be in [0, {classes}), found {wanted.min()} to "
            f"{wanted.max()}."
        )
    wide = np.stack([1 - chances, chances], 1) if chances.ndim == 1 else chances
    sums = wide.sum(axis=1, keepdims=True)
    if not sums.all():
        raise DataError(
            "log_loss: probabilities of which some are above zero are required, those "
            f"in row {int(np.argmin(sums))} sum to zero."
        )
    wide = np.clip(wide / sums, np.finfo(np.float64).eps, 1)
    return float(-np.log(wide[np.arange(len(wanted)), wanted.astype(int)]).mean())


def auc(scores: ArrayLike, targets: ArrayLike) -> float:
    """Return the share of pairs (positive, negative) in which the positive is higher.

    Parameters
    ----------
    scores : finite numbers, shape (N,)
        A tie counts half.
    targets : bools, or numbers of which 1 is positive and 0 or -1 negative, (N,)

    Raises
    ------
    ShapeError
        The shapes differ.
    DTypeError, IndexRangeError
        Targets are no labels of two classes.
    DataError
        A score is NaN or infinite, or one of the classes does not occur.

    Notes
    -----
    The area under the curve of true against false positive rates, from the sum of the
    ranks of the positives (Mann and Whitney, 1947), in O(N log N).
    """
    found, wanted = _numbers("auc", scores, targets)
    if found.ndim != 1:
        raise ShapeError(f"auc: scores of shape (N,) are required, got {found.shape}.")
    if not np.isin(wanted, (-1, 0, 1)).all() or {-1, 0} <= set(np.unique(wanted)):
        raise IndexRangeError("auc: targets must be 0 and 1, or -1 and 1.")
    positive = wanted == 1
    n_positive = int(positive.sum())
    n_negative = len(wanted) - n_positive
    if not n_positive or not n_negative:
        raise DataError("auc: targets of both classes are required, got one class.")
    _, places, counts = np.unique(found, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]  # ties share their mean
    surplus = ranks[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(surplus / (n_positive * n_negative))


def _numbers(
    who: str, predictions: ArrayLike, targets: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = as_array(f"{who}: predictions", predictions)
    wanted = as_array(f"{who}: targets", targets)
    for array in (found, wanted):
        if array.dtype.kind not in "fiub":
            raise DTypeError(f"{who}: numbers are required, got dtype {array.dtype}.")
    if found.shape != wanted.shape or wanted.size == 0:
        raise ShapeError(
            f"{who}: predictions and targets of one shape, at least one of each, are "
            f"required, got {found.shape} and {wanted.shape}."
        )
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    for name, array in (("predictions", found), ("targets", wanted)):
        if not np.isfinite(array).all():
            raise DataError(
                f"{who}: finite {name} are required, found NaN or infinity. Has the "
                "training diverged? Lower the learning rate."
            )
    return found, wanted
