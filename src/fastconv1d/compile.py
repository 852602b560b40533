"""The only file that calls njit, with one set of flags; what it makes is kept on disk.

`kernel` marks a function that other kernels call.  `standalone` marks one that they call by its address.  What Python
calls is compiled, when first needed, for one canonical signature a dtype, so that neither the layout of an array nor
its being read-only ever compiles it again.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from . import cache, keeping
from .simd.arrays import call_on

#: Never ``fastmath``: NaN and infinity survive, and sums keep their order.  Division by zero follows NumPy.
FLAGS = {"nogil": True, "error_model": "numpy"}

#: A kernel is called by kernels only, and what Python would need to call it took a fifth of the time to compile.
UNWRAPPED = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

#: Compiling for longer than this is worth a line in the log.
LOGGED_SECONDS = 1.0

_log = logging.getLogger("fastconv1d")
lock = threading.RLock()  # a signal's handler may call or fork in the midst of compiling

#: What Python calls, by function and signature.
_callable: dict[Any, Any] = {}

#: Seconds of compiling that the log has not told of.
_seconds = 0.0


if hasattr(os, "register_at_fork"):
    # A fork waits for a thread that compiles: the child would not have it, and Numba's lock would stay locked.
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


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


@contextmanager
def _late_interrupts() -> Iterator[None]:
    """Let Ctrl-C wait for the end, unless it comes twice.

    llvmlite frees a second time what it was freeing when it came, which ends the process.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    if not callable(interrupt) or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[Any, ...]] = []

    def note(*event: Any) -> None:
        came.append(event)
        if len(came) > 1:
            interrupt(*event)

    try:
        signal.signal(signal.SIGINT, note)
        yield
    finally:
        signal.signal(signal.SIGINT, interrupt)
    if came:
        interrupt(*came[0])


def machine_code(function: Callable[..., Any], signature: Any, **options: Any) -> Any:
    """A dispatcher with the machine code for this signature only, from disk if a process before left it there."""
    global _seconds
    flags, name = FLAGS | options, function.__name__
    with _late_interrupts():
        code, key = numba.njit(**flags)(function), keeping.key(function, signature, flags)
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


def compiled(function: Callable[..., Any], signature: Any) -> Callable[..., Any]:
    """`function` for arguments of these types, which to have a dispatcher find out takes 0.3 us."""
    with lock:
        if (function, signature) not in _callable:
            _callable[function, signature] = machine_code(function, signature)
        (result,) = _callable[function, signature].overloads.values()
        return result.entry_point  # type: ignore[no-any-return]


def log_compiling(name: str, purpose: object) -> None:
    """Say what the call spent on compiling, of which `name` was the last."""
    global _seconds
    if _seconds > LOGGED_SECONDS:
        directory, reason = cache.place()
        kept = f"kept in {directory} for the next process" if directory else f"not kept: {reason}"
        _log.info("compiled %s for %s in %.1f s, %s", name, purpose, _seconds, kept)
    _seconds = 0.0


class Standalone:
    """A function ``(integers, pointers to numbers) -> None`` compiled by itself, that kernels call by its address.

    Numba optimises a kernel anew inside each kernel that calls it: with the tile in them, what calls it took 9 s to
    compile, without it 4 s.  The address is an argument, so that a kernel does not depend on it.
    """

    def __init__(self, function: Callable[..., None], pointers: int, integers: int, tables: int):
        self.function, self.pointers, self.integers, self.tables = function, pointers, integers, tables
        self._compiled: dict[np.dtype, Any] = {}
        self._callable: dict[np.dtype, Callable[..., None]] = {}

    def address(self, dtype: np.dtype) -> int:
        """Where the machine code for `dtype` is."""
        with lock:
            if dtype not in self._compiled:
                pointer = types.CPointer(numba.from_dtype(dtype))
                table = types.CPointer(types.int64)
                arguments = *[pointer] * self.pointers, *[table] * self.tables, *[types.intp] * self.integers
                self._compiled[dtype] = machine_code(self.function, types.void(*arguments), no_cpython_wrapper=True)
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
        # ctypes takes 1 us for each array.
        return partial(compiled(run_standalone, types.void(types.int64, *arguments)), self.address(dtype))


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
