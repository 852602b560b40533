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
    TIMES              weights[row * a_row + step]           samples[table[step] + column]
    CHANNELS           samples[table[step] + row * a_row]    weights[step * panel + column]
    PAIRED_CHANNELS    the same + column                     the same

What the code generator must know and Numba would not: that rows and vectors are constants (a switch over the shapes of
`tile_shapes`, each unrolled), that no load is aligned to more than an element, and that a partial last vector is
masked.  Rows past `rows` are never read or written; columns past `width` are read from `b` (where channels are paired
from `a` too) up to the end of their vector, so these carry that much slack, and are never written.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .. import machine, tuning
from .vectors import I8, I32, I64, Vectors, prefetch, times

#: What stands in the lanes of a vector, here and in all that is packed for the tile.
TIMES, CHANNELS, PAIRED_CHANNELS = range(3)

#: Accumulators of a row beyond this many give no more speed (FMA latency 4, two a cycle) and cost compile time.
MOST_VECTORS = 8
#: Rows of the tallest tile: one vector wide, it has as many accumulators as keep two multiply-adders of latency 4 busy.
MOST_ROWS = 8
#: Accumulators of a tile that sums one chain only, and so stores after a few steps: with 24 the stores hold up the
#: multiply-adders.  1 -> 64 K 7 takes 0.93 of the time with 16, K 16 0.92; K 1 and 3 are alike.  Zen 4, 2026-11-27.
ONE_CHAIN_SUMS = 16
#: Rows of the tile where rows and columns fill several: four multiply-adds for each vector of b that is read.
TILE_ROWS = 4
#: Steps of one turn of the loop, a part of a chain, for the widest tiles of up to TILE_ROWS rows, which cover most of a
#: block.  Where another thread shares the core, as on most virtual ones, it is the other instructions that count: 4
#: rows of 3 vectors, in C, reach 0.62 of the peak of multiply-adds with one step a turn and a table for both operands,
#: 0.69 with four, 0.75 to 0.8 with a table for one, as with none.  Whole calls take 0.87 to 0.95 of the time that they
#: took with the first.  With 16 steps the CPU does not foresee rows of samples, 1.1 times the time; 8 rows of 1 vector
#: have too many addresses for it, 1.1.  Zen 3, 2026-11-28.
#: What is left of whole turns goes with the last chain in every tile, so that this is part of what the sum is.
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


@dataclass(frozen=True)
class Tile:
    """The code of one shape: what is emitted, and from which operands of the intrinsic."""

    simd: Vectors
    rows: int
    vectors: int
    lanes_along: int
    one_chain: bool
    operands: Mapping[str, ir.Value]

    def zeros(self) -> list[ir.Value]:
        return [self.simd.zero] * (self.rows * self.vectors)


