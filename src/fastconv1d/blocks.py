"""The driver of the register tile: cut the outputs into blocks, pack, sweep, finish.

    y[n, g R + r, t] = sum over steps (c, k) of  w[g R + r, c, k] * x[n, g C + c, t * stride + k * dilation - pad_left]

A step is a channel and a tap.  Of the two operands of a sweep (sweep.py) one is the packed block and one the weights;
which is which depends on the axis of the output that goes into the lanes, as a rule the one that stands side by side in
memory:

    lanes along       rows       columns    a                              b
    TIMES             channels   times      the weights, (C_out, steps)    the packed rows
    CHANNELS          times      channels   the packed times               the weights in panels as wide as a tile,
                                                                           (groups, panels, steps, columns)
    PAIRED_CHANNELS   times      channels   the packed times               the same of one group

The groups of a block are swept one after the other, but with one output each they are the rows of one sweep.

Where the lanes do not run along what is side by side in memory, the outputs of a block are turned (turning.py) before
they are stored.

Where many outputs read a packed block of times, whose taps share nothing, it stands in panels too (packing.py).

Of few steps and outputs packing would be a good part of the work: blocks of these that meet no padding take the rows of
x itself for the packed ones (in_place).

Panels have zeros past C_out, so that a vector may be read there.

All add the steps in the same order, in chains and chunks of them (tuning.py), so that an output has the same bits in
either layout, and wherever the blocks, tiles and threads are cut.
"""

from __future__ import annotations

import numpy as np

from . import machine
from .compile import kernel
from .driver import driver
from .epilogue import finish
from .packing import fill_table, new_table, pack, split
from .sharing import after, claim
from .simd.arrays import address, ask_for, call, span, times_of
from .simd.tiles import PAIRED_CHANNELS, TIMES
from .sweep import even, pieces
from .turning import place_of, store_turned

LINE_BYTES = machine.LINE_BYTES  # a global of this module, which Numba takes as a constant


@kernel
def stands_packed(x, t0, t1, g):
    """Whether for the outputs t0 to t1 the rows of x are themselves what packing would make of them."""
    first, size = t0 - g.pad_left, x.itemsize
    return (
        g.in_place
        and t1 - t0 >= g.lanes  # those of the last vector, which goes back
        and first >= 0
        and first + t1 - t0 + (g.K - 1) * g.shift <= x.shape[2]
        and x.strides[2] == size
        and (x.strides[0] | x.strides[1] | address(x)) % size == 0
        and (g.C == 1 or x.strides[1] % 4096 != 0)  # rows that far apart would share the sets of the cache
    )


