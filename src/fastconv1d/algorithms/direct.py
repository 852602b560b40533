"""The direct sum on the register tile: dense, dilated, strided and grouped, in either layout.

The lanes run along what is side by side in memory, unless that would leave so many of them empty that turning x and y
(turning.py) costs less: few channels in NWC, few times in NCW, as of streams, whose weights are prepared for it.
"""

from __future__ import annotations

import math

import numpy as np

from .. import machine, tuning
from ..compile import jit_disabled
from ..cost import Counts, price, seconds
from ..geometry import (
    cheaper_lanes,
    order_counts,
    packing_counts,
    parts_for,
    round_up,
    runs_along,
    slots_for,
    weight_counts,
)
from ..geometry import geometry as lay_out
from ..packing import line_into_panels
from ..problem import Conv1dProblem
from ..simd.tiles import TILE_ROWS, TIMES, tile_for
from ..sweep import sweep_of
from ..turning import turn

#: What is counted of packing, see cost.py.
PACKING = {"row", "sample", "thinned", "gathered", "frame"}


def refuse(problem: Conv1dProblem) -> str | None:
    """Why the register tile can't compute `problem`, or None."""
    if jit_disabled():
        return "NUMBA_DISABLE_JIT is set, and the register tile has no Python form"
    if problem.compute_dtype not in (np.float32, np.float64):
        return f"the register tile holds float32 and float64, not {problem.compute_dtype}"
    return None


def geometry(problem: Conv1dProblem, prepared: bool) -> np.ndarray:
    """Blocks that keep what is read again and again near, and that give every thread as much as the next."""
    p, dtype = problem, problem.compute_dtype
    lanes, itemsize = machine.lanes(dtype), dtype.itemsize
    along = lanes_along(p, prepared)
    times_in_lanes = along == TIMES
    rows, columns = (p.C_out_g, p.L_out) if times_in_lanes else (p.L_out, p.C_out_g)
    steps = p.C_in_g * p.K
    tile_rows, tile_columns = tile_for(rows, columns, lanes, steps)

    shared = times_in_lanes and p.K > 1  # the taps share the samples
    block_steps = min(tuning.SHARED_BLOCK_STEPS if shared else tuning.BLOCK_STEPS, steps)
    block_channels = min((block_steps + p.K - 2) // p.K + 1, p.C_in_g)

    # The times of a block: the packed channels stay in L2, whose other half is for the weights.
    unit = tile_columns if times_in_lanes else tile_rows
    block_times, block_rows = tuning.BLOCK_TIMES, tuning.BLOCK_ROWS
    if times_in_lanes and steps <= tuning.CHAIN:  # there is little but the outputs: each of few rows is a long run
        block_times, block_rows = tuning.LONG_BLOCK_TIMES, 2 * TILE_ROWS
    most = machine.cache_bytes(2) // 2 // (block_channels * slots_for(p, block_times, along) * itemsize)
    if along != runs_along(p):  # the outputs of all channels stay there too, until they are turned
        most = min(most, machine.cache_bytes(2) // 2 // (p.C_out_g * itemsize))
    block_times = max(min(most, block_times), 2 * unit)
    time_blocks = max((p.L_out + block_times // 2) // block_times, 1)

    # As much for every thread: cut time finer where there is time to cut, else the channels.
    row_unit = min(tile_rows if times_in_lanes else tile_columns, p.C_out_g)
    threads = machine.threads()
    blocks = p.N * p.groups * time_blocks
    if blocks % threads and blocks < 8 * threads and p.L_out >= 4 * unit * threads:
        time_blocks = round_up(time_blocks, threads)

    # The channels too, into parts for which no thread is awaited for long, as many as cost little: where all steps of
    # a block have no room, each part packs them again.
    running, _ = counts_along(p, along)
    units, blocks = price("direct", running), p.groups * time_blocks
    most_parts = -(-p.C_out_g // row_unit)
    if steps > block_steps:
        packing = price("direct", {what: number for what, number in running.items() if what in PACKING})
        cheap = int(tuning.PACKING_SHARE * units / max(packing, 1))
        least = math.ceil(seconds(units) / blocks / tuning.BLOCK_SECONDS)
        most_parts = min(most_parts, max(cheap, threads, least))

    return lay_out(
        p,
        groups=p.groups,
        lanes_along=along,
        lanes=lanes,
        block_steps=block_steps,
        block_channels=block_channels,
        block_times=min(round_up(-(-p.L_out // time_blocks), unit), p.L_out),
        packed_bytes=machine.cache_bytes(2) // 4,
        row_unit=row_unit,
        row_blocks=parts_for(p.N * blocks, p.N * seconds(units), most_parts),
        block_rows=block_rows,
        tile_columns=tile_columns,
        sweep=sweep_of(along, steps).address(dtype),
        turn=turn.address(dtype) if along != runs_along(p) else 0,
        into_panels=line_into_panels if pays_in_panels(p, along, tile_columns) else None,
    )


def pays_in_panels(problem: Conv1dProblem, along: int, tile_columns: int) -> bool:
    """Whether a packed block should stand in panels, each as wide as a tile.

    Where a tile is no whole lines of the cache wide, it reads a part of the columns beside it with its own, unless all
    that it reads stands together.
    """
    p = problem
    broken = tile_columns * p.compute_dtype.itemsize % machine.LINE_BYTES != 0
    many = p.C_in_g * p.K > tuning.CHAIN and p.C_out_g >= tuning.PANEL_OUTPUTS
    return along == runs_along(p) == TIMES and many and broken


def lanes_along(problem: Conv1dProblem, prepared: bool) -> int:
    """What stands in the lanes."""
    return cheaper_lanes("direct", counts_along, problem, prepared)


def counts(problem: Conv1dProblem, prepared: bool) -> tuple[Counts, Counts]:
    """What it does, see cost.py."""
    return counts_along(problem, lanes_along(problem, prepared))


def counts_along(problem: Conv1dProblem, along: int) -> tuple[Counts, Counts]:
    """The same with these lanes."""
    p, times_in_lanes = problem, along == TIMES
    lanes, steps = machine.lanes(p.compute_dtype), p.C_in_g * p.K
    vectors = p.C_out_g * -(-p.L_out // lanes) if times_in_lanes else p.L_out * -(-p.C_out_g // lanes)
    half_cycles = max(vectors * machine.fma_half_cycles(), tuning.FMA_LATENCY)  # few wait for the sums before
    blocks = -(-p.L_out // tuning.BLOCK_TIMES)
    packing = packing_counts(p, blocks, along=along)
    running = {
        "call": 1,
        "fma": p.groups * half_cycles * steps,
        "flush": p.groups * vectors * -(-steps // tuning.CHUNK),
        **weight_counts(p, steps, blocks, along=along),
        **packing,
        **order_counts(p, along, packing["sample"]),
    }
    in_order = times_in_lanes and not p.channels_last
    return running, {} if in_order else {"preparation": 1, "prepared weight": p.C_out * steps}
