"""Settings of every test, which the processes it starts inherit.

Compiled steps go to a folder of this session; a WYRM_CACHE_DIR that is set already is
kept, so that a second run need not compile again. Ctrl-C is heard, also where a shell
started the tests in the background, deaf to it.
"""

import os
import shutil
import signal
import tempfile

_OWN = "WYRM_CACHE_DIR" not in os.environ
if _OWN:  # before any test module is imported
    os.environ["WYRM_CACHE_DIR"] = tempfile.mkdtemp(prefix="wyrm_py-tests-")
_PROCESS = os.getpid()
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure():
    """Remove the folder, in the process that made it."""
    if _OWN and os.getpid() == _PROCESS:
        shutil.rmtree(os.environ["WYRM_CACHE_DIR"], ignore_errors=True)
