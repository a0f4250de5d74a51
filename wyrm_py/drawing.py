"""`draw`: a graph as text, as Graphviz DOT, and as a picture in notebooks.

The picture is SVG made here; no Graphviz is needed. layout.py says where the
boxes stand.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from wyrm_py.layout import place
from wyrm_py.leaves import Constant, ParameterNode, require_node

if TYPE_CHECKING:
    from wyrm_py.graph.op import Op
    from wyrm_py.nodes import Application, Node

LETTER = 7.8
"""Width of an average bold letter of the title, pixels."""
HEIGHT, STEP = 40.0, 74.0
"""Height of a box, and from one layer to the next, pixels."""
MARGIN = 12.0
LARGEST = 400
"""Boxes that a picture from a file may have."""

COLORS = {  # kind: fill, line
    "parameter": ("#dcf1e1", "#3d9a5b"),
    "input": ("#dbe9fb", "#3f78c4"),
    "constant": ("#eeeeee", "#999999"),
    "random": ("#fdeccf", "#d08a1d"),
    "op": ("#ffffff", "#8a8f98"),
    "root": ("#ffffff", "#22262d"),
    "more": ("#ffffff", "#bbbbbb"),
}


@dataclass(frozen=True)
class Box:
    """What is shown of one application: a leaf, or an op with its outputs."""

    kind: str
    title: str
    detail: str

    @property
    def width(self) -> float:
        """Width in pixels; the detail is set smaller than the title."""
        return max(len(self.title) * LETTER, len(self.detail) * 0.86 * LETTER) + 18


@dataclass(frozen=True)
class Picture:
    """What a picture shows of a graph: boxes, and edges from earlier to later ones."""

    boxes: list[Box]
    edges: list[tuple[int, int]]

    @property
    def svg(self) -> str:
        """The picture as SVG text."""
        return _svg(self.boxes, self.edges)

    @classmethod
    def from_dict(cls, saved: Any) -> Picture:
        """Return the picture whose `dataclasses.asdict` went through JSON.

        Raises
        ------
        ValueError, TypeError, LookupError
            If there is none in it, or one too large to be of `draw`.
        """
        boxes = [Box(b["kind"], b["title"], b["detail"]) for b in saved["boxes"]]
        edges = [(a, b) for a, b in saved["edges"]]
        texts = [text for box in boxes for text in (box.title, box.detail)]
        numbers = [number for edge in edges for number in edge]
        fits = (
            0 < len(boxes) <= LARGEST
            and len(edges) <= LARGEST * 8
            and all(type(text) is str and len(text) < 10_000 for text in texts)
            and all(type(number) is int for number in numbers)
            and all(0 <= a < b < len(boxes) for a, b in edges)
            and {box.kind for box in boxes} <= set(COLORS)
        )
        if not fits:
            raise ValueError("no picture of a graph")
        return cls(boxes, edges)


class Drawing:
    """A graph to look at: `print` it, or leave it at the end of a notebook cell.

    Attributes
    ----------
    dot : str
        The whole graph in the DOT language of Graphviz.
    svg : str
        The picture, of at most `most` boxes: those nearest to the root.
    """

    def __init__(self, root: Node, most: int = 80) -> None:
        self._root = root.application
        self._most = most
        order = root._applications()
        self._order = [a for a in order if _number(a) is None]
        self._at = {a: k for k, a in enumerate(self._order)}

    def __str__(self) -> str:
        """Return one line a node: number, what it is, what it reads, its shape."""
        lines = []
        for k, application in enumerate(self._order):
            reads = ", ".join(self._reads(application))
            name = _name(application)
            label = f"{name}: " if name else ""
            what = label + _what(application) + (f"({reads})" if reads else "")
            specs = groupby(str(node.spec) for node in application.outputs)
            runs = [(spec, len(list(same))) for spec, same in specs]
            shapes = [f"{n} of {spec}" if n > 1 else spec for spec, n in runs]
            lines.append((f"#{k}", what, ", ".join(shapes)))
        wide = [max(len(line[c]) for line in lines) for c in range(2)]
        text = [f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c}" for a, b, c in lines]
        sizes = [n.value.size for n in map(_owner, self._order) if _is_parameter(n)]
        total = (
            f"{len(lines)} nodes; parameters: {len(sizes)} of {sum(sizes):,} numbers"
        )
        return "\n".join([*text, total])

    __repr__ = __str__

    def _repr_svg_(self) -> str:
        return self.svg

    def _reads(self, application: Application) -> Iterator[str]:
        """Yield what an application reads: numbers of nodes, or a constant."""
        for node in application.inputs:
            number = _number(node.application)
            if number is not None:
                yield number
                continue
            several = len(node.application.outputs) > 1
            part = f".{node.application.outputs.index(node)}" if several else ""
            yield f"#{self._at[node.application]}{part}"

    @property
    def dot(self) -> str:
        """The graph in DOT, for Graphviz and tools that read it."""
        lines = ["digraph {", '  node [shape=box, style="rounded,filled"];']
        for k, application in enumerate(self._order):
            box = self._box(application)
            fill, line = COLORS[box.kind]
            label = f"{box.title}\n{box.detail}".replace("\\", "\\\\")
            label = label.replace('"', '\\"').replace("\n", "\\n")
            lines.append(
                f'  n{k} [label="{label}", fillcolor="{fill}", color="{line}"];'
            )
        lines += [f"  n{a} -> n{b};" for a, b in self._edges(self._order)]
        return "\n".join([*lines, "}"]) + "\n"

    @property
    def svg(self) -> str:
        """The picture as SVG text."""
        return self.picture.svg

    @property
    def picture(self) -> Picture:
        """What the picture shows."""
        shown = self._nearest()
        boxes = [self._box(application) for application in shown]
        edges = self._edges(shown)
        hidden = len(self._order) - len(shown)
        if hidden:  # what is left out stands as one box before its readers
            boxes.insert(0, Box("more", f"{hidden:,} more", "not drawn"))
            edges = [(a + 1, b + 1) for a, b in edges]
            known = set(shown)
            edges += [
                (0, k + 1)
                for k, application in enumerate(shown)
                if any(
                    n.application not in known and _number(n.application) is None
                    for n in application.inputs
                )
            ]
        return Picture(boxes, edges)

    def _nearest(self) -> list[Application]:
        """Return the applications nearest to the root, in their order."""
        found = dict.fromkeys([self._root])
        ring = [self._root]
        while ring and len(found) < self._most:
            nearer = [n.application for a in ring for n in a.inputs]
            ring = [
                a for a in dict.fromkeys(nearer) if a in self._at and a not in found
            ]
            found.update(dict.fromkeys(ring[: self._most - len(found)]))
        return sorted(found, key=self._at.__getitem__)

    def _edges(self, shown: list[Application]) -> list[tuple[int, int]]:
        at = {application: k for k, application in enumerate(shown)}
        return [
            (at[above], k)
            for k, application in enumerate(shown)
            for above in dict.fromkeys(n.application for n in application.inputs)
            if above in at
        ]

    def _box(self, application: Application) -> Box:
        owner = application.owner
        given = [_number(n.application) for n in application.inputs]
        outputs = application.outputs if owner is None else [owner]
        detail = ", ".join(dict.fromkeys(_shape(node) for node in outputs))
        if len(outputs) > 1:
            detail = f"{len(outputs)} values: {detail}"
        what = " ".join([_what(application), *(x for x in given if x is not None)])
        name = _name(application)
        title, detail = (name, f"{what} {detail}") if name else (what, detail)
        if owner is not None:
            known = {ParameterNode: "parameter", Constant: "constant"}
            return Box(known.get(type(owner), "input"), title, detail)
        if application.op.random:
            return Box("random", title, detail)
        return Box("root" if application is self._root else "op", title, detail)


def draw(node: Node, most: int = 80) -> Drawing:
    """Return a drawing of the graph under a node.

    `print(wp.draw(loss))` lists its nodes with their shapes; at the end of a
    notebook cell `wp.draw(loss)` is a picture. Parameters are green, inputs blue,
    what draws random numbers orange. Numbers stand in the box that uses them.

    Parameters
    ----------
    node : the root of what is drawn
    most : boxes of the picture; of larger graphs the part nearest to the root is
        drawn. The text and `dot` hold all.
    """
    require_node("draw", "node", node)
    return Drawing(node, most)


def _owner(application: Application) -> Any:
    return application.owner


def _is_parameter(node: Any) -> bool:
    return isinstance(node, ParameterNode)


def _number(application: Application) -> str | None:
    """Return the text of a constant of one element, None of any other node."""
    owner = application.owner
    if isinstance(owner, Constant) and owner.value.size == 1:
        return f"{owner.value.item():g}"
    return None


def _name(application: Application) -> str | None:
    return ", ".join(n.name for n in application.outputs if n.name) or None


def _what(application: Application) -> str:
    """Return the kind of a leaf, or the name of an op with its settings."""
    if application.owner is None:
        return _setting(application.op)
    kind = type(application.owner).__name__.removesuffix("Node")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower()


def _setting(op: Op) -> str:
    """Return an op's name with those of its settings that read well."""
    fields: Any = dataclasses.fields(op) if dataclasses.is_dataclass(op) else ()
    shown: list[str] = []
    for field in fields:
        value = getattr(op, field.name)
        plain = value if isinstance(value, tuple) else (value,)
        if value != field.default and all(isinstance(x, int | float) for x in plain):
            shown.append(f"{field.name}={value}")
    return " ".join([op.name, *shown])


