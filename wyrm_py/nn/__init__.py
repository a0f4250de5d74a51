"""Layers, losses and initialisers, built only from ops."""

from wyrm_py.nn import initialisers, losses
from wyrm_py.nn.activation import Activation
from wyrm_py.nn.dense import Dense
from wyrm_py.nn.dropout import Dropout
from wyrm_py.nn.embedding import Embedding
from wyrm_py.nn.layer import Layer
from wyrm_py.nn.model import Model
from wyrm_py.nn.recurrent import (
    GRU,
    LSTM,
    RNN,
    GRUCell,
    LSTMCell,
    RNNCell,
    SimpleGRU,
    SimpleGRUCell,
)
from wyrm_py.nn.reshape import Flatten, Reshape
from wyrm_py.nn.sequential import Sequential

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "LSTMCell",
    "Layer",
    "Model",
    "RNNCell",
    "Reshape",
    "Sequential",
    "SimpleGRU",
    "SimpleGRUCell",
    "initialisers",
    "losses",
]
