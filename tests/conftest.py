"""Settings of every test, which the processes it starts inherit.

Compiled steps go to a folder of this session; a WYRM_CACHE_DIR that is set already is
kept, so that a second run need not compile again. Ctrl-C is heard, also where a shell
started the tests in the background, deaf to it. Hypothesis draws the same examples in
every run and asks no clock; with `--hypothesis-profile=search` it draws new ones.
"""

import os
import shutil
import signal
import tempfile

from hypothesis import HealthCheck, settings

_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same", derandomize=True, **_UNTIMED)
settings.register_profile("search", **_UNTIMED)
settings.load_profile("same")

_OWN = "WYRM_CACHE_DIR" not in os.environ
if _OWN:  # before any test module is imported
    os.environ["WYRM_CACHE_DIR"] = tempfile.mkdtemp(prefix="wyrm_py-tests-")
_PROCESS = os.getpid()
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure():
    """Remove the folder, in the process that made it."""
    if _OWN and os.getpid() == _PROCESS:
        shutil.rmtree(os.environ["WYRM_CACHE_DIR"], ignore_errors=True)
