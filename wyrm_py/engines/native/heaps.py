"""Heaps of the best scores, for kernels that look through rows of them.

A heap is two arrays, scores and codes, with the worst entry in front. The functions
also run as plain Python.
"""

from typing import Any

from numba.extending import register_jitable

from wyrm_py.engines.native.counting import counts

_PIECE = 64  # scores that are looked through at once


@register_jitable
def _holds(codes: Any, begin: Any, end: Any, wanted: Any) -> Any:
    """Whether codes[begin:end], which rise, hold a code."""
    last = end
    while begin < last:
        middle = (begin + last) // 2
        if codes[middle] < wanted:
            begin = middle + 1
        else:
            last = middle
    return begin < end and codes[begin] == wanted


@register_jitable
def _worse(score: Any, code: Any, other_score: Any, other_code: Any) -> Any:
    return score < other_score or (score == other_score and code > other_code)


@register_jitable
def _sink(scores: Any, codes: Any, size: Any, score: Any, code: Any) -> None:
    """Put an entry in place of the worst, which stands at 0, and restore the heap."""
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and _worse(
            scores[child + 1], codes[child + 1], scores[child], codes[child]
        ):
            child += 1
        if not _worse(scores[child], codes[child], score, code):
            break
        scores[at], codes[at] = scores[child], codes[child]
        at = child
    scores[at], codes[at] = score, code


@register_jitable
def pick(
    line: Any,
    count: Any,
    start: Any,
    scores: Any,
    codes: Any,
    begin: Any,
    end: Any,
    excluded: Any,
    allowed: Any,
) -> None:
    """Let rows start, start + 1, ... with these scores into the heap of a query.

    Places of the heap that are still free hold minus infinity; a row must be better,
    so a tie goes to the smaller code, and NaN never gets in.
    """
    for piece in range(0, count, _PIECE):
        stop = min(count, piece + _PIECE)
        if counts(line, piece, stop, scores[0])[0] == 0:
            continue
        for i in range(piece, stop):
            code = start + i
            if not line[i] > scores[0] or _holds(excluded, begin, end, code):
                continue
            if len(allowed) == 0 or allowed[code]:
                _sink(scores, codes, len(scores), line[i], code)
