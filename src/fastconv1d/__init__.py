"""1-D convolution for NumPy arrays: dense, dilated, strided, grouped, depthwise and causal, compiled by Numba."""

from .cache import CacheInfo, cache_info, clear_cache
from .functional import conv1d, explain
from .layer import Conv1d
from .plan import Explanation
from .warm import warmup

__all__ = [
    "CacheInfo",
    "Conv1d",
    "Explanation",
    "__version__",
    "cache_info",
    "clear_cache",
    "conv1d",
    "explain",
    "warmup",
]
__version__ = "0.1.0"
