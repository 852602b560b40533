"""The register tile: the only file that speaks LLVM.

Every fast algorithm is a sum of rank-1 updates on a tile of accumulators that never leaves the registers::

              b[ib + tb : + columns]             the vector operand: one load a vector
              ┌──────┬──────┬──────┐
    a[ia+ta]  │      │      │      │
    + a_row   │  tile: rows x      │  +=  a[row] * b[column]        once a step
    + 2 a_row │   vectors x lanes  │
    ...       └──────┴──────┴──────┘
              y[iy + row * y_row + column]       stored or added to once a call

``(ta, tb) = table[step]`` says where a step finds its operands, so one instruction sequence serves dense, dilated,
strided and grouped problems in either layout: only the table differs.  `tile_outer` takes one number of `a` for a row
(a splat), `tile_elementwise` as many as the tile has columns.

What the code generator must know and Numba would not: that rows and vectors are constants (a switch over the shapes of
`tile_shapes`, each unrolled), that no load is aligned to more than an element, and that a partial last vector is
masked.  Rows past `rows` are never read or written; columns past `width` are read from `b` (by `tile_elementwise` from
`a` too) up to the end of their vector, so these carry that much slack, and are never written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic, lower_builtin, type_callable

from . import machine, tuning

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
FLOATS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
SUFFIX = {types.float32: "f32", types.float64: "f64"}

Matrix = Sequence[Sequence[Fraction]]

#: Accumulators of a row beyond this many give no more speed (FMA latency 4, two a cycle) and cost compile time.
MOST_VECTORS = 8
#: Rows of the tallest tile: one vector wide, it has as many accumulators as keep two multiply-adders of latency 4 busy.
MOST_ROWS = 8
#: Rows of the tile where rows and columns fill several: four multiply-adds for each vector of b that is read.
TILE_ROWS = 4


def most_vectors(rows: int, one_chain: bool = False) -> int:
    """Vectors of the widest tile of `rows` rows, for any steps or where all are one chain.

    Sums of chains need a place.  Where there are 32 registers they are there, beside the accumulators, a row of b and a
    splat; with 16 they are on the stack, as half as many accumulators would leave the multiply-adders waiting.
    """
    registers = machine.registers()
    sums = registers == 32 and not (one_chain and rows <= TILE_ROWS)
    return min(MOST_VECTORS, (registers - 1) // (rows * (1 + sums) + 1))


def most_rows(vectors: int, one_chain: bool = False) -> int:
    """Rows of the tallest tile of `vectors` vectors."""
    return max(rows for rows in range(1, MOST_ROWS + 1) if most_vectors(rows, one_chain) >= vectors)


def most_complex_rows() -> int:
    """Rows of the tallest complex tile, which has two accumulators a row and one vector of b, real and imaginary."""
    return 4 if machine.registers() == 16 else 8


def tile_shapes() -> list[tuple[int, int]]:
    """Every (rows, vectors) that has code."""
    return [(rows, v) for rows in range(1, MOST_ROWS + 1) for v in range(1, most_vectors(rows, one_chain=True) + 1)]


def tile_for(rows: int, columns: int, lanes: int, steps: int) -> tuple[int, int]:
    """Rows and columns of the tile that covers a block of at least this size in so many steps.

    A block that one tile is as high as gets the widest of that height; a higher one gets tiles of nearly equal
    height, so a width that all heights have.
    """
    one_chain = steps <= tuning.CHAIN
    vectors = min(-(-columns // lanes), most_vectors(min(rows, TILE_ROWS), one_chain))
    return min(rows, most_rows(vectors, one_chain)), lanes * vectors


@intrinsic
def tallest(typingctx, y, width, steps):  # type: ignore[no-untyped-def]
    """Rows of the tallest tile of `width` columns of y for so many steps."""
    lanes = machine.lanes(np.dtype(str(y.dtype)))

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        _, width, steps = arguments
        one_chain = builder.icmp_signed("<=", steps, I64(tuning.CHAIN))

        def rows_of(vectors: int) -> ir.Value:
            return builder.select(one_chain, *(I64(most_rows(vectors, alone)) for alone in (True, False)))

        rows = rows_of(most_vectors(1))
        for vectors in range(most_vectors(1) - 1, 0, -1):
            rows = builder.select(builder.icmp_signed("<=", width, I64(vectors * lanes)), rows_of(vectors), rows)
        return rows

    return types.intp(y, types.intp, types.intp), codegen


class _Vectors:
    """Loads, stores and arithmetic of one vector type at one place in a function."""

    def __init__(self, builder: ir.IRBuilder, dtype: types.Type):
        self.builder = builder
        self.element = FLOATS[dtype]
        self.lanes = machine.lanes(np.dtype(str(dtype)))
        self.type = ir.VectorType(self.element, self.lanes)
        self.align = np.dtype(str(dtype)).itemsize
        self.suffix = f"v{self.lanes}{SUFFIX[dtype]}"
        self.zero = ir.Constant(self.type, None)

    def _call(self, name: str, result: ir.Type, arguments: list[ir.Value]) -> ir.Value:
        signature = ir.FunctionType(result, [value.type for value in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, signature, name), arguments)

    def pointer(self, base: ir.Value, index: ir.Value) -> ir.Value:
        return self.builder.bitcast(self.builder.gep(base, [index]), self.type.as_pointer())

    def load(self, base: ir.Value, index: ir.Value) -> ir.Value:
        return self.builder.load(self.pointer(base, index), align=self.align)

    def store(self, value: ir.Value, base: ir.Value, index: ir.Value) -> None:
        self.builder.store(value, self.pointer(base, index), align=self.align)

    def prefetch(self, base: ir.Value, index: ir.Value, *, written: bool) -> None:
        """Ask for the line of an element: into L1 if it will be written, into L2 if read; it need not exist."""
        arguments = [self.builder.gep(base, [index]), I32(int(written)), I32(3 if written else 2), I32(1)]
        self._call("llvm.prefetch.p0", ir.VoidType(), arguments)

    def splat(self, value: ir.Value) -> ir.Value:
        undefined = ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined)
        first = self.builder.insert_element(undefined, value, I32(0))
        return self.builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, self.lanes), None))

    def first_lanes(self, count: ir.Value) -> ir.Value:
        """A mask of the first `count` lanes."""
        numbers = ir.Constant(ir.VectorType(I32, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, self.splat(self.builder.trunc(count, I32)))

    def load_masked(self, base: ir.Value, index: ir.Value, mask: ir.Value) -> ir.Value:
        arguments = [self.pointer(base, index), I32(self.align), mask, self.zero]
        return self._call(f"llvm.masked.load.{self.suffix}.p0", self.type, arguments)

    def store_masked(self, value: ir.Value, base: ir.Value, index: ir.Value, mask: ir.Value) -> None:
        arguments = [value, self.pointer(base, index), I32(self.align), mask]
        self._call(f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), arguments)

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        # llvm.fma without the instruction would call fmaf for every lane, 22 times slower; fmuladd then rounds twice.
        name = "fma" if machine.has_fma() else "fmuladd"
        return self._call(f"llvm.{name}.{self.suffix}", self.type, [a, b, c])


#: The real and the imaginary parts of a vector of complex numbers.
_Complex = tuple[ir.Value, ir.Value]


def _times(builder: ir.IRBuilder, value: ir.Value, factor: int) -> ir.Value:
    return builder.mul(value, I64(factor))


def _align_stack(builder: ir.IRBuilder) -> None:
    """Start the stack on a line of the cache, so that no vector that does not fit into the registers straddles two."""
    with builder.goto_entry_block():
        anchor = builder.alloca(ir.VectorType(I8, machine.LINE_BYTES))
        anchor.align = machine.LINE_BYTES
        builder.asm(ir.FunctionType(ir.VoidType(), [anchor.type]), "", "r", [anchor], side_effect=True)


def _emit_tile(
    builder: ir.IRBuilder, dtype: types.Type, rows: int, vectors: int, operands: dict[str, ir.Value], splat: bool
) -> None:
    """The reduction loop of one tile shape, and the store of its result.

    Some accumulators sum a chain of CHAIN steps, others the chains; a shape too large for that takes one chain only.
    What may not be near is asked for ahead: the lines of y `ahead` from here (sweep.py), and those of a for the same
    steps of the rows below, which the next tile reads: 512 -> 1024 K 1 with 96 times takes 0.83 of the time.  Asking
    for the lines of this tile of y, 32 -> 512 K 1, whose result takes 33 MB, took 0.72 and 4 -> 768 K 15 0.79, but
    1 -> 16 K 3, which fits the cache, 1.1.  Asking for a in L1 instead of L2 costs up to 20 % with long kernels.
    Zen 4, 2026-11-27, one thread.
    """
    simd = _Vectors(builder, dtype)
    a, b, y, stop = (operands[name] for name in ("a", "b", "y", "stop"))
    places = [(m, v) for m in range(rows) for v in range(vectors)]
    if rows > 1:  # one row is a stream, which the CPU sees itself
        with builder.if_then(builder.icmp_signed("!=", operands["ahead"], I64(0))):
            later = builder.gep(y, [operands["ahead"]])
            for m, v in places:
                if v * simd.lanes * simd.align % machine.LINE_BYTES == 0:
                    index = builder.add(_times(builder, operands["y_row"], m), I64(v * simd.lanes))
                    simd.prefetch(later, index, written=True)
    before = builder.basic_block
    chain, loop, joined, another, flush = (
        builder.append_basic_block(name) for name in ("chain", "steps", "joined", "another", "flush")
    )
    builder.branch(chain)

    builder.position_at_end(chain)
    start = builder.phi(I64)
    total = [builder.phi(simd.type) for _ in places]
    end = builder.add(start, I64(tuning.CHAIN))
    end = builder.select(builder.icmp_signed("<", end, stop), end, stop)
    builder.branch(loop)

    builder.position_at_end(loop)
    step = builder.phi(I64)
    tile = [builder.phi(simd.type) for _ in places]
    entry = _times(builder, step, 2)
    ta = builder.load(builder.gep(operands["table"], [entry]))
    tb = builder.load(builder.gep(operands["table"], [builder.add(entry, I64(1))]))
    b_row = builder.gep(b, [tb])
    columns = [simd.load(b_row, I64(v * simd.lanes)) for v in range(vectors)]
    factors = []
    for m in range(rows):
        a_row = builder.gep(a, [builder.add(ta, _times(builder, operands["a_row"], m))])
        factors += (
            [simd.splat(builder.load(a_row))] * vectors
            if splat
            else [simd.load(a_row, I64(v * simd.lanes)) for v in range(vectors)]
        )
    updated = [
        simd.multiply_add(factor, columns[v], old) for factor, (_, v), old in zip(factors, places, tile, strict=True)
    ]
    next_step = builder.add(step, I64(1))
    builder.cbranch(builder.icmp_signed("<", next_step, end), loop, joined)

    builder.position_at_end(joined)
    if vectors <= most_vectors(rows):
        with builder.if_else(builder.icmp_signed("==", start, operands["start"])) as (first, later):
            with first:
                first_block = builder.basic_block
            with later:
                later_sums = [builder.fadd(old, value) for old, value in zip(total, updated, strict=True)]
                later_block = builder.basic_block
        sums = [builder.phi(simd.type) for _ in places]
        for result, value, later_sum in zip(sums, updated, later_sums, strict=True):
            result.add_incoming(value, first_block)
            result.add_incoming(later_sum, later_block)
        more = builder.icmp_signed("<", end, stop)
    else:  # a shape for one chain only
        sums, more = updated, ir.Constant(ir.IntType(1), 0)
    builder.cbranch(more, another, flush)

    builder.position_at_end(another)
    if splat:
        ta = builder.load(builder.gep(operands["table"], [_times(builder, end, 2)]))
        for m in range(rows):
            below = _times(builder, operands["a_row"], rows + m)
            simd.prefetch(a, builder.add(ta, below), written=False)
    builder.branch(chain)

    start.add_incoming(operands["start"], before)
    start.add_incoming(end, another)
    step.add_incoming(start, chain)
    step.add_incoming(next_step, loop)
    for old, new, sum_before, sum_after in zip(tile, updated, total, sums, strict=True):
        old.add_incoming(simd.zero, chain)
        old.add_incoming(new, loop)
        sum_before.add_incoming(ir.Constant(simd.type, ir.Undefined), before)
        sum_before.add_incoming(sum_after, another)

    builder.position_at_end(flush)
    _flush_tile(simd, dict(zip(places, sums, strict=True)), vectors, operands)


def _flush_tile(
    simd: _Vectors, sums: dict[tuple[int, int], ir.Value], vectors: int, operands: dict[str, ir.Value]
) -> None:
    """Store the sums, by row and vector, or add them to what stands there; the last vector may be partial."""
    builder, y, width = simd.builder, operands["y"], operands["width"]
    places = {(m, v): builder.add(_times(builder, operands["y_row"], m), I64(v * simd.lanes)) for m, v in sums}
    full = builder.icmp_signed("==", width, I64(vectors * simd.lanes))
    with builder.if_else(full) as (whole, partial):
        with whole, builder.if_else(operands["first"]) as (store, add):
            with store:
                for place, value in sums.items():
                    simd.store(value, y, places[place])
            with add:
                for place, value in sums.items():
                    simd.store(builder.fadd(simd.load(y, places[place]), value), y, places[place])
        with partial:
            mask = simd.first_lanes(builder.sub(width, I64((vectors - 1) * simd.lanes)))
            for (m, v), value in sums.items():
                index, last = places[m, v], v == vectors - 1
                old = simd.load_masked(y, index, mask) if last else simd.load(y, index)
                new = builder.select(operands["first"], value, builder.fadd(old, value))
                if last:
                    simd.store_masked(new, y, index, mask)
                else:
                    simd.store(new, y, index)


def _tile_intrinsic(splat: bool) -> Callable[..., None]:
    names = "a a_row ia b ib table start stop y iy y_row rows width first ahead".split()

    def tile(typingctx, a, a_row, ia, b, ib, table, start, stop, y, iy, y_row, rows, width, first, ahead):  # type: ignore[no-untyped-def]
        dtype = y.dtype

        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            operands = dict(zip(names, arguments, strict=True))
            _align_stack(builder)
            for name in ("a", "b", "y"):
                operands[name] = builder.gep(operands[name], [operands["i" + name]])
            lanes = machine.lanes(np.dtype(str(dtype)))
            vectors = builder.sdiv(builder.add(operands["width"], I64(lanes - 1)), I64(lanes))
            shape = builder.add(_times(builder, operands["rows"], MOST_VECTORS + 1), vectors)
            end = builder.append_basic_block("end")
            # The sweep asks only for the shapes of tile_shapes(); another one would be its bug, and does nothing.
            switch = builder.switch(shape, end)
            for height, count in tile_shapes():
                block = builder.append_basic_block(f"tile_{height}x{count}")
                switch.add_case(I64(height * (MOST_VECTORS + 1) + count), block)
                builder.position_at_end(block)
                _emit_tile(builder, dtype, height, count, operands, splat)
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        n = types.intp
        return types.void(a, n, n, b, n, table, n, n, y, n, n, n, n, types.boolean, n), codegen

    return intrinsic(tile)  # type: ignore[no-any-return]


def _weighted_sum(simd: _Vectors, terms: list[tuple[Fraction, ir.Value]]) -> ir.Value:
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


def _products(simd: _Vectors, matrix: Matrix, vectors: list[ir.Value]) -> list[ir.Value]:
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
                simd = _Vectors(builder, dtype)
                rows = [
                    builder.gep(source, [builder.load(builder.gep(offsets, [I64(i)]))]) for i in range(len(matrix[0]))
                ]
                targets = [builder.gep(target, [_times(builder, step, j)]) for j in range(len(matrix))]
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


@intrinsic
def copy_vector(typingctx, source, at, target, to):  # type: ignore[no-untyped-def]
    """target[to + j] = source[at + j] for as many j as a vector has lanes."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        source_pointer, at, target_pointer, to = arguments
        simd = _Vectors(builder, source.dtype)
        simd.store(simd.load(source_pointer, at), target_pointer, to)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), codegen


