"""What a problem costs by each algorithm: counts of what is done, times what each takes (tuning.COSTS).

The unit is half a cycle, the time of one vector FMA on most CPUs.  It is not measured when the library runs, as two
runs would then choose differently now and then, and round differently; what differs from CPU to CPU, the width of the
vectors, how many FMAs a cycle starts and the size of the cache, is in the counts.  So the choice, and with it the bits,
depend on the problem and the machine alone: not on N, as one sample is counted, and not on the threads.

What is counted, of each where it applies:

    call           1
    fma            half cycles of multiply-adds of vectors, at the rate of the CPU
    flush          sums of vectors that are brought to memory
    straddled      vectors that are read across two lines of the cache
    row, sample    rows that are packed, and numbers in them; in winograd vectors that are transformed, in fft numbers
    run            runs of neighbouring tiles that winograd copies
    thinned        samples of which a stride leaves out others
    gathered       samples that are brought into the order of the lanes one by one
    turned         numbers that are, by tiles of vectors
    frame          times whose channels do not follow upon those of the time before
    weight         weights that are read, with those that fill up vectors
    far weight     of these, those that do not fit half of L2
    output         vectors, or numbers in fft, that are transformed back
    pass, product  steps of transforms, and products of spectra, of vectors of complex numbers; tile: calls of those
    strided        numbers of fft's that have no neighbours in memory
    read byte      of spectra of weights that the cache can't hold; written byte: of results
    word           multiply-adds of scalar, by the size of a number
    preparation    1, for preparing the weights; prepared weight, prepared byte: weights, in winograd and fft
                   vectors of them, and bytes past the cache
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
