"""Fourier transforms of a fixed size, as many side by side as a vector has lanes, and products of their spectra.

A buffer of n complex numbers a lane holds ``[place][real, imaginary][lane]``.  Forward passes decimate in frequency and
passes back in time, so that nothing is ever put in order: frequency f stands at `places(n)[f]` of a spectrum, and the
product of spectra does not mind.  Neither way is normalised.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from .compile import kernel, standalone
from .simd.arithmetic import butterfly
from .simd.complex_tiles import complex_tile_elementwise, complex_tile_outer
from .simd.moves import transpose_tile
from .sweep import even, pieces
from .tuning import PRODUCT_CHUNK


@cache
def radices(n: int) -> tuple[int, ...]:
    """The radix of each pass of a transform of `n`, a power of two from 4 on: eights, and fours for the rest."""
    bits = n.bit_length() - 1
    fours = (-bits) % 3
    return (8,) * ((bits - 2 * fours) // 3) + (4,) * fours


@cache
def places(n: int) -> np.ndarray:
    """Where each frequency stands in a spectrum of `n`."""
    frequency, place, size = np.arange(n), np.zeros(n, np.int64), n
    for radix in radices(n):
        size //= radix
        place += frequency % radix * size
        frequency = frequency // radix
    return place


@cache
def mirrored_places(n: int) -> np.ndarray:
    """The places of each frequency from 0 to n/2 and of its mirror, in the order of the first: (n/2 + 1, 2)."""
    half = np.arange(n // 2 + 1)
    both = places(n)[np.stack([half, -half % n], -1)]
    return np.ascontiguousarray(both[np.argsort(both[:, 0])])


@cache
def passes(n: int, near: int) -> np.ndarray:
    """What `transform` reads: how many passes, how many over more than `near` places; of each radix, size, twiddles."""
    rows, size, at = [], n, 0
    for radix in radices(n):
        rows.append((radix, size, at))
        at += 2 * (radix - 1) * (size // radix)
        size //= radix
    far = sum(size > near for _, size, _ in rows)
    return np.array([len(rows), far, *(number for row in rows for number in row)], np.int64)


@cache
def twiddles(n: int, dtype: np.dtype) -> np.ndarray:
    """exp(-2 pi i j k / size) of each pass, for j and each leg k > 0: (cosine, sine), rounded once from float64."""
    rows, size = [], n
    for radix in radices(n):
        angle = -2 * np.pi / size * (np.arange(size // radix)[:, None] * np.arange(1, radix))
        rows.append(np.stack([np.cos(angle), np.sin(angle)], -1).reshape(-1))
        size //= radix
    return np.concatenate(rows).astype(dtype)


def _pass(radix, forward):
    """One pass over one block."""
    twiddled = butterfly(radix, forward=forward, twiddled=True)
    plain = butterfly(radix, forward=forward, twiddled=False)

    def run(data, at, size, twiddles, entry, stride):
        leg = size // radix
        if leg == 1:  # all twiddles are 1
            plain(data, at, stride, twiddles, entry)
            return
        for j in range(leg):
            twiddled(data, at + j * stride, leg * stride, twiddles, entry + 2 * (radix - 1) * j)

    return kernel(run)


forward_8, forward_4 = _pass(8, True), _pass(4, True)
back_8, back_4 = _pass(8, False), _pass(4, False)


@kernel
def one_pass(data, twiddles, table, index, begin, end, stride, forward):
    """Pass `index` over the places `begin` to `end`."""
    radix, size, entry = table[2 + 3 * index], table[3 + 3 * index], table[4 + 3 * index]
    for at in range(begin * stride, end * stride, size * stride):
        if radix == 8 and forward:
            forward_8(data, at, size, twiddles, entry, stride)
        elif radix == 8:
            back_8(data, at, size, twiddles, entry, stride)
        elif forward:
            forward_4(data, at, size, twiddles, entry, stride)
        else:
            back_4(data, at, size, twiddles, entry, stride)


@standalone(pointers=2, integers=3)
def transform(data, twiddles, table, n, lanes, forward):
    """Transform the `n` places of `data`, forward or back; `table` is that of `passes`.

    Passes over what does not fit L1 go over all of it; the others, one part that fits after the other.
    """
    count, far = table[0], table[1]
    part = table[3 + 3 * far] if far < count else 1
    for half in range(2):
        first, last, size = (0, far, n) if (half == 0) == (forward != 0) else (far, count, part)
        for begin in range(0, n, size):
            for i in range(first, last):
                index = i if forward else first + last - 1 - i
                one_pass(data, twiddles, table, index, begin, begin + size, 2 * lanes, forward)


@standalone(pointers=2, integers=5)
def transpose(source, target, table, tiles, source_tile, source_row, target_tile, target_row):
    """Transpose tiles of lanes x lanes."""
    for i in range(tiles):
        transpose_tile(source, i * source_tile, source_row, target, i * target_tile, target_row)


@standalone(pointers=2, integers=10)
def pick(
    spectra, target, mirrored, frequencies, n, lanes, used, count,
    spectrum_row, f_step, step_step, imaginary_step, lane_step,
):  # fmt: skip
    """target[f, step] = conjugates of the spectra of `count` real sequences, over n, in the `used` lanes.

    Sequences 2 i and 2 i + 1 are the real and the imaginary part of spectrum i: the transform of one is the half of the
    sum, of the other that of the difference of what stands at f and the conjugate of what stands at its mirror.
    """
    scale = type(spectra[0])(0.5) / type(spectra[0])(n)
    for f in range(frequencies):
        place, mirror = mirrored[2 * f] * 2 * lanes, mirrored[2 * f + 1] * 2 * lanes
        for step in range(count):
            base, to = step // 2 * spectrum_row, f * f_step + step * step_step
            re, im = (0, lanes) if step % 2 == 0 else (lanes, 0)
            sign = scale if step % 2 == 0 else -scale
            for lane in range(used):
                other, at = base + mirror + lane, base + place + lane
                target[to + lane * lane_step] = (spectra[at + re] + spectra[other + re]) * scale
                target[to + imaginary_step + lane * lane_step] = (spectra[other + im] - spectra[at + im]) * sign


def _product(tile):
    """A product of `tile`."""

    def product(
        a, b, y, table, mirrored, steps, frequencies, a_frequency, a_place, a_row, a_imaginary,
        b_frequency, b_place, b_panel, y_place, y_panel, y_row, panels, rows, tile_rows, conjugate_a,
    ):  # fmt: skip
        """y[row, panel] = sum over steps of a[row] * b[panel], for each frequency and its mirror.

        `table` has the places of a and b for each step.  One of the operands, the weights, stands by frequencies, up to
        half of them: the others are their conjugates.  The rest stands by places.
        """
        tiles = pieces(rows, tile_rows)
        for f in range(frequencies):
            for other in range(2):
                place = mirrored[2 * f + other]
                if other and place == mirrored[2 * f]:
                    continue  # its own mirror
                b_sign = -1 if other else 1
                y_sign = -1 if other and conjugate_a else 1
                for panel in range(panels):
                    for i in range(tiles):
                        r, r_end = even(rows, tiles, i), even(rows, tiles, i + 1)
                        for s in range(0, steps, PRODUCT_CHUNK):
                            tile(
                                a, a_row, a_imaginary, f * a_frequency + place * a_place + r * a_row,
                                b, b_sign, f * b_frequency + place * b_place + panel * b_panel,
                                table, s, min(s + PRODUCT_CHUNK, steps),
                                y, y_sign, place * y_place + panel * y_panel + r * y_row, y_row, r_end - r, s == 0,
                            )  # fmt: skip

    return product


product_outer = standalone(pointers=3, integers=16, tables=2)(_product(complex_tile_outer))
product_elementwise = standalone(pointers=3, integers=16, tables=2)(_product(complex_tile_elementwise))
