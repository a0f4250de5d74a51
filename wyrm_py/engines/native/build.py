"""Turns emitted source into a compiled function, through a cache on disk.

A source is written as a module named by its content and the versions beside
it, so it can be read, stepped into and cached by Numba. Numba's own cache is
not safe with several writers; a lock file makes the first process compile and
the others load.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import logging
import os
import platform
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import numpy as np
from numba.core.errors import NumbaError

import wyrm_py.engines.functions as functions
import wyrm_py.engines.native.kernel_calls as kernel_calls
import wyrm_py.engines.native.row_products as row_products
import wyrm_py.engines.native.runtime as runtime
from wyrm_py.errors import CompileError

_loaded: dict[str, ModuleType] = {}
_lock = threading.Lock()


def load(source: str) -> Callable[[int], float]:
    """Return the compiled `run` of the source of a step."""
    return load_module(source).run  # type: ignore[no-any-return]


def load_module(source: str) -> ModuleType:
    """Return a source as a module; a process loads each source once."""
    key = _key(source)
    with _lock:
        if key not in _loaded:
            _loaded[key] = _load(key, source)
        return _loaded[key]


def run_in_python(source: str) -> Callable[[int], float]:
    """Return `run` of a source as plain Python, without compiling anything."""
    plain: dict[str, Any] = {}
    for module in (functions, kernel_calls, row_products, runtime):
        plain |= {name: getattr(module, name) for name in module.__all__}
    parts: list[Callable[..., float]] = []

    def part(*_kinds: object) -> Callable[..., Any]:
        def keep(function: Callable[..., float]) -> Callable[..., float]:
            parts.append(function)
            return function

        return keep

    plain["entry"], plain["part"] = lambda function: function, part
    plain["call"] = lambda _, number, *arguments: parts[int(number)](*arguments)
    imports = [line for line in source.splitlines() if not line.startswith("from ")]
    exec(compile("\n".join(imports), "<wyrm_py step>", "exec"), plain)
    run: Callable[[int], float] = plain["run"]

    def quiet(address: int) -> float:
        with np.errstate(all="ignore"):  # 64-bit products wrap around on purpose
            return run(address)

    return quiet


@cache
def cache_folder() -> Path:
    """Return the folder of compiled steps: private to the user, and writable.

    WYRM_CACHE_DIR, else XDG_CACHE_HOME/wyrm_py, else ~/.cache/wyrm_py; a
    folder of the user below the temporary one where that cannot be written.
    """
    given = os.environ.get("WYRM_CACHE_DIR")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    wanted = Path(given).expanduser() if given else Path(base).expanduser() / "wyrm_py"
    try:
        wanted.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=wanted):
            return wanted
    except OSError:
        return _temporary_folder()


def _temporary_folder() -> Path:
    """Return one folder for all processes of the user, and of nobody else.

    What lies in it is run: a folder that another user made first is not taken.
    """
    folder = Path(tempfile.gettempdir()) / f"wyrm_py-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    held = folder.lstat()
    own = stat.S_ISDIR(held.st_mode) and held.st_uid == os.getuid()
    if own and not held.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix="wyrm_py-"))


@cache
def _environment() -> Any:
    """Return the hash of what a compiled file depends on beside its own text."""
    here = Path(__file__).parent
    texts = [p.read_text() for p in sorted(here.glob("*.py"))]
    texts.append(Path(functions.__file__).read_text())
    versions = (numba.__version__, np.__version__, sys.version, platform.machine())
    return hashlib.sha256("\n".join((*versions, *texts)).encode())


def _code(source: str) -> str:
    """Return a source without its comment lines: they hold shapes of one graph."""
    lines = source.splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


def _key(source: str) -> str:
    whole = _environment().copy()  # of 300 KB, read once
    whole.update(_code(source).encode())
    return str(whole.hexdigest()[:24])


def _load(key: str, source: str) -> ModuleType:
    name = f"wyrm_step_{key}"
    path = cache_folder() / f"{name}.py"
    with _file_lock(path.with_suffix(".lock")):
        if not path.exists() or _code(path.read_text(errors="replace")) != _code(
            source
        ):
            _write(path, source)
        try:
            return _import(name, path)
        except NumbaError:
            raise
        except Exception:  # whatever unpickling a damaged file gives
            logging.getLogger("wyrm_py").warning("%s is damaged: compiled anew", path)
        for compiled in path.parent.glob(f"__pycache__/{name}.*"):
            compiled.unlink(missing_ok=True)
        _write(path, source)
        return _import(name, path)


def _import(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CompileError(f"compile: cannot import {path}. Remove the file?")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Numba's cache looks the module up
    spec.loader.exec_module(module)
    return module


def _write(path: Path, source: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(descriptor, "w") as file:
        file.write(source)
    Path(temporary).replace(path)


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file lets go of the lock
