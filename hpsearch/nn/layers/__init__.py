"""Layers of a population: forward and backward side by side, one file each."""

from hpsearch.nn.layers.batch_norm import BatchNorm
from hpsearch.nn.layers.dropout import Dropout
from hpsearch.nn.layers.layout import Layout
from hpsearch.nn.layers.linear import Linear
from hpsearch.nn.layers.neurons import Neurons

__all__ = ["BatchNorm", "Dropout", "Layout", "Linear", "Neurons"]
