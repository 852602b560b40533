"""Vectors from one place to another, whole or with their lanes in another order: copied, zipped, transposed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..tuning import MOST_ZIPPED
from .vectors import I32, I64, Vectors, times


@intrinsic
def copy_vector(typingctx, source, at, target, to):  # type: ignore[no-untyped-def]
    """target[to + j] = source[at + j] for as many j as a vector has lanes."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        source_pointer, at, target_pointer, to = arguments
        simd = Vectors(builder, source.dtype)
        simd.store(simd.load(source_pointer, at), target_pointer, to)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), codegen


@intrinsic
def copy_lanes(typingctx, source, at, target, to, count):  # type: ignore[no-untyped-def]
    """target[to + j] = source[at + j] for j < count, and for no more than a vector has lanes."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        source_pointer, at, target_pointer, to, count = arguments
        simd = Vectors(builder, source.dtype)
        mask = simd.first_lanes(count)
        simd.store_masked(simd.load_masked(source_pointer, at, mask), target_pointer, to, mask)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp, types.intp), codegen


def _shuffled(simd: Vectors, a: ir.Value, b: ir.Value, lanes: list[int]) -> ir.Value:
    """The lanes of a, and after them those of b, that `lanes` names."""
    return simd.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, simd.lanes), lanes))


def _chosen(simd: Vectors, vectors: list[ir.Value], places: list[tuple[int, int]]) -> ir.Value:
    """The lanes of some vectors that `places` names, as (vector, lane)."""
    result = vectors[0]
    for i, vector in enumerate(vectors[1:], start=1):
        order = [simd.lanes + lane if v == i else j if i > 1 else lane for j, (v, lane) in enumerate(places)]
        result = _shuffled(simd, result, vector, order)
    return result


def _unzipped(simd: Vectors, vectors: list[ir.Value]) -> list[ir.Value]:
    """Of n vectors, one after the other, every n-th lane from the first on, from the second on, ..."""
    lanes, count = range(simd.lanes), len(vectors)
    if count % 2:
        places = [[divmod(q * count + r, simd.lanes) for q in lanes] for r in range(count)]
        return vectors if count == 1 else [_chosen(simd, vectors, row) for row in places]
    pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
    halves = [
        _unzipped(simd, [_shuffled(simd, a, b, list(range(odd, 2 * simd.lanes, 2))) for a, b in pairs])
        for odd in range(2)
    ]
    return [vector for pair in zip(*halves, strict=True) for vector in pair]


def _zipped(simd: Vectors, vectors: list[ir.Value]) -> list[ir.Value]:
    """The reverse."""
    lanes, count = range(simd.lanes), len(vectors)
    if count % 2:
        places = [[divmod(i * simd.lanes + j, count)[::-1] for j in lanes] for i in range(count)]
        return vectors if count == 1 else [_chosen(simd, vectors, row) for row in places]
    even, odd = _zipped(simd, vectors[::2]), _zipped(simd, vectors[1::2])
    orders = [
        [lane + half for lane in range(at, at + simd.lanes // 2) for half in (0, simd.lanes)]
        for at in (0, simd.lanes // 2)
    ]
    return [_shuffled(simd, a, b, order) for a, b in zip(even, odd, strict=True) for order in orders]


def _for_few(builder: ir.IRBuilder, rows: ir.Value, emit: Callable[[int], None]) -> None:
    """Code for each number of rows from 2 to MOST_ZIPPED; for others nothing is done."""
    end = builder.append_basic_block("end")
    switch = builder.switch(rows, end)
    for count in range(2, MOST_ZIPPED + 1):
        block = builder.append_basic_block(f"rows_{count}")
        switch.add_case(I64(count), block)
        builder.position_at_end(block)
        emit(count)
        builder.branch(end)
    builder.position_at_end(end)


@intrinsic
def unzip_rows(typingctx, source, at, target, to, row, rows):  # type: ignore[no-untyped-def]
    """target[to + r * row + q] = source[at + q * rows + r] for r < rows and as many q as a vector has lanes."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        source_, at, target_, to, row, rows = arguments
        simd = Vectors(builder, source.dtype)

        def emit(count: int) -> None:
            vectors = [simd.load(source_, builder.add(at, I64(i * simd.lanes))) for i in range(count)]
            for r, vector in enumerate(_unzipped(simd, vectors)):
                simd.store(vector, target_, builder.add(to, times(builder, row, r)))

        _for_few(builder, rows, emit)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp, types.intp, types.intp), codegen


@intrinsic
def zip_rows(typingctx, source, at, row, target, to, rows):  # type: ignore[no-untyped-def]
    """The reverse: target[to + q * rows + r] = source[at + r * row + q]."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        source_, at, row, target_, to, rows = arguments
        simd = Vectors(builder, source.dtype)

        def emit(count: int) -> None:
            vectors = [simd.load(source_, builder.add(at, times(builder, row, r))) for r in range(count)]
            for i, vector in enumerate(_zipped(simd, vectors)):
                simd.store(vector, target_, builder.add(to, I64(i * simd.lanes)))

        _for_few(builder, rows, emit)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.intp, types.intp), codegen


def _transposed(simd: Vectors, rows: list[ir.Value]) -> list[ir.Value]:
    """The columns of as many vectors as each has lanes."""
    low = [k // 2 + simd.lanes * (k % 2) for k in range(simd.lanes)]  # the first halves of two vectors, interleaved
    half = simd.lanes // 2
    for _ in range(simd.lanes.bit_length() - 1):
        pairs = zip(rows[:half], rows[half:], strict=True)
        rows = [_shuffled(simd, *pair, [k + d for k in low]) for pair in pairs for d in (0, half)]
    return rows


@intrinsic
def transpose_tile(typingctx, source, i, source_row, target, j, target_row):  # type: ignore[no-untyped-def]
    """target[j + c * target_row + r] = source[i + r * source_row + c] for r, c < lanes."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        source_, i, source_row, target_, j, target_row = arguments
        simd = Vectors(builder, source.dtype)
        rows = [simd.load(source_, builder.add(i, times(builder, source_row, r))) for r in range(simd.lanes)]
        for c, row in enumerate(_transposed(simd, rows)):
            simd.store(row, target_, builder.add(j, times(builder, target_row, c)))
        return context.get_dummy_value()

    n = types.intp
    return types.void(source, n, n, target, n, n), codegen


@intrinsic
def transpose_part(typingctx, source, i, source_row, rows, target, j, target_row, columns):  # type: ignore[no-untyped-def]
    """The same for r < rows and c < columns, if these are less than the lanes; nothing else is read or written."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        source_, i, source_row, rows, target_, j, target_row, columns = arguments
        simd = Vectors(builder, source.dtype)
        read, written = simd.first_lanes(columns), simd.first_lanes(rows)
        none = ir.Constant(read.type, None)
        vectors = []
        for r in range(simd.lanes):
            mask = builder.select(builder.icmp_signed("<", I64(r), rows), read, none)
            vectors.append(simd.load_masked(source_, builder.add(i, times(builder, source_row, r)), mask))
        for c, vector in enumerate(_transposed(simd, vectors)):
            with builder.if_then(builder.icmp_signed("<", I64(c), columns)):
                simd.store_masked(vector, target_, builder.add(j, times(builder, target_row, c)), written)
        return context.get_dummy_value()

    n = types.intp
    return types.void(source, n, n, n, target, n, n, n), codegen
