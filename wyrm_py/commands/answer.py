"""`wyrm recommend` and `wyrm similar`: what a saved model answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from wyrm_py.commands.options import (
    Json,
    ModelFile,
    Titles,
    Top,
    load_recommender,
    option,
    write_json,
    write_line,
)
from wyrm_py.data.titles import read_titles

if TYPE_CHECKING:
    from wyrm_py.models.ranked import Ranked


def recommend(
    model: ModelFile,
    user: Annotated[
        str | None,
        option(None, "Id of the user, as in the ratings.", default=False),
    ] = None,
    item: Annotated[
        list[str] | None,
        option(
            None,
            "Id of an item that a new user has met; give one option for each, in "
            "the order of time.",
            default=False,
        ),
    ] = None,
    top: Top = 10,
    titles: Titles = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also items the user has met.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print a user's best unseen items, one a line: id, score, title, cut by tabs.

    The user is one of the training data (`--user`), or a new one who is known by
    the items met so far (`--item`, as often as there are items).
    """
    if (user is None) == (not item):
        raise typer.BadParameter("give either --user or --item.")
    recommender = load_recommender("recommend", model)
    if user is not None:
        known = recommender.users_.from_text(user)
        ranked = recommender.recommend(known, top, exclude_seen=not include_seen)
        asked: dict[str, Any] = {"user": user}
    else:
        items = [recommender.items_.from_text(one) for one in item or ()]
        ranked = recommender.recommend_history(items, top, not include_seen)
        asked = {"met": item}
    _write(ranked, asked, titles, as_json)


def similar(
    model: ModelFile,
    item: Annotated[str | None, option(None, "Id of an item.", default=False)] = None,
    user: Annotated[str | None, option(None, "Id of a user.", default=False)] = None,
    top: Top = 10,
    titles: Titles = None,
    as_json: Json = False,
) -> None:
    """Print the items (or users) most like one, one a line: id, cosine, title."""
    if (user is None) == (item is None):
        raise typer.BadParameter("give either --item or --user.")
    recommender = load_recommender("similar", model)
    if item is not None:
        known = recommender.items_.from_text(item)
        _write(recommender.similar_items(known, top), {"item": item}, titles, as_json)
    else:
        known = recommender.users_.from_text(user)
        _write(recommender.similar_users(known, top), {"user": user}, None, as_json)


def _write(
    ranked: Ranked, asked: Mapping[str, Any], titles: Path | None, as_json: bool
) -> None:
    """Write ids and scores, best first, with titles if there is a file of them."""
    names = None if titles is None else read_titles(titles)
    found = []
    for known, score in zip(ranked.ids, ranked.scores, strict=True):
        if not np.isfinite(score):  # there were fewer
            break
        line = {"id": known, "score": float(score)}
        if names is not None:
            line["title"] = names.get(str(known), "?")
        found.append(line)
    if as_json:
        write_json({**asked, "items": found})
        return
    for line in found:
        fields = [str(line["id"]), f"{line['score']:.4f}"]
        if names is not None:
            fields.append(line["title"])
        write_line("\t".join(fields))