@intrinsic
def copy_lanes(typingctx, source, at, target, to, count):  # type: ignore[no-untyped-def]
    """target[to + j] = source[at + j] for j < count, and for no more than a vector has lanes."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        source_pointer, at, target_pointer, to, count = arguments
        simd = _Vectors(builder, source.dtype)
        mask = simd.first_lanes(count)
        simd.store_masked(simd.load_masked(source_pointer, at, mask), target_pointer, to, mask)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp, types.intp), codegen


@intrinsic
def shifted(typingctx, pointer, at):  # type: ignore[no-untyped-def]
    """&pointer[at]"""
    return pointer(pointer, types.intp), lambda context, builder, signature, arguments: builder.gep(
        *arguments[:1], [arguments[1]]
    )


def _shuffled(simd: _Vectors, a: ir.Value, b: ir.Value, lanes: list[int]) -> ir.Value:
    """The lanes of a, and after them those of b, that `lanes` names."""
    return simd.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, simd.lanes), lanes))


def _unzipped(simd: _Vectors, vectors: list[ir.Value]) -> list[ir.Value]:
    """Of 2^k vectors, one after the other, every 2^k-th lane from the first on, from the second on, ..."""
    if len(vectors) == 1:
        return vectors
    pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
    halves = [
        _unzipped(simd, [_shuffled(simd, a, b, list(range(odd, 2 * simd.lanes, 2))) for a, b in pairs])
        for odd in range(2)
    ]
    return [vector for pair in zip(*halves, strict=True) for vector in pair]


def _zipped(simd: _Vectors, vectors: list[ir.Value]) -> list[ir.Value]:
    """The reverse."""
    if len(vectors) == 1:
        return vectors
    even, odd = _zipped(simd, vectors[::2]), _zipped(simd, vectors[1::2])
    orders = [
        [lane + half for lane in range(at, at + simd.lanes // 2) for half in (0, simd.lanes)]
        for at in (0, simd.lanes // 2)
    ]
    return [_shuffled(simd, a, b, order) for a, b in zip(even, odd, strict=True) for order in orders]


@intrinsic
def unzip4(typingctx, source, at, target, to, step):  # type: ignore[no-untyped-def]
    """target[to + i * step + q] = source[at + 4 q + i] for i < 4 and as many q as a vector has lanes."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        source_pointer, at, target_pointer, to, step = arguments
        simd = _Vectors(builder, source.dtype)
        vectors = [simd.load(source_pointer, builder.add(at, I64(i * simd.lanes))) for i in range(4)]
        for i, vector in enumerate(_unzipped(simd, vectors)):
            simd.store(vector, target_pointer, builder.add(to, _times(builder, step, i)))
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp, types.intp), codegen


