"""The direct sum in plain loops: integers that wrap, complex numbers, and whatever is left.

    y[n, g R + r, t] = sum over steps (c, k) of  w[g R + r, c, k] * x[n, g C + c, t * stride + k * dilation - pad_left]

The arithmetic is NumPy's, in the dtype of the result.  Numbers that are rounded are summed in chains, as
direct's are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numba import types
from numba.extending import overload

from .. import tuning
from ..cost import Counts, seconds
from ..driver import driver
from ..epilogue import finish
from ..geometry import geometry as lay_out
from ..geometry import round_up
from ..packing import clear, fill_table, flat, new_table, pack, split
from ..problem import Conv1dProblem
from ..sharing import after, claim
from ..simd.arrays import span, times_of
from ..simd.tiles import TIMES
from ..sweep import even

CHAIN = tuning.CHAIN
#: Steps between two passes over the outputs, for numbers that are exact: those of tuning.BLOCK_TIMES fit into L2.
#: For others they are tuning.CHUNK, of fewer times, which takes up to twice as long.
EXACT_CHUNK = 128


def refuse(problem: Conv1dProblem) -> str | None:
    """It takes everything."""
    return None


def geometry(problem: Conv1dProblem, prepared: bool) -> np.ndarray:
    """Blocks whose packed rows stay in L2, and that do not keep Ctrl-C waiting."""
    p = problem
    steps = p.C_in_g * p.K
    chunk = EXACT_CHUNK if p.compute_dtype.kind in "iu" else tuning.CHUNK
    block_times = min(tuning.BLOCK_TIMES * EXACT_CHUNK // min(max(steps, EXACT_CHUNK), chunk), p.L_out)
    block_seconds = seconds(
        tuning.COSTS["scalar"]["word"] * steps * p.C_out_g * block_times * p.compute_dtype.itemsize / 4
    )
    return lay_out(
        p,
        groups=p.groups,
        lanes_along=TIMES,
        lanes=1,
        block_steps=min(chunk, round_up(steps, 2)),
        block_channels=min((chunk + p.K - 2) // p.K + 1, p.C_in_g),
        block_times=block_times,
        row_unit=1,
        row_blocks=min(math.ceil(block_seconds / tuning.BLOCK_SECONDS), p.C_out_g),
    )


def counts(problem: Conv1dProblem, prepared: bool) -> tuple[Counts, Counts]:
    """What it does, see cost.py."""
    return {"call": 1, "word": problem.flops // 2 * problem.compute_dtype.itemsize / 4}, {}


def preparation(problem: Conv1dProblem, geometry: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The function that turns w into the weights, flat in its order."""
    return partial(flat, dtype=problem.compute_dtype)


def accumulate(total, weight, row):
    """total += weight * row, wrapping as arrays do."""
    total += weight * row


@overload(accumulate)
def _accumulate(total, weight, row):
    def loop(total, weight, row):
        for j in range(total.size):
            total[j] += weight * row[j]

    return loop


def add(total, row):
    """total += row: a complex 1 times an infinity would be NaN."""
    total += row


@overload(add)
def _add(total, row):
    def loop(total, row):
        for j in range(total.size):
            total[j] += row[j]

    return loop


def steps_in_a_row(total):
    """How many steps are summed in a row: of exact numbers all that a block has."""
    return EXACT_CHUNK if total.dtype.kind in "iu" else CHAIN


@overload(steps_in_a_row)
def _steps_in_a_row(total):
    steps = EXACT_CHUNK if isinstance(total.dtype, types.Integer) else CHAIN
    return lambda total: steps


@driver
def run_loops(x, w, bias, y, g, share):
    """The blocks of a share."""
    packed = np.empty(g.packed, y.dtype)
    table = new_table(g)
    totals = np.empty((2, g.block_times), y.dtype)
    item, last = claim(share)
    while item < last:
        rest, row_block = split(item, g.row_blocks)
        rest, time_block = split(rest, g.time_blocks)
        n, group = split(rest, g.groups)
        t0, t1 = time_block * g.block_times, min((time_block + 1) * g.block_times, g.L_out)
        r0, r1 = even(g.R, g.row_blocks, row_block), even(g.R, g.row_blocks, row_block + 1)
        total, chain = span(totals[0], 0, t1 - t0), span(totals[1], 0, t1 - t0)
        for s0 in range(0, g.steps, g.block_steps):
            s1 = min(s0 + g.block_steps, g.steps)
            c0, c1 = s0 // g.K, (s1 - 1) // g.K + 1
            pack(x, n, group * g.C + c0, group * g.C + c1, s0, s1, t0, t1 - t0, g, packed)
            fill_table(table, s0, s1, c0, c1 - c0, g.row, g)
            for row in range(group * g.R + r0, group * g.R + r1):
                for first in range(0, s1 - s0, steps_in_a_row(total)):
                    sums = chain if first else total
                    clear(sums)
                    for i in range(first, min(first + steps_in_a_row(total), s1 - s0)):
                        accumulate(sums, w[row * g.steps + s0 + i], span(packed, table[i], t1 - t0))
                    if first:
                        add(total, chain)
                target = times_of(y, n, row, t0, 1, t1 - t0)
                if s0 == 0:
                    clear(target)
                add(target, total)
        if bias.size or g.activation:
            finish(y, n, group * g.R + r0, group * g.R + r1, t0, t1, bias, g.activation)
        item, last = after(item, last, share)
