"""The layers that a network is made of."""

from quadnet.nn.layers.activation import Activation
from quadnet.nn.layers.dense import Dense
from quadnet.nn.layers.dropout import Dropout

__all__ = ["Activation", "Dense", "Dropout"]
