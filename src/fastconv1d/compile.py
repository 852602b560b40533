"""The only file that calls njit: one set of flags, a serial and a parallel twin of every driver, kept on disk.

`kernel` marks a function that other kernels call.  `standalone` marks one that they call by its address.  `driver`
marks what computes one part of a convolution, and makes what Python calls: a loop over the parts, serial or parallel.
It is compiled, when first needed, for one canonical signature a dtype, so that neither the layout of an array nor its
being read-only ever compiles it again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np
from numba import prange, types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from . import cache, cores, keeping
from .simd.arrays import call_on, call_work

__all__ = ["Driver", "Standalone", "driver", "jit_disabled", "kernel", "standalone"]

#: Never ``fastmath``: NaN and infinity survive, and sums keep their order.  Division by zero follows NumPy.
FLAGS = {"nogil": True, "error_model": "numpy"}

#: A kernel is called by kernels only, and what Python would need to call it took a fifth of the time to compile.
UNWRAPPED = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

#: Compiling for longer than this is worth a line in the log.
LOGGED_SECONDS = 1.0

_log = logging.getLogger("fastconv1d")
_lock = threading.RLock()  # a signal's handler may call or fork in the midst of compiling

#: The compiled loops over the parts, which drivers share.
_loops: dict[tuple[Any, bool], Any] = {}

#: What calls standalone functions from Python, by their arguments.
_callers: dict[Any, Any] = {}

#: Seconds of compiling that the log has not told of.
_seconds = 0.0


if hasattr(os, "register_at_fork"):
    # A fork waits for a thread that compiles: the child would not have it, and Numba's lock would stay locked.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def jit_disabled() -> bool:
    """Whether NUMBA_DISABLE_JIT is set: kernels then run as plain Python."""
    return bool(numba.config.DISABLE_JIT)


class _Part(JITCodeLibrary):  # type: ignore[misc]
    """The code of a kernel, which is left to be optimised and made into machine code with what calls it.

    Numba would do so at every level of calls, which took 0.9 s of the 4.7 s of a first call, for the same speed.
    """

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True

    @property
    def codegen(self) -> _Part:
        return self

    def set_env(self, name: str, env: Any) -> None:
        """No machine code, nothing to set it in."""


class _PartCompiler(Compiler):  # type: ignore[misc]
    """Compiles to a `_Part`."""

    def compile_extra(self, function: Callable[..., Any]) -> Any:
        self.state.library = _Part(self.state.targetctx.codegen(), function.__qualname__)
        return super().compile_extra(function)


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` for whatever kernel calls it; to call it from Python crashes."""
    return numba.njit(pipeline_class=_PartCompiler, **FLAGS, **UNWRAPPED)(function)  # type: ignore[no-any-return]


def _machine_code(function: Callable[..., Any], signature: Any, **options: Any) -> Any:
    """A dispatcher with the machine code for this signature only, from disk if a process before left it there."""
    global _seconds
    flags = FLAGS | options
    code, name = numba.njit(**flags)(function), function.__name__
    key = keeping.key(function, signature, flags)
    if not (key and keeping.load(code, name, key)):
        if not _seconds:
            _log.info("compiling for a first call of its kind, which takes some seconds")
        start = time.perf_counter()
        code.compile(signature)
        if key:
            keeping.save(code, name, key)
        _seconds += time.perf_counter() - start
    code.disable_compile()
    return code


class Standalone:
    """A function ``(integers, pointers to numbers) -> None`` compiled by itself, that kernels call by its address.

    Numba optimises a kernel anew inside each kernel that calls it, and inside each twin: with the tile in them, twins
    took 9 s to compile, without it 4 s.  The address is an argument, so that a kernel does not depend on it.
    """

    def __init__(self, function: Callable[..., None], pointers: int, integers: int, tables: int):
        self.function, self.pointers, self.integers, self.tables = function, pointers, integers, tables
        self._compiled: dict[np.dtype, Any] = {}
        self._callable: dict[np.dtype, Callable[..., None]] = {}

    def address(self, dtype: np.dtype) -> int:
        """Where the machine code for `dtype` is."""
        with _lock:
            if dtype not in self._compiled:
                pointer = types.CPointer(numba.from_dtype(dtype))
                table = types.CPointer(types.int64)
                arguments = *[pointer] * self.pointers, *[table] * self.tables, *[types.intp] * self.integers
                self._compiled[dtype] = _machine_code(self.function, types.void(*arguments), no_cpython_wrapper=True)
            (result,) = self._compiled[dtype].overloads.values()
            return int(result.library.get_pointer_to_function(result.fndesc.llvm_cfunc_wrapper_name))

    def run(self, arrays: tuple[np.ndarray, ...], integers: tuple[int, ...]) -> None:
        """Call it from Python, with contiguous arrays of one dimension for the pointers."""
        dtype = arrays[0].dtype
        if dtype not in self._callable:
            self._callable[dtype] = self._compile_callable(dtype)
        self._callable[dtype](arrays, integers)

    def _compile_callable(self, dtype: np.dtype) -> Callable[..., None]:
        kinds = [array_type(dtype, 1, "C")] * self.pointers + [array_type(np.dtype(np.int64), 1, "C")] * self.tables
        arguments = types.BaseTuple.from_types(kinds), types.UniTuple(types.int64, self.integers)
        with _lock:
            signature = types.void(types.int64, *arguments)
            if signature not in _callers:
                _callers[signature] = _machine_code(run_standalone, signature)
            (caller,) = _callers[signature].overloads.values()
            # ctypes takes 1 us for each array.
            return partial(caller.entry_point, self.address(dtype))


