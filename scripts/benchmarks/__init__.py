"""Measures wyrm_py beside its peers; `scripts/benchmark` is the command that runs it.

Every figure of one run is taken on one machine, in one go, as CPU time (own threads and
worker processes together) next to wall time. Nothing here is imported by the package.
"""
