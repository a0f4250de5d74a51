"""Titles are found by id in files of any common kind."""

import gzip
from pathlib import Path

import pytest

from wyrm_py.data.titles import read_titles
from wyrm_py.errors import DataError, MissingFileError

DATA = Path(__file__).parents[2] / "../shared/data/ml-100k"


@pytest.mark.parametrize(
    "text",
    [
        "1|Café (1995)|x\n2|Léon, the|y\n",
        "1\tCafé (1995)\n2\tLéon, the\n",
        '1,Café (1995),x\n2,"Léon, the",y\n',
        "1::Café (1995)::x\n2::Léon, the::y\n",
        'movieId,title\n1,Café (1995)\n2,"Léon, the"\n',
        "name;year;item_id\nCafé (1995);1;1\nLéon, the;2;2\n",
        "1 Café (1995)\n2 Léon, the\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_titles_are_read_from_any_common_kind(tmp_path, text, encoding, pack):
    (tmp_path / "t").write_bytes(pack(text.encode(encoding)))
    assert read_titles(tmp_path / "t") == {"1": "Café (1995)", "2": "Léon, the"}


def test_movielens_titles_are_read():
    if not DATA.exists():
        pytest.skip("the data folder ../shared/data is not there")
    titles = read_titles(DATA / "u.item.gz")
    assert len(titles) == 1682
    assert titles["1"] == "Toy Story (1995)"
    assert any("é" in title for title in titles.values())


def test_files_without_titles_are_refused(tmp_path):
    with pytest.raises(MissingFileError, match="no such file"):
        read_titles(tmp_path / "nowhere")
    (tmp_path / "t").write_text("1|a\n2|b\n3\n")
    with pytest.raises(DataError, match="line 3: an id and a title"):
        read_titles(tmp_path / "t")
    (tmp_path / "t").write_text("")
    with pytest.raises(DataError, match="empty"):
        read_titles(tmp_path / "t")
