"""Winograd's minimal filtering: four outputs of r taps from r + 3 products, where the direct sum takes 4 r.

    y[4 q + i] = sum over j of A[i, j] * (sum over steps of (G w)[j] * (B x[4 q : 4 q + r + 3])[j])

The inner sums are r + 3 matrix products, which the register tile sweeps; the matrices are those of toom_cook.py.

Packing (packing.py) makes any problem one of stride 1: the taps of a channel fall into `slots`, where neighbours are
`spacing` places apart.  Tile u = q * spacing + phase of a block has its outputs (4 q + i) * spacing + phase for i < 4.
Up to 5 taps of a slot are r; more of them are `laps` of r = 4, which find the same samples `spacing` tiles further on.
So a step of the products is a channel, a slot and a lap, and beside the block of y there are

    lanes along   weights                                   samples                          products
    TIMES         (groups, points, C_out/groups, steps)     (points, channels, slots, u)     (points, rows, u)
    CHANNELS      (groups, points, panels, steps, columns)  (points, u, slots, channels)     (points, u, columns)

Which of them, the cost tells, in either data format: times fill the lanes where they are many, channels where rows are
short, as those of real-time blocks are.  Where memory runs along the other axis, turning.py turns samples and outputs.

The weights are followed by those of the direct sum: a tile that sees a NaN, an infinity or an overflow spreads it to
all its outputs, and what is not finite is summed again by itself.

The error is at most 50 u times the sum over channels of max|x| sum|w|, the maximum over the tile.  Measured, in 10^6
outputs each, K 2 to 16, 2 to 128 channels, float32: 16 for normal data, 12 for positive, 38 for normal data of which
the magnitudes range over 10^6.  In units of u * sum|x||w| of the window alone normal data reach 120, positive 180, and
the last have no bound, as one large sample disturbs its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import numpy as np

from .. import machine, memory, tuning
from ..cost import Counts, price, seconds
from ..epilogue import activation_of
from ..geometry import (
    MODE_CODES,
    cheaper_lanes,
    near_bytes,
    order_counts,
    parts_for,
    record_of,
    round_up,
    runs_along,
    turning_fields,
    weight_counts,
)
from ..packing import fill_panels
from ..problem import Conv1dProblem
from ..simd.tiles import CHANNELS, TILE_ROWS, TIMES, tile_for
from ..sweep import chain_of, sweep_of
from ..turning import turn
from . import direct
from .winograd_blocks import (
    MOST_TAPS,
    OUTPUTS,
    places_to_samples,
    products_to_places,
    products_to_row,
    row_to_samples,
    weigh_panels,
    weigh_rows,
)

#: The bound of the error, see above.
UNITS = 50.0

#: How far apart the plain weights of neighbours are.
PLAIN_STEPS = "plain_group", "plain_panel", "plain_row", "plain_channel", "plain_tap"


def slots_of(problem: Conv1dProblem) -> int:
    """Slots of a channel: the fewest in which taps are a whole number of places apart."""
    return problem.stride // math.gcd(problem.stride, problem.dilation)


def tile_of(problem: Conv1dProblem) -> tuple[int, int, int]:
    """How far apart neighbours of a slot are, the taps of a lap, and the laps."""
    slots = slots_of(problem)
    in_slot = -(-problem.K // slots)
    taps, laps = (in_slot, 1) if in_slot <= MOST_TAPS else (OUTPUTS, -(-in_slot // OUTPUTS))
    return slots * problem.dilation // problem.stride, taps, laps


def refuse(problem: Conv1dProblem) -> str | None:
    """Why there are no products to save, or None."""
    if problem.C_in_g == 1:
        return "a group has one input channel, whose transform costs more than its products"
    if problem.K <= slots_of(problem):
        return f"no two of {problem.K} taps are a multiple of the stride apart"
    if tile_of(problem)[0] >= problem.L_out > 0:
        return "neighbouring taps are further apart than the output is long, so that tiles would stay empty"
    spacing, taps, laps = tile_of(problem)
    least = (taps + OUTPUTS - 1) * problem.C_in_g * slots_of(problem) * laps * spacing * problem.compute_dtype.itemsize
    if least > tuning.LARGEST_SAMPLES_BYTES:
        return f"taps are so far apart that the samples of the least block take {least:,} bytes"
    return direct.refuse(problem)


def sample_bytes() -> int:
    """Room for the samples of a block."""
    return int(machine.cache_bytes(2) * tuning.SAMPLES_SHARE)


def apart(step: int, itemsize: int) -> int:
    """At least `step` elements, and not a multiple of a page: what is a page apart shares a set of the cache."""
    page, line = 4096 // itemsize, machine.LINE_BYTES // itemsize
    return round_up(step, line) if step < page // 4 else round_up(step, page) + line


def fewest_idle(units: int, spacing: int, whole: int, lanes: int, choices: range) -> int:
    """Into how many blocks to cut `units` of `spacing` tiles, so that few are missing to `whole` register tiles.

    To read all weights once more costs about as much as `lanes` tiles.
    """
    return min(choices, key=lambda blocks: blocks * (round_up(-(-units // blocks) * spacing, whole) + lanes))


def geometry(problem: Conv1dProblem, prepared: bool) -> np.ndarray:
    """Blocks of tiles whose samples stay in L2 while all weights pass by."""
    p, dtype = problem, problem.compute_dtype
    lanes, itemsize = machine.lanes(dtype), dtype.itemsize
    along = lanes_along(p)
    along_time, turns = along == TIMES, along != runs_along(p)
    C, R, K = p.C_in_g, p.C_out // p.groups, p.K
    slots = slots_of(p)
    spacing, taps, laps = tile_of(p)
    points, steps = taps + OUTPUTS - 1, C * slots * laps

    # A unit of time is `spacing` tiles.
    units = -(-p.L_out // (OUTPUTS * spacing))
    # The products of a row unit stay near too, and so do its outputs until they are turned.
    unit_bytes = min(2 * tuning.BLOCK_ROWS, R) * (points + OUTPUTS * turns) * itemsize
    most = min(sample_bytes() // (points * C * slots * itemsize), machine.cache_bytes(2) // unit_bytes)
    most = max(most, 3 * lanes)
    fewest = -(-units // max(most // spacing, 1))
    threads, items = machine.threads(), p.N * p.groups
    whole = lanes if along_time else TILE_ROWS
    time_blocks = fewest_idle(units, spacing, whole, lanes, range(fewest, 2 * fewest + 1))
    blocks = items * time_blocks
    # As much for every thread, see direct.py.
    if blocks % threads and blocks < 8 * threads and units * spacing >= 6 * whole * threads:
        choices = range(round_up(fewest, threads), 3 * fewest + threads, threads)
        time_blocks = fewest_idle(units, spacing, whole, lanes, choices)
    unit_tiles = -(-units // time_blocks)
    time_blocks = -(-units // unit_tiles)
    tiles = unit_tiles * spacing
    reach = tiles + (laps - 1) * spacing  # tiles of samples

    if along_time:
        shares = threads if items * time_blocks < threads else 1  # few channels are cut finer for these
        rows = min(tuning.BLOCK_ROWS, round_up(max(-(-R // shares), 2 * TILE_ROWS), TILE_ROWS), R)
        _, tile_columns = tile_for(rows, tiles, lanes, steps)
    else:
        _, tile_columns = tile_for(tiles, R, lanes, steps)
        rows = round_up(tuning.BLOCK_ROWS, tile_columns)
    row_units = -(-R // rows)
    running, _ = counts_along(p, along)
    row_blocks = parts_for(items * time_blocks, p.N * seconds(price("winograd", running)), row_units)
    width = OUTPUTS * tiles + (taps * laps - p.K // slots) * spacing  # times for which packing fills the samples
    row = round_up(max(width + (p.K - 1) // slots * spacing, OUTPUTS * (reach + spacing)), OUTPUTS * lanes) + lanes
    # In NWC, and where samples are turned, long runs of memory are worth more than a packed block in L1.
    room = machine.cache_bytes(2 if p.channels_last or turns else 1) // 2
    block_channels = max(1, min(C, room // (slots * row * itemsize)))
    sample_row, samples = (round_up(reach, lanes), C * slots) if along_time else (C * slots, reach)
    product_row, products = (round_up(tiles, lanes), rows) if along_time else (round_up(rows, lanes), tiles)
    sample_step, product_step = apart(samples * sample_row, itemsize), apart(products * product_row, itemsize)
    phase_step = apart(reach + 2 * spacing + lanes, itemsize)
    columns = 1 if along_time else round_up(R, tile_columns)
    weight_step = apart((R if along_time else columns) * steps, itemsize)
    turning = turning_fields(p, along, turn.address(dtype) if turns else 0, rows, OUTPUTS * tiles)
    # How far apart the plain weights of neighbouring groups, panels, rows, channels and taps are.
    panel = C * K * tile_columns
    plain_steps = (
        (R * C * K, panel, C * K, K, 1) if along_time else (C * K * columns, panel, 1, K * tile_columns, tile_columns)
    )
    scratch = block_channels * slots * row + OUTPUTS * phase_step + points * (sample_step + product_step)
    return record_of({
        "groups": p.groups, "C": C, "R": R, "L_out": p.L_out, "steps": steps, "K": p.K,
        "stride": p.stride, "dilation": p.dilation, "pad_left": p.pad_left, "mode": MODE_CODES[p.padding_mode],
        "activation": activation_of(p),
        "lanes_along": TIMES if along_time else CHANNELS, "slots": slots, "shift": spacing, "row": row,
        "panel": 0, "line": 0, "into_panels": 0,  # what is packed stands in rows
        "packed": block_channels * slots * row + lanes, "width": width, "block_channels": block_channels,
        "taps": taps, "laps": laps, "points": points, "spacing": spacing, "tiles": tiles, "reach": reach,
        "phase_step": phase_step, "sample_row": sample_row, "sample_step": sample_step,
        "product_row": product_row, "product_step": product_step,
        "weight_step": weight_step, "plain": p.groups * points * weight_step,
        **dict(zip(PLAIN_STEPS, plain_steps, strict=True)),
        "block_times": OUTPUTS * tiles, "time_blocks": time_blocks,
        "scratch": (scratch + turning["turned"]) * itemsize + 8 * steps,
        "row_unit": rows, "row_units": row_units, "row_blocks": row_blocks,
        "items": p.groups * time_blocks * row_blocks,
        "tile_columns": tile_columns, "lanes": lanes, "chain": chain_of(steps),
        "far_weights": p.groups * points * weight_step * itemsize > near_bytes(),
        "sweep": sweep_of(along, steps).address(dtype),
        "sample": (row_to_samples if along_time else places_to_samples).address(dtype),
        "output": (products_to_row if along_time else products_to_places).address(dtype),
        **turning,
    })  # fmt: skip


def lanes_along(problem: Conv1dProblem) -> int:
    """What stands in the lanes; preparing the weights takes about as long for either."""
    return cheaper_lanes("winograd", counts_along, problem, prepared=True)


def counts(problem: Conv1dProblem, prepared: bool) -> tuple[Counts, Counts]:
    """What it does, see cost.py."""
    return counts_along(problem, lanes_along(problem))


def counts_along(problem: Conv1dProblem, along: int) -> tuple[Counts, Counts]:
    """The same with these lanes."""
    p = problem
    lanes, slots = machine.lanes(p.compute_dtype), slots_of(p)
    spacing, taps, laps = tile_of(p)
    points, steps = taps + OUTPUTS - 1, p.C_in_g * slots * laps
    tiles = -(-p.L_out // (OUTPUTS * spacing)) * spacing
    blocks = max(tiles * points * p.C_in_g * slots * p.compute_dtype.itemsize / sample_bytes(), 1)
    reach = tiles + blocks * (laps - 1) * spacing
    if along == CHANNELS:
        vectors = p.groups * -(-p.C_out_g // lanes) * tiles
        samples = p.groups * -(-p.C_in_g // lanes) * slots * reach
    else:
        vectors, samples = p.C_out * -(-tiles // lanes), p.C_in * slots * -(-reach // lanes)
    running = {
        "call": 1,
        "fma": vectors * points * steps * machine.fma_half_cycles(),
        "output": vectors * points,
        "sample": samples * points,
        "row": (p.C_in if along == TIMES else 1) * slots * blocks,
        **weight_counts(p, points * steps, blocks, along=along),
        **order_counts(p, along, p.C_in * slots * OUTPUTS * reach),
    }
    if spacing > 1 and along == TIMES:
        runs = OUTPUTS * -(-spacing // lanes)
        running["run"] = (p.C_in * slots * reach + p.C_out * tiles) / spacing * runs
    return running, {"preparation": 1, "prepared weight": points * p.C_out * steps / lanes}


def preparation(problem: Conv1dProblem, geometry: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The function that turns w into the weights as the driver reads them."""
    g = SimpleNamespace(**dict(zip(geometry.dtype.names or (), geometry.item(), strict=True)))
    return partial(transformed, g=g, dtype=problem.compute_dtype)


