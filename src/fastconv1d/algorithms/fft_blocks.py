"""The blocks of fft.py, which explains the words: spectra of weights and samples, and the sums that come back."""

from __future__ import annotations

import math

import numpy as np

from .. import machine, tuning
from ..compile import kernel
from ..driver import driver
from ..epilogue import activate
from ..packing import clear, convert, copy_line, pack_times, split
from ..sharing import after, claim
from ..simd.arrays import address, call, contiguous, copied, span, times_of
from ..simd.tiles import CHANNELS, PAIRED_CHANNELS, TIMES
from ..sweep import even

#: Spectra of so many steps of the weights are put in their places at once, so that memory is written in longer runs.
STEPS_AT_ONCE = 16

#: Terms of a chain of plain sums: the root of the longest part.
CHUNK = math.isqrt(tuning.LONGEST_PART)
LINE_BYTES = machine.LINE_BYTES  # a global of this module, which Numba takes as a constant


@kernel
def aligned(room, at, count):
    """A part of `room` that starts on a cache line."""
    return span(room, at + -address(room) % LINE_BYTES // room.itemsize, count)


@kernel
def turn_lanes(packed, at, spectrum, g):
    """Rows of n samples from `at` on become the real parts of the lanes."""
    size = packed.itemsize
    call(
        g.transpose,
        (
            address(packed) + at * size, spectrum, g.passes,
            g.n // g.lanes, g.lanes, g.row, 2 * g.lanes * g.lanes, 2 * g.lanes,
        ),
    )  # fmt: skip


@kernel
def pack_taps(w, group, chunk, step, g, packed, at):
    """The taps of a step of the filters that stand in the lanes; how many lanes have one."""
    inner, used = g.slots * g.parts, 0
    c, part = split(step, inner)
    if g.lanes_along == CHANNELS:
        part, c = split(step, g.C)
    slot, part = split(part, g.parts)
    first = part * g.part_taps
    count = max(min(g.part_taps, (g.K - 1 - slot) // g.slots + 1 - first), 0)
    for lane in range(g.lanes):
        row = at + lane * g.row
        filter = group * g.R + chunk * g.lanes + lane
        end = min((group + 1) * g.R, w.shape[0])
        if g.lanes_along == PAIRED_CHANNELS:
            filter, end = (group * g.lanes + lane) * g.R + chunk, w.shape[0]
        if filter < end:
            used = lane + 1
            taps = span(packed, row, count)
            copy_line(times_of(w, filter, c, slot + g.slots * first, g.slots, count), taps)
            clear(span(packed, row + count, g.n - count))
        else:
            clear(span(packed, row, g.n))
    return used


@driver
def transform_weights(w, nothing, bias, y, g, share):
    """The spectra of the weights."""
    spectra = y[0, 0]
    size, most = spectra.itemsize, min(STEPS_AT_ONCE, g.steps + g.steps % 2)
    room = np.empty(g.lanes * g.row + most // 2 * g.compact + LINE_BYTES // size, spectra.dtype)
    packed = aligned(room, 0, g.lanes * g.row)
    pairs = aligned(room, g.lanes * g.row, most // 2 * g.compact)
    w_chunk = g.lanes * g.w_rows if g.lanes_along == TIMES else g.b_panel
    f_step, w_step, w_imaginary, w_lane = g.b_frequency, 2 * g.lanes, g.lanes, 1
    if g.lanes_along == TIMES:
        f_step, w_step, w_imaginary, w_lane = g.a_frequency, 2, 1, g.w_rows
    item, last = claim(share)
    while item < last:
        rest, block = split(item, g.w_blocks)
        group, chunk = split(rest, g.w_chunks)
        count, used = min(most, g.steps - block * most), 0
        for i in range(0, count, 2):
            spectrum = address(pairs) + i // 2 * g.compact * size
            for j in range(2):
                if i + j < count:
                    used = pack_taps(w, group, chunk, block * most + i + j, g, packed, 0)
                else:
                    clear(packed)
                turn_lanes(packed, 0, spectrum + j * g.lanes * size, g)
            call(g.transform, (spectrum, g.twiddles, g.passes, g.n, g.lanes, 1))
        to = group * g.w_group + chunk * w_chunk + block * most * w_step
        call(
            g.pick,
            (
                address(pairs), address(spectra) + to * size, g.mirrored, g.frequencies, g.n, g.lanes,
                used if g.lanes_along == TIMES else g.lanes, count, g.compact, f_step, w_step, w_imaginary, w_lane,
            ),
        )  # fmt: skip
        item, last = after(item, last, share)
    room[0] = 0  # keeps it until here: its parts are only lent


@kernel
def place_of_lane(g, item, i, lane, N, back):
    """Which row of the batch, channel, phase and pair of blocks `lane` of the buffer `i` of an item is.

    Channels of x on the way in, of y on the way back.  The row is -1 where the lane is empty.  `back` is no literal,
    for each of which Numba would compile this again, in 0.3 s.
    """
    channels = g.R if back else g.C
    if g.lanes_along == TIMES:
        group, chunk = divmod(item, -(-N * g.phases * g.pairs // g.lanes))
        rest, pair = split(chunk * g.lanes + lane, g.pairs)
        n, phase = split(rest, g.phases)
        return (n if n < N else -1), group * channels + i, phase, pair
    rest, block = split(item, g.pair_blocks)
    rest, phase = split(rest, g.phases)
    n, group = split(rest, g.groups)
    if g.lanes_along == CHANNELS:
        pair, chunk = split(i, -(-channels // g.lanes))
        c = chunk * g.lanes + lane
        n = n if c < channels else -1
        c += group * channels
    else:
        pair, copy = split(i, g.R) if back else (i, 0)
        c = group * g.lanes + lane
        n = n if c < g.channels else -1
        c = c * g.R + copy if back else c
    return n, c, phase, pair + even(g.pairs, g.pair_blocks, block)


@kernel
def outputs_of(g, phase, pair):
    """Outputs of a phase in a pair of blocks."""
    return min(2 * g.hop, (g.L_out - phase - 1) // g.shift + 1 - 2 * g.hop * pair)


@kernel
def pack_part(x, n, c, phase, pair, slot, part, count, g, packed, at):
    """The samples that the taps of a part find in a slot for the first `count` outputs of a pair; how many."""
    count += min(g.part_taps, (g.K - 1 - slot) // g.slots + 1 - part * g.part_taps) - 1
    first = phase + g.shift * (2 * g.hop * pair + part * g.part_taps)
    start = first * g.stride + slot * g.dilation - g.pad_left
    pack_times(x, n, c, start, g.shift * g.stride, g.mode, packed, at, count)
    return count


@kernel
def fill_spectra(x, item, buffers, g, packed, spectra):
    """The spectra of all slots and parts of the buffers of an item."""
    size = spectra.itemsize
    for i in range(buffers):
        for slot in range(g.slots):
            for part in range(g.parts):
                for lane in range(g.lanes):
                    n, c, phase, pair = place_of_lane(g, item, i, lane, x.shape[0], np.int64(0))
                    count = outputs_of(g, phase, pair)
                    if n < 0 or count <= 0:
                        continue
                    at = lane * g.row
                    filled = pack_part(x, n, c, phase, pair, slot, part, count, g, packed, at)
                    clear(span(packed, at + filled, g.hop + g.n - filled))
                spectrum = address(spectra) + ((i * g.slots + slot) * g.parts + part) * g.compact * size
                turn_lanes(packed, 0, spectrum, g)
                turn_lanes(packed, g.hop, spectrum + g.lanes * size, g)
                call(g.transform, (spectrum, g.twiddles, g.passes, g.n, g.lanes, 1))


@kernel
def sum_plainly(x, w, n, r, phase, pair, count, g, packed, at):
    """packed[at : at + count] = the sums of one pair of blocks, tap by tap; a chain of sums has CHUNK at most."""
    C = w.size // (g.K * g.C_out)
    c0 = r // (g.C_out * C // g.channels) * C  # of the group of r
    samples, total, chain = g.lanes * g.row, span(packed, at, count), span(packed, (g.lanes + 1) * g.row, count)
    clear(total)
    for c in range(C):
        for slot in range(g.slots):
            for part in range(g.parts):
                taps = pack_part(x, n, c0 + c, phase, pair, slot, part, count, g, packed, samples) - count + 1
                for m0 in range(0, taps, CHUNK):
                    clear(chain)
                    for m in range(m0, min(m0 + CHUNK, taps)):
                        weight = w[(r * C + c) * g.K + slot + g.slots * (part * g.part_taps + m)]
                        row = span(packed, samples + m, count)
                        for j in range(count):
                            chain[j] += weight * row[j]
                    for j in range(count):
                        total[j] += chain[j]


@kernel
def store(x, w, bias, y, item, i, g, packed, spectrum):
    """The outputs of one buffer, transformed back: finished, and recomputed where they overflowed or are not finite."""
    size = packed.itemsize
    call(g.transform, (spectrum, g.twiddles, g.passes, g.n, g.lanes, 0))
    for block in range(2):
        call(
            g.transpose,
            (
                spectrum + block * g.lanes * size, address(packed) + block * g.hop * size, g.passes,
                -(-g.hop // g.lanes), 2 * g.lanes * g.lanes, 2 * g.lanes, g.lanes, g.row,
            ),
        )  # fmt: skip
    for lane in range(g.lanes):
        n, r, phase, pair = place_of_lane(g, item, i, lane, y.shape[0], np.int64(1))
        count = outputs_of(g, phase, pair)
        if n < 0 or count <= 0:
            continue
        at = lane * g.row
        row = span(packed, at, count)
        wrong = False
        for j in range(count):
            wrong |= not abs(row[j]) < np.inf
        if wrong:
            sum_plainly(x, w, n, r, phase, pair, count, g, packed, at)
        if bias.size:
            for j in range(count):
                row[j] += bias[r]
        if g.activation:
            activate(row, g.activation)
        target = times_of(y, n, r, phase + g.shift * 2 * g.hop * pair, g.shift, count)
        if target.strides[0] == target.itemsize:
            copied(row, contiguous(target))
        else:
            convert(row, target)


@driver
def run_fft(x, w, bias, y, g, share):
    """The blocks of a share, which may have more than there are."""
    room = np.empty(g.packed + LINE_BYTES // y.itemsize, y.dtype)
    packed = aligned(room, 0, g.packed)
    clear(span(packed, 0, (g.lanes + 2) * g.row))  # empty lanes are transformed too, and denormals are slow
    spectra = span(packed, (g.lanes + 2) * g.row, g.spectra)
    results = span(packed, (g.lanes + 2) * g.row + g.spectra, g.results)
    weights, size, N = span(w, g.size, w.size - g.size), y.itemsize, y.shape[0]
    table, rows_of_w = new_table(g), g.R if g.lanes_along == TIMES else g.panels
    inputs = g.groups * -(-N * g.phases * g.pairs // g.lanes)  # what spectra are made of at a time
    if g.lanes_along != TIMES:
        inputs = N * g.groups * g.phases * g.pair_blocks
    items, filled = inputs * g.row_blocks, -1
    index, end = claim(share)
    while index < end:
        if index >= items:  # none: several samples share the lanes
            index, end = after(index, end, share)
            continue
        item, row_block = split(index, g.row_blocks)
        group, buffers = item // (inputs // g.groups), g.C
        if g.lanes_along != TIMES:
            block = item % g.pair_blocks
            group = item // g.pair_blocks // g.phases % g.groups
            buffers = even(g.pairs, g.pair_blocks, block + 1) - even(g.pairs, g.pair_blocks, block)
        pairs = buffers
        if g.lanes_along != TIMES:
            buffers *= g.C_chunks
        if item != filled:
            fill_spectra(x, item, buffers, g, packed, spectra)
            filled = item
        first, last = even(rows_of_w, g.row_blocks, row_block), even(rows_of_w, g.row_blocks, row_block + 1)
        for r0 in range(first, last, g.block_rows):
            rows, panels = pairs, last - r0
            if g.lanes_along == TIMES:
                rows, panels = min(g.block_rows, last - r0), 1
            factors = address(w) + (group * g.w_group + r0 * g.w_rows) * size
            a, b = address(spectra), factors
            if g.lanes_along == TIMES:
                a, b = b, a
            call(
                g.product,
                (
                    a, b, address(results), address(table), g.mirrored, g.steps, g.frequencies,
                    g.a_frequency, g.a_place, g.a_row, g.a_imaginary, g.b_frequency, g.b_place, g.b_panel,
                    2 * g.lanes, g.compact, g.y_row, panels, rows, g.tile_rows, 1 if g.lanes_along == TIMES else 0,
                ),
            )  # fmt: skip
            for i in range(rows):
                for panel in range(panels):
                    at = i * g.panels + panel
                    store(x, weights, bias, y, item, r0 + at, g, packed, address(results) + at * g.compact * size)
        index, end = after(index, end, share)
    room[0] = 0  # keeps it until here: its parts are only lent


@kernel
def new_table(g):
    """Where each step of a product finds its operands: two numbers a step."""
    table, inner = np.empty(2 * g.steps, np.int64), g.slots * g.parts
    for step in range(g.steps):
        if g.lanes_along == TIMES:
            table[2 * step], table[2 * step + 1] = 2 * step, step * g.compact
        elif g.lanes_along == CHANNELS:
            part, c = split(step, g.C)
            chunk, lane = c // g.lanes, c % g.lanes
            table[2 * step] = (chunk * inner + part) * g.compact + lane
            table[2 * step + 1] = 2 * g.lanes * step
        else:
            table[2 * step], table[2 * step + 1] = step * g.compact, 2 * g.lanes * step
    return table