@intrinsic
def zip4(typingctx, source, at, step, target, to):  # type: ignore[no-untyped-def]
    """The reverse: target[to + 4 q + i] = source[at + i * step + q]."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        source_pointer, at, step, target_pointer, to = arguments
        simd = _Vectors(builder, source.dtype)
        vectors = [simd.load(source_pointer, builder.add(at, _times(builder, step, i))) for i in range(4)]
        for i, vector in enumerate(_zipped(simd, vectors)):
            simd.store(vector, target_pointer, builder.add(to, I64(i * simd.lanes)))
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target, types.intp), codegen


#: tile[row, column] += a[row] * b[column]
tile_outer = _tile_intrinsic(splat=True)
#: tile[row, column] += a[row, column] * b[column]
tile_elementwise = _tile_intrinsic(splat=False)


def _dft(simd: _Vectors, z: list[_Complex], forward: bool) -> list[_Complex]:
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


def _turn(simd: _Vectors, z: _Complex, eighths: int, forward: bool) -> _Complex:
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


def _twiddled(simd: _Vectors, z: _Complex, twiddle: ir.Value, forward: bool) -> _Complex:
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
            simd = _Vectors(builder, data.dtype)
            places = [builder.add(at, _times(builder, leg, k)) for k in range(radix)]
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


def _transposed(simd: _Vectors, rows: list[ir.Value]) -> list[ir.Value]:
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
        simd = _Vectors(builder, source.dtype)
        rows = [simd.load(source_, builder.add(i, _times(builder, source_row, r))) for r in range(simd.lanes)]
        for c, row in enumerate(_transposed(simd, rows)):
            simd.store(row, target_, builder.add(j, _times(builder, target_row, c)))
        return context.get_dummy_value()

    n = types.intp
    return types.void(source, n, n, target, n, n), codegen


@intrinsic
def transpose_part(typingctx, source, i, source_row, rows, target, j, target_row, columns):  # type: ignore[no-untyped-def]
    """The same for r < rows and c < columns, if these are less than the lanes; nothing else is read or written."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        source_, i, source_row, rows, target_, j, target_row, columns = arguments
        simd = _Vectors(builder, source.dtype)
        read, written = simd.first_lanes(columns), simd.first_lanes(rows)
        none = ir.Constant(read.type, None)
        vectors = []
        for r in range(simd.lanes):
            mask = builder.select(builder.icmp_signed("<", I64(r), rows), read, none)
            vectors.append(simd.load_masked(source_, builder.add(i, _times(builder, source_row, r)), mask))
        for c, vector in enumerate(_transposed(simd, vectors)):
            with builder.if_then(builder.icmp_signed("<", I64(c), columns)):
                simd.store_masked(vector, target_, builder.add(j, _times(builder, target_row, c)), written)
        return context.get_dummy_value()

    n = types.intp
    return types.void(source, n, n, n, target, n, n, n), codegen


