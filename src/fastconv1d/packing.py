"""Packing: a block of any x becomes padded rows of stride 1, a block at a time, in cache.

A tap k of an output t reads ``x[t * stride + k * dilation - pad_left]``.  Packing turns that into stride 1: the taps
fall into `slots`, tap k into slot ``k % slots``, and slot p holds every stride-th sample from ``p * dilation`` on::

    slot p:   x[t0 * stride + p * dilation - pad_left],  x[(t0 + 1) * stride + ...],  x[(t0 + 2) * stride + ...], ...
              ^ where output t0 finds tap p              ^ where output t0 + 1 finds it
              ^ where output t0 - shift finds tap p + slots,    shift = slots * dilation / stride

so that output t finds tap k at place ``t - t0 + (k // slots) * shift`` of its slot.  The fewest slots for which the
shift is whole are ``stride / gcd(stride, dilation)``: 1 for a dense or dilated convolution, whose taps share one row.
Where taps are so much further apart than a block is long that to pack all between them costs more, each gets a slot
(``slots = K``).

The slots of the channels c0 ... c1 of a block stand in the buffer in one of two orders:

    TIMES      channel c0: slot 0, slot 1, ...   channel c0 + 1: slot 0, ...
               at ((c - c0) * slots + p) * row + place
    CHANNELS   slot 0: place 0 of c0 ... c1, place 1 of c0 ... c1, ...   slot 1: place 0 of ...
               at (p * row + place) * (c1 - c0) + c - c0

In panels, where no taps share a slot, a TIMES slot of each panel holds the times that a tile is wide: place t of slot p
stands at ``t // tile_columns * panel + ((c - c0) * slots + p) * tile_columns + t % tile_columns``.

PAIRED_CHANNELS is CHANNELS where channel c of the output reads channel c of x alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from . import machine, memory
from .compile import kernel, standalone
from .decoding import number
from .geometry import MODE_CODES, round_up
from .problem import Conv1dProblem
from .simd.arrays import address, ask_for, call, channels_of, contiguous, copied, shifted, span, times_of
from .simd.moves import copy_vector
from .simd.tiles import CHANNELS, TIMES
from .tuning import PACKED_AHEAD
from .turning import turn_tiles

ZEROS, REFLECT, REPLICATE, CIRCULAR, SYMMETRIC = (
    MODE_CODES[mode] for mode in ("zeros", "reflect", "replicate", "circular", "symmetric")
)


def flat(w: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`w` as one aligned row of `dtype`, without a copy where it is one already."""
    flags = w.flags
    if w.dtype == dtype and flags.c_contiguous and flags.aligned:
        return w.ravel()
    return np.require(w, dtype, ["C", "A"]).reshape(-1)


