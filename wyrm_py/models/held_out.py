"""Interactions kept aside from training, as the columns that a loss reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from wyrm_py.data.ids import IdMap
from wyrm_py.data.interactions import Interactions
from wyrm_py.errors import DataError
from wyrm_py.leaves import SparseInputNode
from wyrm_py.nodes import Node


@dataclass(frozen=True)
class HeldOut:
    """What turns interactions into columns for `wp.fit(validation=)`.

    Attributes
    ----------
    nodes : inputs of the loss by name: "user", "item", "rating"
    users, items : those of the training data
    mean : float, of the ratings of the training data
    event : input for the context of an event, which is not known of these; or None
    """

    nodes: Mapping[str, Node]
    users: IdMap
    items: IdMap
    mean: float
    event: SparseInputNode | None = None

    def parts(self, validation: Any) -> list[Any]:
        """Return columns in place of interactions; functions stay as they are."""
        several = isinstance(validation, list | tuple)
        parts = validation if several else [] if validation is None else [validation]
        return [part if callable(part) else self._columns(part) for part in parts]

    def _columns(self, given: Any) -> dict[Node, Any]:
        data = Interactions.of(given)
        values = {
            "user": self.users.codes(data.user_ids)[data.users],
            "item": self.items.codes(data.item_ids)[data.items],
            "rating": data.ratings - np.float32(self.mean),
        }
        known = (values["user"] >= 0) & (values["item"] >= 0)
        if not known.any():
            raise DataError(
                "fit: validation needs interactions of users and items of the training "
                f"data, got none among {len(data)}."
            )
        columns = {node: values[name][known] for name, node in self.nodes.items()}
        if self.event is not None:
            shape = int(known.sum()), self.event.shape[1]
            columns[self.event] = sparse.csr_array(shape, dtype=np.float32)
        return columns