def _emit_complex_tile(
    builder: ir.IRBuilder, dtype: types.Type, rows: int, operands: dict[str, ir.Value], splat: bool
) -> None:
    """The reduction loop of one height of the complex tile, and the store of its result.

    The imaginary parts of b are taken times `b_sign`, those of the result times `y_sign`: 1, or -1 for conjugates.
    """
    simd = _Vectors(builder, dtype)
    lanes = I64(simd.lanes)

    def sign(name: str) -> ir.Value:
        return simd.splat(builder.sitofp(operands[name], simd.element))

    b_sign, y_sign = sign("b_sign"), sign("y_sign")
    before = builder.basic_block
    loop, done = builder.append_basic_block("steps"), builder.append_basic_block("flush")
    builder.branch(loop)

    builder.position_at_end(loop)
    step = builder.phi(I64)
    tile = [(builder.phi(simd.type), builder.phi(simd.type)) for _ in range(rows)]
    entry = _times(builder, step, 2)
    ta = builder.load(builder.gep(operands["table"], [entry]))
    tb = builder.load(builder.gep(operands["table"], [builder.add(entry, I64(1))]))
    b_re = simd.load(operands["b"], tb)
    b_im = builder.fmul(simd.load(operands["b"], builder.add(tb, lanes)), b_sign)
    updated = []
    for m, (re, im) in enumerate(tile):
        place = builder.add(ta, _times(builder, operands["a_row"], m))
        places = place, builder.add(place, operands["a_imaginary"])
        if splat:
            a_re, a_im = (simd.splat(builder.load(builder.gep(operands["a"], [i]))) for i in places)
        else:
            a_re, a_im = (simd.load(operands["a"], i) for i in places)
        re = simd.multiply_add(builder.fneg(a_im), b_im, simd.multiply_add(a_re, b_re, re))
        im = simd.multiply_add(a_im, b_re, simd.multiply_add(a_re, b_im, im))
        updated.append((re, im))
    next_step = builder.add(step, I64(1))
    step.add_incoming(operands["start"], before)
    step.add_incoming(next_step, loop)
    for old, new in zip(tile, updated, strict=True):
        for phi, value in zip(old, new, strict=True):
            phi.add_incoming(simd.zero, before)
            phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", next_step, operands["stop"]), loop, done)

    builder.position_at_end(done)
    results = []
    for m, (re, im) in enumerate(updated):
        place = _times(builder, operands["y_row"], m)
        results += [(re, place), (builder.fmul(im, y_sign), builder.add(place, lanes))]
    y = operands["y"]
    with builder.if_else(operands["first"]) as (store, add):
        with store:
            for value, place in results:
                simd.store(value, y, place)
        with add:
            for value, place in results:
                simd.store(builder.fadd(simd.load(y, place), value), y, place)