@kernel
def fill_block(x, w, target, y_c, y_t, g, n, g0, g1, t0, t1, r0, r1, is_packed, packed, table):
    """The outputs t0 to t1 of the channels r0 to r1 of the groups g0 to g1, from the address `target` on.

    Those of neighbouring channels are y_c elements apart there, those of neighbouring times y_t.
    """
    size, in_place = packed.itemsize, stands_packed(x, t0, t1, g)
    far_outputs = 0 if g.turned else g.far_outputs
    for s0 in range(0, g.steps, g.block_steps):
        s1 = min(s0 + g.block_steps, g.steps)
        c0, c1 = g0 * g.C, g1 * g.C
        if g.lanes_along == PAIRED_CHANNELS:
            c0, c1 = r0, r1
        elif s1 - s0 < g.steps:  # a block of one group, and of some of its channels
            c0, c1 = c0 + s0 // g.K, c0 + (s1 - 1) // g.K + 1
        groups, a_row, a_column, b_row, b_panel = g1 - g0, g.steps, 0, 0, 1
        if g.into_panels:
            b_panel = g.panel // g.tile_columns
        y_row, rows, y_columns = y_t, t1 - t0, r1 - r0
        row = x.strides[1] // size if in_place else g.row
        if g.lanes_along == TIMES:
            y_row, rows, y_columns = y_c, r1 - r0, t1 - t0
            a, b = address(w) + ((g0 * g.R + r0) * g.steps + s0) * size, address(packed)
            if in_place:
                b = address(x) + n * x.strides[0] + c0 * x.strides[1] + (t0 - g.pad_left) * size
            a_next, b_next = g.R * g.steps * size, g.C * g.slots * row * size
            if g.R == 1:  # the rows of one sweep
                groups, rows, b_row = 1, groups, g.C * g.slots * row
        else:
            a_row, b_panel = c1 - c0, g.steps
            if g.lanes_along == PAIRED_CHANNELS:
                a_column = 1
            a_next, b_next = g.C * size, pieces(g.R, g.tile_columns) * g.tile_columns * g.steps * size
            a, b = address(packed), address(w) + g0 * b_next + (r0 * g.steps + s0 * g.tile_columns) * size
        if not (in_place or is_packed):
            pack(x, n, c0, c1, s0, s1, t0, t1 - t0, g, packed)
        fill_table(table, s0, s1, s0 // g.K, c1 - c0, row, g)
        for i in range(groups):
            call(
                g.sweep,
                (
                    a + i * a_next, b + i * b_next, target + i * g.R * y_c * size, address(table),
                    a_row, a_column, b_row, b_panel, s1 - s0, g.chain, y_row, rows, y_columns,
                    g.block_rows, g.tile_columns, 1 if s0 == 0 else 0, g.far_weights, far_outputs,
                    g.lanes if in_place else 0,
                ),
            )  # fmt: skip


@kernel
def ask_for_channels(x, y, n, r0, r1, t0, t1, g):
    """Ask for what a block of a channel a lane writes, and for what the next one reads: its rows are short and many.

    These lanes are turned only where channel c of y is made of channel c of x, with stride 1.  1536 channels of 8 times
    128 samples, K 4, take 0.82 to 0.88 of the time, and 0.88 or more without the latter.  Zen 4, 2026-11-27.
    """
    first, last = max(t0 - g.pad_left, 0), min(t1 - g.pad_left, x.shape[2])
    for c in range(r0, r1):
        ask_for(times_of(y, n, c, t0, 1, t1 - t0))
        if c + r1 - r0 < g.R:
            ask_for(times_of(x, n, c + r1 - r0, first, 1, last - first))


@driver
def run_blocks(x, w, bias, y, g, share):
    """The blocks of a share."""
    line = LINE_BYTES // y.itemsize  # vectors that straddle two lines are read at half of the speed
    room = np.empty(g.packed + g.turned + line, y.dtype)
    packed = span(room, -address(room) % LINE_BYTES // y.itemsize, g.packed)
    turned = span(packed, g.packed, g.turned)
    table = new_table(g)
    y_n, y_c, y_t = y.strides[0] // y.itemsize, y.strides[1] // y.itemsize, y.strides[2] // y.itemsize
    # The parts of a block share what is packed, unless they have channels of their own.
    shared, packed_block = g.lanes_along != PAIRED_CHANNELS, -1
    item, last = claim(share)
    while item < last:
        block, row_block = split(item, g.row_blocks)
        rest, time_block = split(block, g.time_blocks)
        n, group_block = split(rest, g.group_blocks)
        row_end = row_block + 1
        if shared and not g.turned:  # those that were claimed together are one; for turned outputs there is no room
            row_end = min(row_block + last - item, g.row_blocks)
        g0, g1 = even(g.groups, g.group_blocks, group_block), even(g.groups, g.group_blocks, group_block + 1)
        t0, t1 = time_block * g.block_times, min((time_block + 1) * g.block_times, g.L_out)
        r0 = even(g.row_units, g.row_blocks, row_block) * g.row_unit
        r1 = min(even(g.row_units, g.row_blocks, row_end) * g.row_unit, g.R)
        target = address(y) + (n * y_n + (g0 * g.R + r0) * y_c + t0 * y_t) * y.itemsize
        place, place_c, place_t = place_of(turned, target, y_c, y_t, g)
        if g.far_outputs and g.turned and g.lanes_along == PAIRED_CHANNELS:
            ask_for_channels(x, y, n, r0, r1, t0, t1, g)
        is_packed = block == packed_block
        fill_block(x, w, place, place_c, place_t, g, n, g0, g1, t0, t1, r0, r1, is_packed, packed, table)
        packed_block = block if shared and g.steps <= g.block_steps else -1
        if g.turned:
            channels, groups = (r1 - r0, g1 - g0) if r1 - r0 < g.R else ((g1 - g0) * g.R, 1)  # neighbours all
            for i in range(groups):
                there, here = target + i * g.R * y_c * y.itemsize, place + i * g.R * place_c * y.itemsize
                store_turned(here, there, y_c, y_t, channels, t1 - t0, g)
        if bias.size or g.activation:
            for group in range(g0, g1):
                finish(y, n, group * g.R + r0, group * g.R + r1, t0, t1, bias, g.activation)
        item, last = after(item + row_end - row_block - 1, last, share)
    room[0] = 0  # keeps it until here: `packed` and `turned` are only lent
