"""Vectors in registers: what the other modules of this package emit LLVM with."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from .. import machine

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
FLOATS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
SUFFIX = {types.float32: "f32", types.float64: "f64"}


def intrinsic_call(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Value]) -> ir.Value:
    signature = ir.FunctionType(result, [value.type for value in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, name), arguments)


def prefetch(builder: ir.IRBuilder, pointer: ir.Value, *, written: bool) -> None:
    """Ask for the line that something stands in: into L1 if it will be written, into L2 if read; it need not exist."""
    arguments = [pointer, I32(int(written)), I32(3 if written else 2), I32(1)]
    intrinsic_call(builder, "llvm.prefetch.p0", ir.VoidType(), arguments)


class Vectors:
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
        return intrinsic_call(self.builder, name, result, arguments)

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


def times(builder: ir.IRBuilder, value: ir.Value, factor: int) -> ir.Value:
    return builder.mul(value, I64(factor))