def _complex_tile_intrinsic(splat: bool) -> Callable[..., None]:
    names = "a a_row a_imaginary ia b b_sign ib table start stop y y_sign iy y_row rows first".split()

    def tile(  # type: ignore[no-untyped-def]
        typingctx, a, a_row, a_imaginary, ia, b, b_sign, ib, table, start, stop, y, y_sign, iy, y_row, rows, first
    ):  # fmt: skip
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            operands = dict(zip(names, arguments, strict=True))
            for name in ("a", "b", "y"):
                operands[name] = builder.gep(operands[name], [operands["i" + name]])
            end = builder.append_basic_block("end")
            switch = builder.switch(operands["rows"], end)
            for height in range(1, most_complex_rows() + 1):
                block = builder.append_basic_block(f"tile_{height}")
                switch.add_case(I64(height), block)
                builder.position_at_end(block)
                _emit_complex_tile(builder, y.dtype, height, operands, splat)
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        n = types.intp
        return types.void(a, n, n, n, b, n, n, table, n, n, y, n, n, n, n, types.boolean), codegen

    return intrinsic(tile)  # type: ignore[no-any-return]


#: tile[row, lane] += a[row] * b[lane], complex
complex_tile_outer = _complex_tile_intrinsic(splat=True)
#: tile[row, lane] += a[row, lane] * b[lane], complex
complex_tile_elementwise = _complex_tile_intrinsic(splat=False)
#: Independent sums that keep the multiply-adders busy: two a cycle, each ready after 4 or 5.
CHAINS = 12


