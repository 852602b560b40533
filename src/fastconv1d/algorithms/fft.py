"""Long kernels by overlap-save: spectra of blocks of x times spectra of the weights, in either layout.

    y[n, g R + r, t] = sum over (c, k) of  w[g R + r, c, k] * x[n, g C + c, t * stride + k * dilation - pad_left]

The taps of a channel fall into slots, as in packing.py, where tap ``p + slots * m`` finds sample ``t + m * shift`` of
slot p.  Every shift-th output forms a `phase`, which sees a dense kernel; kernels longer than a transform are cut into
`parts`.  What is left is, for each phase, a sum over (slot, part, channel) of dense correlations with stride 1.  Each
is computed by blocks of n samples, of which the first `hop` = n - part_taps + 1 sums do not wrap around:

    block a:   |-------------- n --------------|
    block b:   .----- hop -----|-------------- n --------------|

Two neighbouring blocks of one row are the real and the imaginary part of one complex transform, as the weights are
real.  A transform runs on as many pairs of blocks as a vector has lanes:

    lanes along        a product sums              a                       b
    TIMES              pairs, of any row           weights                 spectra of x, a pair a lane
    CHANNELS           channels of one pair        spectra of x            weights, an output channel a lane
    PAIRED_CHANNELS    channels, each for itself   spectra of x            weights, a channel a lane

Where a result is NaN or infinite, which any such sample or weight and any overflow leads to, as every output of a block
depends on all of its samples, the pair of blocks is summed again, tap by tap: what is not finite stays in its windows.

Accuracy: within 32 u times the sum over channels of max|x| sum|w|, u = eps / 2, the maximum over the pair of blocks.
Like terms of many channels, whose rounding errors are alike too, come to 31 (tuning.PRODUCT_CHUNK).  Else measured: up
to 8, on 10^6 outputs each of K 16 to 12000, 1 to 512 channels: 0.04 to 1.3 for normal data, 3 to 8 for positive data,
0.04 to 2 for normal data of which the magnitudes range over 10^6.  In units of u * sum|x||w| of each output, that is up
to 6 and 15 for the first two; up to 375 for the last, where a large sample is in the block but not in the window.

Times of direct or depthwise over those of this, one thread, weights prepared, and in brackets with their preparation:
8 x 120000 K 4096 30.8 (29), 250000 K 129 2.6 (2.5), 10^6 K 50 1.16, 1 -> 80 K 251 L 3200 2.4 (1.7), 768 depthwise
K 768 4.8 (3.2), 768 -> 768 in 16 groups K 128 L 1500 8.7 (2.9), 15 -> 15 K 51 dilation 8 2.1 (1.9), 32 -> 32 K 40 L 500
4.2 (4.1), 512 -> 512 K 32 L 1000 2.9 (1.4).  It is even at K 40 for one channel, 30 to 60 for depthwise, 6 to 10 for
dense layers of 48 channels or more.  scipy.fft in NumPy takes 3 to 6 times as long.  Emerald Rapids, 2026-11-23.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from .. import machine, memory, tuning
from ..compile import jit_disabled
from ..cost import Counts, price, seconds, units
from ..decoding import readable
from ..epilogue import activation_of
from ..geometry import MODE_CODES, parts_for, record_of, round_up
from ..packing import flat
from ..problem import Conv1dProblem
from ..simd.complex_tiles import most_complex_rows
from ..simd.tiles import CHANNELS, PAIRED_CHANNELS, TIMES
from ..threads import with_helpers
from ..transform import (
    mirrored_places,
    passes,
    pick,
    product_elementwise,
    product_outer,
    transform,
    transpose,
    twiddles,
)
from .fft_blocks import STEPS_AT_ONCE, transform_weights

#: The bound of the error: see the docstring.
UNITS = 32.0

#: The fields of the record, all of them int64.
FIELDS = (
    "groups C R channels C_out L_out K stride dilation pad_left mode activation "  # C, R: channels of a group
    "slots shift phases parts part_taps n hop pairs "  # the dense correlations, and how time is cut
    "lanes lanes_along C_chunks block_pairs pair_blocks row_blocks block_rows "  # what stands in the lanes; an item
    "items "  # of one sample of the batch, at most: those of several may share the lanes
    "row compact spectra results packed scratch "  # the buffers
    "steps frequencies a_frequency a_place a_row a_imaginary "  # the product: transform.py
    "b_frequency b_place b_panel y_row panels tile_rows "
    "w_group w_rows w_chunks w_blocks size "  # the spectra of the weights
    "passes mirrored twiddles transform transpose pick product"  # addresses of tables and of machine code
).split()


def refuse(problem: Conv1dProblem) -> str | None:
    """Why the transforms can't compute `problem`, or None."""
    if jit_disabled():
        return "NUMBA_DISABLE_JIT is set, and the transforms have no Python form"
    if problem.compute_dtype not in (np.float32, np.float64):
        return f"the transforms are of float32 and float64, not {problem.compute_dtype}"
    lanes, itemsize = machine.lanes(problem.compute_dtype), problem.compute_dtype.itemsize
    cut = best_cut(problem) if problem.L_out else next(cuts(problem))  # the first has the fewest steps
    buffers = {TIMES: problem.C_in_g, CHANNELS: -(-problem.C_in_g // lanes), PAIRED_CHANNELS: 1}[cut.lanes_along]
    steps = cut.steps(problem)
    if steps > tuning.MOST_PRODUCT_STEPS:
        most = tuning.MOST_PRODUCT_STEPS
        return f"of the {steps:,} channels and parts of kernels that are summed, it is accurate for up to {most:,}"
    least = buffers * cut.slots * cut.parts * 2 * cut.n * lanes * itemsize
    if least > tuning.LARGEST_SAMPLES_BYTES and problem.L_out:
        return f"the spectra of all taps and channels of the least block take {least:,} bytes"
    return None


def geometry(problem: Conv1dProblem, prepared: bool) -> np.ndarray:
    """The record of `problem`, cut into the blocks that cost least."""
    p, dtype, cut = problem, problem.compute_dtype, best_cut(problem)
    lanes, itemsize, n = machine.lanes(dtype), dtype.itemsize, cut.n
    phases, pairs, inner = min(cut.shift, p.L_out), cut.pairs(p), cut.slots * cut.parts
    paired = cut.lanes_along == PAIRED_CHANNELS
    groups, C, R = (-(-p.C_in // lanes), lanes, p.C_out_g) if paired else (p.groups, p.C_in_g, p.C_out_g)
    steps = cut.steps(p)
    all_seconds = p.N * seconds(price("fft", cut_counts(p, cut)))
    frequencies, vector = n // 2 + 1, 2 * lanes  # a vector of complex numbers
    compact = (n + 1) * vector  # one place more: spectra a power of two apart would share the sets of the cache
    values = {
        "groups": groups, "C": C, "R": R, "channels": p.C_in, "C_out": p.C_out, "L_out": p.L_out, "K": p.K,
        "stride": p.stride, "dilation": p.dilation, "pad_left": p.pad_left, "mode": MODE_CODES[p.padding_mode],
        "activation": activation_of(p),
        "slots": cut.slots, "shift": cut.shift, "phases": phases, "parts": cut.parts, "part_taps": cut.part_taps,
        "n": n, "hop": cut.hop, "pairs": pairs, "lanes": lanes, "lanes_along": cut.lanes_along,
        "row": round_up(cut.hop + n, lanes) + lanes, "compact": compact,
        "steps": steps, "frequencies": frequencies, "tile_rows": most_complex_rows(),
        "passes": passes(n, machine.cache_bytes(1) // 2 // (vector * itemsize)).ctypes.data,
        "mirrored": mirrored_places(n).ctypes.data, "twiddles": twiddles(n, dtype).ctypes.data,
        "transform": transform.address(dtype), "transpose": transpose.address(dtype), "pick": pick.address(dtype),
        "product": (product_elementwise if paired else product_outer).address(dtype),
    }  # fmt: skip
    if cut.lanes_along == TIMES:
        blocks = p.groups * -(-p.N * phases * pairs // lanes)
        rows = max(1, min(R, machine.cache_bytes(2) // 4 // (compact * itemsize)))
        values |= {
            "C_chunks": 1, "block_pairs": 1, "pair_blocks": 1, "block_rows": rows,
            "row_blocks": parts_for(blocks, all_seconds, R),
            "spectra": steps * compact, "results": rows * compact,
            "a_frequency": R * steps * 2, "a_place": 0, "a_row": steps * 2, "a_imaginary": 1,
            "b_frequency": 0, "b_place": vector, "b_panel": 0, "y_row": compact, "panels": 1,
            "w_group": frequencies * R * steps * 2, "w_rows": steps * 2,
        }  # fmt: skip
    else:
        panels, chunks = (R, 1) if paired else (-(-R // lanes), -(-C // lanes))
        pair_blocks = -(-pairs // pairs_together(p, cut))
        if panels < machine.threads():  # too few channels to cut, but pairs
            shares = parts_for(p.N * groups * phases * pair_blocks, 0, machine.threads())
            pair_blocks = min(pair_blocks * shares, pairs)
        blocks = p.N * groups * phases * pair_blocks
        block_pairs = -(-pairs // pair_blocks)
        values |= {
            "C_chunks": chunks, "block_pairs": block_pairs, "pair_blocks": pair_blocks,
            "row_blocks": parts_for(blocks, all_seconds, panels), "block_rows": panels,
            "spectra": block_pairs * chunks * inner * compact, "results": block_pairs * panels * compact,
            "a_frequency": 0, "a_place": vector, "a_row": chunks * inner * compact, "a_imaginary": lanes,
            "b_frequency": steps * vector * (1 if paired else panels), "b_place": 0,
            "b_panel": steps * vector * (frequencies if paired else 1), "y_row": panels * compact, "panels": panels,
            "w_group": frequencies * panels * steps * vector,
        }  # fmt: skip
        values["w_rows"] = values["b_panel"]
    inputs = -(-phases * pairs // lanes) if cut.lanes_along == TIMES else phases * values["pair_blocks"]
    values["items"] = groups * inputs * values["row_blocks"]
    values["size"] = groups * values["w_group"]
    values["w_chunks"] = R if paired else -(-R // lanes)
    values["w_blocks"] = -(-steps // STEPS_AT_ONCE)
    values["packed"] = (lanes + 2) * values["row"] + values["spectra"] + values["results"]
    values["scratch"] = values["packed"] * itemsize
    return record_of({name: values[name] for name in FIELDS})


class Cut(NamedTuple):
    """How a problem becomes transforms."""

    lanes_along: int
    slots: int
    shift: int
    taps: int  # of a slot
    parts: int
    n: int
    hop: int

    @property
    def part_taps(self) -> int:
        return -(-self.taps // self.parts)

    def steps(self, problem: Conv1dProblem) -> int:
        """Spectra that are multiplied and summed for each output channel."""
        return self.slots * self.parts * (1 if self.lanes_along == PAIRED_CHANNELS else problem.C_in_g)

    def pairs(self, problem: Conv1dProblem) -> int:
        """Pairs of blocks of a row, in the longest phase."""
        return -(-problem.L_out // (self.shift * 2 * self.hop))


@lru_cache(maxsize=1024)
def best_cut(problem: Conv1dProblem) -> Cut:
    """The cut that costs least, for any batch: the bits of a row may not depend on how many there are."""
    return min(cuts(problem), key=lambda cut: price("fft", cut_counts(problem, cut)))


def cuts(problem: Conv1dProblem) -> Iterator[Cut]:
    """Every cut worth a thought."""
    p = problem
    lanes = machine.lanes(p.compute_dtype)
    slots = p.stride // math.gcd(p.stride, p.dilation)
    slots, shift = (p.K, 1) if slots >= p.K else (slots, slots * p.dilation // p.stride)
    taps = -(-p.K // slots)
    least_parts = -(-taps // tuning.LONGEST_PART)
    for parts in range(least_parts, least_parts + 4):
        part_taps = -(-taps // parts)
        n = max(1 << (part_taps - 1).bit_length(), round_up(lanes, 16))
        while n <= max(16 * part_taps, 1024) and n <= 2 * tuning.LONGEST_PART:
            hop = n - part_taps + 1
            hop -= hop % lanes if hop > 4 * lanes else 0  # stores that are aligned to a vector
            yield Cut(lanes_of(p), slots, shift, taps, parts, n, hop)
            n *= 2


def lanes_of(problem: Conv1dProblem) -> int:
    """What stands in the lanes: channels, unless most lanes would be empty."""
    p, lanes = problem, machine.lanes(problem.compute_dtype)
    if p.C_in_g == 1 and p.groups > 1:
        return PAIRED_CHANNELS if p.C_in >= tuning.FULL_LANES * round_up(p.C_in, lanes) else TIMES
    room = round_up(p.C_in_g, lanes) + round_up(p.C_out_g, lanes)
    return CHANNELS if p.C_in_g + p.C_out_g >= tuning.FULL_LANES * room else TIMES


class Amounts(NamedTuple):
    """How often a row of the batch does what costs time, by vectors of lanes."""

    forward: int  # transforms
    back: int
    products: int  # complex, of one frequency
    tiles: int
    weights: int  # numbers of the spectra of the weights
    readings: int  # of them


def amounts(problem: Conv1dProblem, cut: Cut) -> Amounts:
    """For any batch: the bits of a row may not depend on how many there are."""
    p, n, lanes = problem, cut.n, machine.lanes(problem.compute_dtype)
    inner, pairs, phases = cut.slots * cut.parts, cut.pairs(problem), min(cut.shift, problem.L_out)
    if cut.lanes_along == TIMES:
        chunks = -(-phases * pairs // lanes)
        rows = p.groups * -(-p.C_out_g // most_complex_rows())
        weights = p.groups * -(-p.C_out_g // lanes) * p.C_in_g * inner * n
        products = chunks * p.C_out * p.C_in_g * inner * n
        return Amounts(chunks * p.C_in * inner, chunks * p.C_out, products, chunks * rows * n, weights, 0)
    blocks = -(-pairs // pairs_together(p, cut))
    rows = phases * blocks * -(-pairs // (blocks * most_complex_rows()))
    if cut.lanes_along == PAIRED_CHANNELS:
        chunks = -(-p.C_in // lanes)
        outputs = chunks * p.C_out_g
        forward = chunks * inner
    else:
        outputs = p.groups * -(-p.C_out_g // lanes)
        forward = p.groups * -(-p.C_in_g // lanes) * inner
    pairs, weights = pairs * phases, outputs * cut.steps(p) * n
    return Amounts(pairs * forward, pairs * outputs, pairs * weights, rows * outputs * n, weights, phases * blocks)


def pairs_together(problem: Conv1dProblem, cut: Cut) -> int:
    """Pairs of blocks whose spectra stay in L2; more, where weights that L2 can't hold would be read once more."""
    p, itemsize = problem, problem.compute_dtype.itemsize
    lanes, inner = machine.lanes(p.compute_dtype), cut.slots * cut.parts
    most, vectors = machine.cache_bytes(2) * 3 // 4, inner + p.C_out_g
    if cut.lanes_along == CHANNELS:
        vectors = -(-p.C_in_g // lanes) * inner + -(-p.C_out_g // lanes)
        weights = -(-p.C_out_g // lanes) * p.C_in_g * inner * cut.n * lanes * itemsize
        most = max(most, min(weights, 8 * machine.cache_bytes(2)))
    return max(1, most // (vectors * 2 * cut.n * lanes * itemsize))


def uncached_bytes(problem: Conv1dProblem, vectors: int) -> int:
    """Bytes of so many vectors of weights that the cache can't hold."""
    size = vectors * machine.lanes(problem.compute_dtype) * problem.compute_dtype.itemsize
    return max(size - 4 * machine.cache_bytes(2), 0)


def cut_counts(problem: Conv1dProblem, cut: Cut) -> Counts:
    """What a row of the batch does by this cut, see cost.py."""
    p, c, lanes = problem, amounts(problem, cut), machine.lanes(problem.compute_dtype)
    neighbours = p.stride * cut.shift == 1 and (not p.channels_last or p.C_in == p.C_out == 1)
    samples, outputs = lanes * c.forward * (cut.n + cut.hop), lanes * c.back * 2 * cut.hop
    return {
        "call": 1,
        "pass": (c.forward + c.back) * cut.n * math.log2(cut.n),
        "row": (c.forward + c.back) * lanes,
        "sample": samples,
        "output": outputs,
        "strided": 0 if neighbours else samples + outputs,
        "product": c.products,
        "tile": c.tiles,
        "read byte": c.readings * uncached_bytes(p, c.weights),
        "written byte": max(p.C_out * p.L_out * p.compute_dtype.itemsize - machine.cache_bytes(2), 0),
    }


def counts(problem: Conv1dProblem, prepared: bool) -> tuple[Counts, Counts]:
    """What it does, see cost.py."""
    cut = best_cut(problem)
    weights = amounts(problem, cut).weights
    return cut_counts(problem, cut), {
        "preparation": 1,
        "prepared weight": weights,
        "prepared byte": uncached_bytes(problem, weights),
    }


def preparation(problem: Conv1dProblem, geometry: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The function that turns w into the weights as the driver reads them."""
    return partial(transformed, problem=problem, geometry=geometry)


def transformed(w: np.ndarray, problem: Conv1dProblem, geometry: np.ndarray) -> np.ndarray:
    """The spectra of the weights, and behind them the weights themselves.

    Spectra are conjugated, as a correlation wants them, over n, and stand by frequency f up to n/2:

        TIMES              (groups, f, R, steps, 2)                        a step is (channel, slot, part)
        CHANNELS           (groups, f, R / lanes, steps, 2, lanes)         a step is (slot, part, channel)
        PAIRED_CHANNELS    (C_in / lanes, R, f, steps, 2, lanes)           a step is (slot, part)
    """
    p, size = problem, int(geometry["size"][0])
    prepared = memory.empty((size + w.size,), p.compute_dtype)
    prepared[size:] = flat(w, p.compute_dtype)
    w, nothing = readable(w), prepared[:0]
    _, preparing = units("fft", counts, problem, prepared=True)
    items = math.prod(int(geometry[name][0]) for name in ("groups", "w_chunks", "w_blocks"))
    transform = transform_weights.compiled(w.dtype, p.compute_dtype, geometry.dtype)
    arrays = w, nothing, nothing, prepared[None, None]
    with_helpers(seconds(preparing), items, lambda team: transform(*arrays, geometry, 0, items, *team))
    return prepared