def run_standalone(function, arrays, integers):  # type: ignore[no-untyped-def]
    """What calls a standalone function from Python."""
    call_on(function, arrays, integers)


def standalone(pointers: int, integers: int, tables: int = 1) -> Callable[[Callable[..., None]], Standalone]:
    """Compile a function of `pointers` to the dtype, `tables`, pointers to int64, and `integers`, by itself."""
    return lambda function: Standalone(function, pointers, integers, tables)


def array_type(dtype: np.dtype, ndim: int, layout: str, *, written: bool = False) -> types.Array:
    """The canonical type: read-only where it is only read, and any alignment where any stride is taken."""
    any_alignment = layout == "A" and not written
    return types.Array(numba.from_dtype(dtype), ndim, layout, readonly=not written, aligned=not any_alignment)


waking, spread = kernel(cores.waking), kernel(cores.spread)


def run(work, x, w, bias, y, geometry, first, last, parts, asleep):  # type: ignore[no-untyped-def]
    """The outermost loop of every driver, compiled by itself."""
    for part in range(first, last):
        call_work(work, x, w, bias, y, geometry[0], part, parts)


def run_parallel(work, x, w, bias, y, geometry, first, last, parts, asleep):  # type: ignore[no-untyped-def]
    """The same on several threads.  Numba makes five copies of what a prange calls, so that it calls an address."""
    waker, arrived = waking(last - first)  # by a kernel, as Numba would make the zeros in parallel
    for part in prange(first, last):
        if asleep:
            spread(waker, part - first, arrived)
        call_work(work, x, w, bias, y, geometry[0], part, parts)


class Driver:
    """What computes one part of a convolution, ``(x, w, bias, y, g, part, parts)``, compiled for pairs of dtypes."""

    def __init__(self, function: Callable[..., None]):
        self.function = function
        self.__doc__ = function.__doc__
        self._compiled: dict[tuple[Any, ...], Any] = {}
        self._twins: dict[tuple[Any, ...], Callable[..., None]] = {}

    def twin(self, x: np.dtype, y: np.dtype, geometry: np.dtype, *, parallel: bool) -> Callable[..., None]:
        """A function ``(x, w, bias, y, geometry, first, last, parts, asleep)`` for an x and a y of these dtypes.

        It computes the parts `first` to `last` of the `parts` that the work is cut into: all of it, in one, is
        (0, 1, 1).  w and bias have the dtype of y.  The threads may be `asleep` (cores.py).
        """
        key = (x, y, geometry, parallel)
        if key not in self._twins:  # to ask Numba for the types takes 0.5 ms
            self._twins[key] = self._run_plain if jit_disabled() else self._compile(*key)
        return self._twins[key]

    def _compile(self, x: np.dtype, y: np.dtype, geometry: np.dtype, parallel: bool) -> Callable[..., None]:
        arrays = (
            array_type(x, 3, "A"),
            array_type(y, 1, "C"),
            array_type(y, 1, "C"),
            array_type(y, 3, "A", written=True),
        )
        signature = (*arrays, numba.from_dtype(geometry), types.intp, types.intp)
        loop_signature = (types.int64, *arrays, array_type(geometry, 1, "C"), *[types.intp] * 3, types.boolean)
        with _lock:
            if signature not in self._compiled:
                self._compiled[signature] = _machine_code(self.function, signature, **UNWRAPPED)
            if (loop_signature, parallel) not in _loops:
                _loops[loop_signature, parallel] = _machine_code(
                    run_parallel if parallel else run, loop_signature, parallel=parallel
                )
            self._log_seconds(y)
            (result,) = self._compiled[signature].overloads.values()
            work = int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name))
            (loop,) = _loops[loop_signature, parallel].overloads.values()
            # The arguments are of these types, and to have the dispatcher find out takes 0.3 us.
            return partial(loop.entry_point, work)

    def _log_seconds(self, dtype: np.dtype) -> None:
        """Say what the call spent on compiling: this is what it compiles last."""
        global _seconds
        if _seconds > LOGGED_SECONDS:
            directory, reason = cache.place()
            kept = f"kept in {directory} for the next process" if directory else f"not kept: {reason}"
            _log.info("compiled %s for %s in %.1f s, %s", self.function.__name__, dtype, _seconds, kept)
        _seconds = 0.0

    def _run_plain(self, x, w, bias, y, geometry, first, last, parts, asleep):  # type: ignore[no-untyped-def]
        with np.errstate(all="ignore"):  # compiled code does not warn either
            for part in range(first, last):
                self.function(x, w, bias, y, geometry[0], part, parts)


def driver(function: Callable[..., None]) -> Driver:
    """Make the twins of `function`."""
    return Driver(function)