def in_panels(w: np.ndarray, groups: int, columns: int, dtype: np.dtype) -> np.ndarray:
    """w (C_out, C, K) as (groups, panels, C, K, columns), flat, with zeros past the last channel of a group."""
    C_out, C, K = w.shape
    panels = memory.empty((groups * round_up(C_out // groups, columns) * C * K,), dtype)
    fill_panels(panels, w, groups, columns)
    return panels


def fill_panels(panels: np.ndarray, w: np.ndarray, groups: int, columns: int) -> None:
    """Put w into panels that are there already."""
    (C_out, C, K), dtype = w.shape, panels.dtype
    by_step = w.dtype == dtype and w.flags.aligned and w.T.flags.c_contiguous  # as in NWC: (K, C, C_out)
    sizes = groups, C_out // groups, C, K, columns, machine.lanes(dtype), by_step
    weights_into_panels.run((w.T.reshape(-1) if by_step else flat(w, dtype), panels), sizes)


def preparation(problem: Conv1dProblem, geometry: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The function that turns w into the weights as blocks.py reads them."""
    dtype = problem.compute_dtype
    if geometry["lanes_along"][0] == TIMES:
        return partial(flat, dtype=dtype)
    groups, columns = int(geometry["groups"][0]), int(geometry["tile_columns"][0])
    return partial(in_panels, groups=groups, columns=columns, dtype=dtype)


@standalone(pointers=2, integers=7, tables=0)
def weights_into_panels(w, panels, groups, R, C, K, columns, lanes, by_step):
    """What fill_panels does, for w (groups, R, C, K), or (K, C, groups, R) if it stands `by_step`."""
    to = 0
    for group in range(groups):
        for first in range(group * R, (group + 1) * R, columns):
            count = min(columns, (group + 1) * R - first)
            if not by_step:
                turn_tiles(shifted(w, first * C * K), shifted(panels, to), count, C * K, C * K, columns, lanes)
            for c in range(C):
                for k in range(K):
                    if by_step:
                        source = (k * C + c) * groups * R + first
                        for r in range(count):
                            panels[to + r] = w[source + r]
                    for r in range(count, columns):
                        panels[to + r] = 0
                    to += columns


@standalone(pointers=2, integers=4, tables=0)
def line_into_panels(line, panels, count, columns, panel, lanes):
    """The `count` numbers of a line in pieces of `columns`, which go `panel` apart; whole vectors, of both."""
    to = 0
    for first in range(0, count, columns):
        for j in range(0, min(columns, count - first), lanes):
            copy_vector(line, first + j, panels, to + j)
        to += panel


@kernel
def split(index, size):
    """divmod(index, size), without the division, which costs as much as a short row, where it can be done without."""
    return (index, 0) if size == 1 else divmod(index, size)


@kernel
def floor_div(a, b):
    """a // b, likewise."""
    return a if b == 1 else a // b


@kernel
def clear(row):
    """row[:] = 0, which Numba would expand at each place; to assign an array, with all of its errors, takes it 3 s."""
    for j in range(row.size):
        row[j] = 0


@kernel
def source_index(i, L, mode):
    """Where sample `i` of the padded input stands in an x of length `L`; -1 for a zero.  As np.pad, at any width."""
    if 0 <= i < L:
        return i
    if mode == REPLICATE:
        return min(max(i, 0), L - 1)
    if mode == CIRCULAR:
        return i % L
    if mode == REFLECT:
        if L == 1:
            return 0
        i %= 2 * (L - 1)
        return min(i, 2 * (L - 1) - i)
    if mode == SYMMETRIC:
        i %= 2 * L
        return min(i, 2 * L - 1 - i)
    return -1


@kernel
def convert(source, target):
    """target[j] = source[j], whatever the source is made of."""
    for j in range(target.size):
        target[j] = number(source[j])


@kernel
def copy_line(source, target):
    """The same, at the speed of memory where the source stands side by side."""
    if source.strides[0] == source.itemsize:
        line = contiguous(source)
        if not copied(line, target):
            convert(line, target)
    else:
        convert(source, target)


@kernel
def thin(source, stride, target):
    """target[j] = source[j * stride].  Only a constant stride is vectorised, and unsigned indices need no wrapping."""
    two, any_stride = np.uint64(2), np.uint64(stride)
    if stride == 2:
        for j in range(target.size):
            target[j] = number(source[two * np.uint64(j)])
    else:
        for j in range(target.size):
            target[j] = number(source[any_stride * np.uint64(j)])


@kernel
def inside(start, stride, count, L):
    """Which of the samples start + j * stride, j < count, stand inside of x: from the first number to the second."""
    first, last = 0, count
    if start < 0:
        first = min(-floor_div(start, stride), count)
    if start + (count - 1) * stride >= L:
        last = max(-floor_div(start - L, stride), first)
    return first, last


@kernel
def pad_times(x, n, c, start, stride, mode, packed, at, count, first, last):
    """packed[at + j] of pack_times for j < first and last <= j < count, which are outside of x."""
    if mode == ZEROS:
        clear(span(packed, at, first))
        clear(span(packed, at + last, count - last))
    else:
        for j in range(count - (last - first)):
            place = j if j < first else j + last - first
            packed[at + place] = number(x[n, c, source_index(start + place * stride, x.shape[2], mode)])


@kernel
def pack_times(x, n, c, start, stride, mode, packed, at, count):
    """packed[at + j] = x[n, c, start + j * stride] for j < count, padded where that is outside of x."""
    first, last = inside(start, stride, count, x.shape[2])
    target = span(packed, at + first, last - first)
    if stride > 1 and last > first and x.strides[2] == x.itemsize:
        reach = (last - first - 1) * stride + 1
        thin(contiguous(times_of(x, n, c, start + first * stride, 1, reach)), stride, target)
    else:
        copy_line(times_of(x, n, c, start + first * stride, stride, last - first), target)
    pad_times(x, n, c, start, stride, mode, packed, at, count, first, last)


@kernel
def pack_frames(x, n, c0, c1, start, stride, packed, at, first, last):
    """The samples of pack_channels for first <= j < last, if in x too the times follow upon one another; else False."""
    channels = c1 - c0
    if stride != 1 or x.strides[2] != channels * x.strides[1]:
        return False
    frames = channels_of(x, n, c0, (last - first) * channels, start + first)
    copy_line(frames, span(packed, at + first * channels, frames.size))
    return True


@kernel
def pack_channels(x, n, c0, c1, start, stride, mode, packed, at, count, first, last):
    """packed[at + j * (c1 - c0) + c - c0] = x[n, c, start + j * stride] for j < count, padded.

    But for first <= j < last, which are there already.
    """
    L, channels = x.shape[2], c1 - c0
    for j in range(count - (last - first)):
        place = j if j < first else j + last - first
        i = source_index(start + place * stride, L, mode)
        target = span(packed, at + place * channels, channels)
        if i < 0:
            clear(target)
        else:
            copy_line(channels_of(x, n, c0, channels, i), target)


@kernel
def pack_turned(x, n, c0, c1, start, packed, p, first, last, g):
    """The samples first <= j < last of slot p for all channels, if they stand in x the other way round; else False."""
    size, x_c, x_t = x.itemsize, x.strides[1], x.strides[2] * g.stride
    source = address(x) + n * x.strides[0] + c0 * x_c + (start + first * g.stride) * x.strides[2]
    if g.lanes_along == TIMES:
        near, far, target, row = x_c, x_t, p * g.row + first, g.slots * g.row
        rows, columns = last - first, c1 - c0
    else:
        near, far, target, row = x_t, x_c, (p * g.row + first) * (c1 - c0), c1 - c0
        rows, columns = c1 - c0, last - first
    if near != size or far == size or far % size or source % size:
        return False
    call(g.turn, (source, address(packed) + target * size, rows, columns, far // size, row, g.lanes))
    return True


@kernel
def pack(x, n, c0, c1, s0, s1, t0, width, g, packed):
    """The slots of the channels c0 to c1 that the steps s0 to s1 read, for `width` outputs from t0 on."""
    p0, p1 = 0, g.slots
    if g.slots == g.K and s1 - s0 < g.K and s0 // g.K == (s1 - 1) // g.K:  # some taps of one channel, each with a slot
        p0, p1 = s0 % g.K, (s1 - 1) % g.K + 1
    for p in range(p0, p1):
        start = t0 * g.stride + p * g.dilation - g.pad_left
        count = width + floor_div(g.K - 1 - p, g.slots) * g.shift
        first, last = inside(start, g.stride, count, x.shape[2])
        turned = g.turns and c1 - c0 > 1 and pack_turned(x, n, c0, c1, start, packed, p, first, last, g)
        if g.lanes_along == TIMES:
            for c in range(c0, c1):
                place = ((c - c0) * g.slots + p) * g.row
                at, row = (g.packed - g.line, g.line) if g.into_panels else (place, g.row)
                if turned:
                    pad_times(x, n, c, start, g.stride, g.mode, packed, at, count, first, last)
                else:
                    if c + PACKED_AHEAD < c1 and x.strides[2] == x.itemsize:
                        reach = (last - first) * g.stride
                        ask_for(times_of(x, n, c + PACKED_AHEAD, start + first * g.stride, 1, reach))
                    pack_times(x, n, c, start, g.stride, g.mode, packed, at, count)
                # The slack of the last vector: denormals left there would be slow.
                clear(span(packed, at + count, min(g.lanes, row - count)))
                if g.into_panels:
                    line, panels = address(packed) + at * packed.itemsize, address(packed) + place * packed.itemsize
                    call(g.into_panels, (line, panels, count, g.tile_columns, g.panel, g.lanes))
        elif c1 - c0 == 1:
            pack_times(x, n, c0, start, g.stride, g.mode, packed, p * g.row, count)
        else:
            at = p * g.row * (c1 - c0)
            if not turned and not pack_frames(x, n, c0, c1, start, g.stride, packed, at, first, last):
                first = last
            pack_channels(x, n, c0, c1, start, g.stride, g.mode, packed, at, count, first, last)


@kernel
def new_table(g):
    """Room for where the steps of a block find their samples, and what it was filled for."""
    table = np.empty(g.block_steps + 3, np.int64)
    table[-3:] = -1
    return table


@kernel
def fill_table(table, s0, s1, c0, channels, row, g):
    """Where the steps s0 to s1 find their samples, in the packed block that begins with channel c0.

    `row`: how far apart the slots of packed times stand, or the channels of x where it is not packed.
    """
    last = table.size - 1
    if table[last - 2] == s0 and table[last - 1] == channels and table[last] == row:
        return  # the block before filled it
    table[last - 2], table[last - 1], table[last] = s0, channels, row
    c, k = split(s0, g.K)
    c -= c0
    lap, slot = split(k, g.slots)
    for i in range(s1 - s0):
        place = slot * row + lap * g.shift
        if g.lanes_along == TIMES:
            table[i] = c * g.slots * row + place
        elif g.lanes_along == CHANNELS:
            table[i] = place * channels + c
        else:
            table[i] = place * channels
        k, slot = k + 1, slot + 1
        if slot == g.slots:
            lap, slot = lap + 1, 0
        if k == g.K:
            c, k, lap, slot = c + 1, 0, 0, 0
