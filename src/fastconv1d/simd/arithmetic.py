"""What is computed with whole vectors apart from the tile: matrices times them, butterflies, whether all is finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .. import machine
from .vectors import I64, Vectors, times

Matrix = Sequence[Sequence[Fraction]]

#: The real and the imaginary parts of a vector of complex numbers.
_Complex = tuple[ir.Value, ir.Value]


def _weighted_sum(simd: Vectors, terms: list[tuple[Fraction, ir.Value]]) -> ir.Value:
    """The sum of coefficient * vector, without those that are 0, in their order but for a first one of 1."""
    terms = sorted((term for term in terms if term[0] != 0), key=lambda term: term[0] != 1)
    total = None
    for factor, value in terms:
        splat = ir.Constant(simd.type, [float(factor)] * simd.lanes)
        if total is None:
            total = value if factor == 1 else simd.builder.fmul(splat, value)
        elif abs(factor) == 1:
            total = (simd.builder.fadd if factor == 1 else simd.builder.fsub)(total, value)
        else:
            total = simd.multiply_add(splat, value, total)
    return simd.zero if total is None else total


def _products(simd: Vectors, matrix: Matrix, vectors: list[ir.Value]) -> list[ir.Value]:
    """matrix @ vectors; two rows that differ by signs alone share the sum and the difference of two halves."""
    results: dict[int, ir.Value] = {}
    for j, row in enumerate(matrix):
        if j in results:
            continue
        results[j] = _weighted_sum(simd, list(zip(row, vectors, strict=True)))
        for k in range(j + 1, len(matrix)):
            alike = [a == b for a, b in zip(row, matrix[k], strict=True)]
            if k not in results and not all(alike) and [abs(a) for a in row] == [abs(b) for b in matrix[k]]:
                terms = list(zip(row, vectors, strict=True))
                half = _weighted_sum(simd, [term for term, same in zip(terms, alike, strict=True) if same])
                rest = _weighted_sum(simd, [term for term, same in zip(terms, alike, strict=True) if not same])
                results[j], results[k] = simd.builder.fadd(half, rest), simd.builder.fsub(half, rest)
                break
    return [results[j] for j in range(len(matrix))]


def products_of(matrices: Callable[[], dict[int, Matrix]]) -> Callable[..., None]:
    """An intrinsic: target[j * step + x] = sum over i of matrix[j][i] * source[offsets[i] + x] for x < count.

    `which` names the matrix; each is unrolled, its coefficients are constants.  They are made when the intrinsic is
    compiled, not at import.  Nothing past `count` is touched.
    """

    def products(typingctx, which, source, offsets, target, step, count):  # type: ignore[no-untyped-def]
        dtype = source.dtype

        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            which, source, offsets, target, step, count = arguments
            lanes = machine.lanes(np.dtype(str(dtype)))
            end = builder.append_basic_block("end")
            switch = builder.switch(which, end)
            for name, matrix in matrices().items():
                block = builder.append_basic_block(f"matrix_{name}")
                switch.add_case(I64(name), block)
                builder.position_at_end(block)
                simd = Vectors(builder, dtype)
                rows = [
                    builder.gep(source, [builder.load(builder.gep(offsets, [I64(i)]))]) for i in range(len(matrix[0]))
                ]
                targets = [builder.gep(target, [times(builder, step, j)]) for j in range(len(matrix))]
                whole = builder.and_(count, I64(-lanes))
                with cgutils.for_range_slice(builder, I64(0), whole, I64(lanes), inc=True) as (x, _):
                    results = _products(simd, matrix, [simd.load(row, x) for row in rows])
                    for place, result in zip(targets, results, strict=True):
                        simd.store(result, place, x)
                with builder.if_then(builder.icmp_signed("<", whole, count)):
                    mask = simd.first_lanes(builder.sub(count, whole))
                    results = _products(simd, matrix, [simd.load_masked(row, whole, mask) for row in rows])
                    for place, result in zip(targets, results, strict=True):
                        simd.store_masked(result, place, whole, mask)
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return types.void(types.intp, source, offsets, target, types.intp, types.intp), codegen

    return intrinsic(products)  # type: ignore[no-any-return]


def _dft(simd: Vectors, z: list[_Complex], forward: bool) -> list[_Complex]:
    """The Fourier transform, not normalised, of 1, 2, 4 or 8 complex vectors."""
    if len(z) == 1:
        return z
    b, half = simd.builder, len(z) // 2
    pairs = [
        (even, _turn(simd, odd, 8 * k // len(z), forward))
        for k, (even, odd) in enumerate(zip(_dft(simd, z[::2], forward), _dft(simd, z[1::2], forward), strict=True))
    ]
    sums = [(b.fadd(e[0], o[0]), b.fadd(e[1], o[1])) for e, o in pairs]
    return sums + [(b.fsub(e[0], o[0]), b.fsub(e[1], o[1])) for e, o in pairs[:half]]


def _turn(simd: Vectors, z: _Complex, eighths: int, forward: bool) -> _Complex:
    """`z` turned by so many eighths of a full turn, clockwise if `forward`."""
    b, (re, im) = simd.builder, z
    if eighths >= 2:
        turned = (im, b.fneg(re)) if forward else (b.fneg(im), re)
        return _turn(simd, turned, eighths - 2, forward)
    if eighths == 0:
        return z
    root = ir.Constant(simd.type, [math.sqrt(0.5)] * simd.lanes)
    turned = (b.fadd(re, im), b.fsub(im, re)) if forward else (b.fsub(re, im), b.fadd(re, im))
    return b.fmul(root, turned[0]), b.fmul(root, turned[1])


def _twiddled(simd: Vectors, z: _Complex, twiddle: ir.Value, forward: bool) -> _Complex:
    """`z` times the complex number at `twiddle`, or times its conjugate for the way back."""
    b, (re, im) = simd.builder, z
    cosine = simd.splat(b.load(twiddle))
    sine = simd.splat(b.load(b.gep(twiddle, [I64(1)])))
    back = b.fneg(sine)
    ahead, aback = (back, sine) if forward else (sine, back)
    return simd.multiply_add(re, cosine, b.fmul(im, ahead)), simd.multiply_add(im, cosine, b.fmul(re, aback))


def butterfly(radix: int, *, forward: bool, twiddled: bool) -> Callable[..., None]:
    """The intrinsic of one butterfly on `radix` complex vectors, `leg` elements apart, each real before imaginary.

    Forward: the transform of the legs, then all legs but the first times their twiddles, (cosine, sine) each.  Back:
    the other way round, with conjugates.
    """

    def run(typingctx, data, at, leg, twiddles, entry):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            base, at, leg, table, entry = arguments
            simd = Vectors(builder, data.dtype)
            places = [builder.add(at, times(builder, leg, k)) for k in range(radix)]
            z = [(simd.load(base, i), simd.load(base, builder.add(i, I64(simd.lanes)))) for i in places]

            def twiddle(z: list[_Complex]) -> list[_Complex]:
                if not twiddled:
                    return z
                entries = [builder.gep(table, [builder.add(entry, I64(2 * k))]) for k in range(radix - 1)]
                return [z[0], *(_twiddled(simd, leg, at, forward) for leg, at in zip(z[1:], entries, strict=True))]

            z = twiddle(_dft(simd, z, forward)) if forward else _dft(simd, twiddle(z), forward)
            for (re, im), i in zip(z, places, strict=True):
                simd.store(re, base, i)
                simd.store(im, base, builder.add(i, I64(simd.lanes)))
            return context.get_dummy_value()

        n = types.intp
        return types.void(data, n, n, twiddles, n), codegen

    return intrinsic(run)  # type: ignore[no-any-return]


@intrinsic
def all_finite(typingctx, pointer, at, count):  # type: ignore[no-untyped-def]
    """Whether no number of pointer[at : at + count] is NaN or infinite."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        pointer, at, count = arguments
        data, simd = builder.gep(pointer, [at]), Vectors(builder, signature.args[0].dtype)
        total = cgutils.alloca_once_value(builder, simd.zero)

        def add(vector: ir.Value) -> None:  # 0 times what is not finite is NaN, and stays
            builder.store(simd.multiply_add(vector, simd.zero, builder.load(total)), total)

        whole = builder.and_(count, I64(-simd.lanes))
        with cgutils.for_range_slice(builder, I64(0), whole, I64(simd.lanes), inc=True) as (index, _):
            add(simd.load(data, index))
        with builder.if_then(builder.icmp_signed("<", whole, count)):
            add(simd.load_masked(data, whole, simd.first_lanes(builder.sub(count, whole))))
        bad = builder.bitcast(builder.fcmp_unordered("uno", builder.load(total), simd.zero), ir.IntType(simd.lanes))
        return builder.icmp_unsigned("==", bad, ir.Constant(bad.type, 0))

    return types.boolean(pointer, types.intp, types.intp), codegen
