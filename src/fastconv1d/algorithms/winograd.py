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
from ..compile import kernel, standalone
from ..cost import Counts, price, seconds
from ..decoding import number
from ..driver import driver
from ..epilogue import activation_of, finish
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
from ..packing import clear, fill_panels, pack, source_index, split
from ..problem import Conv1dProblem
from ..sharing import after, claim
from ..simd.arithmetic import all_finite, products_of
from ..simd.arrays import address, call, channels_of, contiguous, shifted, span, times_of
from ..simd.moves import copy_lanes, copy_vector, unzip_rows, zip_rows
from ..simd.tiles import CHANNELS, TILE_ROWS, TIMES, tile_for
from ..sweep import chain_of, even, sweep_of
from ..toom_cook import POINTS, matrices
from ..turning import place_of, store_turned, turn
from . import direct

LINE_BYTES = machine.LINE_BYTES  # a global of this module, which Numba takes as a constant

#: The bound of the error, see above.
UNITS = 50.0

#: Outputs of a tile.
OUTPUTS = 4
#: A slot of more taps is cut into laps of OUTPUTS taps.
MOST_TAPS = max(POINTS)
#: Where, after the offsets of a tile with that many taps, the kernels note that an output is not finite.
BAD = OUTPUTS + MOST_TAPS - 1

#: How far apart the plain weights of neighbours are.
PLAIN_STEPS = "plain_group", "plain_panel", "plain_row", "plain_channel", "plain_tap"


def products_with(name: str) -> Callable[..., None]:
    """Products with the matrix of this name, by the number of taps."""
    return products_of(lambda: {taps: getattr(matrices(OUTPUTS, points), name) for taps, points in POINTS.items()})


times_A, times_G, times_B = products_with("A"), products_with("G"), products_with("B")


