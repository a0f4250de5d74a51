"""wp.data: what it names is there, documented, and loaded no sooner than needed."""

import inspect
import subprocess
import sys

import pytest
from waiting import PATIENCE

import wyrm_py as wp


def test_every_name_is_there_and_documented():
    assert wp.data.__all__ == sorted(
        wp.data.__all__, key=lambda name: (name[0].islower(), name)
    )
    for name in wp.data.__all__:
        held = getattr(wp.data, name)
        assert inspect.getdoc(held)
        assert held.__module__.startswith("wyrm_py.data.")
    assert set(wp.data.__all__) <= set(dir(wp.data))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        wp.data.nonsense


def test_pyarrow_waits_until_it_is_needed():
    code = (
        "import sys, numpy as np, wyrm_py as wp;"
        "data = wp.data.Interactions.from_codes([0, 1], [1, 0]);"
        "wp.data.Dataset([1, 2]).shuffle(0), data.histories(), wp.data.Characters('a');"
        "assert 'pyarrow' not in sys.modules;"
        "wp.data.read_csv; assert 'pyarrow' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=10 * PATIENCE)
