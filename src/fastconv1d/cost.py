"""What a problem costs by each algorithm: counts of what is done, times what each takes (tuning.COSTS).

The unit is half a cycle, the time of one vector FMA on most CPUs.  It is not measured when the library runs, as two
runs would then choose differently now and then, and round differently; what differs from CPU to CPU, the width of the
vectors, how many FMAs a cycle starts and the size of the cache, is in the counts.  So the choice, and with it the bits,
depend on the problem and the machine alone: not on N, as one sample is counted, and not on the threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from . import tuning
from .problem import Conv1dProblem

#: Counts of what an algorithm does for one sample of a batch, and once to prepare the weights.
Counts = Mapping[str, float]
Count = Callable[[Conv1dProblem, bool], tuple[Counts, Counts]]


def price(name: str, counts: Counts) -> float:
    """What so much work costs by the named algorithm."""
    prices = tuning.COSTS[name]
    return sum(prices[what] * number for what, number in counts.items())


def units(name: str, count: Count, problem: Conv1dProblem, prepared: bool) -> tuple[float, float]:
    """What running one sample of the batch costs, and what preparing the weights does, `prepared` for many calls."""
    running, preparing = count(replace(problem, N=1), prepared)
    return price(name, running), price(name, preparing)


def seconds(units: float) -> float:
    """About the time of so many units on one core."""
    return units / tuning.UNITS_PER_SECOND
