"""What tests wait for, so that they hold on any machine however busy it is."""

import time
from pathlib import Path

PATIENCE = 60
"""Seconds until what must come is given up; generous, as nobody waits that long."""


def together(history):
    """A callback: workers wait for it after each epoch.

    Without one, a worker may be in an early epoch while another ends the last: two
    may then hold one row, and a step from the beginning may come last of all.
    """


def comes(what):
    """Wait until something is so; tell whether it is."""
    deadline = time.monotonic() + PATIENCE
    while not what() and time.monotonic() < deadline:
        time.sleep(0.02)
    return what()


def segments():
    """Return the names of shared memory that there are, of any process."""
    return set(Path("/dev/shm").glob("psm_*"))


def goes_what_came(before, there=segments):
    """Wait until nothing of it is left; what other processes make meanwhile may be."""
    left = there() - before
    return comes(lambda: not left & there())
