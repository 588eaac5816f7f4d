"""The layers that a network is made of, and what a layer of one's own needs.

See the parameter `layers` of `NeuralNetworkClassifier`, and "Add a layer" in CONTRIBUTING.md.
"""

from quadnet.nn.layers.activation import Activation
from quadnet.nn.layers.convolution import Conv2D
from quadnet.nn.layers.dense import Dense
from quadnet.nn.layers.dropout import Dropout
from quadnet.nn.layers.ensemble import Ensemble
from quadnet.nn.layers.flatten import Flatten
from quadnet.nn.layers.kinds import LAYER_KINDS
from quadnet.nn.layers.layer import ArraySpec, Layer, LayerStep, StepContext, UnfitInput
from quadnet.nn.layers.normalization import BatchNorm, LayerNorm
from quadnet.nn.layers.pooling import AveragePool2D, GlobalAveragePool2D, MaxPool2D
from quadnet.nn.layers.residual import Residual

__all__ = [
    "LAYER_KINDS",
    "Activation",
    "ArraySpec",
    "AveragePool2D",
    "BatchNorm",
    "Conv2D",
    "Dense",
    "Dropout",
    "Ensemble",
    "Flatten",
    "GlobalAveragePool2D",
    "Layer",
    "LayerNorm",
    "LayerStep",
    "MaxPool2D",
    "Residual",
    "StepContext",
    "UnfitInput",
]
