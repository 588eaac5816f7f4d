"""The layers that a network is made of: see `NeuralNetworkClassifier`'s parameter `layers`."""

from quadnet.nn.layers.activation import Activation
from quadnet.nn.layers.convolution import Conv2D
from quadnet.nn.layers.dense import Dense
from quadnet.nn.layers.dropout import Dropout
from quadnet.nn.layers.flatten import Flatten
from quadnet.nn.layers.layer import Layer
from quadnet.nn.layers.normalization import BatchNorm, LayerNorm
from quadnet.nn.layers.pooling import AveragePool2D, GlobalAveragePool2D, MaxPool2D
from quadnet.nn.layers.residual import Residual

__all__ = [
    "Activation",
    "AveragePool2D",
    "BatchNorm",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePool2D",
    "Layer",
    "LayerNorm",
    "MaxPool2D",
    "Residual",
]
