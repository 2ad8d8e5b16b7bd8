"""The network's elementwise work as compiled loops; importing this imports numba.

Each class here overrides one of NumPy's text and computes the same. Only
`hpsearch.nn.kernels` chooses between the two.
"""

from hpsearch.nn.fused.losses import FUSED_LOSSES
from hpsearch.nn.fused.neurons import FusedNeurons
from hpsearch.nn.fused.optimizers import FUSED_OPTIMIZERS

__all__ = ["FUSED_LOSSES", "FUSED_OPTIMIZERS", "FusedNeurons"]
