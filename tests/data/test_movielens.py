"""MovieLens 100K is read from where it lies, and fetched only when asked for.

The archives here are made for the test and come from a server of this process.
"""

import gzip
import hashlib
import socket
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer

import numpy as np
import pytest

from wyrm_py.data import movielens, movielens_100k
from wyrm_py.engines.native.build import cache_folder
from wyrm_py.errors import DataError, MissingColumnError, MissingFileError

DATA = Path(__file__).parents[2] / "../shared/data/ml-100k"
ROWS = "196\t242\t3\t881250949\n186\t302\t4\t891717742\n196\t302\t1\t878887116\n"


def archive(path: Path, text: str = ROWS, member: str = "ml-100k/u.data") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(member, text)
    return path


def check(data) -> None:
    assert data.user_ids.tolist() == [196, 186]
    assert data.user_ids.dtype == data.item_ids.dtype == np.int64
    assert data.item_ids[data.items].tolist() == [242, 302, 302]
    assert data.ratings.tolist() == [3, 4, 1]
    assert data.timestamps.tolist() == [881250949, 891717742, 878887116]


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve an archive as GroupLens would; yield the folder and the requests made."""
    folder, requests = tmp_path / "remote", []
    folder.mkdir()
    packed = archive(folder / "ml-100k.zip").read_bytes()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            requests.append(self.path)

    with TCPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{running.server_address[1]}/ml-100k.zip"
        monkeypatch.setattr(movielens, "_URL", url)
        digest = hashlib.sha256(packed).hexdigest()
        monkeypatch.setattr(movielens, "_SHA256", digest)
        yield folder, requests
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["u.data", "u.data.gz", "ml-100k.zip", "renamed"])
def test_a_local_path_is_taken(tmp_path, name):
    path = tmp_path / name
    if name.endswith("zip"):
        archive(path)
    else:
        packed = gzip.compress(ROWS.encode())
        path.write_bytes(packed if name.endswith("gz") else ROWS.encode())
    check(movielens_100k(path))
    check(movielens_100k(str(path)))
    if name != "renamed":
        check(movielens_100k(tmp_path))  # the folder it lies in


def test_the_folder_of_an_unpacked_archive_is_taken(tmp_path):
    (tmp_path / "ml-100k").mkdir()
    (tmp_path / "ml-100k/u.data").write_text(ROWS)
    check(movielens_100k(tmp_path))
    check(movielens_100k(tmp_path / "ml-100k"))


def test_nothing_is_fetched_unless_asked_for(tmp_path, server):
    _, requests = server
    with pytest.raises(MissingFileError, match="is not there.*`download=True`"):
        movielens_100k(cache=tmp_path / "cache")
    with pytest.raises(MissingFileError, match="no such file"):
        movielens_100k(tmp_path / "nowhere", download=True)
    with pytest.raises(MissingFileError, match=r"holds none of u\.data"):
        movielens_100k(tmp_path)
    assert requests == []


def test_it_is_fetched_once_and_kept(tmp_path, server):
    folder, requests = server
    cache = tmp_path / "new" / "cache"
    check(movielens_100k(download=True, cache=cache))
    assert [path.name for path in cache.iterdir()] == ["ml-100k.zip"]
    (folder / "ml-100k.zip").unlink()
    check(movielens_100k(download=True, cache=cache))
    check(movielens_100k(cache=str(cache)))
    assert requests == ["/ml-100k.zip"]


def test_the_cache_is_where_compiled_steps_are(server):
    target = cache_folder() / "data" / "ml-100k.zip"
    assert not target.exists()
    try:
        check(movielens_100k(download=True))
        assert target.exists()
        check(movielens_100k())
    finally:
        target.unlink(missing_ok=True)


def test_another_file_than_the_expected_one_is_not_kept(tmp_path, server):
    folder, _ = server
    archive(folder / "ml-100k.zip", ROWS + ROWS)
    with pytest.raises(DataError, match="SHA-256"):
        movielens_100k(download=True, cache=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["remote"]


def test_what_cannot_be_fetched_is_said(tmp_path, server, monkeypatch):
    folder, _ = server
    (folder / "ml-100k.zip").unlink()
    with pytest.raises(DataError, match=r"cannot be fetched .*404.*give its `path`"):
        movielens_100k(download=True, cache=tmp_path)
    with socket.socket() as nobody:  # holds the port and does not listen
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/ml-100k.zip"
        monkeypatch.setattr(movielens, "_URL", url)
        with pytest.raises(DataError, match="cannot be fetched .*refused"):
            movielens_100k(download=True, cache=tmp_path)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="cannot be fetched"):
        movielens_100k(download=True, cache=tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "remote"]


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\nPK half", b"nonsense\r\n", b""],
)
def test_a_connection_that_breaks_leaves_nothing(tmp_path, monkeypatch, answer):
    class Breaking(BaseRequestHandler):
        def handle(self):
            self.request.recv(10_000)
            self.request.sendall(answer)

    with TCPServer(("127.0.0.1", 0), Breaking) as running:
        thread = threading.Thread(target=running.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{running.server_address[1]}/ml-100k.zip"
        monkeypatch.setattr(movielens, "_URL", url)
        with pytest.raises(DataError, match=r"cannot be fetched|SHA-256"):
            movielens_100k(download=True, cache=tmp_path)
        thread.join()
    assert list(tmp_path.iterdir()) == []


def test_damaged_data_is_named(tmp_path):
    broken = archive(tmp_path / "a.zip").read_bytes()[:-30]
    (tmp_path / "broken.zip").write_bytes(broken)
    with pytest.raises(DataError, match=r"broken.zip: an archive with ml-100k/u.data"):
        movielens_100k(tmp_path / "broken.zip")
    with pytest.raises(DataError, match=r"no item named 'ml-100k/u.data'"):
        movielens_100k(archive(tmp_path / "b.zip", member="README"))
    path = tmp_path / "u.data"
    path.write_text(ROWS + "1\t2\tfive\t3\n")
    with pytest.raises(DataError, match="line 4: a finite number is required"):
        movielens_100k(path)
    path.write_text(ROWS.replace("196", "ann"))
    with pytest.raises(DataError, match="line 1: a whole number .* of the user"):
        movielens_100k(path)
    path.write_text("1\t2\t3\n")
    with pytest.raises(MissingColumnError, match="no position 3"):
        movielens_100k(path)


def test_the_real_data_is_whole():
    if not DATA.exists():
        pytest.skip("the data folder ../shared/data is not there")
    data = movielens_100k(DATA)
    assert (len(data), data.n_users, data.n_items) == (100_000, 943, 1682)
    assert sorted(data.user_ids.tolist()) == list(range(1, 944))
    assert sorted(data.item_ids.tolist()) == list(range(1, 1683))
    assert np.bincount(data.ratings.astype(int)).tolist() == [
        0,
        6110,
        11370,
        27145,
        34174,
        21201,
    ]
    first = (data.user_ids[data.users[0]], data.item_ids[data.items[0]])
    assert first == (196, 242)
    assert data.timestamps[0] == 881250949