@intrinsic
def multiply_add_chains(typingctx, factor, steps):  # type: ignore[no-untyped-def]
    """`steps` times `CHAINS` multiply-adds of whole vectors and nothing else, the yardstick of the tile; their sum."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        simd = _Vectors(builder, factor)
        splat, before = simd.splat(arguments[0]), builder.basic_block
        loop, done = builder.append_basic_block("steps"), builder.append_basic_block("sum")
        builder.branch(loop)

        builder.position_at_end(loop)
        step, chains = builder.phi(I64), [builder.phi(simd.type) for _ in range(CHAINS)]
        updated = [simd.multiply_add(chain, splat, splat) for chain in chains]
        next_step = builder.add(step, I64(1))
        step.add_incoming(I64(0), before)
        step.add_incoming(next_step, loop)
        for i, (chain, value) in enumerate(zip(chains, updated, strict=True)):
            chain.add_incoming(ir.Constant(simd.type, [float(i)] * simd.lanes), before)  # equal ones would be one
            chain.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", next_step, arguments[1]), loop, done)

        builder.position_at_end(done)
        total = updated[0]
        for value in updated[1:]:
            total = builder.fadd(total, value)
        return builder.extract_element(total, I32(0))

    return factor(factor, types.intp), codegen


def span(a: np.ndarray, at: int, count: int) -> np.ndarray:
    """a[at : at + count] of a one-dimensional contiguous array.

    In kernels this and the views below are lent: they hold no reference, whose counting is atomic and would cost more
    than a short row does, and their bounds are the caller's to keep.
    """
    return a[at : at + count]


def times_of(x: np.ndarray, n: int, c: int, start: int, stride: int, count: int) -> np.ndarray:
    """x[n, c, start + j * stride] for j < count."""
    return x[n, c, start:][::stride][:count]


def channels_of(x: np.ndarray, n: int, c: int, count: int, i: int) -> np.ndarray:
    """x[n, c : c + count, i]."""
    return x[n, c : c + count, i]


def contiguous(row: np.ndarray) -> np.ndarray:
    """The same one-dimensional view, whose unit stride the caller knows of and the compiler now does too."""
    return row


def copied(source: np.ndarray, target: np.ndarray) -> bool:
    """Copy between contiguous arrays of one dtype; False, and nothing, where the dtypes differ."""
    if source.dtype != target.dtype:
        return False
    target[:] = source
    return True


def _lend(
    context: Any, builder: ir.IRBuilder, result: types.Array, data: ir.Value, count: ir.Value, step: ir.Value
) -> ir.Value:
    """A lent one-dimensional array: `count` elements, `step` bytes apart, from `data` on."""
    view = context.make_array(result)(context, builder)  # to import numba.np.arrayobj for it takes 20 ms
    itemsize = I64(context.get_abi_sizeof(context.get_data_type(result.dtype)))
    context.populate_array(view, data=data, shape=[count], strides=[step], itemsize=itemsize, meminfo=None)
    return view._getvalue()


# As builtins, not as overloads, which Numba would compile each by itself, at 0.04 s each.
@type_callable(span)
def _type_span(context):  # type: ignore[no-untyped-def]
    return lambda a, at, count: a(a, types.intp, types.intp)


@lower_builtin(span, types.Array, types.intp, types.intp)
def _lower_span(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
    array = context.make_array(signature.return_type)(context, builder, arguments[0])
    data = builder.gep(array.data, [arguments[1]])
    return _lend(context, builder, signature.return_type, data, arguments[2], array.itemsize)


@type_callable(times_of)
def _type_times_of(context):  # type: ignore[no-untyped-def]
    return lambda x, n, c, start, stride, count: x.copy(ndim=1, layout="A")(x, *[types.intp] * 5)


@lower_builtin(times_of, types.Array, *[types.intp] * 5)
def _lower_times_of(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
    _, n, c, start, stride, count = arguments
    return _lend_line(context, builder, signature, arguments[0], (n, c, start), 2, stride, count)


@type_callable(channels_of)
def _type_channels_of(context):  # type: ignore[no-untyped-def]
    return lambda x, n, c, count, i: x.copy(ndim=1, layout="A")(x, *[types.intp] * 4)


@lower_builtin(channels_of, types.Array, *[types.intp] * 4)
def _lower_channels_of(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
    _, n, c, count, i = arguments
    return _lend_line(context, builder, signature, arguments[0], (n, c, i), 1, I64(1), count)


def _lend_line(
    context: Any, builder: ir.IRBuilder, signature: Any, x: ir.Value, indices: tuple[ir.Value, ...], axis: int,
    stride: ir.Value, count: ir.Value,
) -> ir.Value:  # fmt: skip
    """`count` elements of x along `axis`, every `stride`-th from x[indices] on."""
    array = context.make_array(signature.args[0])(context, builder, x)
    strides = cgutils.unpack_tuple(builder, array.strides)
    offset = I64(0)
    for index, step in zip(indices, strides, strict=True):
        offset = builder.add(offset, builder.mul(index, step))
    data = builder.bitcast(builder.gep(builder.bitcast(array.data, I8.as_pointer()), [offset]), array.data.type)
    return _lend(context, builder, signature.return_type, data, count, builder.mul(strides[axis], stride))


@type_callable(contiguous)
def _type_contiguous(context):  # type: ignore[no-untyped-def]
    return lambda row: row.copy(layout="C")


@lower_builtin(contiguous, types.Array)
def _lower_contiguous(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    (count,) = cgutils.unpack_tuple(builder, array.shape)
    return _lend(context, builder, signature.return_type, array.data, count, array.itemsize)


@type_callable(copied)
def _type_copied(context):  # type: ignore[no-untyped-def]
    return lambda source, target: types.boolean


@lower_builtin(copied, types.Array, types.Array)
def _lower_copied(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
    source, target = (
        context.make_array(kind)(context, builder, value) for kind, value in zip(signature.args, arguments, strict=True)
    )
    alike = signature.args[0].dtype == signature.args[1].dtype
    if alike:
        cgutils.raw_memcpy(builder, target.data, source.data, builder.mul(target.nitems, target.itemsize), 1)
    return context.get_constant(types.boolean, alike)


@intrinsic
def all_finite(typingctx, pointer, at, count):  # type: ignore[no-untyped-def]
    """Whether no number of pointer[at : at + count] is NaN or infinite."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        pointer, at, count = arguments
        data, simd = builder.gep(pointer, [at]), _Vectors(builder, signature.args[0].dtype)
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


