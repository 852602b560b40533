"""1-D convolution for NumPy arrays: dense, dilated, strided, grouped, depthwise and causal, compiled by Numba."""

from .functional import conv1d, explain
from .plan import Explanation

__all__ = ["Explanation", "__version__", "conv1d", "explain"]
__version__ = "0.1.0"
