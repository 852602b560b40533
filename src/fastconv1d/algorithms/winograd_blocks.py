"""The blocks of winograd.py, which explains the words: samples and weights transformed, products, and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import machine
from ..compile import kernel, standalone
from ..decoding import number
from ..driver import driver
from ..epilogue import finish
from ..packing import clear, pack, source_index, split
from ..sharing import after, claim
from ..simd.arithmetic import all_finite, products_of
from ..simd.arrays import address, call, channels_of, contiguous, shifted, span, times_of
from ..simd.moves import copy_lanes, copy_vector, unzip_rows, zip_rows
from ..simd.tiles import TIMES
from ..sweep import even
from ..toom_cook import POINTS, matrices
from ..turning import place_of, store_turned

LINE_BYTES = machine.LINE_BYTES  # a global of this module, which Numba takes as a constant

#: Outputs of a tile.
OUTPUTS = 4
#: A slot of more taps is cut into laps of OUTPUTS taps.
MOST_TAPS = max(POINTS)
#: Where, after the offsets of a tile with that many taps, the kernels note that an output is not finite.
BAD = OUTPUTS + MOST_TAPS - 1


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
