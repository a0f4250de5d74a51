"""Layers, losses and initialisers, built only from ops."""

from wyrm_py.nn import initialisers, losses
from wyrm_py.nn.activation import Activation
from wyrm_py.nn.convolution import Conv1d, Conv2d, Conv3d
from wyrm_py.nn.dense import Dense
from wyrm_py.nn.dropout import Dropout
from wyrm_py.nn.embedding import Embedding
from wyrm_py.nn.layer import Layer
from wyrm_py.nn.model import Model
from wyrm_py.nn.pooling import (
    AveragePool1d,
    AveragePool2d,
    AveragePool3d,
    GlobalPool,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
    MinPool1d,
    MinPool2d,
    MinPool3d,
    SumPool1d,
    SumPool2d,
    SumPool3d,
)
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
    "AveragePool1d",
    "AveragePool2d",
    "AveragePool3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GlobalPool",
    "LSTMCell",
    "Layer",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MinPool1d",
    "MinPool2d",
    "MinPool3d",
    "Model",
    "RNNCell",
    "Reshape",
    "Sequential",
    "SimpleGRU",
    "SimpleGRUCell",
    "SumPool1d",
    "SumPool2d",
    "SumPool3d",
    "initialisers",
    "losses",
]
