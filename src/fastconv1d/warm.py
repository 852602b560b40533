"""Compile ahead what calls will need, so that no user waits for it: in the making of a container image, say."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import DTypeLike

from .algorithms import ALGORITHMS, Algorithm
from .epilogue import activation_of
from .functional import conv1d
from .problem import ACTIVATIONS, as_dtype, describe

__all__ = ["warmup"]

Shape = tuple[int, int, int]

#: (N, C_in, L) of x, (C_out, C_in/groups, K) of w, and groups: one layer of each kind that an algorithm is made for,
#: with steps that are one chain (sweep.py) and with more, and one whose blocks stand in panels where that pays.
LAYERS = (
    ((1, 64, 256), (64, 64, 3), 1),
    ((1, 4, 256), (64, 4, 3), 1),
    ((1, 32, 256), (256, 32, 1), 1),
    ((1, 64, 256), (64, 1, 3), 64),
    ((1, 64, 256), (64, 1, 32), 64),
    ((1, 4, 4096), (4, 4, 512), 1),
)


def warmup(dtypes: str | Iterable[DTypeLike] = ("float32", "float64"), *, verbose: bool = False) -> None:
    """Compile the kernels of all algorithms and activations, and keep them for processes to come.

    What is on disk already is loaded, which takes no time.

    Parameters
    ----------
    dtypes : iterable of dtypes, or the name of one
        Of x and w alike.
    verbose : bool
        Show on stderr how far it is: a bar on a terminal if tqdm is installed, else a line for each kernel.

    Raises
    ------
    TypeError
        For what is no dtype of arrays that `conv1d` computes with.

    See Also
    --------
    cache_info : where they are kept.

    Examples
    --------
    >>> import fastconv1d
    >>> fastconv1d.warmup("float32")
    """
    names = [dtypes] if isinstance(dtypes, str) else dtypes
    kernels = [(algorithm, as_dtype(name, "dtypes")) for name in names for algorithm in ALGORITHMS]
    for algorithm, dtype in _shown(kernels) if verbose else kernels:
        for layer, data_format in itertools.product(LAYERS, ("NCW", "NWC")):
            _compile(algorithm, dtype, *layer, data_format)
        for activation in ACTIVATIONS:
            with contextlib.suppress(TypeError):  # integers have relu alone
                activation_of(describe((1, 1, 1), dtype, (1, 1, 1), dtype, activation=activation))


def _compile(algorithm: Algorithm, dtype: np.dtype, x: Shape, w: Shape, groups: int, data_format: str) -> None:
    """Compile all that this layer needs, if the algorithm can compute it."""
    if data_format == "NWC":
        x, w = (x[0], x[2], x[1]), (w[2], w[1], w[0])
    problem = describe(x, dtype, w, dtype, groups=groups, data_format=data_format)
    if algorithm.refuse(problem) is None:
        conv1d(np.zeros(x, dtype), np.zeros(w, dtype), groups=groups, data_format=data_format, algorithm=algorithm.name)


def _shown(kernels: list[tuple[Algorithm, np.dtype]]) -> Iterator[tuple[Algorithm, np.dtype]]:
    """The kernels, while stderr shows how many of them are done."""
    if sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from tqdm import tqdm

            yield from tqdm(kernels, "compiling", unit=" kernels")
            return
    for algorithm, dtype in kernels:
        start = time.perf_counter()
        yield algorithm, dtype
        print(f"{algorithm.name:12}{dtype!s:12}{time.perf_counter() - start:6.1f} s", file=sys.stderr, flush=True)
