"""The direct sum where every group has one input channel: depthwise, with any multiplier, in either layout.

    y[n, c M + m, t] = sum over k of  w[c M + m, 0, k] * x[n, c, t * stride + k * dilation - pad_left]

With one output a channel (M = 1) there is nothing to share, so memory is the limit while K is small: a few rows are
packed, unless they can be read where they stand, swept and finished before the next ones.  In NWC, and in NCW where
turning x pays, lanes run along the channels, a vector of x times a vector of w.

Several outputs of a channel share its samples, and in NWC a few channels leave lanes empty: the blocks are those of
direct then.  In NWC, against a lane for each output, 64 channels of 2 outputs, K 3, take 0.16 of the time, 4 of 108,
K 40, stride 8, 0.1; and 2 channels, K 3 to 63, 0.08 to 0.18, 4 0.23 to 0.32, 8 0.6 to 0.86, 12 0.83 to 1, 16 1.3 to
1.7, but for calls of a few us 0.7 to 1.1.  Zen 4, 2026-11-28.
"""

from __future__ import annotations

import math

import numpy as np

from .. import machine, tuning
from ..cost import Counts
from ..geometry import cheaper_lanes, packing_counts, round_up
from ..geometry import geometry as lay_out
from ..problem import Conv1dProblem
from ..simd.tiles import CHANNELS, PAIRED_CHANNELS, TIMES, tile_for
from ..sweep import sweep_of
from ..turning import turn
from . import direct


def refuse(problem: Conv1dProblem) -> str | None:
    """Why this is no depthwise problem, or None."""
    if problem.C_in_g > 1:
        return f"a group has {problem.C_in_g} input channels, not one"
    if problem.groups == 1 and problem.C_out > 1:
        return "all outputs share the one input channel, which direct packs once for all"
    return direct.refuse(problem)


def like_direct(problem: Conv1dProblem) -> bool:
    """Whether the blocks are those of direct, see above."""
    p = problem
    return p.C_out_g > 1 or (p.channels_last and p.C_out < min(machine.lanes(p.compute_dtype), p.L_out))


def geometry(problem: Conv1dProblem, prepared: bool) -> np.ndarray:
    """Blocks whose packed rows stay in L1, or with channels in the lanes in L2, but for long halos that are turned."""
    p, dtype = problem, problem.compute_dtype
    if like_direct(p):
        return direct.geometry(p, prepared)
    lanes, itemsize = machine.lanes(dtype), dtype.itemsize
    if lanes_along(p, prepared) == TIMES:
        _, tile_columns = tile_for(1, p.L_out, lanes, p.K)
        most = machine.cache_bytes(1) // 2 // itemsize
        return lay_out(
            p,
            groups=p.groups,
            lanes_along=TIMES,
            lanes=lanes,
            block_steps=p.K,
            block_channels=1,
            block_times=min(round_up(most, tile_columns), p.L_out),
            packed_bytes=machine.cache_bytes(1) // 2,
            row_unit=1,
            block_rows=tuning.BLOCK_ROWS,
            tile_columns=tile_columns,
            sweep=sweep_of(TIMES, p.K).address(dtype),
        )
    turns = not p.channels_last
    tile_rows, tile_columns = tile_for(p.L_out, lanes if turns else p.C_out, lanes, p.K)
    row_units = -(-p.C_out // tile_columns)
    if turns:  # a vector of channels at a time
        row_blocks, columns = row_units, tile_columns
        time_blocks = max((p.L_out + tuning.BLOCK_TIMES // 2) // tuning.BLOCK_TIMES, 1)
        if p.N * row_blocks * time_blocks < 8 * machine.threads():
            time_blocks = round_up(time_blocks, machine.threads())
        times = -(-p.L_out // time_blocks)
    else:  # all channels, so that memory is read in long runs, unless the halo would outgrow the times of the block
        halo = p.K_span // p.stride
        for row_blocks in range(1, row_units + 1):
            columns = -(-row_units // row_blocks) * tile_columns
            times = machine.cache_bytes(2) // 4 // (columns * itemsize) - halo
            if times >= max(halo, tuning.BLOCK_ROWS):
                break
        times = min(max(times, halo, tuning.BLOCK_ROWS), tuning.BLOCK_TIMES)
    return lay_out(
        p,
        groups=1,
        lanes_along=PAIRED_CHANNELS,
        lanes=lanes,
        block_steps=p.K,
        block_channels=columns,
        block_times=min(round_up(times, tile_rows), p.L_out),
        row_unit=tile_columns,
        row_blocks=row_blocks,
        block_rows=tuning.BLOCK_ROWS,
        tile_columns=tile_columns,
        sweep=sweep_of(PAIRED_CHANNELS, p.K).address(dtype),
        turn=turn.address(dtype) if turns else 0,
    )


def lanes_along(problem: Conv1dProblem, prepared: bool) -> int:
    """What stands in the lanes: in NWC the channels, in NCW the times, or the channels where turning x pays.

    Vectors of times straddle two lines of the cache at nearly all taps, unless the dilation is a multiple of the
    lanes, and each row that meets padding, or has more taps than a chain, is packed by itself.  For these, with
    channels in the lanes 256 of them, K 33 and 500 times take 0.8 of the time, 4096, K 5 and 40 times 0.35, but 1536,
    K 4 and 2048 times 1.4, and 256, K 33, 4000 times and dilation 64 1.8.  Zen 4, 2026-11-27.
    """
    p = problem
    if p.channels_last:
        return PAIRED_CHANNELS
    turns = p.stride == 1 and p.x_dtype == p.compute_dtype
    if turns and cheaper_lanes("depthwise", counts_along, p, prepared) == CHANNELS:
        return PAIRED_CHANNELS
    return TIMES


def counts(problem: Conv1dProblem, prepared: bool) -> tuple[Counts, Counts]:
    """What it does, see cost.py."""
    if like_direct(problem):
        return direct.counts(problem, prepared)
    return counts_along(problem, TIMES if lanes_along(problem, prepared) == TIMES else CHANNELS)


def counts_along(problem: Conv1dProblem, along: int) -> tuple[Counts, Counts]:
    """The same with these lanes."""
    p, lanes, times_in_lanes = problem, machine.lanes(problem.compute_dtype), along == TIMES
    vectors = p.C_out * -(-p.L_out // lanes) if times_in_lanes else p.L_out * -(-p.C_out // lanes)
    packing = packing_counts(p, -(-p.L_out // tuning.BLOCK_TIMES), along=along)
    aligned = math.gcd(p.dilation, lanes) / lanes if p.stride == 1 else 0  # taps whose vectors start on a line
    running = {
        "call": 1,
        "fma": vectors * p.K * machine.fma_half_cycles(),
        "straddled": vectors * p.K * times_in_lanes * (1 - aligned),
        "flush": vectors * -(-p.K // tuning.CHUNK),
        # The halos too, which every block has: long ones cost more than the outputs.
        "turned": (packing["sample"] + p.C_out * p.L_out) * (not times_in_lanes and not p.channels_last),
        **packing,
        "thinned": packing["sample"] * (times_in_lanes and p.stride > 1),
    }
    return running, {} if times_in_lanes else {"preparation": 1, "prepared weight": p.C_out * p.K}
