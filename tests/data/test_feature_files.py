"""Features from a table of text."""

import gzip

import pytest

import wyrm_py as wp
from wyrm_py.errors import DataError, MissingFileError

TABLE = 'film,genre,year\n1,Drama| War ,1995\nu 2,"",\n3,"Comedy",1999\n'
FEATURES = {
    "1": ["genre:Drama", "genre:War", "year:1995"],
    "u 2": [],
    "3": ["genre:Comedy", "year:1999"],
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_fields_are_named_by_their_columns(tmp_path, pack):
    path = tmp_path / "films.csv"
    path.write_bytes(pack(TABLE.encode()))
    assert wp.data.read_features(path) == FEATURES
    path.write_text(TABLE.replace('"', "").replace(",", "\t"))
    assert wp.data.read_features(path) == FEATURES


def test_damaged_tables_are_refused(tmp_path):
    path = tmp_path / "films.csv"
    with pytest.raises(MissingFileError):
        wp.data.read_features(path)
    for more, message in [
        ("4,Drama\n", "line 5: 3 fields are required"),
        ("1,Drama,1990\n", "line 5: '1' comes twice"),
        ("\xff", "UTF-8"),
    ]:
        path.write_bytes((TABLE + more).encode("latin-1"))
        with pytest.raises(DataError, match=message):
            wp.data.read_features(path)
