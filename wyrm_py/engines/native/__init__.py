"""The native engine: prints a plan as Python text and compiles it with Numba."""
