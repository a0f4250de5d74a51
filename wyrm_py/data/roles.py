"""Which column of a file or table holds users, items, ratings, timestamps, weights.

A column can be named or given by position; otherwise usual names are recognised in
a header, and without a header the order is user, item, rating, timestamp. Weights are
only taken from a column that is asked for.
"""

import re
from collections.abc import Sequence

from wyrm_py.data.delimited import shorten
from wyrm_py.errors import MissingColumnError, SettingError

ROLES = ("user", "item", "rating", "timestamp", "weight")

_USUAL = {  # lower case, letters and digits only
    "user": "user userid uid usr member memberid customer customerid reviewer "
    "reviewerid account accountid visitor visitorid listener",
    "item": "item itemid iid movie movieid film filmid product productid asin book "
    "bookid isbn track trackid song songid artist artistid business businessid "
    "article articleid",
    "rating": "rating ratings score stars overall value weight",
    "timestamp": "timestamp time ts date datetime unixreviewtime ratedat createdat",
}
USUAL_NAMES = {role: frozenset(names.split()) for role, names in _USUAL.items()}

Wanted = str | int | None


def plain_name(name: str) -> str:
    """Return a column name in its comparable form: 'User-ID:token' is 'userid'."""
    return re.sub(r"[^a-z0-9]", "", name.partition(":")[0].lower())


def is_number(text: str) -> bool:
    """Tell whether a field is a number (NaN and infinity count as numbers)."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python takes 1_000, other readers do not


def is_header(sample: Sequence[Sequence[str]], wanted: dict[str, Wanted]) -> bool:
    """Tell whether the first line of `sample` does not parse as data.

    It is a header if a column was asked for by name, if its rating is not a number,
    if it names the users and the items, or if it has a word where every other line
    has a number.
    """
    first, rest = sample[0], sample[1:]
    if any(isinstance(want, str) and not want.isdigit() for want in wanted.values()):
        return True
    given = {role: int(want) for role, want in wanted.items() if want is not None}
    place = given.get("rating", 2 if 2 not in given.values() else len(first))
    if place < len(first) and not is_number(first[place]):
        return True
    names = {plain_name(field) for field in first}
    if all(names & USUAL_NAMES[role] for role in ("user", "item")):
        return True
    return any(
        rest
        and field
        and not is_number(field)
        and all(_number_at(line, k) for line in rest)
        for k, field in enumerate(first)
    )


def _number_at(line: Sequence[str], position: int) -> bool:
    return position < len(line) and is_number(line[position])


def find_columns(
    source: str, names: Sequence[str] | None, width: int, wanted: dict[str, Wanted]
) -> dict[str, int]:
    """Return the position of each role's column; optional roles may be left out.

    Parameters
    ----------
    source : str
        Name of the file, for messages.
    names : list of str or None
        Column names; None if there is no header.
    width : int
        Number of columns.
    wanted : dict of role to name, position (from 0) or None
        None takes a usual name, or the usual place if there is no header.

    Raises
    ------
    MissingColumnError
        A column asked for, or that of the users or items, is not there.
    SettingError
        One column is asked for in two roles.
    """
    found = {
        role: _asked_for(source, role, want, names, width)
        for role in ROLES
        if (want := wanted.get(role)) is not None
    }
    if len(set(found.values())) < len(found):
        raise SettingError(
            f"{source}: a column can have one role only, got {found}. Name another."
        )
    for place, role in enumerate(USUAL_NAMES):
        if role not in found:
            position = _usual_place(role, place, names, width, found)
            if position is not None:
                found[role] = position
            elif role in ("user", "item"):
                raise _no_such(source, f"no column for the {role}", names, width, role)
    return found


def _asked_for(
    source: str, role: str, want: str | int, names: Sequence[str] | None, width: int
) -> int:
    if isinstance(want, str):
        for k, name in enumerate(names or ()):
            if name == want:
                return k
        for k, name in enumerate(names or ()):
            if name.lower() == want.lower():
                return k
    if isinstance(want, int) or want.isdigit():
        if 0 <= int(want) < width:
            return int(want)
        raise _no_such(source, f"no position {want} (from 0)", names, width, role)
    raise _no_such(source, f"no column {want!r}", names, width, role)


def _usual_place(
    role: str,
    place: int,
    names: Sequence[str] | None,
    width: int,
    found: dict[str, int],
) -> int | None:
    taken = set(found.values())
    if names is None:
        return place if place < width and place not in taken else None
    for k, name in enumerate(names):
        if k not in taken and plain_name(name) in USUAL_NAMES[role]:
            return k
    return None


def _no_such(
    source: str, what: str, names: Sequence[str] | None, width: int, role: str
) -> MissingColumnError:
    if names is None:
        there = f"it has no header and {width} columns"
    else:
        there = "the columns are " + ", ".join(shorten(name) for name in names)
    return MissingColumnError(
        f"{source}: {what}; {there}. Give the {role} column by name, or by position "
        f"from 0 to {width - 1}."
    )
