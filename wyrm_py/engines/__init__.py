"""Engines: how a plan runs, with NumPy or as native code."""
