"""How a step reads its inputs: from columns, at the number of its example.

A column is one flat array, example after example; a compiled step's inputs are
columns of one example. Nothing is copied but the entries of ragged nodes in a
batch, which do not lie together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wyrm_py.engines.native.extents import Extent, Extents
from wyrm_py.engines.native.operands import (
    Operand,
    flat_index,
    local,
    offset,
    times,
    type_name,
)
from wyrm_py.engines.native.settings import Settings
from wyrm_py.engines.native.slots import Slots
from wyrm_py.engines.native.writer import Writer
from wyrm_py.leaves import Constant, LeafNode, ParameterNode
from wyrm_py.sparse_rows import Entries

if TYPE_CHECKING:
    from wyrm_py.nodes import Application, Node

INDEX = np.dtype(np.int64)
ROW = np.dtype(np.uint64)
SOON = 32
"""How many examples ahead columns are asked for (regression: 7.0 to 5.3 ns)."""
NEAR = 8
"""How many examples ahead the entries of ragged leaves are asked for, whose place is
known by then (14 entries from beyond the second cache: 300 to 125 ns)."""


class LeafLoader:
    """Gives operands to leaves, and writes the lines that load scalars."""

    def __init__(self, slots: Slots, extents: Extents, settings: Settings) -> None:
        self.slots = slots
        self.extents = extents
        self.settings = settings
        self.batched = settings.batched
        self.shuffled = settings.shuffled
        self.rows: list[tuple[str, str]] = []
        self.floats: list[tuple[str, str]] = []
        self._ragged: list[LeafNode] = []
        self._done: list[Entries] = []
        self._strides: dict[str, str] = {}  # of columns, for the prefetch
        if self.shuffled:
            slots.add("order", np.uint32, "order")

    def add(self, application: Application, operands: dict[Node, Operand]) -> None:
        """Give an operand to each output of a leaf."""
        leaf = application.owner
        if leaf is None:
            return
        if isinstance(leaf, ParameterNode):
            operands[leaf] = self.slots.value(leaf)
        elif isinstance(leaf, Entries):
            shape = self.extents.shapes[leaf]
            operands[leaf] = local("u64(0)", INDEX, shape)  # shape only
        elif isinstance(leaf, Constant):
            operands[leaf] = self._constant(leaf)
        elif leaf in self.extents.ragged:
            self._add_ragged(leaf, operands)
        else:
            operands[leaf] = self._dense(leaf)

    def _constant(self, leaf: Constant) -> Operand:
        number = leaf.value
        if number.size == 1 and np.isfinite(number).all():
            kind = "u64" if leaf.spec.is_index else type_name(leaf.dtype)
            text = f"{kind}({number.item()!r})"
            return local(text, leaf.dtype, self.extents.shapes[leaf])
        return self.slots.constant(leaf)

    def _column(self, leaf: LeafNode, part: str, node: Node) -> str:
        """Return the name of a column of values or row numbers."""
        short = (leaf, part) in self.settings.int32
        return self.slots.column(leaf, np.int32 if short else node.dtype, part)

    def example(self, batch_index: str = "0") -> str:
        """Return the number of an example (of a batch: of its member)."""
        at = "k" if not self.batched else f"(k + {batch_index})"
        if self.batched and batch_index == "0":
            at = "k"
        return f"u64(order[{at}])" if self.shuffled else f"u64({at})"

    def _dense(self, leaf: LeafNode) -> Operand:
        shape, kind = self.extents.shapes[leaf], leaf.dtype
        cast = "u64" if leaf.spec.is_index else ""
        column = self._column(leaf, "", leaf)
        if self.batched:
            return self._dense_batched(column, cast, leaf)
        size = "u64(1)"
        for extent in shape:
            size = times(size, extent.text)
        self._strides[column] = size
        element = offset(column, times("e", size), kind, shape, cast)
        if not element.is_scalar:
            return element
        name = self._local_name(leaf)
        found = self.rows if leaf.spec.is_index else self.floats
        found.append((name, element.at(*("0",) * len(shape))))
        return local(name, kind, shape)

    def _dense_batched(self, column: str, cast: str, leaf: LeafNode) -> Operand:
        shape = self.extents.shapes[leaf]
        rest = "u64(1)"
        for extent in shape[1:]:
            rest = times(rest, extent.text)

        def read(*index: str) -> str:
            within = flat_index(index[1:], shape[1:])
            start = times(self.example(index[0]), rest)
            position = start if within == "0" else f"{start} + {within}"
            text = f"{column}[{position}]"
            return f"{cast}({text})" if cast else text

        return Operand(leaf.dtype, shape, read)

    def _local_name(self, leaf: LeafNode) -> str:
        number = len(self.rows) + len(self.floats)
        return f"i{number}" if leaf.spec.is_index else f"v{number}"

    # -- ragged leaves ----------------------------------------------------

    def _add_ragged(self, leaf: LeafNode, operands: dict[Node, Operand]) -> None:
        self._ragged.append(leaf)
        self._strides[self.slots.column(leaf, INDEX, "offsets")] = "u64(1)"
        for node, part in ragged_parts(leaf):
            shape = self.extents.shapes[node]
            cast = "u64" if node.spec.is_index else ""
            if part == "lengths":
                operands[node] = local("u64(0)", INDEX, shape)  # shape only
            elif part == "segments":
                operands[node] = self._segments(leaf, node, shape)
            elif self.batched:
                kind = ROW if node.spec.is_index else node.dtype
                name = f"{self._column(leaf, part, node)}_batch"
                operands[node] = self.slots.workspace(name, kind, shape)
            else:
                column = self._column(leaf, part, node)
                operands[node] = offset(
                    column, self._start(leaf), node.dtype, shape, cast
                )

    def _start(self, leaf: LeafNode) -> str:
        return f"start_{self.extents.ragged[leaf]}"

    def _segments(
        self, leaf: LeafNode, node: Node, shape: tuple[Extent, ...]
    ) -> Operand:
        lengths = self.extents.shapes[leaf.lengths]  # type: ignore[attr-defined]
        if lengths[0].is_one:
            return local("0", INDEX, shape)
        if self.batched:
            name = f"segments_{self.extents.ragged[leaf]}"
            return self.slots.workspace(name, ROW, shape)
        column = self.slots.column(leaf, INDEX, "segments")
        return offset(column, self._start(leaf), INDEX, shape, "u64")

    # -- lines ------------------------------------------------------------

    def _write_prefetch(self, writer: Writer) -> None:
        """Ask for the columns of an example that comes up: order is random."""
        last = "end - u64(1)"
        writer.line(f"soon = u64(order[min(k + u64({SOON}), {last})])")
        for column, size in self._strides.items():
            writer.line(f"prefetch({column}, {times('soon', size)})")
        if self._ragged:
            writer.line(f"near = u64(order[min(k + u64({NEAR}), {last})])")
        for leaf in self._ragged:
            offsets = self.slots.column(leaf, INDEX, "offsets")
            for column in self._entry_columns(leaf).values():
                writer.line(f"prefetch({column}, {offsets}[near])")
                writer.line(f"prefetch({column}, {offsets}[near + u64(1)])")

    def _entry_columns(self, leaf: LeafNode) -> dict[Node, str]:
        """Return the names of the columns that hold the entries of a ragged leaf."""
        return {
            node: self._column(leaf, part, node)
            for node, part in ragged_parts(leaf)
            if part not in ("lengths", "segments")
        }

    def write_rows(self, writer: Writer, again: bool = False) -> list[str]:
        """Write the example's number and its scalar row numbers; name them."""
        if self.batched:
            return []
        if self.shuffled and not again:
            self._write_prefetch(writer)
        writer.line(f"e = {self.example()}")
        for name, text in self.rows:
            writer.line(f"{name} = {text}")
        return ["e", *(name for name, _ in self.rows)]

    def write_values(self, writer: Writer) -> None:
        """Write the scalar floats, ragged lengths and lengths that follow."""
        if self.batched:
            writer.line("batch = min(batch_size, end - k)")
        for name, text in self.floats:
            writer.line(f"{name} = {text}")
        for leaf in self._ragged:
            (self._write_batch if self.batched else self._write_range)(writer, leaf)
            if self.batched and self.settings.cut:
                writer.line(f"{self._kept(leaf)} = {self.extents.ragged[leaf]}")
        for one in self.extents.known():
            writer.line(f"{one.name} = {one.text}")

    def write_found(self, writer: Writer, leaf: Entries) -> None:
        """Write what follows from a length that an op has just worked out."""
        self._done.append(leaf)
        if self.settings.cut:
            name = self.extents.found[leaf]
            writer.line(f"{self._kept(leaf)} = {name}")
            writer.line(f"{self._kept(leaf, start=True)} = start_{name}")
        for one in self.extents.after(leaf, self._done):
            writer.line(f"{one.name} = {one.text}")

    def _kept(self, leaf: LeafNode, start: bool = False) -> str:
        """Return where the pieces of a cut step find a leaf's length, or its start."""
        leaves = [*self._ragged, *self.extents.found]
        self.slots.add("entries", np.uint64, "workspace", ((), 1, 2 * len(leaves)))
        return f"entries[u64({leaves.index(leaf) + len(leaves) * start})]"

    def write_again(self, writer: Writer) -> None:
        """Write what a later piece of a cut step needs of all this."""
        self.write_rows(writer, again=True)
        if self.batched:
            writer.line("batch = min(batch_size, end - k)")
        for name, text in self.floats:
            writer.line(f"{name} = {text}")
        for leaf in self._ragged:
            if self.batched:  # copied and counted by the first piece
                writer.line(f"{self.extents.ragged[leaf]} = {self._kept(leaf)}")
            else:
                self._write_range(writer, leaf)
        for found, name in self.extents.found.items():  # right once its op has run
            writer.line(f"{name} = {self._kept(found)}")
            writer.line(f"start_{name} = {self._kept(found, start=True)}")
        for one in self.extents.varying:
            writer.line(f"{one.name} = {one.text}")

    def _write_range(self, writer: Writer, leaf: LeafNode) -> None:
        offsets = self.slots.column(leaf, INDEX, "offsets")
        start, entries = self._start(leaf), self.extents.ragged[leaf]
        rows = self.extents.shapes[leaf.lengths][0].text  # type: ignore[attr-defined]
        after = "e + u64(1)" if rows == "u64(1)" else f"{rows}"
        writer.line(f"{start} = u64({offsets}[e])")
        writer.line(f"{entries} = u64({offsets}[{after}]) - {start}")

    def _write_batch(self, writer: Writer, leaf: LeafNode) -> None:
        """Copy the entries of the batch's examples one after the other."""
        offsets = self.slots.column(leaf, INDEX, "offsets")
        entries = self.extents.ragged[leaf]
        columns = self._entry_columns(leaf)
        writer.line(f"{entries} = u64(0)")
        member = writer.fresh("j")
        with writer.block(f"for {member} in range(batch):"):
            writer.line(f"e = {self.example(f'u64({member})')}")
            place = writer.fresh("j")
            span = f"range(u64({offsets}[e]), u64({offsets}[e + u64(1)]))"
            with writer.block(f"for {place} in {span}:"):
                for node, column in columns.items():
                    cast = "u64" if node.spec.is_index else type_name(node.dtype)
                    writer.line(
                        f"{column}_batch[{entries}] = {cast}({column}[{place}])"
                    )
                segments = f"segments_{entries}"
                if any(slot.name == segments for slot in self.slots.slots):
                    writer.line(f"{segments}[{entries}] = u64({member})")
                writer.line(f"{entries} = {entries} + u64(1)")


def ragged_parts(leaf: LeafNode) -> list[tuple[Node, str]]:
    """Return the outputs of a ragged leaf that have values, with their parts."""
    names = ("indices", "data", "segments", "lengths")
    parts = [(getattr(leaf, name, None), name) for name in names]
    found = [(node, name) for node, name in parts if node is not None]
    if leaf.spec.is_index:
        found.insert(0, (leaf, "indices"))
    return found