@intrinsic
def swap_bytes(typingctx, bits):  # type: ignore[no-untyped-def]
    """The bytes of an unsigned integer in the other order."""
    return bits(bits), lambda context, builder, signature, arguments: builder.bswap(arguments[0])


@intrinsic
def as_float32(typingctx, bits):  # type: ignore[no-untyped-def]
    """The float32 that has these 32 bits."""
    return types.float32(bits), lambda context, builder, signature, arguments: builder.bitcast(
        arguments[0], ir.FloatType()
    )


@intrinsic
def as_float64(typingctx, bits):  # type: ignore[no-untyped-def]
    """The float64 that has these 64 bits."""
    return types.float64(bits), lambda context, builder, signature, arguments: builder.bitcast(
        arguments[0], ir.DoubleType()
    )


@intrinsic
def address(typingctx, array):  # type: ignore[no-untyped-def]
    """Where the first element of `array` stands; `array.ctypes.data` is unsigned, and with int64 makes float64."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return builder.ptrtoint(context.make_array(array)(context, builder, values[0]).data, I64)

    return types.int64(array), codegen


@intrinsic
def call(typingctx, function, arguments):  # type: ignore[no-untyped-def]
    """Call the machine code at the address `function` with a tuple of integers and addresses."""
    if not (isinstance(arguments, types.UniTuple) and arguments.dtype == types.int64):
        raise TypingError(f"call takes a tuple of int64, not {arguments}")

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        unpacked = cgutils.unpack_tuple(builder, values[1])
        function_type = ir.FunctionType(ir.VoidType(), [I64] * len(unpacked))
        builder.call(builder.inttoptr(values[0], function_type.as_pointer()), unpacked)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), codegen


@intrinsic
def call_on(typingctx, function, arrays, integers):  # type: ignore[no-untyped-def]
    """Call the machine code at the address `function` with the addresses of a tuple of arrays, and with integers."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        pointers = [
            builder.ptrtoint(context.make_array(kind)(context, builder, array).data, I64)
            for kind, array in zip(arrays, cgutils.unpack_tuple(builder, values[1]), strict=True)
        ]
        unpacked = pointers + cgutils.unpack_tuple(builder, values[2])
        function_type = ir.FunctionType(ir.VoidType(), [I64] * len(unpacked))
        builder.call(builder.inttoptr(values[0], function_type.as_pointer()), unpacked)
        return context.get_dummy_value()

    return types.void(types.int64, arrays, integers), codegen


@intrinsic
def call_work(typingctx, function, x, w, bias, y, g, part, parts):  # type: ignore[no-untyped-def]
    """Call a driver's machine code at the address `function`, with its errors."""
    signature = types.void(types.int64, x, w, bias, y, g, types.intp, types.intp)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        _, *argument_types = signature.args
        function_type = context.call_conv.get_function_type(types.none, argument_types)
        function = builder.inttoptr(values[0], function_type.as_pointer())
        status, _ = context.call_conv.call_function(builder, function, types.none, argument_types, values[1:])
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return signature, codegen
