"""What Python calls to compute a convolution: `driver` marks what works through a share of the items (sharing.py)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np
from numba import types

from .compile import UNWRAPPED, array_type, compiled, jit_disabled, lock, log_compiling, machine_code
from .helpers import invitation
from .sharing import SHARE_BYTES, SHARES_BYTES, deal, dismiss, invite
from .simd.arrays import call_work, lend_work, try_work
from .simd.atomics import room_on_stack


def run(work, invitation, x, w, bias, y, geometry, first, last, workers, asleep, patience):  # type: ignore[no-untyped-def]
    """What calls every driver, compiled by itself; Numba would optimise a driver anew inside of it."""
    shares = room_on_stack(SHARES_BYTES, SHARE_BYTES)
    deal(shares, first, last, workers)
    if workers == 1:
        call_work(work, x, w, bias, y, geometry[0], shares)
        return
    enter, frame = lend_work(work, x, w, bias, y, geometry[0], shares)
    invite(invitation, enter, frame, workers - 1, asleep)
    failed = try_work(work, x, w, bias, y, geometry[0], shares)
    dismiss(invitation, workers - 1, patience)  # whatever happened: helpers read what is on the stack
    if failed:
        raise MemoryError  # the one error of a driver


class Driver:
    """What works through a share of the items, ``(x, w, bias, y, g, share)``, compiled for pairs of dtypes.

    All that it allocates it does before it claims its first item: a helper without memory leaves its items to others.
    """

    def __init__(self, function: Callable[..., None]):
        self.function = function
        self.__doc__ = function.__doc__
        self._compiled: dict[tuple[Any, ...], Callable[..., None]] = {}
        self._works: list[Any] = []  # whose machine code lives as long as they do

    def compiled(self, x: np.dtype, y: np.dtype, geometry: np.dtype) -> Callable[..., None]:
        """A function ``(x, w, bias, y, geometry, first, last, *team)`` for an x and a y of these dtypes.

        It computes the items `first` to `last` by a team (threads.py).  w and bias have the dtype of y.
        """
        key = (x, y, geometry)
        if key not in self._compiled:  # to ask Numba for the types takes 0.5 ms
            with lock:
                if key not in self._compiled:
                    self._compiled[key] = self._run_plain if jit_disabled() else self._compile(*key)
        return self._compiled[key]

    def _compile(self, x: np.dtype, y: np.dtype, geometry: np.dtype) -> Callable[..., None]:
        arrays = (
            array_type(x, 3, "A"),
            array_type(y, 1, "C"),
            array_type(y, 1, "C"),
            array_type(y, 3, "A", written=True),
        )
        work = machine_code(self.function, types.void(*arrays, numba.from_dtype(geometry), types.intp), **UNWRAPPED)
        integers = *[types.intp] * 3, types.boolean, types.intp
        caller = compiled(run, types.void(types.int64, types.intp, *arrays, array_type(geometry, 1, "C"), *integers))
        log_compiling(self.function.__name__, y)
        self._works.append(work)
        (result,) = work.overloads.values()
        return partial(caller, result.library.get_pointer_to_function(result.fndesc.llvm_func_name), invitation)

    def _run_plain(self, x, w, bias, y, geometry, first, last, workers, asleep, patience):  # type: ignore[no-untyped-def]
        share = np.empty(SHARE_BYTES // 8, np.int64)
        deal(share.ctypes.data, first, last, 1)
        with np.errstate(all="ignore"):  # compiled code does not warn either
            self.function(x, w, bias, y, geometry[0], share.ctypes.data)


def driver(function: Callable[..., None]) -> Driver:
    """Make a driver of `function`."""
    return Driver(function)