def _emit_tiles(tile: Tile) -> None:
    """`count` tiles of one shape one after the other: the operands a of two are `a_panel` apart, b and y `panel`."""
    builder, operands = tile.simd.builder, tile.operands
    before, loop, done = builder.basic_block, builder.append_basic_block("tile"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    left = builder.phi(I64)
    left.add_incoming(operands["count"], before)
    here = {name: builder.phi(operands[name].type) for name in ("a", "b", "y")}
    _emit_tile(replace(tile, operands={**operands, **here}))
    after = builder.basic_block
    left.add_incoming(builder.sub(left, I64(1)), after)
    for name, pointer in here.items():
        pointer.add_incoming(operands[name], before)
        pointer.add_incoming(builder.gep(pointer, [operands["a_panel" if name == "a" else "panel"]]), after)
    builder.cbranch(builder.icmp_signed(">", left, I64(1)), loop, done)
    builder.position_at_end(done)


def _emit_tile(tile: Tile) -> None:
    """The reduction of one tile shape, and the store of its result.

    What may not be near is asked for ahead: the lines of y `ahead` from here (sweep.py), and where weights are far
    (`far_a`) those of the rows below, which the next tile reads, for the chains but the first: 512 -> 1024 K 1 with
    96 times takes 0.83 of the time, on Zen 3 0.95, 320 -> 320 K 16 1.0, and 1.03 where they are near.
    Asking for the lines of this tile of y, 32 -> 512 K 1, whose result takes 33 MB, took 0.72 and 4 -> 768 K 15
    0.79, but 1 -> 16 K 3, which fits the cache, 1.1.  Asking for weights in L1 instead of L2 costs up to 20 % with
    long kernels.  Zen 4, 2026-11-27, one thread.
    """
    simd, builder, operands = tile.simd, tile.simd.builder, tile.operands
    if tile.rows > 1:  # one row is a stream, which the CPU sees itself
        with builder.if_then(builder.icmp_signed("!=", operands["ahead"], I64(0))):
            later = builder.gep(operands["y"], [operands["ahead"]])
            for m, v in itertools.product(range(tile.rows), range(tile.vectors)):
                if v * simd.lanes * simd.align % machine.LINE_BYTES == 0:
                    index = builder.add(times(builder, operands["y_row"], m), I64(v * simd.lanes))
                    prefetch(builder, builder.gep(later, [index]), written=True)
    _flush_tile(tile, _emit_chain(tile) if tile.one_chain else _emit_chains(tile))


def _emit_chain(tile: Tile) -> list[ir.Value]:
    """The sums over all steps, which are one chain."""
    return _emit_steps(tile, (tile.operands["start"], tile.operands["stop"]), tile.zeros(), 1)


def _emit_chains(tile: Tile) -> list[ir.Value]:
    """The sums over all steps: accumulators sum a chain of `chain` steps, and others the chains.

    The loop over chains takes whole turns of STEPS_TOGETHER steps, in every tile, so that chains are the same in all.
    The last chain takes what is left over, too, which is all where there is less than a turn.
    """
    builder, operands, first = tile.simd.builder, tile.operands, tile.operands["start"]
    together = STEPS_TOGETHER if tile.rows <= TILE_ROWS and tile.vectors == most_vectors(tile.rows) else 1
    with builder.goto_entry_block():  # in registers where there are enough
        totals = [builder.alloca(zero.type) for zero in tile.zeros()]
    before, chain, done = builder.basic_block, builder.append_basic_block("chain"), builder.append_basic_block("done")
    stop = builder.add(first, builder.and_(builder.sub(operands["stop"], first), I64(-STEPS_TOGETHER)))
    builder.branch(chain)

    builder.position_at_end(chain)
    start = builder.phi(I64)
    start.add_incoming(first, before)
    end = builder.add(start, operands["chain"])
    more = builder.icmp_signed("<", end, stop)
    sums = _emit_steps(tile, (start, builder.select(more, end, stop)), tile.zeros(), together)
    another = builder.append_basic_block("another")
    builder.cbranch(more, another, done)

    builder.position_at_end(another)
    for total, value in zip(totals, _with_totals(tile, totals, sums, start), strict=True):
        builder.store(value, total)
    if tile.lanes_along == TIMES:
        with builder.if_then(builder.icmp_signed("!=", operands["far_a"], I64(0))):
            line = machine.LINE_BYTES // tile.simd.align
            for m, step in itertools.product(range(tile.rows), range(0, tuning.LONG_CHAIN, line)):
                below = builder.add(builder.add(end, I64(step)), times(builder, operands["a_row"], tile.rows + m))
                prefetch(builder, builder.gep(operands["a"], [below]), written=False)
    start.add_incoming(end, builder.basic_block)
    builder.branch(chain)

    builder.position_at_end(done)
    sums = _emit_steps(tile, (stop, operands["stop"]), sums, 1)
    return _with_totals(tile, totals, sums, start)


def _with_totals(tile: Tile, totals: list[ir.Value], sums: list[ir.Value], start: ir.Value) -> list[ir.Value]:
    """The sums of a chain from `start` on, and of those before it."""
    builder, summed = tile.simd.builder, tile.simd.builder.basic_block
    with builder.if_then(builder.icmp_signed("!=", start, tile.operands["start"])):
        added = [builder.fadd(builder.load(total), value) for total, value in zip(totals, sums, strict=True)]
        later = builder.basic_block
    return _joined(builder, (sums, summed), (added, later))


def _joined(builder: ir.IRBuilder, *ways: tuple[list[ir.Value], ir.Block]) -> list[ir.Value]:
    """What the values are here, by the block that one comes from."""
    joined = []
    for values in zip(*(values for values, _ in ways), strict=True):
        joined.append(builder.phi(values[0].type))
        for value, (_, block) in zip(values, ways, strict=True):
            joined[-1].add_incoming(value, block)
    return joined


def _emit_steps(tile: Tile, steps: tuple[ir.Value, ir.Value], sums: list[ir.Value], together: int) -> list[ir.Value]:
    """`sums` with those of the steps from one to before another, of which there are a multiple of `together`."""
    builder, (start, stop) = tile.simd.builder, steps
    rows_of_a = [builder.gep(tile.operands["a"], [times(builder, tile.operands["a_row"], m)]) for m in range(tile.rows)]
    before, loop, done = builder.basic_block, builder.append_basic_block("steps"), builder.append_basic_block("summed")
    builder.cbranch(builder.icmp_signed("<", start, stop), loop, done)
    builder.position_at_end(loop)
    step, summed = builder.phi(I64), [builder.phi(value.type) for value in sums]
    here = _opaque(builder, step)
    updated: list[ir.Value] = summed
    for i in range(together):
        updated = _multiply_step(tile, rows_of_a, builder.add(here, I64(i)), updated)
    later = builder.add(step, I64(together))
    step.add_incoming(start, before)
    step.add_incoming(later, loop)
    for value, old, new in zip(summed, sums, updated, strict=True):
        value.add_incoming(old, before)
        value.add_incoming(new, loop)
    builder.cbranch(builder.icmp_signed("<", later, stop), loop, done)
    builder.position_at_end(done)
    return _joined(builder, (sums, before), (updated, loop))


def _multiply_step(tile: Tile, rows_of_a: list[ir.Value], step: ir.Value, sums: list[ir.Value]) -> list[ir.Value]:
    """`sums` with the products of one step."""
    simd, builder, operands = tile.simd, tile.simd.builder, tile.operands
    samples = builder.load(builder.gep(operands["table"], [step]))
    in_times = tile.lanes_along == TIMES
    in_a, in_b = (step, samples) if in_times else (samples, builder.mul(step, operands["panel"]))
    b = builder.gep(operands["b"], [in_b])
    columns = [simd.load(b, I64(v * simd.lanes)) for v in range(tile.vectors)]
    updated = []
    for m, row in enumerate(rows_of_a):
        a = builder.gep(row, [in_a])
        splat = None if tile.lanes_along == PAIRED_CHANNELS else simd.splat(builder.load(a))
        for v, column in enumerate(columns):
            factor = splat or simd.load(a, I64(v * simd.lanes))
            updated.append(simd.multiply_add(factor, column, sums[m * tile.vectors + v]))
    return updated


def _opaque(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """The value, of which LLVM knows nothing more: it would turn an index that counts into a pointer for each row.

    There are no registers for so many, and the loops would read them from the stack.
    """
    return builder.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [value], side_effect=False)


def _flush_tile(tile: Tile, values: list[ir.Value]) -> None:
    """Store the sums, by row and vector, or add them to what stands there; the last vector may be partial."""
    simd, builder, operands, vectors = tile.simd, tile.simd.builder, tile.operands, tile.vectors
    y, width = operands["y"], operands["width"]
    sums = dict(zip(itertools.product(range(tile.rows), range(vectors)), values, strict=True))
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


def tile_intrinsic(lanes_along: int, one_chain: bool) -> Callable[..., None]:
    """The tile by what stands in the lanes, and whether all steps are one chain, which needs less code."""
    names = "a a_row ia a_panel far_a b ib panel table start stop chain y iy y_row rows width count first ahead".split()

    def tile(  # type: ignore[no-untyped-def]
        typingctx, a, a_row, ia, a_panel, far_a, b, ib, panel, table, start, stop, chain,
        y, iy, y_row, rows, width, count, first, ahead,
    ):  # fmt: skip
        def codegen(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
            operands = dict(zip(names, arguments, strict=True))
            _align_stack(builder)
            for name in ("a", "b", "y"):
                operands[name] = builder.gep(operands[name], [operands["i" + name]])
            simd = Vectors(builder, y.dtype)
            vectors = builder.sdiv(builder.add(operands["width"], I64(simd.lanes - 1)), I64(simd.lanes))
            shape = builder.add(times(builder, operands["rows"], MOST_VECTORS + 1), vectors)
            end = builder.append_basic_block("end")
            # The sweep asks only for the shapes of tile_shapes(); another one would be its bug, and does nothing.
            switch = builder.switch(shape, end)
            for height, count in tile_shapes(one_chain):
                block = builder.append_basic_block(f"tile_{height}x{count}")
                switch.add_case(I64(height * (MOST_VECTORS + 1) + count), block)
                builder.position_at_end(block)
                _emit_tiles(Tile(simd, height, count, lanes_along, one_chain, operands))
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        n = types.intp
        return types.void(a, n, n, n, n, b, n, n, table, n, n, n, y, *[n] * 5, types.boolean, n), codegen

    return intrinsic(tile)  # type: ignore[no-any-return]


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
