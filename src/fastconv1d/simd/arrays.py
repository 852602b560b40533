"""Arrays, functions and numbers as they stand in memory: lent views, calls by address, bits that become numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic, lower_builtin, type_callable

from .. import machine
from .vectors import I8, I64, prefetch


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


def ask_for(row: np.ndarray) -> None:
    """Ask for the lines of the cache that a contiguous row stands in; a row that does not exist does no harm."""


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


@type_callable(ask_for)
def _type_ask_for(context):  # type: ignore[no-untyped-def]
    return lambda row: types.none


@lower_builtin(ask_for, types.Array)
def _lower_ask_for(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
    row = context.make_array(signature.args[0])(context, builder, arguments[0])
    first, size = builder.bitcast(row.data, I8.as_pointer()), builder.mul(row.nitems, row.itemsize)
    with cgutils.for_range_slice(builder, I64(0), size, I64(machine.LINE_BYTES)) as (at, _):
        prefetch(builder, builder.gep(first, [at]), written=False)
    return context.get_dummy_value()


@intrinsic
def shifted(typingctx, pointer, at):  # type: ignore[no-untyped-def]
    """&pointer[at]"""
    return pointer(pointer, types.intp), lambda context, builder, signature, arguments: builder.gep(
        *arguments[:1], [arguments[1]]
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


def _call_work(context: Any, builder: ir.IRBuilder, types_: list[types.Type], values: list[ir.Value]) -> Any:
    """Call a driver's machine code at the address values[0] with the others, and return how that ended."""
    function_type = context.call_conv.get_function_type(types.none, types_)
    function = builder.inttoptr(values[0], function_type.as_pointer())
    status, _ = context.call_conv.call_function(builder, function, types.none, types_, values[1:])
    return status


@intrinsic
def call_work(typingctx, function, x, w, bias, y, g, share):  # type: ignore[no-untyped-def]
    """Call a driver's machine code at the address `function`, with its errors."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        status = _call_work(context, builder, signature.args[1:], values)
        with cgutils.if_unlikely(builder, status.is_error):
            context.call_conv.return_status_propagate(builder, status)
        return context.get_dummy_value()

    return types.void(types.int64, x, w, bias, y, g, types.int64), codegen


@intrinsic
def try_work(typingctx, function, x, w, bias, y, g, share):  # type: ignore[no-untyped-def]
    """Call a driver's machine code at the address `function`; whether it failed."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return _call_work(context, builder, signature.args[1:], values).is_error

    return types.boolean(types.int64, x, w, bias, y, g, types.int64), codegen


@intrinsic
def lend_work(typingctx, function, x, w, bias, y, g, shares):  # type: ignore[no-untyped-def]
    """The same for other threads, until this one returns: two addresses, of a function and of its first argument.

    Its second argument is where the other's share is, from the address `shares` on.  Errors end it, and no more.
    """

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        frame = cgutils.alloca_once(builder, ir.LiteralStructType([value.type for value in values]))
        for i, value in enumerate(values):
            builder.store(value, cgutils.gep_inbounds(builder, frame, 0, i))
        name = builder.module.get_unique_name("lent")
        lent = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [I64, I64]), name)
        lent.linkage = "internal"
        inside = ir.IRBuilder(lent.append_basic_block())
        arguments = inside.inttoptr(lent.args[0], frame.type)
        *parts, place = [inside.load(cgutils.gep_inbounds(inside, arguments, 0, i)) for i in range(len(values))]
        _call_work(context, inside, signature.args[1:], [*parts, inside.add(place, lent.args[1])])
        inside.ret_void()
        pair = [builder.ptrtoint(lent, I64), builder.ptrtoint(frame, I64)]
        return context.make_tuple(builder, signature.return_type, pair)

    return types.UniTuple(types.int64, 2)(types.int64, x, w, bias, y, g, types.int64), codegen


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
