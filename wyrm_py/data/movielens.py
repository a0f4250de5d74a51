"""MovieLens 100K: from a file, or fetched once and kept.

100,000 ratings of 943 users for 1,682 films (Harper and Konstan, "The MovieLens
Datasets: History and Context", 2015). GroupLens allows research with it and asks for
that citation, but not that it is passed on: it is not part of this package.
"""

import hashlib
import io
import os
import tempfile
import urllib.request
import zipfile
from http.client import HTTPException
from pathlib import Path

from wyrm_py.data.delimited import DelimitedText
from wyrm_py.data.files import read_content
from wyrm_py.data.interactions import Interactions
from wyrm_py.data.readers import id_kinds, parse_ratings
from wyrm_py.engines.native.build import cache_folder
from wyrm_py.errors import DataError, MissingFileError

_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
_MEMBER = "ml-100k/u.data"
_NAMES = ("u.data", "u.data.gz", "ml-100k.zip", _MEMBER)  # looked for in a folder
_COLUMNS = {"user": 0, "item": 1, "rating": 2, "timestamp": 3}
_TIMEOUT = 30  # seconds without an answer
_CHUNK = 1 << 20


def movielens_100k(
    path: str | Path | None = None,
    download: bool = False,
    cache: str | Path | None = None,
) -> Interactions:
    """Return MovieLens 100K with ratings, timestamps and its integer ids.

    Parameters
    ----------
    path : path or None
        The file `u.data`, also gzipped, the archive `ml-100k.zip`, or a folder that
        holds one of them. None takes the archive from the cache.
    download : bool
        Fetch the archive (5 MB) from files.grouplens.org if it is not in the cache
        yet; nothing is fetched otherwise.
    cache : path of a folder, or None
        None takes `data` in the folder that holds compiled steps as well:
        WYRM_CACHE_DIR, else XDG_CACHE_HOME/wyrm_py, else ~/.cache/wyrm_py.

    Returns
    -------
    Interactions
        In the order of the file, with int64 ids.

    Raises
    ------
    MissingFileError
        There is no such file, or it is not in the cache and `download` is false.
    DataError
        The archive cannot be fetched or is not the one expected (then nothing is
        kept), or the data is damaged; the message names the line.
    """
    if path is None:
        folder = cache_folder() / "data" if cache is None else Path(cache).expanduser()
        source = folder / "ml-100k.zip"
        if not source.exists():
            if not download:
                raise MissingFileError(
                    f"movielens_100k: {source} is not there. Give the `path` of u.data "
                    "or ml-100k.zip, or fetch it with `download=True`."
                )
            _fetch(_URL, source, _SHA256)
    else:
        source = _find(Path(path).expanduser())
    return _parse(str(source), _unpacked(source))


def _find(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in _NAMES:
        if (path / name).is_file():
            return path / name
    raise MissingFileError(
        f"movielens_100k: {path} holds none of {', '.join(_NAMES)}. Give the path of "
        "one of them."
    )


def _unpacked(source: Path) -> bytes:
    content = read_content(source)
    if not content.startswith(b"PK"):
        return content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(_MEMBER)
    except (zipfile.BadZipFile, KeyError, OSError, EOFError) as error:
        raise DataError(
            f"{source}: an archive with {_MEMBER} is required ({error}). Delete it and "
            "fetch it again."
        ) from error


def _parse(name: str, content: bytes) -> Interactions:
    text, kinds = DelimitedText(name, content), id_kinds(name, "int")
    return parse_ratings(text, dict(_COLUMNS), kinds)


def _fetch(url: str, target: Path, sha256: str) -> None:
    """Fetch a file to its place, which is empty until the whole of it is checked."""
    digest, temporary = hashlib.sha256(), None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(url, timeout=_TIMEOUT) as answer,
            tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file,
        ):
            temporary = Path(file.name)
            while chunk := answer.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != sha256:
            raise DataError(
                f"{url}: a file with the SHA-256 {sha256} is required, got "
                f"{digest.hexdigest()}. Nothing is kept; fetch it by hand and give its "
                "`path`."
            )
        temporary.replace(target)
    except (OSError, HTTPException) as error:
        raise DataError(
            f"{url} cannot be fetched to {target} ({error}). Without a network, copy "
            "it from another machine and give its `path`."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
