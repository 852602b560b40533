"""The only file that calls njit: one set of flags, a serial and a parallel twin of every driver, kept on disk.

`kernel` marks a function that other kernels call.  `driver` marks one that Python calls: its outermost loop is a
``prange`` over the parts of the work, and it is compiled, when first needed, for one canonical signature a dtype, so
that neither the layout of an array nor its being read-only ever compiles it again.  `standalone` marks one that kernels
call by address.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import prange, types

from . import cache, keeping

__all__ = ["Driver", "Standalone", "driver", "jit_disabled", "kernel", "prange", "standalone"]

#: Never ``fastmath``: NaN and infinity survive, and sums keep their order.  Division by zero follows NumPy.
FLAGS = {"nogil": True, "error_model": "numpy"}

#: Compiling for longer than this is worth a line in the log.
LOGGED_SECONDS = 1.0

_log = logging.getLogger("fastconv1d")
_lock = threading.Lock()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()  # a thread that the child does not have may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def jit_disabled() -> bool:
    """Whether NUMBA_DISABLE_JIT is set: kernels then run as plain Python."""
    return bool(numba.config.DISABLE_JIT)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` for whatever kernel calls it."""
    return numba.njit(**FLAGS)(function)  # type: ignore[no-any-return]


def _machine_code(function: Callable[..., Any], signature: Any, dtype: np.dtype, **options: Any) -> Any:
    """A dispatcher with the machine code for this signature only, from disk if a process before left it there."""
    flags = FLAGS | options
    code, name = numba.njit(**flags)(function), function.__name__
    key = keeping.key(function, signature, flags)
    if not (key and keeping.load(code, name, key)):
        start = time.perf_counter()
        code.compile(signature)
        seconds = time.perf_counter() - start
        kept = key is not None and keeping.save(code, name, key)
        if seconds > LOGGED_SECONDS:
            where = f"kept in {cache.place()[0]} for the next process" if kept else "not kept for the next process"
            _log.info("compiled %s for %s in %.1f s, %s", name, dtype, seconds, where)
    code.disable_compile()
    return code


class Standalone:
    """A function ``(integers, pointers to numbers) -> None`` compiled by itself, that kernels call by its address.

    Numba optimises a kernel anew inside each kernel that calls it, and inside each twin: with the tile in them, twins
    took 9 s to compile, without it 4 s.  The address is an argument, so that a kernel does not depend on it.
    """

    def __init__(self, function: Callable[..., None], pointers: int, integers: int):
        self.function, self.pointers, self.integers = function, pointers, integers
        self._compiled: dict[np.dtype, Any] = {}

    def address(self, dtype: np.dtype) -> int:
        """Where the machine code for `dtype` is."""
        with _lock:
            if dtype not in self._compiled:
                pointer = types.CPointer(numba.from_dtype(dtype))
                table = types.CPointer(types.int64)
                signature = types.void(*[pointer] * self.pointers, table, *[types.intp] * self.integers)
                self._compiled[dtype] = _machine_code(self.function, signature, dtype, no_cpython_wrapper=True)
            (result,) = self._compiled[dtype].overloads.values()
            return int(result.library.get_pointer_to_function(result.fndesc.llvm_cfunc_wrapper_name))


def standalone(pointers: int, integers: int) -> Callable[[Callable[..., None]], Standalone]:
    """Compile a function of `pointers` to the dtype, one pointer to a table of int64 and `integers`, by itself."""
    return lambda function: Standalone(function, pointers, integers)


def array_type(dtype: np.dtype, ndim: int, layout: str, *, written: bool = False) -> types.Array:
    """The canonical type: read-only where it is only read, and any alignment where any stride is taken."""
    any_alignment = layout == "A" and not written
    return types.Array(numba.from_dtype(dtype), ndim, layout, readonly=not written, aligned=not any_alignment)


class Driver:
    """A function ``(x, w, bias, y, geometry, first, last, parts)`` and its compiled twins, a pair for each two dtypes.

    It computes the parts `first` to `last` of the `parts` that the work is cut into: all of it, in one, is (0, 1, 1).
    """

    def __init__(self, function: Callable[..., None]):
        self.function = function
        self.__doc__ = function.__doc__
        self._compiled: dict[tuple[np.dtype, np.dtype, np.dtype, bool], Callable[..., None]] = {}

    def twin(self, x: np.dtype, y: np.dtype, geometry: np.dtype, *, parallel: bool) -> Callable[..., None]:
        """The machine code for an x and a y of these dtypes; w and bias have that of y."""
        key = (x, y, geometry, parallel)
        with _lock:
            if key not in self._compiled:
                self._compiled[key] = self._compile(*key)
            return self._compiled[key]

    def _compile(self, x: np.dtype, y: np.dtype, geometry: np.dtype, parallel: bool) -> Callable[..., None]:
        if jit_disabled():
            return np.errstate(all="ignore")(self.function)  # compiled code does not warn either
        signature = (
            array_type(x, 3, "A"),
            array_type(y, 1, "C"),
            array_type(y, 1, "C"),
            array_type(y, 3, "A", written=True),
            array_type(geometry, 1, "C"),
            *[types.intp] * 3,
        )
        return _machine_code(self.function, signature, y, parallel=parallel)  # type: ignore[no-any-return]


def driver(function: Callable[..., None]) -> Driver:
    """Make the twins of `function`, whose outermost loop is ``for part in prange(first, last)``."""
    return Driver(function)
