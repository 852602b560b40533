"""The algorithms, in order of preference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..blocks import run_blocks
from ..compile import Driver
from ..problem import Conv1dProblem
from . import depthwise, direct, scalar


@dataclass(frozen=True)
class Algorithm:
    """One way to compute a convolution."""

    name: str
    #: Why it can't compute a problem, or None.
    refuse: Callable[[Conv1dProblem], str | None]
    #: How it cuts a problem into blocks.
    geometry: Callable[[Conv1dProblem], np.ndarray]
    #: The weights as its driver reads them.
    prepare: Callable[[Conv1dProblem, np.ndarray, np.ndarray], np.ndarray]
    driver: Driver


#: The first that does not refuse is chosen.
ALGORITHMS = (
    Algorithm("depthwise", depthwise.refuse, depthwise.geometry, depthwise.prepare, run_blocks),
    Algorithm("direct", direct.refuse, direct.geometry, direct.prepare, run_blocks),
    Algorithm("scalar", scalar.refuse, scalar.geometry, scalar.prepare, scalar.run_loops),
)
