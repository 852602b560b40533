"""The direct sum where every group has one input channel: depthwise, with any multiplier, in either layout.

    y[n, c M + m, t] = sum over k of  w[c M + m, 0, k] * x[n, c, t * stride + k * dilation - pad_left]

There is nothing to share among channels, so memory is the limit while K is small: a row is packed, swept and finished
before the next one.  In NWC, lanes run along the channels, a vector of x times a vector of w.
"""

from __future__ import annotations

import numpy as np

from .. import machine, simd, tuning
from ..cost import Counts
from ..geometry import CHANNELS, PAIRED_CHANNELS, TIMES, packing_counts, round_up
from ..geometry import geometry as lay_out
from ..packing import flat
from ..problem import Conv1dProblem
from ..sweep import sweep_elementwise, sweep_outer
from . import direct


def refuse(problem: Conv1dProblem) -> str | None:
    """Why this is no depthwise problem, or None."""
    if problem.C_in_g > 1:
        return f"a group has {problem.C_in_g} input channels, not one"
    if problem.groups == 1 and problem.C_out > 1:
        return "all outputs share the one input channel, which direct packs once for all"
    return direct.refuse(problem)


def geometry(problem: Conv1dProblem, prepared: bool) -> np.ndarray:
    """Blocks whose packed rows stay in L1, or in NWC in L2."""
    p, dtype = problem, problem.compute_dtype
    lanes, itemsize = machine.lanes(dtype), dtype.itemsize
    times_in_lanes = not p.channels_last or p.C_out == 1
    if times_in_lanes:
        _, tile_columns = simd.tile_for(p.C_out_g, p.L_out, lanes, p.K)
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
            row_unit=p.C_out_g,
            block_rows=tuning.BLOCK_ROWS,
            tile_columns=tile_columns,
            sweep=sweep_outer.address(dtype),
        )
    # In NWC a block has all channels, so that memory is read in long runs, unless its halo would outgrow its times.
    tile_rows, tile_columns = simd.tile_for(p.L_out, p.C_out, lanes, p.K)
    row_units = -(-p.C_out // tile_columns)
    halo = p.K_span // p.stride
    for row_blocks in range(1, row_units + 1):
        columns = -(-row_units // row_blocks) * tile_columns
        times = machine.cache_bytes(2) // 4 // (columns * itemsize) - halo
        if times >= max(halo, tuning.BLOCK_ROWS):
            break
    return lay_out(
        p,
        groups=1,
        lanes_along=PAIRED_CHANNELS,
        lanes=lanes,
        block_steps=p.K,
        block_channels=columns,
        block_times=min(round_up(max(times, halo, tuning.BLOCK_ROWS), tile_rows), tuning.BLOCK_TIMES, p.L_out),
        row_unit=tile_columns,
        row_blocks=row_blocks,
        block_rows=tuning.BLOCK_ROWS,
        tile_columns=tile_columns,
        sweep=sweep_elementwise.address(dtype),
    )


def counts(problem: Conv1dProblem, prepared: bool) -> tuple[Counts, Counts]:
    """What it does, see cost.py."""
    p, lanes = problem, machine.lanes(problem.compute_dtype)
    times_in_lanes = not p.channels_last or p.C_out == 1
    vectors = p.C_out * -(-p.L_out // lanes) if times_in_lanes else p.L_out * -(-p.C_out // lanes)
    blocks = -(-p.L_out // tuning.BLOCK_TIMES)
    packing = packing_counts(p, blocks, along=TIMES if times_in_lanes else CHANNELS)
    running = {
        "call": 1,
        "fma": vectors * p.K * machine.fma_half_cycles(),
        "flush": vectors * -(-p.K // tuning.CHUNK),
        "output": p.C_out * p.L_out,
        **packing,
        "thinned": packing["sample"] if times_in_lanes and p.stride > 1 else 0,
    }
    return running, {"prepared weight": p.C_out * p.K} if p.channels_last else {}


def prepare(problem: Conv1dProblem, geometry: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The weights, (C_out, 1, K) with any strides, as blocks.py reads them; (K, C_out) with the slack of a vector."""
    if not problem.channels_last or problem.C_out == 1:  # TIMES stand in the lanes
        return flat(w, problem.compute_dtype)
    columns = round_up(problem.C_out, int(geometry["lanes"][0]))
    padded = np.zeros((problem.K, columns), problem.compute_dtype)
    padded[:, : problem.C_out] = w[:, 0].T
    return padded.reshape(-1)
