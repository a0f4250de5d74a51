"""What to say of an id that is not known."""

from __future__ import annotations

import difflib
from typing import Any


def similar_ids(wanted: str, some: list[Any]) -> str:
    """Return a sentence with the ids that look like a text, or with the first ones."""
    by_text = {str(one): one for one in some}
    close = difflib.get_close_matches(wanted.strip(), by_text, n=3, cutoff=0.6)
    if close:
        names = " or ".join(repr(by_text[text]) for text in close)
        return f"Did you mean {names}?"
    return "Known are " + ", ".join(map(repr, some[:3])) + ", ..."