def transformed(w: np.ndarray, g: SimpleNamespace, dtype: np.dtype) -> np.ndarray:
    """The transformed weights, after them the plain ones, those of the direct sum, and a row of zeros."""
    zeros = g.groups * g.plain_group
    weights = memory.empty((g.plain + zeros + g.tile_columns,), dtype)
    plain = weights[g.plain :]
    plain[zeros:] = 0
    offsets = np.arange(g.taps, dtype=np.int64) * g.steps
    if g.lanes_along == CHANNELS:
        fill_panels(plain[:zeros], w, g.groups, g.tile_columns)
        panels = -(-g.R // g.tile_columns)
        weigh_panels.run(
            (plain, weights, offsets),
            (g.groups, g.taps, g.laps, g.slots, g.C, g.K, panels, g.tile_columns, zeros, g.weight_step),
        )
    else:
        plain[:zeros].reshape(w.shape)[...] = w
        by_tap, k = np.zeros(g.taps * g.steps, weights.dtype), np.arange(g.K, dtype=np.int64)
        places = k // g.slots % g.taps * g.steps + k % g.slots * g.laps + k // g.slots // g.taps
        weigh_rows.run(
            (plain, by_tap, weights, offsets, places),
            (g.groups, g.taps, g.R, g.steps, g.C, g.K, g.slots * g.laps, g.weight_step),
        )
    return weights
