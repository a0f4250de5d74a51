"""Where the boxes of a drawing stand: layers, few crossings, straight lines.

Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical system
structures" (1981), in its simplest form. Knows no graph of nodes: vertices are
numbers, inputs come before what reads them, and edges lead down the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 12
GAP = 18.0
"""Least distance of neighbours in a layer, pixels."""
BEND = 6.0
"""Width that an edge takes where it passes a layer."""

Edge = tuple[int, int]


@dataclass
class Placing:
    """Centres of the vertices, the layer of each, and the way of each edge.

    A way is the centre at each layer from the one end to the other.
    """

    x: list[float]
    layer: list[int]
    ways: dict[Edge, list[float]]
    width: float


def place(widths: Sequence[float], edges: Sequence[Edge]) -> Placing:
    """Place vertices of given widths; an edge (a, b) has a < b."""
    layer = _layers(len(widths), edges)
    widths = list(widths)
    level = list(layer)
    chains: dict[Edge, list[int]] = {}
    for a, b in edges:  # bends stand in for long edges, one a layer
        chain = [a]
        for between in range(layer[a] + 1, layer[b]):
            chain.append(len(widths))
            widths.append(BEND)
            level.append(between)
        chains[a, b] = [*chain, b]
    above: list[list[int]] = [[] for _ in widths]
    below: list[list[int]] = [[] for _ in widths]
    for chain in chains.values():
        for upper, lower in pairwise(chain):
            below[upper].append(lower)
            above[lower].append(upper)
    rows = _ordered(_rows(level, above), above, below)
    real = len(layer)
    x = _coordinates(rows, widths, above, below, real)
    left = min(c - w / 2 for c, w in zip(x, widths, strict=True))
    right = max(c + w / 2 for c, w in zip(x, widths, strict=True))
    x = [c - left for c in x]
    ways = {edge: [x[v] for v in chain] for edge, chain in chains.items()}
    return Placing(x[:real], layer, ways, right - left)


def _layers(count: int, edges: Sequence[Edge]) -> list[int]:
    """Put each vertex just above the highest of its readers."""
    height = [0] * count
    for a, b in sorted(edges, key=lambda edge: -edge[1]):
        height[a] = max(height[a], height[b] + 1)
    top = max(height, default=0)
    return [top - h for h in height]


def _rows(level: list[int], above: list[list[int]]) -> list[list[int]]:
    """Return the vertices of each layer, left operands to the left."""
    rows: list[list[int]] = [[] for _ in range(max(level) + 1)]
    roots = [v for v in range(len(level)) if level[v] == len(rows) - 1]
    seen: set[int] = set()
    stack = roots[::-1]
    while stack:
        vertex = stack.pop()
        if vertex in seen:
            continue
        seen.add(vertex)
        rows[level[vertex]].append(vertex)
        stack += above[vertex][::-1]
    return rows


def _ordered(
    rows: list[list[int]], above: list[list[int]], below: list[list[int]]
) -> list[list[int]]:
    """Sort layers by the mean place of neighbours; keep what crosses least."""
    best, fewest = rows, _crossings(rows, below)
    for sweep in range(SWEEPS):
        rows = [list(row) for row in rows]
        upward = sweep % 2 == 0
        neighbours = below if upward else above
        order = range(len(rows) - 2, -1, -1) if upward else range(1, len(rows))
        for number in order:
            fixed = rows[number + 1 if upward else number - 1]
            rows[number] = _sorted(rows[number], fixed, neighbours)
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = rows, crossings
    return best


def _sorted(row: list[int], fixed: list[int], neighbours: list[list[int]]) -> list[int]:
    """Sort a layer by the mean place of neighbours in the layer beside it."""
    place = {v: k for k, v in enumerate(fixed)}
    means = {}
    for k, v in enumerate(row):
        at = [place[n] for n in neighbours[v]]
        means[v] = sum(at) / len(at) if at else float(k)
    return sorted(row, key=means.__getitem__)


def _crossings(rows: list[list[int]], below: list[list[int]]) -> int:
    total = 0
    for upper, lower in pairwise(rows):
        place = {v: k for k, v in enumerate(lower)}
        ends = [
            place[n] for v in upper for n in sorted(below[v], key=place.__getitem__)
        ]
        total += sum(a > b for k, a in enumerate(ends) for b in ends[k + 1 :])
    return total


def _coordinates(
    rows: list[list[int]],
    widths: list[float],
    above: list[list[int]],
    below: list[list[int]],
    real: int,
) -> list[float]:
    """Pull every vertex towards its neighbours, in order and without overlap."""
    x = [0.0] * len(widths)
    for row in rows:
        at = 0.0
        for v in row:
            x[v] = at + widths[v] / 2
            at += widths[v] + GAP
    # what computes stands in a line, and what it reads beside it
    pull = [(1.0 if above[v] else 0.1) if v < real else 2.0 for v in range(len(x))]
    for sweep in range(4 * SWEEPS):
        for row in rows if sweep % 2 else reversed(rows):
            wanted = []
            for v in row:
                near = above[v] + below[v] or [v]
                total = sum(pull[n] for n in near)
                wanted.append(sum(pull[n] * x[n] for n in near) / total)
            apart = [(widths[a] + widths[b]) / 2 + GAP for a, b in pairwise(row)]
            weights = [pull[v] for v in row]
            for v, at in zip(row, _spread(wanted, weights, apart), strict=True):
                x[v] = at
    return x


def _spread(
    wanted: list[float], weights: list[float], apart: list[float]
) -> list[float]:
    """Return places nearest to the wanted ones that keep their distances.

    Least squares under an order: pool neighbours that violate it (isotonic
    regression; Barlow et al., 1972).
    """
    starts = [0.0]
    for gap in apart:
        starts.append(starts[-1] + gap)
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for target, weight, start in zip(wanted, weights, starts, strict=True):
        mean, total, count = target - start, weight, 1
        while pools and pools[-1][0] > mean:
            other, more, members = pools.pop()
            mean = (mean * total + other * more) / (total + more)
            total, count = total + more, count + members
        pools.append((mean, total, count))
    means = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + start for mean, start in zip(means, starts, strict=True)]
