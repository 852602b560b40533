"""Words of memory that threads share: who loads what another stored sees all that it had stored before.

The Python forms, for kernels that run as plain Python, are whole for one thread only.
"""

from __future__ import annotations

import ctypes
import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic, lower_builtin, type_callable

from .vectors import I8, I32, I64, intrinsic_call

#: What tells a core that a loop waits, so that its other thread gets on: LLVM's name and arguments, by machine.
PAUSES: dict[str, tuple[str, list[ir.Value]]] = {
    **dict.fromkeys(("x86_64", "AMD64"), ("llvm.x86.sse2.pause", [])),
    **dict.fromkeys(("aarch64", "arm64", "ARM64"), ("llvm.aarch64.hint", [I32(1)])),
}


def load(address: int) -> int:
    """The int64 at an address."""
    return ctypes.c_int64.from_address(address).value


def store(address: int, value: int) -> None:
    """Make `value` the int64 at an address."""
    ctypes.c_int64.from_address(address).value = value


def exchange(address: int, expected: int, value: int) -> bool:
    """Make `value` the int64 at an address if it is `expected` now; whether it was."""
    found = load(address) == expected
    if found:
        store(address, value)
    return found


def _word(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.inttoptr(address, I64.as_pointer())


@type_callable(load)
def _type_load(context):  # type: ignore[no-untyped-def]
    return lambda address: types.int64(types.int64)


@lower_builtin(load, types.int64)
def _lower_load(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
    return builder.load_atomic(_word(builder, arguments[0]), "acquire", 8)


@type_callable(store)
def _type_store(context):  # type: ignore[no-untyped-def]
    return lambda address, value: types.none(types.int64, types.int64)


@lower_builtin(store, types.int64, types.int64)
def _lower_store(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
    builder.store_atomic(arguments[1], _word(builder, arguments[0]), "release", 8)
    return context.get_dummy_value()


@type_callable(exchange)
def _type_exchange(context):  # type: ignore[no-untyped-def]
    return lambda address, expected, value: types.boolean(*[types.int64] * 3)


@lower_builtin(exchange, types.int64, types.int64, types.int64)
def _lower_exchange(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
    address, expected, value = arguments
    pair = builder.cmpxchg(_word(builder, address), expected, value, "seq_cst")
    return builder.extract_value(pair, 1)


@intrinsic
def pause(typingctx):  # type: ignore[no-untyped-def]
    """Wait for a moment, of some dozens of cycles on x86."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        if platform.machine() in PAUSES:
            name, values = PAUSES[platform.machine()]
            intrinsic_call(builder, name, ir.VoidType(), values)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def room_on_stack(typingctx, size, alignment):  # type: ignore[no-untyped-def]
    """The address of room that is the caller's own until it returns."""
    if not (isinstance(size, types.IntegerLiteral) and isinstance(alignment, types.IntegerLiteral)):
        raise TypingError("room_on_stack takes constants")

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        with builder.goto_entry_block():  # not by Numba, which would clear it
            room = builder.alloca(ir.ArrayType(I8, size.literal_value))
        room.align = alignment.literal_value
        return builder.ptrtoint(room, I64)

    return types.int64(size, alignment), codegen