def _shape(node: Node) -> str:
    lengths = "x".join(map(str, node.shape)) or "()"
    return lengths if node.dtype == np.float32 else f"{lengths} {node.dtype}"


def _svg(boxes: list[Box], edges: list[tuple[int, int]]) -> str:
    placing = place([box.width for box in boxes], edges)
    width = placing.width + 2 * MARGIN
    height = max(placing.layer) * STEP + HEIGHT + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        'font-family="Helvetica, Arial, sans-serif">',
        '<defs><marker id="wyrm-arrow" viewBox="0 0 8 8" refX="7" refY="4" '
        'markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0.5 L8,4 L0,7.5 z" fill="#8a8f98"/></marker></defs>',
    ]
    for (a, _), way in placing.ways.items():
        dashed = ' stroke-dasharray="4 3"' if boxes[a].kind == "more" else ""
        lines.append(
            f'<path d="{_curve(way, placing.layer[a])}" fill="none" stroke="#8a8f98" '
            f'stroke-width="1.2"{dashed} marker-end="url(#wyrm-arrow)"/>'
        )
    for box, x, layer in zip(boxes, placing.x, placing.layer, strict=True):
        fill, line = COLORS[box.kind]
        middle, top = MARGIN + x, MARGIN + layer * STEP
        lines.append(
            f'<rect x="{middle - box.width / 2:.1f}" y="{top:.1f}" rx="7" '
            f'width="{box.width:.1f}" height="{HEIGHT:.0f}" fill="{fill}" '
            f'stroke="{line}" stroke-width="{2.2 if box.kind == "root" else 1.3}"/>'
            f'<text x="{middle:.1f}" y="{top + 17:.1f}" text-anchor="middle" '
            f'font-size="12.5" font-weight="600" fill="#22262d">{escape(box.title)}'
            f'</text><text x="{middle:.1f}" y="{top + 32:.1f}" text-anchor="middle" '
            f'font-size="11" fill="#5d636d">{escape(box.detail)}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def _curve(way: list[float], layer: int) -> str:
    """Return an edge: down through its layers, with a bend between them."""
    text = ""
    for k, (x0, x1) in enumerate(pairwise(way)):
        bottom = MARGIN + (layer + k) * STEP + HEIGHT
        top = MARGIN + (layer + k + 1) * STEP
        start = "M" if k == 0 else "L"
        y = (bottom + top) / 2
        x0, x1 = x0 + MARGIN, x1 + MARGIN
        text += f"{start}{x0:.1f},{bottom:.1f} "
        text += f"C{x0:.1f},{y:.1f} {x1:.1f},{y:.1f} {x1:.1f},{top:.1f} "
    return text.rstrip()
