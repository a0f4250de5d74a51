"""Layers, losses and initialisers, built only from ops."""

from wyrm_py.nn.layer import Layer

__all__ = ["Layer"]
