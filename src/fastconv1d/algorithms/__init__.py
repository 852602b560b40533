"""The algorithms, in order of preference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import packing
from ..blocks import run_blocks
from ..cost import Count
from ..driver import Driver
from ..problem import Conv1dProblem
from . import depthwise, direct, fft, scalar, winograd
from .fft_blocks import run_fft
from .winograd_blocks import run_winograd


@dataclass(frozen=True)
class Algorithm:
    """One way to compute a convolution."""

    name: str
    #: Why it can't compute a problem, or None.  One without outputs, L_out = 0, stands for those of all lengths.
    refuse: Callable[[Conv1dProblem], str | None]
    #: How it cuts a problem into blocks, whose weights will be `prepared` for many calls or for one.
    geometry: Callable[[Conv1dProblem, bool], np.ndarray]
    #: The function that turns w (C_out, C_in/groups, K), of any strides, into the weights as its driver reads them.
    preparation: Callable[[Conv1dProblem, np.ndarray], Callable[[np.ndarray], np.ndarray]]
    driver: Driver
    #: What it does: cost.py.
    counts: Count
    #: How far it may be off, in units of u * sum over channels of max|x| sum|w|, the maximum over the block that it
    #: transforms.  None: as the direct sum.
    units: float | None = None


#: plan.py chooses among the first of them that does not refuse and those that transform blocks.
ALGORITHMS = tuple(
    Algorithm(
        module.__name__.rpartition(".")[2], module.refuse, module.geometry, preparation, driver, module.counts, units
    )
    for module, preparation, driver, units in (
        (depthwise, packing.preparation, run_blocks, None),
        (direct, packing.preparation, run_blocks, None),
        (winograd, winograd.preparation, run_winograd, winograd.UNITS),
        (fft, fft.preparation, run_fft, fft.UNITS),
        (scalar, scalar.preparation, scalar.run_loops, None),
    )
)
