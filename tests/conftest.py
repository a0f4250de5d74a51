"""Settings of every test: compiled steps go to a folder of this session.

Worker processes inherit it. A WYRM_CACHE_DIR that is set already is kept, so
that a second run need not compile again.
"""

import os
import shutil
import tempfile

_OWN = "WYRM_CACHE_DIR" not in os.environ
if _OWN:  # before any test module is imported
    os.environ["WYRM_CACHE_DIR"] = tempfile.mkdtemp(prefix="wyrm_py-tests-")
_PROCESS = os.getpid()


def pytest_unconfigure():
    """Remove the folder, in the process that made it."""
    if _OWN and os.getpid() == _PROCESS:
        shutil.rmtree(os.environ["WYRM_CACHE_DIR"], ignore_errors=True)