@standalone(pointers=3, integers=6)
def row_to_samples(row, phases, samples, offsets, taps, spacing, tiles, phase_step, step, lanes):
    """samples[j * step + u] = sum over i of B[j, i] * row[(4 q + i) * spacing + phase] for every tile u."""
    if spacing == 1:
        for q in range(0, tiles + 1, lanes):
            unzip_rows(row, OUTPUTS * q, phases, q, phase_step, OUTPUTS)
    else:
        for i in range(OUTPUTS):
            for q in range(tiles // spacing + 1):
                # What is copied beyond the run is overwritten by the next one.
                for at in range(0, spacing, lanes):
                    copy_vector(row, (OUTPUTS * q + i) * spacing + at, phases, i * phase_step + q * spacing + at)
    times_B(taps, phases, offsets, samples, step, tiles)


@standalone(pointers=2, integers=6)
def places_to_samples(places, samples, offsets, taps, spacing, tiles, channels, step, row):
    """The same for places that hold `channels` numbers each, c < channels of samples[j * step + u * row + c]."""
    for q in range(tiles // spacing):
        for phase in range(spacing):
            place, u = OUTPUTS * q * spacing + phase, q * spacing + phase
            times_B(taps, shifted(places, place * channels), offsets, shifted(samples, u * row), step, channels)


@standalone(pointers=3, integers=6)
def products_to_row(products, phases, y, offsets, taps, spacing, tiles, phase_step, count, lanes):
    """y[(4 q + i) * spacing + phase] = sum over j of A[i, j] * products[offsets[j] + u] for the first `count` of y."""
    times_A(taps, products, offsets, phases, phase_step, tiles)
    for i in range(OUTPUTS):
        if not all_finite(phases, i * phase_step, tiles):
            offsets[BAD] = 1
    if spacing == 1:
        whole = count // (OUTPUTS * lanes) * lanes
        for q in range(0, whole, lanes):
            zip_rows(phases, q, phase_step, y, OUTPUTS * q, OUTPUTS)
        for t in range(OUTPUTS * whole, count):
            y[t] = phases[t % OUTPUTS * phase_step + t // OUTPUTS]
    else:
        for q in range(tiles // spacing):
            for i in range(OUTPUTS):
                t, at = (OUTPUTS * q + i) * spacing, i * phase_step + q * spacing
                if spacing < lanes and t + lanes <= count:  # beyond the run as above
                    copy_vector(phases, at, y, t)
                else:
                    for j in range(0, min(spacing, count - t), lanes):
                        copy_lanes(phases, at + j, y, t + j, min(spacing, count - t) - j)


@standalone(pointers=3, integers=7)
def products_to_places(products, edge, y, offsets, taps, spacing, tiles, channels, row, y_row, count):
    """y[((4 q + i) * spacing + phase) * y_row + c] = sum over j of A[i, j] * products[offsets[j] + u * row + c]."""
    for q in range(tiles // spacing):
        for phase in range(spacing):
            t, u = OUTPUTS * q * spacing + phase, q * spacing + phase
            source, place = shifted(products, u * row), shifted(y, t * y_row)
            if t + (OUTPUTS - 1) * spacing < count:
                times_A(taps, source, offsets, place, spacing * y_row, channels)
                for i in range(OUTPUTS):
                    if not all_finite(place, i * spacing * y_row, channels):
                        offsets[BAD] = 1
            elif t < count:
                times_A(taps, source, offsets, edge, channels, channels)
                if not all_finite(edge, 0, OUTPUTS * channels):
                    offsets[BAD] = 1
                for i in range(-(-(count - t) // spacing)):
                    for c in range(channels):
                        place[i * spacing * y_row + c] = edge[i * channels + c]


@standalone(pointers=3, integers=8, tables=2)
def weigh_rows(w, by_tap, weights, offsets, places, groups, taps, rows, steps, channels, K, apart, step):
    """weights[j * step + row * steps + s] = sum over i of G[j, i] * by_tap[offsets[i] + s], for each row of a group.

    Tap k of channel c of a row goes to by_tap[places[k] + c * apart]; all else there is zero.
    """
    for group in range(groups):
        to = group * (taps + OUTPUTS - 1) * step
        for row in range(group * rows, (group + 1) * rows):
            for c in range(channels):
                for k in range(K):
                    by_tap[places[k] + c * apart] = w[(row * channels + c) * K + k]
            times_G(taps, by_tap, offsets, shifted(weights, to), step, steps)
            to += steps


@standalone(pointers=2, integers=10)
def weigh_panels(w, weights, offsets, groups, taps, laps, slots, channels, K, panels, columns, zeros, step):
    """The same for w (groups, panels, channels, K, columns), which has zeros at `zeros`, and weights in such panels."""
    for group in range(groups):
        to = group * (taps + OUTPUTS - 1) * step
        for panel in range(group * panels, (group + 1) * panels):
            for lap in range(laps):
                for slot in range(slots):
                    for c in range(channels):
                        for i in range(taps):
                            k = (lap * taps + i) * slots + slot
                            offsets[i] = ((panel * channels + c) * K + k) * columns if k < K else zeros
                        times_G(taps, w, offsets, shifted(weights, to), step, columns)
                        to += columns


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
    return running, {"preparation": 1, "prepared weight": points * p.C_out * steps}


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


@kernel
def sample(x, n, group, t0, g, packed, phases, samples, offsets):
    """The samples of a block of times."""
    size = packed.itemsize
    for c0 in range(0, g.C, g.block_channels):
        c1 = min(c0 + g.block_channels, g.C)
        pack(x, n, group * g.C + c0, group * g.C + c1, 0, g.C * g.K, t0, g.width, g, packed)
        if g.lanes_along == TIMES:
            for i in range(g.points):
                offsets[i] = i % OUTPUTS * g.phase_step + i // OUTPUTS * g.spacing
            for i in range((c1 - c0) * g.slots):
                call(
                    g.sample,
                    (
                        address(packed) + i * g.row * size, address(phases),
                        address(samples) + (c0 * g.slots + i) * g.sample_row * size, address(offsets),
                        g.taps, g.spacing, g.reach, g.phase_step, g.sample_step, g.lanes,
                    ),
                )  # fmt: skip
        else:
            for i in range(g.points):
                offsets[i] = i * g.spacing * (c1 - c0)
            for slot in range(g.slots):
                call(
                    g.sample,
                    (
                        address(packed) + slot * g.row * (c1 - c0) * size,
                        address(samples) + (slot * g.C + c0) * size, address(offsets),
                        g.taps, g.spacing, g.reach, c1 - c0, g.sample_step, g.sample_row,
                    ),
                )  # fmt: skip


@kernel
def output(target, y_c, y_t, channels, times, g, phases, products, offsets):
    """The outputs of a block of times for the channels of a row unit, from the address `target` on.

    Those of neighbouring channels are y_c elements apart there, those of neighbouring times y_t.
    """
    size = phases.itemsize
    if g.lanes_along == TIMES:
        for r in range(channels):
            call(
                g.output,
                (
                    address(products) + r * g.product_row * size, address(phases), target + r * y_c * size,
                    address(offsets), g.taps, g.spacing, g.tiles, g.phase_step, times, g.lanes,
                ),
            )  # fmt: skip
    else:
        call(
            g.output,
            (
                address(products), address(phases), target, address(offsets),
                g.taps, g.spacing, g.tiles, channels, g.product_row, y_t, times,
            ),
        )  # fmt: skip


@kernel
def plain_sum(x, n, channel, t, g, w, at):
    """The output `t` of a channel of y, by its weights w[at:]; `channel` is the first of x that it sees."""
    total = 0.0
    for c in range(g.C):
        part = 0.0  # of a channel by itself, as a long chain of additions would lose digits
        for k in range(g.K):
            i = source_index(t * g.stride + k * g.dilation - g.pad_left, x.shape[2], g.mode)
            sample = 0.0 if i < 0 else float(number(x[n, channel + c, i]))
            part += float(w[at + c * g.plain_channel + k * g.plain_tap]) * sample
        total += part
        if total != total:
            break
    return total


@kernel
def mend(x, n, group, r0, r1, t0, t1, g, w, y):
    """Sum again whatever is not finite among the channels r0 to r1 of a group and the times t0 to t1."""
    plain = g.plain + group * g.plain_group
    channel = group * g.R + r0
    along_time = y.strides[2] == y.itemsize  # else the channels stand side by side
    for i in range(r1 - r0 if along_time else t1 - t0):
        if along_time:
            run = contiguous(times_of(y, n, channel + i, t0, 1, t1 - t0))
        else:
            run = contiguous(channels_of(y, n, channel, r1 - r0, t0 + i))
        for j in range(run.size):
            if run[j] - run[j] != 0:
                r, t = (r0 + i, t0 + j) if along_time else (r0 + j, t0 + i)
                panel, row = divmod(r, g.tile_columns)
                at = plain + panel * g.plain_panel + row * g.plain_row
                run[j] = plain_sum(x, n, group * g.C, t, g, w, at)


@driver
def run_winograd(x, w, bias, y, g, share):
    """The blocks of a share."""
    size, y_c, y_t = y.itemsize, y.strides[1] // y.itemsize, y.strides[2] // y.itemsize
    packed, phases = np.empty(g.packed, y.dtype), np.empty(max(OUTPUTS * g.phase_step, OUTPUTS * g.row_unit), y.dtype)
    line = LINE_BYTES // size
    room = np.empty(g.points * (g.sample_step + g.product_step) + 2 * g.lanes + line + g.turned, y.dtype)
    samples = span(room, -address(room) % LINE_BYTES // size, room.size - line)
    products = span(samples, g.points * g.sample_step + g.lanes, g.points * g.product_step)
    turned = span(products, products.size, g.turned)
    sample_offsets, product_offsets = np.zeros(BAD + 1, np.int64), np.zeros(BAD + 1, np.int64)
    table = np.empty(g.steps, np.int64)
    for j in range(g.points):
        product_offsets[j] = j * g.product_step
        if g.lanes_along == TIMES:  # vectors are read past the last tile, where denormals would be slow
            for i in range(g.C * g.slots):
                clear(span(samples, j * g.sample_step + i * g.sample_row + g.reach, g.sample_row - g.reach + g.lanes))
    for s in range(g.steps):
        if g.lanes_along == TIMES:  # a step is (channel, slot, lap)
            row, lap = split(s, g.laps)
            table[s] = row * g.sample_row + lap * g.spacing
        else:  # a step is (lap, slot, channel)
            lap, place = split(s, g.sample_row)
            table[s] = lap * g.spacing * g.sample_row + place
    sampled = -1
    item, last = claim(share)
    while item < last:
        rest, row_block = split(item, g.row_blocks)
        rest, time_block = split(rest, g.time_blocks)
        n, group = split(rest, g.groups)
        t0 = time_block * g.block_times
        t1 = min(t0 + g.block_times, g.L_out)
        if sampled != item // g.row_blocks:  # the item before had the same samples
            sampled = item // g.row_blocks
            sample(x, n, group, t0, g, packed, phases, samples, sample_offsets)
        for unit in range(even(g.row_units, g.row_blocks, row_block), even(g.row_units, g.row_blocks, row_block + 1)):
            r0 = unit * g.row_unit
            r1 = min(r0 + g.row_unit, g.R)
            for j in range(g.points):
                weights = address(w) + ((group * g.points + j) * g.weight_step + r0 * g.steps) * size
                operands = address(samples) + j * g.sample_step * size
                target = address(products) + j * g.product_step * size
                if g.lanes_along == TIMES:
                    a, a_row, b, b_panel, rows, columns = weights, g.steps, operands, 1, r1 - r0, g.tiles
                else:
                    a, a_row, b, b_panel, rows, columns = operands, g.sample_row, weights, g.steps, g.tiles, r1 - r0
                call(
                    g.sweep,
                    (
                        a, b, target, address(table), a_row, 0, 0, b_panel, g.steps, g.chain, g.product_row,
                        rows, columns, rows, g.tile_columns, 1, g.far_weights, 0, 0,
                    ),
                )  # fmt: skip
            target = address(y) + n * y.strides[0] + (group * g.R + r0) * y.strides[1] + t0 * y.strides[2]
            place, place_c, place_t = place_of(turned, target, y_c, y_t, g)
            output(place, place_c, place_t, r1 - r0, t1 - t0, g, phases, products, product_offsets)
            if g.turned:
                store_turned(place, target, y_c, y_t, r1 - r0, t1 - t0, g)
            if product_offsets[BAD]:
                product_offsets[BAD] = 0
                mend(x, n, group, r0, r1, t0, t1, g, w, y)
            if bias.size or g.activation:
                finish(y, n, group * g.R + r0, group * g.R + r1, t0, t1, bias, g.activation)
        item, last = after(item, last, share)
    room[0] = 0  # keeps it until here: `samples`, `products` and `turned` are only lent
