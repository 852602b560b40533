"""The register tile: how many rows and vectors it has, and its code.

Every fast algorithm is a sum of rank-1 updates on a tile of accumulators that never leaves the registers::

                 columns of b                the vector operand: one load a vector
              ┌──────┬──────┬──────┐
      rows    │      │      │      │
      of a    │  tile: rows x      │  +=  a[row] * b[column]        once a step
              │   vectors x lanes  │
              └──────┴──────┴──────┘
              y[iy + row * y_row + column]       stored or added to once a call

One of a and b are samples, and ``table[step]`` says where a step finds those, so one instruction sequence serves dense,
dilated, strided and grouped problems: only the table differs.  The other are weights, which stand in the order of the
steps.  There are three tiles, by what stands in the lanes (blocks.py):

                 a[row]                                b[column]
    times        weights[row * a_row + step]           samples[table[step] + column]
    channels     samples[table[step] + row * a_row]    weights[step * panel + column]
    paired       the same + column                     the same

What the code generator must know and Numba would not: that rows and vectors are constants (a switch over the shapes of
`tile_shapes`, each unrolled), that no load is aligned to more than an element, and that a partial last vector is
masked.  Rows past `rows` are never read or written; columns past `width` are read from `b` (where channels are paired
from `a` too) up to the end of their vector, so these carry that much slack, and are never written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .. import machine, tuning
from .vectors import I8, I32, I64, Vectors, prefetch, times

#: Accumulators of a row beyond this many give no more speed (FMA latency 4, two a cycle) and cost compile time.
MOST_VECTORS = 8
#: Rows of the tallest tile: one vector wide, it has as many accumulators as keep two multiply-adders of latency 4 busy.
MOST_ROWS = 8
#: Accumulators of a tile that sums one chain only, and so stores after a few steps: with 24 the stores hold up the
#: multiply-adders.  1 -> 64 K 7 takes 0.93 of the time with 16, K 16 0.92; K 1 and 3 are alike.  Zen 4, 2026-11-27.
ONE_CHAIN_SUMS = 16
#: Rows of the tile where rows and columns fill several: four multiply-adds for each vector of b that is read.
TILE_ROWS = 4
#: Steps of one turn of the loop, a part of CHAIN, for the widest tiles of up to TILE_ROWS rows, which cover most of a
#: block.  Where another thread shares the core, as on most virtual ones, it is the other instructions that count: 4
#: rows of 3 vectors, in C, reach 0.62 of the peak of multiply-adds with one step a turn and a table for both operands,
#: 0.69 with four, 0.75 to 0.8 with a table for one, as with none.  Whole calls take 0.87 to 0.95 of the time that they
#: took with the first.  With 16 steps the CPU does not foresee rows of samples, 1.1 times the time; 8 rows of 1 vector
#: have too many addresses for it, 1.1.  Zen 3, 2026-11-28.
STEPS_TOGETHER = 4


def most_vectors(rows: int, one_chain: bool = False) -> int:
    """Vectors of the widest tile of `rows` rows, for any steps or where all are one chain.

    Sums of chains need a place.  Where there are 32 registers they are there, beside the accumulators, a row of b and a
    splat; with 16 they are on the stack, as half as many accumulators would leave the multiply-adders waiting.  One
    chain needs none, and has up to ONE_CHAIN_SUMS accumulators.
    """
    registers = machine.registers()
    alone = one_chain and rows <= TILE_ROWS
    vectors = (registers - 1) // (rows * (1 + (registers == 32 and not alone)) + 1)
    return min(MOST_VECTORS, vectors, ONE_CHAIN_SUMS // rows if alone else vectors)


def most_rows(vectors: int, one_chain: bool = False) -> int:
    """Rows of the tallest tile of `vectors` vectors."""
    return max(rows for rows in range(1, MOST_ROWS + 1) if most_vectors(rows, one_chain) >= vectors)


def most_complex_rows() -> int:
    """Rows of the tallest complex tile, which has two accumulators a row and one vector of b, real and imaginary."""
    return 4 if machine.registers() == 16 else 8


def tile_shapes(one_chain: bool) -> list[tuple[int, int]]:
    """Every (rows, vectors) that has code."""
    return [(rows, v) for rows in range(1, MOST_ROWS + 1) for v in range(1, most_vectors(rows, one_chain) + 1)]


def tile_for(rows: int, columns: int, lanes: int, steps: int) -> tuple[int, int]:
    """Rows and columns of the tile that covers a block of at least this size in so many steps.

    A block that one tile is as high as gets the widest of that height; a higher one gets tiles of nearly equal
    height, so a width that all heights have.
    """
    one_chain = steps <= tuning.CHAIN
    vectors = min(-(-columns // lanes), most_vectors(min(rows, TILE_ROWS), one_chain))
    return min(rows, most_rows(vectors, one_chain)), lanes * vectors


def tallest_intrinsic(one_chain: bool) -> Callable[..., int]:
    """Rows of the tallest tile of `width` columns of y."""

    def tallest(typingctx, y, width):  # type: ignore[no-untyped-def]
        lanes = machine.lanes(np.dtype(str(y.dtype)))

        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            rows = I64(most_rows(most_vectors(1), one_chain))
            for vectors in range(most_vectors(1) - 1, 0, -1):
                fits = builder.icmp_signed("<=", arguments[1], I64(vectors * lanes))
                rows = builder.select(fits, I64(most_rows(vectors, one_chain)), rows)
            return rows

        return types.intp(y, types.intp), codegen

    return intrinsic(tallest)  # type: ignore[no-any-return]


def _align_stack(builder: ir.IRBuilder) -> None:
    """Start the stack on a line of the cache, so that no vector that does not fit into the registers straddles two."""
    with builder.goto_entry_block():
        anchor = builder.alloca(ir.VectorType(I8, machine.LINE_BYTES))
        anchor.align = machine.LINE_BYTES
        builder.asm(ir.FunctionType(ir.VoidType(), [anchor.type]), "", "r", [anchor], side_effect=True)


def _emit_tiles(
    builder: ir.IRBuilder,
    dtype: types.Type,
    rows: int,
    vectors: int,
    operands: dict[str, ir.Value],
    along: str,
    one_chain: bool,
) -> None:
    """`count` tiles of one shape one after the other: the operands a of two are `a_panel` apart, b and y `panel`."""
    before, tile, done = builder.basic_block, builder.append_basic_block("tile"), builder.append_basic_block("done")
    builder.branch(tile)
    builder.position_at_end(tile)
    left = builder.phi(I64)
    left.add_incoming(operands["count"], before)
    here = {name: builder.phi(operands[name].type) for name in ("a", "b", "y")}
    _emit_tile(builder, dtype, rows, vectors, operands | here, along, one_chain)
    after = builder.basic_block
    left.add_incoming(builder.sub(left, I64(1)), after)
    for name, pointer in here.items():
        pointer.add_incoming(operands[name], before)
        pointer.add_incoming(builder.gep(pointer, [operands["a_panel" if name == "a" else "panel"]]), after)
    builder.cbranch(builder.icmp_signed(">", left, I64(1)), tile, done)
    builder.position_at_end(done)


def _emit_tile(
    builder: ir.IRBuilder,
    dtype: types.Type,
    rows: int,
    vectors: int,
    operands: dict[str, ir.Value],
    along: str,
    one_chain: bool,
) -> None:
    """The reduction of one tile shape, and the store of its result.

    What may not be near is asked for ahead: the lines of y `ahead` from here (sweep.py), and the weights of the rows
    below for the same steps, which the next tile reads: 512 -> 1024 K 1 with 96 times takes 0.83 of the time, but 1.03
    on Zen 3, with half as many registers and shorter vectors (NEON was not timed).  Asking for the lines of this tile
    of y, 32 -> 512 K 1, whose result takes 33 MB, took 0.72 and 4 -> 768 K 15 0.79, but 1 -> 16 K 3, which fits the
    cache, 1.1.  Asking for weights in L1 instead of L2 costs up to 20 % with long kernels.  Zen 4, 2026-11-27, one
    thread.
    """
    simd = Vectors(builder, dtype)
    y = operands["y"]
    places = [(m, v) for m in range(rows) for v in range(vectors)]
    if rows > 1:  # one row is a stream, which the CPU sees itself
        with builder.if_then(builder.icmp_signed("!=", operands["ahead"], I64(0))):
            later = builder.gep(y, [operands["ahead"]])
            for m, v in places:
                if v * simd.lanes * simd.align % machine.LINE_BYTES == 0:
                    index = builder.add(times(builder, operands["y_row"], m), I64(v * simd.lanes))
                    prefetch(builder, builder.gep(later, [index]), written=True)
    emit_sums = _emit_chain if one_chain else _emit_chains
    sums = emit_sums(simd, rows, vectors, operands, along)
    _flush_tile(simd, dict(zip(places, sums, strict=True)), vectors, operands)


def _emit_chain(simd: Vectors, rows: int, vectors: int, operands: dict[str, ir.Value], along: str) -> list[ir.Value]:
    """The sums over all steps, of which there are CHAIN at most."""
    zeros = [simd.zero] * (rows * vectors)
    return _emit_steps(simd, rows, vectors, operands, along, (operands["start"], operands["stop"]), zeros, 1)


def _emit_chains(simd: Vectors, rows: int, vectors: int, operands: dict[str, ir.Value], along: str) -> list[ir.Value]:
    """The sums over all steps: accumulators sum a chain of CHAIN steps, and others the chains."""
    builder, first, stop = simd.builder, operands["start"], operands["stop"]
    with builder.goto_entry_block():  # in registers where there are enough
        totals = [builder.alloca(simd.type) for _ in range(rows * vectors)]
    before, chain, done = builder.basic_block, builder.append_basic_block("chain"), builder.append_basic_block("done")
    builder.branch(chain)

    builder.position_at_end(chain)
    start = builder.phi(I64)
    start.add_incoming(first, before)
    end = builder.add(start, I64(tuning.CHAIN))
    end = builder.select(builder.icmp_signed("<", end, stop), end, stop)
    sums, begun = [simd.zero] * (rows * vectors), start
    for together in (STEPS_TOGETHER, 1) if rows <= TILE_ROWS and vectors == most_vectors(rows) else (1,):
        ended = builder.add(begun, builder.and_(builder.sub(end, begun), I64(-together)))
        sums = _emit_steps(simd, rows, vectors, operands, along, (begun, ended), sums, together)
        begun = ended

    summed = builder.basic_block
    with builder.if_then(builder.icmp_signed("!=", start, first)):
        added = [builder.fadd(builder.load(total), value) for total, value in zip(totals, sums, strict=True)]
        later = builder.basic_block
    sums = _joined(builder, (sums, summed), (added, later))
    another = builder.append_basic_block("another")
    builder.cbranch(builder.icmp_signed("<", end, stop), another, done)

    builder.position_at_end(another)
    for total, value in zip(totals, sums, strict=True):
        builder.store(value, total)
    if along == "times" and machine.registers() == 32:
        for m in range(rows):
            below = builder.add(end, times(builder, operands["a_row"], rows + m))
            prefetch(builder, builder.gep(operands["a"], [below]), written=False)
    start.add_incoming(end, builder.basic_block)
    builder.branch(chain)

    builder.position_at_end(done)
    return sums


def _joined(builder: ir.IRBuilder, *ways: tuple[list[ir.Value], ir.Block]) -> list[ir.Value]:
    """What the values are here, by the block that one comes from."""
    joined = []
    for values in zip(*(values for values, _ in ways), strict=True):
        joined.append(builder.phi(values[0].type))
        for value, (_, block) in zip(values, ways, strict=True):
            joined[-1].add_incoming(value, block)
    return joined


def _emit_steps(
    simd: Vectors,
    rows: int,
    vectors: int,
    operands: dict[str, ir.Value],
    along: str,
    steps: tuple[ir.Value, ir.Value],
    sums: list[ir.Value],
    together: int,
) -> list[ir.Value]:
    """`sums` with those of the steps from one to before another, of which there are a multiple of `together`."""
    builder, (start, stop) = simd.builder, steps
    rows_of_a = [builder.gep(operands["a"], [times(builder, operands["a_row"], m)]) for m in range(rows)]

    def multiply(step: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
        samples = builder.load(builder.gep(operands["table"], [step]))
        in_a, in_b = (step, samples) if along == "times" else (samples, builder.mul(step, operands["panel"]))
        b = builder.gep(operands["b"], [in_b])
        columns = [simd.load(b, I64(v * simd.lanes)) for v in range(vectors)]
        updated = []
        for m in range(rows):
            a = builder.gep(rows_of_a[m], [in_a])
            splat = None if along == "paired" else simd.splat(builder.load(a))
            for v, column in enumerate(columns):
                factor = splat or simd.load(a, I64(v * simd.lanes))
                updated.append(simd.multiply_add(factor, column, sums[m * vectors + v]))
        return updated

    before, loop, done = builder.basic_block, builder.append_basic_block("steps"), builder.append_basic_block("summed")
    builder.cbranch(builder.icmp_signed("<", start, stop), loop, done)
    builder.position_at_end(loop)
    step, tile = builder.phi(I64), [builder.phi(simd.type) for _ in range(rows * vectors)]
    here = _opaque(builder, step)
    updated: list[ir.Value] = tile
    for i in range(together):
        updated = multiply(builder.add(here, I64(i)), updated)
    later = builder.add(step, I64(together))
    step.add_incoming(start, before)
    step.add_incoming(later, loop)
    for value, old, new in zip(tile, sums, updated, strict=True):
        value.add_incoming(old, before)
        value.add_incoming(new, loop)
    builder.cbranch(builder.icmp_signed("<", later, stop), loop, done)
    builder.position_at_end(done)
    return _joined(builder, (sums, before), (updated, loop))


def _opaque(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The value, of which LLVM knows nothing more: it would turn an index that counts into a pointer for each row.

    There are no registers for so many, and the loops would read them from the stack.
    """
    return builder.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [value], side_effect=False)


