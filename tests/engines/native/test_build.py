"""Compiled steps on disk: one compilation, whoever comes, whatever is there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import PATIENCE

PROGRAM = """
import sys
import numpy as np
import wyrm_py as wp
from wyrm_py.engines.native import build

x = wp.ParameterNode(np.full((2, 3), 2.0))
step = wp.compile((x * x).sum() * float(sys.argv[1]), wp.SGD(0.1))
loss = step()
run = build.load(step.source)
compiled = sum(run.stats.cache_misses.values())
sys.stdout.write(f"{loss} {compiled} {build.cache_folder()}\\n")
"""


def start(environment, number="1"):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, number],
        env={k: v for k, v in environment.items() if v is not None},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """Return (loss, how often something was compiled, cache folder)."""
    output, errors = process.communicate(timeout=10 * PATIENCE)
    assert process.returncode == 0, errors
    loss, compiled, folder = output.split()
    return float(loss), int(compiled), folder


@pytest.fixture
def cache(tmp_path):
    return {"WYRM_CACHE_DIR": str(tmp_path / "cache")}


def test_several_processes_compile_a_step_once(cache):
    processes = [start(cache) for _ in range(2)]
    results = [finish(process) for process in processes]
    assert [loss for loss, _, _ in results] == [24.0, 24.0]
    assert sorted(compiled for _, compiled, _ in results) == [0, 1]


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".nbi", "emptied"),
        (".nbi", "cut"),
        (".nbi", "garbage"),
        (".nbc", "cut"),
        (".nbc", "garbage"),
        (".py", "cut"),
        (".py", "garbage"),
    ],
)
def test_a_damaged_file_is_made_anew(cache, tmp_path, suffix, damage):
    assert finish(start(cache))[1] == 1
    damaged = [p for p in (tmp_path / "cache").rglob("*") if p.suffix == suffix]
    assert damaged
    for path in damaged:
        content = path.read_bytes()
        path.write_bytes(
            {
                "emptied": b"",
                "cut": content[: len(content) // 2],
                "garbage": b"\x80\x05garbage",
            }[damage]
        )
    loss, _, _ = finish(start(cache))
    assert loss == 24.0
    loss, compiled, _ = finish(start(cache))
    assert (loss, compiled) == (24.0, 0)


def test_the_folder_is_the_given_one_or_that_of_the_user(tmp_path):
    given, base, home = tmp_path / "given", tmp_path / "base", tmp_path / "home"
    environment = {"HOME": str(home), "XDG_CACHE_HOME": str(base)}
    first = start({**environment, "WYRM_CACHE_DIR": str(given)})
    second = start({**environment, "WYRM_CACHE_DIR": None})
    third = start({"HOME": str(home), "XDG_CACHE_HOME": None, "WYRM_CACHE_DIR": None})
    assert finish(first)[2] == str(given)
    assert finish(second)[2] == str(base / "wyrm_py")
    assert finish(third)[2] == str(home / ".cache" / "wyrm_py")
    for folder in (given, base / "wyrm_py", home / ".cache" / "wyrm_py"):
        assert folder.stat().st_mode & 0o077 == 0  # nobody else's code is run
        assert list(folder.glob("wyrm_step_*.py"))


def test_a_home_that_cannot_be_written_gives_way_to_a_temporary_folder(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {
        "HOME": str(blocked),
        "XDG_CACHE_HOME": None,
        "WYRM_CACHE_DIR": None,
        "TMPDIR": str(temporary),
    }
    loss, compiled, folder = finish(start(environment))
    assert (loss, compiled) == (24.0, 1)
    assert folder == str(temporary / f"wyrm_py-{os.getuid()}")
    assert Path(folder).stat().st_mode & 0o077 == 0
    assert finish(start(environment)) == (24.0, 0, folder)
    Path(folder).chmod(0o777)  # anybody may have put code there
    loss, compiled, other = finish(start(environment))
    assert (loss, compiled) == (24.0, 1)
    assert Path(other).parent == temporary
    assert other != folder
