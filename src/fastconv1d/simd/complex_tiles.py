"""The complex tile, which sums the products of spectra: one vector of real and one of imaginary parts a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .. import machine
from .vectors import I64, Vectors, times


def most_complex_rows() -> int:
    """Rows of the tallest complex tile, which has two accumulators a row and one vector of b, real and imaginary."""
    return 4 if machine.registers() == 16 else 8


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