def _flush_tile(
    simd: Vectors, sums: dict[tuple[int, int], ir.Value], vectors: int, operands: dict[str, ir.Value]
) -> None:
    """Store the sums, by row and vector, or add them to what stands there; the last vector may be partial."""
    builder, y, width = simd.builder, operands["y"], operands["width"]
    places = {(m, v): builder.add(times(builder, operands["y_row"], m), I64(v * simd.lanes)) for m, v in sums}
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


def tile_intrinsic(along: str, one_chain: bool) -> Callable[..., None]:
    """The tile by what stands in the lanes, and whether all steps are one chain, which needs less code."""
    names = "a a_row ia a_panel b ib panel table start stop y iy y_row rows width count first ahead".split()

    def tile(  # type: ignore[no-untyped-def]
        typingctx, a, a_row, ia, a_panel, b, ib, panel, table, start, stop,
        y, iy, y_row, rows, width, count, first, ahead,
    ):  # fmt: skip
        dtype = y.dtype

        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            operands = dict(zip(names, arguments, strict=True))
            _align_stack(builder)
            for name in ("a", "b", "y"):
                operands[name] = builder.gep(operands[name], [operands["i" + name]])
            lanes = machine.lanes(np.dtype(str(dtype)))
            vectors = builder.sdiv(builder.add(operands["width"], I64(lanes - 1)), I64(lanes))
            shape = builder.add(times(builder, operands["rows"], MOST_VECTORS + 1), vectors)
            end = builder.append_basic_block("end")
            # The sweep asks only for the shapes of tile_shapes(); another one would be its bug, and does nothing.
            switch = builder.switch(shape, end)
            for height, count in tile_shapes(one_chain):
                block = builder.append_basic_block(f"tile_{height}x{count}")
                switch.add_case(I64(height * (MOST_VECTORS + 1) + count), block)
                builder.position_at_end(block)
                _emit_tiles(builder, dtype, height, count, operands, along, one_chain)
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        n = types.intp
        return types.void(a, n, n, n, b, n, n, table, n, n, y, *[n] * 5, types.boolean, n), codegen

    return intrinsic(tile)  # type: ignore[no-any-return]


def _emit_complex_tile(
    builder: ir.IRBuilder, dtype: types.Type, rows: int, operands: dict[str, ir.Value], splat: bool
) -> None:
    """The reduction loop of one height of the complex tile, and the store of its result.

    The imaginary parts of b are taken times `b_sign`, those of the result times `y_sign`: 1, or -1 for conjugates.
    """
    simd = Vectors(builder, dtype)
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
    entry = times(builder, step, 2)
    ta = builder.load(builder.gep(operands["table"], [entry]))
    tb = builder.load(builder.gep(operands["table"], [builder.add(entry, I64(1))]))
    b_re = simd.load(operands["b"], tb)
    b_im = builder.fmul(simd.load(operands["b"], builder.add(tb, lanes)), b_sign)
    updated = []
    for m, (re, im) in enumerate(tile):
        place = builder.add(ta, times(builder, operands["a_row"], m))
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
        place = times(builder, operands["y_row"], m)
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
        simd = Vectors(builder, factor)
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
