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

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array, populate_array

from . import machine

I32, I64 = ir.IntType(32), ir.IntType(64)
FLOATS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
SUFFIX = {types.float32: "f32", types.float64: "f64"}

#: Accumulators beyond this many give no more speed (FMA latency 4, two a cycle) and cost compile time.
MOST_VECTORS = 8
#: Rows of the tallest tile by the number of vector registers; 8 x 3 leaves room for a row of b and a splat.  With 32
#: registers 8 x 3, 12 x 2, 14 x 2, 6 x 4 and 4 x 6 differ by less than 5 %, with 16 so do 4 x 3 and 6 x 2: fewer rows
#: waste less on a few channels.  Emerald Rapids, 2026-11-23.
MOST_ROWS = {16: 4, 32: 8}


def most_rows() -> int:
    """Rows of the tallest tile."""
    return MOST_ROWS[machine.registers()]


def most_vectors(rows: int) -> int:
    """Vectors of the widest tile of `rows` rows: accumulators, one row of b and one splat fit the registers."""
    return min(MOST_VECTORS, (machine.registers() - 1) // (rows + 1))


def tile_shapes() -> list[tuple[int, int]]:
    """Every (rows, vectors) that has code: the widest of each height, and 1 to 3 vectors for what is left over."""
    return [
        (rows, vectors)
        for rows in range(1, most_rows() + 1)
        for vectors in sorted({1, 2, 3, most_vectors(rows)})
        if vectors <= most_vectors(rows)
    ]


def tile_for(rows: int, columns: int, lanes: int) -> tuple[int, int]:
    """Rows and columns of the tile that covers a block of at least this size.

    A block that one tile is as high as gets the widest of that height; a higher one gets tiles of nearly equal
    height, so a width that all heights have.
    """
    height, needed = min(rows, most_rows()), -(-columns // lanes)
    widest = most_vectors(height)
    return height, lanes * (widest if rows == height and needed >= widest else min(needed, 3))


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


def _times(builder: ir.IRBuilder, value: ir.Value, factor: int) -> ir.Value:
    return builder.mul(value, I64(factor))


def _emit_tile(
    builder: ir.IRBuilder, dtype: types.Type, rows: int, vectors: int, operands: dict[str, ir.Value], splat: bool
) -> None:
    """The reduction loop of one tile shape, and the store of its result."""
    simd = _Vectors(builder, dtype)
    a, b, y = operands["a"], operands["b"], operands["y"]
    before = builder.basic_block
    loop, done = builder.append_basic_block("steps"), builder.append_basic_block("flush")
    builder.branch(loop)

    builder.position_at_end(loop)
    step = builder.phi(I64)
    tile = [[builder.phi(simd.type) for _ in range(vectors)] for _ in range(rows)]
    entry = _times(builder, step, 2)
    ta = builder.load(builder.gep(operands["table"], [entry]))
    tb = builder.load(builder.gep(operands["table"], [builder.add(entry, I64(1))]))
    b_row = builder.gep(b, [tb])
    columns = [simd.load(b_row, I64(v * simd.lanes)) for v in range(vectors)]
    updated = []
    for m in range(rows):
        a_row = builder.gep(a, [builder.add(ta, _times(builder, operands["a_row"], m))])
        factors = (
            [simd.splat(builder.load(a_row))] * vectors
            if splat
            else [simd.load(a_row, I64(v * simd.lanes)) for v in range(vectors)]
        )
        updated.append([simd.multiply_add(factors[v], columns[v], tile[m][v]) for v in range(vectors)])
    next_step = builder.add(step, I64(1))
    step.add_incoming(operands["start"], before)
    step.add_incoming(next_step, loop)
    for m in range(rows):
        for v in range(vectors):
            tile[m][v].add_incoming(simd.zero, before)
            tile[m][v].add_incoming(updated[m][v], loop)
    builder.cbranch(builder.icmp_signed("<", next_step, operands["stop"]), loop, done)

    builder.position_at_end(done)
    places = [
        (updated[m][v], builder.add(_times(builder, operands["y_row"], m), I64(v * simd.lanes)), v == vectors - 1)
        for m in range(rows)
        for v in range(vectors)
    ]
    full = builder.icmp_signed("==", operands["width"], I64(vectors * simd.lanes))
    with builder.if_else(full) as (whole, partial):
        with whole, builder.if_else(operands["first"]) as (store, add):
            with store:
                for value, index, _ in places:
                    simd.store(value, y, index)
            with add:
                for value, index, _ in places:
                    simd.store(builder.fadd(simd.load(y, index), value), y, index)
        with partial:
            mask = simd.first_lanes(builder.sub(operands["width"], I64((vectors - 1) * simd.lanes)))
            for value, index, last in places:
                old = simd.load_masked(y, index, mask) if last else simd.load(y, index)
                new = builder.select(operands["first"], value, builder.fadd(old, value))
                if last:
                    simd.store_masked(new, y, index, mask)
                else:
                    simd.store(new, y, index)


def _tile_intrinsic(splat: bool) -> Callable[..., None]:
    names = ["a", "a_row", "ia", "b", "ib", "table", "start", "stop", "y", "iy", "y_row", "rows", "width", "first"]

    def tile(typingctx, a, a_row, ia, b, ib, table, start, stop, y, iy, y_row, rows, width, first):  # type: ignore[no-untyped-def]
        dtype = y.dtype

        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            operands = dict(zip(names, arguments, strict=True))
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
        return types.void(a, n, n, b, n, table, n, n, y, n, n, n, n, types.boolean), codegen

    return intrinsic(tile)  # type: ignore[no-any-return]


#: tile[row, column] += a[row] * b[column]
tile_outer = _tile_intrinsic(splat=True)
#: tile[row, column] += a[row, column] * b[column]
tile_elementwise = _tile_intrinsic(splat=False)


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
    view = make_array(result)(context, builder)
    itemsize = I64(context.get_abi_sizeof(context.get_data_type(result.dtype)))
    populate_array(view, data=data, shape=[count], strides=[step], itemsize=itemsize, meminfo=None)
    return view._getvalue()


def _byte_pointer(builder: ir.IRBuilder, array: Any, offset: ir.Value) -> ir.Value:
    data = builder.bitcast(array.data, ir.IntType(8).as_pointer())
    return builder.bitcast(builder.gep(data, [offset]), array.data.type)


@intrinsic
def _span(typingctx, a, at, count):  # type: ignore[no-untyped-def]
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        array = make_array(a)(context, builder, arguments[0])
        return _lend(context, builder, a, builder.gep(array.data, [arguments[1]]), arguments[2], array.itemsize)

    return a(a, types.intp, types.intp), codegen


@intrinsic
def _line(typingctx, x, indices, step, count):  # type: ignore[no-untyped-def]
    """`count` elements of x, `step` bytes apart, from x[indices] on."""
    result = x.copy(ndim=1, layout="A")

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        array = make_array(x)(context, builder, arguments[0])
        strides = cgutils.unpack_tuple(builder, array.strides)
        offset = I64(0)
        for index, step in zip(cgutils.unpack_tuple(builder, arguments[1]), strides, strict=True):
            offset = builder.add(offset, builder.mul(index, step))
        return _lend(context, builder, result, _byte_pointer(builder, array, offset), arguments[3], arguments[2])

    return result(x, indices, types.intp, types.intp), codegen


@intrinsic
def _contiguous_line(typingctx, row):  # type: ignore[no-untyped-def]
    result = row.copy(layout="C")

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        array = make_array(row)(context, builder, arguments[0])
        (count,) = cgutils.unpack_tuple(builder, array.shape)
        return _lend(context, builder, result, array.data, count, array.itemsize)

    return result(row), codegen


# Numba compares the names of the arguments to the letter, and their annotations.
@overload(span)
def _overload_span(a, at, count):  # type: ignore[no-untyped-def]
    return lambda a, at, count: _span(a, at, count)


@overload(times_of)
def _overload_times_of(x, n, c, start, stride, count):  # type: ignore[no-untyped-def]
    return lambda x, n, c, start, stride, count: _line(x, (n, c, start), x.strides[2] * stride, count)


@overload(channels_of)
def _overload_channels_of(x, n, c, count, i):  # type: ignore[no-untyped-def]
    return lambda x, n, c, count, i: _line(x, (n, c, i), x.strides[1], count)


@overload(contiguous)
def _overload_contiguous(row):  # type: ignore[no-untyped-def]
    return lambda row: _contiguous_line(row)


@intrinsic
def _copy_bytes(typingctx, source, target):  # type: ignore[no-untyped-def]
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        views = [
            make_array(kind)(context, builder, value) for kind, value in zip(signature.args, arguments, strict=True)
        ]
        count = builder.mul(views[1].nitems, views[1].itemsize)
        cgutils.raw_memcpy(builder, views[1].data, views[0].data, count, 1)
        return context.get_dummy_value()

    return types.void(source, target), codegen


@overload(copied)
def _overload_copied(source, target):  # type: ignore[no-untyped-def]
    if source.dtype != target.dtype:
        return lambda source, target: False

    def copy(source, target):  # type: ignore[no-untyped-def]
        _copy_bytes(source, target)
        return True

    return copy


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
        return builder.ptrtoint(make_array(array)(context, builder, values[0]).data, I64)

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
